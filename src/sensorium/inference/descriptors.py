"""Statistics over time, histograms, and gradients: what classical features are made of. All keep to what is present."""

from __future__ import annotations

from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

SEGMENTS = 8  # stretches of time that are described one by one
SHARES = (0.1, 0.5, 0.9)  # quantiles
SIDES = (32, 64)  # pixels along the sides of pictures: at least and at most
CELLS = 8  # along the sides of a picture, for gradients
DIRECTIONS = 9  # of gradients


def moments(signal: Tensor, mask: Tensor) -> list[Tensor]:
    """Mean, deviation, least and largest over time of batch × steps × channels, as far as the mask reaches; NaN where
    nothing is present."""
    mean = masked_mean(signal, mask)
    deviation = masked_mean((signal - mean[:, None]) ** 2, mask).sqrt()
    least = signal.masked_fill(~mask, torch.inf).amin(1)
    largest = signal.masked_fill(~mask, -torch.inf).amax(1)
    nothing = ~mask.any(1)
    return [mean, deviation, least.masked_fill(nothing, torch.nan), largest.masked_fill(nothing, torch.nan)]


def masked_mean(signal: Tensor, mask: Tensor) -> Tensor:
    """The mean over time of batch × steps × channels, as far as the mask reaches."""
    return signal.masked_fill(~mask, 0.0).sum(1) / mask.sum(1)


def quantiles(signal: Tensor, present: Tensor) -> Tensor:
    """Quantiles over the present steps of each channel: batch × (quantiles · channels)."""
    ordered = signal.masked_fill(~present[..., None], torch.inf).sort(1).values
    last = (present.sum(1) - 1).clamp(min=0)
    index = (last[:, None] * torch.tensor(SHARES)).round().long()[..., None].expand(-1, -1, signal.shape[2])
    values = ordered.gather(1, index).flatten(1)
    return values.masked_fill(values.isinf(), torch.nan)


def segment_means(signal: Tensor, present: Tensor) -> Tensor:
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


def bins(values: Tensor, least: float, largest: float, count: int) -> Tensor:
    """The number of the bin that each value lies in; values beyond the ends lie in the outermost bins."""
    return ((values - least) * (count / (largest - least))).long().clamp(0, count - 1)


def histogram(bins: Tensor, count: int, present: Tensor) -> Tensor:
    """The share of the present points of each example in each bin: batch × bins."""
    shares = torch.zeros(len(bins), count).scatter_add_(1, bins, present.float())
    return shares / present.sum(1, keepdim=True).clamp(min=1)


def picture_features(pictures: Tensor) -> Tensor:
    """Of batch × channels × height × width in [0, 1]."""
    side = max(SIDES[0], min(SIDES[1], min(pictures.shape[-2:]) // CELLS * CELLS))
    pictures = F.interpolate(pictures, (side, side), mode="bilinear", antialias=True, align_corners=False)
    colours = [
        histogram(bins(part, 0, 1, 8), 8, torch.ones_like(part, dtype=torch.bool))
        for part in pictures.flatten(2).unbind(1)
    ]
    deviation = pictures.flatten(2).std(2)
    return torch.cat([gradients(pictures.mean(1)), small(pictures).flatten(1), *colours, deviation], dim=1)


def gradients(grey: Tensor) -> Tensor:
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


def small(pictures: Tensor) -> Tensor:
    """Pictures of 8 × 8 pixels."""
    return F.adaptive_avg_pool2d(pictures, CELLS)
