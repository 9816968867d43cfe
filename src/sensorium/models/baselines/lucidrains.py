"""The Perceiver of lucidrains' ``perceiver-pytorch`` as a backbone: the only file that imports that package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from ...config import record
from ...errors import InputError
from ...nn.byte_array import ByteArray
from .base import Network
from .rows import present_rows


@record
class LucidrainsConfig:
    """The shape of perceiver-pytorch's Perceiver; what is not named has that package's defaults.

    Attributes:
        num_latents: rows of the latent array (N).
        latent_channels: channels of the latent array (D).
        cross_attends: how often it attends to the rows; all but the first share their weights.
        num_layers: self-attention blocks after each cross-attend.
        num_heads: heads of self-attention, of ``latent_channels / num_heads`` channels each.
    """

    kind: Literal["lucidrains"] = "lucidrains"
    num_latents: int = 512
    latent_channels: int = 512
    cross_attends: int = 8
    num_layers: int = 6
    num_heads: int = 8


class Lucidrains(Network):
    """The encoder of another implementation, which gets the same rows, positions and all, and their mask.

    Args:
        config: the shape.
        channels: of a row of the byte array.
        names: of the modalities in it.

    Raises:
        InputError: the package is not installed.
    """

    config: LucidrainsConfig

    def __init__(self, config: LucidrainsConfig, *, channels: int, names: Sequence[str] | None = None) -> None:
        super().__init__()
        try:
            from perceiver_pytorch import Perceiver
        except ImportError:
            raise InputError("perceiver-pytorch is not installed; pip install 'sensorium[compare]'") from None
        self.config = config
        self.perceiver = Perceiver(
            num_freq_bands=0,
            max_freq=1,
            fourier_encode_data=False,
            input_channels=channels,
            input_axis=1,
            depth=config.cross_attends,
            self_per_cross_attn=config.num_layers,
            num_latents=config.num_latents,
            latent_dim=config.latent_channels,
            latent_heads=config.num_heads,
            latent_dim_head=config.latent_channels // config.num_heads,
            weight_tie_layers=True,
            final_classifier_head=False,
        )
        # The package lists a shared block once for each time that it is used. Here each is listed once, so that weights
        # are saved once; the package gets the same modules in an order, which registers nothing.
        order = tuple(self.perceiver.layers)
        self.blocks = nn.ModuleList(dict.fromkeys(order))
        del self.perceiver.layers
        self.perceiver.layers = order

    def forward(self, array: ByteArray, *, checkpointing: bool = False) -> Tensor:
        """batch × latents × latent channels.

        Args:
            array: of any modalities.
            checkpointing: is not used; the package has no such option.
        """
        rows, mask = present_rows(array)
        latents: Tensor = self.perceiver(rows, mask=mask)
        return latents
