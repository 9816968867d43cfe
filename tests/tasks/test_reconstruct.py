"""Signals asked for at their own places."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium.errors import InputError
from sensorium.modalities import (
    AudioConfig,
    FusionConfig,
    ImageConfig,
    LabelConfig,
    PointsConfig,
    SeriesConfig,
    TableConfig,
    TextConfig,
    VideoConfig,
    build_modality,
)
from sensorium.modalities.base import Soundtrack
from sensorium.modalities.table import Column
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.nn import DecoderConfig
from sensorium.tasks import ReconstructConfig, build_task
from small_models import ONE_LAYER

IMAGE = ImageConfig(size=(8, 8), patch=(2, 2), bands=2)
VIDEO = VideoConfig(frames=4, size=(8, 8), patch=(2, 4, 4), bands=2)
SOUND = AudioConfig(rate=100, samples=48, representation="raw", patch=(8, 1), bands=3)
COLUMNS = (Column(name="age", mean=40.0, std=10.0), Column(name="city", kind="category", categories=("Oslo", "Rome")))
SENSES: dict[str, tuple[Any, dict[str, Tensor]]] = {
    "image": (IMAGE, {"image": torch.rand(3, 3, 8, 8)}),
    "video": (VIDEO, {"video": torch.rand(3, 4, 3, 8, 8)}),
    "audio": (
        SOUND,
        {"audio": torch.rand(3, 48, 1) * 2 - 1, "audio.mask": torch.arange(48) < torch.tensor([[48], [30], [48]])},
    ),
    "text": (TextConfig(length=12, channels=8), {"text": torch.randint(6, 262, (3, 12))}),
    "series": (
        SeriesConfig(channels=2, length=12, mean=(0.0, 1.0), std=(1.0, 2.0), patch=3, bands=3),
        {"series": torch.randn(3, 12, 2)},
    ),
    "points": (
        PointsConfig(points=9, features=2, bands=2, mean=(0.0,) * 2, std=(1.0,) * 2),
        {"points": torch.rand(3, 9, 5)},
    ),
    "table": (
        TableConfig(columns=COLUMNS, channels=4),
        {"table": torch.tensor([[30.0, 1.0], [50.0, 0.0], [42.0, 1.0]])},
    ),
}
FUSION = FusionConfig(modalities={"video": VIDEO, "audio": SOUND, "label": LabelConfig(classes=5)})


def small(inputs: Any, **settings: Any) -> Perceiver:
    torch.manual_seed(0)
    task = ReconstructConfig(**settings)
    return Perceiver(PerceiverConfig(inputs=inputs, encoder=ONE_LAYER, decoder=DecoderConfig(), task=task)).eval()


def together() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {
        "video": torch.rand(3, 4, 3, 8, 8),
        "audio": torch.rand(3, 48, 1) * 2 - 1,
        "label": torch.tensor([[0], [4], [2]]),
        "audio.present": torch.tensor([True, True, False]),
    }


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", SENSES)
@pytest.mark.parametrize("hidden", [0.0, 0.5])
def test_every_kind_of_signal_is_reconstructed(kind: str, hidden: float) -> None:
    """In its own shape; the loss is finite and trains every parameter; metrics are numbers, larger is better."""
    inputs, batch = SENSES[kind]
    model = small(inputs, mask_ratio=hidden)
    prepared = model.prepare(batch, seeded())
    prediction = model(prepared.inputs, prepared.query_indices)
    assert prediction.signals[kind].shape == batch[kind].shape
    loss = model.loss(prediction.output, prepared.targets)
    loss.backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert all(name.endswith("key.bias") for name in idle)
    metrics = model.task.metrics()
    model.task.update_metrics(metrics, prediction, prepared.targets)
    found = metrics.compute()
    assert all(value.isfinite() for value in found.values())
    assert model.task.primary_metric in found


@pytest.mark.parametrize("kind", SENSES)
@pytest.mark.parametrize("tokens", [False, True])
def test_a_hidden_row_never_reaches_the_model(kind: str, tokens: bool) -> None:
    """Whatever values a hidden row has, the latents are the same; elsewhere it is not."""
    inputs, batch = SENSES[kind]
    model = small(inputs, mask_ratio=0.5, mask_tokens=tokens)
    inputs_with_holes = model.prepare(batch, seeded()).inputs
    hidden = inputs_with_holes[f"{kind}.hidden"]
    assert hidden.any(1).all()
    assert not hidden.all(1).any()
    other = _other(kind, batch, model)
    modality = model.inputs
    for chosen, same in ((hidden, True), (~hidden, False)):
        room = modality.attention_map(chosen.float(), batch) > 0
        room = room.reshape(batch[kind].shape) if room.numel() == batch[kind].numel() else room
        if kind == "points":  # only their features can be hidden: their coordinates are in the queries
            room = room & (torch.arange(5) > 2)
        changed = {**inputs_with_holes, kind: torch.where(room, other, batch[kind])}
        with torch.no_grad():
            first, second = model.encode(inputs_with_holes), model.encode(changed)
        assert torch.allclose(first, second, atol=1e-6) == same


def _other(kind: str, batch: dict[str, Tensor], model: Perceiver) -> Tensor:
    if kind == "table":
        return torch.tensor([10.0, 0.0]).expand(3, 2)
    return batch[kind].flip(0).roll(1, 1) if kind == "text" else torch.rand_like(batch[kind])


@pytest.mark.parametrize("elements", [(), ("video",)])
def test_a_part_is_that_part_of_the_whole(elements: tuple[str, ...]) -> None:
    model, batch = small(FUSION, elementwise=elements), together()
    whole = model(batch)
    rows = model.queries(batch).count
    indices = torch.randperm(rows, generator=seeded())[:20]
    part = model(batch, indices)
    start = 0
    for name, rows in whole.output.items():
        chosen = indices[(indices >= start) & (indices < start + rows.shape[1])] - start
        torch.testing.assert_close(part.output[name], rows[:, chosen], rtol=1e-5, atol=1e-6)
        start += rows.shape[1]
    with pytest.raises(InputError, match="a signal needs all of its rows"):
        _ = part.signals


def test_training_asks_for_some_places() -> None:
    """As many as are configured; of the others all; the loss of the part is that of the whole at those places."""
    model, batch = (
        small(FUSION, elementwise=("video",), num_queries={"video": 50, "audio": 4}, mask_ratio={"label": 0.5}),
        together(),
    )
    prepared = model.prepare(batch, seeded())
    assert {name: target.values.shape[1] for name, target in prepared.targets.items()} == {
        "video": 50,
        "audio": 4,
        "label": 1,
    }
    assert len(prepared.query_indices) == 55
    prediction = model(prepared.inputs, prepared.query_indices)
    assert {name: piece.shape[1:] for name, piece in prediction.output.items()} == {
        "video": (50, 3),
        "audio": (4, 8),
        "label": (1, 5),
    }
    every = model.prepare(batch)
    assert every.query_indices is None
    assert every.inputs["label.hidden"].all(), "a single row is always hidden in evaluation"
    often = [model.prepare(batch, seeded(seed)).inputs["label.hidden"].float().mean() for seed in range(60)]
    assert float(torch.stack(often).mean()) == pytest.approx(0.5, abs=0.12)


def test_what_is_absent_costs_nothing() -> None:
    model, batch = small(FUSION, mask_tokens=True), together()
    prepared = model.prepare(batch)
    assert not prepared.targets["audio"].counts[2].any()
    assert prepared.targets["audio"].counts[:2].all()
    other = {**batch, "audio": batch["audio"].clone()}
    other["audio"][2] = float("nan")
    first, second = (model.prepare(each) for each in (batch, other))
    losses = [model.loss(model(each.inputs).output, each.targets) for each in (first, second)]
    assert losses[0].isfinite()
    assert losses[0].equal(losses[1])
    losses[1].backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


def test_an_absent_label_is_predicted() -> None:
    """A class has no position: its query is learned, and it is asked of examples that come without one."""
    model, batch = small(FUSION, mask_tokens=True), together()
    del batch["label"], batch["audio.present"]
    prediction = model(batch)
    assert prediction.signals["label"].shape == (3, 1)
    unlabelled = {
        **batch,
        "label": torch.zeros(3, 1, dtype=torch.int64),
        "label.present": torch.zeros(3, dtype=torch.bool),
    }
    torch.testing.assert_close(model(unlabelled).output["label"], prediction.output["label"])


def test_a_lacking_signal_is_one_token() -> None:
    """Whatever the other examples of the batch have."""
    model, batch = small(FUSION, mask_tokens=True), together()
    alone = {key: tensor[2:] for key, tensor in batch.items() if not key.startswith("audio")}
    for name, rows in model(alone).output.items():
        torch.testing.assert_close(rows, model(batch).output[name][2:], rtol=1e-5, atol=1e-6)


def test_hidden_rows_are_what_counts() -> None:
    """Row by row and pixel by pixel; in evaluation others of each example, the same whatever its batch mates."""
    for elements in ((), ("image",)):
        model, (_, batch) = small(IMAGE, mask_ratio=0.75, elementwise=elements), SENSES["image"]
        prepared = model.prepare(batch)
        counts = prepared.targets["image"].counts
        assert counts.float().mean() == 0.75
        assert counts.shape == (3, 64 if elements else 16)
        alone = model.prepare({"image": batch["image"][1:2]})
        assert alone.targets["image"].counts[0].equal(counts[1])
        assert not counts[0].equal(counts[1])


def test_padding_hides_no_other_rows() -> None:
    """In evaluation: the same of a sound, however long its batch is."""
    model, (_, batch) = small(SOUND, mask_ratio=0.5), SENSES["audio"]
    long = model.prepare(batch).inputs["audio.hidden"]
    short = {"audio": batch["audio"][1:2, :32], "audio.mask": batch["audio.mask"][1:2, :32]}
    assert model.prepare(short).inputs["audio.hidden"][0].equal(long[1, :4])
    assert long.any(1).all()


def test_weights_and_ranges() -> None:
    """A loss by hand; a picture that is off by 0.1 everywhere has 20 dB."""
    model, (_, batch) = small(IMAGE, loss_weights={"image": 0.03}), SENSES["image"]
    prepared = model.prepare(batch)
    target = prepared.targets["image"]
    output = {"image": target.values + 0.5}
    assert float(model.loss(output, prepared.targets)) == pytest.approx(0.015, rel=1e-4)
    off = {"image": torch.full((3, 3, 8, 8), 0.5)}
    prepared = model.prepare(off)
    values = prepared.targets["image"].values + 0.1 / model.inputs.std.flatten().repeat(4)
    prediction = model(off)
    metrics = model.task.metrics()
    off_by_a_tenth = replace(prediction, output={"image": values})
    model.task.update_metrics(metrics, off_by_a_tenth, prepared.targets)
    assert float(metrics.compute()["psnr"]) == pytest.approx(20.0, abs=1e-3)


def test_the_peak_of_sound_is_from_the_least_to_the_largest_sample() -> None:
    """Sound that is off by 0.2 everywhere, a tenth of the way from -1 to 1, has 20 dB, as a picture off by 0.1 has."""
    sound = AudioConfig(rate=100, samples=20, representation="raw", patch=(4, 1), bands=2)
    task = build_task(ReconstructConfig(), inputs=build_modality(sound), query_channels=8)
    view = {"audio": torch.zeros(1, 20, 1)}
    target = task.prepare(view).targets["audio"]
    assert float(target.peak_signal_to_noise(torch.full((1, 20, 1), 0.2))) == pytest.approx(20.0, abs=1e-3)


def test_of_several_signals_the_loss_tells_the_best_weights() -> None:
    """Each of them counts, by its weight; of one signal alone its own metric tells."""
    model = small(FUSION, loss_weights={"audio": 5.0})
    metrics = dict.fromkeys(model.task.metrics(), 1.0)
    assert model.task.selection_score({**metrics, "loss": 2.0}) > model.task.selection_score(
        {**metrics, "loss": 3.0, "video_psnr": 99.0}
    )
    alone = small(IMAGE).task
    assert alone.selection_score({"psnr": 20.0, "loss": 3.0}) > alone.selection_score({"psnr": 19.0, "loss": 2.0})


def test_in_float64() -> None:
    model = small(FUSION, mask_ratio=0.5, elementwise=("video",)).double()
    batch = {key: value.double() if value.is_floating_point() else value for key, value in together().items()}
    prepared = model.prepare(batch, seeded())
    prediction = model(prepared.inputs, prepared.query_indices)
    assert {piece.dtype for piece in prediction.output.values()} == {torch.float64}
    model.loss(prediction.output, prepared.targets).backward()


def test_what_cannot_be_predicted_is_refused() -> None:
    with pytest.raises(InputError, match="positions but no values to predict"):
        small(PointsConfig(points=4))
    with pytest.raises(InputError, match="the model reads no signal 'imge'; did you mean 'image'"):
        small(IMAGE, num_queries={"imge": 3})
    with pytest.raises(InputError, match=r"mask_ratio of image is 1\.5; give a share"):
        small(IMAGE, mask_ratio=1.5)


def test_films_are_written_with_their_sound(tmp_path: Path) -> None:
    """An .mp4 that decodes to the pictures and the sound that went in, about; a .png and a .wav that do so exactly."""
    video = build_modality(VideoConfig(frames=6, rate=25.0, size=(31, 32), patch=(1, 1, 1)))
    sound = build_modality(AudioConfig(rate=8000, samples=1920, representation="raw", patch=(16, 1)))
    frames = torch.linspace(0, 1, 6)[:, None, None, None].expand(6, 3, 31, 32)
    wave = (torch.arange(1920) / 8000 * 440 * 2 * torch.pi).sin()[:, None] / 2
    (path,) = video.save_with(frames, tmp_path / "film", Soundtrack(wave, 8000))
    found = video.load(path)["video"]
    assert found.shape == (6, 3, 31, 32)
    assert abs(torch.from_numpy(found).float() / 255 - frames).max() < 0.05
    heard = sound.load(path)["audio"].astype("float32")[:1920, 0]
    assert float((torch.from_numpy(heard) - wave[: len(heard), 0]).square().mean().sqrt()) < 0.1
    again = sound.load(sound.save(wave, tmp_path / "tone")[0])["audio"]
    assert torch.allclose(torch.from_numpy(again).float(), wave, atol=1e-3)
    image = build_modality(ImageConfig(size=(8, 8)))
    picture = torch.rand(3, 8, 8)
    assert torch.allclose(
        torch.from_numpy(image.load(image.save(picture, tmp_path / "it")[0])["image"]) / 255, picture, atol=0.01
    )
    series = build_modality(SeriesConfig(channels=2, length=4, mean=(0.0,) * 2, std=(1.0,) * 2))
    assert np.load(series.save(torch.ones(4, 2), tmp_path / "it")[0])["series"].shape == (4, 2)
