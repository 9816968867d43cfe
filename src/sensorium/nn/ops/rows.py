"""Attention whose keys and values are the rows themselves, as a torch operator in plain PyTorch.

Absorbed attention needs it for every row that belongs to no structured grid: points, learned positions, sound, text,
tables. Both passes go over the rows in tiles that fit a processor's cache, so a million rows need no more memory than
the rows do; the backward pass recomputes the attention weights. It runs on every device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..precision import without_autocast
from .eager import runs_eagerly

TILE = 2**19  # attention weights in memory at once


@dataclass(frozen=True)
class RowAttention:
    """Attention over rows; p are the softmax weights over them.

    Attributes:
        sums: Σ p · row, batch × latents × channels, float32 at least; zeros where every row is masked.
        log_sum: log Σ exp(logit), batch × latents; -inf where every row is masked. Attention over other rows is merged
            by it.
    """

    sums: Tensor
    log_sum: Tensor


def row_attention(query: Tensor, rows: Tensor, mask: Tensor | None) -> RowAttention:
    """Attention of ``query`` to ``rows``, which are both keys and values; the logits are plain products.

    Args:
        query: batch × latents × channels; several heads are more latents.
        rows: batch × rows × channels, of the query's dtype. Products are computed in it, all else in float32 at least.
        mask: batch × rows, bool, True = present; None: every row is present.

    >>> attended = row_attention(torch.zeros(1, 2, 3), torch.ones(1, 5, 3), None)
    >>> attended.sums.shape, attended.log_sum.exp()
    (torch.Size([1, 2, 3]), tensor([[5., 5.]]))
    """
    operator = _forward if runs_eagerly(query) else _row_attention
    return RowAttention(*operator(query, rows, mask))


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
            new_peak = torch.maximum(peak, logits.amax(-1, keepdim=True))
            finite_peak = new_peak.masked_fill(new_peak.isneginf(), 0.0) if mask is not None else new_peak
            factor, peak = (peak - finite_peak).exp(), new_peak
            weights = logits.sub_(finite_peak).exp_()
            mass = mass * factor + weights.sum(-1, keepdim=True)
            sums[examples] = sums[examples] * factor + _product(weights, rows[examples, tile])
        sums[examples] /= mass.clamp_min(torch.finfo(exact).tiny)
        log_sum[examples] = (peak + mass.log()).squeeze(-1)
    return sums, log_sum


_row_attention = torch.library.custom_op("sensorium::row_attention", mutates_args=())(_forward)


@torch.library.custom_op("sensorium::row_attention_backward", mutates_args=())
def _backward(
    grad_sums: Tensor,
    constant: Tensor,
    query: Tensor,
    rows: Tensor,
    mask: Tensor | None,
    log_sum: Tensor,
    needs_rows: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of the query and, if ``needs_rows``, of the rows (else empty).

    ``constant``, batch × latents, is added to the gradient of every attention weight.
    """
    grad_query = torch.zeros_like(query, dtype=log_sum.dtype)
    grad_rows = torch.zeros_like(rows) if needs_rows else rows.new_empty(0)
    lowered = grad_sums.to(rows.dtype)
    peak = log_sum.masked_fill(log_sum.isneginf(), float("inf"))[..., None]  # no row is present: every weight is 0
    for examples, tiles in _tiles(query, rows):
        for tile in tiles:
            weights = _logits(query[examples], rows[examples, tile]).sub_(peak[examples]).exp_()
            if mask is not None:
                weights.masked_fill_(~mask[examples, None, tile], 0.0)
            grad_logits = _logits(lowered[examples], rows[examples, tile])
            grad_logits.add_(constant[examples, :, None]).mul_(weights)
            grad_query[examples] += _product(grad_logits, rows[examples, tile])
            if needs_rows:
                grad_rows[examples, tile] = grad_logits.mT.to(rows.dtype) @ query[examples]
                grad_rows[examples, tile] += weights.mT.to(rows.dtype) @ lowered[examples]
    return grad_query.to(query.dtype), grad_rows


def _tiles(query: Tensor, rows: Tensor) -> Iterator[tuple[slice, list[slice]]]:
    """Examples that are computed together, with the tiles of rows to go over."""
    batch, num_latents, _ = query.shape
    num_rows = rows.shape[1]
    rows_per_tile = min(num_rows, max(256, TILE // max(1, num_latents)))
    examples_per_tile = max(1, TILE // max(1, num_latents * rows_per_tile))
    starts = range(0, num_rows, rows_per_tile) if num_rows else ()
    tiles = [slice(start, min(start + rows_per_tile, num_rows)) for start in starts]
    for start in range(0, batch, examples_per_tile):
        yield slice(start, min(start + examples_per_tile, batch)), tiles


def _logits(query: Tensor, rows: Tensor) -> Tensor:
    with without_autocast(query.device.type):
        if query.dtype == torch.float16:  # logits exceed the range of float16
            return query.float() @ rows.float().mT
        product = query @ rows.mT
        return product if product.dtype == torch.float64 else product.float()


def _product(weights: Tensor, rows: Tensor) -> Tensor:
    with without_autocast(weights.device.type):
        if rows.dtype == torch.float16:  # so do sums
            return weights @ rows.float()
        return (weights.to(rows.dtype) @ rows).to(weights.dtype)


@_row_attention.register_fake
def _(query: Tensor, rows: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    exact = torch.promote_types(query.dtype, torch.float32)
    return query.new_empty(query.shape, dtype=exact), query.new_empty(query.shape[:-1], dtype=exact)


@_backward.register_fake
def _(
    grad_sums: Tensor,
    constant: Tensor,
    query: Tensor,
    rows: Tensor,
    mask: Tensor | None,
    log_sum: Tensor,
    needs_rows: bool,
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(rows) if needs_rows else rows.new_empty(0)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, *output)


def _gradients(ctx: Any, grad_sums: Tensor, grad_log_sum: Tensor) -> tuple[Tensor, Tensor | None, None]:
    query, rows, mask, sums, log_sum = ctx.saved_tensors
    needs_rows = ctx.needs_input_grad[1]
    constant = (grad_log_sum - (grad_sums * sums).sum(-1)).masked_fill(log_sum.isneginf(), 0.0)
    grad_query, grad_rows = _backward(grad_sums.contiguous(), constant, query, rows, mask, log_sum, needs_rows)
    return grad_query, grad_rows if needs_rows else None, None


_row_attention.register_autograd(_gradients, setup_context=_save)
