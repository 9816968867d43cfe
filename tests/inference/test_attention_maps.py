"""Attention maps: in the signal's shape, scaled by its rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sensorium.errors import InputError
from sensorium.inference.attention_maps import (
    attention_map,
    attention_maps,
    attention_shares,
    mean_attention_shares,
    select,
    viewed,
)
from sensorium.inference.evaluate import evaluate_model
from sensorium.inference.predict import predict
from sensorium.modalities import FusionConfig
from sensorium.models import backbones, checkpoints
from sensorium.nn import EncoderConfig
from sensorium.nn.byte_array import ByteArray
from sensorium.report import write_report
from sensorium.report.explanation import explain_files
from small_models import IMAGE, POINTS, TensorSamples, classes, clouds, pictures, small_model


@pytest.mark.parametrize("kind", ["image", "points"])
def test_attention_sums_to_one_and_maps_fit_the_signal(kind: str) -> None:
    inputs, samples = (IMAGE, pictures(None, count=5)) if kind == "image" else (POINTS, clouds(torch.arange(5) % 2))
    model = small_model(inputs, classes(2))
    batch = viewed(model, samples, range(5))  # type: ignore[arg-type]
    torch.testing.assert_close(model.attention(batch).sum(-1), torch.ones(5, 3))
    last = attention_map(model, batch)
    assert last.shape == ((5, 1, 6, 6) if kind == "image" else (5, 12, 1))
    assert last.min() >= 0
    assert last.max() <= 1
    torch.testing.assert_close(last, attention_maps(model, batch)[2])
    assert not torch.equal(last, attention_map(model, batch, cross_attend=0))
    if kind == "points":
        absent = ~batch["points.mask"]
        assert absent.any()
        assert (last[..., 0][absent] == 0).all()


def test_uniform_attention_is_drawn_at_half_strength() -> None:
    model = small_model(IMAGE, classes(2))
    with torch.no_grad():
        for name, parameter in model.encoder.named_parameters():
            if "query" in name:
                parameter.zero_()
    batch = pictures(None, count=2).batch([0, 1])
    torch.testing.assert_close(attention_map(model, batch, cross_attend=0), torch.full((2, 1, 6, 6), 0.5))


def test_a_cross_attend_that_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="no cross-attend 3"):
        attention_map(small_model(IMAGE, classes(2)), pictures(None).batch([0]), cross_attend=3)


def test_shares_of_modalities_sum_to_one() -> None:
    """A modality that an example lacks gets none; the mean over examples is that of each alone."""
    model = small_model(FusionConfig(modalities={"image": IMAGE, "points": POINTS}), classes(2))
    samples = TensorSamples({**pictures(None, count=4).tensors, **clouds(torch.arange(4) % 2).tensors})
    samples.tensors["points.present"] = torch.tensor([True, True, True, False])
    batch = viewed(model, samples, range(4))  # type: ignore[arg-type]
    shares = attention_shares(model, batch)
    assert len(shares) == len(attention_maps(model, batch)) == 3
    for of_modality in shares:
        torch.testing.assert_close(of_modality["image"] + of_modality["points"], torch.ones(4))
        assert of_modality["points"][3] == 0
        assert (of_modality["points"][:3] > 0).all()
    mean = mean_attention_shares(model, samples)  # type: ignore[arg-type]
    assert mean["image"] == pytest.approx([float(of_modality["image"].mean()) for of_modality in shares], rel=1e-5)


def test_selecting_examples() -> None:
    signal = {"image": torch.rand(3, 1, 2, 2)}
    assert select(signal, 1)["image"].equal(signal["image"][1])
    assert select(signal["image"], slice(1, 2)).equal(signal["image"][1:2])


class MeanPool(nn.Module):
    """A backbone without attention: each latent is a linear layer of the mean row."""

    config: EncoderConfig
    num_latents, latent_channels = 2, 8

    def __init__(self, config: EncoderConfig, *, channels: int, names: list[str]) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 16)

    def forward(self, array: ByteArray, *, checkpointing: bool = False) -> Tensor:
        return self.linear(array.dense().mean(1)).unflatten(1, (2, 8))


def test_a_backbone_without_attention_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is evaluated, predicts and is reported without that section; to explain it is refused in one line."""
    monkeypatch.setitem(backbones.BACKBONES, "perceiver", MeanPool)
    model, samples = small_model(IMAGE, classes(2)), pictures(torch.arange(20) % 2)
    assert model.cross_attends == ()
    with pytest.raises(InputError, match="no attention maps"):
        attention_maps(model, samples.batch([0]))
    evaluation = evaluate_model(model, samples)  # type: ignore[arg-type]
    report = write_report(
        tmp_path,
        model=model,
        samples=samples,
        evaluation=evaluation,
        config={},
        train_seconds=1.0,
        seed=0,  # type: ignore[arg-type]
    )
    assert set(report["metrics"]) >= {"loss", "accuracy"}
    assert "Attention maps" not in (tmp_path / "report.html").read_text("utf-8")
    checkpoints.save(model, tmp_path / "run")
    from PIL import Image

    Image.new("L", (6, 6), 99).save(tmp_path / "grey.png")
    (answer,) = predict(tmp_path / "run", [tmp_path / "grey.png"])
    assert answer.answer in ("class 0", "class 1")
    with pytest.raises(InputError, match="it has no attention maps"):
        explain_files(tmp_path / "run", [tmp_path / "grey.png"])
