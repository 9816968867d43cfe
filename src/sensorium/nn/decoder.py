"""Decoders: what latents say about queries (Perceiver IO), or about the whole input (Perceiver)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..config import record
from ..errors import InputError
from .attention import CrossAttention, Gelu, check_heads
from .byte_array import ByteArray, Segment
from .initialisation import lecun
from .ops.inputs import AttentionInputs
from .queries import Queries

CHUNK = 2**14  # queries decoded at a time where no gradients are kept


@record
class DecoderConfig:
    """The shape of a decoder. Defaults are Perceiver IO's classifier (Perceiver IO App. A).

    Attributes:
        query_channels: channels of queries that a task learns freely; None: the latents' channels. Queries made of
            something (positions of bytes, the input) have the channels of that.
        num_heads: attention heads.
        qk_channels: channels of queries and keys over all heads; None: the latents' channels (the authors' rule).
        value_channels: channels of values over all heads; None: as ``qk_channels``.
        mlp_ratio: channels of the MLP's hidden layer, in units of the queries' channels.
        query_residual: whether the attended values are added to the query, or replace it.
        gelu: as the encoder's.
    """

    query_channels: int | None = None
    num_heads: int = 1
    qk_channels: int | None = None
    value_channels: int | None = None
    mlp_ratio: int = 1
    query_residual: bool = True
    gelu: Gelu = "tanh"


class Decoder(nn.Module):
    """Queries attend to the latents, once; then a linear layer (Perceiver IO §3.1).

    Each query is decoded alone: decoding some of them gives the same rows as decoding all.

    Args:
        config: the shape.
        latent_channels: channels of the latents.
        query_channels: channels of the queries.
        output_channels: channels of the output; None: no linear layer, the output has the queries' channels.
        output_init: how the linear layer starts; with ``zeros`` every output is 0 before training.

    Raises:
        InputError: heads that do not divide the channels.

    >>> from .queries import LearnedQueries
    >>> decoder = Decoder(DecoderConfig(), latent_channels=16, query_channels=12, output_channels=5)
    >>> decoder(torch.rand(3, 8, 16), LearnedQueries(2, 12)()).shape
    torch.Size([3, 2, 5])
    """

    def __init__(
        self,
        config: DecoderConfig,
        *,
        latent_channels: int,
        query_channels: int,
        output_channels: int | None,
        output_init: Literal["lecun", "zeros"] = "lecun",
    ) -> None:
        super().__init__()
        problem = check_heads(config.num_heads, latent_channels, config.qk_channels, config.value_channels)
        if problem:
            raise InputError(f"decoder: {problem}; use 1")
        self.config = config
        self.query_channels = query_channels
        self.cross_attention = CrossAttention(
            query_channels,
            input_channels=latent_channels,
            num_heads=config.num_heads,
            qk_channels=config.qk_channels,
            value_channels=config.value_channels,
            mlp_ratio=config.mlp_ratio,
            residual=config.query_residual,
            gelu=config.gelu,
        )
        self.linear = None if output_channels is None else lecun(nn.Linear(query_channels, output_channels))
        if self.linear is not None and output_init == "zeros":
            nn.init.zeros_(self.linear.weight)

    def forward(
        self, latents: Float[Tensor, "batch latents channels"], queries: Queries, *, chunk: int | None = None
    ) -> Float[Tensor, "batch queries output_channels"]:
        """batch × queries × output channels. The output of a masked query does not depend on the latents.

        Args:
            latents: batch × latents × channels.
            queries: for as many examples as there are latents, or one set of queries for all examples.
            chunk: queries decoded at a time, so that any number of them fits into memory: nothing but the output grows
                with their number. None: all at once where gradients are kept, else ``CHUNK``.

        Raises:
            InputError: queries of other channels, or for another number of examples.
        """
        if queries.channels != self.query_channels:
            raise InputError(f"decoder: queries of {queries.channels} channels, it takes {self.query_channels}")
        if queries.array.batch not in (1, latents.shape[0]):
            raise InputError(
                f"decoder: queries for {queries.array.batch} examples, the latents are of {latents.shape[0]}"
            )
        inputs = AttentionInputs(ByteArray((Segment("latents", latents),)))
        size = chunk or (queries.count if torch.is_grad_enabled() else CHUNK)
        if queries.count <= size:
            return self._decode(inputs, queries)
        return torch.cat([self._decode(inputs, part) for part in queries.chunks(size)], dim=1)

    def weights(
        self, latents: Float[Tensor, "batch latents channels"], queries: Queries
    ) -> Float[Tensor, "batch heads queries latents"]:
        """How much each query attends to each latent: batch × heads × queries × latents.

        Args:
            latents, queries: as of ``forward``.
        """
        inputs = AttentionInputs(ByteArray((Segment("latents", latents),)))
        return self.cross_attention.weights(queries.dense(), inputs)

    def _decode(self, inputs: AttentionInputs, queries: Queries) -> Tensor:
        decoded: Tensor = self.cross_attention(queries.dense(), inputs, queries.mask)
        return decoded if self.linear is None else self.linear(decoded)


class MeanDecoder(nn.Module):
    """The first paper's decoder: the mean over the latents, then a linear layer that starts at zero (App. F).

    Args:
        latent_channels: channels of the latents.
        output_channels: channels of the output.
    """

    def __init__(self, latent_channels: int, *, output_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(latent_channels, output_channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, latents: Float[Tensor, "batch latents channels"], queries: None = None
    ) -> Float[Tensor, "batch 1 output_channels"]:
        """batch × latents × channels to batch × 1 × output channels. There are no queries."""
        return self.linear(latents.mean(dim=1))[:, None]


class LinearDecoder(nn.Module):
    """A linear layer on all latents side by side, each with weights of its own; it starts at zero.

    Behind the mean, latents that stand for different moments must learn to say the same in different ways; here the
    weights of a latent know which one it is (docs/decisions/0019).

    Args:
        num_latents: how many latents there are.
        latent_channels: channels of the latents.
        output_channels: channels of the output.

    >>> LinearDecoder(8, latent_channels=16, output_channels=5)(torch.rand(3, 8, 16)).shape
    torch.Size([3, 1, 5])
    """

    def __init__(self, num_latents: int, *, latent_channels: int, output_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_latents * latent_channels, output_channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, latents: Float[Tensor, "batch latents channels"], queries: None = None
    ) -> Float[Tensor, "batch 1 output_channels"]:
        """batch × latents × channels to batch × 1 × output channels. There are no queries."""
        return self.linear(latents.flatten(1) * latents.shape[1] ** -0.5)[:, None]
