"""Structured attention in plain PyTorch, for every device and precision, in tiles.

The same function as the compiled pass, written so that it can be read beside the algebra. Memory grows with the tile,
never with latents × rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor

TILE = 2**20  # attention weights in memory at once, or those of one line of the grid where it has more


def forward(
    query: Tensor, tables: Tensor, values: Tensor, scale: Tensor, mask: Tensor | None, shape: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`sensorium.nn.ops.grid_attention`."""
    peak = query.new_full(query.shape[:-1], float("-inf"))
    mass, sums, marginals = torch.zeros_like(peak), torch.zeros_like(query), torch.zeros_like(tables)
    for tile in _tiles(query, tables, values, scale, mask, shape):
        logits = tile.logits(query, tables, tile.mask)
        new_peak = torch.maximum(peak, logits.amax(-1))
        finite_peak = new_peak.masked_fill(new_peak.isneginf(), 0.0)  # no row was present yet: avoid -inf - -inf
        factor = (peak - finite_peak).exp()
        weights = (logits - finite_peak[..., None]).exp()
        peak, mass = new_peak, mass * factor + weights.sum(-1)
        sums = sums * factor[..., None] + weights @ tile.values.mT
        marginals = marginals * factor[..., None]
        tile.add_marginals(marginals, weights)
    has_rows = mass > 0
    share = has_rows / mass.masked_fill(~has_rows, 1.0)
    return sums * share[..., None], marginals * share[..., None], peak + mass.log()


def backward(
    gradients: tuple[Tensor, Tensor, Tensor],
    query: Tensor,
    tables: Tensor,
    values: Tensor,
    scale: Tensor,
    mask: Tensor | None,
    log_sum: Tensor,
    shape: list[int],
    needs_rows: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, tables and, if ``needs_rows``, values and scale (else empty).

    Args:
        gradients: of ``sums``, of ``marginals``, and the constant that is added to the gradient of every attention
            weight: the gradient of ``log_sum`` less Σ sums · grad_sums and Σ marginals · grad_marginals.
    """
    grad_sums, grad_marginals, constant = gradients
    peak = log_sum.masked_fill(log_sum.isneginf(), float("inf"))  # no row is present: every weight is 0
    grad_query, grad_tables = torch.zeros_like(query), torch.zeros_like(tables)
    grad_values, grad_scale = (
        (torch.zeros_like(values), torch.zeros_like(scale))
        if needs_rows
        else (values.new_empty(0), values.new_empty(0))
    )
    for tile in _tiles(query, tables, values, scale, mask, shape):
        logits = tile.logits(query, tables, tile.mask)
        weights = (logits - peak[..., None]).exp()
        grad_logits = weights * (tile.logits(grad_sums, grad_marginals, None) + constant[..., None])
        grad_query += grad_logits @ tile.values.mT
        tile.add_marginals(grad_tables, grad_logits)
        if needs_rows:
            rows = slice(tile.begin, tile.end)
            grad_values[..., rows] += (query.mT @ grad_logits + grad_sums.mT @ weights).sum(1)
            scaled = grad_logits * tile.table_sums(tables) + weights * tile.table_sums(grad_marginals)
            grad_scale[..., rows] += scaled.sum((1, 2))
    return grad_query, grad_tables, grad_values, grad_scale


class _Tile:
    """Whole lines of a grid: the rows from ``begin`` to ``end``. A line is the rows that differ along the last axis.

    Attributes:
        values: batch × 1 × channels × rows of the tile.
        scale: batch × 1 × 1 × rows of the tile.
        mask: bool, the shape of ``scale``; or None.
    """

    def __init__(self, lines: slice, values: Tensor, scale: Tensor, mask: Tensor | None, shape: list[int]) -> None:
        *leading, width = shape
        self.num_lines, self.begin, self.end = lines.stop - lines.start, lines.start * width, lines.stop * width
        rows = slice(self.begin, self.end)
        self.values, self.scale = values[:, None, :, rows], scale[:, None, None, rows]
        self.mask = None if mask is None else mask[:, None, None, rows]
        indices = torch.unravel_index(torch.arange(lines.start, lines.stop, device=values.device), leading)
        starts = [sum(shape[:axis]) for axis in range(len(shape))]
        self.width, self.entries = width, [start + index for start, index in zip(starts, indices, strict=False)]

    def table_sums(self, tables: Tensor) -> Tensor:
        """The sum of the axes' table entries at each row: batch × heads × latents × rows of the tile."""
        total = tables[..., None, -self.width :]
        for entries in self.entries:
            total = total + tables[..., entries, None]
        return total.expand(*tables.shape[:-1], self.num_lines, self.width).flatten(-2)

    def logits(self, query: Tensor, tables: Tensor, mask: Tensor | None) -> Tensor:
        """batch × heads × latents × rows of the tile."""
        logits = torch.addcmul(query @ self.values, self.scale, self.table_sums(tables))
        return logits if mask is None else logits.masked_fill(~mask, float("-inf"))

    def add_marginals(self, marginals: Tensor, weights: Tensor) -> None:
        """Add the sums of weights · scale along each axis to ``marginals``, in place."""
        scaled = (weights * self.scale).unflatten(-1, (-1, self.width))
        marginals[..., -self.width :] += scaled.sum(-2)
        line_sums = scaled.sum(-1)
        for entries in self.entries:
            marginals.index_add_(-1, entries, line_sums)


def _tiles(
    query: Tensor, tables: Tensor, values: Tensor, scale: Tensor, mask: Tensor | None, shape: list[int]
) -> Iterator[_Tile]:
    *leading, width = shape
    num_lines = prod(leading)
    lines_per_tile = max(1, TILE // max(1, prod(query.shape[:-1]) * width))
    for start in range(0, num_lines, lines_per_tile):
        yield _Tile(slice(start, min(start + lines_per_tile, num_lines)), values, scale, mask, shape)
