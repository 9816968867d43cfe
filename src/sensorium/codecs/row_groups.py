"""Columns of Parquet files that are larger than what one wants to load: their row groups are read when needed."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ..errors import InputError
from .bounds import memory
from .raw import first_line
from .tables import TABLE_ERRORS, decode_parquet

SIZE = 1 << 28  # bytes of a data set's Parquet files from which their columns of signals stay where they are
_SHARE = 32  # the row groups that are kept take this part of the memory, in each process
_SHOWN = 200  # rows of such a column that are read at once, so that it shows what it holds
_LONG = 256  # bytes on average, of which texts are signals rather than names, paths and labels
_HELD = (
    *(pa.types.is_binary, pa.types.is_large_binary),
    *(pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list),
)


class RowGroups(Sequence[Any]):
    """A column as Python values, of structs with bytes in them the bytes; None where a cell is empty. The row group of
    a cell is read when it is needed, and kept as long as there is room.

    Args:
        path: of the Parquet file.
        column: its name.
    """

    def __init__(self, path: Path, column: str) -> None:
        self.path, self.column = path, column
        self.starts = _starts(path)  # the first row of each row group, and the number of all rows

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, position: Any) -> Any:
        row = range(len(self))[position]
        group = bisect_right(self.starts, row) - 1
        return _CACHE.get(self.path, self.column, group)[row - self.starts[group]].as_py()

    def whole(self) -> pa.ChunkedArray:
        """All of the column at once.

        Raises:
            InputError: it cannot be read.
        """
        with _named_in_errors(self.path):
            return _file(os.getpid(), self.path).read([self.column])[self.column]


def decode_lazily(path: Path, held: Collection[str] | None = None) -> tuple[pa.Table, dict[str, RowGroups]]:
    """A Parquet file as a table whose columns of signals (files, lists, long texts) show their first rows only, and are
    nulls after these; and these columns, row group by row group.

    Args:
        held: which columns they are, where another file of the same table has shown them: of this one, no row is shown.

    Raises:
        InputError: the file cannot be read.
    """
    with _named_in_errors(path):
        file = _file(os.getpid(), path)
        schema = file.schema_arrow
        beginnings = {} if held is not None else _beginnings(file)
        names = [name for name in schema.names if name in beginnings or name in (held or ())]
        columns = decode_parquet(path, [name for name in schema.names if name not in names])
        for name in names:
            field = schema.field(name)
            shown = [beginnings[name]] if name in beginnings else []
            column = [*shown, pa.nulls(file.metadata.num_rows - sum(map(len, shown)), field.type)]
            columns = columns.append_column(field, pa.chunked_array(column))
    return columns.select(schema.names), {name: RowGroups(path, name) for name in names}


def _beginnings(file: Any) -> dict[str, pa.Array]:
    """The first rows of the columns that hold signals."""
    wide = [field.name for field in file.schema_arrow if not pa.types.is_primitive(field.type)]
    first = next(file.iter_batches(_SHOWN, columns=wide), None) if wide else None
    if first is None:
        return {}
    columns = {name: first[name] for name in wide if _holds_signals(first[name])}
    return {name: pa.concat_arrays([column]) for name, column in columns.items()}  # without the rest of its row group


def _holds_signals(cells: pa.Array) -> bool:
    """Whether cells are files (bytes, or structs of bytes and path), lists or long texts."""
    if pa.types.is_struct(cells.type):
        return cells.type.get_field_index("bytes") >= 0
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
        return (pc.mean(pc.binary_length(cells)).as_py() or 0) >= _LONG
    return any(is_held(cells.type) for is_held in _HELD)


def _starts(path: Path) -> list[int]:
    """The first row of each row group, and the number of all rows."""
    metadata = _file(os.getpid(), path).metadata
    counts = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    return [0, *np.cumsum(counts, dtype=int).tolist()]


@contextmanager
def _named_in_errors(path: Path) -> Iterator[None]:
    """Say which file it is that cannot be read."""
    try:
        yield
    except TABLE_ERRORS as error:
        raise InputError(f"{path}: the table cannot be read ({first_line(error)})") from None


class _Cache:
    """Row groups of this process, the ones that were used last."""

    def __init__(self) -> None:
        self._groups: OrderedDict[tuple[int, Path, str, int], Any] = OrderedDict()
        self._size, self._lock = 0, Lock()

    def get(self, path: Path, column: str, group: int) -> Any:
        key = (os.getpid(), path, column, group)
        with self._lock:
            if key in self._groups:
                self._groups.move_to_end(key)
                return self._groups[key]
            try:
                found = _file(os.getpid(), path).read_row_group(group, [column])[column].combine_chunks()
                found.validate(full=True)
            except TABLE_ERRORS as error:
                raise InputError(f"row group {group} cannot be read ({first_line(error)})") from None
            if pa.types.is_struct(found.type):
                found = pc.struct_field(found, "bytes")
            self._groups[key] = found
            self._size += found.nbytes
            while self._size > memory() // _SHARE and len(self._groups) > 1:
                self._size -= self._groups.popitem(last=False)[1].nbytes
            return found


_CACHE = _Cache()
if hasattr(os, "register_at_fork"):  # a lock that another thread held would stay closed
    os.register_at_fork(after_in_child=lambda: _CACHE.__init__())  # type: ignore[misc]


@lru_cache(maxsize=64)
def _file(process: int, path: Path) -> Any:
    """The file, open in this process."""
    return pa.parquet.ParquetFile(pa.memory_map(str(path)))
