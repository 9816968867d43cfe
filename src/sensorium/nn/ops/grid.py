"""The structured read of a grid, as one operator: compiled on the CPU, or its twin in plain PyTorch.

An operator of torch's own kind (``torch.library``): autograd, ``torch.compile``, ``torch.export``, autocast and the
meta device see it. The backward pass computes the weights anew; nothing is ever latents × rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from . import compiled
from . import fallback as twin
from .eager import runs_eagerly


@dataclass(frozen=True)
class GridRead:
    """What was read of a grid; p are the weights of the softmax over its rows.

    Attributes:
        sums: Σ p values, batch × heads × latents × channels; zeros where there is no row.
        marginals: for each entry of each axis Σ p scale over the rows there, batch × heads × latents × sum of shape.
        log_sum: log Σ exp(logit), batch × heads × latents; -inf where there is no row. Reads of several pieces merge
            by it.
    """

    sums: Tensor
    marginals: Tensor
    log_sum: Tensor


def grid_read(
    query: Tensor, tables: Tensor, values: Tensor, scale: Tensor, mask: Tensor | None, shape: tuple[int, ...]
) -> GridRead:
    """Attention over the rows of a grid whose logits are sums of one table an axis, and a few products.

        logit[n, m] = Σ_k query[n, k] values[k, m] + scale[m] Σ_axes table_axis[n, i_axis(m)]

    Args:
        query: batch × heads × latents × channels.
        tables: batch × heads × latents × sum of ``shape``: one axis' table after the other.
        values: batch × channels × rows, finite; at least one channel. Rows are in ``ij`` order.
        scale: batch × rows, finite.
        mask: batch × rows, bool, True = present; None: all are.
        shape: the size of each axis.

    All floats are of one dtype; under autocast they are float32.

    >>> read = grid_read(
    ...     torch.zeros(1, 1, 2, 1), torch.zeros(1, 1, 2, 5), torch.ones(1, 1, 6), torch.ones(1, 6), None, (2, 3)
    ... )
    >>> read.marginals[0, 0, 0]
    tensor([0.5000, 0.5000, 0.3333, 0.3333, 0.3333])
    """
    if prod(shape) != values.shape[2] or sum(shape) != tables.shape[3]:
        raise ValueError(f"{values.shape[2]} rows and {tables.shape[3]} entries are not those of a grid of {shape}")
    batch, channels, rows = values.shape
    if (
        query.shape != (batch, *tables.shape[1:3], channels)
        or tables.shape[0] != batch
        or any(given is not None and given.shape != (batch, rows) for given in (scale, mask))
    ):
        shapes = {"query": query.shape, "tables": tables.shape, "values": values.shape, "scale": scale.shape}
        raise ValueError(f"these do not fit together: { {name: tuple(each) for name, each in shapes.items()} }")
    read = _forward if runs_eagerly(query) else _read
    return GridRead(*read(query, tables, values, scale, mask, list(shape)))


def _forward(
    query: Tensor, tables: Tensor, values: Tensor, scale: Tensor, mask: Tensor | None, shape: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    if len({query.dtype, tables.dtype, values.dtype, scale.dtype}) > 1:
        raise ValueError("a read of a grid needs floats of one dtype")
    kernel = compiled if compiled.serves(query, len(shape)) else twin
    return kernel.forward(query, tables, values, scale, mask, shape)


_read = torch.library.custom_op("sensorium::grid_read", mutates_args=())(_forward)


@torch.library.custom_op("sensorium::grid_read_backward", mutates_args=())
def _backward(
    sums_slope: Tensor,
    marginals_slope: Tensor,
    constant: Tensor,
    query: Tensor,
    tables: Tensor,
    values: Tensor,
    scale: Tensor,
    mask: Tensor | None,
    log_sum: Tensor,
    shape: list[int],
    rows: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    kernel = compiled if compiled.serves(query, len(shape)) else twin
    slopes = (sums_slope, marginals_slope, constant)
    return kernel.backward(slopes, query, tables, values, scale, mask, log_sum, shape, rows)


@_read.register_fake
def _(
    query: Tensor, tables: Tensor, values: Tensor, scale: Tensor, mask: Tensor | None, shape: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    return query.new_empty(query.shape), tables.new_empty(tables.shape), query.new_empty(query.shape[:-1])


@_backward.register_fake
def _(
    sums_slope: Tensor,
    marginals_slope: Tensor,
    constant: Tensor,
    query: Tensor,
    tables: Tensor,
    values: Tensor,
    scale: Tensor,
    mask: Tensor | None,
    log_sum: Tensor,
    shape: list[int],
    rows: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    values_shape, scale_shape = (values.shape, scale.shape) if rows else ((0,), (0,))
    return (
        query.new_empty(query.shape),
        tables.new_empty(tables.shape),
        values.new_empty(values_shape),
        scale.new_empty(scale_shape),
    )


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.shape = inputs
    ctx.save_for_backward(*tensors, *output)


def _slopes(ctx: Any, sums_slope: Tensor, marginals_slope: Tensor, log_sum_slope: Tensor) -> tuple[Any, ...]:
    query, tables, values, scale, mask, sums, marginals, log_sum = ctx.saved_tensors
    rows = ctx.needs_input_grad[2] or ctx.needs_input_grad[3]
    # What the softmax takes away from the slope of every weight, and log_sum's own slope, are the same for all rows.
    constant = log_sum_slope - (sums_slope * sums).sum(-1) - (marginals_slope * marginals).sum(-1)
    constant = constant.masked_fill(log_sum.isneginf(), 0.0)
    slopes = _backward(
        sums_slope.contiguous(),
        marginals_slope.contiguous(),
        constant,
        *(query, tables, values, scale, mask, log_sum, ctx.shape, rows),
    )
    return *slopes[:2], slopes[2] if rows else None, slopes[3] if rows else None, None, None


_read.register_autograd(_slopes, setup_context=_remember)
_read.register_autocast("cpu", torch.float32)
_read.register_autocast("cuda", torch.float32)
