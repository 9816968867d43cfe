"""Series of measurements, such as those of sensors, at regular or irregular times and with gaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..codecs.raw import Raw
from ..codecs.series import Recording, decode
from ..config import record
from ..errors import InputError, did_you_mean
from ..nn.byte_array import ByteArray, GridPositions, PointPositions, Segment
from ..nn.positions import fourier_channels, fourier_grid, fourier_points
from ..nn.stems import GridStem, GridStemConfig
from .base import Batch, Sample
from .sequences import cut, lengths, resample, uniform, whole_rows
from .windows import Windowed

MOST_ROWS = 512  # of one step each; rows of longer series cover several steps
FAR = 10.0  # standard deviations from the mean that are far outside of what training saw
EVEN = 0.05  # how much the steps of time may differ, relative to the usual step, and still be even


@record
class SeriesConfig:
    """How a series becomes rows.

    Attributes:
        channels: measurements in a step.
        length: the number of steps that the model sees; longer series are cut, shorter ones padded and masked.
        mean: of each channel, for normalisation.
        std: of each channel.
        channel_names: of the channels, by which the columns of a file are found; empty: they go by their order.
        patch: the number of steps that a row covers.
        stem: convolutions that turn series into rows, instead of patches; None: patches.
        span: the time from the first to the last step, in the unit of the steps' times; None: steps carry no times.
        bands: number of Fourier frequencies.
        resolution: twice the highest Fourier frequency; None: the number of rows.
        windows: evaluation averages the predictions of this many windows of a series longer than ``length``.
        jitter: training adds noise of this standard deviation to the normalised channels.
        gain: training makes each channel larger or smaller by up to this share.
        warp: training stretches or shrinks the time of a series by up to this share.
        blank: training blanks out a stretch of up to this share of the series.
    """

    kind: Literal["series"] = "series"
    channels: int
    length: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_names: tuple[str, ...] = ()
    patch: int = 1
    stem: GridStemConfig | None = None
    span: float | None = None
    bands: int = 32
    resolution: float | None = None
    windows: int = 4
    jitter: float = 0.05
    gain: float = 0.2
    warp: float = 0.2
    blank: float = 0.15

    @property
    def area(self) -> int:
        """The number of steps that a row covers."""
        return self.patch if self.stem is None else self.stem.patch[0]

    @property
    def num_rows(self) -> int:
        return ceil(self.length / self.area)

    @property
    def elements_per_row(self) -> int:
        return self.area

    @property
    def position_channels(self) -> int:
        return fourier_channels(1, self.bands)

    @property
    def value_channels(self) -> int:
        return self.area * self.channels

    @property
    def row_channels(self) -> int:
        return (self.value_channels if self.stem is None else self.stem.channels) + self.position_channels


class Series(Windowed[SeriesConfig]):
    """A series as rows of ``patch`` steps, with Fourier features of time.

    The unit of time is the configured length (or span), so padding changes no row that is present. NaN is a gap: it is
    0 after normalisation, and a row without any measurement is masked.

    Batch keys: ``series``, float, batch × steps × channels; ``series.mask``, batch × steps, where series differ in
    length; ``series.times``, batch × steps, from the first step on, where ``span`` is set.

    >>> series = Series(SeriesConfig(channels=2, length=10, mean=(0.0, 0.0), std=(1.0, 1.0), bands=4))
    >>> series.embed({"series": torch.zeros(3, 7, 2)}).dense().shape
    torch.Size([3, 7, 11])
    """

    kind: ClassVar[str] = "series"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".npy", ".edf", ".bdf")
    ragged: ClassVar[bool] = True
    mean: Tensor
    std: Tensor
    positions: Tensor

    def __init__(self, config: SeriesConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if config.windows < 1:
            raise InputError(f"{self.name}: windows must be positive")
        if not config.channels == len(config.mean) == len(config.std):
            raise InputError(f"{self.name}: mean and std need {config.channels} values each")
        self.register_buffer("mean", torch.tensor(config.mean), persistent=False)
        self.register_buffer("std", torch.tensor(config.std), persistent=False)
        self.resolution = (config.resolution or float(self.num_rows),)
        positions = fourier_grid((self.num_rows,), bands=config.bands, resolution=self.resolution)
        self.register_buffer("positions", positions.tables[0], persistent=False)
        self.stem: GridStem | None = None
        if config.stem is not None:
            # Where steps are not even, the time since the step before is one more channel.
            self.stem = GridStem(config.stem, channels=config.channels + (config.span is not None))

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> SeriesConfig:
        """The length of the longest series, the channels and their mean and std, and patches that make at most 512
        rows. Channels that have names are those that most of the series have. Times at even steps are as good as none.

        Raises:
            InputError: a series cannot be decoded, or series differ in their number of channels or in having times.
        """
        recordings = [decode(raw) for raw in raws]
        names = _usual_names(recordings)
        if names:
            recordings = [recording for recording in recordings if set(names) <= set(recording.channels)]
        arrays = [_by_name(recording, names) for recording in recordings]
        channels = {values.shape[1] for values in arrays}
        if len(channels) > 1:
            raise InputError(f"series have different channels: {sorted(channels)}; give all the same ones")
        times = [recording.times for recording in recordings]
        has_times = len({moments is None for moments in times}) == 1 and times[0] is not None
        if len({moments is None for moments in times}) > 1 and not _even(times):
            raise InputError("series with times and series without; give all of them times, or none")
        length = max(map(len, arrays))
        steps = np.ma.masked_invalid(np.concatenate(arrays).astype(np.float64))
        mean, std = steps.mean(0).filled(0.0), steps.std(0).filled(1.0)
        return SeriesConfig(
            channels=channels.pop(),
            length=length,
            mean=tuple(float(f"{value:.6g}") for value in mean),
            std=tuple(float(f"{value:.6g}") if value > 0 else 1.0 for value in std),
            channel_names=names,
            patch=ceil(length / MOST_ROWS),
            span=max(float(np.ptp(moments)) for moments in times if moments is not None)
            if has_times and not _even(times)
            else None,
        )

    def load(self, raw: Raw) -> Sample:
        """One whole series.

        Args:
            raw: an array (steps [× channels]), a pair of an array and its times (steps), a recording, or a .csv or .npy
                file. Columns that have names may be in any order, and others than those the model reads are left out.

        Returns:
            float32: steps × channels; and times from the first step on, where ``span`` is set.

        Raises:
            InputError: unreadable, empty, nothing but gaps, infinite values, times that fall, another number of
                channels than configured, or none of a channel's name.
        """
        recording = decode(raw)
        values = _by_name(recording, self.config.channel_names)
        if values.shape[1] != self.config.channels:
            cure = "is it transposed?" if values.shape[0] == self.config.channels else "give the same channels"
            raise InputError(f"{values.shape[1]} channels, the model reads {self.config.channels}; {cure}")
        if self.config.span is None:
            return {self.name: values}
        if recording.times is None:
            raise InputError("the steps carry no times, the model needs them; give a pair (values, times)")
        times = (recording.times - recording.times[0]).astype(np.float32)
        return {self.name: values, f"{self.name}.times": times}

    def remarks(self, raw: Raw) -> tuple[str, ...]:
        """Columns that the model does not read, and channels that are far outside of what it was trained on."""
        try:
            recording = decode(raw)
            series = _by_name(recording, self.config.channel_names)
        except InputError:  # which is said when it is loaded
            return ()
        names = self.config.channel_names
        found = []
        if names and (extra := [name for name in recording.channels if name not in names]):
            found.append(f"columns {', '.join(map(repr, extra))} are not read: the model was not trained on them")
        if series.shape[1] != self.config.channels:
            return tuple(found)
        values = (series - np.array(self.config.mean)) / np.array(self.config.std)
        measured = ~np.isnan(values).all(0)
        for channel in np.flatnonzero(measured).tolist():
            if np.nanmedian(np.abs(values[:, channel])) > FAR:
                called = repr(names[channel]) if names else str(channel + 1)
                found.append(f"channel {called} is far outside the range of training; is it in another unit?")
        return tuple(found)

    # -- from batches -------------------------------------------------------------------------------------------

    @property
    def num_views(self) -> int:
        return self.config.windows

    @property
    def window_steps(self) -> int:
        return self.config.length

    def cut_from(self, batch: Batch, start: Tensor) -> dict[str, Tensor]:
        return cut(batch, self.name, start, self.config.length)

    @property
    def view_lengths(self) -> range:
        return whole_rows(self.config.length, self.config.area)

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """A random window of longer series, stretched or shrunk in time; gain, noise and a blank stretch."""
        spare = self.spare(batch)
        start = (uniform(spare, spare.shape, 0, 1, generator) * (spare + 1)).long()
        result = cut(batch, self.name, start, self.config.length)
        length = lengths(result, self.name)[:, None]
        signal = result[self.name].float()
        count, size, channels = signal.shape
        step = torch.arange(size, device=signal.device)

        def random(low: float, high: float) -> Tensor:
            return uniform(signal, (count, 1), low, high, generator)

        scale = 1 + random(-self.config.warp, self.config.warp)
        begin = random(0, 1) * (1 - scale) * (length - 1)
        signal = resample(signal, (begin + scale * step).clamp(min=0).minimum(length - 1))
        signal = signal * (1 + uniform(signal, (count, 1, channels), -self.config.gain, self.config.gain, generator))
        noise = torch.randn(signal.shape, generator=generator, device=generator.device).to(
            signal.device, non_blocking=True
        )
        signal = signal + self.config.jitter * self.std * noise
        width = random(0, self.config.blank) * length
        begin = random(0, 1) * (length - width)
        blank = (step + 0.5 > begin) & (step + 0.5 < begin + width)
        return {**result, self.name: torch.where(blank[..., None], self.mean, signal)}

    def embed(self, batch: Batch) -> ByteArray:
        """Rows in order of time; rows without any measurement are masked."""
        signal = (batch[self.name].float() - self.mean) / self.std
        gaps, mask = signal.isnan(), batch.get(f"{self.name}.mask")
        if mask is not None:
            gaps = gaps | ~mask[..., None]
        present = ~gaps.all(-1, keepdim=True)  # batch × steps × 1
        values = self._values(signal.masked_fill(gaps, 0.0), present, batch)
        positions: GridPositions | PointPositions = GridPositions((self.positions[: values.shape[1]],))
        if self.config.span is not None:
            # The time of a row is the mean of the times of its present steps.
            weight = self.patchify(present.float())
            times = (self.patchify(batch[f"{self.name}.times"].float()[..., None]) * weight).sum(2, keepdim=True)
            moments = times / weight.sum(2, keepdim=True).clamp(min=1) / max(self.config.span, 1e-9) * 2 - 1
            positions = fourier_points(moments, bands=self.config.bands, resolution=self.resolution)
        rows = self.patchify(present).any(2)
        return ByteArray((Segment(self.name, values, positions, mask=rows),))

    def _values(self, signal: Tensor, present: Tensor, batch: Batch) -> Tensor:
        """What the rows hold of a normalised signal without gaps."""
        if self.stem is None:
            return self.patchify(signal)
        if self.config.span is not None:
            times = batch[f"{self.name}.times"].float()[..., None]
            usual = max(self.config.span, 1e-9) / self.config.length
            since = times.diff(dim=1, prepend=times[:, :1]) / usual
            signal = torch.cat([signal, since.clamp(min=0).log1p() * present], dim=-1)
        seen = self.seen(batch, signal.shape[:2])
        rows, _ = self.stem(signal, present[..., 0] if seen is None else present[..., 0] & seen)
        return rows

    # -- rows and signal ----------------------------------------------------------------------------------------

    def patchify(self, signal: Tensor) -> Tensor:
        """batch × steps × k as batch × rows × (patch · k), zeros after the last step."""
        padded = F.pad(signal, (0, 0, 0, -signal.shape[1] % self.config.area))
        return padded.unflatten(1, (-1, self.config.area)).flatten(2)

    def unpatchify(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × steps × k."""
        return rows.unflatten(2, (self.config.area, -1)).flatten(1, 2)[:, : batch[self.name].shape[1]]

    # -- predicted ----------------------------------------------------------------------------------------------

    def elementwise(self) -> Series:
        return Series(replace(self.config, stem=None, patch=1), name=self.name)

    def targets(self, batch: Batch) -> Tensor:
        """Normalised measurements; gaps are NaN."""
        return self.patchify((batch[self.name].float() - self.mean) / self.std)

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × steps × channels, in the units of the series."""
        return self.unpatchify(rows, batch) * self.std + self.mean

    # -- for people ---------------------------------------------------------------------------------------------

    def draw(self, axes: Any, batch: Batch, index: int, attention: Tensor | None = None) -> None:
        """A line for each normalised channel; attention is the shade behind the lines."""
        length = int(lengths(batch, self.name)[index])
        signal = ((batch[self.name][index, :length].float() - self.mean) / self.std).cpu()
        axes.plot(np.arange(length), signal, linewidth=0.8)
        axes.set_xlabel("steps")
        axes.set_xlim(-0.5, length - 0.5)
        if attention is not None:
            extent = (-0.5, length - 0.5, *axes.get_ylim())
            shade = attention[:length].reshape(1, length).float().cpu()
            axes.imshow(shade, aspect="auto", extent=extent, cmap="Reds", alpha=0.7, vmin=0, vmax=1, zorder=0)


def _usual_names(recordings: Sequence[Recording]) -> tuple[str, ...]:
    """The names of the channels that more than half of the recordings have, in the order of the first of these."""
    counts = Counter(name for recording in recordings for name in recording.channels)
    usual = {name for name, count in counts.items() if 2 * count > len(recordings)}
    return tuple(dict.fromkeys(name for recording in recordings for name in recording.channels if name in usual))


def _by_name(recording: Recording, names: tuple[str, ...]) -> np.ndarray:
    """The values of the named channels, in their order; of a recording without names, all as they are.

    Raises:
        InputError: there is no channel of a name.
    """
    if not names or not recording.channels or recording.channels == names:
        return recording.values
    missing = [name for name in names if name not in recording.channels]
    if missing:
        cure = did_you_mean(missing[0], recording.channels)
        raise InputError(f"no column is called {missing[0]!r}; {cure}; name the columns as in training")
    return recording.values[:, [recording.channels.index(name) for name in names]]


def _even(times: Sequence[np.ndarray | None]) -> bool:
    """Whether all steps of time, of all series that have times, are about the same."""
    steps = [np.diff(moments) for moments in times if moments is not None and len(moments) > 1]
    if not steps:
        return True
    usual = float(np.median(np.concatenate(steps)))
    return all(bool((np.abs(step - usual) <= EVEN * abs(usual)).all()) for step in steps)
