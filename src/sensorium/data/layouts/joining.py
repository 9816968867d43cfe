"""One table in several files: shards, or a file for each split."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ...codecs import row_groups
from ...codecs import tables as table_codec
from ...errors import InputError, did_you_mean
from ...files import ending
from ..assumptions import listed
from ..description import DataConfig, SplitName, TargetConfig, in_split_order
from ..examples import Selection
from ..recognition.recognise import SPLIT_WORDS
from .folders import relative
from .table_folders import splits_of_paths, with_paths_from

_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Part:
    """A file of a table: the split that it holds (empty: it does not say), its path and how many rows it has."""

    split: str
    path: Path
    rows: int


class RowNames(Sequence[str]):
    """What to call each row of a file.

    >>> list(RowNames("a.csv", 2))
    ['a.csv row 1', 'a.csv row 2']
    """

    def __init__(self, called: str, rows: int) -> None:
        self.called, self.rows = called, rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, position: Any) -> Any:
        return f"{self.called} row {range(1, self.rows + 1)[position]}"


@dataclass(frozen=True)
class JoinedTable:
    """A table that was read from one file or several.

    Attributes:
        table: all rows.
        parts: the files, in the order of their rows.
        absent: the one column that a file of test rows lacks; None: there is no such file.
        warnings: about files that were left out.
        lazy: columns of signals of which ``table`` shows only the beginning: the value of each row, read when needed.
    """

    table: pa.Table
    parts: tuple[Part, ...]
    absent: str | None = None
    warnings: tuple[str, ...] = ()
    lazy: Mapping[str, Selection] = field(default_factory=dict)

    def names(self, root: Path) -> Sequence[str]:
        """What to call each row."""
        return Selection([RowNames(relative(root, part.path), part.rows) for part in self.parts])

    def with_whole(self, *columns: str | None) -> pa.Table:
        """The table with all rows of these columns; None is none of them.

        Raises:
            InputError: one cannot be read.
        """
        table = self.table
        for name in {*columns} & {*self.lazy}:
            field_of, number = table.schema.field(name), table.schema.get_field_index(name)
            parts = [part for part in self.lazy[str(name)].parts if isinstance(part, row_groups.RowGroups)]
            pieces = [part.whole().cast(field_of.type) for part in parts]
            table = table.set_column(number, field_of, pa.chunked_array([c for piece in pieces for c in piece.chunks]))
        return table

    def files(self) -> np.ndarray:
        """The file of each row, without its ending."""
        return np.repeat([part.path.stem for part in self.parts], [part.rows for part in self.parts])

    def splits(self, root: Path, description: DataConfig) -> tuple[dict[SplitName, str] | None, np.ndarray | None]:
        """What each split is called here, below the folder ``root``, and the split of each row."""
        if description.split is None:
            split_names = np.repeat([part.split for part in self.parts], [part.rows for part in self.parts])
            splits = description.splits or self._patterns(root)
            if (
                not (split_names != "").any()
                and (of_paths := splits_of_paths(self.table, self.parts[0].path.parent)) is not None
            ):
                return splits, np.array(of_paths)
            return splits, split_names if (split_names != "").any() else None
        values = [str(value) for value in self.table[description.split].to_pylist()]
        known = {SPLIT_WORDS[value.casefold()]: value for value in set(values) if value.casefold() in SPLIT_WORDS}
        splits = description.splits or in_split_order(known)
        words = {word: split for split, word in (splits or {}).items()}
        return splits, np.array([words.get(value, "") for value in values])

    def _patterns(self, root: Path) -> dict[SplitName, str] | None:
        """The files of each split as one pattern below ``root``; None: a split has files that no pattern tells from
        others."""
        patterns: dict[str, str] = {}
        for split in {part.split for part in self.parts}:
            paths = [part.path for part in self.parts if part.split == split]
            names = [relative(root, path) for path in paths]
            patterns[split] = names[0] if len(names) == 1 else re.sub(r"\d+", "*", names[0])
            if sorted(root.glob(patterns[split])) != sorted(paths):
                return None
        return in_split_order(patterns)


def join_tables(files: Sequence[tuple[str, Path]], target: TargetConfig) -> JoinedTable:
    """One table of all files.

    A file of test rows without the target (as competitions hand out) is left out: there is nothing to compare with.

    Args:
        files: the split and the path of each.
        target: as described.

    Raises:
        InputError: a file cannot be read, or lacks a column that the first one has.
    """
    is_large, tables, held = are_large(path for _, path in files), [], None
    for split, path in files:
        table, lazy = decode_table(path, is_large=is_large, held=held)
        tables.append((split, path, table))
        held = held or [*lazy]  # a file without rows shows none
    tables.sort(key=lambda part: ("train", "", "val", "test").index(part[0]))
    _, first_path, first = tables[0]
    kept, warnings = [], []
    absent = None
    if tables[0][0] == "train":
        strays = [path.name for split, path, _ in tables if not split]
        warnings += [f"{', '.join(strays)}: left out, because no split is named"] if strays else []
        tables = [part for part in tables if part[0]]
    for split, path, table in tables:
        missing = [name for name in first.column_names if name not in table.column_names]
        if (remark := table_codec.remark_on(table)) is not None:
            warnings.append(f"{path.name}: {remark}")
        if not missing:
            extra = [name for name in table.column_names if name not in first.column_names]
            if extra:
                warnings.append(f"{path.name}: {listed(extra)} left out, which {first_path.name} has not")
            part = with_paths_from(table.select(first.column_names), path.parent, first_path.parent)
            kept.append((split, path, part))
        elif split == "test" and len(missing) == 1 and target.column in (None, missing[0]):
            absent = missing[0]
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
    parts = tuple(Part(split, path, len(part)) for split, path, part in kept)
    signals = {
        name: Selection([row_groups.RowGroups(part.path, name) for part in parts])
        for name in {*(held or ())} & {*table.column_names}
    }
    return JoinedTable(table, parts, absent, tuple(warnings), signals)


def are_large(files: Iterable[Path]) -> bool:
    """Whether tables are Parquet files that are larger than what one wants to load."""
    sizes = [path.stat().st_size if ending(path) in _PARQUET and path.is_file() else 0 for path in files]
    return all(sizes) and sum(sizes) > row_groups.SIZE


def decode_table(
    path: Path, *, is_large: bool, held: Collection[str] | None = None
) -> tuple[pa.Table, dict[str, row_groups.RowGroups]]:
    """A table; and, of a large one, the columns of signals, of which the table shows only the beginning.

    Args:
        held: as of :func:`sensorium.codecs.row_groups.decode_lazily`.

    Raises:
        InputError: it cannot be read.
    """
    if not is_large:
        return table_codec.decode(path), {}
    table, lazy = row_groups.decode_lazily(path, held)
    return table_codec.checked(table), lazy
