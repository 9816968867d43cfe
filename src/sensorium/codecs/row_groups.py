"""Columns of Parquet files that are larger than what one wants to load: their row groups are read when needed."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ..errors import InputError
from .bounds import memory

SIZE = 1 << 28  # bytes of a data set's Parquet files from which their columns of files stay where they are
_SHARE = 32  # the row groups that are kept take this part of the memory, in each process
_SHOWN = 200  # rows of such a column that are read at once, so that it shows what it holds


class RowGroups(Sequence[Any]):
    """A column of bytes, or of structs with bytes in them, as bytes; None where a cell is empty. The row group of a
    cell is read when it is needed, and kept as long as there is room.

    Args:
        path: of the Parquet file.
        column: its name.
        starts: the first row of each row group, and the number of all rows.
    """

    def __init__(self, path: Path, column: str, starts: Sequence[int]) -> None:
        self.path, self.column, self.starts = path, column, list(starts)

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, position: Any) -> Any:
        row = range(len(self))[position]
        group = bisect_right(self.starts, row) - 1
        return _CACHE.get(self.path, self.column, group)[row - self.starts[group]].as_py()


def decode_lazily(path: Path) -> tuple[pa.Table, dict[str, RowGroups]]:
    """A Parquet file as a table whose columns of files show their first rows only, and are nulls after these; and these
    columns, row group by row group.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        file = _file(os.getpid(), path)
        schema = file.schema_arrow
        counts = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
        starts = np.cumsum([0, *counts]).tolist()
        held = [field.name for field in schema if _holds_files(field.type)]
        table = file.read([field.name for field in schema if field.name not in held])
        first = next(file.iter_batches(_SHOWN, columns=held), None) if held else None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: the table cannot be read ({str(error).splitlines()[0]})") from None
    columns = {}
    for field in schema:
        if field.name not in held or first is None:
            columns[field.name] = table[field.name] if field.name in table.column_names else pa.nulls(0, field.type)
            continue
        beginning = pa.concat_arrays([first[field.name]])  # without the rest of its row group
        columns[field.name] = pa.chunked_array([beginning, pa.nulls(starts[-1] - len(beginning), field.type)])
    return (
        pa.table(columns).replace_schema_metadata(schema.metadata),
        {name: RowGroups(path, name, starts) for name in held},
    )


def _holds_files(type_: pa.DataType) -> bool:
    """Whether cells are files: bytes, or structs of bytes and path."""
    if pa.types.is_struct(type_):
        return type_.get_field_index("bytes") >= 0
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_)


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
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"row group {group} cannot be read ({str(error).splitlines()[0]})") from None
            if pa.types.is_struct(found.type):
                found = pa.compute.struct_field(found, "bytes")
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
