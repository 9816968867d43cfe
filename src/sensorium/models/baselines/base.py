"""What every network of the baselines says of itself: how many latents it gives, and of how many channels."""

from __future__ import annotations

from typing import Protocol

from torch import nn


class NetworkConfig(Protocol):
    """The configuration of a network that reads a byte array."""

    @property
    def num_latents(self) -> int:
        """Latents of an example."""

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""


class Network(nn.Module):
    """A network with the sizes of its configuration, as :class:`~sensorium.models.backbones.Backbone` asks for them."""

    config: NetworkConfig

    @property
    def num_latents(self) -> int:
        """Latents of an example."""
        return self.config.num_latents

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return self.config.latent_channels
