"""Small models and byte arrays for tests."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.arrays import ByteArray, Segment
from sensorium.core.perceiver import Encoder, EncoderConfig

M = TypeVar("M", bound=nn.Module)


def shake(module: M, seed: int = 0) -> M:
    """Every parameter random and of some size, in float64: no bias, norm or head at a special value."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
            if "norm.weight" in name:
                parameter.add_(1.0)
    return module


def normal(*shape: int, seed: int = 1) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows_of(values: Tensor, mask: Tensor | None = None) -> ByteArray:
    """A byte array of one segment without codes: its rows are ``values``."""
    return ByteArray((Segment("rows", values, mask=mask),))


def small_encoder(channels: int = 6, **changes: object) -> Encoder:
    """A shaken encoder with two reads of one set of weights."""
    shape: dict[str, object] = {
        "latents": 3,
        "width": 8,
        "reads": (0, 1, 1),
        "processes": (0, 0, None),
        "layers": 1,
        "read_heads": 1,
        "process_heads": 2,
    }
    return shake(Encoder(EncoderConfig(**(shape | changes)), channels=channels))  # type: ignore[arg-type]


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    """A module's parameters, for the reference."""
    return {name: parameter.detach().numpy().copy() for name, parameter in module.named_parameters()}


def gradients(module: nn.Module) -> dict[str, Tensor]:
    """A module's gradients; what was not used has a gradient of zero."""
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in module.named_parameters()
    }
