"""The arithmetic of docs/results.md: means over runs, their spread, and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from typing import Any

from .sets import Set

NORMAL = 1.959964  # standard deviations that hold 95 % of a normal distribution


def wilson(share: float, count: float) -> tuple[float, float]:
    """Wilson's interval, at 95 %, of a share of ``count`` examples.

    >>> low, high = wilson(0.5, 100)
    >>> round(low, 3), round(high, 3)
    (0.404, 0.596)
    """
    squared = NORMAL**2
    middle = (share + squared / (2 * count)) / (1 + squared / count)
    half = NORMAL * sqrt(share * (1 - share) / count + squared / (4 * count**2)) / (1 + squared / count)
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Summary:
    """What several runs of a set have in common.

    Attributes:
        score: the mean over runs.
        spread: their standard deviation; None: there is only one.
        tested: test examples: of all folds, or of the one test split of all seeds.
        trained: how many runs there are, of how many.
    """

    score: float
    spread: float | None
    tested: int
    trained: tuple[int, int]

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, of the mean."""
        return wilson(self.score, self.tested)


def summarise(wanted: Set, runs: Sequence[dict[str, Any]]) -> Summary:
    """The mean of the scores. Folds have test examples of their own, which count by their number; seeds have the same
    ones."""
    scores, counts = [run["score"] for run in runs], [run["samples"] for run in runs]
    if wanted.folds:
        score, tested = sum(map(float.__mul__, scores, map(float, counts))) / sum(counts), sum(counts)
    else:
        score, tested = mean(scores), counts[0]
    expected = max(1, len(wanted.folds)) * len(wanted.seeds)
    return Summary(score, stdev(scores) if len(scores) > 1 else None, tested, (len(scores), expected))


def baseline(runs: Sequence[dict[str, Any]]) -> tuple[str, float] | None:
    """The name of the first classical baseline of the runs' reports and its mean score; None: they have none."""
    firsts = [run["baselines"][0] for run in runs if run.get("baselines")]
    firsts = [first for first in firsts if first["score"] is not None]
    return (firsts[0]["name"], mean(first["score"] for first in firsts)) if firsts else None


def mean_of(runs: Sequence[dict[str, Any]], name: str) -> float | None:
    """The mean of a number that the runs have; None: none has it."""
    values = [run[name] for run in runs if run.get(name) is not None]
    return mean(values) if values else None


def verdict(figure: float | None, wanted: Set, *, smaller: bool = False) -> str:
    """How a figure compares with what is asked of it.

    >>> verdict(0.9, Set("rain", "sound", 1, bar=0.8, aim=0.95))
    'bar passed'
    """
    if figure is None or wanted.bar is None:
        return ""
    sign = -1 if smaller else 1
    if wanted.aim is not None and sign * figure >= sign * wanted.aim:
        return "aim reached"
    return "bar passed" if sign * figure > sign * wanted.bar else "below the bar"
