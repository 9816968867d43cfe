"""``sensorium explain``: predictions are predict's, maps have the signal's shape, the page is complete and harmless.

Tests of drawings check that a picture is the one that the same drawing function makes of the expected signal, and how
many there are; they do not check what is on it.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sensorium as sm
from builders import film
from sensorium.cli import main
from sensorium.errors import InputError
from sensorium.inference.attention_maps import attention_map
from sensorium.inference.attributions import BEST, METHODS, integrated_gradients
from sensorium.modalities import (
    AudioConfig,
    FusionConfig,
    ImageConfig,
    PointsConfig,
    TableConfig,
    TextConfig,
    VideoConfig,
)
from sensorium.modalities.table import Column
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.nn import DecoderConfig, EncoderConfig
from sensorium.report import drawings
from sensorium.report import explanation as explain
from sensorium.report.examples import illustrate
from sensorium.report.formats import format_percent
from sensorium.tasks import ClassifyConfig, MLMConfig, ReconstructConfig, RegressConfig, TagConfig

HOSTILE = "<b>&"
TABLE = TableConfig(
    columns=(
        Column(name="age"),
        Column(name="costs $ and $"),
        Column(name="city", kind="category", categories=("x", "y")),
    )
)
TEXT = TextConfig(length=40)
AUDIO = AudioConfig(rate=8000, samples=4000, window=200, hop=80, patch=(4, 64))
VIDEO = VideoConfig(size=(16, 16), frames=4, rate=10.0, patch=(2, 8, 8))
BOTH = FusionConfig(modalities={"audio": AUDIO, "video": VIDEO})


def run_of(folder: Path, inputs: Any, *, task: Any = None, decoder: Any = None, **changes: Any) -> Path:
    """A weights folder of a small model with random weights and two reads."""
    shape: dict[str, Any] = {
        "num_latents": 3,
        "latent_channels": 8,
        "cross_attention": (0, 1),
        "latent_transformer": (0, 0),
        "num_layers": 1,
    }
    encoder = EncoderConfig(**{**shape, "num_self_attention_heads": 2, **changes})
    torch.manual_seed(0)
    task = task or ClassifyConfig(classes=(HOSTILE, "b"))
    model = Perceiver(PerceiverConfig(inputs=inputs, encoder=encoder, decoder=decoder, task=task))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    sm.save(model, folder)
    return folder


def maps_of(explanation: explain.Explanation) -> dict[str, np.ndarray]:
    with np.load(explanation.maps, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    """Two films, the second without sound."""
    return [film(tmp_path / f"{HOSTILE} {name}.mkv", sound=name == "a") for name in "ab"]


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    """Texts of different lengths, one longer than the window."""
    paths = [tmp_path / f"{number}.txt" for number in range(3)]
    for path, text in zip(paths, ("good", "neither bad nor good", "é" * 50), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def test_the_answers_are_predict_s(texts: list[Path], films: list[Path], tmp_path: Path) -> None:
    """For every task, and the mean over several clips of a film."""
    for task in (TagConfig(classes=("x", "y")), RegressConfig(classes=("x", "y"), mean=(0.0, 1.0), std=(1.0, 9.0))):
        run = run_of(tmp_path / task.kind, TEXT, task=task)
        found = sm.explain_files(run, texts).answers
        assert all((answer.deletion is None) == (task.kind == "regress") for answer in found)
        assert [replace(answer, deletion=None) for answer in found] == sm.predict(run, texts)
    run = run_of(tmp_path / "clips", replace(VIDEO, frames=2, clips=3))
    assert sm.explain_files(run, films, methods=["none"]).answers == sm.predict(run, films)


def test_maps_have_the_signal_s_shape(texts: list[Path], tmp_path: Path) -> None:
    """Each its own example's, whatever the lengths of the others; one a read, in [0, 1]; the names beside them."""
    maps = maps_of(sm.explain_files(run_of(tmp_path / "run", TEXT), texts, methods=["none"]))
    assert maps.pop("files").tolist() == list(map(str, texts))
    assert set(maps) == {f"{example}/cross_attend{number}/text" for example in range(3) for number in (1, 2)}
    assert [maps[f"{example}/cross_attend1/text"].shape for example in range(3)] == [(4, 1), (20, 1), (40, 1)]
    for values in maps.values():
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert 0 < values.max() <= 1
    alone = maps_of(sm.explain_files(tmp_path / "run", texts[:1]))
    np.testing.assert_allclose(alone["0/cross_attend2/text"], maps["0/cross_attend2/text"], atol=1e-6)


