"""Video: rows are patches of time and space with Fourier features of time, height and width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, prod
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..codecs import film
from ..codecs.raw import Raw
from ..config import record
from ..errors import InputError
from ..nn.byte_array import ByteArray, GridPositions, Segment
from ..nn.positions import Spacing, fourier_channels, grid_positions
from ..nn.stems import GridStem, GridStemConfig
from .base import Batch, Sample, Soundtrack
from .drawing import contact_sheet, draw_pixels
from .pixels import Pixels, centre, floats, recolour
from .sequences import cut, lengths, of_present, uniform
from .windows import Windowed

# What `measure` settles for.
LARGEST_SIDE = 112
HIGHEST_RATE = 32.0  # a phone's 30 frames a second are 29.9 or 30.1 on average
MOST_FRAMES = 96
MOST_ROWS = 4096
ACROSS = 14  # patches along a side, at most

SHOWN = 6  # frames in a drawing, three on a line


@record
class VideoConfig:
    """What videos look like to the model.

    Attributes:
        frames: the length of a clip, which is what the model sees at once; shorter videos are padded and masked.
        rate: frames a second; every file is resampled to it by the times of its frames.
        seconds: how much of a file is kept, from its start (at least one clip); clips are cut out of it.
        size: height and width in pixels; multiples of ``patch``.
        channels: 3 (colour) or 1 (grey).
        patch: frames, height and width of the patch that a row covers; (1, 1, 1) is a row for each pixel.
        stem: convolutions that turn clips into rows, instead of patches; None: patches.
        bands: number of Fourier frequencies along each axis.
        resolution: twice the highest Fourier frequency, along time, height and width; None: the number of patches
            along them.
        mean: of each channel, for normalisation; pixels are in [0, 1].
        std: of each channel.
        field_of_view: the share of the shorter side that evaluation sees from the middle of a picture, and training
            where it does not crop. None: 0.875, as the papers on ImageNet, and 1 of pictures whose shorter side is
            below 64 pixels.
        crop: the smallest share of the picture's area that a training crop may have; 1: no cropping.
        flip: probability that a training video is mirrored left and right.
        colour: training changes brightness, contrast and saturation by up to this share each.
        clips: evaluation averages the predictions of this many overlapping clips of a video longer than one clip.
    """

    kind: Literal["video"] = "video"
    frames: int = 32
    rate: float = 25.0
    seconds: float = 10.0
    size: tuple[int, int] = (224, 224)
    channels: Literal[1, 3] = 3
    patch: tuple[int, int, int] = (2, 8, 8)
    stem: GridStemConfig | None = None
    bands: int = 16
    resolution: tuple[float, float, float] | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    field_of_view: float | None = None
    crop: float = 1.0
    flip: float = 0.0
    colour: float = 0.0
    clips: int = 16

    @property
    def area(self) -> tuple[int, int, int]:
        """The frames, height and width that a row covers."""
        frames, down, across = self.patch if self.stem is None else self.stem.patch
        return frames, down, across

    @property
    def multiple_of(self) -> tuple[int, int]:
        """What the height and the width of every clip are multiples of."""
        return self.area[1], self.area[2]

    @property
    def grid(self) -> tuple[int, int, int]:
        """Rows along time, height and width."""
        (frames, down, across), (height, width) = self.area, self.size
        return ceil(self.frames / frames), height // down, width // across

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


class Video(Pixels[VideoConfig], Windowed[VideoConfig]):
    """Video: ``video`` is batch × frames × channels × height × width, floats in [0, 1] or uint8.

    ``video.mask``, batch × frames, where videos differ in length: the padding of a short video is masked. To repeat its
    last frame instead would show the model something that stands still, and cost time.

    ``video.start``, batch, in seconds from the video's start: where a batch has it (and it is not NaN), ``view`` and
    ``augment`` take the clip that begins there. Both return the start of their clip in it, so that the window of the
    sound can begin at the same moment.

    The values of a row are the pixels of its patch in order of time, height and width, the channels of a pixel side by
    side.

    >>> video = Video(VideoConfig(frames=4, size=(16, 16), patch=(2, 8, 8), bands=4))
    >>> video.embed({"video": torch.rand(5, 4, 3, 16, 16)}).dense().shape
    torch.Size([5, 8, 411])
    """

    kind: ClassVar[str] = "video"
    array_axes: ClassVar[int] = 4
    suffixes: ClassVar[tuple[str, ...]] = (
        *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"),
        *(".mpg", ".mpeg", ".3gp", ".wmv", ".flv", ".ogv"),
    )
    ragged: ClassVar[bool] = True
    leads_in_time: ClassVar[bool] = True
    follows_in_time: ClassVar[bool] = True

    def __init__(self, config: VideoConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if min(config.frames, config.clips) < 1 or not config.rate > 0:
            raise InputError(f"{self.name}: frames, clips and rate must be positive")
        self.kept = max(config.frames, round(config.seconds * config.rate))
        self.stem = None if config.stem is None else GridStem(config.stem, channels=config.channels)

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> VideoConfig:
        """Sizes and statistics of these videos; files without pictures do not count.

        Pictures are squares of the median shorter side, at most 112 pixels, and grey if all videos are. The rate is the
        median one, divided by a whole number so that 96 frames hold 95 % of the videos, up to 10 seconds, as a whole;
        of arrays, which state none, it is 25. A clip is as long as the longest video, up to 96 frames. Patches are so
        large that there are at most 4,096 rows. Mean and std are those of the first second of 16 videos.

        Raises:
            Absent: there are no pictures in any video.
            InputError: a video cannot be decoded.
        """
        pairs = of_present(lambda raw: (raw, film.header(raw)), raws)
        headers = [header for _, header in pairs]
        sides = [min(header.height, header.width) for header in headers]
        side = max(1, min(LARGEST_SIDE, int(np.median(sides))))
        patch = ceil(side / ACROSS)
        side = side // patch * patch
        rate = float(np.median([header.rate for header in headers]))
        seconds = np.minimum([header.seconds for header in headers], VideoConfig.seconds)
        usual = round(float(np.quantile(seconds, 0.95)) * rate)
        if not all(isinstance(raw, np.ndarray) for raw, _ in pairs):  # of arrays every frame counts
            rate = float(f"{rate / max(1, ceil(rate / HIGHEST_RATE), ceil(usual / MOST_FRAMES)):.5g}")
        frames = min(MOST_FRAMES, max(1, ceil((float(seconds.max()) - film.ROUNDING) * rate)))
        grey = all(header.grey for header in headers)
        half = (0.5,) * (1 if grey else 3)
        config = VideoConfig(
            frames=frames,
            rate=rate,
            size=(side, side),
            channels=1 if grey else 3,
            patch=(ceil(frames / (MOST_ROWS // (side // patch) ** 2)), patch, patch),
            mean=half,
            std=half,
        )
        first_second = cls(replace(config, frames=1, seconds=1.0))
        videos = [first_second.load(raw)["video"][..., ::4, ::4] for raw, _ in pairs[:: max(1, len(pairs) // 16)]]
        pixels = np.concatenate([video.transpose(1, 0, 2, 3).reshape(config.channels, -1) for video in videos], axis=1)
        mean, std = pixels.mean(1) / 255, pixels.std(1) / 255
        return replace(
            config,
            mean=tuple(round(float(value), 4) for value in mean),
            std=tuple(round(max(float(value), 0.02), 4) for value in std),
        )

    def load(self, raw: Raw) -> Sample:
        """The first ``seconds`` of a video: a path, the bytes of a file, an array (frames × height × width [× 1 or 3])
        at the configured rate, or an (array, rate) pair.

        The time of a video starts where its pictures start, and each frame of the result is the one that is shown at
        its time. Of a damaged file, the frames before the damage are used.

        Returns:
            uint8, frames × channels × stored height × stored width: upright, the centre of the picture, a little larger
            than ``size`` where that is 64 or more.

        Raises:
            Absent: there are no pictures in it (sound alone).
            InputError: not a video, not one frame that can be decoded, NaN or infinite values.
        """
        config = self.config
        return {
            self.name: film.decode(raw, rate=config.rate, size=self.stored, channels=config.channels, most=self.kept)
        }

    def is_example(self, shape: tuple[int, ...]) -> bool:
        """Frames × height × width × channels; without channels it may be frames, or pictures."""
        return 0 not in shape and (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3)))

    # -- from batches -------------------------------------------------------------------------------------------

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """Floats in [0, 1]: the clip in the middle (or at ``video.start``), the centre of ``size``."""
        return Windowed.view(self, batch)

    @property
    def num_views(self) -> int:
        return self.config.clips

    @property
    def window_steps(self) -> int:
        return self.config.frames

    def cut_from(self, batch: Batch, start: Tensor) -> dict[str, Tensor]:
        result = self._clip(batch, start)
        video = result[self.name]
        return {**result, self.name: floats(centre(video, self._target(video)))}

    @property
    def view_lengths(self) -> range:
        return range(self.config.frames, self.config.frames + 1)

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """A random clip (or that at ``video.start``). All its frames are cropped (area from ``crop`` to 1, aspect from
        3/4 to 4/3) and mirrored alike, in one resampling; then brightness, contrast and saturation change."""
        spare = self.spare(batch)
        share = uniform(spare, spare.shape, 0, 1, generator)
        result = self._clip(batch, (share * (spare + 1)).floor())
        video = self._cropped(floats(result[self.name]), generator)
        if self.config.colour > 0:
            pivot = sum(self.config.mean) / len(self.config.mean)
            video = recolour(video, self.config.colour, pivot, generator)
        return {**result, self.name: video}

    def embed(self, batch: Batch) -> ByteArray:
        """Rows in order of time, height and width. Rows wholly in padding are masked."""
        video, mask = floats(batch[self.name]), batch.get(f"{self.name}.mask")
        self._check(video, "batch × frames")
        if video.shape[1] > self.config.frames:
            raise InputError(
                f"{self.name}: {video.shape[1]} frames, a clip has {self.config.frames}; take a view first"
            )
        if self.stem is not None:
            normalised = ((video - self.mean) / self.std).movedim(2, -1)
            rows, _ = self.stem(normalised, self.seen(batch, normalised.shape[:-1]))
            return ByteArray((replace(self.query_segment(batch), values=rows),))
        return ByteArray((replace(self.query_segment(batch), values=self._normalised_patches(video, mask)),))

    def _normalised_patches(self, video: Tensor, mask: Tensor | None) -> Tensor:
        """The patches of a clip, zeros in padding: as ``targets``, whatever a stem makes of them."""
        steps = self.config.area[0]
        # Normalised after patchify, in one pass over memory: -mean/std + pixel · 1/std.
        scale = (1 / self.std).flatten().repeat(self.elements_per_row)
        values = torch.addcmul(-self.mean.flatten().repeat(self.elements_per_row) * scale, self.patchify(video), scale)
        if mask is None and video.shape[1] % steps:
            mask = video.new_ones(video.shape[:2], dtype=torch.bool)  # for the frames that fill up the last patch
        if mask is not None:
            mask = F.pad(mask, (0, -mask.shape[1] % steps)).unflatten(1, (-1, steps))
            cells = values.view(values.shape[0], mask.shape[1], -1, steps, values.shape[2] // steps)
            cells.masked_fill_(~mask[:, :, None, :, None], 0.0)
        return values

    # -- rows and signal ----------------------------------------------------------------------------------------

    def patchify(self, signal: Tensor) -> Tensor:
        """batch × frames × k × height × width as batch × rows × (elements · k), zeros after the last frame."""
        frames, height, width = self.config.area
        if missing := -signal.shape[1] % frames:
            signal = F.pad(signal, (0, 0, 0, 0, 0, 0, 0, missing))
        return rearrange(
            signal,
            "batch (time frames) k (down height) (across width) -> batch (time down across) (frames height width k)",
            frames=frames,
            height=height,
            width=width,
        )

    def unpatchify(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × frames × k × height × width."""
        video = batch[self.name]
        (frames, height, width), (time, down, across) = self.config.area, self._grid(video)
        signal = rearrange(
            rows,
            "batch (time down across) (frames height width k) -> batch (time frames) k (down height) (across width)",
            time=time,
            down=down,
            across=across,
            frames=frames,
            height=height,
            width=width,
        )
        return signal[:, : video.shape[1]]

    # -- predicted ----------------------------------------------------------------------------------------------

    def elementwise(self) -> Video:
        return Video(replace(self.config, stem=None, patch=(1, 1, 1)), name=self.name)

    def query_segment(self, batch: Batch, *, spacing: Spacing = "linspace") -> Segment:
        video, mask = batch[self.name], batch.get(f"{self.name}.mask")
        time, *space = self._grid(video)
        steps, patches = self.config.area[0], space[0] * space[1]
        if mask is not None:
            mask = F.pad(mask, (0, -mask.shape[1] % steps)).unflatten(1, (-1, steps))
            mask = mask.any(2).repeat_interleave(patches, dim=1)
        # The unit of time is the clip, so the positions of a short video are the first ones of a whole clip.
        times, *others = self._positions(tuple(space), video.device, spacing).tables
        no_values = self.mean.new_zeros(video.shape[0], time * patches, 0)
        return Segment(self.name, no_values, GridPositions((times[:time], *others)), mask=mask)

    def targets(self, batch: Batch) -> Tensor:
        """The normalised pixels, whatever a stem makes of them."""
        return self._normalised_patches(floats(batch[self.name]), batch.get(f"{self.name}.mask"))

    def save(self, signal: Tensor, stem: Path) -> list[Path]:
        """Write a .mp4."""
        return self._save(signal, stem, None)

    def save_with(self, signal: Tensor, stem: Path, soundtrack: Soundtrack) -> list[Path]:
        """Write a .mp4 with the first channel of the sound."""
        return self._save(signal, stem, soundtrack)

    def _save(self, signal: Tensor, stem: Path, soundtrack: Soundtrack | None) -> list[Path]:
        path = stem.with_name(f"{stem.name}.mp4")
        pixels = signal.float().clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
        sound = None if soundtrack is None else (soundtrack.wave[:, 0].float().cpu().numpy(), soundtrack.rate)
        film.encode_file((pixels * 255).round().byte().cpu().numpy(), path, rate=self.config.rate, sound=sound)
        return [path]

    # -- for people ---------------------------------------------------------------------------------------------

    def draw(self, axes: Any, batch: Batch, index: int, attention: Tensor | None = None) -> None:
        """A few frames from the first to the last, in reading order."""
        length = int(lengths(batch, self.name)[index])
        chosen = torch.linspace(0, length - 1, min(length, SHOWN)).round().long()
        frames = floats(batch[self.name][index, chosen]).clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
        sheet = contact_sheet(frames.cpu().numpy(), columns=SHOWN // 2, gap=1.0)
        if attention is None:
            draw_pixels(axes, sheet, None)
            return
        of_frames = attention[chosen].mean(1).float().cpu().numpy()
        draw_pixels(axes, sheet, contact_sheet(of_frames, columns=SHOWN // 2, gap=np.nan))

    def _grid(self, video: Tensor) -> tuple[int, int, int]:
        frames, height, width = self.config.area
        return ceil(video.shape[1] / frames), video.shape[-2] // height, video.shape[-1] // width

    def _positions(self, space: tuple[int, ...], device: torch.device, spacing: Spacing) -> GridPositions:
        own = tuple(float(size) for size in self.config.grid)
        grid = (self.config.grid[0], *space)
        return grid_positions(grid, self.config.bands, self.config.resolution or own, device, spacing)

    def _clip(self, batch: Batch, start: Tensor) -> dict[str, Tensor]:
        """The clips that begin at frame ``start`` (batch,), unless the batch itself says when they start."""
        seconds = batch.get(f"{self.name}.start")
        if seconds is not None:
            frame = (seconds * self.config.rate).round().clamp(min=0).minimum(self.spare(batch))
            start = torch.where(seconds.isnan(), start, frame)
        start = start.long()
        return {
            **cut(batch, self.name, start, self.config.frames),
            f"{self.name}.start": start.float() / self.config.rate,
        }
