"""One attention block for read, process and write (Perceiver §3.1 and App. C; Perceiver IO App. E).

A block is pre-norm attention and a pre-norm MLP, each with a residual. A *process* attends from the latents to
themselves; a *read* attends from the latents to the rows of a byte array, and never builds keys or values where
folding their projections away is less work:

    logits = (W_q x) · (W_k r) = (W_kᵀ W_q x) · r        the key projection moves into the query
    Σ p W_v r = W_v Σ p r                                the value projection moves behind the sum

so that keys = values = the normalised rows, one array, built once for all reads of a forward pass. The norm's scale and
shift fold away with them, and whatever is constant over the rows (its shift, the key bias) drops out of the softmax.

A *write* is a read the other way round: queries attend to the latents, and may do without the residual.
"""

from __future__ import annotations

from math import sqrt
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .initialisation import fan_in
from .precision import exact, lowered, without_autocast
from .rows import EPSILON, FoldedQuery, Rows, pad

# Weights per head and example up to which two plain products are faster on a CPU than its kernel, by precision. That
# kernel computes in float32 whatever it is given; in float16 plain logits would leave the range.
SMALL = {torch.bfloat16: 2**18}

# The authors' code approximates the error function of a GELU by tanh; ``erf`` is exact, as transformers has it.
Gelu: TypeAlias = Literal["tanh", "erf"]


