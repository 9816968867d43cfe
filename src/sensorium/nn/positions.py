"""Positions: Fourier features of grids and of points, and learned positions.

Grids are computed in float64 and returned in float32, points in float32 (an error below 6e-4 at a resolution of 2240);
never in fewer bits: at 224 pixels and 64 bands, bfloat16 positions are wrong by more than the whole range of a sine.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .byte_array import GridPositions, PointPositions
from .initialisation import truncated_normal

# Where the points of a grid of n lie along an axis. ``linspace``: from -1 to 1, both ends included. ``published``: at
# -1 + 2 i / n, which never reaches 1; the authors' queries for a part of a grid lie there, and nothing else.
Spacing: TypeAlias = Literal["linspace", "published"]


def fourier_channels(axes: int, bands: int) -> int:
    """The channels of Fourier features with the raw positions: axes · (2 · bands + 1).

    >>> fourier_channels(2, 64)
    258
    """
    return axes * (2 * bands + 1)


def frequencies(bands: int, resolution: float) -> Float[Tensor, " bands"]:
    """Band frequencies from 1 to resolution / 2, linear, both ends included (Perceiver §3.2): float64, (bands,)."""
    return torch.linspace(1.0, resolution / 2, bands, dtype=torch.float64)


def fourier_grid(
    shape: tuple[int, ...],
    *,
    bands: int,
    resolution: tuple[float, ...] | None = None,
    spacing: Spacing = "linspace",
) -> GridPositions:
    """Fourier features of a regular grid over [-1, 1], one table per axis.

    The channels are [position of each axis, sines axis by axis, cosines axis by axis], the order of the authors' code.

    Args:
        shape: rows along each axis.
        bands: frequency bands per axis.
        resolution: per axis, twice the highest frequency; the grid's own shape when None.
        spacing: where the points lie along an axis.

    Returns:
        tables of float32, size × axes·(2·bands + 1), zero outside the axis' own channels.

    >>> fourier_grid((224, 224), bands=64).channels
    258
    """
    axes = len(shape)
    resolution = resolution or tuple(float(size) for size in shape)
    tables = []
    for axis, size in enumerate(shape):
        position = _along(size, spacing)
        angles = torch.pi * position[:, None] * frequencies(bands, resolution[axis])
        table = torch.zeros(size, fourier_channels(axes, bands), dtype=torch.float64)
        table[:, axis] = position
        table[:, axes + axis * bands : axes + (axis + 1) * bands] = angles.sin()
        table[:, axes + (axes + axis) * bands : axes + (axes + axis + 1) * bands] = angles.cos()
        tables.append(table.float())
    return GridPositions(tuple(tables))


@lru_cache(maxsize=16)
def grid_positions(
    grid: tuple[int, ...],
    bands: int,
    resolution: tuple[float, ...],
    device: torch.device,
    spacing: Spacing = "linspace",
) -> GridPositions:
    """Fourier features of a grid of rows; they do not depend on the batch and are computed once for each shape."""
    positions = fourier_grid(grid, bands=bands, resolution=resolution, spacing=spacing)
    return GridPositions(tuple(table.to(device, non_blocking=True) for table in positions.tables))


def fourier_points(
    points: Float[Tensor, "batch rows axes"], *, bands: int, resolution: tuple[float, ...]
) -> PointPositions:
    """Fourier features of coordinates, in the channel order of :func:`fourier_grid`.

    Args:
        points: batch × rows × axes, in [-1, 1].
        bands: frequency bands per axis.
        resolution: per axis, twice the highest frequency.

    Returns:
        float32, batch × rows × axes·(2·bands + 1).
    """
    positions = points.float()
    table = (
        torch.stack([frequencies(bands, size) for size in resolution]).float().to(points.device, non_blocking=True)
    )  # axes × bands
    angles = (torch.pi * positions[..., None] * table).flatten(-2)
    return PointPositions(torch.cat([positions, angles.sin(), angles.cos()], dim=-1))


def _along(size: int, spacing: Spacing) -> Float[Tensor, " size"]:
    """The coordinates of a grid's points along one axis, float64."""
    if spacing == "linspace":
        return torch.linspace(-1.0, 1.0, size, dtype=torch.float64)
    return torch.arange(size, dtype=torch.float64) * 2 / size - 1


class LearnedPositions(nn.Module):
    """A learned position per row (Perceiver §4.1 "learned positions", Perceiver IO for text): truncated normal.

    Args:
        rows: how many rows have a position.
        channels: of a position encoding.
        std: standard deviation of the initial values.
    """

    def __init__(self, rows: int, channels: int, *, std: float = 0.02) -> None:
        super().__init__()
        self.table = nn.Parameter(truncated_normal(torch.empty(rows, channels), std))

    def forward(self, rows: int | None = None) -> GridPositions:
        """The positions of the first ``rows`` rows (all by default), as a grid of one axis."""
        return GridPositions((self.table[:rows],))
