"""The command line: what it prints, and every way to hand it something that cannot be used."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import sensorium as sm
from sensorium.cli import main
from sensorium.cli.display import print_result
from sensorium.training.plan import plan

SMALL = [
    text
    for setting in (
        "num_latents=4",
        "latent_channels=8",
        "num_self_attention_heads=2",
        "num_layers=1",
        "cross_attention=[0]",
        "latent_transformer=[0]",
    )
    for text in ("--set", f"model.encoder.{setting}")
] + ["--set", "recipe.precision=float32", "--epochs", "1"]


def picture(path: Path, *, size: tuple[int, int] = (12, 12), mode: str = "RGB", seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"RGB": 3, "CMYK": 4, "RGBA": 4}.get(mode)
    values = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], channels or 1), dtype=np.uint8)
    Image.fromarray(values if channels else values[..., 0], mode if channels else "L").save(path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of twelve pictures each, names with spaces and letters of many scripts."""
    for number in range(12):
        picture(tmp_path / "data" / "red foxes" / f"füchs {number}.png", seed=number)
        picture(tmp_path / "data" / "青い鳥" / f"{number} 鳥.png", seed=100 + number)
    return tmp_path / "data"


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a refused command prints, with status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    err = capsys.readouterr().err
    lines = [line for line in err.splitlines() if line.startswith("sensorium:")]
    assert stop.value.code == 2, err
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0].removeprefix("sensorium: ")


def test_train_evaluate_predict_inspect(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The main job from the shell: names with spaces and unicode come through whole."""
    run = tmp_path / "a run"
    main(["inspect", str(pictures)])
    assert "青い鳥" in capsys.readouterr().out
    main(["train", str(pictures), "--out", str(run), *SMALL])
    printed = capsys.readouterr().out
    assert f"report: {run / 'report.html'}" in printed
    score = r"0\.\d{3}|1\.000"
    names = "linear classifier on gradients and colours", "most frequent class"
    assert re.search(rf"accuracy ({score}); {names[0]} ({score}); {names[1]} ({score})$", printed, re.MULTILINE)
    main(["evaluate", str(run), str(pictures), "--split", "train"])
    printed = capsys.readouterr().out
    assert "train (" in printed
    assert names[0] not in printed, "nothing is fitted for other examples than those of the report"
    assert f"; {names[1]} 0." in printed
    files = [str(pictures / "青い鳥" / "0 鳥.png"), str(pictures / "red foxes" / "füchs 0.png")]
    main(["predict", str(run), *files, "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == files
    assert all(abs(sum(row["scores"].values()) - 1) < 1e-5 for row in rows)
    main(["predict", str(run), *files])
    assert "füchs 0.png" in capsys.readouterr().out


def test_simple_models_are_printed_beside_the_score(capsys: pytest.CaptureFixture[str]) -> None:
    """Where they were scored on a part of the examples this is said; a score that is not defined is left out."""
    result = {
        "split": "test",
        "samples": 1200,
        "folder": "run",
        "primary_metric": "r2",
        "metrics": {"loss": 0.5, "r2": 0.75, "mae": None},
        "baselines": [
            {"name": "ridge regression", "metrics": {"r2": 0.5}, "scored_on": 100},
            {"name": "boosting", "metrics": {"r2": None}, "scored_on": 1200},
        ],
        "majority": {"name": "mean", "metrics": {"r2": -0.0004}, "scored_on": 1200},
    }
    print_result(result)
    first, second, _ = capsys.readouterr().out.splitlines()
    assert first == "test (1,200 examples): r2 0.750; ridge regression 0.500 (on 100 of them); mean -0.000"
    assert second == "also: loss 0.5"
    del result["majority"], result["baselines"]
    print_result(result)
    assert capsys.readouterr().out.splitlines()[0] == "test (1,200 examples): loss 0.5, r2 0.75"


def test_tables_and_arrays_are_answered_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table as it was trained on, target and all, and an array file: an answer for each example."""
    random = np.random.default_rng(0)
    lines = [f"{random.normal():.3f},{random.normal():.3f},{'ab'[number % 2]}" for number in range(24)]
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "lines.csv").write_text("\n".join(["width,height,label", *lines]))
    np.savez(tmp_path / "clouds.npz", x=random.normal(size=(20, 30, 3)), y=np.arange(20) % 2)
    for data, file, count in (("table", "table/lines.csv", 24), ("clouds.npz", "clouds.npz", 20)):
        run = tmp_path / f"run of {data}"
        main(["train", str(tmp_path / data), "--out", str(run), *SMALL])
        capsys.readouterr()
        main(["predict", str(run), str(tmp_path / file), "--json"])
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(rows) == len({row["file"] for row in rows}) == count
    np.save(tmp_path / "one.npy", random.normal(size=(30, 3)))
    main(["predict", str(tmp_path / "run of clouds.npz"), str(tmp_path / "one.npy"), "--json"])
    assert json.loads(capsys.readouterr().out)["file"].endswith("one.npy")
    (tmp_path / "other.csv").write_text("depth\n1\n")
    assert "none of its columns" in refusal(capsys, "predict", tmp_path / "run of table", tmp_path / "other.csv")
    assert "reads table" in refusal(capsys, "predict", tmp_path / "run of table", tmp_path / "clouds.npz")


