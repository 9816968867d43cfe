"""Projected attention: keys and values are computed for every row, as the papers write it."""

from __future__ import annotations

from math import sqrt

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..precision import exact
from .padding import pad_channels

# Attention weights per head and example up to which two plain products are faster on a CPU than torch's fused kernel,
# by dtype. That kernel computes in float32 whatever it gets. In float16 plain logits would exceed the range.
PLAIN_PRODUCTS = {torch.bfloat16: 2**18}


def split_heads(channels: Float[Tensor, "batch n all"], num_heads: int) -> Float[Tensor, "batch heads n each"]:
    """batch × n × (heads · c) as batch × heads × n × c."""
    return channels.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def project_rows(
    normalised: Float[Tensor, "batch rows channels"],
    *,
    norm: nn.LayerNorm,
    key: nn.Linear,
    value: nn.Linear,
    dtype: torch.dtype,
) -> tuple[Float[Tensor, "batch rows qk"], Float[Tensor, "batch rows v"]]:
    """The keys and the values of all rows, in one product.

    The scale and the shift of the norm go into the projections, which are smaller than the rows.

    Args:
        normalised: the rows without the norm's scale and shift.
        norm: the layer norm of the rows.
        key, value: the projections.
        dtype: of the product.
    """
    weight, bias = torch.cat([key.weight, value.weight]), torch.cat([key.bias, value.bias])
    weight, bias = weight * norm.weight, bias + weight @ norm.bias
    # As one matrix: torch adds the bias within the product then, and to rows with padding beside them in another pass.
    projected = F.linear(normalised.to(dtype).flatten(0, 1), weight.to(dtype), bias.to(dtype))
    keys, values = projected.unflatten(0, normalised.shape[:2]).split([key.out_features, value.out_features], dim=-1)
    return keys, values


def projected_attention(
    query: Float[Tensor, "one_or_batch n qk"],
    key: Float[Tensor, "batch rows qk"],
    value: Float[Tensor, "batch rows v"],
    *,
    num_heads: int,
    mask: Bool[Tensor, "batch rows"] | None = None,
) -> Float[Tensor, "batch n v"]:
    """Multi-head scaled dot-product attention.

    Args:
        query: one_or_batch × n × channels of all heads; one is shared by the batch.
        key: batch × rows × channels of all heads.
        value: batch × rows × channels of all heads.
        num_heads: divides the channels.
        mask: batch × rows, True = present; None: every row is present. An example without any row gets zeros.
    """
    query = query.expand(key.shape[0], -1, -1)
    scale = 1 / sqrt(query.shape[-1] // num_heads)
    query, key, value = split_heads(query, num_heads), split_heads(key, num_heads), split_heads(value, num_heads)
    return scaled_attention(query, key, value, mask, scale).transpose(1, 2).flatten(2)


def projected_weights(
    query: Float[Tensor, "batch n qk"], key: Float[Tensor, "batch rows qk"], *, num_heads: int
) -> Float[Tensor, "batch heads n rows"]:
    """The softmax weights of :func:`projected_attention` where every row is present, float32 at least."""
    scale = 1 / sqrt(query.shape[-1] // num_heads)
    query, key = split_heads(exact(query), num_heads), split_heads(exact(key), num_heads)
    return (query * scale @ key.transpose(-1, -2)).softmax(-1)


def scaled_attention(
    query: Float[Tensor, "batch heads n qk"],
    key: Float[Tensor, "batch heads rows qk"],
    value: Float[Tensor, "batch heads rows v"],
    mask: Bool[Tensor, "batch rows"] | None,
    scale: float,
) -> Float[Tensor, "batch heads n v"]:
    """Attention that gives zeros where no row is present; the softmax is computed in float32 at least."""
    if key.shape[2] == 0:
        return query.new_zeros(*query.shape[:3], value.shape[-1])
    if query.device.type == "cpu" and query.shape[2] * key.shape[2] <= PLAIN_PRODUCTS.get(query.dtype, -1):
        return _softmax(query * scale @ key.transpose(-1, -2), mask).to(value.dtype) @ value
    value_channels = value.shape[-1]
    query, key, value = pad_channels(query), pad_channels(key), pad_channels(value)
    if mask is None:
        return F.scaled_dot_product_attention(query, key, value, scale=scale)[..., :value_channels]
    has_rows = mask.any(-1)[:, None, None, None]
    # Logits of -inf only become NaN in every kernel: unmask such an example, and multiply its result by zero.
    result = F.scaled_dot_product_attention(query, key, value, mask[:, None, None] | ~has_rows, scale=scale)
    return result[..., :value_channels] * has_rows


def _softmax(
    logits: Float[Tensor, "batch heads n rows"], mask: Bool[Tensor, "batch rows"] | None
) -> Float[Tensor, "batch heads n rows"]:
    """Softmax over the last axis, in float32 at least; zeros in masked rows."""
    precise = torch.promote_types(logits.dtype, torch.float32)
    if mask is None:
        return logits.softmax(-1, dtype=precise)
    present = mask[:, None, None]
    lowest = torch.finfo(logits.dtype).min  # finite, so that an example without any row has a gradient
    return logits.masked_fill(~present, lowest).softmax(-1, dtype=precise) * present
