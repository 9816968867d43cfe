"""Pairs of frames in both directions, for the first phase of training on AutoFlow (Perceiver IO App. H)."""

from __future__ import annotations

import torch
from torch import Tensor


def in_both_directions(frames: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """The first half of a batch, each pair forward and reversed: as many pairs as there were.

    Args:
        frames: batch × 2 × 3 × height × width.
        flow: batch × 2 × height × width, in pixels, NaN where it is unknown.

    >>> frames, flow = in_both_directions(torch.rand(4, 2, 3, 8, 8), torch.zeros(4, 2, 8, 8))
    >>> frames.shape, frames[2:].equal(frames[:2].flip(1))
    (torch.Size([4, 2, 3, 8, 8]), True)
    """
    forward, reverse = (len(frames) + 1) // 2, len(frames) // 2
    return (
        torch.cat([frames[:forward], frames[:reverse].flip(1)]),
        torch.cat([flow[:forward], inverse_flow(flow[:reverse])]),
    )


def inverse_flow(flow: Tensor) -> Tensor:
    """The flow from the second frame to the first: at each pixel the mean of all motions that end there, turned round,
    as the authors approximate it; NaN where none ends.

    Args:
        flow: batch × 2 × height × width, in pixels, NaN where it is unknown.

    >>> inverse_flow(torch.tensor([[[[1.0, torch.nan, -2.0]], [[0.0, 0.0, 0.0]]]]))[0, 0]
    tensor([[ 2., -1., nan]])
    """
    batch, _, height, width = flow.shape
    right, down = flow.nan_to_num().unbind(1)
    x = (torch.arange(width, device=flow.device) + right).round().long()
    y = (torch.arange(height, device=flow.device)[:, None] + down).round().long()
    known = ~flow.isnan().any(1)
    ends = known & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    example = torch.arange(batch, device=flow.device)[:, None, None]
    pixel = ((example * height + y) * width + x)[ends]
    sums = flow.new_zeros(batch * height * width, 2).index_add_(0, pixel, -flow.movedim(1, -1)[ends])
    counts = flow.new_zeros(batch * height * width).index_add_(0, pixel, flow.new_ones(len(pixel)))
    return (sums / counts[:, None]).view(batch, height, width, 2).movedim(-1, 1)  # 0 / 0 is NaN
