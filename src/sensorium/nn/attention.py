"""Cross-attention and self-attention blocks (Perceiver §3.1 and App. C; Perceiver IO App. E).

A block is pre-norm multi-head attention and a pre-norm MLP, each with a residual. :class:`CrossAttention` attends from
latents to the rows of a byte array, or from a decoder's queries to the latents; :class:`SelfAttention` attends from
latents to themselves. How attention to rows is computed is chosen in :mod:`sensorium.nn.ops`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from jaxtyping import Bool, Float
from torch import Tensor, nn

from .initialisation import fan_in
from .ops.dispatch import AttentionPath, attention, attention_weights, plan_attention
from .ops.inputs import AttentionInputs
from .ops.projected import projected_attention, projected_weights
from .precision import EPSILON, lowered

# The authors' code approximates the error function of a GELU by tanh; ``erf`` is exact, as in transformers.
Gelu: TypeAlias = Literal["tanh", "erf"]


class Attention(nn.Module):
    """The four projections of multi-head attention, all with biases.

    Args:
        channels: of what attends, and of the output.
        input_channels: of what is attended to.
        num_heads: must divide ``qk_channels`` and ``value_channels``.
        qk_channels: channels of queries and keys over all heads; None: ``input_channels``, the authors' rule.
        value_channels: channels of values over all heads; None: as ``qk_channels``.

    Raises:
        ValueError: heads that do not divide the channels.
    """

    def __init__(
        self,
        channels: int,
        *,
        input_channels: int,
        num_heads: int,
        qk_channels: int | None = None,
        value_channels: int | None = None,
    ) -> None:
        super().__init__()
        if problem := check_heads(num_heads, input_channels, qk_channels, value_channels):
            raise ValueError(problem)
        qk_channels = qk_channels or input_channels
        value_channels = value_channels or qk_channels
        self.num_heads = num_heads
        self.query = fan_in(nn.Linear(channels, qk_channels))
        self.key = fan_in(nn.Linear(input_channels, qk_channels))
        self.value = fan_in(nn.Linear(input_channels, value_channels))
        self.out = fan_in(nn.Linear(value_channels, channels))


def mlp(channels: int, *, mlp_ratio: int, gelu: Gelu) -> nn.Sequential:
    """Linear, GELU, linear, with ``mlp_ratio`` · ``channels`` hidden channels; no dropout (Perceiver App. C)."""
    return nn.Sequential(
        fan_in(nn.Linear(channels, mlp_ratio * channels)),
        nn.GELU(approximate="tanh" if gelu == "tanh" else "none"),
        fan_in(nn.Linear(mlp_ratio * channels, channels)),
    )


class CrossAttention(nn.Module):
    """Latents (or queries) attend to the rows of a byte array; then the MLP.

    Args:
        channels: of the latents (or queries).
        input_channels: of the rows.
        num_heads: attention heads.
        qk_channels, value_channels: see :class:`Attention`.
        mlp_ratio: channels of the MLP's hidden layer, in units of ``channels``.
        residual: whether the attended values are added to the latents, or replace them.
        gelu: how the MLP's GELU is computed.

    Attributes:
        path: how the attention is computed; the result is the same. Set it with :func:`attention_path`.

    >>> sum(parameter.numel() for parameter in CrossAttention(1024, input_channels=261).parameters())
    2776395
    """

    def __init__(
        self,
        channels: int,
        *,
        input_channels: int,
        num_heads: int = 1,
        qk_channels: int | None = None,
        value_channels: int | None = None,
        mlp_ratio: int = 1,
        residual: bool = True,
        gelu: Gelu = "tanh",
    ) -> None:
        super().__init__()
        self.path: AttentionPath = "auto"
        self.residual = residual
        self.query_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.input_norm = nn.LayerNorm(input_channels, eps=EPSILON)
        self.attention = Attention(
            channels,
            input_channels=input_channels,
            num_heads=num_heads,
            qk_channels=qk_channels,
            value_channels=value_channels,
        )
        self.mlp_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.mlp = mlp(channels, mlp_ratio=mlp_ratio, gelu=gelu)

    def forward(
        self,
        x: Float[Tensor, "one_or_batch n channels"],
        inputs: AttentionInputs,
        query_mask: Bool[Tensor, "_ n"] | None = None,
    ) -> Float[Tensor, "batch n channels"]:
        """batch × n × channels.

        Args:
            x: latents (or queries); a batch of one is shared by all examples.
            inputs: the rows that are attended to.
            query_mask: one_or_batch × n, True = attends; None: all attend. What does not attend still gets the bias of
                the output projection, as in the authors' code.
        """
        attended = attention(
            self.attention.query(lowered(self.query_norm(x))),
            inputs,
            norm=self.input_norm,
            key=self.attention.key,
            value=self.attention.value,
            num_heads=self.attention.num_heads,
            query_mask=query_mask,
            path=self.path,
        )
        attended = self.attention.out(attended)
        x = x + attended if self.residual else attended
        return x + self.mlp(self.mlp_norm(x))

    def weights(
        self, x: Float[Tensor, "one_or_batch n channels"], inputs: AttentionInputs, *, before_softmax: bool = False
    ) -> Float[Tensor, "batch heads n rows"]:
        """The attention weights, batch × heads × n × rows, float32 at least; zeros for examples without any row.

        Args:
            x, inputs: as of ``forward``.
            before_softmax: the logits instead; -inf where a row is masked.
        """
        return attention_weights(
            self.attention.query(self.query_norm(x)),
            inputs,
            norm=self.input_norm,
            key=self.attention.key,
            num_heads=self.attention.num_heads,
            before_softmax=before_softmax,
        )

    def prepare(self, num_queries: int, inputs: AttentionInputs) -> None:
        """Build the form of the rows that ``forward`` needs for so many queries, before it needs them."""
        plan = plan_attention(
            inputs.array,
            num_queries=num_queries,
            num_heads=self.attention.num_heads,
            qk_channels=self.attention.key.out_features,
            value_channels=self.attention.value.out_features,
            path=self.path,
        )
        _ = inputs.pieces(plan.structured) if plan.absorbed else inputs.dense


class SelfAttention(nn.Module):
    """Latents attend to themselves; then the MLP.

    Args:
        channels: of the latents.
        num_heads: attention heads.
        qk_channels, value_channels: see :class:`Attention`.
        mlp_ratio: channels of the MLP's hidden layer, in units of ``channels``.
        gelu: how the MLP's GELU is computed.

    >>> sum(parameter.numel() for parameter in SelfAttention(1024, num_heads=8).parameters())
    6301696
    """

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int,
        qk_channels: int | None = None,
        value_channels: int | None = None,
        mlp_ratio: int = 1,
        gelu: Gelu = "tanh",
    ) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.attention = Attention(
            channels,
            input_channels=channels,
            num_heads=num_heads,
            qk_channels=qk_channels,
            value_channels=value_channels,
        )
        self.mlp_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.mlp = mlp(channels, mlp_ratio=mlp_ratio, gelu=gelu)

    def forward(self, x: Float[Tensor, "batch n channels"]) -> Float[Tensor, "batch n channels"]:
        """batch × n × channels to the same."""
        normalised = lowered(self.query_norm(x))  # once, not in each of three projections
        projections = self.attention
        attended = projected_attention(
            projections.query(normalised),
            projections.key(normalised),
            projections.value(normalised),
            num_heads=projections.num_heads,
        )
        x = x + projections.out(attended)
        return x + self.mlp(self.mlp_norm(x))

    def weights(self, x: Float[Tensor, "batch n channels"]) -> Float[Tensor, "batch heads n n"]:
        """The attention weights, batch × heads × n × n, float32 at least."""
        normalised = self.query_norm(x)
        query, key = self.attention.query(normalised), self.attention.key(normalised)
        return projected_weights(query, key, num_heads=self.attention.num_heads)


def check_heads(num_heads: int, input_channels: int, qk_channels: int | None, value_channels: int | None) -> str | None:
    """What is wrong with a number of heads, in words; None: :class:`Attention` takes it."""
    qk_channels = qk_channels or input_channels
    for channels in (qk_channels, value_channels or qk_channels):
        if channels % num_heads:
            return f"{num_heads} heads do not divide {channels} channels"
    return None


@contextmanager
def attention_path(module: nn.Module, path: AttentionPath) -> Iterator[None]:
    """Set how the cross-attention modules in ``module`` compute attention, and put it back afterwards.

    Args:
        module: a model, an encoder, a decoder, or one cross-attention.
        path: ``projected``, ``absorbed``, ``structured``, ``portable``, or ``auto``: the fastest. The result is the
            same (:func:`sensorium.nn.ops.plan_attention`).

    >>> block = CrossAttention(8, input_channels=4)
    >>> with attention_path(block, "projected"):
    ...     block.path
    'projected'
    >>> block.path
    'auto'
    """
    blocks = [block for block in module.modules() if isinstance(block, CrossAttention)]
    before = [block.path for block in blocks]
    try:
        for block in blocks:
            block.path = path
        yield
    finally:
        for block, previous in zip(blocks, before, strict=True):
            block.path = previous
