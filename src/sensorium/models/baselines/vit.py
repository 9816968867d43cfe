"""Vision Transformer (Dosovitskiy et al. 2021): self-attention over the patches of a grid and a class token."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...config import record
from ...errors import InputError
from ...nn.byte_array import ByteArray
from ...nn.positions import LearnedPositions
from ...nn.stems import patches_of
from .base import Network
from .blocks import Blocks, BlocksConfig
from .rows import present_grid


@record
class ViTConfig(BlocksConfig):
    """The shape of a Vision Transformer. Defaults are ViT-B/16.

    Attributes:
        patch: rows of the byte array along each axis that make one patch.
        learned_positions: patches with a learned position, as in ViT, which are then all that the model reads; 0: there
            are none, and positions are those in the rows.
    """

    kind: Literal["vit"] = "vit"
    patch: tuple[int, ...] = (16, 16)
    learned_positions: int = 0


class ViT(Network):
    """Self-attention over the patches of a grid of rows; the class token is the one latent.

    A grid that is not whole patches is padded with zeros.

    Args:
        config: the shape.
        channels: of a row of the byte array.
        names: of the modalities in it.

    Raises:
        InputError: heads that do not divide the channels.

    >>> with torch.device("meta"):
    ...     vit = ViT(ViTConfig(learned_positions=196), channels=3)
    >>> sum(parameter.numel() for parameter in vit.parameters()) + 768 * 1000 + 1000
    86567656
    """

    config: ViTConfig

    def __init__(self, config: ViTConfig, *, channels: int, names: Sequence[str] | None = None) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(prod(config.patch) * channels, config.channels)
        self.class_token = nn.Parameter(0.02 * torch.randn(config.channels))
        self.positions: LearnedPositions | None = None
        if config.learned_positions:
            self.positions = LearnedPositions(1 + config.learned_positions, config.channels)
        self.blocks = Blocks(config)

    def forward(self, array: ByteArray, *, checkpointing: bool = False) -> Tensor:
        """batch × 1 × latent channels.

        Args:
            array: of one modality whose rows lie on a grid with as many axes as a patch.
            checkpointing: whether to keep less for the backward pass and compute it anew.

        Raises:
            InputError: rows that do not lie on such a grid, or another number of patches than of learned positions.
        """
        grid, mask = present_grid(array, axes=len(self.config.patch), reader="ViT")
        patches = self.embedding(padded_patches(grid, self.config.patch))
        rows = torch.cat([self.class_token.expand(array.batch, 1, -1).to(patches.dtype), patches], dim=1)
        if self.positions is not None:
            if rows.shape[1] != 1 + self.config.learned_positions:
                raise InputError(
                    f"ViT: {rows.shape[1] - 1} patches; the model has learned positions of "
                    f"{self.config.learned_positions}"
                )
            rows = rows + self.positions.table.to(rows.dtype)
        if mask is not None:
            present = padded_patches(mask.float(), self.config.patch).any(-1)
            mask = F.pad(present, (1, 0), value=True)
        rows = self.blocks(rows, mask, checkpointing=checkpointing)
        return rows[:, :1]


def padded_patches(grid: Tensor, patch: tuple[int, ...]) -> Tensor:
    """A grid cut into patches.

    Args:
        grid: batch × channels × grid; padded with zeros to whole patches.
        patch: the size of a patch along each axis.

    Returns:
        batch × patches × (elements of a patch · channels)

    >>> padded_patches(torch.zeros(2, 3, 5, 4), (2, 2)).shape
    torch.Size([2, 6, 12])
    """
    padding = [size for side, extent in zip(grid.shape[2:], patch, strict=True) for size in (-side % extent, 0)]
    grid = F.pad(grid, padding[::-1])
    return patches_of(grid.movedim(1, -1), patch).flatten(1, len(patch))