def test_maps_are_those_of_the_report(texts: list[Path], tmp_path: Path) -> None:
    """``attention_map`` of the same example gives the same numbers."""
    run = run_of(tmp_path / "run", TEXT)
    maps = maps_of(sm.explain_files(run, texts))
    model = sm.load(run)
    view = model.inputs.view({"text": torch.from_numpy(model.inputs.load(texts[1])["text"])[None]})
    for number in (0, 1):
        expected = attention_map(model, view, cross_attend=number)[0]
        np.testing.assert_allclose(maps[f"1/cross_attend{number + 1}/text"], expected, atol=1e-6)


def test_several_senses(films: list[Path], tmp_path: Path) -> None:
    """A map and a share of each modality that is there, none of one that is absent; the shares of a read sum to 1."""
    explanation = sm.explain_files(run_of(tmp_path / "run", BOTH), films)
    maps = maps_of(explanation)
    parts = ("cross_attend1", "cross_attend2", BEST)
    assert {name for name in maps if name.startswith("0/")} == {
        f"0/{part}/{name}" for part in parts for name in BOTH.modalities
    }
    assert {name for name in maps if name.startswith("1/")} == {f"1/{part}/video" for part in parts}
    assert maps["0/cross_attend1/video"].shape == (4, 1, 16, 16)
    assert maps["0/cross_attend1/audio"].shape == (AUDIO.steps, AUDIO.mels, 1)
    whole, silent = (answer.shares for answer in explanation.answers)
    for number in range(2):
        assert set(whole[number]) == {"audio", "video"}
        assert min(whole[number].values()) > 0
        assert sum(whole[number].values()) == pytest.approx(1.0, abs=1e-5)
        assert silent[number] == pytest.approx({"video": 1.0})
    assert all(
        answer.to_dict().keys() == {"file", "answer", "scores", "shares", "deletion"} for answer in explanation.answers
    )


