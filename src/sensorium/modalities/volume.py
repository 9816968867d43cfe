"""Volumes, which are grids in three dimensions: rows are patches of voxels with Fourier features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..codecs import arrays
from ..codecs import volumes as volume_files
from ..codecs.raw import Raw
from ..config import record
from ..errors import InputError
from ..nn.byte_array import ByteArray, GridPositions, Segment
from ..nn.positions import Spacing, fourier_channels, grid_positions
from ..nn.stems import GridStem, GridStemConfig
from .base import Batch, Modality, Sample
from .drawing import contact_sheet, draw_pixels
from .ranges import UNUSUAL, Ranges, ranges_of, scaled, unscaled
from .sequences import uniform

# What `measure` settles for.
LARGEST_SIDE = 64
MOST_ROWS = 2048
MEASURED = 16  # volumes

SHOWN = 6  # slices in a drawing, three on a line


@record
class VolumeConfig:
    """What volumes look like to the model.

    Attributes:
        size: depth, height and width in voxels; multiples of ``patch``. Every volume is resized to it as a whole.
        channels: values of a voxel.
        patch: depth, height and width of the patch that a row covers; (1, 1, 1) is a row for each voxel.
        stem: convolutions that turn volumes into rows, instead of patches; None: patches.
        bands: number of Fourier frequencies along each axis.
        resolution: twice the highest Fourier frequency, along depth, height and width; None: the number of patches
            along them.
        ranges: for each channel the values that become 0 and 1; what is beyond them is cut off. None: of each volume
            its own, which leave out half a percent of its voxels at either end.
        mean: of each channel, for normalisation; voxels are in [0, 1].
        std: of each channel.
        crop: the smallest share of the volume that a training crop may have; 1: no cropping.
        flip: probability that a training volume is mirrored left and right.
        contrast: training changes brightness and contrast by up to this share each.
    """

    kind: Literal["volume"] = "volume"
    size: tuple[int, int, int] = (64, 64, 64)
    channels: int = 1
    patch: tuple[int, int, int] = (8, 8, 8)
    stem: GridStemConfig | None = None
    bands: int = 16
    resolution: tuple[float, float, float] | None = None
    ranges: Ranges | None = None
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    crop: float = 1.0
    flip: float = 0.0
    contrast: float = 0.0

    @property
    def area(self) -> tuple[int, int, int]:
        """The depth, height and width that a row covers."""
        deep, down, across = self.patch if self.stem is None else self.stem.patch
        return deep, down, across

    @property
    def grid(self) -> tuple[int, int, int]:
        """Rows along depth, height and width."""
        (deep, down, across), (depth, height, width) = self.area, self.size
        return depth // deep, height // down, width // across

    @property
    def num_rows(self) -> int:
        return prod(self.grid)

    @property
    def elements_per_row(self) -> int:
        return prod(self.area)

    @property
    def position_channels(self) -> int:
        return fourier_channels(3, self.bands)

    @property
    def value_channels(self) -> int:
        return self.elements_per_row * self.channels

    @property
    def row_channels(self) -> int:
        return (self.value_channels if self.stem is None else self.stem.channels) + self.position_channels


class Volume(Modality[VolumeConfig]):
    """Volumes: ``volume`` is batch × channels × depth × height × width, floats in [0, 1].

    The values of a row are the voxels of its patch in order of depth, height and width, the channels of a voxel side by
    side.

    >>> volume = Volume(VolumeConfig(size=(8, 8, 8), patch=(4, 4, 4), bands=4))
    >>> volume.embed({"volume": torch.rand(5, 1, 8, 8, 8)}).dense().shape
    torch.Size([5, 8, 91])
    """

    kind: ClassVar[str] = "volume"
    drawn_square: ClassVar[bool] = True
    array_axes: ClassVar[int] = 4
    suffixes: ClassVar[tuple[str, ...]] = (".nii",)
    also_reads: ClassVar[tuple[str, ...]] = (".dcm", ".tif", ".tiff")
    mean: Tensor
    std: Tensor

    def __init__(self, config: VolumeConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if min(*config.size, *config.area, config.channels) < 1:
            raise InputError(f"{self.name}: size, patch and channels must be positive")
        if any(side % patch for side, patch in zip(config.size, config.area, strict=True)):
            raise InputError(f"{self.name}: a size of {config.size} is not a multiple of the patch {config.area}")
        counts = {len(values) for values in (config.mean, config.std, config.ranges) if values is not None}
        if counts != {config.channels}:
            raise InputError(f"{self.name}: mean, std and ranges need {config.channels} values each")
        self.register_buffer("mean", torch.tensor(config.mean).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(-1, 1, 1, 1), persistent=False)
        self.stem = None if config.stem is None else GridStem(config.stem, channels=config.channels)

    # -- from files

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> VolumeConfig:
        """Sizes and statistics of these volumes.

        Volumes have the proportions of the median extent in space, at most 64 voxels along an axis, and no more than
        the median volume has: a few thick slices stay few. Patches are as small as leaves at most 2,048 rows. The
        ranges are those of 16 volumes; where the volumes themselves differ in theirs by more than half, as magnetic
        resonance does, each has its own.

        Raises:
            InputError: a volume cannot be decoded, or volumes differ in their channels.
        """
        headers = [volume_files.header(raw) for raw in raws]
        counts = {header.channels for header in headers}
        if len(counts) > 1:
            raise InputError(f"volumes have {' and '.join(map(str, sorted(counts)))} channels; give all the same")
        voxels = np.median([header.shape for header in headers], axis=0)
        extent = np.median([np.multiply(header.shape, header.spacing) for header in headers], axis=0)
        apart = max((extent / voxels).min(), *(extent / LARGEST_SIDE)[voxels > LARGEST_SIDE], 0)  # neighbours, in mm
        sides = np.minimum(extent / apart, voxels)
        size = [max(1, round(float(side))) for side in sides]
        edge = next(n for n in range(1, max(size) + 1) if prod(max(1, side // n) for side in size) <= MOST_ROWS)
        deep, down, across = (min(edge, side) for side in size)
        config = VolumeConfig(
            size=(size[0] // deep * deep, size[1] // down * down, size[2] // across * across),
            channels=counts.pop(),
            patch=(deep, down, across),
        )
        chosen = [volume_files.decode(raw, size=config.size) for raw in raws[:: max(1, len(raws) // MEASURED)]]
        spans = np.array([np.ptp(ranges_of([values]), axis=1) for values in chosen])
        ranges = ranges_of(chosen) if (spans.std(0) <= UNUSUAL * spans.mean(0)).all() else None
        seen = np.concatenate([scaled(values, ranges).reshape(len(values), -1) for values in chosen], axis=1)
        return replace(
            config,
            ranges=ranges,
            mean=tuple(round(float(value), 4) for value in seen.mean(1, dtype=np.float64)),
            std=tuple(round(max(float(value), 0.02), 4) for value in seen.std(1, dtype=np.float64)),
        )

    def load(self, raw: Raw) -> Sample:
        """A volume, resized to ``size``: float16, channels × size, in [0, 1].

        Args:
            raw: a path, the bytes of a file, or an array, depth × height × width [× channels].

        Raises:
            InputError: not a volume, damaged, infinite values, or other channels than configured.
        """
        values = volume_files.decode(raw, size=self.config.size)
        if len(values) != self.config.channels:
            raise InputError(f"{len(values)} channels, the model reads {self.config.channels}; give as many")
        return {self.name: scaled(values, self.config.ranges).astype(np.float16)}

    def is_example(self, shape: tuple[int, ...]) -> bool:
        """Depth × height × width, and channels where the model reads several."""
        return 0 not in shape and len(shape) == 3 + (self.config.channels > 1)

    # -- from batches

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """Floats in [0, 1], as they are."""
        return {**batch, self.name: batch[self.name].float()}

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """A random crop (``crop`` to 1 of the volume, in its proportions) and mirroring as one resampling; then
        brightness and contrast change."""
        volumes, config = batch[self.name].float(), self.config
        if config.crop < 1 or config.flip > 0:
            volumes = self._cropped(volumes, generator)
        if config.contrast > 0:
            draw = uniform(volumes, (2, len(volumes), 1, 1, 1, 1), -config.contrast, config.contrast, generator)
            volumes = (volumes * (1 + draw[0]) + draw[1] / 2).clamp(0, 1)
        return {**batch, self.name: volumes}

    def embed(self, batch: Batch) -> ByteArray:
        volumes = batch[self.name].float()
        if volumes.ndim != 5 or volumes.shape[1] != self.config.channels:
            raise InputError(
                f"{self.name}: expected batch × {self.config.channels} × depth × height × width, "
                f"got {tuple(volumes.shape)}"
            )
        if any(side % patch for side, patch in zip(volumes.shape[2:], self.config.area, strict=True)):
            raise InputError(f"{self.name}: {tuple(volumes.shape[2:])} voxels are not whole patches")
        if self.stem is None:
            values = self.targets(batch)
        else:
            normalised = ((volumes - self.mean) / self.std).movedim(1, -1)
            values, _ = self.stem(normalised, self.seen(batch, normalised.shape[:-1]))
        return ByteArray((Segment(self.name, values, self._positions(volumes)),))

    # -- rows and signal

    def patchify(self, signal: Tensor) -> Tensor:
        """batch × k × depth × height × width as batch × rows × (elements · k)."""
        depth, height, width = self.config.area
        return rearrange(
            signal,
            "batch k (deep depth) (down height) (across width) -> batch (deep down across) (depth height width k)",
            depth=depth,
            height=height,
            width=width,
        )

    def unpatchify(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × k × depth × height × width."""
        (depth, height, width), (deep, down, across) = self.config.area, self._grid(batch[self.name])
        return rearrange(
            rows,
            "batch (deep down across) (depth height width k) -> batch k (deep depth) (down height) (across width)",
            depth=depth,
            height=height,
            width=width,
            deep=deep,
            down=down,
            across=across,
        )

    # -- predicted

    @property
    def value_range(self) -> float:
        return 1.0

    def elementwise(self) -> Volume:
        return Volume(replace(self.config, stem=None, patch=(1, 1, 1)), name=self.name)

    def query_segment(self, batch: Batch, *, spacing: Spacing = "linspace") -> Segment:
        volumes = batch[self.name]
        no_values = self.mean.new_zeros(volumes.shape[0], prod(self._grid(volumes)), 0)
        return Segment(self.name, no_values, self._positions(volumes, spacing))

    def targets(self, batch: Batch) -> Tensor:
        """The normalised voxels."""
        return self.patchify((batch[self.name].float() - self.mean) / self.std)

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """The voxels, in [0, 1]."""
        return (self.unpatchify(rows, batch) * self.std + self.mean).clamp(0, 1)

    def save(self, signal: Tensor, stem: Path) -> list[Path]:
        """Write a .npz: channels × depth × height × width, in the units of the data where ``ranges`` are known."""
        path = stem.with_name(f"{stem.name}.npz")
        arrays.encode_file({self.name: unscaled(signal.float().cpu().numpy(), self.config.ranges)}, path)
        return [path]

    # -- for people

    def draw(self, axes: Any, batch: Batch, index: int, attention: Tensor | None = None) -> None:
        """A few slices, evenly spread between the first and the last, in reading order; the mean of the channels."""
        volume = batch[self.name][index].float().mean(0).clamp(0, 1)
        count = min(len(volume), SHOWN)
        chosen = ((torch.arange(count) + 0.5) * len(volume) / count).long()
        sheet = contact_sheet(volume[chosen].cpu().numpy(), columns=SHOWN // 2, gap=1.0)[..., None].repeat(3, -1)
        if attention is None:
            draw_pixels(axes, sheet, None)
            return
        of_slices = attention[0, chosen].float().cpu().numpy()
        draw_pixels(axes, sheet, contact_sheet(of_slices, columns=SHOWN // 2, gap=np.nan))

    def _grid(self, volumes: Tensor) -> tuple[int, int, int]:
        deep, down, across = (side // patch for side, patch in zip(volumes.shape[2:], self.config.area, strict=True))
        return deep, down, across

    def _positions(self, volumes: Tensor, spacing: Spacing = "linspace") -> GridPositions:
        depth, height, width = (float(size) for size in self.config.grid)
        resolution = self.config.resolution or (depth, height, width)
        return grid_positions(self._grid(volumes), self.config.bands, resolution, volumes.device, spacing)

    def _cropped(self, volumes: Tensor, generator: torch.Generator) -> Tensor:
        count = len(volumes)
        draw = uniform(volumes, (5, count), 0, 1, generator)
        side = (self.config.crop + (1 - self.config.crop) * draw[0]) ** (1 / 3)
        theta = volumes.new_zeros(count, 3, 4)
        for axis in range(3):  # width, height, depth
            theta[:, axis, axis] = side
            theta[:, axis, 3] = (1 - side) * (2 * draw[1 + axis] - 1)
        theta[:, 0, 0] *= torch.where(draw[4] < self.config.flip, -1.0, 1.0)
        grid = F.affine_grid(theta, [count, 1, *volumes.shape[2:]], align_corners=False)
        return F.grid_sample(volumes, grid, align_corners=False, padding_mode="border")
