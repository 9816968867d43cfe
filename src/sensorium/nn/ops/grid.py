"""Structured attention over a grid as a torch operator, computed by the compiled pass or by its fallback.

It is an operator of ``torch.library``, so autograd, ``torch.compile``, ``torch.export``, autocast and the meta device
handle it like torch's own. The backward pass recomputes the attention weights, as flash attention does: no tensor ever
has the size latents × rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from . import compiled, fallback
from .eager import runs_eagerly


@dataclass(frozen=True)
class GridAttention:
    """Attention over the rows of a grid; p are the softmax weights over these rows.

    Attributes:
        sums: Σ p · values, batch × heads × latents × channels; zeros where every row is masked.
        marginals: for each entry of each axis, Σ p · scale over the rows at that entry, batch × heads × latents × sum
            of ``shape``.
        log_sum: log Σ exp(logit), batch × heads × latents; -inf where every row is masked. Attention over other rows
            is merged by it.
    """

    sums: Tensor
    marginals: Tensor
    log_sum: Tensor


def grid_attention(
    query: Tensor, tables: Tensor, values: Tensor, scale: Tensor, mask: Tensor | None, shape: tuple[int, ...]
) -> GridAttention:
    """Attention over a grid whose logits are a product with the values plus one table entry an axis.

        logit[n, m] = Σ_k query[n, k] values[k, m] + scale[m] Σ_axes table_axis[n, i_axis(m)]

    Args:
        query: batch × heads × latents × channels.
        tables: batch × heads × latents × sum of ``shape``: the axes' tables, one after the other.
        values: batch × channels × rows, finite, at least one channel. Rows are in ``ij`` order.
        scale: batch × rows, finite.
        mask: batch × rows, bool, True = present; None: every row is present.
        shape: the size of each axis.

    All floats have one dtype; autocast turns them into float32.

    Raises:
        ValueError: shapes that do not belong together.

    >>> attended = grid_attention(
    ...     torch.zeros(1, 1, 2, 1), torch.zeros(1, 1, 2, 5), torch.ones(1, 1, 6), torch.ones(1, 6), None, (2, 3)
    ... )
    >>> attended.marginals[0, 0, 0]
    tensor([0.5000, 0.5000, 0.3333, 0.3333, 0.3333])
    """
    if prod(shape) != values.shape[2] or sum(shape) != tables.shape[3]:
        raise ValueError(f"{values.shape[2]} rows and {tables.shape[3]} entries are not those of a grid of {shape}")
    batch, channels, rows = values.shape
    if (
        query.shape != (batch, *tables.shape[1:3], channels)
        or tables.shape[0] != batch
        or any(tensor is not None and tensor.shape != (batch, rows) for tensor in (scale, mask))
    ):
        shapes = {"query": query.shape, "tables": tables.shape, "values": values.shape, "scale": scale.shape}
        raise ValueError(f"these do not fit together: { {name: tuple(size) for name, size in shapes.items()} }")
    operator = _forward if runs_eagerly(query) else _grid_attention
    return GridAttention(*operator(query, tables, values, scale, mask, list(shape)))


def _forward(
    query: Tensor, tables: Tensor, values: Tensor, scale: Tensor, mask: Tensor | None, shape: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    if len({query.dtype, tables.dtype, values.dtype, scale.dtype}) > 1:
        raise ValueError("attention over a grid needs floats of one dtype")
    kernel = compiled if compiled.supports(query, len(shape)) else fallback
    return kernel.forward(query, tables, values, scale, mask, shape)


_grid_attention = torch.library.custom_op("sensorium::grid_attention", mutates_args=())(_forward)


@torch.library.custom_op("sensorium::grid_attention_backward", mutates_args=())
def _backward(
    grad_sums: Tensor,
    grad_marginals: Tensor,
    constant: Tensor,
    query: Tensor,
    tables: Tensor,
    values: Tensor,
    scale: Tensor,
    mask: Tensor | None,
    log_sum: Tensor,
    shape: list[int],
    needs_rows: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    kernel = compiled if compiled.supports(query, len(shape)) else fallback
    gradients = (grad_sums, grad_marginals, constant)
    return kernel.backward(gradients, query, tables, values, scale, mask, log_sum, shape, needs_rows)


@_grid_attention.register_fake
def _(
    query: Tensor, tables: Tensor, values: Tensor, scale: Tensor, mask: Tensor | None, shape: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    return query.new_empty(query.shape), tables.new_empty(tables.shape), query.new_empty(query.shape[:-1])


@_backward.register_fake
def _(
    grad_sums: Tensor,
    grad_marginals: Tensor,
    constant: Tensor,
    query: Tensor,
    tables: Tensor,
    values: Tensor,
    scale: Tensor,
    mask: Tensor | None,
    log_sum: Tensor,
    shape: list[int],
    needs_rows: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    values_shape, scale_shape = (values.shape, scale.shape) if needs_rows else ((0,), (0,))
    return (
        query.new_empty(query.shape),
        tables.new_empty(tables.shape),
        values.new_empty(values_shape),
        scale.new_empty(scale_shape),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.shape = inputs
    ctx.save_for_backward(*tensors, *output)


def _gradients(ctx: Any, grad_sums: Tensor, grad_marginals: Tensor, grad_log_sum: Tensor) -> tuple[Any, ...]:
    query, tables, values, scale, mask, sums, marginals, log_sum = ctx.saved_tensors
    needs_rows = ctx.needs_input_grad[2] or ctx.needs_input_grad[3]
    # What the softmax subtracts from the gradient of every weight is the same for all rows; so is log_sum's gradient.
    constant = grad_log_sum - (grad_sums * sums).sum(-1) - (grad_marginals * marginals).sum(-1)
    constant = constant.masked_fill(log_sum.isneginf(), 0.0)
    grad_query, grad_tables, grad_values, grad_scale = _backward(
        grad_sums.contiguous(),
        grad_marginals.contiguous(),
        constant,
        *(query, tables, values, scale, mask, log_sum, ctx.shape, needs_rows),
    )
    return grad_query, grad_tables, grad_values if needs_rows else None, grad_scale if needs_rows else None, None, None


_grid_attention.register_autograd(_gradients, setup_context=_save)
_grid_attention.register_autocast("cpu", torch.float32)
_grid_attention.register_autocast("cuda", torch.float32)