def test_what_a_read_does_not_look_at_is_cold(films: list[Path], tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", BOTH, attends_to=(("audio",), None))
    explanation = sm.explain_files(run, films[:1], methods=["none"])
    maps = maps_of(explanation)
    assert maps["0/cross_attend1/video"].max() == 0
    assert maps["0/cross_attend1/audio"].max() > 0
    assert maps["0/cross_attend2/video"].max() > 0
    assert explanation.answers[0].shares[0] == pytest.approx({"audio": 1.0, "video": 0.0})


def test_a_text_filled_in_is_told(tmp_path: Path) -> None:
    """The whole of it and what each hole might be; the maps are of the text with its holes, a place for each."""
    run = run_of(tmp_path / "run", TextConfig(length=12), task=MLMConfig(), decoder=DecoderConfig())
    (tmp_path / "note.txt").write_text("<b>[MASK]t[MASK]")
    explanation = sm.explain_files(run, [tmp_path / "note.txt"])
    (answer,) = explanation.answers
    assert answer == sm.predict(run, [tmp_path / "note.txt"])[0]
    page = explanation.page.read_text(encoding="utf-8")
    assert f"<pre>{escape(answer.answer)}</pre>" in page
    for number, hole in enumerate(answer.holes, start=1):
        told = ", ".join(f"{escape(byte)} <b>{format_percent(score)}</b>" for byte, score in hole.items())
        assert f'<th scope="row">Hole {number}</th><td>{told}</td>' in page
    assert "Hole 3" not in page
    assert maps_of(explanation)["0/cross_attend1/text"].shape == (6, 1)


@pytest.mark.parametrize("hidden", [0.0, 0.5])
def test_a_reconstruction_is_drawn_beside_the_signal(hidden: float, tmp_path: Path) -> None:
    """What is drawn is the report's; rows that are hidden were not read."""
    clouds = [tmp_path / "a.xyz", tmp_path / "b.xyz"]
    for seed, path in enumerate(clouds):
        np.savetxt(path, np.random.default_rng(seed).normal(size=(12, 5)))
    points = PointsConfig(points=12, features=2, mean=(0.0,) * 2, std=(1.0,) * 2)
    run = run_of(tmp_path / "run", points, task=ReconstructConfig(mask_ratio=hidden), decoder=DecoderConfig())
    explanation = sm.explain_files(run, clouds)
    page = explanation.page.read_text(encoding="utf-8")
    assert page.count(">Reconstruction</figcaption>") == 2
    model = sm.load(run)
    view = {"points": torch.from_numpy(model.inputs.load(clouds[1])["points"])[None]}
    prepared = model.prepare(view)
    shown = illustrate(model, prepared)[-1]
    assert f'src="{drawings.illustration(model.inputs, shown, dpi=explain.DPI)}"' in page
    unread = maps_of(explanation)["1/cross_attend1/points"] == 0
    assert unread.sum() == 12 * hidden
    none_hidden = torch.zeros(1, 12, dtype=torch.bool)
    assert unread[:, 0].tolist() == prepared.inputs.get("points.hidden", none_hidden)[0].tolist()


def test_the_page_needs_nothing_else_and_is_harmless(films: list[Path], tmp_path: Path) -> None:
    """A section each; the signal, the heat of both reads and what speaks for the class; shares; no scripts, no network,
    no markup in names."""
    explanation = sm.explain_files(run_of(tmp_path / "run", BOTH), films)
    assert explanation.page == tmp_path / "run" / "explained" / "explanation.html"
    page = explanation.page.read_text(encoding="utf-8")
    assert page.count("<section>") == page.count("<h2>") == 2
    assert page.count('<img src="data:image/webp;base64,') == 2 * 4
    assert page.count(">Cross-attend 2 of 2</figcaption>") == 2
    assert page.count('<th scope="row">audio</th>') == 1
    assert HOSTILE not in page.replace("<b>&lt;", "")
    assert not re.search(r"""\s(src|href)\s*=\s*(?!\s*"data:)|<script|https?://""", page)
    assert {path.name for path in explanation.page.parent.iterdir()} == {"explanation.html", "maps.npz"}


def test_of_many_examples_some_are_drawn_and_all_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table has an example a line; page and terminal say what is not drawn. Of many reads, too."""
    monkeypatch.setattr(explain, "MAX_DRAWN", 3)
    monkeypatch.setattr(explain, "MAX_MAPS_DRAWN", 2)
    table = tmp_path / "people.csv"
    table.write_text("\n".join(["age,city,costs $ and $", *(f"{age},x,{age / 7}" for age in range(5))]))
    run = run_of(tmp_path / "run", TABLE, cross_attention=(0, 1, 1), latent_transformer=(0, 0, 0))
    main(["explain", str(run), str(table), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "drawn: the first 3 of 5 examples" in said
    assert said.splitlines()[-1] == f"explanation: {tmp_path / 'out' / 'explanation.html'}"
    assert said.count("people.csv row") == 5
    page = (tmp_path / "out" / "explanation.html").read_text(encoding="utf-8")
    assert "This page shows the first 3 of 5 examples." in page
    assert "It shows 2 of 3 cross-attends." in page
    assert page.count("<img ") == 3 * 4
    with np.load(tmp_path / "out" / "maps.npz") as arrays:
        assert len(arrays.files) == 1 + 5 * 4
        assert arrays["4/cross_attend3/table"].shape == (3, 1)


def test_the_terminal_tells_the_shares(films: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the last read, as in the JSON lines; of an absent modality a dash."""
    run = run_of(tmp_path / "run", BOTH)
    main(["explain", str(run), *map(str, films), "--json", "--method", "none"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == [answer.to_dict() for answer in sm.explain_files(run, films, methods=["none"]).answers]
    main(["explain", str(run), *map(str, films), "--method", "none"])
    _, first, second, _ = capsys.readouterr().out.splitlines()
    assert first.split()[-2:] == [f"{rows[0]['shares'][-1][name]:.1%}" for name in ("audio", "video")]
    assert second.split()[-2:] == ["–", "100.0%"]


def test_methods_are_drawn_written_and_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them for the predicted class; one of them for a named class; none."""
    np.save(tmp_path / "picture.npy", np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    run = run_of(tmp_path / "run", ImageConfig(size=(8, 8), patch=(2, 2), bands=2))
    arguments = ["explain", str(run), str(tmp_path / "picture.npy"), "--json"]
    main([*arguments, "--method", "all"])
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert list(row["deletion"]) == [*METHODS, "random"]
    assert all(0 < score < 1 for score in row["deletion"].values())
    page = (run / "explained" / "explanation.html").read_text("utf-8")
    assert page.count(f" for {escape(row['answer'])}</figcaption>") == 3
    assert page.count("<img ") == 3 + 3
    for score in row["deletion"].values():
        assert f"<b>{score:.3f}</b>" in page
    explanation = sm.explain_files(run, [tmp_path / "picture.npy"], methods=[BEST], of_class="b")
    maps, model = maps_of(explanation), sm.load(run)
    image = model.inputs.load(np.load(tmp_path / "picture.npy"))["image"]
    view = model.inputs.view({"image": torch.from_numpy(image)[None]})
    expected = integrated_gradients(model, view, torch.tensor([1])).signal[0]
    assert maps[f"0/{BEST}/image"].shape == (3, 8, 8)
    np.testing.assert_allclose(maps[f"0/{BEST}/image"], expected, atol=1e-6)
    assert "Integrated gradients for b</figcaption>" in explanation.page.read_text("utf-8")
    main([*arguments, "--method", "none"])
    assert "deletion" not in json.loads(capsys.readouterr().out)
    assert (run / "explained" / "explanation.html").read_text("utf-8").count("<img ") == 3


def test_single_latents_are_drawn_and_written(films: list[Path], tmp_path: Path) -> None:
    """A line for each cross-attend and head, a column for each latent and the input; numbers count from 1."""
    run = run_of(tmp_path / "run", BOTH)
    main(["explain", str(run), *map(str, films), "--latents", "2-3", "--cross-attend", "2", "--method", "none"])
    page = (run / "explained" / "explanation.html").read_text("utf-8")
    assert page.count('class="montage"') == 2
    assert "after the softmax" in page
    with np.load(run / "explained" / "maps.npz") as arrays:
        assert arrays["latents"].tolist() == [2, 3]
        assert arrays["0/cross_attend2/latents/video"].shape == (2, 1, 4, 1, 16, 16)
        assert arrays["0/cross_attend2/latents/audio"].shape == (2, 1, AUDIO.steps, AUDIO.mels, 1)
        assert not any("cross_attend1/latents" in name for name in arrays.files)
        assert "1/cross_attend2/latents/audio" not in arrays.files  # the second film has no sound
    main(["explain", str(run), str(films[0]), "--before-softmax", "--heads", "all", "--method", "none"])
    assert "before the softmax" in (run / "explained" / "explanation.html").read_text("utf-8")
    with np.load(run / "explained" / "maps.npz") as arrays:
        assert arrays["latents"].tolist() == [1, 2, 3]
        assert arrays["0/cross_attend1/latents/video"].min() < 0


def test_wrong_choices_are_one_line(texts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(tmp_path / "run", TEXT)
    for options, message in (
        (("--method", "gradcam"), "there is no method 'gradcam'"),
        (("--class", "c"), "the model has no class 'c'"),
        (("--latents", "1-9"), "no latent at index 3, which is number 4: the model has 3"),
        (("--latents", "0-3"), "--latents 0-3: give numbers from 1"),
        (("--heads", "x"), "--heads x: give numbers from 1"),
        (("--cross-attend", "3"), "no cross-attend at index 2, which is number 3: the model has 2"),
    ):
        assert message in refusal(capsys, run, texts[0], *options)
    assert not (run / "explained" / "maps.npz").exists()
    numbers = run_of(tmp_path / "numbers", TEXT, task=RegressConfig(classes=("x",), mean=(0.0,), std=(1.0,)))
    assert sm.explain_files(numbers, texts[:1]).answers[0].deletion is None
    assert "the task 'regress' has none" in refusal(capsys, numbers, texts[0], "--method", "rollout")


def test_points_are_explained_from_a_file_of_many(tmp_path: Path) -> None:
    """Arrays hold several examples; of a cloud of more points than the model takes, those that it takes are shown."""
    np.savez(tmp_path / "clouds.npz", x=np.random.default_rng(0).normal(size=(3, 30, 3)), y=np.arange(3) % 2)
    maps = maps_of(sm.explain_files(run_of(tmp_path / "run", PointsConfig(points=12)), [tmp_path / "clouds.npz"]))
    assert [maps[f"{example}/cross_attend1/points"].shape for example in range(3)] == [(12, 1)] * 3


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a refused command prints, with status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["explain", *map(str, arguments)])
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    return line.removeprefix("sensorium: ")


def test_bad_input_is_one_line_and_leaves_nothing(
    texts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each way to hand it something that cannot be used; neither page nor maps are begun."""
    run = run_of(tmp_path / "run", TEXT)
    empty, here = tmp_path / "empty.txt", tmp_path / "here"
    empty.touch()
    here.touch()
    (tmp_path / "cloud.npz").write_bytes(b"no array")
    assert "is it a finished run?" in refusal(capsys, tmp_path / "nowhere", texts[0])
    assert "FILES" in refusal(capsys, run)
    assert "nothing.txt: there is no such file" in refusal(capsys, run, texts[0], "nothing.txt")
    assert "empty.txt" in refusal(capsys, run, texts[0], empty)
    assert "cloud.npz" in refusal(capsys, run, tmp_path / "cloud.npz")
    assert not (run / "explained").exists()
    assert "choose another --out" in refusal(capsys, run, texts[0], "--out", here)
    assert "--jsn" in refusal(capsys, run, texts[0], "--jsn")
    blind = run_of(tmp_path / "blind", TEXT, cross_attention=(None,), latent_transformer=(0,))
    assert "no cross-attends" in refusal(capsys, blind, texts[0])
    (run / "model.safetensors").write_bytes(b"cut short")
    assert "damaged" in refusal(capsys, run, texts[0])


def test_a_failure_halfway_keeps_what_was_there(
    texts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that changes under our hands, or a full disk: the old page and maps stay, and nothing half-written."""
    explanation = sm.explain_files(run_of(tmp_path / "run", TEXT), texts)
    before = {path: path.read_bytes() for path in explanation.page.parent.iterdir()}

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(explain, "_add_array", fails)
    with pytest.raises(InputError, match=r"maps\.npz: cannot be written \(No space left on device\)"):
        sm.explain_files(tmp_path / "run", texts)
    assert {path: path.read_bytes() for path in explanation.page.parent.iterdir()} == before
