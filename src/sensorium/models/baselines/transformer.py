"""The Transformer: self-attention over all the rows, without latents (Perceiver Tables 2 and 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from ...config import record
from ...nn.byte_array import ByteArray
from .base import Network
from .blocks import Blocks, BlocksConfig
from .rows import masked_mean, present_rows


@record
class TransformerConfig(BlocksConfig):
    """The shape of a Transformer."""

    kind: Literal["transformer"] = "transformer"


class Transformer(Network):
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
        self.config = config
        self.embedding = nn.Linear(channels, config.channels)
        self.blocks = Blocks(config)

    def forward(self, array: ByteArray, *, checkpointing: bool = False) -> Tensor:
        """batch × 1 × latent channels; zeros for an example without rows.

        Args:
            array: of any modalities.
            checkpointing: whether to keep less for the backward pass and compute it anew.
        """
        rows, mask = present_rows(array)
        rows = self.blocks(self.embedding(rows), mask, checkpointing=checkpointing)
        return masked_mean(rows, mask)[:, None]
