"""Classical features of signals, a row of numbers for each example, for the baselines beside a model.

They are computed from what the model is evaluated on: the views of decoded batches. The features of an example depend
neither on the other examples of its batch nor on padding.
"""

from __future__ import annotations

import re
import zlib
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..modalities import Batch, Modality
from ..modalities.audio import Audio
from ..modalities.image import Image
from ..modalities.text import SPECIALS
from .convolutions import RandomConvolutions
from .descriptors import bins, histogram, masked_mean, moments, picture_features, quantiles, segment_means, small

HASHED = 1024  # columns that the words of a text beside other signals are counted in
MOST_CATEGORIES = 64  # of a column that get a column of their own each
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
                *moments(series, measured),
                masked_mean(steps, both),
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
        parts = [*moments(signal, wide), masked_mean(steps, wide[:, 1:]), quantiles(signal, present)]
        length = present.sum(1, keepdim=True).float()
        return torch.cat([*parts, segment_means(signal, present).flatten(1), length.clamp(min=1).log()], dim=1)


class PictureFeatures(Features):
    """Histograms of the directions of gradients in 8 × 8 cells, small pixels and colours."""

    title = "gradients and colours"

    def __call__(self, view: Batch) -> Tensor:
        assert isinstance(self.modality, Image)
        return picture_features(self.modality.permuted(view[self.name].float()))


class FilmFeatures(Features):
    """Small pixels of a few frames, the gradients of their mean, and how much moves at each place and time."""

    title = "frames and their differences"

    def __call__(self, view: Batch) -> Tensor:
        film = view[self.name].float()
        present = self._mask(view, film.shape[1])
        counts = present.sum(1).clamp(min=1)
        chosen = (torch.linspace(0, 1, FRAMES) * (counts - 1)[:, None]).round().long()
        frames = film[torch.arange(len(film))[:, None], chosen]  # batch × frames × channels × height × width
        pixels = small(frames.flatten(0, 1)).mean(1).reshape(len(film), -1)
        grey = small(film.mean(2).flatten(0, 1)[:, None]).reshape(len(film), film.shape[1], -1)
        moved, both = (grey[:, 1:] - grey[:, :-1]).abs(), present[:, 1:] & present[:, :-1]
        wide = both[..., None].expand_as(moved)
        changes = [*moments(moved, wide), segment_means(moved, both).flatten(1)]
        return torch.cat([picture_features(frames.mean(1)), pixels, *changes, counts[:, None].float().log()], dim=1)


class CloudFeatures(Features):
    """Moments, histograms of the axes, of the radius, of height against distance from the axis, and of the distances
    between pairs of points."""

    title = "moments and histograms"

    def __call__(self, view: Batch) -> Tensor:
        cloud = view[self.name].float()
        present = self._mask(view, cloud.shape[1])
        counts = present.sum(1).clamp(min=1)
        wide = present[..., None].expand_as(cloud)
        mean, deviation = masked_mean(cloud, wide), moments(cloud, wide)[1]
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
        cells = bins(height, -1, 1, 8) * 8 + bins(across, 0, 1.5, 8)
        return torch.cat(
            [
                mean,
                deviation,
                torch.linalg.eigvalsh(covariance),
                covariance[:, [0, 0, 1], [1, 2, 2]],
                masked_mean(standard**3, wide),
                masked_mean(standard**4, wide),
                histogram(bins(cloud[..., 0].abs(), 0, 1, BINS), BINS, present),
                histogram(bins(cloud[..., 1].abs(), 0, 1, BINS), BINS, present),
                histogram(bins(height, -1, 1, BINS), BINS, present),
                histogram(bins(radius, 0, 1.5, BINS), BINS, present),
                histogram(bins(apart, 0, 2.5, 2 * BINS), 2 * BINS, torch.ones_like(apart, dtype=torch.bool)),
                histogram(cells, 64, present),
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
        means = segment_means(values, present).flatten(1)
        return torch.cat([*moments(values, wide), quantiles(values, present), means], dim=1)


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
