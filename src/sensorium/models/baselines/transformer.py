"""The Transformer: self-attention over all the rows, without latents (Perceiver Tables 2 and 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from ...config import record
from ...errors import InputError
from ...nn.byte_array import ByteArray
from .blocks import Blocks
from .rows import masked_mean, present_rows


@record
class TransformerConfig:
    """The shape of a Transformer. Defaults are ViT-B's.

    Attributes:
        channels: of a row after the first linear layer.
        num_layers: blocks of self-attention and MLP.
        num_heads: attention heads.
        mlp_ratio: hidden channels of an MLP, in units of ``channels``.
    """

    kind: Literal["transformer"] = "transformer"
    channels: int = 768
    num_layers: int = 12
    num_heads: int = 12
    mlp_ratio: int = 4

    @property
    def num_latents(self) -> int:
        """Latents of an example."""
        return 1

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return self.channels


class Transformer(nn.Module):
    """Self-attention over the rows of any byte array, and the mean of the rows: one latent. Time and memory grow with
    the square of the number of rows.

    Args:
        config: the shape.
        channels: of a row of the byte array.
        names: of the modalities in it.

    Raises:
        InputError: heads that do not divide the channels.

    >>> from sensorium.nn.byte_array import Segment
    >>> transformer = Transformer(TransformerConfig(channels=8, num_layers=1, num_heads=2), channels=3)
    >>> import torch
    >>> transformer(ByteArray((Segment("points", torch.rand(4, 10, 3)),))).shape
    torch.Size([4, 1, 8])
    """

    config: TransformerConfig

    def __init__(self, config: TransformerConfig, *, channels: int, names: Sequence[str] | None = None) -> None:
        super().__init__()
        if config.channels % config.num_heads:
            raise InputError(f"Transformer: {config.num_heads} heads do not divide {config.channels} channels")
        self.config = config
        self.embedding = nn.Linear(channels, config.channels)
        self.blocks = Blocks(config.num_layers, config.channels, num_heads=config.num_heads, mlp_ratio=config.mlp_ratio)

    @property
    def num_latents(self) -> int:
        """Latents of an example."""
        return self.config.num_latents

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return self.config.latent_channels

    def forward(self, array: ByteArray, *, checkpointing: bool = False) -> Tensor:
        """batch × 1 × latent channels; zeros for an example without rows.

        Args:
            array: of any modalities.
            checkpointing: whether to keep less for the backward pass and compute it anew.
        """
        rows, mask = present_rows(array)
        rows = self.blocks(self.embedding(rows), mask, checkpointing=checkpointing)
        return masked_mean(rows, mask)[:, None]
