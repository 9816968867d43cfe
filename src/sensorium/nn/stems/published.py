"""The stems of Perceiver IO (App. A), which turn a picture into rows instead of patches: one with learned positions,
one that is convolutional."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ...config import record
from ...errors import InputError
from ..byte_array import GridPositions
from ..initialisation import lecun
from ..positions import LearnedPositions, fourier_channels, grid_positions


@record
class PointwiseConfig:
    """A row for each pixel: the projected pixel and a projected learned position.

    Attributes:
        channels: of the projected pixel, and of its position.
    """

    kind: Literal["pointwise"] = "pointwise"
    channels: int = 256

    @property
    def patch(self) -> tuple[int, int]:
        """The pixels that a row covers, down and across."""
        return 1, 1

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows down and across of a picture of ``size``."""
        return size

    def position_channels(self, bands: int) -> int:
        """The channels of a row's position; learned ones do not depend on the number of Fourier bands."""
        return self.channels


@record
class ConvolutionConfig:
    """A convolution of 7 × 7 and a pooling of 3 × 3, each of stride 2: a row for every 4 × 4 pixels.

    Attributes:
        channels: of a row, before its Fourier features.
        geometry: how borders are padded. ``same`` is the authors' way, which makes 56 × 56 rows of 224 × 224 pixels;
            ``symmetric`` is the way of ``transformers``, which pads the convolution evenly and the pooling not at all,
            and makes 55 × 55 rows.
    """

    kind: Literal["convolution"] = "convolution"
    channels: int = 64
    geometry: Literal["same", "symmetric"] = "same"

    @property
    def patch(self) -> tuple[int, int]:
        """The pixels that a row covers, down and across."""
        return 4, 4

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows down and across of a picture of ``size``."""
        if self.geometry == "same":
            return -(-size[0] // 4), -(-size[1] // 4)
        halves = [(side - 1) // 2 + 1 for side in size]  # after the convolution
        return (halves[0] - 3) // 2 + 1, (halves[1] - 3) // 2 + 1

    def position_channels(self, bands: int) -> int:
        """The channels of a row's Fourier features."""
        return fourier_channels(2, bands)


class Pointwise(nn.Module):
    """Pixels and learned positions, each through a linear layer of its own.

    Args:
        config: the configuration.
        pixels: channels of a pixel.
        size: height and width of every picture: there are learned positions for no other size.
    """

    def __init__(self, config: PointwiseConfig, *, pixels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.convolution = lecun(nn.Conv2d(pixels, config.channels, 1))
        self.position_embedding = LearnedPositions(size[0] * size[1], config.channels)
        self.projection = lecun(nn.Linear(config.channels, config.channels))

    def positions(self, images: Tensor) -> GridPositions:
        """The positions of the rows of pictures.

        Raises:
            InputError: pictures of another size.
        """
        if tuple(images.shape[-2:]) != self.size:
            raise InputError(f"image: {tuple(images.shape[-2:])} pixels; learned positions are of {self.size} only")
        return GridPositions((self.projection(self.position_embedding().tables[0]),))

    def forward(self, images: Tensor) -> Tensor:
        """Normalised pictures to batch × rows × values."""
        values: Tensor = self.convolution(images).flatten(2).mT
        return values


class Convolution(nn.Module):
    """A convolution, a batch norm and a pooling, then Fourier features of the grid that they leave.

    Args:
        config: the configuration.
        pixels: channels of a pixel.
        size: height and width of a picture, which set the highest frequency of the positions.
        bands: Fourier bands per axis.
        resolution: per axis, twice the highest Fourier frequency; None: the number of rows along it.
    """

    def __init__(
        self,
        config: ConvolutionConfig,
        *,
        pixels: int,
        size: tuple[int, int],
        bands: int,
        resolution: tuple[float, float] | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.bands = bands
        self.convolution = lecun(nn.Conv2d(pixels, config.channels, 7, stride=2, bias=False))
        self.norm = nn.BatchNorm2d(config.channels, eps=1e-5, momentum=0.1)
        down, across = config.grid(size)
        self.resolution = resolution or (float(down), float(across))

    def positions(self, images: Tensor) -> GridPositions:
        """The positions of the rows of pictures, from their size alone: the batch norm sees nothing."""
        height, width = images.shape[-2:]
        return grid_positions(self.config.grid((height, width)), self.bands, self.resolution, images.device)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised pictures to batch × rows × values."""
        same = self.config.geometry == "same"
        padded = _pad_same(images, 7, 0.0) if same else F.pad(images, (3, 3, 3, 3))
        rows = F.relu(self.norm(self.convolution(padded)))
        rows = F.max_pool2d(_pad_same(rows, 3, float("-inf")) if same else rows, 3, stride=2)
        return rows.flatten(2).mT


def _pad_same(images: Tensor, kernel: int, value: float) -> Tensor:
    """Pads pictures so that a stride of 2 halves their sides, rounded up; an odd pixel is added at the far side."""
    pads: list[int] = []
    for side in reversed(images.shape[-2:]):
        missing = max(0, (-(-side // 2) - 1) * 2 + kernel - side)
        pads += [missing // 2, missing - missing // 2]
    return F.pad(images, pads, value=value)
