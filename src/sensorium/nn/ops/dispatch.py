"""The one door to attention over the rows of a byte array: :func:`attention`, and the rule how it is computed.

There are four ways to compute the same result:

- *projected*: keys and values of every row, as the papers write it (:mod:`.projected`);
- *absorbed*: the key and value projections move into the query and the output (:mod:`.absorbed`);
- *structured*: absorbed, and the rows of a grid are never built (:mod:`.structured`);
- *portable*: absorbed or projected, with operators of torch's own alone, for programs that run without this library.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..byte_array import ByteArray, GridPositions, Segment
from ..precision import exact
from .absorbed import AbsorbedQuery, merge, project_values
from .compiled import name as compiled_name
from .inputs import AttentionInputs
from .projected import project_rows, projected_attention, split_heads

AttentionPath = Literal["auto", "projected", "absorbed", "structured", "portable"]


@dataclass(frozen=True)
class AttentionPlan:
    """How one attention is computed.

    Attributes:
        absorbed: whether the projections are absorbed; False: keys and values are projected.
        structured: for each segment, whether it is computed from the axes of its grid; only if ``absorbed``.
        portable: whether torch's own operators alone compute it.
    """

    absorbed: bool
    structured: tuple[bool, ...]
    portable: bool = False


def plan_attention(
    array: ByteArray, *, num_queries: int, num_heads: int, qk_channels: int, value_channels: int, path: AttentionPath
) -> AttentionPlan:
    """The rule by which attention to a byte array is computed.

    - ``projected``: keys and values of every row.
    - ``absorbed``: the projections are absorbed, for every row.
    - ``structured``: they are absorbed, and every grid of two axes or more is computed from its axes.
    - ``auto``: a grid is computed from its axes if that is faster (:func:`structure_pays`). The projections are
      absorbed if there is such a grid, or if that takes fewer multiply-adds; else the rows are projected.
    - ``portable``: the projections are absorbed if that takes fewer multiply-adds for each further row. (The number of
      rows may be open in a program that is exported, so the rule must not depend on it.)
    """
    channels = array.channels
    if path == "portable":
        projecting = (channels + num_queries) * (qk_channels + value_channels)
        return AttentionPlan(2 * num_heads * num_queries * channels <= projecting, (False,) * len(array.segments), True)
    grids = [_is_grid(segment) and path in ("auto", "structured") for segment in array.segments]
    if path == "auto":
        grids = [grid and structure_pays(segment) for grid, segment in zip(grids, array.segments, strict=True)]
        num_rows = array.num_rows
        projecting = num_rows * (channels + num_queries) * (qk_channels + value_channels)
        absorbing = num_queries * channels * (qk_channels + value_channels + 2 * num_heads * num_rows)
        return AttentionPlan(any(grids) or absorbing <= projecting, tuple(grids))
    return AttentionPlan(path != "projected", tuple(grids))


def attention(
    query: Float[Tensor, "one_or_batch n qk"],
    inputs: AttentionInputs,
    *,
    norm: nn.LayerNorm,
    key: nn.Linear,
    value: nn.Linear,
    num_heads: int,
    query_mask: Bool[Tensor, "_ n"] | None = None,
    path: AttentionPath = "auto",
) -> Float[Tensor, "batch n v"]:
    """Multi-head attention of ``query`` to the rows ``norm(inputs)``, through the projections ``key`` and ``value``.

    Args:
        query: projected queries, one_or_batch × n × channels of all heads; one is shared by the batch.
        inputs: the rows, before the layer norm.
        norm: layer norm of the rows.
        key: projection of the rows to the query's channels.
        value: projection of the rows to the channels of the result.
        num_heads: divides the channels of ``key`` and ``value``.
        query_mask: one_or_batch × n, True = attends; the others get zeros. None: all attend.
        path: how it is computed (:func:`plan_attention`); the result is the same.

    Returns:
        batch × n × value channels; zeros for examples without any row.
    """
    plan = plan_attention(
        inputs.array,
        num_queries=query.shape[1],
        num_heads=num_heads,
        qk_channels=key.out_features,
        value_channels=value.out_features,
        path=path,
    )
    if plan.absorbed:
        absorbed = AbsorbedQuery.absorb(query, norm=norm, key=key, num_heads=num_heads)
        if plan.portable:
            sums = inputs.dense.attend_portably(absorbed)
        else:
            parts = [piece.attend(absorbed) for piece in inputs.pieces(plan.structured)]
            sums = parts[0].sums if len(parts) == 1 else merge(parts)
        attended = project_values(sums, inputs.has_rows, norm=norm, value=value, dtype=absorbed.query.dtype)
    else:
        dense = inputs.dense
        normalised = dense.normalised[..., : dense.channels]
        keys, values = project_rows(normalised, norm=norm, key=key, value=value, dtype=query.dtype)
        attended = projected_attention(query, keys, values, num_heads=num_heads, mask=dense.mask)
    return attended if query_mask is None else attended * query_mask[..., None]


def attention_weights(
    query: Float[Tensor, "one_or_batch n qk"],
    inputs: AttentionInputs,
    *,
    norm: nn.LayerNorm,
    key: nn.Linear,
    num_heads: int,
    before_softmax: bool = False,
) -> Float[Tensor, "batch heads n rows"]:
    """The softmax weights of :func:`attention`, float32 at least; zeros for examples without any row.

    Args:
        before_softmax: the logits instead; -inf where a row is masked.
    """
    logits = inputs.dense.logits(AbsorbedQuery.absorb(query, norm=norm, key=key, num_heads=num_heads))
    if before_softmax:  # what is constant over the rows is no part of absorbed logits
        heads = split_heads(query, num_heads) / sqrt(key.out_features // num_heads)
        return logits + exact(heads @ split_heads(key(norm.bias)[None, None], num_heads).transpose(-1, -2))
    return logits.softmax(-1).nan_to_num(0.0)


def structure_pays(segment: Segment) -> bool:
    """Whether structured attention to a grid is faster than absorbed attention, forward and backward together.

    For each attention weight, absorbed attention computes its share of two products over all channels; structured
    attention computes an exponential and its share of two products over the value channels. By measurement
    (docs/decisions/0005) they break even where there are 1.7 channels for each value channel and 26 more with the
    compiled pass, or 65 more with the fallback. On a GPU rows are dense: no structured kernel is there.
    """
    if segment.values.device.type != "cpu":
        return False
    compiled = compiled_name() is not None and segment.values.dtype != torch.float64
    return segment.channels > 1.7 * segment.values.shape[2] + (26 if compiled else 65)


def _is_grid(segment: Segment) -> bool:
    positions = segment.positions
    return isinstance(positions, GridPositions) and len(positions.shape) >= 2 and segment.num_rows > 0
