"""What pictures, still or moving, have in common: their size in memory and in the model, crops, colours, and the
positions of their grid."""

from __future__ import annotations

from math import log
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .base import Batch, Modality, SignalConfig
from .sequences import uniform

LUMA = (0.299, 0.587, 0.114)
ROOMY = 64  # pixels along the shorter side; from here on more is kept than the model sees
FIELD_OF_VIEW = 0.875  # of ImageNet in the papers: 224 of 256 pixels


class PixelsConfig(SignalConfig, Protocol):
    """What the configurations of signals of pixels have in common."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @property
    def channels(self) -> int:
        """Of a pixel."""

    @property
    def multiple_of(self) -> tuple[int, int]:
        """What the height and the width of every picture are multiples of."""

    @property
    def field_of_view(self) -> float | None:
        """The share of the shorter side that is seen from the middle."""

    @property
    def crop(self) -> float:
        """The smallest share of the area that a training crop may have."""

    @property
    def flip(self) -> float:
        """The probability that training mirrors a picture."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Of each channel."""

    @property
    def std(self) -> tuple[float, ...]:
        """Of each channel."""


PixelsConfigT = TypeVar("PixelsConfigT", bound=PixelsConfig)


class Pixels(Modality[PixelsConfigT]):
    """Signals of pixels: batch × … × channels × height × width, floats in [0, 1] or uint8.

    Attributes:
        share: of the shorter side of a picture that is seen from its middle.
        stored: height and width of what is kept in memory of an example; views are cut out of it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: PixelsConfigT, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if min(*config.size, *config.multiple_of) < 1:
            raise InputError(f"{self.name}: size and patch must be positive")
        if any(side % patch for side, patch in zip(config.size, config.multiple_of, strict=True)):
            raise InputError(
                f"{self.name}: a size of {config.size} is not a multiple of the patch {config.multiple_of}"
            )
        if len(config.mean) != config.channels or len(config.std) != config.channels:
            raise InputError(f"{self.name}: mean and std need {config.channels} values each")
        self.register_buffer("mean", torch.tensor(config.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(-1, 1, 1), persistent=False)
        if config.field_of_view is not None and not 0 < config.field_of_view <= 1:
            raise InputError(f"{self.name}: field_of_view is a share of the shorter side, from 0 to 1")
        self.share = usual_share(config.size) if config.field_of_view is None else config.field_of_view
        self.stored = stored_size(config.size, self.share)

    def around_boxes(self, batch: Batch, share: Tensor, generator: torch.Generator) -> Tensor:
        return around_boxes(batch[self.name], share, generator)

    @property
    def value_range(self) -> float:
        return 1.0

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """The pixels, in [0, 1]."""
        return (self.unpatchify(rows, batch) * self.std + self.mean).clamp(0, 1)

    def _check(self, pictures: Tensor, axes: str) -> None:
        """Raises an InputError unless pictures have these axes, the right channels, and a size of whole patches."""
        num_axes = len(axes.split(" × ")) + 3
        if pictures.ndim != num_axes or pictures.shape[-3] != self.config.channels:
            raise InputError(
                f"{self.name}: expected {axes} × {self.config.channels} × height × width, got {tuple(pictures.shape)}"
            )
        size, patch = tuple(pictures.shape[-2:]), self.config.multiple_of
        if any(side % extent for side, extent in zip(size, patch, strict=True)):
            raise InputError(f"{self.name}: {size} pixels are not whole patches of {patch}")

    def _cropped(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        """Random crops of stored pictures, perhaps mirrored. Where the configuration crops nothing, training sees what
        evaluation sees."""
        crop, flip, target = self.config.crop, self.config.flip, self._target(pictures)
        if crop >= 1:
            pictures = centre(pictures, target)
        if crop < 1 or flip > 0:
            pictures = random_crop(pictures, target, least=crop, flip=flip, generator=generator)
        return pictures

    def _target(self, pictures: Tensor) -> tuple[int, int]:
        """The size of a view of stored pictures; pictures of another size keep theirs."""
        height, width = pictures.shape[-2:]
        return self.config.size if (height, width) == self.stored else (height, width)


def usual_share(size: tuple[int, int]) -> float:
    """The share of the shorter side that is seen where nothing is said: 0.875, or 1 of small pictures, where it is
    below 64 pixels."""
    return 1.0 if min(size) < ROOMY else FIELD_OF_VIEW


def stored_size(size: tuple[int, int], share: float | None = None) -> tuple[int, int]:
    """Height and width to keep of a picture of which the model sees ``size``, so that training crops have room.

    Args:
        size: height and width in pixels.
        share: of both sides that ``size`` is; None: the usual one.

    >>> stored_size((224, 224)), stored_size((32, 64)), stored_size((224, 224), 1.0)
    ((256, 256), (32, 64), (224, 224))
    """
    share = usual_share(size) if share is None else share
    return round(size[0] / share), round(size[1] / share)


def floats(pictures: Tensor) -> Tensor:
    """Pictures in [0, 1], if they are bytes; in float32, if they are kept in float16."""
    if pictures.dtype == torch.uint8:
        return pictures.float().div_(255)
    return pictures.float() if pictures.dtype == torch.float16 else pictures


def centre(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of pictures (… × height × width) at least as large as ``size``."""
    height, width = size
    top, left = (pictures.shape[-2] - height) // 2, (pictures.shape[-1] - width) // 2
    return pictures[..., top : top + height, left : left + width]


