"""How precise arithmetic is: what autocast lowers, and what it must not reach."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def exact(x: Tensor) -> Tensor:
    """float32 at least."""
    return x if x.dtype == torch.float64 else x.float()


def lowered(x: Tensor) -> Tensor:
    """In the precision that autocast asks for, where it is on."""
    return x.to(torch.get_autocast_dtype(x.device.type)) if _autocasts(x.device.type) else x


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Arithmetic as precise as its operands."""
    return torch.autocast(device, enabled=False) if _autocasts(device) else nullcontext()


def _autocasts(device: str) -> bool:
    """Whether autocast is on; ``meta`` knows none."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
