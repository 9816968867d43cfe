"""Anything that Python holds as examples for a trained model: paths, arrays, tensors, tables, pictures, texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from ...codecs.pictures import is_picture
from ...codecs.tables import plain
from ...errors import InputError
from ...modalities.base import Modality
from ..description import DataConfig, InputConfig
from ..examples import Examples, Selection
from ..layouts.windows import hop_of, pieces_of
from ..recognition.recognise import SERIES, TEXT, VALUES
from .array_examples import examples_of, together
from .single_files import Unlabelled, Unreadable, inputs_of, open_files
from .table_examples import rows_of

_PAIR = "pair"


def open_values(anything: Any, modality: Modality, *, description: DataConfig | None = None) -> Unlabelled:
    """The examples in anything, in order. Those that are no files are called ``example 1``, ``example 2``, …

    Args:
        anything: what :func:`sensorium.predict` takes.
        modality: what the model reads.
        description: of the data the model was trained on: where each modality is.

    Something that the model cannot read becomes one example that is :class:`Unreadable`.

    Raises:
        InputError: there is no such file, or nothing that the model reads below a folder, or nothing at all.
    """
    opener = _Opener(modality, description or DataConfig())
    parts = opener.open(anything)
    raws = Selection([part.raws for part in parts])
    if not len(raws):
        raise InputError("there is nothing to answer; give at least one example")
    names: list[str] = []
    for part in parts:
        first = len(names) + 1
        names += part.names or [f"{part.called} {number}" for number in range(first, first + len(part.raws))]
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    windows, called = in_windows(raws, names, modality, description)
    return Unlabelled(Examples({modality.name: windows}, None, called), tuple(notes))


def in_windows(
    raws: Sequence[Any], names: Sequence[str], modality: Modality, description: DataConfig | None
) -> tuple[Sequence[Any], Sequence[str]]:
    """Examples and their names; recordings are cut into windows, where a model was trained on such. What cannot be read
    stays, and is named when it is decoded."""
    if modality.kind != SERIES or description is None or not description.window:
        return raws, names
    window, hop = description.window, hop_of(description)
    pieces: list[Any] = []
    called: list[str] = []
    for raw, name in zip(raws, names, strict=True):
        try:
            found: dict[str, Any] = dict(pieces_of(raw, name, window, hop))
        except (InputError, OSError):
            found = {name: raw}
        pieces += found.values()
        called += found
    return Selection([pieces]), called


class _Part:
    """Some examples: their raws, and the names that they have already; empty: they are numbered."""

    def __init__(
        self,
        raws: Sequence[Any],
        names: Sequence[str] = (),
        *,
        called: str = "example",
        notes: Iterable[str] = (),
    ) -> None:
        self.raws, self.names, self.called, self.notes = raws, names, called, notes


class _Opener:
    """Finds the examples in values for one model."""

    def __init__(self, modality: Modality, description: DataConfig) -> None:
        self.modality = modality
        self.description = description
        self.inputs: dict[str, InputConfig] = inputs_of(modality, description)
        self.several = modality.modalities != (modality,)

    def open(self, value: Any) -> list[_Part]:
        """The examples in a value."""
        if isinstance(value, list) or (isinstance(value, tuple) and not self._is_pair(value)):
            return self._sequence(value)
        if self._is_path(value):
            return [self._files([value])]
        try:
            return self._one_value(value)
        except InputError as error:
            return [_Part([Unreadable(str(error))])]

    def _one_value(self, value: Any) -> list[_Part]:
        """The examples in a value that is neither a list nor a path."""
        if isinstance(value, Tensor):
            value = (value.float() if value.dtype.is_floating_point else value).detach().cpu().numpy()
        if isinstance(value, str | bytes) or is_picture(value) or isinstance(value, tuple):
            return [_Part([value])]
        if (table := as_table(value)) is not None:
            return [self._table(table)]
        if not isinstance(value, Mapping) and hasattr(value, "to_dict"):  # a row of a pandas or polars table
            value = value.to_dict()
        if isinstance(value, Mapping):
            return self._mapping(value)
        if hasattr(value, "__array__"):
            return [self._array(np.asarray(value))]
        raise InputError(
            f"a {type(value).__name__} cannot be read; give paths, arrays, tensors, tables, pictures, texts, or lists "
            "of these"
        )

    def _is_path(self, value: Any) -> bool:
        """Whether a value is the path of a file: a text that is no path is read by models of text."""
        if isinstance(value, Path):
            return True
        if not isinstance(value, str):
            return False
        if not any(part.kind == TEXT for part in self.modality.modalities):
            return True
        try:
            return bool(value) and Path(value).exists()
        except (OSError, ValueError):  # too long for a path, or of no letters of paths
            return False

    def _is_pair(self, value: tuple[Any, ...]) -> bool:
        """Whether a tuple is one example: two frames, or an array and its rate or its times."""
        if len(value) != 2:
            return False
        if self.modality.kind == _PAIR:
            return True
        with_times = self.modality.kind == SERIES and self.modality.config.span is not None
        return hasattr(value[0], "__array__") and (isinstance(value[1], Number) or with_times)

    def _files(self, paths: Sequence[str | Path]) -> _Part:
        found = open_files([Path(path) for path in paths], self.modality, description=self.description)
        return _Part(found.examples.raws[self.modality.name], found.examples.names, notes=found.notes)

    def _sequence(self, values: Sequence[Any]) -> list[_Part]:
        """The examples in a list: one where its items are numbers or the cells of a line, else those of each item."""
        kind = self.modality.kind
        if not self.several and values:
            if kind == VALUES and self._are_cells(values):
                return [_Part([values])]
            if all(isinstance(value, Number) for value in values):
                return self.open(np.asarray(values))
            nested = kind != VALUES and all(isinstance(value, list) for value in values)
            if nested and (array := _even(values)) is not None:
                return self.open(array)
        parts: list[_Part] = []
        for are_paths, group in groupby(values, self._is_path):
            if are_paths:  # together, because files of one name may be one example
                parts.append(self._files(list(group)))
                continue
            for value in group:
                parts += self.open(value)
        return parts

    def _are_cells(self, values: Sequence[Any]) -> bool:
        """Whether the items of a list are the cells of one row. Nothing but texts are paths, unless they are as many as
        there are columns, and are not there."""
        if not all(isinstance(value, Number | str) or value is None for value in values):
            return False
        in_words = all(isinstance(value, str) for value in values)
        as_many = len(values) == len(self.modality.config.columns)
        return not in_words or (as_many and not all(map(self._exists, values)))

    @staticmethod
    def _exists(value: Any) -> bool:
        return isinstance(value, str) and len(value) < 4096 and Path(value).exists()

    def _table(self, table: pa.Table) -> _Part:
        """Rows; of a model of series that was not trained on tables of them, the steps of one series."""
        if self.modality.kind == SERIES and self.description.layout != "table":
            names = getattr(self.modality.config, "channel_names", ()) or table.column_names
            missing = [name for name in names if name not in table.column_names]
            if missing:
                raise InputError(f"no column is called {missing[0]!r}; the model reads {', '.join(names)}")
            return self._array(np.stack([table[name].to_numpy() for name in names], axis=1))
        if self.modality.kind == TEXT and len(table.column_names) == 1:
            table = table.rename_columns([str(self.inputs[self.modality.name].column or self.modality.name)])
        raws, notes = rows_of(table, self.modality, self.inputs, folder=Path())
        return _Part(raws, called="row", notes=notes)

    def _mapping(self, values: Mapping[Any, Any]) -> list[_Part]:
        """Signals by the names of the modalities, or the cells or columns of a table by their names."""
        names = [part.name for part in self.modality.modalities]
        values = {str(name): value for name, value in values.items()}
        if self.modality.kind == VALUES and names[0] not in values:
            columns = [value for value in values.values() if not isinstance(value, str) and np.ndim(value) == 1]
            if len(columns) == len(values):
                return [self._table(pa.table({name: list(value) for name, value in values.items()}))]
            return [_Part([values])]
        if unknown := [name for name in values if name not in names]:
            raise InputError(f"the model reads no signal {unknown[0]!r}; name the signals {', '.join(names)}")
        if not self.several:
            return self.open(next(iter(values.values())))
        signals = {name: _numpy(value) for name, value in values.items()}
        if all(isinstance(value, np.ndarray) for value in signals.values()):
            axes = {name: config.axes for name, config in self.inputs.items()}
            return [_Part(together(signals, self.modality, axes))]
        line = {name: Path(value) if self._is_file(name, value) else value for name, value in signals.items()}
        return [_Part([line])]

    def _is_file(self, name: str, value: Any) -> bool:
        """Whether one of several signals is the path of its file."""
        kind = next(part.kind for part in self.modality.modalities if part.name == name)
        return isinstance(value, str) and (kind not in (TEXT, "label") or self._exists(value))

    def _array(self, array: np.ndarray) -> _Part:
        kind = self.modality.kind
        if kind == TEXT and array.dtype.kind in "UO":
            return _Part(array.reshape(-1).tolist())
        if self.several:
            names = ", ".join(part.name for part in self.modality.modalities)
            raise InputError(f"the model reads several signals ({names}); give a dict with an array for each")
        return _Part(examples_of(array, self.modality, axes=self.inputs[self.modality.name].axes))


def as_table(value: Any) -> pa.Table | None:
    """A table of pandas, polars or pyarrow, or of a library that hands out Arrow data or columns; None: it is none."""
    if isinstance(value, pa.Table):
        table = value
    elif hasattr(value, "__arrow_c_stream__") and hasattr(value, "columns"):
        table = pa.table(value)
    elif hasattr(value, "columns") and hasattr(value, "to_dict") and hasattr(value, "__getitem__"):
        table = pa.table({str(name): pa.array(list(value[name])) for name in value.columns})
    else:
        return None
    return plain(table)


def _numpy(value: Any) -> Any:
    """A tensor or another array as a numpy array; anything else as it is."""
    if isinstance(value, Tensor):
        return (value.float() if value.dtype.is_floating_point else value).detach().cpu().numpy()
    if is_picture(value) or isinstance(value, str | bytes | Path | Mapping) or not hasattr(value, "__array__"):
        return value
    return np.asarray(value)


def _even(values: Sequence[Any]) -> np.ndarray | None:
    """Nested lists of numbers as an array; None: their lengths differ, or they hold something else."""
    try:
        array = np.asarray(values)
    except ValueError:
        return None
    return array if array.dtype.kind in "biuf" else None
