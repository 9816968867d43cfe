"""Answers as a table in a file: ``.csv``, ``.parquet``, or a JSON object a line."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from ..files import ending, replace_file
from ..tasks import Answer

SUFFIXES = (".csv", ".parquet", ".jsonl")
_BLOCK = 1024  # rows of a .parquet file that are written at a time
_OWN = ("file", "remarks", "error")  # columns that every table has


@dataclass(frozen=True)
class Columns:
    """The columns of a table of answers, which do not depend on its rows.

    Attributes:
        answer: of the answer: one, or one for each number of a regression.
        scores: of the scores of the classes, in the order of ``classes``.
        classes: the names of the model's classes or tags.
        numbers: whether the answers are numbers.
    """

    answer: tuple[str, ...]
    scores: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    numbers: bool = False

    @classmethod
    def of_model(cls, classes: Sequence[str], *, target: str | None, numbers: bool) -> Columns:
        """The columns for a model of these outputs, whose target has this name, or none."""
        if numbers:
            return cls(tuple(map(_free, number_names(classes, target))), numbers=True)
        return cls((_free(target or "answer"),), tuple(f"score {name}" for name in classes), tuple(classes))

    def names(self) -> list[str]:
        """All of them, in order."""
        return ["file", *self.answer, *self.scores, "remarks", "error"]

    def row(self, answer: Answer) -> dict[str, Any]:
        """The cells of an answer by column, None where there is nothing: an example that failed has no answer."""
        value = answer.answer
        cells: list[Any]
        if self.numbers:
            cells = list(value.values()) if isinstance(value, dict) else [None] * len(self.answer)
        else:
            cells = ["; ".join(value) if isinstance(value, list) else value]
        cells += [answer.scores.get(name) for name in self.classes]
        return dict(
            zip(self.names(), [answer.file, *cells, "; ".join(answer.remarks) or None, answer.error], strict=True)
        )

    def schema(self) -> pa.Schema:
        """The columns with their types."""
        numeric = {*self.scores, *(self.answer if self.numbers else ())}
        return pa.schema([(name, pa.float64() if name in numeric else pa.string()) for name in self.names()])


def number_names(classes: Sequence[str], target: str | None) -> tuple[str, ...]:
    """What the numbers of a regression are called: as the model calls them; those without a name, as the target is.

    >>> number_names(["value 1"], "price"), number_names(["value 1", "value 2"], None), number_names(["width"], "y")
    (('price',), ('answer 1', 'answer 2'), ('width',))
    """
    if not all(re.fullmatch(r"value \d+", name) for name in classes):
        return tuple(classes)
    name = target or "answer"
    return (name,) if len(classes) == 1 else tuple(f"{name} {number + 1}" for number in range(len(classes)))


def write_answers(path: Path, answers: Iterable[Answer], columns: Columns) -> None:
    """Write a row for each answer, as they come; the file is there when the last one is.

    A table has the columns ``file``; the answer, called as the target is (``answer`` where it has no name; several
    numbers have a column each); for every class or tag of the model ``score CLASS``; then ``remarks`` and ``error``,
    empty where there are none. Several tags, files or remarks have ``; `` between them. A ``.jsonl`` file has the lines
    of ``predict --json``, with the scores of all classes.

    Args:
        path: of the file; its ending says the format.
        answers: with the scores of all classes.
        columns: of the table.

    Raises:
        InputError: the file cannot be written; or as the answers do.
    """
    write = {".jsonl": _write_lines, ".csv": _write_csv, ".parquet": _write_parquet}[ending(path)]
    replace_file(path, lambda temporary: write(temporary, answers, columns))


def _free(name: str) -> str:
    """The name of a column, or another one where tables have a column of that name already."""
    return f"answer {name}" if name in _OWN else name


def _write_lines(path: Path, answers: Iterable[Answer], columns: Columns) -> None:
    with path.open("w", encoding="utf-8") as file:
        for answer in answers:
            file.write(json.dumps(answer.to_dict(), ensure_ascii=False) + "\n")


def _write_csv(path: Path, answers: Iterable[Answer], columns: Columns) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns.names())
        writer.writeheader()
        writer.writerows(map(columns.row, answers))


def _write_parquet(path: Path, answers: Iterable[Answer], columns: Columns) -> None:
    rows: Iterator[dict[str, Any]] = map(columns.row, answers)
    with pyarrow.parquet.ParquetWriter(path, columns.schema()) as writer:
        while block := list(islice(rows, _BLOCK)):
            writer.write_table(pa.Table.from_pylist(block, schema=columns.schema()))
