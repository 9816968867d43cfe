"""Absorbed attention: no key and no value is ever computed for a row.

The key projection moves into the query, the value projection behind the sum over the rows:

    logits = (W_q x) · (W_k r) = (W_kᵀ W_q x) · r
    Σ p W_v r = W_v Σ p r

so keys = values = the normalised rows: one array, built once for all cross-attends of a forward pass. The scale and the
shift of the layer norm are absorbed as well. What is constant over the rows (the norm's shift, the key bias) cancels in
the softmax.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..byte_array import ByteArray
from ..precision import EPSILON, exact, lowered, without_autocast
from .padding import pad_channels
from .projected import scaled_attention, split_heads
from .rows import row_attention


@dataclass(frozen=True)
class AbsorbedQuery:
    """A query that has absorbed the key projection: its product with a normalised row is a logit.

    Attributes:
        query: one_or_batch × heads × n × channels of the rows.
    """

    query: Float[Tensor, "one_or_batch heads n channels"]

    @classmethod
    def absorb(
        cls, query: Float[Tensor, "one_or_batch n qk"], *, norm: nn.LayerNorm, key: nn.Linear, num_heads: int
    ) -> AbsorbedQuery:
        """The projected ``query`` with the scale of the logits, the key projection and the norm's scale in it."""
        scale = 1 / sqrt(key.out_features // num_heads)
        heads = split_heads(query, num_heads) * scale  # scaled first, for the range of float16
        return cls(torch.einsum("bhnd,hdc->bhnc", heads, _by_head(key.weight, num_heads)) * norm.weight)


@dataclass(frozen=True)
class PartialAttention:
    """Attention to some of the rows, which :func:`merge` joins with attention to the others.

    Attributes:
        sums: Σ p · normalised row over these rows, float32 at least; zeros where every row is masked.
        log_sum: log Σ exp(logit); -inf where every row is masked.
    """

    sums: Float[Tensor, "batch heads n channels"]
    log_sum: Float[Tensor, "batch heads n"]


def merge(parts: list[PartialAttention]) -> Float[Tensor, "batch heads n channels"]:
    """The sums of one softmax over the rows of all parts."""
    log_sums = torch.stack([part.log_sum for part in parts])
    lowest = torch.finfo(log_sums.dtype).min  # finite, so that attention to no row has a gradient
    shares = log_sums.clamp_min(lowest).softmax(0)
    return (shares[..., None] * torch.stack([part.sums for part in parts])).sum(0)


@dataclass(frozen=True)
class DenseRows:
    """Rows as a matrix, normalised (without the norm's scale and shift) and padded.

    Attributes:
        normalised: batch × rows × channels, padded to a multiple of 8 with zeros.
        channels: how many channels there are without the padding.
        mask: batch × rows, bool, True = present; None: every row is present.
    """

    normalised: Float[Tensor, "batch rows padded"]
    channels: int
    mask: Bool[Tensor, "batch rows"] | None

    @classmethod
    def of(cls, array: ByteArray) -> DenseRows:
        """The rows of a byte array. Their statistics are computed in float32 (or float64), whatever autocast asks."""
        with without_autocast(array.segments[0].values.device.type):
            normalised = F.layer_norm(exact(array.dense()), (array.channels,), eps=EPSILON)
        return cls(pad_channels(lowered(normalised)), array.channels, array.mask)

    def attend(self, query: AbsorbedQuery) -> PartialAttention:
        """Attention of the query to these rows."""
        batch, (num_heads, num_queries) = self.normalised.shape[0], query.query.shape[1:3]
        flat_query = pad_channels(query.query).to(self.normalised.dtype).flatten(1, 2).expand(batch, -1, -1)
        attended = row_attention(flat_query, self.normalised, self.mask)
        sums = attended.sums.unflatten(1, (num_heads, num_queries))[..., : self.channels]
        return PartialAttention(sums, attended.log_sum.unflatten(1, (num_heads, num_queries)))

    def attend_portably(self, query: AbsorbedQuery) -> Float[Tensor, "batch heads n channels"]:
        """The sums of :meth:`attend` by torch's own operators; zeros where every row is masked."""
        batch, (num_heads, num_queries) = self.normalised.shape[0], query.query.shape[1:3]
        flat_query = pad_channels(query.query).to(self.normalised.dtype).flatten(1, 2).expand(batch, -1, -1)
        rows = self.normalised[:, None]
        sums = scaled_attention(flat_query[:, None], rows, rows, self.mask, 1.0).squeeze(1)
        return sums.unflatten(1, (num_heads, num_queries))[..., : self.channels]

    def logits(self, query: AbsorbedQuery) -> Float[Tensor, "batch heads n rows"]:
        """The products of the query with these rows, float32 at least; -inf where a row is masked."""
        with without_autocast(query.query.device.type):  # logits may exceed the range of 16 bits
            logits = exact(pad_channels(query.query)) @ exact(self.normalised)[:, None].transpose(-1, -2)
        return logits if self.mask is None else logits.masked_fill(~self.mask[:, None, None], float("-inf"))


def project_values(
    sums: Float[Tensor, "batch heads n channels"],
    has_rows: Bool[Tensor, " batch"] | None,
    *,
    norm: nn.LayerNorm,
    value: nn.Linear,
    dtype: torch.dtype,
) -> Float[Tensor, "batch n v"]:
    """Σ p · value from Σ p · normalised row.

    Args:
        sums: of the softmax over all rows.
        has_rows: which examples have a row at all; the others get zeros. None: all have.
        norm: the layer norm of the rows.
        value: the value projection.
        dtype: of the product.
    """
    attended = (sums * norm.weight + norm.bias).to(dtype)
    values = torch.einsum("bhnc,hvc->bnhv", attended, _by_head(value.weight, sums.shape[1])).flatten(2) + value.bias
    return values if has_rows is None else values * has_rows[:, None, None]


def _by_head(weight: Tensor, num_heads: int) -> Tensor:
    return weight.unflatten(0, (num_heads, -1))
