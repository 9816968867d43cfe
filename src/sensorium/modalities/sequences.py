"""What signals in time have in common: the length of an example, windows, and resampling.

The fields of a signal called ``name`` are ``name`` (batch × steps × …) and, where a batch has them, ``name.mask`` and
``name.times`` (batch × steps); they are cut together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from ..errors import Absent
from .base import Batch, T

FIELDS = ("", ".mask", ".times")


def lengths(batch: Batch, name: str) -> Tensor:
    """The number of steps up to the last present one: int64, (batch,); at least 1."""
    signal, mask = batch[name], batch.get(f"{name}.mask")
    if mask is None:
        return torch.full(signal.shape[:1], signal.shape[1], device=signal.device)
    return (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(1).clamp(min=1)


def whole_rows(longest: int, step: int) -> range:
    """The lengths of a view that are whole rows of ``step`` elements, up to the row that holds the ``longest``-th.

    >>> list(whole_rows(10, 4))
    [4, 8, 12]
    """
    return range(step, -(-longest // step) * step + 1, step)


def cut(batch: Batch, name: str, start: Tensor, size: int) -> dict[str, Tensor]:
    """The window of ``size`` steps from ``start`` (batch,) of every field of ``name``; all steps if there are fewer."""
    result = dict(batch)
    if batch[name].shape[1] > size:
        index = start[:, None] + torch.arange(size, device=start.device)
        row = torch.arange(len(start), device=start.device)[:, None]
        for field in FIELDS:
            if name + field in result:
                result[name + field] = result[name + field][row, index]
    return result


def resample(signal: Tensor, moments: Tensor) -> Tensor:
    """The signal at other ``moments``: linear between steps, and constant before the first and after the last step.

    Args:
        signal: batch × steps × …, float.
        moments: batch × new steps, float, in steps from 0.

    Returns:
        batch × new steps × …

    >>> resample(torch.tensor([[0.0, 10.0]]), torch.tensor([[-1.0, 0.5, 2.0]]))
    tensor([[ 0.,  5., 10.]])
    """
    moments = moments.clamp(0, signal.shape[1] - 1)
    low = moments.floor().long()
    high = (low + 1).clamp(max=signal.shape[1] - 1)
    row = torch.arange(len(signal), device=signal.device)[:, None]
    part = (moments - low).view(*moments.shape, *[1] * (signal.ndim - 2))
    return torch.lerp(signal[row, low], signal[row, high], part)


def uniform(like: Tensor, shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Random numbers between ``low`` and ``high``: float32, on the device of ``like``."""
    return (
        torch.rand(shape, generator=generator, device=generator.device).to(like.device, non_blocking=True)
        * (high - low)
        + low
    )


def of_present(function: Callable[[Any], T], raws: Iterable[Any]) -> list[T]:
    """``function`` of every raw that has the signal.

    Raises:
        Absent: no raw has it.
    """
    results = []
    absent = None
    for raw in raws:
        try:
            results.append(function(raw))
        except Absent as error:
            absent = error
    if absent is not None and not results:
        raise absent
    return results
