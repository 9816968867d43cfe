"""The structured read in plain PyTorch: any device and precision, tile by tile, never latents × rows at once.

The same function as the compiled pass, line by line simple enough to be read beside the algebra.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor

TILE = 2**20  # weights that are in memory at once, or those of one line where it has more


def forward(
    query: Tensor, tables: Tensor, values: Tensor, scale: Tensor, mask: Tensor | None, shape: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`sensorium.nn.ops.grid_read`."""
    peak = query.new_full(query.shape[:-1], float("-inf"))
    mass, sums, marginals = torch.zeros_like(peak), torch.zeros_like(query), torch.zeros_like(tables)
    for tile in _tiles(query, tables, values, scale, mask, shape):
        logits = tile.logits(query, tables, tile.mask)
        higher = torch.maximum(peak, logits.amax(-1))
        fresh = higher.masked_fill(higher.isneginf(), 0.0)  # nothing present yet: keep -inf - -inf out
        factor = (peak - fresh).exp()
        weights = (logits - fresh[..., None]).exp()
        peak, mass = higher, mass * factor + weights.sum(-1)
        sums = sums * factor[..., None] + weights @ tile.values.mT
        marginals = marginals * factor[..., None]
        tile.add_marginals(marginals, weights)
    some = mass > 0
    share = some / mass.masked_fill(~some, 1.0)
    return sums * share[..., None], marginals * share[..., None], peak + mass.log()


def backward(
    slopes: tuple[Tensor, Tensor, Tensor],
    query: Tensor,
    tables: Tensor,
    values: Tensor,
    scale: Tensor,
    mask: Tensor | None,
    log_sum: Tensor,
    shape: list[int],
    rows: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Slopes of a loss with respect to query, tables and, if ``rows``, values and scale (else empty).

    Args:
        slopes: with respect to ``sums`` and ``marginals``, and what each softmax weight gets beside: the slope of
            ``log_sum`` less Σ sums·slope and Σ marginals·slope.
    """
    sums_slope, marginals_slope, constant = slopes
    peak = log_sum.masked_fill(log_sum.isneginf(), float("inf"))  # nothing was read: every weight is 0
    query_slope, tables_slope = torch.zeros_like(query), torch.zeros_like(tables)
    values_slope, scale_slope = (
        (torch.zeros_like(values), torch.zeros_like(scale)) if rows else (values.new_empty(0), values.new_empty(0))
    )
    for tile in _tiles(query, tables, values, scale, mask, shape):
        logits, slope = tile.logits(query, tables, tile.mask), tile.logits(sums_slope, marginals_slope, None)
        weights = (logits - peak[..., None]).exp()
        slope = weights * (slope + constant[..., None])
        query_slope += slope @ tile.values.mT
        tile.add_marginals(tables_slope, slope)
        if rows:
            at = slice(tile.begin, tile.end)
            values_slope[..., at] += (query.mT @ slope + sums_slope.mT @ weights).sum(1)
            both = slope * tile.tables(tables) + weights * tile.tables(marginals_slope)
            scale_slope[..., at] += both.sum((1, 2))
    return query_slope, tables_slope, values_slope, scale_slope


class _Tile:
    """Whole lines of a grid (a line: the rows that differ along the last axis only), from ``begin`` to ``end``.

    Attributes:
        values: batch × 1 × channels × rows of the tile.
        scale: batch × 1 × 1 × rows of the tile.
        mask: as scale, bool; or None.
    """

    def __init__(self, lines: slice, values: Tensor, scale: Tensor, mask: Tensor | None, shape: list[int]) -> None:
        *leading, width = shape
        self.lines, self.begin, self.end = lines.stop - lines.start, lines.start * width, lines.stop * width
        at = slice(self.begin, self.end)
        self.values, self.scale = values[:, None, :, at], scale[:, None, None, at]
        self.mask = None if mask is None else mask[:, None, None, at]
        places = torch.unravel_index(torch.arange(lines.start, lines.stop, device=values.device), leading)
        starts = [sum(shape[:axis]) for axis in range(len(shape))]
        self.width, self.entries = width, [start + place for start, place in zip(starts, places, strict=False)]

    def tables(self, tables: Tensor) -> Tensor:
        """What the axes' tables add up to: batch × heads × latents × rows of the tile."""
        total = tables[..., None, -self.width :]
        for entries in self.entries:
            total = total + tables[..., entries, None]
        return total.expand(*tables.shape[:-1], self.lines, self.width).flatten(-2)

    def logits(self, query: Tensor, tables: Tensor, mask: Tensor | None) -> Tensor:
        logits = torch.addcmul(query @ self.values, self.scale, self.tables(tables))
        return logits if mask is None else logits.masked_fill(~mask, float("-inf"))

    def add_marginals(self, marginals: Tensor, weights: Tensor) -> None:
        """Add the sums of weights · scale along each axis to ``marginals``, in place."""
        lines = (weights * self.scale).unflatten(-1, (-1, self.width))
        marginals[..., -self.width :] += lines.sum(-2)
        total = lines.sum(-1)
        for entries in self.entries:
            marginals.index_add_(-1, entries, total)


def _tiles(
    query: Tensor, tables: Tensor, values: Tensor, scale: Tensor, mask: Tensor | None, shape: list[int]
) -> Iterator[_Tile]:
    *leading, width = shape
    count = prod(leading)
    step = max(1, TILE // max(1, prod(query.shape[:-1]) * width))
    for start in range(0, count, step):
        yield _Tile(slice(start, min(start + step, count)), values, scale, mask, shape)
