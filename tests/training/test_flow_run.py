"""Motion from data to report: learned of pictures or of pairs, judged by either, told of whole frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sensorium as sm
from sensorium.cli import main
from sensorium.codecs.flow import decode as decode_flow
from sensorium.codecs.flow import encode_file as encode_flow
from sensorium.data.layouts.pairs import following
from sensorium.models import checkpoints
from sensorium.tasks.whole_frames import WholeFrames
from sensorium.training.step import TrainingStep
from small_models import SMALL_RUN
from stand_ins import chairs, flow, kitti, sintel


def picture(path: Path, size: tuple[int, int] = (16, 16), seed: int = 0) -> Path:
    """Smooth noise in colour, height × width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size[::-1]).save(path)
    return path


def pair(folder: Path, size: tuple[int, int] = (16, 16), seed: int = 0, *, flow: bool = True) -> Path:
    """Everything moves two pixels to the right; what comes in from the left is unknown."""
    one = np.asarray(Image.open(picture(folder / "one.png", size, seed)))
    Image.fromarray(np.roll(one, 2, axis=1)).save(folder / "two.png")
    if flow:
        motion = np.zeros((2, *size), np.float32)
        motion[0] = 2
        motion[:, :, :2] = np.nan
        encode_flow(motion, folder / "flow.flo")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures in two folders, and ten pairs."""
    root = tmp_path_factory.mktemp("data")
    for number in range(10):
        picture(root / "pictures" / "ab"[number % 2] / f"{number}.png", seed=number)
        pair(root / "pairs" / f"{number}", seed=number)
    return root


@pytest.fixture(scope="module", params=["pictures", "pairs"])
def run(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / request.param
    main(["train", str(data / request.param), "--task", "flow", "--out", str(out), "--epochs", "2", *_set(SMALL_RUN)])
    return out


def _set(settings: tuple[str, ...]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a refused command prints, with status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sensorium:")]
    assert stop.value.code == 2
    return line


def test_a_run_tells_how_far_it_is_off(run: Path, data: Path) -> None:
    """Of pairs, no motion is off by 2; the share explained is what is left of that. Nothing but flow was looked at."""
    report = json.loads((run / "report.json").read_text())
    assert (report["task"], report["primary_metric"], report["samples"]) == ("flow", "explained", 2)
    assert set(report["metrics"]) == {"loss", "explained", "epe", "still"}
    metrics = report["metrics"]
    assert metrics["explained"] == pytest.approx(1 - metrics["epe"] / metrics["still"], abs=1e-5)
    if run.name == "pairs":
        assert metrics["still"] == pytest.approx(2)
    page = (run / "report.html").read_text()
    assert "Truth" in page
    assert "Cross-attend 1 of 1" in page
    config = sm.load(run).config
    assert config.inputs.kind == "pair"
    assert config.decoder is not None


def test_a_run_is_judged_by_pairs_and_by_pictures(run: Path, data: Path) -> None:
    """The same pictures are given the same motion each time."""
    assert sm.evaluate(run, data / "pairs")["metrics"]["still"] == pytest.approx(2)
    one, two = (sm.evaluate(run, data / "pictures")["metrics"] for _ in range(2))
    assert one == two
    assert one["still"] > 0


def test_a_data_set_is_scored_whole(run: Path, tmp_path: Path) -> None:
    """By the error of what is written of each pair, over all pixels whose motion is known; by passes, too."""
    sintel(tmp_path / "sintel")
    pairs = [tmp_path / "sintel" / "training" / name for name in ("clean", "final")]
    firsts = [frame for part in pairs for scene in part.iterdir() for frame in sorted(scene.iterdir())[:2]]
    files = [file for first in firsts for file in (first, following(first))]
    written = [decode_flow(Path(answer.answer[0])) for answer in sm.predict(run, files, out=tmp_path / "out")]
    errors = np.hypot(*np.moveaxis(np.stack(written) - flow(), 1, 0)).astype(np.float64)
    expected = {
        "whole": np.nanmean(errors),
        "clean_whole": np.nanmean(errors[: len(errors) // 2]),
        "final_whole": np.nanmean(errors[len(errors) // 2 :]),
    }
    metrics = sm.evaluate(run, tmp_path / "sintel")["metrics"]
    assert metrics == metrics | {f"{name}_epe": pytest.approx(error, rel=1e-5) for name, error in expected.items()}
    assert expected["clean_whole"] != expected["final_whole"]
    assert metrics["whole_epe"] != pytest.approx(metrics["epe"], rel=1e-6)  # which is of the middle


def test_frames_of_several_sizes_are_scored_whole(run: Path, tmp_path: Path) -> None:
    """KITTI's, by a model that predicts no motion: all of it is off by as much, and none by three pixels."""
    kitti(tmp_path / "kitti", 3)
    chairs(tmp_path / "chairs")
    with torch.no_grad():
        model = sm.load(run)
        model.decoder.linear.weight.zero_()
        model.decoder.linear.bias.zero_()
    checkpoints.save(model, tmp_path / "still")
    metrics = sm.evaluate(tmp_path / "still", tmp_path / "kitti")["metrics"]
    assert metrics["whole_epe"] == pytest.approx(5**0.5, rel=1e-5)
    assert metrics["whole_outliers"] == 0
    result = sm.evaluate(tmp_path / "still", tmp_path / "chairs" / "FlyingChairs_release", split="val")
    assert (result["samples"], result["metrics"]["whole_epe"]) == (2, pytest.approx(5**0.5, rel=1e-5))


