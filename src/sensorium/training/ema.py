"""The exponential moving average of a model's weights (EMA), which is evaluated and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


def averaged(model: nn.Module, *, decay: float) -> AveragedModel:
    """The moving average of a model's weights, which begins as a copy of them.

    After each step, ``update_parameters(model)`` computes, with n the number of steps so far:

        d    = min(decay, n / (n + 9))
        ema ← ema + (1 - d) · (weights - ema)

    Early on d is small, so that the initial weights are soon forgotten. Buffers, which are averages themselves, are
    copied. The averaged model is ``.module``.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> ema = averaged(nn.Linear(1, 1, bias=False), decay=0.9)
    >>> _, _ = nn.init.zeros_(ema.module.weight), nn.init.ones_(model.weight)
    >>> ema.update_parameters(model)
    >>> round(ema.module.weight.item(), 4)
    0.9
    """
    ema = AveragedModel(model, multi_avg_fn=_with_warmup(decay))
    ema.n_averaged += 1  # the copy counts: without this the first update would copy instead of averaging
    return ema.requires_grad_(False)


def _with_warmup(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    @torch.no_grad()
    def update(averages: Tensors, weights: Tensors, updates: Tensor | int) -> None:
        steps = int(updates)
        torch._foreach_lerp_(list(averages), list(weights), 1 - min(decay, steps / (steps + 9)))

    return update
