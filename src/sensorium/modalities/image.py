"""Pictures of any number of channels: rows are patches of pixels (of one pixel in the paper) with Fourier features, or
the output of a stem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
import pydantic
import torch
from einops import rearrange
from torch import Tensor

from ..codecs import arrays
from ..codecs import pictures as picture_files
from ..codecs.raw import Raw
from ..config import record
from ..errors import InputError
from ..nn.byte_array import ByteArray, GridPositions, Segment
from ..nn.positions import Spacing, fourier_channels, grid_positions
from ..nn.stems import (
    Convolution,
    ConvolutionConfig,
    GridStem,
    GridStemConfig,
    Pointwise,
    PointwiseConfig,
)
from .base import Batch, Sample
from .drawing import draw_pixels
from .pixels import Pixels, centre, fitted, floats, random_crop
from .ranges import Ranges, ranges_of, scaled, unscaled

LARGEST_SIDE = 224

StemConfig: TypeAlias = Annotated[
    GridStemConfig | PointwiseConfig | ConvolutionConfig, pydantic.Field(discriminator="kind")
]


@record
class ImageConfig:
    """What pictures look like to the model.

    Attributes:
        size: height and width in pixels; multiples of ``patch``.
        channels: 3 (colour), 1 (grey), or as many as a grid of measured values has bands.
        patch: height and width of the patch that a row covers; (1, 1) is a row for each pixel.
        stem: layers that turn pictures into rows, instead of patches; None: patches.
        bands: number of Fourier frequencies along each axis.
        resolution: twice the highest Fourier frequency, along height and width; None: the number of rows along them.
        ranges: for each channel the measured values that become 0 and 1; what is beyond them is cut off. None: pictures
            are of 8 bits.
        mean: of each channel, for normalisation; pixels are in [0, 1].
        std: of each channel.
        crop: the smallest share of the picture's area that a training crop may have; 1: no cropping.
        flip: probability that a training picture is mirrored left and right.
        randaugment: number of random operations on each training picture (RandAugment), and their magnitude, 0 to 30.
    """

    kind: Literal["image"] = "image"
    size: tuple[int, int] = (224, 224)
    channels: int = 3
    patch: tuple[int, int] = (1, 1)
    stem: StemConfig | None = None
    bands: int = 64
    resolution: tuple[float, float] | None = None
    ranges: Ranges | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop: float = 1.0
    flip: float = 0.0
    randaugment: tuple[int, float] = (0, 0.0)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows down and across of a picture of ``size``."""
        if isinstance(self.stem, PointwiseConfig | ConvolutionConfig):
            return self.stem.grid(size)
        down, across = self.area
        return size[0] // down, size[1] // across

    @property
    def area(self) -> tuple[int, int]:
        """The pixels that a row covers, down and across."""
        down, across = self.patch if self.stem is None else self.stem.patch
        return down, across

    @property
    def multiple_of(self) -> tuple[int, int]:
        """What the height and the width of every picture are multiples of."""
        return (1, 1) if isinstance(self.stem, PointwiseConfig | ConvolutionConfig) else self.area

    @property
    def num_rows(self) -> int:
        down, across = self.grid(self.size)
        return down * across

    @property
    def elements_per_row(self) -> int:
        return self.area[0] * self.area[1]

    @property
    def position_channels(self) -> int:
        if isinstance(self.stem, PointwiseConfig | ConvolutionConfig):
            return self.stem.position_channels(self.bands)
        return fourier_channels(2, self.bands)

    @property
    def value_channels(self) -> int:
        """The pixels that a row covers, whatever a stem makes of them."""
        return self.elements_per_row * self.channels

    @property
    def row_channels(self) -> int:
        return (self.value_channels if self.stem is None else self.stem.channels) + self.position_channels


