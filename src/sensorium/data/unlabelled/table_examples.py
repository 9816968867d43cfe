"""The rows of a table as examples for a trained model, whether or not the table has the target's column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...errors import InputError, did_you_mean
from ...modalities.base import Modality
from ..description import InputConfig
from ..examples import Records
from ..recognition.axes import order_of
from ..recognition.columns import Cells, are_paths, bytes_of, first_values, is_bytes, is_list, is_text
from ..recognition.recognise import VALUES

_IN_WORDS = ("text", "label")  # kinds whose strings may be the signal itself


class Paths(Sequence[Any]):
    """A column of paths, relative to a folder; None where a cell is empty.

    >>> Paths(["a.png", None], Path("x"))[0].as_posix()
    'x/a.png'
    """

    def __init__(self, values: Sequence[str | None], folder: Path) -> None:
        self.values = values
        self.folder = folder

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, position: Any) -> Any:
        value = self.values[position]
        return None if value is None else self.folder / value.replace("\\", "/")


def reads_rows(table: pa.Table, modality: Modality, inputs: Mapping[str, InputConfig]) -> bool:
    """Whether the table has a column of the model's signals."""
    return any(_columns(part, inputs[part.name], table) for part in modality.modalities)


def rows_of(
    table: pa.Table,
    modality: Modality,
    inputs: Mapping[str, InputConfig],
    *,
    folder: Path | None,
    lazy: Mapping[str, Sequence[Any]] | None = None,
) -> tuple[Sequence[Any], tuple[str, ...]]:
    """An example for each row, and remarks on signals whose column is missing. Columns are found by their names; others
    are left out.

    Args:
        inputs: the column or columns of each signal.
        folder: what paths in the table are relative to; None: the files that they name are not read.
        lazy: columns of signals of which the table shows only the beginning: the value of each row, read when needed.

    Raises:
        InputError: it has no rows, or none of the columns that the model reads; or it names files that are not read.
    """
    if not reads_rows(table, modality, inputs):
        wanted = [name for part in modality.modalities for name in _wanted(part, inputs[part.name])]
        listed = ", ".join(wanted[:5]) + (", …" if len(wanted) > 5 else "")
        raise InputError(f"none of its columns is one that the model reads ({listed}); rename them")
    if not len(table):
        raise InputError("the table has no rows")
    parts: dict[str, Sequence[Any]] = {}
    notes: list[str] = []
    for part in modality.modalities:
        config = inputs[part.name]
        if known := _columns(part, config, table):
            parts[part.name] = _signals(table, part, config, known, folder, lazy or {})
        else:
            wanted = _wanted(part, config)
            cure = did_you_mean(wanted[0], table.column_names)
            notes.append(f"no column is called {wanted[0]!r}, so {part.name} was taken to be absent; {cure}")
    return (Records(parts) if modality.modalities != (modality,) else parts[modality.name]), tuple(notes)


def _wanted(part: Modality, config: InputConfig) -> list[str]:
    """The names of the columns that a modality reads."""
    if part.kind == VALUES:
        return [column.name for column in part.config.columns]
    return [str(config.column or part.name)]


def _columns(part: Modality, config: InputConfig, table: pa.Table) -> list[str]:
    """Those of them that the table has."""
    return [name for name in _wanted(part, config) if name in table.column_names]


def _signals(
    table: pa.Table,
    part: Modality,
    config: InputConfig,
    known: list[str],
    folder: Path | None,
    lazy: Mapping[str, Sequence[Any]],
) -> Sequence[Any]:
    """One signal of each row, read from the table when it is needed."""
    if part.kind == VALUES:
        extra: list[str] = []
        if len(known) < len(part.config.columns):  # one of the others may be a column that was renamed
            plain = [name for name in table.column_names if not is_bytes(table[name].type)]
            extra = [name for name in plain if name not in known and not is_list(table[name].type)]
        return Records({name: Cells(lazy.get(name, table[name])) for name in [*known, *extra]})
    column = table[known[0]]
    order = order_of(part.kind, config.axes) if config.axes else None
    if known[0] in lazy:
        return lazy[known[0]] if is_bytes(column.type) else Cells(lazy[known[0]], order)
    if is_bytes(column.type):
        return Cells(bytes_of(column))
    in_words = part.kind in _IN_WORDS and not are_paths(first_values(column))
    if in_words or not is_text(column.type):
        return Cells(column, order)
    if folder is None:
        raise InputError(f"the files that column {known[0]!r} names are not read here; give the files themselves")
    return Paths(column.to_pylist(), folder)
