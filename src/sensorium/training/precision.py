"""Which precision trains faster here."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ..models.perceiver import Perceiver

Precision: TypeAlias = Literal["float32", "bfloat16"]

REPEATS = 3
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


def products_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """A context in which matrix products are computed in a precision; weights stay float32.

    Args:
        precision: ``float32`` or ``bfloat16``.
        device: where they are computed.
    """
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def faster_precision(model: Perceiver, batch: dict[str, Tensor], *, checkpointing: bool = False) -> Precision:
    """The precision in which a forward and backward pass takes less time on the model's device: the best of three each.
    The model is left as it was.

    Args:
        model: on the device that trains. If it is sharded, all processes must call this.
        batch: as large as those that train.
        checkpointing: as in training.
    """
    buffers = [buffer.clone() for buffer in model.buffers()]  # because a batch norm counts these passes
    device = next(model.parameters()).device
    # Prepared as in training: an evaluation may ask for more outputs than gradients have room for.
    prepared = model.prepare(model.inputs.view(model.to_device(batch)), torch.Generator().manual_seed(0))
    times = dict.fromkeys(PRECISIONS, math.inf)
    for precision in PRECISIONS:
        for _ in range(REPEATS):
            began = _now(device)
            with products_in(precision, device):
                latents = model.encode(prepared.inputs, checkpointing=checkpointing)
                output = model.decode(latents, model.queries(prepared.inputs, prepared.query_indices)).output
                loss = model.loss(output, prepared.targets)
            loss.backward()
            times[precision] = min(times[precision], _now(device) - began)
        model.zero_grad(set_to_none=True)
    for buffer, before in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(before)
    return min(times, key=lambda precision: times[precision])


def _now(device: torch.device) -> float:
    """Seconds, when the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
