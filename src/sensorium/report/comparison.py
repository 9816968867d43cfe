"""``comparison.json`` and ``comparison.html``: several models on the same data, in one table and one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import replace_file
from ..inference.environment import versions
from ..tasks.base import Task
from . import drawings
from .formats import format_count, format_duration, format_metric
from .summary import plain, to_json
from .templating import render

RECORD, PAGE = "comparison.json", "comparison.html"
HEADINGS = ("minutes", "epochs", "parameters", "MFLOP", "peak MB")


@dataclass(frozen=True)
class Entry:
    """A contender and what it reached.

    Attributes:
        name: of the contender; also of its run folder.
        title: in words.
        note: its size, or why it has no score.
        scores: the primary metric for each seed, in order; empty: it was not trained, or not to the end.
        interval: of one seed, the 95 % interval over the examples; of several, the least and the largest score. None:
            neither is known.
        seconds, epochs: of training, the mean over the seeds.
        parameters: of the model.
        flop: floating point operations of the forward pass of one example.
        peak: bytes that a training step takes at its highest.
        curves: for each seed (seconds, value) pairs of the primary metric on the validation split, or of the training
            loss where there is no such split.
        folders: of its runs, inside of the comparison's.
    """

    name: str
    title: str
    note: str = ""
    scores: tuple[float, ...] = ()
    interval: tuple[float, float] | None = None
    seconds: float | None = None
    epochs: float | None = None
    parameters: int | None = None
    flop: float | None = None
    peak: int | None = None
    curves: tuple[tuple[tuple[float, float], ...], ...] = ()
    folders: tuple[str, ...] = ()

    @property
    def score(self) -> float | None:
        """The mean over the seeds; None: there is none."""
        return sum(self.scores) / len(self.scores) if self.scores else None

    def cells(self) -> tuple[str, ...]:
        """What stands under :data:`HEADINGS`.

        >>> Entry("vit", "ViT-B", seconds=90.0, epochs=12.4, parameters=5_000_000, flop=3e8, peak=2 * 10**8).cells()
        ('1.5', '12.4', '5.0 M', '300.0', '200')
        """
        return (
            "" if self.seconds is None else f"{self.seconds / 60:.1f}",
            "" if self.epochs is None else f"{self.epochs:.1f}",
            "" if self.parameters is None else format_count(self.parameters),
            "" if self.flop is None else f"{self.flop / 1e6:,.1f}",
            "" if self.peak is None else f"{self.peak / 1e6:,.0f}",
        )


def restore_entry(values: Mapping[str, Any]) -> Entry:
    """An entry of ``comparison.json``."""
    curves = tuple(tuple((seconds, value) for seconds, value in curve) for curve in values["curves"])
    interval = None if values["interval"] is None else (values["interval"][0], values["interval"][1])
    return Entry(
        **{
            **values,
            "scores": tuple(values["scores"]),
            "interval": interval,
            "curves": curves,
            "folders": tuple(values["folders"]),
        }
    )


def ranked(entries: Sequence[Entry]) -> list[Entry]:
    """The best first, and those without a score last."""
    return sorted(entries, key=lambda entry: -float("inf") if entry.score is None else entry.score, reverse=True)


def score_cells(entry: Entry, task: Task) -> tuple[str, str]:
    """The score of an entry and its interval, as tables write them."""
    if entry.score is None:
        return "–", ""
    score = format_metric(entry.score, task, task.primary_metric)
    if entry.interval is None:
        return score, ""
    low, high = (format_metric(value, task, task.primary_metric) for value in entry.interval)
    return score, f"{low} to {high}"


def write_comparison(
    folder: Path,
    *,
    entries: Sequence[Entry],
    task: Task,
    facts: Mapping[str, Any],
    rules: Sequence[str],
    on_validation: bool,
) -> dict[str, Any]:
    """Write ``comparison.json`` and ``comparison.html``; returns what the first one holds.

    Args:
        entries: the contenders in the order in which they were trained.
        task: what was learned, for the names and units of scores.
        facts: what all have in common (data, split, samples, seeds, options, …), as plain values.
        rules: how the contenders were sized and trained, a sentence each.
        on_validation: whether curves are of the primary metric on the validation split, rather than of the loss.

    Raises:
        InputError: the folder cannot be written to.
    """
    rules = list(rules)
    record = plain(
        {
            **facts,
            "task": task.config.kind,
            "primary_metric": task.primary_metric,
            "contenders": list(entries),
            "rules": rules,
            "versions": versions(),
        }
    )
    replace_file(folder / RECORD, lambda path: path.write_text(to_json(record), encoding="utf-8"))
    text = _page(folder, entries, task=task, facts=facts, rules=rules, on_validation=on_validation)
    replace_file(folder / PAGE, lambda path: path.write_text(text, encoding="utf-8"))
    result: dict[str, Any] = record
    return result


def _page(
    folder: Path,
    entries: Sequence[Entry],
    *,
    task: Task,
    facts: Mapping[str, Any],
    rules: Sequence[str],
    on_validation: bool,
) -> str:
    """The page; arguments are those of :func:`write_comparison`."""
    metric = task.metric_title(task.primary_metric)
    title = f"{metric}, validation split" if on_validation else "Training loss"
    percent = on_validation and task.is_percent(task.primary_metric)
    picture = drawings.courses({entry.title: entry.curves for entry in entries}, percent=percent)
    return render(
        "comparison.html",
        name=folder.resolve().name,
        versions=versions(),
        facts=facts,
        metric=metric,
        several=len(facts["seeds"]) > 1,
        headings=HEADINGS,
        lines=[(entry, *score_cells(entry, task)) for entry in ranked(entries)],
        rules=rules,
        curves=[] if picture is None else [drawings.Picture(title, picture)],
        duration=format_duration(sum((entry.seconds or 0.0) * len(entry.scores) for entry in entries)),
    )
