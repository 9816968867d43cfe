"""Tables whose columns are paths, bytes or values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...codecs import tables as table_codec
from ...errors import InputError
from ...files import ending
from ..description import DataConfig, InputConfig, TargetConfig
from ..examples import Listing, Records
from ..recognition.axes import Reading, order_of
from ..recognition.columns import Cells, are_paths, bytes_of, first_values, is_bytes, is_text, to_numpy
from ..recognition.file_kinds import raws_of_files
from ..recognition.groups import NO_GROUP
from ..recognition.recognise import VALUES, check_kind, files_by_split
from ..recognition.roles import find_roles, split_column
from .joining import join_tables
from .recordings import find_long_format, list_recordings
from .table_folders import holds_paths

SUFFIXES = table_codec.SUFFIXES
read_table = table_codec.decode

_FEW = 1 << 24  # bytes of a column of values
# Kinds of signal that the strings of a column may be, rather than paths of files that hold them.
_HOLDS_VALUES: dict[str, Callable[[pa.ChunkedArray], bool]] = {
    "label": lambda column: True,
    "text": lambda column: not are_paths(first_values(column)),
}


def list_table(root: Path, files: Iterable[Path], description: DataConfig) -> Listing:
    """Every row of the tables, which are one table in several files (shards, or a file per split).

    Raises:
        InputError: a table that cannot be read, a column that is not there, a path that leads nowhere.
    """
    parts = files_by_split(root, (path for path in files if ending(path) in SUFFIXES), description)
    joined = join_tables(parts, description.target)
    table, first = joined.table, joined.parts[0].path
    described = replace(description, split=split_column(table, first, description.split))
    splits, split_names = joined.splits(root, described)
    found = find_long_format(table, described, len(joined.parts))
    if found is not None:
        listing = list_recordings(table, found, first, joined.files(), split_names, described)
        return replace(listing, description=replace(listing.description, splits=splits), warnings=joined.warnings)
    described, assumptions = find_roles(
        table, first.parent, first, described, split_names=split_names, absent=joined.absent
    )
    columns = described.target.column
    targets = (columns,) if isinstance(columns, str) else columns or ()
    table = joined.with_whole(*targets, described.fold, described.group)
    names = joined.names(root)
    inputs = described.inputs or {}
    groups = described.group if described.group != NO_GROUP else None
    return Listing(
        kinds={name: check_kind(str(config.kind)) for name, config in inputs.items()},
        raws={
            name: raws_of(table, first.parent, names, config, alone=len(inputs) == 1, lazy=joined.lazy)
            for name, config in inputs.items()
        },
        names=names,
        labels=_labels(table, described.target),
        classes=_class_names(table, described.target),
        split_names=split_names,
        folds=to_numpy(table[described.fold]) if described.fold else None,
        groups=to_numpy(table[groups]) if groups else None,
        description=replace(described, layout="table", splits=splits),
        warnings=joined.warnings,
        assumptions=assumptions,
    )


def raws_of(
    table: pa.Table,
    folder: Path,
    names: Sequence[str],
    config: InputConfig,
    *,
    alone: bool,
    lazy: Mapping[str, Sequence[Any]],
) -> Sequence[Any]:
    """The raws of one input, one a row.

    Args:
        folder: what paths are relative to.
        names: what to call each row.
        config: the input, with its column and kind.
        alone: whether it is the only one: then every row must have it. One of several may be absent: None.
        lazy: columns of which the table shows only the beginning: the value of each row, read when needed.

    Raises:
        InputError: a path that leads nowhere, or an empty cell where there must be none.
    """
    if config.kind == VALUES:
        columns = (config.column,) if isinstance(config.column, str) else config.column or ()
        return Records({name: Cells(lazy[name]) if name in lazy else _values(table[name]) for name in columns})
    column = table[config.column]
    order = order_of(str(config.kind), config.axes) if config.axes else None
    if isinstance(config.column, str) and config.column in lazy:
        return lazy[config.column] if is_bytes(column.type) else Cells(lazy[config.column], order)
    if column.null_count and alone:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise InputError(f"{names[row]}: column {config.column!r} is empty; fill it in or remove the row")
    if is_bytes(column.type):
        if pa.types.is_struct(column.type) and bytes_of(column).null_count == len(column):  # paths alone
            column = pc.struct_field(column, "path")
        else:
            return Cells(bytes_of(column))
    holds_values = _HOLDS_VALUES.get(str(config.kind), lambda column: False)
    if holds_values(column) or not is_text(column.type):
        return Cells(column, order)
    paths = [None if value is None else folder / value.replace("\\", "/") for value in column.to_pylist()]
    for name, path in zip(names, paths, strict=True):
        if path is not None and not path.is_file():
            raise InputError(f"{name}: {path} does not exist; paths are relative to the table's folder")
    return raws_of_files(paths, Reading(str(config.kind), config.axes, "") if config.axes else None)


def _values(column: pa.ChunkedArray) -> Sequence[Any]:
    """The cells of a column, made now where they are few: that is quicker, but each then takes several times the
    memory."""
    return column.to_pylist() if column.nbytes <= _FEW else Cells(column)


def _labels(table: pa.Table, target: TargetConfig) -> np.ndarray:
    if target.column is None:
        return np.full(len(table), None)
    if isinstance(target.column, tuple):
        return np.stack([to_numpy(table[name]) for name in target.column], axis=1)
    return to_numpy(table[target.column])


def _class_names(table: pa.Table, target: TargetConfig) -> tuple[str, ...] | None:
    """The class names that Hugging Face data sets keep in a table's metadata, or those of one column per class."""
    if isinstance(target.column, tuple):
        return target.column
    features = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    names = features.get("info", {}).get("features", {}).get(target.column, {}).get("names")
    return tuple(names) if names else None


def has_paths(table: pa.Table, folder: Path) -> bool:
    """Whether a column holds paths to files that are there."""
    return any(is_text(table[name].type) and holds_paths(table[name], folder) for name in table.column_names)
