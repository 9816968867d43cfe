"""Tables that the command line prints."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..inference.bench import Result
from ..inference.environment import Fact
from ..report.comparison import HEADINGS, PAGE, ranked, restore_entry


def print_presets(rows: Sequence[dict[str, Any]]) -> None:
    """The papers' models, one a line, after ``auto``."""
    table = Table(box=None, pad_edge=False)
    for heading in ("preset", "parameters", "GFLOP", "rows × channels", "about"):
        justify: Literal["left", "right"] = "right" if heading in ("parameters", "GFLOP") else "left"
        table.add_column(heading, justify=justify, no_wrap=heading != "about")
    table.add_row(
        "auto", "", "", "", "sizes, positions, augmentation and schedule chosen for the data and the time given"
    )
    for row in rows:
        shape = f"{row['rows']:,} × {row['channels']}"
        table.add_row(row["name"], f"{row['parameters']:,}", f"{row['gigaflop']:.1f}", shape, row["about"])
    width = None if sys.stdout.isatty() else 160  # in a file a preset has one line or two
    Console(highlight=False, width=width).print(table)


def print_facts(facts: Sequence[Fact]) -> None:
    """What ``sensorium doctor`` found."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for style in ("", "bold", ""):
        table.add_column(style=style)
    for fact in facts:
        table.add_row(*map(Text, (fact.what, fact.state, fact.note)))  # brackets are no markup here
    Console(highlight=False).print(table)


def print_measurements(results: Sequence[Result], ratios: Sequence[float | None]) -> None:
    """A table of the results of ``bench``, and a line for each that was not measured."""
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "path"):
        table.add_column(heading, no_wrap=True)
    for heading in ("seconds", "× projected", "peak MB", "of which running"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result, ratio in zip(results, ratios, strict=True):
        measured = result.measured
        figures: tuple[str, ...] = ("not run",)
        if measured is not None:
            peak, growth = (f"{size / 1e6:,.0f}" for size in (measured.peak, measured.growth))
            figures = (f"{measured.seconds:.4g}", "" if ratio is None else f"{ratio:.2f}", peak, growth)
        table.add_row(result.job.title, result.job.contender, *figures)
    width = None if sys.stdout.isatty() else 120  # in a file, too, every figure is whole
    Console(highlight=False, width=width).print(table)
    for result in results:
        if result.measured is None:
            print(f"{result.job.title}, {result.job.contender}: not run, {result.reason}")


def print_comparison(result: Mapping[str, Any]) -> None:
    """A table of the contenders, the best first, and where the page is.

    Args:
        result: what ``comparison.json`` holds, and the ``folder``.
    """
    table = Table(box=None, pad_edge=False)
    metric, interval = result["primary_metric"], "95 % interval" if len(result["seeds"]) == 1 else "least to largest"
    for heading in ("model", metric, interval, *HEADINGS, ""):
        table.add_column(heading, justify="left" if heading in ("model", "") else "right", no_wrap=bool(heading))
    for entry in ranked([restore_entry(values) for values in result["contenders"]]):
        score = "–" if entry.score is None else f"{entry.score:.3f}"
        bounds = "" if entry.interval is None else "{:.3f} to {:.3f}".format(*entry.interval)
        table.add_row(*map(Text, (entry.title, score, bounds, *entry.cells(), entry.note)))
    print(f"{result['split']} ({result['samples']:,} examples)")
    width = None if sys.stdout.isatty() else 180  # in a file, too, every figure is whole
    Console(highlight=False, width=width).print(table)
    print(f"comparison: {Path(result['folder']) / PAGE}")
