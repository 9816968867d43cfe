"""Pictures: patches of pixels (of one pixel in the paper) with Fourier features, or what a stem makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..codecs.pictures import fit, flattened, opened
from ..codecs.raw import Raw
from ..config import record
from ..errors import InputError
from ..nn.byte_array import ByteArray, GridPositions, Segment
from ..nn.positions import Spacing, fourier_channels
from .base import Batch, Sample
from .pixels import Pixels, centre, fitted, floats, grid_positions, random_crop
from .stems import Convolution, ConvolutionConfig, Pointwise, StemConfig

LARGEST_SIDE = 224


@record
class ImageConfig:
    """What pictures look like to the model.

    Attributes:
        size: height and width in pixels; multiples of ``patch``.
        channels: 3 (colour) or 1 (grey).
        patch: height and width of one row's patch; (1, 1) is a row per pixel.
        stem: what comes before the rows, instead of patches; None: nothing does.
        bands: Fourier bands per axis.
        resolution: per axis, twice the highest Fourier frequency; None: the number of rows along it.
        mean, std: per channel, of values in [0, 1].
        crop: the smallest share of the picture's area that a training crop may have; 1: no cropping.
        flip: probability of mirroring left and right in training.
        randaugment: how many random operations on each training picture (RandAugment), and their magnitude (of 30).
    """

    kind: Literal["image"] = "image"
    size: tuple[int, int] = (224, 224)
    channels: Literal[1, 3] = 3
    patch: tuple[int, int] = (1, 1)
    stem: StemConfig | None = None
    bands: int = 64
    resolution: tuple[float, float] | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop: float = 1.0
    flip: float = 0.0
    randaugment: tuple[int, float] = (0, 0.0)


class Image(Pixels):
    """Pictures: ``image`` is batch × channels × height × width, floats in [0, 1] or uint8.

    >>> image = Image(ImageConfig(size=(8, 8), patch=(2, 2), bands=4))
    >>> image.embed({"image": torch.rand(5, 3, 8, 8)}).dense().shape
    torch.Size([5, 16, 30])
    """

    kind: ClassVar[str] = "image"
    drawn_square: ClassVar[bool] = True
    suffixes: ClassVar[tuple[str, ...]] = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")
    config: ImageConfig

    def __init__(self, config: ImageConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if config.stem is not None and config.patch != (1, 1):
            raise InputError("image: a stem takes pixels, not patches; leave out one of them")
        self.stem: Pointwise | Convolution | None = None
        if isinstance(config.stem, ConvolutionConfig):
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
        """Square pictures of the median shorter side, at most 224; grey if all are; mean and std of 128 of them."""
        pictures = [raw if isinstance(raw, np.ndarray) else opened(raw) for raw in raws]
        sides = [min(p.shape[:2]) if isinstance(p, np.ndarray) else min(p.size) for p in pictures]
        side = max(1, min(LARGEST_SIDE, int(np.median(sides))))
        grey = all(
            p.ndim == 2 or p.shape[2] == 1 if isinstance(p, np.ndarray) else p.mode in ("L", "1", "I;16", "I")
            for p in pictures
        )
        half = (0.5,) * (1 if grey else 3)
        config = ImageConfig(size=(side, side), channels=1 if grey else 3, mean=half, std=half)
        reader = cls(config)
        some = np.stack([reader.load(raw)["image"] for raw in raws[:: max(1, len(raws) // 128)]]) / 255.0
        mean, std = some.mean((0, 2, 3)), some.std((0, 2, 3))
        return ImageConfig(
            size=config.size,
            channels=config.channels,
            mean=tuple(round(float(value), 4) for value in mean),
            std=tuple(round(max(float(value), 0.02), 4) for value in std),
        )

    def load(self, raw: Raw) -> Sample:
        """uint8, channels × stored height × stored width: the centre of the picture, a little larger than ``size``
        where that is 64 or more (256 for 224), so that training crops have room."""
        picture = opened(raw, least=4 * LARGEST_SIDE)
        return {self.name: fit(flattened(picture, self.config.channels), self.stored)}

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
        if images.ndim != 4 or images.shape[1] != self.config.channels:
            raise InputError(
                f"{self.name}: expected batch × {self.config.channels} × height × width, got {tuple(images.shape)}"
            )
        if any(side % patch for side, patch in zip(images.shape[-2:], self.config.patch, strict=True)):
            raise InputError(
                f"{self.name}: {tuple(images.shape[-2:])} pixels are not whole patches {self.config.patch}"
            )
        images = (images - self.mean) / self.std
        values = self.patchify(images) if self.stem is None else self.stem(images)
        return ByteArray((Segment(self.name, values, self._positions(images)),))

    # -- rows and signal

    @property
    def channels(self) -> int:
        if self.stem is not None:
            return self.stem.channels
        return self.elements_per_row * self.config.channels + fourier_channels(2, self.config.bands)

    @property
    def num_rows(self) -> int:
        down, across = self._rows_of(self.config.size)
        return down * across

    @property
    def elements_per_row(self) -> int:
        return self._patch[0] * self._patch[1]

    def patchify(self, signal: Tensor) -> Tensor:
        batch, channels = signal.shape[:2]
        (height, width), (down, across) = self._grid(signal), self._patch
        signal = fitted(signal, (height * down, width * across))
        patches = signal.reshape(batch, channels, height, down, width, across)
        return patches.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, down * across * channels)

    def unpatchify(self, rows: Tensor, batch: Batch) -> Tensor:
        images = batch[self.name]
        (height, width), (down, across) = self._grid(images), self._patch
        patches = rows.reshape(rows.shape[0], height, width, down, across, -1)
        patches = patches.permute(0, 5, 1, 3, 2, 4).reshape(rows.shape[0], -1, height * down, width * across)
        return fitted(patches, (images.shape[-2], images.shape[-1]))

    # -- as an answer

    @property
    def position_channels(self) -> int:
        if self.config.stem is not None:
            return self.channels - self.config.stem.channels
        return fourier_channels(2, self.config.bands)

    @property
    def value_channels(self) -> int:
        return self.elements_per_row * self.config.channels

    def elementwise(self) -> Image:
        return Image(replace(self.config, stem=None, patch=(1, 1)), name=self.name)

    def query_segment(self, batch: Batch, *, spacing: Spacing = "linspace") -> Segment:
        images = batch[self.name]
        height, width = self._grid(images)
        return Segment(self.name, self.mean.new_zeros(len(images), height * width, 0), self._positions(images, spacing))

    def targets(self, batch: Batch) -> Tensor:
        """Normalised pixels, whatever a stem makes of them."""
        return self.patchify((floats(batch[self.name]) - self.mean) / self.std)

    def save(self, signal: Tensor, stem: Path) -> Path:
        """A .png."""
        from PIL import Image as Pillow

        path = stem.with_name(f"{stem.name}.png")
        pixels = (signal.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        Pillow.fromarray(pixels[..., 0] if self.config.channels == 1 else pixels).save(path)
        return path

    # -- for people

    def draw(self, axes: Any, batch: Batch, index: int, heat: Tensor | None = None) -> None:
        picture = floats(batch[self.name])[index].clamp(0, 1)
        picture = picture.expand(3, -1, -1) if self.config.channels == 1 else picture
        pixels = picture.permute(1, 2, 0).numpy()
        axes.set_axis_off()
        if heat is None:
            axes.imshow(pixels)
            return
        axes.imshow(pixels.mean(-1), cmap="gray", vmin=-0.3, vmax=1.3)
        axes.imshow(heat.reshape(heat.shape[-2:]).numpy(), cmap="inferno", alpha=0.6, vmin=0, vmax=1)

    @property
    def _patch(self) -> tuple[int, int]:
        """The pixels that a row covers, down and across."""
        return self.config.patch if self.stem is None else self.stem.patch

    def _grid(self, images: Tensor) -> tuple[int, int]:
        return self._rows_of((images.shape[-2], images.shape[-1]))

    def _rows_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows down and across of a picture of ``size``."""
        if self.stem is not None:
            return self.stem.grid(size)
        return size[0] // self.config.patch[0], size[1] // self.config.patch[1]

    def _positions(self, images: Tensor, spacing: Spacing = "linspace") -> GridPositions:
        if self.stem is not None:
            return self.stem.positions(images)
        down, across = self.config.patch
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
