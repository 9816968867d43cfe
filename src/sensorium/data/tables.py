"""Tables whose columns are paths, bytes or values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..codecs import tables as table_codec
from ..errors import InputError, did_you_mean
from ..files import ending
from .columns import Cells, are_paths, bytes_of, first_values, is_bytes, is_text, to_numpy
from .description import DataConfig, InputConfig, SplitName, TargetConfig, in_split_order
from .examples import Listing, Records
from .folders import relative
from .recognise import SPLIT_WORDS, VALUES, check_kind, files_by_split
from .roles import find_roles
from .table_folders import holds_paths, splits_of_paths, with_paths_from

SUFFIXES = table_codec.SUFFIXES
read_table = table_codec.decode

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
    table, counted, warnings = _joined(parts, description.target)
    first = counted[0][1]
    described, left_out = find_roles(table, first.parent, str(first), description)
    splits, split_names = _splits(table, counted, described)
    names = [f"{relative(root, path)} row {row}" for _, path, count in counted for row in range(1, count + 1)]
    inputs = described.inputs or {}
    return Listing(
        kinds={name: check_kind(str(config.kind)) for name, config in inputs.items()},
        raws={
            name: raws_of(table, first.parent, names, config, alone=len(inputs) == 1) for name, config in inputs.items()
        },
        names=names,
        labels=_labels(table, described.target),
        classes=_class_names(table, described.target),
        split_names=split_names,
        folds=to_numpy(table[described.fold]) if described.fold else None,
        groups=to_numpy(table[described.group]) if described.group else None,
        description=replace(described, layout="table", splits=splits),
        warnings=(*warnings, *left_out),
    )


def _joined(
    files: list[tuple[str, Path]], target: TargetConfig
) -> tuple[pa.Table, list[tuple[str, Path, int]], tuple[str, ...]]:
    """One table of all files; split, path and number of rows of each; warnings about the files left out.

    A file of test rows without the target (as competitions hand out) is left out: there is nothing to compare with.
    """
    tables = [(split, path, read_table(path)) for split, path in files]
    tables.sort(key=lambda part: ("train", "", "val", "test").index(part[0]))
    _, first_path, first = tables[0]
    kept, warnings = [], []
    if tables[0][0] == "train":
        strays = [path.name for split, path, _ in tables if not split]
        warnings += [f"{', '.join(strays)}: left out, because no split is named"] if strays else []
        tables = [part for part in tables if part[0]]
    for split, path, table in tables:
        missing = [name for name in first.column_names if name not in table.column_names]
        if not missing:
            part = with_paths_from(table.select(first.column_names), path.parent, first_path.parent)
            kept.append((split, path, part))
        elif split == "test" and len(missing) == 1 and target.column in (None, missing[0]):
            warnings.append(f"{path.name} has no column {missing[0]!r} and was left out")
        else:
            raise InputError(
                f"{path}: no column is called {missing[0]!r}, unlike in {first_path.name}; "
                f"{did_you_mean(missing[0], table.column_names)}; "
                "give both the same columns, or name the files under `splits` in dataset.yaml"
            )
    try:
        table = pa.concat_tables([table for _, _, table in kept], promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(
            f"{first_path.parent}: columns of one name differ in type between the files ({error})"
        ) from None
    if not len(table):
        raise InputError(f"{first_path}: the table has no rows")
    table = table.replace_schema_metadata(first.schema.metadata)
    return table, [(split, path, len(part)) for split, path, part in kept], tuple(warnings)


def _splits(
    table: pa.Table, parts: list[tuple[str, Path, int]], described: DataConfig
) -> tuple[dict[SplitName, str] | None, np.ndarray | None]:
    """What each split is called here, and the split of each row."""
    if described.split is None:
        split_names = np.array([split for split, _, count in parts for _ in range(count)])
        splits = described.splits or in_split_order({split: path.name for split, path, _ in parts})
        if not split_names.any() and (of_paths := splits_of_paths(table, parts[0][1].parent)) is not None:
            return splits, np.array(of_paths)
        return splits, split_names if split_names.any() else None
    values = [str(value) for value in table[described.split].to_pylist()]
    known = {SPLIT_WORDS[value.casefold()]: value for value in set(values) if value.casefold() in SPLIT_WORDS}
    splits = described.splits or in_split_order(known)
    words = {word: split for split, word in (splits or {}).items()}
    return splits, np.array([words.get(value, "") for value in values])


def raws_of(table: pa.Table, folder: Path, names: list[str], config: InputConfig, *, alone: bool) -> Sequence[Any]:
    """The raws of one input, one a row.

    Args:
        folder: what paths are relative to.
        names: what to call each row.
        config: the input, with its column and kind.
        alone: whether it is the only one: then every row must have it. One of several may be absent: None.

    Raises:
        InputError: a path that leads nowhere, or an empty cell where there must be none.
    """
    if config.kind == VALUES:
        columns = (config.column,) if isinstance(config.column, str) else config.column or ()
        return Records({name: table[name].to_pylist() for name in columns})
    column = table[config.column]
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
        return Cells(column)
    paths = [None if value is None else folder / value.replace("\\", "/") for value in column.to_pylist()]
    for name, path in zip(names, paths, strict=True):
        if path is not None and not path.is_file():
            raise InputError(f"{name}: {path} does not exist; paths are relative to the table's folder")
    return paths


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
