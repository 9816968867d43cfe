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
from .blocks import Blocks
from .rows import present_grid


@record
class ViTConfig:
    """The shape of a Vision Transformer. Defaults are ViT-B/16.

    Attributes:
        patch: rows of the byte array along each axis that make one patch.
        channels: of a patch after the first linear layer.
        num_layers: blocks of self-attention and MLP.
        num_heads: attention heads.
        mlp_ratio: hidden channels of an MLP, in units of ``channels``.
    """

    kind: Literal["vit"] = "vit"
    patch: tuple[int, ...] = (16, 16)
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


class ViT(nn.Module):
    """Self-attention over the patches of a grid of rows; the class token is the one latent.

    Positions are the Fourier features in the rows, as in the paper's "ViT (FF)"; there are no learned ones. A grid that
    is not whole patches is padded with zeros.

    Args:
        config: the shape.
        channels: of a row of the byte array.
        names: of the modalities in it.

    Raises:
        InputError: heads that do not divide the channels.
    """

    config: ViTConfig

    def __init__(self, config: ViTConfig, *, channels: int, names: Sequence[str] | None = None) -> None:
        super().__init__()
        if config.channels % config.num_heads:
            raise InputError(f"ViT: {config.num_heads} heads do not divide {config.channels} channels")
        self.config = config
        self.embedding = nn.Linear(prod(config.patch) * channels, config.channels)
        self.class_token = nn.Parameter(0.02 * torch.randn(config.channels))
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
        """batch × 1 × latent channels.

        Args:
            array: of one modality whose rows lie on a grid with as many axes as a patch.
            checkpointing: whether to keep less for the backward pass and compute it anew.

        Raises:
            InputError: rows that do not lie on such a grid.
        """
        grid, mask = present_grid(array, axes=len(self.config.patch), reader="ViT")
        patches = self.embedding(patches_of(grid, self.config.patch))
        rows = torch.cat([self.class_token.expand(array.batch, 1, -1).to(patches.dtype), patches], dim=1)
        if mask is not None:
            present = patches_of(mask.float(), self.config.patch).any(-1)
            mask = F.pad(present, (1, 0), value=True)
        rows = self.blocks(rows, mask, checkpointing=checkpointing)
        return rows[:, :1]


def patches_of(grid: Tensor, patch: tuple[int, ...]) -> Tensor:
    """A grid cut into patches.

    Args:
        grid: batch × channels × grid; padded with zeros to whole patches.
        patch: the size of a patch along each axis.

    Returns:
        batch × patches × (elements of a patch · channels)

    >>> patches_of(torch.zeros(2, 3, 5, 4), (2, 2)).shape
    torch.Size([2, 6, 12])
    """
    padding = [size for side, extent in zip(grid.shape[2:], patch, strict=True) for size in (-side % extent, 0)]
    grid = F.pad(grid, padding[::-1])
    for axis, extent in enumerate(patch):
        grid = grid.unflatten(2 + 2 * axis, (-1, extent))
    axes = range(len(patch))
    order = [0, *(2 + 2 * axis for axis in axes), *(3 + 2 * axis for axis in axes), 1]
    return grid.permute(order).flatten(1 + len(patch)).flatten(1, len(patch))