def test_presets_lists_parameters_and_arithmetic(capsys: pytest.CaptureFixture[str]) -> None:
    """The paper's ImageNet model: 44,912,254 parameters, 706 GFLOP."""
    main(["presets", "--json"])
    rows = {row["name"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["perceiver-imagenet"]["parameters"] == 44_912_254
    assert rows["perceiver-imagenet"]["gigaflop"] == pytest.approx(706.28, rel=0.01)
    assert rows["perceiver-audioset-audio"]["rows"] == 480
    assert rows["perceiver-audioset-mel"]["rows"] == 4800


def test_unknown_words_are_answered_with_the_nearest(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown option, command, preset, key or split: did you mean."""
    assert "--minutes" in refusal(capsys, "train", pictures, "--minuts", "3")
    assert "train" in refusal(capsys, "trian", pictures)
    assert "did you mean 'perceiver-imagenet'" in refusal(capsys, "inspect", pictures, "--preset", "perciever-imagenet")
    assert "did you mean 'learning_rate'" in refusal(capsys, "inspect", pictures, "--set", "recipe.learning_rat=1")
    assert "optimizer" in refusal(capsys, "inspect", pictures, "--set", "recipe.optimizer=sgd")
    assert "did you mean 'classify'" in refusal(capsys, "inspect", pictures, "--task", "clasify")
    (pictures / "dataset.yaml").write_text("target: {task: reconstruct}")
    assert "no such task of labelled data" in refusal(capsys, "inspect", pictures)
    (pictures / "dataset.yaml").unlink()
    assert "name.name=value" in refusal(capsys, "inspect", pictures, "--set", "recipe")


def test_missing_data_run_and_files_are_named(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not there is named."""
    (tmp_path / "empty").mkdir()
    assert "nowhere" in refusal(capsys, "train", tmp_path / "nowhere")
    assert "empty" in refusal(capsys, "train", tmp_path / "empty")
    assert "nowhere" in refusal(capsys, "predict", tmp_path / "nowhere", pictures)
    assert "FILES" in refusal(capsys, "predict", tmp_path)
    run = tmp_path / "run"
    main(["train", str(pictures), "--out", str(run), *SMALL])
    assert "nothing.png" in refusal(capsys, "predict", run, "nothing.png")
    assert "did you mean 'test'" in refusal(capsys, "evaluate", run, pictures, "--split", "tets")
    (run / "model.safetensors").write_bytes(b"cut short")
    assert "damaged" in refusal(capsys, "predict", run, pictures / "red foxes" / "füchs 0.png")


def test_one_class_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to tell apart."""
    for number in range(4):
        picture(tmp_path / "data" / "only" / f"{number}.png")
    assert "one class" in refusal(capsys, "train", tmp_path / "data")


def test_a_class_missing_in_train_is_said(tmp_path: Path) -> None:
    """Its test examples cannot be right: a warning names it."""
    for number in range(4):
        for seed, folder in enumerate(("train/a", "train/b", "test/a", "test/c")):
            picture(tmp_path / "data" / folder / f"{number}.png", seed=10 * seed + number)
    (warning,) = plan(tmp_path / "data").source.warnings
    assert warning == "1 classes are in test but never in train, so they cannot be learned: c"


def test_duplicates_across_splits_are_said(tmp_path: Path) -> None:
    """The same bytes in train and test flatter the score: a warning counts them."""
    for number in range(4):
        for place in ("train/a", "train/b", "test/a", "test/b"):
            picture(tmp_path / "data" / place / f"{number}.png", seed=number + 10 * (place[-1] == "b"))
    (warning,) = plan(tmp_path / "data").source.warnings
    assert warning.startswith("8 examples of test are in train too, for example test/a/0.png")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"not a picture"), "not a picture"),
        (_truncate, "truncated"),
    ],
)
def test_a_bad_picture_in_a_small_set_is_named(
    pictures: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], word: str
) -> None:
    """One of 24 is more than 1 %: the file, what is wrong, the cure; no run is left behind."""
    bad = pictures / "red foxes" / "füchs 3.png"
    big = picture(bad, size=(60, 60))
    spoil(big)
    line = refusal(capsys, "train", pictures, "--out", pictures.parent / "run", *SMALL)
    assert "füchs 3.png" in line
    assert word in line
    assert not (pictures.parent / "run" / "model.safetensors").exists()


def test_one_bad_picture_of_many_is_set_aside(tmp_path: Path) -> None:
    """Less than 1 % unreadable: training goes on, and the report lists them."""
    for number in range(130):
        picture(tmp_path / "data" / "train" / "ab"[number % 2] / f"{number}.png", size=(6, 6), seed=number)
        picture(tmp_path / "data" / "test" / "ab"[number % 2] / f"{number}.png", size=(6, 6), seed=1000 + number)
    (tmp_path / "data" / "test" / "a" / "0.png").write_bytes(b"")
    main(["train", str(tmp_path / "data"), "--out", str(tmp_path / "run"), *SMALL])
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["samples"] == 129
    assert "0.png" in report["set_aside"][0]


def test_pictures_of_every_make_are_read(tmp_path: Path) -> None:
    """16 bits, CMYK, palette, transparent, turned by EXIF, 1 × 1 and large: one shape of sample."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    ramp = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    Image.fromarray(ramp).save(folder / "deep.png")
    picture(folder / "ink.jpg", mode="CMYK")
    Image.open(picture(folder / "palette.png")).convert("P").save(folder / "palette.png")
    picture(folder / "glass.png", mode="RGBA")
    picture(folder / "dot.png", size=(1, 1))
    picture(folder / "large.png", size=(3000, 2000))
    turned = Image.fromarray(np.concatenate([np.zeros((8, 16, 3)), np.full((8, 16, 3), 255)]).astype(np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 3  # upside down
    turned.save(folder / "turned.png", exif=exif)
    from sensorium.modalities import KINDS

    paths = sorted(folder.iterdir())
    reader = KINDS["image"](KINDS["image"].measure(paths))
    samples = {path.stem: reader.load(path)["image"] for path in paths}
    assert len({sample.shape for sample in samples.values()}) == 1
    assert samples["deep"].max() > 240 > 200 > samples["deep"].mean()  # 16 bits are scaled, not cut
    assert samples["turned"][:, :2].mean() > 200 > 50 > samples["turned"][:, -2:].mean()


def test_wrong_channels_are_refused() -> None:
    """Five channels are no picture, two columns no points; a batch of the wrong shape is refused by the model."""
    from sensorium.modalities import KINDS
    from sensorium.modalities.image import ImageConfig

    with pytest.raises(sm.InputError, match="channels"):
        KINDS["image"](ImageConfig(size=(8, 8))).load(np.zeros((8, 8, 5), np.uint8))
    with pytest.raises(sm.InputError, match="expected batch"):
        KINDS["image"](ImageConfig(size=(8, 8))).embed({"image": torch.zeros(1, 4, 8, 8)})


def test_not_a_number_in_points_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """NaN is found before it trains, with the row."""
    clouds = np.random.default_rng(0).normal(size=(20, 30, 3))
    clouds[7, 3, 1] = np.nan
    np.savez(tmp_path / "clouds.npz", x=clouds, y=np.arange(20) % 2)
    line = refusal(capsys, "train", tmp_path / "clouds.npz", "--out", tmp_path / "run", *SMALL)
    assert "NaN" in line
    assert "point 3" in line


def test_sound_of_every_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mono and stereo at mixed rates train together; a zero-byte WAV is named."""
    random = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "data" / "ab"[number % 2] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        rate = (8000, 11025, 16000)[number % 3]
        shape = (rate // 4,) if number % 4 else (rate // 4, 2)
        soundfile.write(path, random.normal(0, 0.1, shape), rate)
    main(["train", str(tmp_path / "data"), "--out", str(tmp_path / "run"), *SMALL])
    assert (tmp_path / "run" / "report.html").exists()
    (tmp_path / "data" / "a" / "0.wav").write_bytes(b"")
    line = refusal(capsys, "train", tmp_path / "data", "--out", tmp_path / "other", *SMALL)
    assert "0.wav" in line
    assert "empty" in line


def test_text_of_every_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes that are not UTF-8 are bytes; an empty text is named."""
    for number in range(12):
        path = tmp_path / "data" / "ab"[number % 2] / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([0xFF, 0xFE, 65 + number]) * 5)
    main(["train", str(tmp_path / "data"), "--out", str(tmp_path / "run"), *SMALL])
    (tmp_path / "data" / "a" / "0.txt").write_bytes(b"")
    line = refusal(capsys, "train", tmp_path / "data", "--out", tmp_path / "other", *SMALL)
    assert "0.txt" in line
    assert "empty" in line


def test_a_folder_that_cannot_be_written(
    pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only output folder is one line, before anything is trained."""

    def read_only(self: Path, *_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", read_only)
    line = refusal(capsys, "train", pictures, "--out", pictures.parent / "run", *SMALL)
    assert "Permission denied" in line
    assert "--out" in line


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    """The error itself, only when asked for."""
    with pytest.raises(sm.InputError):
        main(["inspect", str(tmp_path / "nowhere"), "--debug"])


def test_help_loads_nothing_heavy() -> None:
    """So that it is there at once: no numpy, no torch, no configuration."""
    program = """
import sys
from sensorium.cli import main
main(["--help"])
main(["train", "--help"])
loaded = {name.partition(".")[0] for name in sys.modules}
heavy = loaded & {"numpy", "torch", "pydantic", "yaml", "lightning", "pyarrow"}
assert not heavy, heavy
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "recipe.batch_size" in result.stdout


COMMANDS = [
    "inspect",
    "train",
    "watch",
    "pretrain",
    "evaluate",
    "predict",
    "explain",
    "compare",
    "serve",
    "export",
    "shard",
    "import",
    "presets",
    "bench",
    "doctor",
    "demo",
]


def test_help_lists_commands_in_the_order_of_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    listed = [
        line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("│ ") and line[2] != " "
    ]
    assert [name for name in listed if not name.startswith("-")] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_ends_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([command, "--help"])
    _, _, examples = capsys.readouterr().out.partition("Examples:")
    assert f"sensorium {command}" in examples


def test_help_shows_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    """Those with a value as such, the others in words."""
    main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "[default: auto]" in said
    assert "[default: 0]" in said
    for words in ("with auto 20", "by default the last one", "by default 0.1 of 500 examples or more"):
        assert words in said
    assert "[default: ()]" not in said


def test_completion_of_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    main(["--install-completion", "--shell", "bash"])
    (script,) = (tmp_path / ".local/share/bash-completion/completions").iterdir()
    assert "class-weights" in script.read_text()


def test_too_little_memory_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever asked for it; with --debug, where."""

    def greedy(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("sensorium.training.plan.plan", greedy)
    with pytest.raises(SystemExit) as ended:
        main(["inspect", "data"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "sensorium: there is not enough memory for this; use smaller data or a smaller model\n"
    )
    with pytest.raises(MemoryError):
        main(["inspect", "data", "--debug"])
