"""Run folders as entries of a comparison's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config import read_json
from ..report.comparison import Entry
from .run_folder import REPORT, read_history

CLASSICAL, MAJORITY = "classical", "majority"  # the names of the entries of simple models


def with_run(entry: Entry, run: Path, *, curve: str) -> Entry:
    """An entry with another run, of the next seed: scores and curves are added, the other figures become means.

    Args:
        run: a finished run folder.
        curve: the column of the run's history that is drawn.
    """
    report, history = _report(run), read_history(run)
    count = len(entry.scores)
    scores = (*entry.scores, report["metrics"][report["primary_metric"]])
    epochs = history[-1]["epoch"] if history else 0.0
    return replace(
        entry,
        scores=scores,
        interval=(min(scores), max(scores)) if count else _interval(report),
        seconds=((entry.seconds or 0.0) * count + report["train_seconds"]) / (count + 1),
        epochs=((entry.epochs or 0.0) * count + epochs) / (count + 1),
        parameters=report["parameters"],
        curves=(*entry.curves, tuple((row["seconds"], row[curve]) for row in history if curve in row)),
        folders=(*entry.folders, run.name),
    )


def simple_entries(run: Path) -> list[Entry]:
    """The classical models and the most frequent class that stand beside a finished run.

    Args:
        run: its folder.
    """
    report = _report(run)
    simple: Sequence[tuple[str, Mapping[str, Any]]] = [(CLASSICAL, model) for model in report.get("baselines", ())]
    if "majority" in report:
        simple = [*simple, (MAJORITY, report["majority"])]
    return [
        Entry(name, model["name"], scores=(score,), seconds=model["seconds"] or None)
        for name, model in simple
        if (score := model["metrics"].get(report["primary_metric"])) is not None
    ]


def _report(run: Path) -> dict[str, Any]:
    return read_json(run / REPORT)


def _interval(report: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of a report's primary metric, where it has one."""
    if "accuracy_interval" not in report or report["primary_metric"] != "accuracy":
        return None
    low, high = report["accuracy_interval"]
    return low, high
