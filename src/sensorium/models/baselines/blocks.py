"""The encoder blocks of a Transformer, as of ViT (Dosovitskiy et al. 2021, Eqs. 2 and 3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...config import record
from ...errors import InputError

EPSILON = 1e-6  # of the norms, as the authors of ViT have it


@record
class BlocksConfig:
    """The shape of the blocks, whose mean or class token is one latent. Defaults are ViT-B's.

    Attributes:
        channels: of a row after the first linear layer.
        num_layers: blocks of self-attention and MLP.
        num_heads: attention heads.
        mlp_ratio: hidden channels of an MLP, in units of ``channels``.
    """

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


class Block(nn.Module):
    """Pre-norm multi-head self-attention and a pre-norm MLP, each with a residual.

    Args:
        channels: of a row.
        num_heads: attention heads; they must divide the channels.
        mlp_ratio: hidden channels of the MLP, in units of ``channels``.
    """

    def __init__(self, channels: int, *, num_heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.projections = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.mlp_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.mlp = nn.Sequential(
            nn.Linear(channels, mlp_ratio * channels), nn.GELU(), nn.Linear(mlp_ratio * channels, channels)
        )

    def forward(self, rows: Tensor, mask: Tensor | None) -> Tensor:
        """batch × rows × channels to the same.

        Args:
            mask: batch × 1 × 1 × rows, True = is attended to; at least one row of each example is.
        """
        heads = self.projections(self.attention_norm(rows)).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        rows = rows + self.out(attended.transpose(1, 2).flatten(2))
        return rows + self.mlp(self.mlp_norm(rows))


class Blocks(nn.Module):
    """Blocks one after the other, and a last norm.

    Raises:
        InputError: heads that do not divide the channels.
    """

    def __init__(self, config: BlocksConfig) -> None:
        super().__init__()
        channels, num_heads = config.channels, config.num_heads
        if channels % num_heads:
            raise InputError(f"{num_heads} heads do not divide {channels} channels; give heads that do")
        self.blocks = nn.ModuleList(
            Block(channels, num_heads=num_heads, mlp_ratio=config.mlp_ratio) for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(channels, eps=EPSILON)

    def forward(self, rows: Tensor, mask: Tensor | None, *, checkpointing: bool) -> Tensor:
        """batch × rows × channels to the same.

        Args:
            mask: batch × rows, True = present; examples without any row attend to all of theirs, which must be zero.
            checkpointing: whether to keep less for the backward pass and compute it anew.
        """
        keys = None if mask is None else (mask | ~mask.any(1, keepdim=True))[:, None, None]
        for block in self.blocks:
            rows = checkpoint(block, rows, keys, use_reentrant=False) if checkpointing else block(rows, keys)
        normed: Tensor = self.norm(rows)
        return normed
