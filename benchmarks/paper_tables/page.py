"""docs/papers.md, written from the rows, the counts and the runs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from .data_sets import DATA_SETS
from .rows import Counts, Row, Table

SHOWN = ("psnr", "label_accuracy", "whole_epe", "whole_outliers")  # endings of metrics besides the primary one

HEAD = """# The papers' tables, row by row

Every table of results of [Perceiver](https://arxiv.org/abs/2103.03206) (2021) and
[Perceiver IO](https://arxiv.org/abs/2107.14795), and the figures that show more than a drawing of the model. Each row
has the paper's figures, what is counted of the model here beside what the paper states, what a run reached here, and
the command.

```sh
python benchmarks/papers.py                         # counts, and writes this page
python benchmarks/papers.py perceiver-modelnet40 --minutes 60 --data modelnet40=DIR
python benchmarks/papers.py perceiver-io-flow --published --data sintel=DIR --data kitti=DIR
```

The second line runs a row, by the name at the end of its command, and writes its figure here; the third one scores the
published weights instead of training. A row may be run on other data of its kind than the paper's: the folder's name
stands beside the figure. `--set` changes the recipe, such as `--set recipe.batch_size=32` where a batch of the paper
does not fit, and stands there, too. A run of some minutes says whether a row trains, and which of two is ahead after
them; not what they reach: the paper's runs took days of up to 64 TPUs.

*Parameters* and *GFLOP* are ours, and the paper's in brackets. Both count multiplications and additions apart, of one
example's forward pass with keys and values projected. Rows that others ran are *cited*. Where the papers contradict
themselves, the released code and weights decided, or the counts; the presets' files in `src/sensorium/models/presets`
say what is not stated. [Results](results.md) has what `auto` reaches;
[published.py](../benchmarks/published.py) compares imported weights with `transformers`, number by number.
"""


def write_page(tables: Sequence[Table], counts: Mapping[str, Counts], runs: Sequence[Mapping[str, Any]]) -> str:
    """The text of the page.

    Args:
        counts: by ``Row.model``.
        runs: as papers.json has them.
    """
    parts, shown = [HEAD, _data()], set[str]()
    for paper in dict.fromkeys(table.paper for table in tables):
        parts.append(f"## {paper}\n")
        for table in (table for table in tables if table.paper == paper):
            parts.append(_table(table, counts, runs) + _published(table, shown))
    return "\n".join(parts)


def _data() -> str:
    """How data sets lie on disk."""
    lines = [[f"`{name}`", data.title, data.layout] for name, data in DATA_SETS.items()]
    head = "## The data\n\nThe commands below are typed beside these folders; the names are free.\n\n"
    return head + _markdown(["data", "what", "on disk"], lines)


def _table(table: Table, counts: Mapping[str, Counts], runs: Sequence[Mapping[str, Any]]) -> str:
    counted = any(row.model or row.parameters or row.flop for row in table.rows)
    costs = ["rows × channels"] if table.sizes else ["parameters", "GFLOP"] if counted else []
    heads = ["row", *table.columns, *costs, "here", "command"]
    lines = []
    for row in table.rows:
        cells = [row.title, *row.figures, *[""] * (len(table.columns) - len(row.figures))]
        found = counts.get(row.model)
        if table.sizes:
            cells.append(f"{found.rows:,} × {found.channels}" if found else "")
        elif counted:
            cells.append(_beside(f"{found.parameters:,}" if found else "", row.parameters))
            cells.append(_beside(f"{found.gigaflop:,.1f}" if found else "", row.flop))
        lines.append([*cells, _here(row, runs), "<br>".join(f"`{shlex.join(words)}`" for words in row.commands())])
    note = f"{table.note}\n\n" if table.note else ""
    return f"### {table.number}: {table.title}\n\n{note}{_markdown(heads, lines)}"


def _beside(ours: str, papers: str) -> str:
    """Ours, and the paper's in brackets."""
    return " ".join([ours] * bool(ours) + [f"({papers})"] * bool(papers))


def _here(row: Row, runs: Sequence[Mapping[str, Any]]) -> str:
    """What was reached here, or why nothing was."""
    found = [_reached(run) for run in runs if run["row"] == row.name]
    needs = DATA_SETS[row.data].needs if row.data else f"the run `{row.of}`"
    missing = [f"not run: needs {needs}"] if row.name and not found else []
    return "<br>".join([*found, *missing, *[row.note] * bool(row.note)])


def _reached(run: Mapping[str, Any]) -> str:
    """A run in a few words.

    >>> _reached({"data": "digits", "metric": "accuracy", "metrics": {"accuracy": 0.5}, "samples": 10, "minutes": 1,
    ...           "steps": 7, "machine": "a processor", "settings": ["recipe.batch_size=8"], "evaluations": {},
    ...           "published": False})
    '**accuracy 0.500** on `digits`, 10 examples; 1 min, 7 steps, a processor; `--set recipe.batch_size=8`'
    """
    parts = []
    if run["metrics"]:
        values = {run["metric"]: run["metrics"][run["metric"]], **_shown(run["metrics"])}
        parts.append(f"**{_values(values)}** on `{run['data']}`, {run['samples']:,} examples")
    for name, metrics in run["evaluations"].items():
        parts.append(f"`{name}`: **{_values(_shown(metrics) or metrics)}**")
    trained = "published weights" if run["published"] else f"{run['minutes']:g} min, {run['steps']:,} steps"
    parts.append(f"{trained}, {run['machine']}")
    parts += [f"`--set {setting}`" for setting in run["settings"]]
    return "; ".join(parts)


def _shown(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.endswith(SHOWN)}


def _values(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())


def _published(table: Table, shown: set[str]) -> str:
    """The commands that score published weights, below the first table that has them; ``shown`` takes them in."""
    rows = [row for row in table.rows if row.published and row.published not in shown]
    shown.update(row.published for row in rows)
    lines = [" && ".join(shlex.join(words) for words in row.published_commands()) for row in rows]
    return "".join(f"\nWith the published weights: `{line}`\n" for line in lines)


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
