"""The arithmetic of benchmarks/ablate.py: from its runs to a table and a verdict.

Scores are in percentage points where the metric is a share. All figures are of validation splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import fmean, stdev
from typing import Any, Literal, TypeAlias

Row: TypeAlias = dict[str, Any]  # of one run, as a line of the results holds it
Side: TypeAlias = Literal["A", "B"]

FEWEST_SETS, FEWEST_KINDS = 3, 2  # that a verdict takes
TOLERANCE = 2.0  # standard errors by seeds, within which a difference is noise
SHRUNK_BY = 1  # degrees of freedom that a set's variance takes from that of all sets


@dataclass(frozen=True)
class Pair:
    """A and B on one set with one seed."""

    a: Row
    b: Row

    @property
    def difference(self) -> float:
        """The last score of A minus that of B."""
        return self.a["last"] - self.b["last"]


@dataclass(frozen=True)
class SetSummary:
    """All pairs of one set.

    Attributes:
        name, kind: of the set and of its signal.
        pairs: one for each seed.
        difference: of the last scores, A minus B, the mean over seeds.
        noise: the standard error of ``difference`` by the seeds; None: no set has two seeds.
    """

    name: str
    kind: str
    pairs: tuple[Pair, ...]
    difference: float
    noise: float | None

    @property
    def is_hurt(self) -> bool:
        """Whether A is worse than B by more than noise."""
        return self.noise is not None and self.difference < -TOLERANCE * self.noise


@dataclass(frozen=True)
class Summary:
    """All sets.

    Attributes:
        difference: the mean over sets, each counted once; NaN: there are none.
        error: the standard error of ``difference`` by the spread over sets; NaN for fewer than two.
        noise: what the noise of the sets amounts to in their mean; None: no set has two seeds.
    """

    sets: tuple[SetSummary, ...]
    difference: float
    error: float
    noise: float | None


def pair_up(rows: Sequence[Row]) -> dict[str, list[Pair]]:
    """The pairs of each set, seeds ascending. A run whose other side is not finished is in none; of two runs of one
    side the later one counts.

    >>> rows = [{"set": "x", "seed": 0, "side": side, "last": 1.0} for side in "AB"]
    >>> [pair.difference for pair in pair_up([*rows, {"set": "x", "seed": 1, "side": "A", "last": 2.0}])["x"]]
    [0.0]
    """
    sides: dict[tuple[str, int], dict[Side, Row]] = {}
    for row in rows:
        sides.setdefault((row["set"], row["seed"]), {})[row["side"]] = row
    pairs: dict[str, list[Pair]] = {}
    for (name, _), both in sorted(sides.items(), key=lambda item: item[0][1]):
        if len(both) == 2:
            pairs.setdefault(name, []).append(Pair(both["A"], both["B"]))
    return pairs


def summarise(rows: Sequence[Row]) -> Summary:
    """The figures of each set and over all sets.

    The variance of a difference is estimated from the seeds of its set. As these are few, one degree of freedom of the
    variance that all sets have in common is added. It is at least that of one validation example.
    """
    pairs = pair_up(rows)
    squares = {name: _squares([pair.difference for pair in found]) for name, found in pairs.items()}
    freedom = sum(len(found) - 1 for found in pairs.values())
    pooled = sum(squares.values()) / freedom if freedom else None
    sets = []
    for name, found in pairs.items():
        noise = None
        if pooled is not None:
            variance = (squares[name] + SHRUNK_BY * pooled) / (len(found) - 1 + SHRUNK_BY)
            noise = max(sqrt(variance), found[0].a["resolution"]) / sqrt(len(found))
        difference = fmean(pair.difference for pair in found)
        sets.append(SetSummary(name, found[0].a["kind"], tuple(found), difference, noise))
    differences = [each.difference for each in sets]
    noises = [each.noise for each in sets if each.noise is not None]
    return Summary(
        sets=tuple(sets),
        difference=fmean(differences) if sets else float("nan"),
        error=stdev(differences) / sqrt(len(sets)) if len(sets) > 1 else float("nan"),
        noise=sqrt(sum(noise**2 for noise in noises)) / len(sets) if noises else None,
    )


def _squares(values: Sequence[float]) -> float:
    """The sum of the squared distances from the mean."""
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values)


def verdict(summary: Summary) -> str:
    """Whether A should replace B: it is kept only if it helps on average over at least three sets of two kinds, and
    hurts none by more than noise. To help, the mean must exceed its noise by seeds likewise; not the spread over sets,
    because a change may do much for some kinds of signal and nothing for others."""
    kinds = {each.kind for each in summary.sets}
    hurt = [each.name for each in summary.sets if each.is_hurt]
    if hurt:
        return f"A is not kept: it hurts {', '.join(hurt)} by more than noise"
    if len(summary.sets) < FEWEST_SETS or len(kinds) < FEWEST_KINDS:
        found = f"{len(summary.sets)} sets, kinds of signal: {len(kinds)}"
        return f"not decided: {found}; it takes {FEWEST_SETS} sets of {FEWEST_KINDS} kinds"
    if summary.noise is None:
        return "not decided: noise is not known; it takes two seeds"
    bound = TOLERANCE * summary.noise
    if not summary.difference > bound:
        mean = f"its mean difference of {summary.difference:+.2f}"
        return f"A is not kept: {mean} is not above {bound:.2f}, {TOLERANCE:.0f} × its noise"
    return "A is kept: it helps on average and hurts no set by more than noise"


def table(summary: Summary) -> str:
    """The figures as Markdown, a line for each set, with the verdict below."""
    lines = [
        "| set | signal | A | B | A − B | noise | best A, B | steps A, B | epochs A, B | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *map(_line, summary.sets),
    ]
    spread = f" ± {summary.error:.2f} over sets" if isfinite(summary.error) else ""
    noise = "not known, with one seed" if summary.noise is None else f"{summary.noise:.2f}"
    mean = (
        f"Mean difference {summary.difference:+.2f}{spread}; noise by seeds {noise}." if summary.sets else "No pairs."
    )
    return "\n".join([*lines, "", mean, f"**{verdict(summary)}.**", *_remarks(summary)])


def _line(summary: SetSummary) -> str:
    """One set's line of the table."""

    def both(name: str, digits: int) -> list[str]:
        return [f"{fmean(getattr(pair, side)[name] for pair in summary.pairs):,.{digits}f}" for side in ("a", "b")]

    cells = (
        summary.name,
        summary.kind,
        *both("last", 2),
        f"{summary.difference:+.2f}",
        "?" if summary.noise is None else f"{summary.noise:.2f}",
        ", ".join(both("best", 2)),
        " / ".join(both("steps", 0)),
        ", ".join(both("epochs", 1)),
        ", ".join(str(pair.a["seed"]) for pair in summary.pairs),
    )
    return f"| {' | '.join(cells)} |"


def _remarks(summary: Summary) -> list[str]:
    """What makes the figures less comparable than they seem, and where they were measured."""
    pairs = [pair for each in summary.sets for pair in each.pairs]
    rows = [row for pair in pairs for row in (pair.a, pair.b)]
    remarks = []
    metrics = sorted({row["metric"] for row in rows})
    if len(metrics) > 1:
        remarks.append(f"The mean mixes metrics: {', '.join(metrics)}.")
    if mixed := [f"{pair.a['set']} {pair.a['seed']}" for pair in pairs if pair.a["revision"] != pair.b["revision"]]:
        remarks.append(f"A and B are of different revisions of the source: {', '.join(mixed)}.")
    if same := sorted({pair.a["set"] for pair in pairs if pair.a["config"] == pair.b["config"]}):
        remarks.append(f"A and B are the same configuration: {', '.join(same)}.")
    machines = sorted({row["machine"] for row in rows})
    if machines:
        revisions = ", ".join(sorted({row["revision"] for row in rows}))
        what = f"validation {metrics[0]}" if len(metrics) == 1 else "validation scores"
        remarks.append(f"Last weights (EMA), {what}; {'; '.join(machines)}; revision {revisions}.")
    return ["", *remarks] if remarks else []
