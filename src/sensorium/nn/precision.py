"""Precision of arithmetic: what autocast lowers, and what must stay in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

EPSILON = 1e-5  # of every layer norm, as in the authors' code


def exact(x: Tensor) -> Tensor:
    """``x`` in float32, or in float64 where it is."""
    return x if x.dtype == torch.float64 else x.float()


def lowered(x: Tensor) -> Tensor:
    """``x`` in the dtype of autocast, where autocast is on; else as it is."""
    return x.to(torch.get_autocast_dtype(x.device.type)) if _autocast_is_on(x.device.type) else x


def without_autocast(device: str) -> AbstractContextManager[object]:
    """A context in which arithmetic has the precision of its operands."""
    return torch.autocast(device, enabled=False) if _autocast_is_on(device) else nullcontext()


def _autocast_is_on(device: str) -> bool:
    """Whether autocast is on; the meta device has none."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
