"""Pictures of any number of channels: rows are patches of pixels (of one pixel in the paper) with Fourier features, or
the output of a stem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
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
from ..nn.byte_array import ByteArray, GridPositions, Layout, Segment, random_order
from ..nn.positions import LearnedPositions, Spacing, fourier_channels, grid_positions
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
from .pixels import Pixels, centre, fitted, floats, permuted, recolour
from .ranges import Ranges, ranges_of, scaled, unscaled
from .whole_pictures import cut_views, middle_view, on_canvas, operate, random_view, views_of

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
        positions: of rows: ``fourier`` features; ``learned`` ones, a position for each row; or ``none``. Perceiver IO's
            stems have positions of their own.
        bands: number of Fourier frequencies along each axis.
        resolution: twice the highest Fourier frequency, along height and width; None: the number of rows along them.
        learned_channels: channels of a learned position.
        permute: the seed of a random permutation of the pixels, the same for all pictures (Perceiver Table 2). Where
            rows are pixels, their positions go with them: a Perceiver's answers stay as they are, and a network that
            reads the grid finds each pixel elsewhere. Patches and stems see the permuted picture. None: no permutation.
        ranges: for each channel the measured values that become 0 and 1; what is beyond them is cut off. None: pictures
            are of 8 bits.
        mean: of each channel, for normalisation; pixels are in [0, 1].
        std: of each channel.
        field_of_view: the share of the shorter side that evaluation sees from the middle of a picture, and training
            where it does not crop. None: 0.875, as the papers on ImageNet, and 1 of pictures whose shorter side is
            below 64 pixels.
        crop: the smallest share of the picture's area that a training crop may have; 1: no cropping.
        flip: probability that a training picture is mirrored left and right.
        colour: training changes brightness, contrast and saturation by up to this share each.
        randaugment: number of random operations on each training picture (RandAugment), and their magnitude, 0 to 10.
        longest_side: of the whole pictures that are kept, of which views are then cut one by one as by Perceiver IO's
            authors: crop, mirror, RandAugment, bicubic resizing, which may leave [0, 1]. None: the middle is kept.
    """

    kind: Literal["image"] = "image"
    size: tuple[int, int] = (224, 224)
    channels: int = 3
    patch: tuple[int, int] = (1, 1)
    stem: StemConfig | None = None
    positions: Literal["fourier", "learned", "none"] = "fourier"
    bands: int = 64
    resolution: tuple[float, float] | None = None
    learned_channels: int = 128
    permute: int | None = None
    ranges: Ranges | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    field_of_view: float | None = None
    crop: float = 1.0
    flip: float = 0.0
    colour: float = 0.0
    randaugment: tuple[int, float] = (0, 0.0)
    longest_side: int | None = None

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
        channels = {"fourier": fourier_channels(2, self.bands), "learned": self.learned_channels, "none": 0}
        return channels[self.positions]

    @property
    def rows_are_pixels(self) -> bool:
        """Whether a row is one pixel, and knows nothing of those beside it."""
        return self.area == (1, 1) and (self.stem is None or isinstance(self.stem, PointwiseConfig))

    @property
    def value_channels(self) -> int:
        """The pixels that a row covers, whatever a stem makes of them."""
        return self.elements_per_row * self.channels

    @property
    def row_channels(self) -> int:
        return (self.value_channels if self.stem is None else self.stem.channels) + self.position_channels