def random_crop(
    pictures: Tensor, size: tuple[int, int], *, least: float, flip: float, generator: torch.Generator
) -> Tensor:
    """A random part of each picture, resized to ``size`` and perhaps mirrored, in one resampling.

    Args:
        pictures: batch × … × height × width, float; all frames and channels of an example are cropped alike.
        size: height and width of the result.
        least: the smallest share of the area that a part may have; its aspect is from 3/4 to 4/3. 1: the whole picture.
        flip: probability of mirroring left and right.
        generator: of the random numbers.

    Returns:
        batch × … × size
    """
    count = len(pictures)
    draw = uniform(pictures, (5, count), 0, 1, generator)
    area = least + (1 - least) * draw[0]
    low, high = (log(3 / 4), log(4 / 3)) if least < 1 else (0.0, 0.0)
    aspect = (low + (high - low) * draw[1]).exp()
    tall, wide = (area / aspect).sqrt().clamp(max=1), (area * aspect).sqrt().clamp(max=1)
    theta = pictures.new_zeros(count, 2, 3)
    theta[:, 0, 0] = wide * torch.where(draw[4] < flip, -1.0, 1.0)
    theta[:, 1, 1] = tall
    theta[:, 0, 2] = (1 - wide) * (2 * draw[2] - 1)
    theta[:, 1, 2] = (1 - tall) * (2 * draw[3] - 1)
    # Frames are channels here: one grid serves all frames of an example.
    flat = pictures.flatten(1, -3)
    grid = F.affine_grid(theta, [count, 1, *size], align_corners=False)
    crops = F.grid_sample(flat, grid, align_corners=False, padding_mode="reflection")
    return crops.unflatten(1, pictures.shape[1:-2])


def around_boxes(pictures: Tensor, share: Tensor, generator: torch.Generator) -> Tensor:
    """The mask of CutMix, 0 in a random box of each picture and 1 around it, as Perceiver IO's authors draw it.

    Args:
        pictures: batch × … × height × width; all frames and channels of an example have the same box.
        share: (batch,), how much of a picture is around its box, which has the picture's proportions. The middle of the
            box is anywhere in the picture. Where the box crosses the border it is cut off, so that more is left.
        generator: of the random numbers.

    Returns:
        float32, batch × 1 … × height × width.

    >>> around_boxes(torch.rand(2, 3, 8, 8), torch.tensor([0.5, 1.0]), torch.Generator()).shape
    torch.Size([2, 1, 8, 8])
    """
    size = torch.tensor(pictures.shape[-2:]).to(pictures.device, non_blocking=True)[:, None]
    middle = (uniform(pictures, (2, len(pictures)), 0, 1, generator) * size).floor()
    half = ((1 - share.to(middle)).sqrt() * size).floor() // 2
    down, across = (
        (coordinate >= low[:, None]) & (coordinate < high[:, None])
        for coordinate, low, high in zip(
            (torch.arange(side, device=middle.device) for side in pictures.shape[-2:]),
            middle - half,
            middle + half,
            strict=True,
        )
    )
    around = 1 - (down[:, :, None] & across[:, None, :]).float()
    return around.view(len(pictures), *[1] * (pictures.ndim - 3), *pictures.shape[-2:])


def recolour(video: Tensor, strength: float, pivot: float, generator: torch.Generator) -> Tensor:
    """Changes brightness, contrast and saturation by up to ``strength`` each, in all frames of an example alike.

    Args:
        video: batch × frames × 1 or 3 × height × width, in [0, 1].
        strength: the largest relative change.
        pivot: the grey that contrast leaves as it is.
        generator: of the random numbers.
    """
    draw = 1 + uniform(video, (3, len(video), 1, 1, 1, 1), -strength, strength, generator)
    brightness, contrast, saturation = draw
    # Contrast changes about a fixed grey rather than about the mean of each video, in which its padding would count.
    base, gain = brightness * (1 - contrast) * pivot, brightness * contrast
    if video.shape[2] == 3:
        grey = sum(share * video[:, :, channel, None] for channel, share in enumerate(LUMA))
        base, gain = base + (1 - saturation) * gain * grey, saturation * gain
    return torch.addcmul(base, video, gain).clamp_(0, 1)  # few passes over memory, which are its cost


def fitted(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures (batch × channels × height × width) brought to ``size``: cut at the right and at the bottom, or extended
    there by repeating their last pixels."""
    height, width = size
    pictures = pictures[..., :height, :width]
    missing = (0, width - pictures.shape[-1], 0, height - pictures.shape[-2])
    return F.pad(pictures, missing, mode="replicate") if any(missing) else pictures
