"""Classical features of signals, a row of numbers for each example, for the baselines beside a model.

They are computed from what the model is evaluated on: the views of decoded batches. The features of an example depend
neither on the other examples of its batch nor on padding.
"""

from __future__ import annotations

import re
import zlib
from abc import ABC, abstractmethod
from math import pi
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..modalities import Batch, Modality
from ..modalities.audio import Audio
from ..modalities.text import SPECIALS
from .convolutions import RandomConvolutions

SEGMENTS = 8  # stretches of time that are described one by one
SHARES = (0.1, 0.5, 0.9)  # quantiles
HASHED = 1024  # columns that the words of a text beside other signals are counted in
MOST_CATEGORIES = 64  # of a column that get a column of their own each
SIDES = (32, 64)  # pixels along the sides of pictures: at least and at most
CELLS = 8  # along the sides of a picture, for gradients
DIRECTIONS = 9  # of gradients
FRAMES = 5  # of a film
BINS = 16  # of a histogram
PAIRS = 2048  # of points, whose distance is measured
MOST_CHANNELS = 32  # of rows of an unknown kind of signal


class Features(ABC):
    """The features of one kind of signal.

    Args:
        modality: the signal.
        seed: of random choices.

    Attributes:
        title: what they are, in a few words.
    """

    title: ClassVar[str]

    def __init__(self, modality: Modality[Any], *, seed: int = 0) -> None:
        self.modality = modality
        self.name = modality.name
        self.seed = seed

    def fit(self, view: Batch) -> None:  # noqa: B027 (most kinds have nothing to choose)
        """Choose what depends on training examples, from some of them."""

    @abstractmethod
    def __call__(self, view: Batch) -> Tensor:
        """The features of a viewed batch: float32, examples × features, NaN where there is nothing to measure."""

    def _mask(self, view: Batch, steps: int) -> Tensor:
        """Which steps of a signal in time are present: bool, batch × steps."""
        mask = view.get(f"{self.name}.mask")
        return torch.ones(len(view[self.name]), steps, dtype=torch.bool) if mask is None else mask


class ColumnFeatures(Features):
    """Standardised numbers, a column for each frequent category, and a column for the gaps of each column."""

    title = "the columns"

    def __call__(self, view: Batch) -> Tensor:
        values = view[self.name].float()
        parts = [values.isnan().float()]
        for column, cells in zip(self.modality.config.columns, values.T, strict=True):
            if column.kind == "number":
                parts.append(((cells - column.mean) / column.std)[:, None])
            else:
                numbers = torch.arange(min(len(column.categories), MOST_CATEGORIES))
                parts.append((cells[:, None] == numbers).float())
        return torch.cat(parts, dim=1)


class WordFeatures(Features):
    """Counts of words, hashed into a fixed number of columns."""

    title = "counts of words"

    def __call__(self, view: Batch) -> Tensor:
        counts = torch.zeros(len(view[self.name]), HASHED)
        for row, text in zip(counts, texts(view, self.name), strict=True):
            for word in re.findall(r"\w+", text.lower()):
                row[zlib.crc32(word.encode()) % HASHED] += 1
        return F.normalize(counts.log1p(), dim=1)


