"""What a column of a table holds, judged from its name, its type and its first values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...codecs.series import is_time
from ...errors import InputError
from ...files import ending
from ..description import InputConfig, kind_of_axes
from .axes import AXES, Reading, read_array
from .file_kinds import read_files
from .recognise import SERIES, TEXT, VALUES, kind_of_bytes, kind_of_suffix

_SAMPLED = 200  # values that the kind of a column is judged by
_MEASURED_LISTS = 32  # nested lists that the kind of a column is judged by
_LONG_TEXT = 30  # letters on average: a sentence rather than a name
_PROSE_LENGTH = 60  # letters on average from which a text is no name, whatever it is called
_PROSE = re.compile(
    "(.*[^a-z])?(text|sentence|review|comment|body|content|message|document|question|abstract|title|description|tweet|"
    "post|utterance|transcript|lyrics|caption|headline|summary|prompt|phrase|note)s?([^a-z].*)?"
)


class Cells(Sequence[Any]):
    """The cells of a column as Python values, each made when it is needed. Lists of numbers become arrays.

    Args:
        column: of a table; or its values, which are read when they are needed.
        order: the permutation of the axes of these arrays; None: as they are.
    """

    def __init__(self, column: pa.ChunkedArray | Sequence[Any], order: tuple[int, ...] | None = None) -> None:
        self.column, self.order = column, order

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, position: Any) -> Any:
        value = self.column[position]
        value = value.as_py() if isinstance(value, pa.Scalar) else value
        if not isinstance(value, list):
            return value
        try:
            array = np.asarray(value, dtype=np.float32)
            return array if self.order is None else array.transpose(self.order)
        except (TypeError, ValueError):
            axes = "numbers" if self.order is None else f"numbers with {len(self.order)} axes"
            raise InputError(f"the lists in this row are not an array of {axes}; correct or remove the row") from None


def first_values(column: pa.ChunkedArray) -> list[Any]:
    """The first values of a column that are not missing; its kind is judged by them."""
    found: list[Any] = []
    for start in range(0, len(column), 16 * _SAMPLED):  # piece by piece: the cells may be files
        found += column[start : start + 16 * _SAMPLED].drop_null()[: _SAMPLED - len(found)].to_pylist()
        if len(found) >= _SAMPLED:
            break
    return found


def is_text(type_: pa.DataType) -> bool:
    """Whether cells are strings."""
    return pa.types.is_string(type_) or pa.types.is_large_string(type_)


def is_bytes(type_: pa.DataType) -> bool:
    """Whether cells are files: bytes, or the structs of bytes and path that Hugging Face data sets use."""
    if pa.types.is_struct(type_):
        return type_.get_field_index("bytes") >= 0
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_)


def is_list(type_: pa.DataType) -> bool:
    """Whether cells are lists."""
    return pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_)


def is_number(type_: pa.DataType) -> bool:
    """Whether cells are numbers or booleans."""
    return pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_)


def to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """One value per row: numbers where all are present, otherwise objects with None where missing."""
    if is_number(column.type) and not column.null_count:
        return column.to_numpy()
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_pylist()
    return values


def bytes_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The bytes themselves, out of the structs around them."""
    return pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column


def are_paths(values: list[Any]) -> bool:
    """Whether every string ends like a file of a known kind.

    >>> are_paths(["a cat.", "a dog."])
    False
    """
    return bool(values) and all(" " not in (end := ending(v)) and kind_of_suffix(end) is not None for v in values)


def kind_of_column(name: str, column: pa.ChunkedArray, folder: Path) -> str | None:
    """The kind of signal in a column (``table`` for a plain number or category), or None: it is no signal.

    Columns that only name or count the rows are no signal, nor are times, dates and paths to files that are not there.
    """
    values = first_values(column)
    if not values:
        return None
    if is_bytes(column.type):
        return _kind_of_files(name, column, values)
    reading = reading_of_column(name, column, folder, InputConfig())
    if reading is not None or is_list(column.type):
        return None if reading is None else reading.kind
    if is_number(column.type):
        return None if counts_rows(name, column) or _is_clock(name, column) else VALUES
    if not is_text(column.type):
        return None
    if are_paths(values):
        exist = any((folder / value).is_file() for value in values)
        return kind_of_suffix(ending(values[0])) if exist else None
    if name.casefold() == "text" or _mean_length(values) >= _LONG_TEXT:
        return TEXT
    return None if pc.count_distinct(column).as_py() > len(column) / 2 else VALUES


def _mean_length(values: list[str]) -> float:
    return sum(map(len, values)) / len(values)


def is_prose(name: str, column: pa.ChunkedArray) -> bool:
    """Whether a column of text holds what people read, rather than names: it is called so, or its texts are long.

    >>> is_prose("name", pa.chunked_array([["Mr. Owen Harris of Southampton, 1st"]]))
    False
    """
    return _PROSE.fullmatch(name.casefold()) is not None or _mean_length(first_values(column)) >= _PROSE_LENGTH


def reading_of_column(name: str, column: pa.ChunkedArray, folder: Path, config: InputConfig) -> Reading | None:
    """What arrays in a column are taken for: nested lists of numbers, by the first ones that are of one shape, or paths
    of files whose ending does not say what they hold. None: the column holds something else.

    Args:
        folder: what paths are relative to.
        config: what the description says: its kind and axes are not guessed.
    """
    values = first_values(column)
    if not values or (config.kind is not None and config.kind not in AXES):
        return None
    if is_text(column.type) and are_paths(values):
        return read_files([path for value in values if (path := folder / value).is_file()], config, name)
    if not is_list(column.type):
        return None
    if config.axes is not None:
        return Reading(config.kind or kind_of_axes(config.axes) or SERIES, config.axes, "as you say", sure=True)
    arrays = [np.asarray(value) for value in values[:_MEASURED_LISTS]]
    alike = np.stack([array for array in arrays if array.shape == arrays[0].shape])
    reading = read_array(name, alike, kind=config.kind)
    if reading is not None and reading.kind == VALUES:
        return Reading(SERIES, ("time",), reading.reason, sure=reading.sure)
    return reading


def _kind_of_files(name: str, column: pa.ChunkedArray, values: list[Any]) -> str | None:
    if pa.types.is_struct(column.type):
        if kind := kind_of_suffix(ending(values[0].get("path") or "")):
            return kind
        values = first_values(bytes_of(column))
    kind = kind_of_bytes(values[0][:64]) if values else None
    if kind is None:
        raise InputError(
            f"column {name!r}: its bytes are not a file this library knows; "
            f"say what they are in dataset.yaml, as in `inputs: {{x: {{kind: image, column: {name}}}}}`"
        )
    return kind


def counts_rows(name: str, column: pa.ChunkedArray) -> bool:
    """Whether numbers only identify rows: 0, 1, 2, …, or mostly different and called an id."""
    if not pa.types.is_integer(column.type) or column.null_count or len(column) < 3:
        return False
    called_id = name.casefold() in ("", "index", "unnamed: 0") or name.casefold().endswith("id")
    return counts_up(column) or (called_id and pc.count_distinct(column).as_py() > len(column) / 2)


def _is_clock(name: str, column: pa.ChunkedArray) -> bool:
    """Whether numbers are the time at which each row was recorded: they are called so, and never fall."""
    return is_time(name, column) and bool((np.diff(column.to_numpy()) >= 0).all())


def counts_up(column: pa.ChunkedArray) -> bool:
    """Whether whole numbers go up by one from row to row."""
    if not pa.types.is_integer(column.type) or column.null_count or len(column) < 3:
        return False
    return bool((np.diff(column.to_numpy()) == 1).all())