class Attention(nn.Module):
    """Multi-head attention from ``width`` to ``inputs`` channels; all four projections have biases.

    Args:
        width: channels of the queries and of the output.
        inputs: channels of what is attended to.
        heads: must divide ``qk_channels`` and ``value_channels``.
        qk_channels: channels of queries and keys over all heads.
        value_channels: channels of values over all heads.
    """

    def __init__(self, width: int, *, inputs: int, heads: int, qk_channels: int, value_channels: int) -> None:
        super().__init__()
        if qk_channels % heads or value_channels % heads:
            raise ValueError(f"{heads} heads do not divide {qk_channels} and {value_channels} channels")
        self.heads = heads
        self.query = fan_in(nn.Linear(width, qk_channels))
        self.key = fan_in(nn.Linear(inputs, qk_channels))
        self.value = fan_in(nn.Linear(inputs, value_channels))
        self.out = fan_in(nn.Linear(value_channels, width))

    @property
    def scale(self) -> float:
        return 1 / sqrt(self.key.out_features // self.heads)

    def split(self, channels: Float[Tensor, "batch n all"]) -> Float[Tensor, "batch heads n each"]:
        """batch × n × (heads · c) as batch × heads × n × c."""
        return channels.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(
        self,
        x: Float[Tensor, "batch n width"],
        inputs: Float[Tensor, "batch rows channels"],
        mask: Bool[Tensor, "batch rows"] | None = None,
        asked: Bool[Tensor, "one_or_batch n"] | None = None,
    ) -> Float[Tensor, "batch n width"]:
        """Projected keys and values: batch × n × width attends to batch × rows × inputs. What is not ``asked`` sums
        nothing up; the bias of ``out`` is left of it, as in the authors' code."""
        query, key, value = self.split(self.query(x)), self.split(self.key(inputs)), self.split(self.value(inputs))
        return self.out(_only(asked, _attend(query, key, value, mask, self.scale).transpose(1, 2).flatten(2)))

    def folded(
        self,
        query: FoldedQuery,
        rows: Rows,
        norm: nn.LayerNorm,
        asked: Bool[Tensor, "one_or_batch n"] | None = None,
    ) -> Float[Tensor, "batch n width"]:
        """The same answer for ``inputs = norm(rows)``, without projecting a row."""
        summed = rows.read(query) * norm.weight + norm.bias
        value = torch.einsum("bhnc,hvc->bnhv", summed.to(query.query.dtype), self._by_head(self.value.weight))
        value = value.flatten(2) + self.value.bias
        if (some := rows.some) is not None:  # an example without a row has read nothing, not the norm's shift
            value = value * some[:, None, None]
        return self.out(_only(asked, value))

    def fold(self, x: Float[Tensor, "one_or_batch n width"], norm: nn.LayerNorm) -> FoldedQuery:
        """The query with scale, key projection and the norm's scale in it; what is constant over the rows is left."""
        query = self.split(self.query(x)) * self.scale  # scaled first, for the range of float16
        return FoldedQuery(torch.einsum("bhnd,hdc->bhnc", query, self._by_head(self.key.weight)) * norm.weight)

    def weights(
        self, x: Float[Tensor, "one_or_batch n width"], rows: Rows, norm: nn.LayerNorm
    ) -> Float[Tensor, "batch heads n rows"]:
        """Softmax weights, batch × heads × n × rows, float32 (or 64); zeros where there is nothing to attend to."""
        spelled = rows.spelled
        with without_autocast(x.device.type):  # logits may be beyond what 16 bits hold
            query, key = exact(pad(self.fold(x, norm).query)), exact(spelled.normalised)[:, None]
            logits = query @ key.transpose(-1, -2)
        if spelled.mask is not None:
            logits = logits.masked_fill(~spelled.mask[:, None, None], float("-inf"))
        return logits.softmax(-1).nan_to_num(0.0)

    def folding_pays(self, latents: int, rows: Rows) -> bool:
        """Whether the folded read needs fewer multiply-adds than projecting every row."""
        count, channels = rows.array.num_rows, rows.array.channels
        qk_channels, value_channels = self.key.out_features, self.value.out_features
        projected = count * (channels + latents) * (qk_channels + value_channels)
        return latents * channels * (qk_channels + value_channels + 2 * self.heads * count) <= projected

    def _by_head(self, weight: Tensor) -> Tensor:
        return weight.unflatten(0, (self.heads, -1))


class Block(nn.Module):
    """Pre-norm attention and MLP with residuals. The MLP is linear, GELU, linear; no dropout (App. C).

    Args:
        width: channels of the latents (or queries).
        inputs: channels of the rows that are read; None for a process, which attends to itself.
        heads: attention heads.
        qk_channels, value_channels: default to the channels attended to (261 on ImageNet), the authors' rule.
        widening: width of the MLP's hidden layer in units of ``width``.
        residual: whether what is attended to is added to the queries, or replaces them.
        gelu: how the MLP's GELU is computed.

    >>> Block(1024, inputs=261, heads=1).count(), Block(1024, heads=8).count()
    (2776395, 6301696)
    """

    def __init__(
        self,
        width: int,
        *,
        inputs: int | None = None,
        heads: int,
        qk_channels: int | None = None,
        value_channels: int | None = None,
        widening: int = 1,
        residual: bool = True,
        gelu: Gelu = "tanh",
    ) -> None:
        super().__init__()
        channels = inputs or width
        qk_channels = qk_channels or channels
        self.residual = residual
        self.query_norm = nn.LayerNorm(width, eps=EPSILON)
        self.input_norm = None if inputs is None else nn.LayerNorm(inputs, eps=EPSILON)
        self.attention = Attention(
            width,
            inputs=channels,
            heads=heads,
            qk_channels=qk_channels,
            value_channels=value_channels or qk_channels,
        )
        self.mlp_norm = nn.LayerNorm(width, eps=EPSILON)
        self.mlp = nn.Sequential(
            fan_in(nn.Linear(width, widening * width)),
            nn.GELU(approximate="tanh" if gelu == "tanh" else "none"),
            fan_in(nn.Linear(widening * width, width)),
        )

    def forward(
        self,
        x: Float[Tensor, "one_or_batch n width"],
        rows: Rows | None = None,
        query: FoldedQuery | None = None,
        asked: Bool[Tensor, "_ n"] | None = None,
    ) -> Float[Tensor, "_ n width"]:
        """batch × n × width to the same.

        Args:
            x: latents; a batch of one is shared by all examples.
            rows: what a read reads; None in a process.
            query: ``fold(x)``, where it is known already.
            asked: which of ``x`` read at all, True = it does; None: all do.
        """
        attended = self._process(x) if rows is None else self._read(x, rows, query, asked)
        x = x + attended if self.residual else attended
        return x + self.mlp(self.mlp_norm(x))

    def fold(self, x: Float[Tensor, "one_or_batch n width"]) -> FoldedQuery:
        """The query of a read, before it meets any rows."""
        return self.attention.fold(lowered(self.query_norm(x)), self.rows_norm)

    def folding_parameters(self) -> list[Tensor]:
        """What ``fold`` depends on, beside the latents."""
        return [
            *self.query_norm.parameters(),
            *self.attention.query.parameters(),
            self.attention.key.weight,
            self.rows_norm.weight,
        ]

    def folds(self, latents: int, rows: Rows) -> bool:
        """Whether this many latents read these rows by a folded query."""
        if rows.path != "auto":
            return rows.path != "projected"
        return rows.structured or self.attention.folding_pays(latents, rows)

    def weights(self, x: Float[Tensor, "one_or_batch n width"], rows: Rows) -> Float[Tensor, "batch heads n rows"]:
        """The attention weights of a read: batch × heads × n × rows."""
        return self.attention.weights(self.query_norm(x), rows, self.rows_norm)

    def count(self) -> int:
        """The number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def rows_norm(self) -> nn.LayerNorm:
        if self.input_norm is None:
            raise ValueError("a process has no rows to read")
        return self.input_norm

    def _process(self, x: Tensor) -> Tensor:
        query = lowered(self.query_norm(x))  # once, not in each of three projections
        return self.attention(query, query)

    def _read(self, x: Tensor, rows: Rows, query: FoldedQuery | None, asked: Tensor | None) -> Tensor:
        norm = self.rows_norm
        if self.folds(x.shape[1], rows):
            return self.attention.folded(query or self.fold(x), rows, norm, asked)
        spelled = rows.spelled
        inputs = spelled.normalised[..., : spelled.channels] * norm.weight + norm.bias
        x = lowered(self.query_norm(x)).expand(inputs.shape[0], -1, -1)
        return self.attention(x, inputs.to(x.dtype), spelled.mask, asked)


def _only(asked: Tensor | None, summed: Tensor) -> Tensor:
    """Zeros for whoever does not ask."""
    return summed if asked is None else summed * asked[..., None]


def _attend(
    query: Float[Tensor, "batch heads n qk"],
    key: Float[Tensor, "batch heads rows qk"],
    value: Float[Tensor, "batch heads rows v"],
    mask: Bool[Tensor, "batch rows"] | None,
    scale: float,
) -> Float[Tensor, "batch heads n v"]:
    """Attention that gives zeros where there is no valid key; the softmax is of float32 at least."""
    if key.shape[2] == 0:
        return query.new_zeros(*query.shape[:3], value.shape[-1])
    if query.device.type == "cpu" and query.shape[2] * key.shape[2] <= SMALL.get(query.dtype, -1):
        return _softmax(query * scale @ key.transpose(-1, -2), mask).to(value.dtype) @ value
    width = value.shape[-1]
    query, key, value = pad(query), pad(key), pad(value)
    if mask is None:
        return F.scaled_dot_product_attention(query, key, value, scale=scale)[..., :width]
    some = mask.any(-1)[:, None, None, None]
    # A row of -inf only is NaN in every kernel: let such an example see everything, then take its answer away.
    result = F.scaled_dot_product_attention(query, key, value, mask[:, None, None] | ~some, scale=scale)
    return result[..., :width] * some


def _softmax(
    logits: Float[Tensor, "batch heads n rows"], mask: Bool[Tensor, "batch rows"] | None
) -> Float[Tensor, "batch heads n rows"]:
    """Weights over the last axis; zeros where ``mask`` (batch × rows) has nothing. Inside, torch sums in float32."""
    if mask is None:
        return logits.softmax(-1)
    present = mask[:, None, None]
    lowest = torch.finfo(logits.dtype).min  # finite, so that an example without any row has a gradient
    return logits.masked_fill(~present, lowest).softmax(-1) * present
