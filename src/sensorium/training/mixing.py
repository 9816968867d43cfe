"""Mixup and CutMix: each example of a batch mixed with another one, and their targets alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..modalities import Modality
from ..modalities.table import Table


def mix(
    batch: dict[str, Tensor],
    inputs: Modality,
    target: Any,
    *,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    generator: torch.Generator,
) -> tuple[dict[str, Tensor], Tensor]:
    """Mix each example with another one, chosen at random, and their targets in the same shares.

    Mixup adds a share of one signal to the rest of the other. CutMix puts a box of the other signal into this one; the
    share of this one is what is left around the box. The shares are drawn from Beta(alpha, alpha), one for each
    example. Where both are used, Mixup takes the first half of the batch and CutMix the second.

    Where the other example has nothing, as it is shorter or lacks a signal, this one stays as it is. The share of its
    target is that of what it has: of its rows, and then of its signals.

    Nothing here waits for the device.

    Args:
        batch: a viewed batch.
        inputs: the modality whose batch it is.
        target: batch × outputs, floats.
        mixup, cutmix: alpha of each; 0: it is not used.
        generator: the source of everything random.

    Returns:
        the mixed batch, and the mixed targets: batch × outputs.

    Raises:
        InputError: targets or signals that are not floats; CutMix of signals that are not pictures.
    """
    _check(batch, inputs, target, mixup=mixup, cutmix=cutmix)
    count = len(target)
    cut = torch.arange(count) >= (count // 2 if mixup and cutmix else count if mixup else 0)
    seed = int(torch.randint(2**31, (), generator=generator))
    alpha = torch.where(cut, cutmix, mixup)
    share = torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha)).to(target, non_blocking=True)
    cut = cut.to(target.device, non_blocking=True)
    partner = torch.randperm(count, generator=generator).to(target.device, non_blocking=True)
    around = None
    if cutmix:
        around = inputs.around_boxes(batch, share, generator)
        share = torch.where(cut, around.flatten(1).mean(1), share)
    mixed, shares, weights = {}, [], []
    for modality in _modalities(batch, inputs):
        name = modality.name
        signal, present = batch[name], _present(batch, name)
        weight = _along(share, signal)
        if around is not None:
            weight = torch.where(_along(cut, signal), around, weight)
        mixed[name] = torch.lerp(signal[partner], signal, weight.to(signal))
        shares.append(share)
        weights.append(torch.ones_like(share))
        if present is not None:
            both = present & present[partner]
            mixed[name] = torch.where(both.view(*both.shape, *[1] * (signal.ndim - 2)), mixed[name], signal)
            shares[-1] = 1 - (1 - share) * both.sum(1) / present.sum(1).clamp(min=1)
            weights[-1] = present.any(1).to(share)
    weight = torch.stack(weights)
    share = (torch.stack(shares) * weight).sum(0) / weight.sum(0).clamp(min=1)
    return {**batch, **mixed}, torch.lerp(target[partner], target, share[:, None])


def _check(batch: dict[str, Tensor], inputs: Modality, target: Any, *, mixup: float, cutmix: float) -> None:
    """Refuse what cannot be mixed."""
    cure = " and ".join(f"recipe.{name}=0" for name, alpha in (("mixup", mixup), ("cutmix", cutmix)) if alpha)
    if not isinstance(target, Tensor) or not target.is_floating_point():
        raise InputError(f"mixing needs classes or numbers as targets, and this task has signals; set {cure}")
    for modality in _modalities(batch, inputs):
        # The categories of a table are numbered in a column of floats: the number between two is a third one's.
        has_categories = isinstance(modality, Table) and modality.config.num_categories > 1
        if has_categories or not batch[modality.name].is_floating_point():
            raise InputError(f"mixing is of numbers, and {modality.name} holds names; set {cure}")


def _present(batch: dict[str, Tensor], name: str) -> Tensor | None:
    """What the examples have of a signal: bool, batch × its first axis, or batch × 1; None: all of it."""
    mask, present = batch.get(f"{name}.mask"), batch.get(f"{name}.present")
    if present is None:
        return mask
    return present[:, None] if mask is None else mask & present[:, None]


def _modalities(batch: dict[str, Tensor], inputs: Modality) -> list[Modality]:
    """The modalities that are in the batch."""
    return [modality for modality in inputs.modalities if modality.name in batch]


def _along(values: Tensor, signal: Tensor) -> Tensor:
    """One value for each example (batch,) in a shape that broadcasts to the signal's."""
    return values.view(-1, *[1] * (signal.ndim - 1))