class Image(Pixels[ImageConfig]):
    """Pictures: ``image`` is batch × channels × height × width, floats in [0, 1] or uint8.

    >>> image = Image(ImageConfig(size=(8, 8), patch=(2, 2), bands=4))
    >>> image.embed({"image": torch.rand(5, 3, 8, 8)}).dense().shape
    torch.Size([5, 16, 30])
    """

    kind: ClassVar[str] = "image"
    array_axes: ClassVar[int] = 3
    drawn_square: ClassVar[bool] = True
    suffixes: ClassVar[tuple[str, ...]] = (
        ".jpg",
        ".jpeg",
        ".png",
        ".bmp",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".dcm",
    )

    def __init__(self, config: ImageConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if config.ranges is None and config.channels not in (1, 3):
            raise InputError(
                f"{self.name}: pictures of 8 bits have 1 or 3 channels, not {config.channels}; give ranges"
            )
        if config.ranges is not None and len(config.ranges) != config.channels:
            raise InputError(f"{self.name}: ranges need {config.channels} pairs of values")
        if config.randaugment[0] and config.channels not in (1, 3):
            raise InputError(f"{self.name}: randaugment changes pictures of 1 or 3 channels; set it to (0, 0)")
        self.stem: GridStem | Pointwise | Convolution | None = None
        if isinstance(config.stem, GridStemConfig):
            self.stem = GridStem(config.stem, channels=config.channels)
        elif isinstance(config.stem, ConvolutionConfig):
            self.stem = Convolution(
                config.stem,
                pixels=config.channels,
                size=config.size,
                bands=config.bands,
                resolution=config.resolution,
            )
        elif config.stem is not None:
            self.stem = Pointwise(config.stem, pixels=config.channels, size=config.size)

    # -- from files

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> ImageConfig:
        """Square pictures of the median shorter side, at most 224 pixels; grey if all are; mean and std of 128 of them.
        Where any picture is a grid of measured values, all are: they have as many channels as bands, and the ranges of
        32 of them.

        Raises:
            InputError: a picture cannot be decoded, or grids of measured values differ in their bands.
        """
        headers = [picture_files.header(raw) for raw in raws]
        side = max(1, min(LARGEST_SIDE, int(np.median([min(header.height, header.width) for header in headers]))))
        channels, ranges = 1 if all(header.grey for header in headers) else 3, None
        if any(header.bands for header in headers):
            counts = sorted({header.channels for header in headers})
            if len(counts) > 1:
                raise InputError(f"pictures have {' and '.join(map(str, counts))} bands; give all the same")
            channels = counts[0]
            ranges = ranges_of([picture_files.decode_bands(raw) for raw in raws[:: max(1, len(raws) // 32)]])
        half = (0.5,) * channels
        config = ImageConfig(size=(side, side), channels=channels, ranges=ranges, mean=half, std=half)
        image = cls(config)
        pixels = np.stack([image.load(raw)["image"] for raw in raws[:: max(1, len(raws) // 128)]])
        pixels = pixels.astype(np.float64) if ranges else pixels / 255.0
        mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
        return replace(
            config,
            mean=tuple(round(float(value), 4) for value in mean),
            std=tuple(round(max(float(value), 0.02), 4) for value in std),
        )

    def load(self, raw: Raw) -> Sample:
        """The centre of the picture: uint8, channels × stored height × stored width, which are a little larger than
        ``size`` where that is 64 or more (256 for 224), so that training crops have room.

        Args:
            raw: a path, the bytes of a file, or an array, height × width [× 1, 3 or 4], uint8 or floats in [0, 1].
                Where the model has ranges, measured values in their units; they become float16 in [0, 1], and 0 where
                nothing was measured.

        Raises:
            InputError: not a picture, damaged or too large, NaN or infinite values, or other bands than configured.
        """
        if self.config.ranges is not None:
            bands = picture_files.decode_bands(raw, size=self.stored)
            if len(bands) != self.config.channels:
                raise InputError(f"{len(bands)} bands, the model reads {self.config.channels}; give as many")
            return {self.name: scaled(bands, self.config.ranges).astype(np.float16)}
        pixels = picture_files.decode(raw, channels=self.config.channels, size=self.stored, enough=4 * LARGEST_SIDE)
        return {self.name: pixels}

    def is_example(self, shape: tuple[int, ...]) -> bool:
        channels = (1, 3, 4, self.config.channels)
        return 0 not in shape and (len(shape) == 2 or (len(shape) == 3 and shape[2] in channels))

    # -- from batches

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """Floats in [0, 1], the centre of ``size``."""
        images = batch[self.name]
        return {**batch, self.name: floats(centre(images, self._target(images)))}

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """A random crop (area from ``crop`` to 1, aspect from 3/4 to 4/3) and mirroring as one resampling,
        after RandAugment's operations on the whole picture."""
        images = floats(batch[self.name])
        layers, magnitude = self.config.randaugment
        if layers:
            images = _randaugment(images, layers, magnitude, generator)
        crop, flip, target = self.config.crop, self.config.flip, self._target(images)
        if crop < 1 or flip > 0 or tuple(images.shape[-2:]) != target:
            images = random_crop(images, target, least=crop, flip=flip, generator=generator)
        return {**batch, self.name: images}

    def embed(self, batch: Batch) -> ByteArray:
        images = floats(batch[self.name])
        self._check(images, "batch")
        images = (images - self.mean) / self.std
        return ByteArray((Segment(self.name, self._values(images, batch), self._positions(images)),))

    def _values(self, images: Tensor, batch: Batch) -> Tensor:
        if self.stem is None:
            return self.patchify(images)
        if isinstance(self.stem, GridStem):
            return self.stem(images.movedim(1, -1), self.seen(batch, (images.shape[0], *images.shape[2:])))[0]
        return self.stem(images)

    # -- rows and signal

    def patchify(self, signal: Tensor) -> Tensor:
        """batch × k × height × width as batch × rows × (elements · k)."""
        (height, width), (down, across) = self._grid(signal), self.config.area
        return rearrange(
            fitted(signal, (height * down, width * across)),
            "batch k (height down) (width across) -> batch (height width) (down across k)",
            down=down,
            across=across,
        )

    def unpatchify(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × k × height × width."""
        images = batch[self.name]
        (height, width), (down, across) = self._grid(images), self.config.area
        signal = rearrange(
            rows,
            "batch (height width) (down across k) -> batch k (height down) (width across)",
            height=height,
            width=width,
            down=down,
            across=across,
        )
        return fitted(signal, (images.shape[-2], images.shape[-1]))

    # -- predicted

    def elementwise(self) -> Image:
        return Image(replace(self.config, stem=None, patch=(1, 1)), name=self.name)

    def query_segment(self, batch: Batch, *, spacing: Spacing = "linspace") -> Segment:
        images = batch[self.name]
        height, width = self._grid(images)
        return Segment(
            self.name, self.mean.new_zeros(images.shape[0], height * width, 0), self._positions(images, spacing)
        )

    def targets(self, batch: Batch) -> Tensor:
        """The normalised pixels, whatever a stem makes of them."""
        return self.patchify((floats(batch[self.name]) - self.mean) / self.std)

    def save(self, signal: Tensor, stem: Path) -> list[Path]:
        """Write a .png; measured values as a .npz, channels × height × width, in their units."""
        if self.config.ranges is not None:
            path = stem.with_name(f"{stem.name}.npz")
            arrays.encode_file({self.name: unscaled(signal.float().cpu().numpy(), self.config.ranges)}, path)
            return [path]
        path = stem.with_name(f"{stem.name}.png")
        pixels = (signal.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        picture_files.encode_file(pixels[..., 0] if self.config.channels == 1 else pixels, path)
        return [path]

    # -- for people

    def draw(self, axes: Any, batch: Batch, index: int, attention: Tensor | None = None) -> None:
        """The picture, with the attention over it; of more than three channels, the mean of them."""
        channels = floats(batch[self.name])[index].clamp(0, 1)
        channels = channels if len(channels) == 3 else channels.mean(0, keepdim=True)
        pixels = channels.expand(3, -1, -1).permute(1, 2, 0).cpu().numpy()
        draw_pixels(axes, pixels, None if attention is None else attention[0].float().cpu().numpy())

    def _grid(self, images: Tensor) -> tuple[int, int]:
        return self.config.grid((images.shape[-2], images.shape[-1]))

    def _positions(self, images: Tensor, spacing: Spacing = "linspace") -> GridPositions:
        if isinstance(self.stem, Pointwise | Convolution):
            return self.stem.positions(images)
        down, across = self.config.area
        own = (self.config.size[0] / down, self.config.size[1] / across)
        return grid_positions(
            self._grid(images), self.config.bands, self.config.resolution or own, images.device, spacing
        )


def _randaugment(images: Tensor, layers: int, magnitude: float, generator: torch.Generator) -> Tensor:
    from kornia.augmentation.auto import RandAugment

    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):  # kornia draws from the global generator
        torch.manual_seed(seed)
        if images.shape[1] == 3:
            return RandAugment(n=layers, m=int(magnitude))(images)
        return RandAugment(n=layers, m=int(magnitude))(images.expand(-1, 3, -1, -1))[:, :1]