def test_outliers_are_off_by_pixels_and_by_a_share() -> None:
    """4 pixels are too much of 20 to the right, but not of 100; 2 pixels never are; unknown motion does not count."""
    true = np.array([[[20.0, 100.0, 1.0, np.nan]], [[0.0] * 4]])
    whole = WholeFrames()
    whole.add(true + np.array([4.0, 4.0, 2.0, 0.0]) * np.array([1.0, 0.0])[:, None, None], true)
    assert whole.metrics() == {"whole_epe": pytest.approx(10 / 3), "whole_outliers": pytest.approx(1 / 3)}
    assert WholeFrames().metrics() == {}


def test_each_frame_counts_once_and_each_outlier() -> None:
    """As RAFT's evaluation: of KITTI's frames more or fewer pixels are known. A frame without any does not count."""
    whole, true = WholeFrames(), np.zeros((2, 1, 4))
    true[:, 0, 1:] = np.nan
    whole.add(true + 8, true)  # √128 off at the one pixel that is known
    whole.add(np.zeros((2, 1, 4)), np.zeros((2, 1, 4)))
    whole.add(np.zeros((2, 1, 4)), np.full((2, 1, 4), np.nan))
    assert whole.metrics() == {"whole_epe": pytest.approx(128**0.5 / 2), "whole_outliers": pytest.approx(1 / 5)}


def test_motion_is_written_whole(run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Larger frames than the model reads, smaller ones, and those whose flow is known, which it is compared with."""
    large = pair(tmp_path / "large", (40, 60), flow=False)
    small = pair(tmp_path / "small", (9, 30))
    out = tmp_path / "out"
    arguments = [large / "one.png", large / "two.png", large, small, "--out", out]
    main(["predict", str(run), *map(str, arguments), "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == [f"{large / 'one.png'} + {large / 'two.png'}", str(large), str(small)]
    for row, size in zip(rows, ((40, 60), (40, 60), (9, 30)), strict=True):
        flow, colours = row["answer"]
        found = decode_flow(Path(flow))
        assert found.shape == (2, *size)
        assert row["scores"]["mean motion"] == pytest.approx(np.hypot(*found).mean(), rel=1e-5)
        with Image.open(colours) as shown:
            assert shown.size == size[::-1]
    assert [Path(row["answer"][0]).name for row in rows] == ["0001-one.flo", "0002-large.flo", "0003-small.flo"]
    assert decode_flow(Path(rows[0]["answer"][0])).tolist() == decode_flow(Path(rows[1]["answer"][0])).tolist()
    assert "end-point error" not in rows[1]["scores"]
    error = np.hypot(decode_flow(Path(rows[2]["answer"][0]))[0] - 2, decode_flow(Path(rows[2]["answer"][0]))[1])[:, 2:]
    assert rows[2]["scores"]["end-point error"] == pytest.approx(error.mean(), rel=1e-5)
    main(["predict", str(run), str(large)])
    told = capsys.readouterr().out
    assert "mean motion" in told
    assert "0001-large.flo" in told
    assert (run / "flow" / "0001-large.png").exists()


def test_the_first_share_of_a_run_is_not_augmented(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the run; for another quarter augmentation then grows."""
    seen, prepare = [], TrainingStep.prepare

    def record(self: TrainingStep, *arguments: Any, strength: float) -> Any:
        seen.append(strength)
        return prepare(self, *arguments, strength=strength)

    monkeypatch.setattr(TrainingStep, "prepare", record)
    phases = ["recipe.unaugmented=0.25", "recipe.growing=0.25"]
    sm.train(data / "pairs", out=tmp_path / "run", epochs=8, settings=[*SMALL_RUN, *phases])
    assert seen == [0, 0, 0, 0.5, 1, 1, 1, 1]


def test_what_was_read_of_frames_is_shown(run: Path, tmp_path: Path) -> None:
    explained = sm.explain_files(run, [pair(tmp_path / "frames", (30, 30))], out=tmp_path / "explained")
    assert set(explained.answers[0].scores) == {"mean motion", "end-point error"}
    with np.load(explained.maps) as maps:
        assert maps["0/cross_attend1/pair"].shape == (2, 1, 16, 16)


def test_what_would_be_trained_is_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For every task that train and pretrain have."""
    for task, told in (("flow", "pair; flow\n"), ("classify", "image; classify, 2 classes"), ("tag", "2 tags")):
        main(["inspect", str(data / "pictures"), "--task", task])
        assert told in capsys.readouterr().out
    main(["inspect", str(data / "pictures"), "--task", "reconstruct"])
    assert "image; reconstruct\n" in capsys.readouterr().out
    main(["inspect", str(data / "pairs")])
    assert "pair; flow\n" in capsys.readouterr().out


def test_the_published_model_is_trained_on_any_frames(data: Path) -> None:
    """Its own prepared; motion is made up where pictures show none."""
    config = sm.plan(data / "pictures", task="flow", preset="perceiver-io-flow").config.model
    assert config.inputs == sm.plan(data / "pairs", preset="perceiver-io-flow").config.model.inputs
    assert config.task.kind == "flow"
    assert (config.task.num_queries, config.task.warps is None) == (4096, False)


def test_what_cannot_be_used_is_one_line(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = picture(tmp_path / "one.png"), picture(tmp_path / "other.png", (16, 30))
    assert "one.png: a frame without a second one" in refusal(capsys, "predict", run, one)
    told = refusal(capsys, "predict", run, one, other)
    assert "one.png" in told
    assert "frames of 16 × 16 and of 16 × 30 pixels; give two of one size" in told
    (tmp_path / "broken.png").write_bytes(b"")
    assert "the file is empty" in refusal(capsys, "predict", run, one, tmp_path / "broken.png")
    assert "no.png: there is no such file or folder" in refusal(capsys, "predict", run, one, tmp_path / "no.png")
    short = pair(tmp_path / "short")
    (short / "flow.flo").write_bytes((short / "flow.flo").read_bytes()[:100])
    assert "short" in refusal(capsys, "predict", run, short)
    assert "9 × 24 pixels, the model reads 16 × 16" in refusal(capsys, "explain", run, pair(tmp_path / "low", (9, 24)))
    np.savez(tmp_path / "series.npz", x=np.random.default_rng(0).normal(size=(20, 9, 2)), y=np.arange(20) % 2)
    assert "flow is learned of pairs of frames or of pictures" in refusal(
        capsys, "train", tmp_path / "series.npz", "--task", "flow"
    )
    (tmp_path / "pairs.yaml").write_text("layout: pairs\n")
    told = refusal(capsys, "train", data / "pictures", "--dataset", tmp_path / "pairs.yaml")
    assert "there is no flow in it; put a .flo file beside each two frames" in told
