"""What the command line shows of predictions."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..inference.opened import open_run
from ..inference.predict import predict_opened
from ..tasks import Answer
from .display import Display

MOST_NAMED = 5  # examples that were set aside


class PredictionDisplay:
    """The progress of a prediction, and below it what people should know: on standard error."""

    def __init__(self) -> None:
        self.display = Display()
        self.set_aside: list[str] = []
        self.num_remarks = 0

    def __enter__(self) -> PredictionDisplay:
        self.display.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self.display.__exit__(*details)
        self.note(f"set aside: {line}" for line in self.set_aside[:MOST_NAMED])
        if len(self.set_aside) > MOST_NAMED:
            self.note([f"set aside: {len(self.set_aside) - MOST_NAMED:,} more that cannot be read"])
        if self.num_remarks:
            self.note([f"{self.num_remarks:,} answers have remarks; --strict makes them errors"])

    def note(self, lines: Iterable[str]) -> None:
        """Print some lines."""
        for line in lines:
            self.display.console.print(line, markup=False, soft_wrap=True)

    def progress(self, done: int, total: int) -> None:
        """``done`` of ``total`` examples are answered; a bar is shown where that takes more than one batch."""
        if self.display.job is None and done < total:
            self.display.stage("predicting")
        if self.display.job is not None:
            self.display.progress(done / total, {})

    def count(self, answer: Answer) -> None:
        """Remember what is odd about an answer."""
        if answer.error is not None:
            self.set_aside.append(f"{answer.file}: {answer.error}")
        self.num_remarks += bool(answer.remarks)


def show_predictions(
    run: Path, files: Sequence[Path], *, out: Path | None, strict: bool, json: bool, top: int, device: str
) -> None:
    """Predict and print: a table, JSON lines as they come, or where the answers were written.

    Args:
        run, files, out, strict, top, device: as for :func:`sensorium.predict`.
        json: whether to print JSON lines.
    """
    with PredictionDisplay() as display:
        model, examples = open_run(run, files, device=device)
        display.note(f"note: {note}" for note in examples.notes)
        rows = []
        found = predict_opened(run, model, examples, top=top, out=out, strict=strict, progress=display.progress)
        for answer in found:
            display.count(answer)
            rows += [] if json else [answer.to_dict()]
            if json:
                print(json_module.dumps(answer.to_dict(), ensure_ascii=False))
    if out is not None and out.is_file():
        print(f"{out}: {len(examples):,} answers", file=sys.stderr if json else sys.stdout)
    elif not json:
        print_answers(rows)


def print_answers(rows: Sequence[Mapping[str, Any]]) -> None:
    """A table of answers, the best first, below the name of the target. Where the model has several modalities, it
    shows the share of the attention of the last cross-attend that each of them got.

    Args:
        rows: an answer for each example, as ``sensorium predict --json`` prints it.
    """
    target = next((row["target"] for row in rows if "target" in row), "answer")
    numbers = next((list(row["answer"]) for row in rows if isinstance(row.get("answer"), dict)), [])
    columns = max(len(_answer_cells(row)) for row in rows)
    modalities = sorted({name for row in rows for name in row.get("shares", [{}])[-1]})
    has_remarks = any("remarks" in row or "error" in row for row in rows)
    table = Table(box=None, pad_edge=False)
    table.add_column("file")
    for column in range(columns):
        heading = numbers[column] if column < len(numbers) else target if column == 0 else ""
        table.add_column(Text(heading), justify="right" if numbers else "left")
    for name in modalities:
        table.add_column(Text(f"{name} attention"), justify="right")
    if has_remarks:
        table.add_column("remarks")
    for row in rows:
        cells = _answer_cells(row)
        cells += [""] * (columns - len(cells))
        shares = row.get("shares", [{}])[-1]
        cells += [f"{shares[name]:.1%}" if name in shares else "–" for name in modalities]
        remarks = row.get("remarks", [row["error"]] if "error" in row else [])
        cells += ["; ".join(remarks)] if has_remarks else []
        table.add_row(*map(Text, (row["file"], *cells)))  # as Text, because brackets would be markup
    width = None if sys.stdout.isatty() else 1000  # in a file an example has one line
    Console(highlight=False, width=width).print(table)


def _answer_cells(row: Mapping[str, Any]) -> list[str]:
    """An answer in cells: classes with their scores, or numbers; a text and the bytes that its holes might be; files
    that were written and the classes of what is in them."""
    if "error" in row:
        return ["–"]
    if "holes" in row:
        holes = ["  ".join(f"{byte} {score:.3f}" for byte, score in hole.items()) for hole in row["holes"]]
        return [row["answer"], *holes]
    if isinstance(row["answer"], dict):
        return [f"{number:.6g}" for number in row["answer"].values()]
    scores = row["scores"]
    cells = [f"{name} {score:.3f}" for name, score in (scores | row.get("label", {})).items()]
    written = isinstance(row["answer"], list) and (not scores or "mean motion" in scores)
    return [", ".join(row["answer"]), *cells] if written and row["answer"] else cells