class SeriesFeatures(Features):
    """Random convolutions; and, of each channel, its level, its variation, its steps and its gaps."""

    title = "random convolutions"

    def __init__(self, modality: Modality[Any], *, seed: int = 0) -> None:
        super().__init__(modality, seed=seed)
        self.convolutions = RandomConvolutions(modality.config.channels, modality.config.length, seed=seed)

    def fit(self, view: Batch) -> None:
        self.convolutions.fit(*self._filled(view)[:2])

    def __call__(self, view: Batch) -> Tensor:
        series, present, gaps = self._filled(view)
        measured = present[..., None] & ~gaps
        steps = (series[:, 1:] - series[:, :-1]).abs()
        both = measured[:, 1:] & measured[:, :-1]
        counts = present.sum(1, keepdim=True).clamp(min=1)
        return torch.cat(
            [
                self.convolutions(series, present),
                *_moments(series, measured),
                _masked_mean(steps, both),
                (gaps & present[..., None]).sum(1) / counts,
                counts.log(),
            ],
            dim=1,
        )

    def _filled(self, view: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The standardised series with zeros in its gaps, its present steps, and where its gaps are."""
        config = self.modality.config
        series = (view[self.name].float() - torch.tensor(config.mean)) / torch.tensor(config.std)
        present = self._mask(view, series.shape[1])
        gaps = series.isnan()
        return series.masked_fill(gaps | ~present[..., None], 0.0), present, gaps


class SoundFeatures(Features):
    """Of each band of the log-mel spectrogram: mean, deviation, quantiles and change over time, and the mean of each
    eighth of the clip."""

    title = "log-mel statistics"

    def __call__(self, view: Batch) -> Tensor:
        signal, mask = view[self.name].float(), view.get(f"{self.name}.mask")
        config = self.modality.config
        if config.representation == "raw":
            assert isinstance(self.modality, Audio)
            signal = self.modality.spectrogram(signal)
            if mask is not None:
                mask = F.pad(mask, (0, config.hop * signal.shape[1] - mask.shape[1]))[:, :: config.hop]
        present = torch.ones(signal.shape[:2], dtype=torch.bool) if mask is None else mask
        signal = signal.flatten(2)
        wide = present[..., None].expand_as(signal)
        steps = (signal[:, 1:] - signal[:, :-1]).abs()
        parts = [*_moments(signal, wide), _masked_mean(steps, wide[:, 1:]), _quantiles(signal, present)]
        length = present.sum(1, keepdim=True).float()
        return torch.cat([*parts, _segment_means(signal, present).flatten(1), length.clamp(min=1).log()], dim=1)


class PictureFeatures(Features):
    """Histograms of the directions of gradients in 8 × 8 cells, small pixels and colours."""

    title = "gradients and colours"

    def __call__(self, view: Batch) -> Tensor:
        return _picture_features(view[self.name].float())


class FilmFeatures(Features):
    """Small pixels of a few frames, the gradients of their mean, and how much moves at each place and time."""

    title = "frames and their differences"

    def __call__(self, view: Batch) -> Tensor:
        film = view[self.name].float()
        present = self._mask(view, film.shape[1])
        counts = present.sum(1).clamp(min=1)
        moments = (torch.linspace(0, 1, FRAMES) * (counts - 1)[:, None]).round().long()
        frames = film[torch.arange(len(film))[:, None], moments]  # batch × frames × channels × height × width
        small = _small(frames.flatten(0, 1)).mean(1).reshape(len(film), -1)
        grey = _small(film.mean(2).flatten(0, 1)[:, None]).reshape(len(film), film.shape[1], -1)
        moved, both = (grey[:, 1:] - grey[:, :-1]).abs(), present[:, 1:] & present[:, :-1]
        wide = both[..., None].expand_as(moved)
        changes = [*_moments(moved, wide), _segment_means(moved, both).flatten(1)]
        return torch.cat([_picture_features(frames.mean(1)), small, *changes, counts[:, None].float().log()], dim=1)


class CloudFeatures(Features):
    """Moments, histograms of the axes, of the radius, of height against distance from the axis, and of the distances
    between pairs of points."""

    title = "moments and histograms"

    def __call__(self, view: Batch) -> Tensor:
        cloud = view[self.name].float()
        present = self._mask(view, cloud.shape[1])
        counts = present.sum(1).clamp(min=1)
        wide = present[..., None].expand_as(cloud)
        mean, deviation = _masked_mean(cloud, wide), _moments(cloud, wide)[1]
        centred = (cloud - mean[:, None]) * wide
        standard = centred / deviation[:, None].clamp(min=1e-6)
        points = centred[..., :3]
        covariance = points.mT @ points / counts[:, None, None]
        random = torch.rand(2, PAIRS, generator=torch.Generator().manual_seed(self.seed))
        pairs = (random[:, None] * counts[:, None]).long()  # 2 × batch × pairs
        row = torch.arange(len(cloud))[:, None]
        apart = (points[row, pairs[0]] - points[row, pairs[1]]).norm(dim=2)
        across, radius = points[..., :2].norm(dim=2), points.norm(dim=2)
        height = cloud[..., 2]
        cells = _bins(height, -1, 1, 8) * 8 + _bins(across, 0, 1.5, 8)
        return torch.cat(
            [
                mean,
                deviation,
                torch.linalg.eigvalsh(covariance),
                covariance[:, [0, 0, 1], [1, 2, 2]],
                _masked_mean(standard**3, wide),
                _masked_mean(standard**4, wide),
                _histogram(_bins(cloud[..., 0].abs(), 0, 1, BINS), BINS, present),
                _histogram(_bins(cloud[..., 1].abs(), 0, 1, BINS), BINS, present),
                _histogram(_bins(height, -1, 1, BINS), BINS, present),
                _histogram(_bins(radius, 0, 1.5, BINS), BINS, present),
                _histogram(_bins(apart, 0, 2.5, 2 * BINS), 2 * BINS, torch.ones_like(apart, dtype=torch.bool)),
                _histogram(cells, 64, present),
            ],
            dim=1,
        )


class RowFeatures(Features):
    """Statistics of the rows of a kind of signal that nothing more is known of, and their means along the signal."""

    title = "statistics of the signal"

    def __call__(self, view: Batch) -> Tensor:
        (segment,) = self.modality.embed(view).segments
        values = segment.values.float()
        if values.shape[2] > MOST_CHANNELS:
            values = F.adaptive_avg_pool1d(values, MOST_CHANNELS)
        present = torch.ones(values.shape[:2], dtype=torch.bool) if segment.mask is None else segment.mask
        values = values.masked_fill(~present[..., None], 0.0)
        wide = present[..., None].expand_as(values)
        means = _segment_means(values, present).flatten(1)
        return torch.cat([*_moments(values, wide), _quantiles(values, present), means], dim=1)


FEATURES: dict[str, type[Features]] = {
    "table": ColumnFeatures,
    "text": WordFeatures,
    "series": SeriesFeatures,
    "audio": SoundFeatures,
    "image": PictureFeatures,
    "video": FilmFeatures,
    "points": CloudFeatures,
}


class JoinedFeatures:
    """The features of a signal, or those of all signals of a fusion side by side: NaN where an example lacks a signal.

    Args:
        modality: one signal, or a fusion of several.
        seed: of random choices.
    """

    def __init__(self, modality: Modality[Any], *, seed: int = 0) -> None:
        self.modality = modality
        self.parts = [FEATURES.get(part.kind, RowFeatures)(part, seed=seed) for part in modality.modalities]
        self.counts: dict[str, int] = {}  # features of each signal that occurred

    @property
    def title(self) -> str:
        """What they are, in a few words."""
        return (
            self.parts[0].title
            if len(self.parts) == 1
            else f"features of {' and '.join(part.name for part in self.parts)}"
        )

    @torch.inference_mode()
    def fit(self, batch: Batch) -> None:
        """Choose what depends on training examples, from a batch of some of them."""
        view = self._view(batch)
        for part in self.parts:
            present = _present(view, part.name)
            if present.any():
                having = _select(view, part.name, present)
                part.fit(having)
                self.counts[part.name] = part(having).shape[1]

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> np.ndarray:
        """The features of a batch as the data give it: float32, examples × features."""
        view = self._view(batch)
        blocks = []
        for part in self.parts:
            if part.name not in self.counts:  # a signal that no example had in fit
                continue
            present = _present(view, part.name)
            block = torch.full((len(present), self.counts[part.name]), torch.nan)
            if present.any():
                block[present] = part(_select(view, part.name, present)).float()
            blocks.append(block)
        return torch.cat(blocks, dim=1).numpy()

    def _view(self, batch: Batch) -> dict[str, Tensor]:
        """The view of a batch, with whole texts: words need no window."""
        view = self.modality.view(batch)
        for part in self.parts:
            if part.modality.kind == "text":
                view |= {name: batch[name] for name in (part.name, f"{part.name}.mask") if name in batch}
        return view


def texts(batch: Batch, name: str) -> list[str]:
    """The texts of a batch, without what is no byte; bytes that are not UTF-8 are replaced.

    >>> texts({"text": torch.tensor([[78, 201, 175, 0]])}, "text")
    ['Hé']
    """
    numbers, mask = batch[name], batch.get(f"{name}.mask")
    kept = numbers >= SPECIALS if mask is None else mask & (numbers >= SPECIALS)
    rows = zip((numbers - SPECIALS).clamp(min=0).to(torch.uint8).numpy(), kept.numpy(), strict=True)
    return [row[chosen].tobytes().decode("utf-8", errors="replace") for row, chosen in rows]


def _present(view: Batch, name: str) -> Tensor:
    """Which examples of a batch have a signal: bool, (batch,)."""
    if name in view:
        return view.get(f"{name}.present", torch.ones(len(view[name]), dtype=torch.bool))
    return torch.zeros(len(next(iter(view.values()))), dtype=torch.bool)


def _select(view: Batch, name: str, chosen: Tensor) -> dict[str, Tensor]:
    """The fields of a signal, of some examples."""
    return {key: value[chosen] for key, value in view.items() if key.partition(".")[0] == name}


def _moments(signal: Tensor, mask: Tensor) -> list[Tensor]:
    """Mean, deviation, least and largest over time of batch × steps × channels, as far as the mask reaches; NaN where
    nothing is present."""
    mean = _masked_mean(signal, mask)
    deviation = _masked_mean((signal - mean[:, None]) ** 2, mask).sqrt()
    least = signal.masked_fill(~mask, torch.inf).amin(1)
    largest = signal.masked_fill(~mask, -torch.inf).amax(1)
    nothing = ~mask.any(1)
    return [mean, deviation, least.masked_fill(nothing, torch.nan), largest.masked_fill(nothing, torch.nan)]


def _masked_mean(signal: Tensor, mask: Tensor) -> Tensor:
    """The mean over time of batch × steps × channels, as far as the mask reaches."""
    return signal.masked_fill(~mask, 0.0).sum(1) / mask.sum(1)


def _quantiles(signal: Tensor, present: Tensor) -> Tensor:
    """Quantiles over the present steps of each channel: batch × (quantiles · channels)."""
    ordered = signal.masked_fill(~present[..., None], torch.inf).sort(1).values
    last = (present.sum(1) - 1).clamp(min=0)
    index = (last[:, None] * torch.tensor(SHARES)).round().long()[..., None].expand(-1, -1, signal.shape[2])
    values = ordered.gather(1, index).flatten(1)
    return values.masked_fill(values.isinf(), torch.nan)


def _segment_means(signal: Tensor, present: Tensor) -> Tensor:
    """The means over consecutive stretches of time, as many in each example: batch × stretches × channels."""
    steps = torch.arange(1, present.shape[1] + 1)
    length = (present * steps).amax(1, keepdim=True).clamp(min=1)
    numbers = torch.arange(SEGMENTS)
    start = numbers * length // SEGMENTS
    end = -(-(numbers + 1) * length // SEGMENTS)
    sums = F.pad(signal.masked_fill(~present[..., None], 0.0).double().cumsum(1), (0, 0, 1, 0))
    counts = F.pad(present.cumsum(1), (1, 0))
    row = torch.arange(len(signal))[:, None]
    count = (counts[row, end] - counts[row, start])[..., None]
    return ((sums[row, end] - sums[row, start]) / count).float()


def _bins(values: Tensor, least: float, largest: float, count: int) -> Tensor:
    """The number of the bin that each value lies in; values beyond the ends lie in the outermost bins."""
    return ((values - least) * (count / (largest - least))).long().clamp(0, count - 1)


def _histogram(bins: Tensor, count: int, present: Tensor) -> Tensor:
    """The share of the present points of each example in each bin: batch × bins."""
    shares = torch.zeros(len(bins), count).scatter_add_(1, bins, present.float())
    return shares / present.sum(1, keepdim=True).clamp(min=1)


def _picture_features(pictures: Tensor) -> Tensor:
    """Of batch × channels × height × width in [0, 1]."""
    side = max(SIDES[0], min(SIDES[1], min(pictures.shape[-2:]) // CELLS * CELLS))
    pictures = F.interpolate(pictures, (side, side), mode="bilinear", antialias=True, align_corners=False)
    colours = [
        _histogram(_bins(part, 0, 1, 8), 8, torch.ones_like(part, dtype=torch.bool))
        for part in pictures.flatten(2).unbind(1)
    ]
    deviation = pictures.flatten(2).std(2)
    return torch.cat([_gradients(pictures.mean(1)), _small(pictures).flatten(1), *colours, deviation], dim=1)


def _gradients(grey: Tensor) -> Tensor:
    """Histograms of the directions of gradients in cells, normalised over blocks of 2 × 2 cells (Dalal and Triggs,
    2005); of batch × height × width."""
    padded = F.pad(grey[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across, down = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    strength = (across**2 + down**2).sqrt()
    angle = torch.atan2(down, across).remainder(pi) * (DIRECTIONS / pi)
    low = angle.floor()
    share = angle - low
    maps = grey.new_zeros(len(grey), DIRECTIONS, *grey.shape[1:])
    for number, weight in ((low, 1 - share), (low + 1, share)):  # shared between the two nearest directions
        maps.scatter_add_(1, number.long().remainder(DIRECTIONS)[:, None], (strength * weight)[:, None])
    cells = F.adaptive_avg_pool2d(maps, CELLS)
    blocks = torch.cat([cells[:, :, :-1, :-1], cells[:, :, 1:, :-1], cells[:, :, :-1, 1:], cells[:, :, 1:, 1:]], dim=1)
    return F.normalize(blocks, dim=1, eps=1e-3).flatten(1)


def _small(pictures: Tensor) -> Tensor:
    """Pictures of 8 × 8 pixels."""
    return F.adaptive_avg_pool2d(pictures, CELLS)
