"""Learning signals without labels, and going on from there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sensorium as sm
from sensorium.errors import InputError
from test_runs import SMALL


def pictures(folder: Path, *, classes: tuple[str, ...] = ("",)) -> Path:
    """Light and dark pictures, half of which are light on the left; in class folders, or in none."""
    random = np.random.default_rng(0)
    for number in range(24):
        pixels = random.integers(0, 60, (16, 16, 3), dtype=np.uint8)
        pixels[:, : 8 if number % 2 else 16] += np.uint8(150 if number % 2 else 40)
        place = folder / classes[number % len(classes)]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def test_pretrained_on_loose_files_then_trained_on_classes(tmp_path: Path) -> None:
    """Files without labels make a run like any other; another one goes on with its inputs and its encoder."""
    out, again = tmp_path / "pretrained", tmp_path / "run"
    loose = pictures(tmp_path / "loose")
    report = sm.train(loose, out=out, task="reconstruct", epochs=2, settings=SMALL)
    assert report["metrics"]["psnr"] > 5
    assert (report["task"], report["headline"]) == ("reconstruct", "psnr")
    assert json.loads((out / "report.json").read_text())["metrics"] == report["metrics"]
    page = (out / "report.html").read_text()
    assert "Reconstruction" in page
    assert "psnr" in (out / "metrics.csv").read_text() or (out / "metrics.csv").exists()
    assert sm.evaluate(out, loose)["metrics"]["psnr"] == pytest.approx(report["metrics"]["psnr"])
    (row,) = sm.predict(out, [loose / "3.png"])
    with Image.open(row["answer"][0]) as picture:
        assert picture.size == (16, 16)
    labelled = pictures(tmp_path / "labelled", classes=("even", "odd"))
    sm.train(labelled, out=again, start=out, epochs=1, settings=[*SMALL[4:], "recipe.learning_rate=0.0"])
    one, two = sm.load(out), sm.load(again)
    assert two.config.task.kind == "classify"
    for part in ("inputs", "encoder"):
        ours, theirs = getattr(two, part).state_dict(), getattr(one, part).state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(InputError, match="are not configured as this run's"):
        sm.train(labelled, out=tmp_path / "other", start=out, epochs=1, settings=("model.encoder.latents=4",))


def test_data_without_labels_are_told_from_data_with(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "loose")
    with pytest.raises(InputError, match="no class folders"):
        sm.plan(folder)
    (folder / "dataset.yaml").write_text("target: {task: none}\n")
    with pytest.raises(InputError, match="use sensorium pretrain"):
        sm.plan(folder)
    config = sm.plan(folder, task="reconstruct").config
    assert config.model.task.hidden == {"image": 0.75}  # type: ignore[union-attr]


def test_words_are_filled_in(tmp_path: Path) -> None:
    """The other thing that may be learned without labels."""
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text("the quick brown fox " * (number + 1))
    report = sm.train(tmp_path, out=tmp_path / "run", task="fill", epochs=1, settings=SMALL)
    assert (report["task"], report["headline"]) == ("fill", "accuracy")


def test_a_run_on_other_signals_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "pretrained"
    sm.train(pictures(tmp_path / "loose"), out=out, task="reconstruct", epochs=1, settings=SMALL)
    random = np.random.default_rng(0)
    np.savez(tmp_path / "series.npz", x=random.normal(size=(20, 9, 2)), y=np.arange(20) % 2)
    with pytest.raises(InputError, match="it reads image, the data is series"):
        sm.plan(tmp_path / "series.npz", start=out)
