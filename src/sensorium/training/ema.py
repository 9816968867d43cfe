"""The exponential moving average of a model's weights (EMA), which is evaluated and kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..processes import is_sharded
from .sharding import local, sharded_like


class Ema:
    """The moving average of a model's weights, which begins as a copy of them, and is sharded if they are.

    After each step, ``update(model)`` computes, with n the number of steps so far:

        d    = min(decay, n / (n + 9))
        ema ← ema + (1 - d) · (weights - ema)

    Early on d is small, so that the initial weights are soon forgotten. Buffers, which are averages themselves, are
    copied.

    Attributes:
        module: the averaged model; nothing in it has a gradient.
        updates: n.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> ema = Ema(nn.Linear(1, 1, bias=False), decay=0.9)
    >>> _, _ = nn.init.zeros_(ema.module.weight), nn.init.ones_(model.weight)
    >>> ema.update(model)
    >>> round(ema.module.weight.item(), 4)
    0.9
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.module = sharded_like(model) if is_sharded(model) else copy.deepcopy(model).requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the weights of the model, which may be sharded as the average is."""
        self.updates += 1
        share = 1 - min(self.decay, self.updates / (self.updates + 9))
        torch._foreach_lerp_(_local(self.module.parameters()), _local(model.parameters()), share)
        for own, buffer in zip(self.module.buffers(), model.buffers(), strict=True):
            own.copy_(buffer)


def _local(parameters: Iterator[nn.Parameter]) -> list[Tensor]:
    return [local(parameter.detach()) for parameter in parameters]