class Image(Pixels[ImageConfig]):
    """Pictures: ``image`` is batch × channels × height × width, floats in [0, 1] or uint8.

    ``image.extent``, batch × 2: where a batch has it, the height and width of each picture in the corner of ``image``;
    these are whole pictures, of which ``view`` and ``augment`` take a part.

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
            raise InputError(f"{self.name}: 8-bit pictures have 1 or 3 channels, not {config.channels}; give ranges")
        if config.ranges is not None and len(config.ranges) != config.channels:
            raise InputError(f"{self.name}: ranges need {config.channels} pairs of values")
        if (config.randaugment[0] or config.longest_side) and (config.ranges or config.channels not in (1, 3)):
            cure = "set randaugment=[0,0] and longest_side=null"
            raise InputError(f"{self.name}: randaugment and longest_side are of pictures of 8 bits; {cure}")
        if not 0 <= config.randaugment[1] <= 10 or (config.longest_side or 1) < 1:
            raise InputError(f"{self.name}: randaugment's magnitude is from 0 to 10, and longest_side is positive")
        self.augments_on_host = config.longest_side is not None or config.randaugment[0] > 0
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
        if config.positions == "learned" and not isinstance(self.stem, Pointwise | Convolution):
            # The scale that the paper found best (Perceiver App. B).
            self.position_embedding = LearnedPositions(config.num_rows, config.learned_channels, std=1.0)

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
        ``size`` where that is 64 or more (256 for 224), so that training crops have room. With ``longest_side``, the
        whole picture in the corner of a square of that side, and ``image.extent``: int32, its height and width.

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
        channels, most = self.config.channels, self.config.longest_side
        if most is None:
            return {self.name: picture_files.decode(raw, channels=channels, size=self.stored, enough=4 * LARGEST_SIDE)}
        canvas, extent = on_canvas(picture_files.decode(raw, channels=channels, most=most, enough=2 * most), most)
        return {self.name: canvas, f"{self.name}.extent": extent}

    def is_example(self, shape: tuple[int, ...]) -> bool:
        channels = (1, 3, 4, self.config.channels)
        return 0 not in shape and (len(shape) == 2 or (len(shape) == 3 and shape[2] in channels))

    # -- from batches

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """Floats in [0, 1], the centre of ``size``; of whole pictures the middle, resized."""
        if f"{self.name}.extent" in batch:
            return cut_views(batch, self.name, partial(middle_view, size=self.config.size, share=self.share))
        images = batch[self.name]
        return {**batch, self.name: floats(centre(images, self._target(images)))}

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """A random crop (area from ``crop`` to 1, aspect from 3/4 to 4/3), mirroring and RandAugment; whole pictures
        are resized after that."""
        config, (layers, magnitude) = self.config, self.config.randaugment
        scale = min(config.size) / 224 if config.longest_side is None else config.longest_side / 512
        operations = partial(operate, layers=layers, magnitude=magnitude, scale=scale)
        if f"{self.name}.extent" in batch:
            view = partial(random_view, size=config.size, share=self.share, least=config.crop, flip=config.flip)
            return cut_views(batch, self.name, partial(view, operations=operations), generator)
        images = self._cropped(floats(batch[self.name]), generator)
        if layers:
            images = floats(views_of((images * 255).round().clamp(0, 255).byte(), None, operations, generator))
        if config.colour > 0:
            images = recolour(images[:, None], config.colour, sum(config.mean) / len(config.mean), generator)[:, 0]
        return {**batch, self.name: images}

    def embed(self, batch: Batch) -> ByteArray:
        images = floats(batch[self.name])
        self._check(images, "batch")
        images = (images - self.mean) / self.std
        values, positions = self._values(images, batch), self._positions(images)
        return ByteArray((Segment(self.name, values, positions, layout=self._layout(images)),))

    def _values(self, images: Tensor, batch: Batch) -> Tensor:
        if self.stem is None:
            return self.patchify(images)
        if isinstance(self.stem, GridStem):
            seen = self.seen(batch, (images.shape[0], *images.shape[2:]))
            seen = None if seen is None else self.permuted(seen)
            return self.stem(self.permuted(images).movedim(1, -1), seen)[0]
        return self.stem(images if self.config.rows_are_pixels else self.permuted(images))

    # -- rows and signal

    def patchify(self, signal: Tensor) -> Tensor:
        """batch × k × height × width as batch × rows × (elements · k)."""
        (height, width), (down, across) = self._grid(signal), self.config.area
        signal = signal if self.config.rows_are_pixels else self.permuted(signal)
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
        signal = fitted(signal, (images.shape[-2], images.shape[-1]))
        return signal if self.config.rows_are_pixels else self.permuted(signal, back=True)

    def permuted(self, signal: Tensor, *, back: bool = False) -> Tensor:
        """Signals (… × height × width) with their pixels in the order of ``config.permute``, or ``back`` from there:
        what everything sees that knows where pixels are. Rows that are pixels stay in place, for attention does not."""
        return signal if self.config.permute is None else permuted(signal, self.config.permute, back=back)

    def layout(self) -> Layout:
        return self._layout(self.mean.new_empty(*self.config.size))

    def _layout(self, images: Tensor) -> Layout:
        """Where the rows of pictures stand on their grid."""
        height, width = self._grid(images)
        if self.config.permute is None or not self.config.rows_are_pixels:
            return Layout((height, width))
        return Layout((height, width), random_order(height * width, self.config.permute, images.device))

    # -- predicted

    def elementwise(self) -> Image:
        return Image(replace(self.config, stem=None, patch=(1, 1)), name=self.name)

    def query_segment(self, batch: Batch, *, spacing: Spacing = "linspace") -> Segment:
        images = batch[self.name]
        height, width = self._grid(images)
        no_values = self.mean.new_zeros(images.shape[0], height * width, 0)
        return Segment(self.name, no_values, self._positions(images, spacing), layout=self._layout(images))

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

    def _positions(self, images: Tensor, spacing: Spacing = "linspace") -> GridPositions | None:
        if isinstance(self.stem, Pointwise | Convolution):
            return self.stem.positions(images)
        if self.config.positions == "none":
            return None
        if self.config.positions == "learned":
            if tuple(images.shape[-2:]) != self.config.size:
                raise InputError(
                    f"{self.name}: {tuple(images.shape[-2:])} pixels; learned positions are of {self.config.size} only"
                )
            return self.position_embedding()
        down, across = self.config.area
        own = (self.config.size[0] / down, self.config.size[1] / across)
        return grid_positions(
            self._grid(images), self.config.bands, self.config.resolution or own, images.device, spacing
        )
