"""What the command line shows: the progress of a run, and results as tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..config import to_yaml
from ..data import Assumption
from ..models.perceiver import Perceiver
from ..tasks import TASKS
from ..training.demonstration import Row
from ..training.plan import Plan, is_permuted


class Display:
    """A live bar with the time left and the latest figures; a line every few seconds where there is no terminal."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 120)
        self.text, self.began, self.printed = "", time.monotonic(), 0.0

    def __enter__(self) -> Display:
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.bar.start()
        self.job: TaskID | None = None
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def stage(self, text: str) -> None:
        """Begin a new bar."""
        if self.job is not None:
            self.bar.remove_task(self.job)
        self.job = self.bar.add_task(text, total=1.0, figures="")
        self.text, self.began, self.printed = text, time.monotonic(), time.monotonic()
        if not self.console.is_terminal:
            self.console.print(text, markup=False)

    def planned(self, planned: Plan) -> None:
        """Print what was understood of the data, above the bar."""
        print_summary(self.console, planned)

    def progress(self, share: float, figures: dict[str, float]) -> None:
        """Move the bar to ``share``, and show the figures beside it."""
        shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        if self.job is not None:
            self.bar.update(self.job, completed=share, figures=shown)
        now = time.monotonic()
        if not self.console.is_terminal and now - self.printed > 10:
            self.printed = now
            left = (now - self.began) * (1 - share) / max(share, 1e-9)
            self.console.print(f"  {self.text} {share:.0%}, {left:.0f} s left  {shown}", markup=False)


def print_plan(data: Path, planned: Plan) -> None:
    """What is in the data, what would be trained on it, and the ``dataset.yaml`` that says the same."""
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    console.print(f"[bold]{escape(str(data))}[/]")
    print_summary(console, planned)
    recipe = planned.config.recipe
    limits = {"epochs": recipe.epochs, "minutes": recipe.minutes, "steps": recipe.steps}
    said = [f"{limit:,.10g} {unit}" for unit, limit in limits.items() if limit is not None]
    first = ", whichever is first" if len(said) > 1 else ""
    console.print(f"would take: at most {' or '.join(said)}{first}")
    console.print("\n[dim]# dataset.yaml as inferred; put it beside the data and change what is wrong[/]")
    console.print(to_yaml(planned.source.description, sparse=True), markup=False, end="")


def print_summary(console: Console, planned: Plan) -> None:
    """What was understood: signals, task and splits; each guess with the option that says otherwise; the model; and
    warnings."""
    source, task = planned.source, TASKS[planned.config.model.task.kind]
    kinds = ", ".join(f"{name} ({kind})" if name != kind else kind for name, kind in source.kinds.items())
    counted = f", {len(source.classes)} {task.outputs_noun}" if source.classes else ""
    console.print(f"{kinds}; {planned.config.model.task.kind}{counted}", markup=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("split", "examples", "per class"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for split, examples in source.splits.items():
        per_class = _per_class(examples.targets) if task.label_type == "class" else ""
        table.add_row(split, f"{len(examples):,}", per_class)
    console.print(table)
    _print_assumptions(console, source.assumptions)
    _print_model(console, planned)
    for warning in source.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}")


def _print_assumptions(console: Console, assumptions: Sequence[Assumption]) -> None:
    """Each guess, with the option that says otherwise."""
    if not assumptions:
        return
    table = Table(box=None, pad_edge=False)
    for heading, style in (("assumed", "bold"), ("", ""), ("say otherwise with", "dim")):
        table.add_column(heading, style=style, overflow="fold")
    for assumption in assumptions:
        table.add_row(*map(Text, (assumption.topic, assumption.text, assumption.flag)))
    console.print(table)


def _print_model(console: Console, planned: Plan) -> None:
    """The size of the model, and of each of its modalities where it has several."""
    config, train = planned.config, planned.source.splits["train"]
    model = Perceiver(config.model)
    encoder = config.model.encoder
    pictures = " of permuted pictures" if is_permuted(config.model.inputs) else ""
    console.print(
        f"model: {config.preset}, {model.parameter_count():,} parameters; {model.inputs.num_rows:,} rows × "
        f"{model.inputs.channels} channels{pictures} into {encoder.num_latents} latents × {encoder.latent_channels}"
    )
    if len(model.inputs.modalities) == 1:
        return
    for modality in model.inputs.modalities:
        absent = sum(raw is None for raw in train.raws[modality.name])
        missing = f"; {absent:,} of {len(train):,} training examples lack it" if absent else ""
        console.print(f"  {modality.name}: {modality.num_rows:,} rows × {modality.channels} channels{missing}")


def _per_class(targets: np.ndarray | None) -> str:
    """How many examples a class has: the fewest and the most."""
    if targets is None:
        return ""
    counts = np.unique(targets, return_counts=True)[1]
    return f"{counts.min():,}" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,}"


def print_result(result: Mapping[str, Any]) -> None:
    """The figures of an evaluation beside those of simple models on the same examples, and where its report is.

    Args:
        result: what ``report.json`` holds, and the ``folder``.
    """
    seen = f", {result['seen_in_training']:,} seen in training" if result.get("seen_in_training") else ""
    heading, main = f"{result['split']} ({result['samples']:,} examples{seen})", result["primary_metric"]
    metrics = {name: value for name, value in result["metrics"].items() if value is not None}
    if "majority" in result and main in metrics:
        beside = [
            f"{simple['name']} {simple['metrics'][main]:.3f}{_partly(simple, result['samples'])}"
            for simple in (*result["baselines"], result["majority"])
            if simple["metrics"][main] is not None
        ]
        print(f"{heading}: {'; '.join([f'{main} {metrics.pop(main):.3f}', *beside])}")
        heading = "also"
    print(f"{heading}: {', '.join(f'{name} {value:.4g}' for name, value in metrics.items())}")
    print(f"report: {Path(result['folder']) / 'report.html'}")


def _partly(simple: Mapping[str, Any], samples: int) -> str:
    """Says of a simple model if it was scored on a part of the evaluated examples."""
    return f" (on {simple['scored_on']:,} of them)" if simple["scored_on"] < samples else ""


def print_demo(rows: Sequence[Row]) -> None:
    """A line for each data set of the demo."""
    table = Table(box=None, pad_edge=False)
    for heading in ("data", "signal", "trained on", "tested on", "accuracy", "parameters", "seconds"):
        table.add_column(heading, justify="left" if heading in ("data", "signal") else "right")
    for row in rows:
        table.add_row(*row.cells())
    Console(highlight=False).print(table)
    print(f"open {rows[0].report}")
