"""The folded read of rows that are spelled out: keys = values = rows, one array, a tile of weights at a time.

For what is no grid: points, learned positions, sound, text, tables. Both passes go over the rows in tiles that fit a
processor's cache, so a million rows need no more memory than themselves; the backward pass computes the weights anew.
Plain PyTorch, on every device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..precision import without_autocast
from .eager import runs_eagerly

TILE = 2**19  # weights in memory at once


@dataclass(frozen=True)
class RowsRead:
    """What was read of rows.

    Attributes:
        sums: Σ p row, batch × latents × channels, float32 at least; zeros where there is no row.
        log_sum: log Σ exp(logit), batch × latents; -inf where there is no row. Reads of several pieces merge by it.
    """

    sums: Tensor
    log_sum: Tensor


def rows_read(query: Tensor, rows: Tensor, mask: Tensor | None) -> RowsRead:
    """Attention of ``query`` to ``rows`` with the rows themselves as keys and values; logits are plain products.

    Args:
        query: batch × latents × channels; several heads are more latents.
        rows: batch × rows × channels, of the same dtype: products in it, everything else in float32 at least.
        mask: batch × rows, bool, True = present; None: all are.

    >>> read = rows_read(torch.zeros(1, 2, 3), torch.ones(1, 5, 3), None)
    >>> read.sums.shape, read.log_sum.exp()
    (torch.Size([1, 2, 3]), tensor([[5., 5.]]))
    """
    return RowsRead(*(_forward if runs_eagerly(query) else _read)(query, rows, mask))


def _forward(query: Tensor, rows: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    exact = torch.promote_types(query.dtype, torch.float32)
    sums = query.new_zeros(query.shape, dtype=exact)
    log_sum = query.new_full(query.shape[:-1], float("-inf"), dtype=exact)
    for examples, tiles in _tiles(query, rows):
        peak, mass = log_sum[examples, :, None].clone(), torch.zeros_like(log_sum[examples, :, None])
        for tile in tiles:
            logits = _logits(query[examples], rows[examples, tile])
            if mask is not None:
                logits.masked_fill_(~mask[examples, None, tile], float("-inf"))
            higher = torch.maximum(peak, logits.amax(-1, keepdim=True))
            fresh = higher.masked_fill(higher.isneginf(), 0.0) if mask is not None else higher
            factor, peak = (peak - fresh).exp(), higher
            weights = logits.sub_(fresh).exp_()
            mass = mass * factor + weights.sum(-1, keepdim=True)
            sums[examples] = sums[examples] * factor + _product(weights, rows[examples, tile])
        sums[examples] /= mass.clamp_min(torch.finfo(exact).tiny)
        log_sum[examples] = (peak + mass.log()).squeeze(-1)
    return sums, log_sum


_read = torch.library.custom_op("sensorium::rows_read", mutates_args=())(_forward)


@torch.library.custom_op("sensorium::rows_read_backward", mutates_args=())
def _backward(
    sums_slope: Tensor,
    constant: Tensor,
    query: Tensor,
    rows: Tensor,
    mask: Tensor | None,
    log_sum: Tensor,
    wanted: bool,
) -> tuple[Tensor, Tensor]:
    """Slopes of query and, if ``wanted``, of rows (else empty); ``constant`` is added to the slope of every weight."""
    query_slope = torch.zeros_like(query, dtype=log_sum.dtype)
    rows_slope = torch.zeros_like(rows) if wanted else rows.new_empty(0)
    lowered = sums_slope.to(rows.dtype)
    peak = log_sum.masked_fill(log_sum.isneginf(), float("inf"))[..., None]  # nothing was read: every weight is 0
    for examples, tiles in _tiles(query, rows):
        for tile in tiles:
            weights = _logits(query[examples], rows[examples, tile]).sub_(peak[examples]).exp_()
            if mask is not None:
                weights.masked_fill_(~mask[examples, None, tile], 0.0)
            slope = _logits(lowered[examples], rows[examples, tile]).add_(constant[examples, :, None]).mul_(weights)
            query_slope[examples] += _product(slope, rows[examples, tile])
            if wanted:
                rows_slope[examples, tile] = slope.mT.to(rows.dtype) @ query[examples]
                rows_slope[examples, tile] += weights.mT.to(rows.dtype) @ lowered[examples]
    return query_slope.to(query.dtype), rows_slope


def _tiles(query: Tensor, rows: Tensor) -> Iterator[tuple[slice, list[slice]]]:
    """Examples that are computed together, and the tiles of rows to go over."""
    batch, latents, _ = query.shape
    count = rows.shape[1]
    step = min(count, max(256, TILE // max(1, latents)))
    together = max(1, TILE // max(1, latents * step))
    tiles = [slice(start, min(start + step, count)) for start in range(0, count, step)] if count else []
    for start in range(0, batch, together):
        yield slice(start, min(start + together, batch)), tiles


def _logits(query: Tensor, rows: Tensor) -> Tensor:
    with without_autocast(query.device.type):
        if query.dtype == torch.float16:  # whose range logits leave
            return query.float() @ rows.float().mT
        product = query @ rows.mT
        return product if product.dtype == torch.float64 else product.float()


def _product(weights: Tensor, rows: Tensor) -> Tensor:
    with without_autocast(weights.device.type):
        if rows.dtype == torch.float16:  # whose range sums leave, too
            return weights @ rows.float()
        return (weights.to(rows.dtype) @ rows).to(weights.dtype)


@_read.register_fake
def _(query: Tensor, rows: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    exact = torch.promote_types(query.dtype, torch.float32)
    return query.new_empty(query.shape, dtype=exact), query.new_empty(query.shape[:-1], dtype=exact)


@_backward.register_fake
def _(
    sums_slope: Tensor,
    constant: Tensor,
    query: Tensor,
    rows: Tensor,
    mask: Tensor | None,
    log_sum: Tensor,
    wanted: bool,
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(rows) if wanted else rows.new_empty(0)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, *output)


def _slopes(ctx: Any, sums_slope: Tensor, log_sum_slope: Tensor) -> tuple[Tensor, Tensor | None, None]:
    query, rows, mask, sums, log_sum = ctx.saved_tensors
    wanted = ctx.needs_input_grad[1]
    constant = (log_sum_slope - (sums_slope * sums).sum(-1)).masked_fill(log_sum.isneginf(), 0.0)
    query_slope, rows_slope = _backward(sums_slope.contiguous(), constant, query, rows, mask, log_sum, wanted)
    return query_slope, rows_slope if wanted else None, None


_read.register_autograd(_slopes, setup_context=_remember)
