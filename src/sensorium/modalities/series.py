"""Series of measurements: sensors over time, regular or not, with gaps."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..codecs.raw import Raw, file_bytes
from ..config import record
from ..errors import InputError
from ..nn.byte_array import ByteArray, GridPositions, PointPositions, Segment
from ..nn.positions import fourier_channels, fourier_grid, fourier_points
from .base import Batch, Modality, Sample
from .sequences import cut, lengths, resample, uniform

MOST_ROWS = 512  # of one step each; longer series get rows of several steps


@record
class SeriesConfig:
    """How a series becomes rows.

    Attributes:
        channels: measurements a step.
        length: steps the model sees; longer series are cut, shorter ones padded and masked.
        mean: of each channel, for normalisation.
        std: of each channel.
        patch: steps a row.
        span: the time from the first to the last step where steps carry times, in their unit; None: they carry none.
        bands: Fourier bands.
        resolution: twice the highest frequency; the number of rows when None.
        jitter: training adds noise of this standard deviation (of a normalised channel).
        gain: training makes each channel larger or smaller by up to this share.
        warp: training takes a window of 1 ± up to this share of the series for the whole of it.
        blank: training blanks out a stretch of up to this share.
    """

    kind: Literal["series"] = "series"
    channels: int
    length: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    patch: int = 1
    span: float | None = None
    bands: int = 32
    resolution: float | None = None
    jitter: float = 0.05
    gain: float = 0.2
    warp: float = 0.2
    blank: float = 0.15


class Series(Modality):
    """A series as rows of ``patch`` steps, with Fourier features of time.

    Time is told in units of the configured length (or span), so padding changes no row that is present. NaN is a gap:
    0 after normalising, and a step without any measurement is not read at all.

    Batch keys: ``series``, float, batch × steps × channels; ``series.mask``, batch × steps, where series differ in
    length; ``series.times``, batch × steps, from the first step on, where ``span`` is set.

    >>> series = Series(SeriesConfig(channels=2, length=10, mean=(0.0, 0.0), std=(1.0, 1.0), bands=4))
    >>> series.embed({"series": torch.zeros(3, 7, 2)}).dense().shape
    torch.Size([3, 7, 11])
    """

    kind: ClassVar[str] = "series"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".npy")
    ragged: ClassVar[bool] = True
    config: SeriesConfig
    mean: Tensor
    std: Tensor
    positions: Tensor

    def __init__(self, config: SeriesConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if not config.channels == len(config.mean) == len(config.std):
            raise InputError(f"{self.name}: mean and std need {config.channels} values each")
        self.register_buffer("mean", torch.tensor(config.mean), persistent=False)
        self.register_buffer("std", torch.tensor(config.std), persistent=False)
        self.resolution = (config.resolution or float(self.num_rows),)
        positions = fourier_grid((self.num_rows,), bands=config.bands, resolution=self.resolution)
        self.register_buffer("positions", positions.tables[0], persistent=False)

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> SeriesConfig:
        """The longest series' length, the channels they agree on, mean and std of each, and rows of so many steps that
        there are at most 512.

        Raises:
            InputError: a series cannot be read, or they do not all have the same channels, or times.
        """
        pairs = [_decode(raw) for raw in raws]
        channels = {values.shape[1] for values, _ in pairs}
        if len(channels) > 1:
            raise InputError(f"series have different channels: {sorted(channels)}; give all the same ones")
        spans = [None if times is None else float(times[-1]) for _, times in pairs]
        if len({span is None for span in spans}) > 1:
            raise InputError("some series carry times and some do not; give all or none")
        length = max(len(values) for values, _ in pairs)
        steps = np.ma.masked_invalid(np.concatenate([values for values, _ in pairs]).astype(np.float64))
        mean, std = steps.mean(0).filled(0.0), steps.std(0).filled(1.0)
        return SeriesConfig(
            channels=channels.pop(),
            length=length,
            mean=tuple(float(f"{value:.6g}") for value in mean),
            std=tuple(float(f"{value:.6g}") if value > 0 else 1.0 for value in std),
            patch=ceil(length / MOST_ROWS),
            span=None if spans[0] is None else max(span for span in spans if span is not None),
        )

    def load(self, raw: Raw) -> Sample:
        """One series, whole: an array (steps [× channels]), a pair of it and its times (steps), or a .csv or .npy file.

        Returns:
            float32: steps × channels; and times from the first step on, where ``span`` is set.

        Raises:
            InputError: unreadable, empty, nothing but gaps, infinite values, times that do not rise, other channels
                than configured.
        """
        values, times = _decode(raw)
        if values.shape[1] != self.config.channels:
            turned = "; is it transposed?" if values.shape[0] == self.config.channels else ""
            raise InputError(f"{values.shape[1]} channels, the model reads {self.config.channels}{turned}")
        if self.config.span is None:
            return {self.name: values}
        if times is None:
            raise InputError("the steps carry no times, the model needs them; give a pair (values, times)")
        return {self.name: values, f"{self.name}.times": times}

    # -- from batches -------------------------------------------------------------------------------------------

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """The middle of longer series."""
        start = (lengths(batch, self.name) - self.config.length).clamp(min=0) // 2
        return cut(batch, self.name, start, self.config.length)

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Any window of longer series; of that a wider or narrower one in its place; gain, noise, a blank stretch."""
        length = lengths(batch, self.name)
        spare = (length - self.config.length).clamp(min=0)
        start = (uniform(length, spare.shape, 0, 1, generator) * (spare + 1)).long()
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
        noise = torch.randn(signal.shape, generator=generator, device=generator.device).to(signal.device)
        signal = signal + self.config.jitter * self.std * noise
        width = random(0, self.config.blank) * length
        begin = random(0, 1) * (length - width)
        blank = (step + 0.5 > begin) & (step + 0.5 < begin + width)
        return {**result, self.name: torch.where(blank[..., None], self.mean, signal)}

    def embed(self, batch: Batch) -> ByteArray:
        """Rows in time; rows without any measurement are masked."""
        signal = (batch[self.name].float() - self.mean) / self.std
        gaps, mask = signal.isnan(), batch.get(f"{self.name}.mask")
        if mask is not None:
            gaps = gaps | ~mask[..., None]
        values = self.patchify(signal.masked_fill(gaps, 0.0))
        present = ~gaps.all(-1, keepdim=True)  # batch × steps × 1
        positions: GridPositions | PointPositions = GridPositions((self.positions[: values.shape[1]],))
        if self.config.span is not None:
            # A row is where its present steps are on average.
            weight = self.patchify(present.float())
            times = (self.patchify(batch[f"{self.name}.times"].float()[..., None]) * weight).sum(2, keepdim=True)
            place = times / weight.sum(2, keepdim=True).clamp(min=1) / max(self.config.span, 1e-9) * 2 - 1
            positions = fourier_points(place, bands=self.config.bands, resolution=self.resolution)
        rows = self.patchify(present).any(2)
        return ByteArray((Segment(self.name, values, positions, mask=rows),))

    # -- rows and signal ----------------------------------------------------------------------------------------

    @property
    def channels(self) -> int:
        return self.config.patch * self.config.channels + fourier_channels(1, self.config.bands)

    @property
    def num_rows(self) -> int:
        return ceil(self.config.length / self.config.patch)

    @property
    def elements_per_row(self) -> int:
        return self.config.patch

    def patchify(self, signal: Tensor) -> Tensor:
        """batch × steps × k as batch × rows × (patch · k), zeros after the last step."""
        padded = F.pad(signal, (0, 0, 0, -signal.shape[1] % self.config.patch))
        return padded.unflatten(1, (-1, self.config.patch)).flatten(2)

    def unpatchify(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × steps × k."""
        return rows.unflatten(2, (self.config.patch, -1)).flatten(1, 2)[:, : batch[self.name].shape[1]]

    # -- as an answer -------------------------------------------------------------------------------------------

    @property
    def position_channels(self) -> int:
        return fourier_channels(1, self.config.bands)

    def elementwise(self) -> Series:
        return Series(replace(self.config, patch=1), name=self.name)

    def targets(self, batch: Batch) -> Tensor:
        """Normalised measurements; gaps are NaN."""
        return self.patchify((batch[self.name].float() - self.mean) / self.std)

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × steps × channels, in the units of the series."""
        return self.unpatchify(rows, batch) * self.std + self.mean

    # -- for people ---------------------------------------------------------------------------------------------

    def draw(self, axes: Any, batch: Batch, index: int, heat: Tensor | None = None) -> None:
        """A line a channel, normalised; heat is the shade behind them."""
        length = int(lengths(batch, self.name)[index])
        signal = ((batch[self.name][index, :length].float() - self.mean) / self.std).cpu()
        axes.plot(np.arange(length), signal, linewidth=0.8)
        axes.set_xlabel("steps")
        axes.set_xlim(-0.5, length - 0.5)
        if heat is not None:
            extent = (-0.5, length - 0.5, *axes.get_ylim())
            shade = heat[:length].reshape(1, length).float().cpu()
            axes.imshow(shade, aspect="auto", extent=extent, cmap="Reds", alpha=0.7, vmin=0, vmax=1, zorder=0)


def _decode(raw: Raw) -> tuple[np.ndarray, np.ndarray | None]:
    """float32 steps × channels, and float32 times from 0 where there are any; checked."""
    values: Any = raw
    times = None
    if isinstance(raw, tuple | list) and len(raw) == 2 and np.ndim(raw[0]) in (1, 2) and np.ndim(raw[1]) == 1:
        values, times = raw[0], np.asarray(raw[1], np.float64)
    if isinstance(values, str | bytes | Path):
        values = _decode_file(values)
    try:
        values = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise InputError("a series is numbers, steps × channels; this is something else") from None
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise InputError(f"an array of shape {values.shape} is not a series; give steps × channels")
    if values.size == 0:
        raise InputError("there are no steps in it; remove it")
    if np.isinf(values).any():
        raise InputError("there are infinite values in it; repair them, or write NaN where a measurement is missing")
    if np.isnan(values).all():
        raise InputError("there is nothing but NaN in it; remove it")
    if times is None:
        return values, None
    if len(times) != len(values) or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise InputError("times must be one number a step, finite, and never fall; sort the steps by time")
    return values, (times - times[0]).astype(np.float32)


def _decode_file(raw: str | bytes | Path) -> np.ndarray:
    """A .npy array, or columns of text with or without a line of names; what is no number is a gap."""
    raw = file_bytes(raw)
    try:
        if raw.startswith(b"\x93NUMPY"):
            return np.load(io.BytesIO(raw), allow_pickle=False)
        text = raw.decode("utf-8-sig").strip()
        delimiter = next((mark for mark in ",;\t" if mark in text.split("\n", 1)[0]), " ")
        lines = [
            [_number(cell) for cell in line] for line in csv.reader(io.StringIO(text), delimiter=delimiter) if line
        ]
        if len(lines) > 1 and np.isnan(lines[0]).all():
            lines = lines[1:]
        return np.array(lines, dtype=np.float32)
    except (ValueError, csv.Error):
        raise InputError(
            "this is not a table of numbers; write one step a line, its channels apart by commas"
        ) from None


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan
