"""BACKBONES, one readable table: what turns a byte array into latents.

A backbone is an ``nn.Module`` in a file of its own, with a configuration record that has ``kind``, its name in the
table. It is built as ``Type(config, channels=…, names=…)`` and fulfils :class:`Backbone`; everything else (task,
decoder, training, reports, prediction) works with it unchanged. A backbone may also have attention maps:
:class:`AttentionBackbone`. Where it has none, reports leave that section out and ``sensorium explain`` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Protocol, runtime_checkable

from torch import Tensor, nn

from ..config import OneOf
from ..nn import Encoder
from ..nn.byte_array import ByteArray
from .baselines.lucidrains import Lucidrains
from .baselines.resnet import ResNet
from .baselines.transformer import Transformer
from .baselines.vit import ViT


class Backbone(Protocol):
    """A module that reads a byte array.

    Attributes:
        num_latents: N, the number of latents of an example.
        latent_channels: D, the channels of a latent.
    """

    @property
    def num_latents(self) -> int: ...

    @property
    def latent_channels(self) -> int: ...

    def __call__(self, array: ByteArray, *, checkpointing: bool = False) -> Tensor:
        """A byte array to latents: batch × N × D.

        Args:
            checkpointing: whether to keep less for the backward pass and compute it anew.
        """


@runtime_checkable
class AttentionBackbone(Protocol):
    """A backbone that attends to the rows of the byte array, and can show how much.

    Attributes:
        cross_attends: for each time that it attends, in order, the number of the weights it uses: same number, same
            weights.
    """

    @property
    def cross_attends(self) -> Sequence[int]: ...

    def weights(self, array: ByteArray) -> Iterable[Tensor]:
        """The attention weights of each cross-attend, in order: batch × heads × latents × rows."""


@runtime_checkable
class RolloutBackbone(AttentionBackbone, Protocol):
    """A backbone whose attention can be seen before the softmax and followed through its layers."""

    def weights(self, array: ByteArray, *, before_softmax: bool = False) -> Iterable[Tensor]:
        """As above; with ``before_softmax`` the logits, -inf where a row is masked."""

    def rollout(self, array: ByteArray) -> Tensor:
        """How much of each row is in each latent: batch × latents × rows, which sum to 1 for each latent."""


BACKBONES: dict[str, type[nn.Module]] = {
    "perceiver": Encoder,
    "resnet": ResNet,
    "vit": ViT,
    "transformer": Transformer,
    "lucidrains": Lucidrains,
}

BackboneConfig = Annotated[Any, OneOf(BACKBONES, default="perceiver")]


def build_backbone(config: Any, *, channels: int, names: Sequence[str]) -> nn.Module:
    """The backbone that a configuration describes.

    Args:
        config: its record, with ``kind``.
        channels: of the byte array.
        names: of the modalities, which are the segments of the byte array.

    Raises:
        InputError: a configuration that does not fit.
    """
    return BACKBONES[config.kind](config, channels=channels, names=names)
