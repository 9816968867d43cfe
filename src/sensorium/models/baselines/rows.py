"""The rows of a byte array as the networks of the baselines take them."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import InputError
from ...nn.byte_array import ByteArray, GridPositions


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
        batch × channels × grid, zero where rows are masked, and batch × 1 × grid, True = present.

    Raises:
        InputError: several modalities, or rows that do not lie on a grid of so many axes.

    >>> from sensorium.nn.byte_array import Segment
    >>> image = Segment("image", torch.zeros(4, 6, 3), GridPositions((torch.eye(2), torch.zeros(3, 2))))
    >>> present_grid(ByteArray((image,)), axes=2, reader="ResNet")[0].shape
    torch.Size([4, 5, 2, 3])
    """
    shape = grid_shape(array)
    if shape is None or len(shape) != axes:
        found = "rows without a grid" if shape is None else f"a grid of {len(shape)} axes"
        raise InputError(f"{reader} reads one grid of {axes} axes, this is {found}; use another backbone")
    rows, mask = present_rows(array)
    grid = rows.mT.unflatten(2, shape)
    return grid, None if mask is None else mask.unflatten(1, shape)[:, None]


def grid_shape(array: ByteArray) -> tuple[int, ...] | None:
    """The size of each axis of the grid that the rows lie on; None: they are of several modalities, or lie on none."""
    positions = array.segments[0].positions
    return positions.shape if len(array.segments) == 1 and isinstance(positions, GridPositions) else None


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
