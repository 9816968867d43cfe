"""Series as shares of convolutions that exceed a threshold, after MiniRocket (Dempster et al., KDD 2021)."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = 9  # of a kernel
KERNELS = [tuple(2.0 if tap in heavy else -1.0 for tap in range(TAPS)) for heavy in combinations(range(TAPS), 3)]
DILATIONS = 6  # at most
THRESHOLDS = 4  # of each kernel and dilation
MOST_MIXED = 6  # channels that a kernel sees together, at most
QUANTILES = 2048  # convolved values that a threshold is a quantile of


class RandomConvolutions:
    """The 84 kernels of nine taps, each -1 or 2, that sum to zero; at dilations from one step to an eighth of a series.
    Each kernel sees the sum of some channels, chosen by the seed.

    Args:
        channels: of the series.
        length: of the longest series.
        seed: of the choice of channels.
    """

    def __init__(self, channels: int, length: int, *, seed: int = 0) -> None:
        largest = max(1, (length - 1) // (TAPS - 1))
        spaced = np.geomspace(1, largest, min(DILATIONS, 1 + int(np.log2(largest))))
        self.dilations: list[int] = sorted(set(spaced.round().astype(int).tolist()))
        random = np.random.default_rng(seed)
        mixing = np.zeros((len(self.dilations), len(KERNELS), channels), np.float32)
        most = min(MOST_MIXED, channels)
        for weights in mixing.reshape(-1, channels):
            count = int(2 ** random.uniform(0, np.log2(most + 0.999)))
            weights[random.choice(channels, count, replace=False)] = count**-0.5
        self.mixing = torch.from_numpy(mixing)
        self.kernels = torch.tensor(KERNELS)[:, None]
        self.thresholds: Tensor | None = None

    @property
    def count(self) -> int:
        """How many numbers an example gets."""
        return len(self.dilations) * len(KERNELS) * THRESHOLDS

    def fit(self, series: Tensor, present: Tensor) -> None:
        """Choose thresholds: quantiles of the convolutions of these examples. Arguments are those of a call."""
        quantiles = (torch.arange(THRESHOLDS) + 0.5) / THRESHOLDS
        chosen = []
        for number in range(len(self.dilations)):
            values = self._convolved(series, number).transpose(0, 1)[:, present]  # kernels × present steps
            thinned = values[:, :: max(1, values.shape[1] // QUANTILES)]
            chosen.append(thinned.quantile(quantiles, dim=1).T)
        self.thresholds = torch.stack(chosen)

    def __call__(self, series: Tensor, present: Tensor) -> Tensor:
        """The share of the present steps at which each convolution exceeds each threshold: batch × ``count``.

        Args:
            series: batch × steps × channels, standardised, zeros where nothing was measured.
            present: bool, batch × steps: which steps belong to the series.
        """
        assert self.thresholds is not None  # fit comes first
        counts = present.sum(1).clamp(min=1)[:, None]
        shares = []
        for number in range(len(self.dilations)):
            convolved = self._convolved(series, number).masked_fill(~present[:, None], -torch.inf)
            for level in self.thresholds[number].T:
                shares.append((convolved > level[:, None]).sum(2) / counts)
        return torch.cat(shares, dim=1)

    def _convolved(self, series: Tensor, number: int) -> Tensor:
        """The series convolved with every kernel at one dilation, as if it were zero beyond its ends: batch × kernels ×
        steps."""
        dilation = self.dilations[number]
        mixed = (series @ self.mixing[number].T).transpose(1, 2)
        reach = dilation * (TAPS // 2)
        return F.conv1d(F.pad(mixed, (reach, reach)), self.kernels, dilation=dilation, groups=len(KERNELS))
