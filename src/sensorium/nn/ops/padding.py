"""Channels padded to whole vectors of the processor."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

ALIGNMENT = 8  # fused attention kernels want a multiple of it: 261 channels become 264


def pad_channels(x: Tensor) -> Tensor:
    """``x`` with zeros after its last channel, up to a multiple of 8 channels."""
    extra = -x.shape[-1] % ALIGNMENT
    return F.pad(x, (0, extra)) if extra else x
