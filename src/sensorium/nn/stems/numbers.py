"""A stem for the numbers of a table: where a number lies among those of training.

What a number means is seldom a straight line: a threshold, a middle range, a tail. A number times a learned vector can
say none of that, and the layers after it find it hard to learn. A piecewise linear encoding says for each of some bins
how much of it lies below the number (Gorishniy et al. 2022, "On embeddings for numerical features in tabular deep
learning", §3.2.1, with the bins of quantiles); a linear layer of each column makes its channels of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...config import record
from ...errors import InputError
from ..initialisation import truncated_normal

NARROWEST = 1e-6  # of a bin, in the numbers' units; a bin between equal quantiles is a step


@record
class NumberStemConfig:
    """A piecewise linear function of each column of numbers, into the channels of a row.

    Attributes:
        bins: pieces of the function; between quantiles of the training's numbers, so that all hold as many of them.
    """

    kind: Literal["numbers"] = "numbers"
    bins: int = 16


class NumberStem(nn.Module):
    """What is added to the row of each number.

    Args:
        config: the configuration.
        quantiles: of each column, evenly spaced from the least number to the largest, normalised as the numbers are.
            Empty: not known; they are then those of a uniform distribution from -2 to 2.
        channels: of a row.

    Raises:
        InputError: no bins, or quantiles that fall.

    >>> stem = NumberStem(NumberStemConfig(bins=4), quantiles=[(-1.0, 0.0, 3.0), ()], channels=8)
    >>> stem.edges
    tensor([[-1.0000, -0.5000,  0.0000,  1.5000,  3.0000],
            [-2.0000, -1.0000,  0.0000,  1.0000,  2.0000]])
    >>> stem(torch.zeros(5, 2)).shape
    torch.Size([5, 2, 8])
    """

    edges: Tensor

    def __init__(self, config: NumberStemConfig, *, quantiles: Sequence[Sequence[float]], channels: int) -> None:
        super().__init__()
        if config.bins < 1:
            raise InputError("stem: give numbers a bin at least")
        if any(list(column) != sorted(column) for column in quantiles):
            raise InputError("stem: quantiles of a column must not fall; sort them")
        edges = [_interpolated(column or (-2.0, 2.0), config.bins + 1) for column in quantiles]
        self.config = config
        self.register_buffer("edges", torch.tensor(edges), persistent=False)
        shape = (len(quantiles), config.bins, channels)
        self.weight = nn.Parameter(truncated_normal(torch.empty(shape), 1 / sqrt(config.bins)))

    def forward(self, numbers: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch columns channels"]:
        """batch × columns × channels.

        Args:
            numbers: batch × columns, finite and normalised.
        """
        low, width = self.edges[:, :-1], self.edges.diff(dim=1).clamp(min=NARROWEST)
        below = ((numbers[..., None] - low) / width).clamp(0, 1)  # batch × columns × bins
        return torch.einsum("nkb,kbc->nkc", below, self.weight)


def _interpolated(values: Sequence[float], count: int) -> list[float]:
    """``count`` evenly spaced values of the line through evenly spaced ``values``."""
    last = len(values) - 1
    positions = [number * last / (count - 1) for number in range(count)]
    pairs = [(values[int(at)], values[min(int(at) + 1, last)], at % 1) for at in positions]
    return [low + (high - low) * part for low, high, part in pairs]
