"""Learning signals without labels, and going on from there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sensorium as sm
from builders import film
from sensorium.errors import InputError
from small_models import SMALL_RUN


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
    report = sm.train(loose, out=out, task="reconstruct", epochs=2, settings=SMALL_RUN)
    assert report["metrics"]["psnr"] > 5
    assert (report["task"], report["primary_metric"]) == ("reconstruct", "psnr")
    assert json.loads((out / "report.json").read_text())["metrics"] == report["metrics"]
    page = (out / "report.html").read_text()
    assert "Reconstruction" in page
    assert (
        (out / "metrics.csv").read_text().splitlines()[0].startswith("step,epoch,progress,seconds,loss,learning_rate")
    )
    assert sm.evaluate(out, loose)["metrics"]["psnr"] == pytest.approx(report["metrics"]["psnr"])
    (answer,) = sm.predict(out, [loose / "3.png"])
    assert isinstance(answer.answer, list)
    with Image.open(answer.answer[0]) as picture:
        assert picture.size == (16, 16)
    labelled = pictures(tmp_path / "labelled", classes=("even", "odd"))
    sm.train(labelled, out=again, start=out, epochs=1, settings=[*SMALL_RUN[4:], "recipe.learning_rate=0.0"])
    one, two = sm.load(out), sm.load(again)
    assert two.config.task.kind == "classify"
    for part in ("inputs", "encoder"):
        ours, theirs = getattr(two, part).state_dict(), getattr(one, part).state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(InputError, match="are not configured as this run's"):
        sm.train(labelled, out=tmp_path / "other", start=out, epochs=1, settings=("model.encoder.num_latents=4",))


def test_data_without_labels_are_told_from_data_with(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "loose")
    with pytest.raises(InputError, match="no class folders"):
        sm.plan(folder)
    (folder / "dataset.yaml").write_text("target: {task: none}\n")
    with pytest.raises(InputError, match="use sensorium pretrain"):
        sm.plan(folder)
    config = sm.plan(folder, task="reconstruct").config
    assert config.model.task.mask_ratio == {"image": 0.75}  # type: ignore[union-attr]


def test_words_are_filled_in(tmp_path: Path) -> None:
    """The other thing that may be learned without labels."""
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text("the quick brown fox " * (number + 1))
    report = sm.train(tmp_path, out=tmp_path / "run", task="mlm", epochs=1, settings=SMALL_RUN)
    assert (report["task"], report["primary_metric"]) == ("mlm", "accuracy")


# Kinetics' autoencoder for films of six frames, 16 × 16 pixels.
TINY = (
    "model.encoder.num_latents=4",
    "model.encoder.latent_channels=16",
    "model.encoder.num_layers=1",
    "model.decoder.qk_channels=16",
    "model.decoder.value_channels=16",
    "model.decoder.query_channels=200",
    "model.inputs.modalities.video.frames=4",
    "model.inputs.modalities.video.size=[16, 16]",
    "model.inputs.modalities.video.rate=10",
    "model.inputs.modalities.video.bands=4",
    "model.inputs.modalities.audio.rate=8000",
    "model.inputs.modalities.audio.samples=3200",
    "model.inputs.modalities.audio.bands=8",
    "model.task.num_queries.video=32",
    "model.task.num_queries.audio=32",
    "recipe.batch_size=4",
    "recipe.precision=float32",
    "recipe.ema_decay=0.0",
)
KINETICS = "perceiver-io-kinetics"


def films(folder: Path, *, classes: tuple[str, ...]) -> list[Path]:
    """Ten films with sound, in class folders or (where a class is called nothing) in none."""
    return [
        film(folder / classes[number % len(classes)] / f"{number}.mkv", sound=True, seed=number) for number in range(10)
    ]


def labels_of(plan: sm.Plan) -> set[str | None]:
    return {raw for part in plan.source.splits.values() for raw in part.raws["label"]}


def test_films_and_their_labels_are_what_kinetics_autoencoder_reads(tmp_path: Path) -> None:
    """The label is the name of the folder or what a table says, absent where it says nothing; without any the paper's
    classes remain."""
    films(tmp_path / "folders", classes=("dance", "swim", ""))
    planned = sm.plan(tmp_path / "folders", task="reconstruct", preset=KINETICS)
    assert labels_of(planned) == {"dance", "swim", None}
    label = planned.config.model.inputs.modalities["label"]
    assert (label.classes, label.names) == (2, ("dance", "swim"))
    assert planned.config.model.task.mask_ratio == {"label": 0.5}  # type: ignore[union-attr]
    again = sm.plan(tmp_path / "folders", task="reconstruct", preset=KINETICS, settings=TINY)
    assert again.source.kinds == {"audio": "audio", "video": "video", "label": "label"}

    paths = films(tmp_path / "table", classes=("clips",))
    told = ["", "swim", "dance"]
    lines = [f"{path.relative_to(tmp_path / 'table')},{told[number % 3]}" for number, path in enumerate(paths)]
    (tmp_path / "table" / "films.csv").write_text("\n".join(["path,label", *lines]))
    planned = sm.plan(tmp_path / "table", task="reconstruct", preset=KINETICS)
    assert labels_of(planned) == {"dance", "swim", None}
    assert planned.config.model.inputs.modalities["label"].names == ("dance", "swim")

    films(tmp_path / "loose", classes=("",))
    (tmp_path / "table" / "films.csv").write_text("\n".join(["path", *(line.split(",")[0] for line in lines)]))
    for folder in ("loose", "table"):
        planned = sm.plan(tmp_path / folder, task="reconstruct", preset=KINETICS)
        assert planned.source.kinds == {"audio": "audio", "video": "video"}
        assert planned.config.model.inputs.modalities["label"].classes == 700


def test_kinetics_autoencoder_is_trained_and_used(tmp_path: Path) -> None:
    """On films some of which have labels: scored, written with their sound, told their labels, gone on from."""
    paths = films(tmp_path / "films", classes=("dance", "swim", ""))
    run = tmp_path / "run"
    report = sm.train(tmp_path / "films", out=run, task="reconstruct", preset=KINETICS, epochs=1, settings=TINY)
    assert set(report["metrics"]) == {"loss", "video_psnr", "audio_psnr", "label_accuracy"}
    (answer,) = sm.predict(run, paths[:1])
    assert answer.label is not None
    assert set(answer.label) == {"dance", "swim"}
    assert sum(answer.label.values()) == pytest.approx(1, abs=1e-5)
    (written,) = [path for path in answer.answer if path.endswith(".mp4")]
    read = sm.load(run).inputs.load({"video": Path(written), "audio": Path(written)})
    assert read["video"].shape == (4, 3, 16, 16)
    assert len(read["audio"]) == pytest.approx(3200, abs=1100)  # in whole frames of the codec
    films(tmp_path / "classes", classes=("one", "two"))
    planned = sm.plan(tmp_path / "classes", start=run).config.model  # which lacks the label that the run reads
    assert planned.inputs == sm.load(run).config.inputs
    assert planned.task.classes == ("one", "two")  # type: ignore[union-attr]


def test_a_run_on_other_signals_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "pretrained"
    sm.train(pictures(tmp_path / "loose"), out=out, task="reconstruct", epochs=1, settings=SMALL_RUN)
    random = np.random.default_rng(0)
    np.savez(tmp_path / "series.npz", x=random.normal(size=(20, 9, 2)), y=np.arange(20) % 2)
    with pytest.raises(InputError, match="it reads image, the data is series"):
        sm.plan(tmp_path / "series.npz", start=out)
