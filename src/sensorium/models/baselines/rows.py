"""The rows of a byte array as the networks of the baselines take them."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InputError
from ...nn.byte_array import ByteArray, GridPositions, Layout


def present_rows(array: ByteArray) -> tuple[Tensor, Tensor | None]:
    """The rows of a byte array, batch × rows × channels, zero where they are masked, and the mask (batch × rows, True =
    present; None: every row is)."""
    rows, mask = array.dense(), array.mask
    return (rows, None) if mask is None else (rows.masked_fill(~mask[..., None], 0.0), mask)


def present_grid(array: ByteArray, *, axes: int, reader: str) -> tuple[Tensor, Tensor | None]:
    """The rows of a byte array on their grid.

    Args:
        axes: of the grid.
        reader: the network that reads it, for the error.

    Returns:
        batch × channels × grid, zero where rows are masked or cells are empty, and batch × 1 × grid, True = present.

    Raises:
        InputError: several modalities, or rows that do not lie on a grid of so many axes, or more of them than it has
            cells.

    >>> from sensorium.nn.byte_array import Segment
    >>> image = Segment("image", torch.zeros(4, 6, 3), GridPositions((torch.eye(2), torch.zeros(3, 2))))
    >>> present_grid(ByteArray((image,)), axes=2, reader="ResNet")[0].shape
    torch.Size([4, 5, 2, 3])
    """
    layout = grid_layout(array)
    if layout is None or len(layout.shape) != axes:
        found = "rows without a grid" if layout is None else f"a grid of {len(layout.shape)} axes"
        raise InputError(f"{reader} reads one grid of {axes} axes, this is {found}; use another backbone")
    rows, mask = present_rows(array)
    empty = prod(layout.shape) - array.num_rows
    if empty < 0:
        sides = " × ".join(map(str, layout.shape))
        raise InputError(f"{reader} reads a grid of {sides} cells, which {array.num_rows:,} rows do not fit on")
    if empty:
        present = rows.new_ones(rows.shape[:2], dtype=torch.bool) if mask is None else mask
        rows, mask = F.pad(rows, (0, 0, 0, empty)), F.pad(present, (0, empty))
    if layout.order is not None:
        rows, mask = rows[:, layout.order], None if mask is None else mask[:, layout.order]
    grid = rows.mT.unflatten(2, layout.shape)
    return grid, None if mask is None else mask.unflatten(1, layout.shape)[:, None]


def grid_layout(array: ByteArray) -> Layout | None:
    """Where the rows stand on a grid; None: they are of several modalities, or stand on none."""
    if len(array.segments) > 1:
        return None
    (segment,) = array.segments
    if segment.layout is None and isinstance(segment.positions, GridPositions):
        return Layout(segment.positions.shape)
    return segment.layout


def masked_mean(rows: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of the rows that are present, batch × channels; zeros where none is.

    Args:
        rows: batch × rows × channels.
        mask: batch × rows, or None: every row is present.
    """
    if mask is None:
        return rows.sum(1) / max(1, rows.shape[1])
    total = torch.where(mask[..., None], rows, 0.0).sum(1)
    return total / mask.sum(1, keepdim=True).clamp(min=1)
