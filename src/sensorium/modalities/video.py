"""Video: patches of space and time (one pixel each is raw video), Fourier features over time, height and width."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..codecs.raw import Raw
from ..config import record
from ..errors import Absent, InputError
from ..nn.byte_array import ByteArray, GridPositions, Segment
from ..nn.positions import Spacing, fourier_channels
from .base import Batch, Sample, of_present
from .pixels import Pixels, centre, floats, grid_positions, random_crop, recolour
from .sequences import cut, lengths, uniform

# What `measure` settles for.
LARGEST_SIDE = 112
HIGHEST_RATE = 32.0  # a phone's 30 frames a second are 29.9 or 30.1 on average
MOST_FRAMES = 96
MOST_ROWS = 4096
ACROSS = 14  # patches along a side, at most

ROUNDING = 0.001  # seconds by which a time may be off: Matroska keeps whole milliseconds
SHOWN = 6  # frames in a drawing, three a line

# Containers of pictures that move. ffmpeg would also take text for a film, and open the files that a playlist names.
_FORMATS = "mov,mp4,m4a,3gp,matroska,webm,avi,mpeg,mpegvideo,mpegts,ogg,flv,asf,mxf,dv,nut,h264,hevc,ivf,obu"


@record
class VideoConfig:
    """What videos look like to the model.

    Attributes:
        frames: of a clip, which is what the model sees at once; shorter videos are padded and masked.
        rate: frames a second; every file is resampled to it by its presentation times.
        seconds: how much of a file is kept, from its start on (at least a clip); clips are taken from it.
        size: height and width in pixels; multiples of ``patch``.
        channels: 3 (colour) or 1 (grey).
        patch: frames, height and width of one row's patch; (1, 1, 1) is a row per pixel.
        bands: Fourier bands per axis.
        resolution: per axis (time, height, width), twice the highest Fourier frequency; None: the number of patches
            along it.
        mean, std: per channel, of values in [0, 1].
        crop: the smallest share of the picture's area that a training crop may have; 1: no cropping.
        flip: probability of mirroring left and right in training.
        colour: training changes brightness, contrast and saturation by up to this share each.
        clips: evaluation averages the answers to this many overlapping clips of videos longer than one.
    """

    kind: Literal["video"] = "video"
    frames: int = 32
    rate: float = 25.0
    seconds: float = 10.0
    size: tuple[int, int] = (224, 224)
    channels: Literal[1, 3] = 3
    patch: tuple[int, int, int] = (2, 8, 8)
    bands: int = 16
    resolution: tuple[float, float, float] | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop: float = 1.0
    flip: float = 0.0
    colour: float = 0.0
    clips: int = 16

    @property
    def grid(self) -> tuple[int, int, int]:
        """Rows along time, height and width."""
        (frames, down, across), (height, width) = self.patch, self.size
        return ceil(self.frames / frames), height // down, width // across


class Video(Pixels):
    """Video: ``video`` is batch × frames × channels × height × width, floats in [0, 1] or uint8.

    ``video.mask``, batch × frames, where videos differ in length: what a short video lacks is not read, rather than
    its last frame repeated, which would show the model something that stands still and cost it the time to read it.

    ``video.start``, batch, in seconds from the video's start: where it is given (and not NaN), ``view`` and
    ``augment`` take the clip that begins there; and both tell in it where their clip begins, so that sound can be
    taken from the same place.

    A row's values are its patch's pixels in order of time, height and width, the channels of a pixel side by side.

    >>> video = Video(VideoConfig(frames=4, size=(16, 16), patch=(2, 8, 8), bands=4))
    >>> video.embed({"video": torch.rand(5, 4, 3, 16, 16)}).dense().shape
    torch.Size([5, 8, 411])
    """

    kind: ClassVar[str] = "video"
    suffixes: ClassVar[tuple[str, ...]] = (
        *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"),
        *(".mpg", ".mpeg", ".3gp", ".wmv", ".flv", ".ogv"),
    )
    ragged: ClassVar[bool] = True
    config: VideoConfig

    def __init__(self, config: VideoConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if min(config.frames, config.clips) < 1 or not config.rate > 0:
            raise InputError(f"{self.name}: frames, clips and rate must be positive")
        self.kept = max(config.frames, round(config.seconds * config.rate))

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> VideoConfig:
        """Square clips of the median shorter side, at most 112; the median rate, halved (thirded, …) until 96 frames
        hold 95 % of the videos whole, up to 10 s; clips as long as the longest video, but of no more frames than that;
        patches that make at most 4,096 rows; grey if all are; mean and std of the first second of 16 of them. Files
        without pictures do not count.

        Raises:
            Absent: there are no pictures in any.
            InputError: a video cannot be read.
        """
        found = of_present(lambda raw: (raw, _facts(raw)), raws)
        facts = [fact for _, fact in found]
        side = max(1, min(LARGEST_SIDE, int(np.median([fact.side for fact in facts]))))
        patch = ceil(side / ACROSS)
        side = side // patch * patch
        rate = float(np.median([fact.rate for fact in facts]))
        seconds = np.minimum([fact.seconds for fact in facts], VideoConfig.seconds)
        usual = round(float(np.quantile(seconds, 0.95)) * rate)
        rate = float(f"{rate / max(1, ceil(rate / HIGHEST_RATE), ceil(usual / MOST_FRAMES)):.5g}")
        frames = min(MOST_FRAMES, max(1, ceil((float(seconds.max()) - ROUNDING) * rate)))
        grey = all(fact.grey for fact in facts)
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
        reader = cls(replace(config, frames=1, seconds=1.0))
        some = [reader.load(raw)["video"][..., ::4, ::4] for raw, _ in found[:: max(1, len(found) // 16)]]
        pixels = np.concatenate([video.transpose(1, 0, 2, 3).reshape(config.channels, -1) for video in some], axis=1)
        mean, std = pixels.mean(1) / 255, pixels.std(1) / 255
        return replace(
            config,
            mean=tuple(round(float(value), 4) for value in mean),
            std=tuple(round(max(float(value), 0.02), 4) for value in std),
        )

    def load(self, raw: Raw) -> Sample:
        """The first ``seconds`` of a video: a path, the bytes of a file, an array (frames × height × width [× 1 or 3])
        at the configured rate, or an (array, rate) pair.

        Its time starts where its pictures start. A frame is the file's last one that begins at or before its time; what
        of a damaged file can be decoded before the damage is used.

        Returns:
            uint8, frames × channels × stored height × stored width: upright, the centre of the picture, a little larger
            than ``size`` where that is 64 or more.

        Raises:
            Absent: there are no pictures in it (sound alone).
            InputError: not a video, not one frame that can be decoded, NaN or infinite values.
        """
        fit = _Fit(size=self.stored, channels=self.config.channels)
        with closing(_at_rate(_timed(raw, self.config.rate), self.config.rate, self.kept)) as frames:
            pictures: list[np.ndarray] = []
            last = None
            for frame in frames:  # one that lasts is fitted once
                pictures.append(pictures[-1] if frame is last else fit(*frame))
                last = frame
        return {self.name: np.stack(pictures)}

    # -- from batches -------------------------------------------------------------------------------------------

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """Floats in [0, 1]: the clip in the middle (or at ``video.start``), the centre of ``size``."""
        return self._view(batch, (self._spare(batch) / 2).floor())

    def views(self, batch: Batch) -> Iterator[dict[str, Tensor]]:
        """The views whose answers evaluation averages (Perceiver §4.2): ``clips`` of them, evenly spread from the start
        of each video to its end; the view alone where no video of the batch is longer than a clip."""
        spare = self._spare(batch)
        if self.config.clips == 1 or f"{self.name}.start" in batch or not bool(spare.any()):
            yield self.view(batch)
            return
        for share in torch.linspace(0, 1, self.config.clips, dtype=torch.float64).tolist():
            yield self._view(batch, (share * spare).round())

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Any clip (or that at ``video.start``); of all its frames the same random crop (area from ``crop`` to 1,
        aspect from 3/4 to 4/3) and mirroring, as one resampling; then brightness, contrast and saturation."""
        spare = self._spare(batch)
        share = uniform(spare, spare.shape, 0, 1, generator)
        result = self._clip(batch, (share * (spare + 1)).floor())
        video = floats(result[self.name])
        crop, flip, target = self.config.crop, self.config.flip, self._target(video)
        if crop < 1 or flip > 0 or tuple(video.shape[-2:]) != target:
            video = random_crop(video, target, least=crop, flip=flip, generator=generator)
        if self.config.colour > 0:
            pivot = sum(self.config.mean) / len(self.config.mean)
            video = recolour(video, self.config.colour, pivot, generator)
        return {**result, self.name: video}

    def embed(self, batch: Batch) -> ByteArray:
        """Rows in order of time, height and width. Rows wholly in padding are masked."""
        video, mask = floats(batch[self.name]), batch.get(f"{self.name}.mask")
        if video.ndim != 5 or video.shape[2] != self.config.channels:
            raise InputError(
                f"{self.name}: expected batch × frames × {self.config.channels} × height × width, "
                f"got {tuple(video.shape)}"
            )
        if any(side % patch for side, patch in zip(video.shape[-2:], self.config.patch[1:], strict=True)):
            raise InputError(
                f"{self.name}: {tuple(video.shape[-2:])} pixels are not whole patches {self.config.patch[1:]}"
            )
        if video.shape[1] > self.config.frames:
            raise InputError(
                f"{self.name}: {video.shape[1]} frames, a clip has {self.config.frames}; take a view first"
            )
        steps = self.config.patch[0]
        # Normalised after unfolding, as one pass: -mean/std + pixel · 1/std.
        scale = (1 / self.std).flatten().repeat(self.elements_per_row)
        values = torch.addcmul(-self.mean.flatten().repeat(self.elements_per_row) * scale, self.patchify(video), scale)
        if mask is None and video.shape[1] % steps:
            mask = video.new_ones(video.shape[:2], dtype=torch.bool)  # for what fills up the last patch
        if mask is not None:
            mask = F.pad(mask, (0, -mask.shape[1] % steps)).unflatten(1, (-1, steps))
            cells = values.view(len(values), mask.shape[1], -1, steps, values.shape[2] // steps)
            cells.masked_fill_(~mask[:, :, None, :, None], 0.0)
        return ByteArray((replace(self.query_segment(batch), values=values),))

    # -- rows and signal ----------------------------------------------------------------------------------------

    @property
    def channels(self) -> int:
        return self.elements_per_row * self.config.channels + fourier_channels(3, self.config.bands)

    @property
    def num_rows(self) -> int:
        time, down, across = self.config.grid
        return time * down * across

    @property
    def elements_per_row(self) -> int:
        frames, height, width = self.config.patch
        return frames * height * width

    def patchify(self, signal: Tensor) -> Tensor:
        """batch × frames × k × height × width as batch × rows × (elements · k), zeros after the last frame."""
        frames, height, width = self.config.patch
        if missing := -signal.shape[1] % frames:
            signal = F.pad(signal, (0, 0, 0, 0, 0, 0, 0, missing))
        cells = signal.unflatten(4, (-1, width)).unflatten(3, (-1, height)).unflatten(1, (-1, frames))
        return cells.permute(0, 1, 4, 6, 2, 5, 7, 3).flatten(4).flatten(1, 3)

    def unpatchify(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × frames × k × height × width."""
        cells = rows.unflatten(2, (*self.config.patch, -1)).unflatten(1, self._grid(batch[self.name]))
        signal = cells.permute(0, 1, 4, 7, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(1, 2)
        return signal[:, : batch[self.name].shape[1]]

    # -- as an answer -------------------------------------------------------------------------------------------

    @property
    def position_channels(self) -> int:
        return fourier_channels(3, self.config.bands)

    def elementwise(self) -> Video:
        return Video(replace(self.config, patch=(1, 1, 1)), name=self.name)

    def query_segment(self, batch: Batch, *, spacing: Spacing = "linspace") -> Segment:
        video, mask = batch[self.name], batch.get(f"{self.name}.mask")
        time, *space = self._grid(video)
        steps, places = self.config.patch[0], space[0] * space[1]
        if mask is not None:
            mask = F.pad(mask, (0, -mask.shape[1] % steps)).unflatten(1, (-1, steps))
            mask = mask.any(2).repeat_interleave(places, dim=1)
        # Time is told in units of a clip, so a short video's positions are the first ones of a whole clip.
        times, *others = self._positions(tuple(space), video.device, spacing).tables
        nothing = self.mean.new_zeros(len(video), time * places, 0)
        return Segment(self.name, nothing, GridPositions((times[:time], *others)), mask=mask)

    def save(self, signal: Tensor, stem: Path, *, wave: Tensor | None = None, sound_rate: int = 48_000) -> Path:
        """A .mp4 that every browser plays, of an even number of pixels, with sound if there is any.

        Args:
            wave: samples × channels, in [-1, 1]; the first channel is taken.
            sound_rate: samples a second.
        """
        import av

        path = stem.with_name(f"{stem.name}.mp4")
        odd = [side % 2 for side in signal.shape[-2:]]
        padded = F.pad(signal.float().clamp(0, 1).expand(-1, 3, -1, -1), (0, odd[1], 0, odd[0]), mode="replicate")
        frames = (padded * 255).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
        with av.open(str(path), "w") as container:
            rate = Fraction(self.config.rate).limit_denominator(1001)
            stream: Any = container.add_stream("libx264", rate=rate, options={"crf": "18"})
            stream.pix_fmt, stream.height, stream.width = "yuv420p", *frames.shape[1:3]
            track: Any = None if wave is None else container.add_stream("aac", rate=sound_rate, layout="mono")
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
            if wave is not None:
                sound = np.ascontiguousarray(wave[:, 0].float().cpu().numpy()[None])
                samples = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
                samples.rate, samples.pts = sound_rate, 0
                container.mux(track.encode(samples))
                container.mux(track.encode(None))
        return path

    # -- for people ---------------------------------------------------------------------------------------------

    def draw(self, axes: Any, batch: Batch, index: int, heat: Tensor | None = None) -> None:
        """A few frames from the first to the last, in reading order."""
        length = int(lengths(batch, self.name)[index])
        chosen = torch.linspace(0, length - 1, min(length, SHOWN)).round().long()
        frames = floats(batch[self.name][index, chosen]).clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
        axes.set_axis_off()
        if heat is None:
            axes.imshow(_sheet(frames.cpu().numpy(), 1.0))
            return
        axes.imshow(_sheet(frames.mean(-1).cpu().numpy(), 1.3), cmap="gray", vmin=-0.3, vmax=1.3)
        warm = _sheet(heat[chosen].mean(1).float().cpu().numpy(), np.nan)
        axes.imshow(warm, cmap="inferno", alpha=0.6, vmin=0, vmax=1)

    def _grid(self, video: Tensor) -> tuple[int, int, int]:
        frames, height, width = self.config.patch
        return ceil(video.shape[1] / frames), video.shape[-2] // height, video.shape[-1] // width

    def _positions(self, space: tuple[int, ...], device: torch.device, spacing: Spacing) -> GridPositions:
        own = tuple(float(size) for size in self.config.grid)
        grid = (self.config.grid[0], *space)
        return grid_positions(grid, self.config.bands, self.config.resolution or own, device, spacing)

    def _spare(self, batch: Batch) -> Tensor:
        """By how many frames each video is longer than a clip: int64, (batch,)."""
        return (lengths(batch, self.name) - self.config.frames).clamp(min=0)

    def _clip(self, batch: Batch, start: Tensor) -> dict[str, Tensor]:
        """The clips from frame ``start`` (batch,) on, unless the batch itself says when they start."""
        given = batch.get(f"{self.name}.start")
        if given is not None:
            told = (given * self.config.rate).round().clamp(min=0).minimum(self._spare(batch))
            start = torch.where(given.isnan(), start, told)
        start = start.long()
        return {
            **cut(batch, self.name, start, self.config.frames),
            f"{self.name}.start": start.float() / self.config.rate,
        }

    def _view(self, batch: Batch, start: Tensor) -> dict[str, Tensor]:
        result = self._clip(batch, start)
        video = result[self.name]
        return {**result, self.name: floats(centre(video, self._target(video)))}


def _sheet(frames: np.ndarray, gap: float) -> np.ndarray:
    """frames × height × width [× 3] as one picture, three a line, with a narrow gap."""
    count, height, width = frames.shape[:3]
    columns = min(count, SHOWN // 2)
    lines = ceil(count / columns)
    space = max(1, width // 32)
    sheet = np.full((lines * (height + space) - space, columns * (width + space) - space, *frames.shape[3:]), gap)
    for place, frame in enumerate(frames):
        top, left = place // columns * (height + space), place % columns * (width + space)
        sheet[top : top + height, left : left + width] = frame
    return sheet


def has_sound(raw: Path | bytes) -> bool:
    """Whether a film has sound, by what its header says; what cannot be opened has none."""
    try:
        with _open(raw) as container:
            return bool(container.streams.audio)
    except InputError:
        return False


# -- decoding ---------------------------------------------------------------------------------------------------

# A frame of ffmpeg's and how much wider than high its pixels are shown; and when, in seconds (None: the end).
_Frame: TypeAlias = tuple[Any, float]
_Timed: TypeAlias = Generator[tuple[float, _Frame | None], None, None]


@dataclass(frozen=True)
class _Facts:
    """What the header says: the shorter side in pixels, frames a second, seconds, and whether it is grey."""

    side: int
    rate: float
    seconds: float
    grey: bool


def _facts(raw: Raw) -> _Facts:
    if not isinstance(raw, str | bytes | Path):
        values, rate = _from_array(raw, VideoConfig.rate)
        return _Facts(min(values.shape[1:3]), rate, len(values) / rate, values.ndim == 3)
    with _open(raw) as container:
        stream = _pictures(container)
        rate = float(stream.average_rate or stream.guessed_rate or VideoConfig.rate)
        seconds = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
        grey = stream.codec_context.pix_fmt is not None and stream.codec_context.pix_fmt.startswith("gray")
        # A file that does not tell its length is taken for a long one.
        return _Facts(max(1, min(stream.width, stream.height)), rate, seconds or VideoConfig.seconds, grey)


def _at_rate(timed: _Timed, rate: float, most: int) -> Generator[_Frame, None, None]:
    """The frame that is shown at 0, 1/rate, 2/rate, … seconds until the end; at least one and at most ``most``."""
    with closing(timed):
        shown: _Frame | None = None
        count = 0
        for time, frame in timed:
            while shown is not None and count / rate < time - ROUNDING:
                yield shown
                count += 1
                if count == most:
                    return
            shown = frame or shown
        if shown is not None and not count:
            yield shown


def _timed(raw: Raw, rate: float) -> _Timed:
    """Each frame with its time in seconds from the start of the pictures; lastly the time of the end, and None."""
    if isinstance(raw, str | bytes | Path):
        yield from _timed_file(raw)
        return
    import av

    values, rate = _from_array(raw, rate)
    form = "gray" if values.ndim == 3 else "rgb24"
    for place, picture in enumerate(values):
        yield place / rate, (av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=form), 1.0)
    yield len(values) / rate, None


def _timed_file(raw: str | bytes | Path) -> _Timed:
    import av

    time, lasts, count = 0.0, 0.0, 0
    with _open(raw) as container:
        stream = _pictures(container)
        stream.codec_context.thread_count = 1  # files are read side by side, a thread each
        usual = 1 / float(stream.average_rate or stream.guessed_rate or VideoConfig.rate)
        stretch = float(stream.sample_aspect_ratio or 1)
        start = None if stream.start_time is None else float(stream.start_time * stream.time_base)
        try:
            for frame in container.decode(stream):
                if frame.time is not None and start is None:
                    start = frame.time
                # Times never go back; a frame without one follows the last at the usual pace.
                now = time + lasts if frame.time is None or start is None else frame.time - start
                lasts = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual
                time = now if not count else max(time, now)
                count += 1
                yield time, (frame, stretch)
        except av.FFmpegError:
            pass  # what came before the damage is used
    if not count:
        raise InputError("not one frame of it can be decoded; copy it again, convert it to .mp4 or remove it")
    yield time + lasts, None


def _open(raw: str | bytes | Path) -> Any:
    """ffmpeg's view of a file. By path it is not read further than needed, and threads do not wait for each other."""
    import av

    if isinstance(raw, bytes):
        empty = not raw
    else:
        try:
            with Path(raw).open("rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})") from None
    if empty:
        raise InputError("the file is empty; copy it again or remove it")
    source = io.BytesIO(raw) if isinstance(raw, bytes) else f"file:{raw}"
    try:
        return av.open(source, "r", metadata_errors="replace", options={"format_whitelist": _FORMATS})
    except (av.FFmpegError, ValueError):
        raise InputError("this is not a video that can be decoded; convert it to .mp4 or remove it") from None


def _pictures(container: Any) -> Any:
    """The stream of pictures; that of the cover of a song is none."""
    import av

    covers = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & covers]
    if not streams:
        raise Absent("there are no pictures in it; remove it or read it as sound")
    if streams[0].codec_context is None:
        raise InputError("its pictures are coded in a way that is not known; convert it to .mp4")
    return streams[0]


def _from_array(raw: Any, rate: float) -> tuple[np.ndarray, float]:
    """uint8, frames × height × width [× 3], and its rate (``rate`` for a bare array)."""
    if isinstance(raw, tuple):
        raw, rate = raw[0], float(raw[1])
    values = np.asarray(raw)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim not in (3, 4) or values.shape[3:] not in ((), (3,)) or values.dtype.kind not in "biuf":
        raise InputError(
            f"an array of shape {values.shape} of {values.dtype} is not a video; "
            "give frames × height × width × 1 or 3 channels"
        )
    if values.size == 0 or not rate > 0:
        raise InputError("there are no frames in it, or no rate; remove it")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise InputError("there are NaN or infinite values in it; replace them")
        values = (values.clip(0, 1) * 255).round()
    return values.astype(np.uint8, copy=False), rate


class _Fit:
    """The largest centred part of a frame that has a size's proportions, upright, resized: uint8, channels first."""

    def __init__(self, *, size: tuple[int, ...], channels: int) -> None:
        from av.video.reformatter import VideoReformatter

        self.size = size
        self.form = "gray" if channels == 1 else "rgb24"
        self.reformatter = VideoReformatter()  # keeps its filters from frame to frame

    def __call__(self, frame: Any, stretch: float) -> np.ndarray:
        turns = round(frame.rotation / 90) % 4  # quarter turns to the left; phones film as they are held
        height, width = self.size if turns % 2 == 0 else self.size[::-1]
        shrink = min(frame.height / height, frame.width * stretch / width)
        tall = max(height, round(frame.height / shrink))
        wide = max(width, round(frame.width * stretch / shrink))
        scaled = self.reformatter.reformat(
            frame, width=wide, height=tall, format=self.form, interpolation="BICUBIC", threads=1
        )
        top, left = (tall - height) // 2, (wide - width) // 2
        picture = scaled.to_ndarray()[top : top + height, left : left + width]
        return np.ascontiguousarray(np.atleast_3d(np.rot90(picture, turns)).transpose(2, 0, 1))
