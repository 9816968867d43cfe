"""Models, settings of runs, and data small enough for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.modalities import ImageConfig, PointsConfig
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.nn import EncoderConfig
from sensorium.tasks import ClassifyConfig

IMAGE = ImageConfig(size=(6, 6), channels=1, patch=(2, 2), bands=3, mean=(0.5,), std=(0.3,))
POINTS = PointsConfig(points=12, bands=3, resolution=8.0)
ENCODER = EncoderConfig(
    num_latents=3,
    latent_channels=8,
    cross_attention=(0, 1, 1),
    latent_transformer=(0, 0, 0),
    num_layers=1,
    num_self_attention_heads=2,
)

ONE_LAYER = EncoderConfig(
    num_latents=4,
    latent_channels=16,
    cross_attention=(0,),
    latent_transformer=(0,),
    num_layers=1,
    num_self_attention_heads=2,
)
# Of `sensorium train --set`; the latents come last, so that a test may ask for fewer.
SMALL_RUN = (
    "recipe.precision=float32",
    "recipe.batch_size=8",
    "model.encoder.num_self_attention_heads=2",
    "model.encoder.num_layers=1",
    "model.encoder.num_latents=8",
    "model.encoder.latent_channels=16",
)
SMALLEST_RUN = (*SMALL_RUN[:4], "model.encoder.num_latents=4", "model.encoder.latent_channels=8")


def signs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two kinds of short series that differ in sign, (count, 12, 2), and their labels."""
    labels = np.arange(count) % 2
    noise = np.random.default_rng(0).normal(0, 0.3, (count, 12, 2))
    return noise + np.where(labels == 1, 1.0, -1.0)[:, None, None], labels


class TensorSamples:
    """Tensors with names, with the methods of ``sensorium.data.Samples``."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors
        self.set_aside: tuple[str, ...] = ()
        self.names = [f"{index}.png" for index in range(len(next(iter(tensors.values()))))]

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return {name: tensor[list(indices)] for name, tensor in self.tensors.items()}


def small_model(inputs: Any, task: Any, **parts: Any) -> Perceiver:
    """A model whose predictions and attention differ between examples."""
    torch.manual_seed(0)
    model = Perceiver(PerceiverConfig(inputs=inputs, encoder=ENCODER, task=task, **parts))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model


def classes(count: int) -> ClassifyConfig:
    return ClassifyConfig(classes=tuple(f"class {index}" for index in range(count)))


def pictures(target: Tensor | None, *, count: int = 20) -> TensorSamples:
    images = torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    return TensorSamples({"image": images} if target is None else {"image": images, "target": target})


def clouds(target: Tensor) -> TensorSamples:
    """Every other cloud has fewer points than the rest."""
    count = len(target)
    mask = torch.ones(count, 12, dtype=torch.bool)
    mask[::2, 7:] = False
    points = torch.rand(count, 12, 3, generator=torch.Generator().manual_seed(2)) * 2 - 1
    return TensorSamples({"points": points * mask[..., None], "points.mask": mask, "target": target})
