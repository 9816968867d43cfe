"""Tables in a folder per split: Hugging Face data sets on disk, and ``metadata.csv`` beside the files that it names."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ...codecs.tables import SUFFIXES, column_names
from ...errors import InputError
from ...files import ending, without_ending
from ..description import DataConfig, SplitName, in_split_order
from ..recognition.columns import are_paths, first_values, is_text
from ..recognition.recognise import SPLIT_WORDS, visible_files, visible_folders
from ..recognition.target_column import named_target
from .folders import has_class_folders

_SAVED, _SAVED_SPLITS = "state.json", "dataset_dict.json"  # what `save_to_disk` of Hugging Face's datasets writes
_METADATA = "metadata"  # the table of an imagefolder or audiofolder
_SHARDS = {".parquet", ".pq", ".arrow"}


def find_tables(root: Path, files: list[Path], description: DataConfig) -> tuple[list[Path], DataConfig]:
    """The files of a data set and its description, if it is tables in folders: what ``save_to_disk`` wrote, or a folder
    of tables per split. Otherwise, or if the description says where the splits are, both as they are given.

    Class folders, and tables beside the folders, are preferred to tables in folders that name no labels.

    Raises:
        InputError: a file that says what belongs to the data set cannot be read.
    """
    if not root.is_dir() or description.layout not in (None, "table") or description.splits is not None:
        return files, description
    if (saved := _saved_files(root)) is not None:
        return saved, replace(description, layout="table")
    splits = _tables_by_split(root)
    if splits is None:
        return files, description
    found = [path for pattern in splits.values() for path in sorted(root.glob(pattern))]
    if not (root / _SAVED_SPLITS).is_file():
        if any(ending(path) in SUFFIXES for path in files):
            return files, description
        if has_class_folders(root) and any(named_target(column_names(path)) is None for path in found):
            return files, description
    return found, replace(description, layout="table", splits=splits)


def _saved_files(folder: Path) -> list[Path] | None:
    """The tables that ``save_to_disk`` wrote into a folder, or None. Other files of its own (``cache-….arrow``) do not
    belong to it."""
    state = folder / _SAVED
    if not state.is_file():
        return None
    try:
        return [folder / file["filename"] for file in json.loads(state.read_text(encoding="utf-8"))["_data_files"]]
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(f"{state}: this is not what save_to_disk writes; save the data set again") from None


def _tables_by_split(root: Path) -> dict[SplitName, str] | None:
    """The tables of each split as a pattern of files, where each split is a folder with its tables in it; or None."""
    splits = {SPLIT_WORDS[name.casefold()]: name for name in visible_folders(root) if name.casefold() in SPLIT_WORDS}
    patterns = {split: _pattern(root / name) for split, name in splits.items()}
    if "train" not in patterns or None in patterns.values():
        return None
    return in_split_order({split: f"{splits[split]}/{pattern}" for split, pattern in patterns.items()})


def _pattern(folder: Path) -> str | None:
    """The tables of a split: what ``save_to_disk`` wrote, its metadata, its only table, or its Parquet and Arrow files
    where it has nothing else."""
    if saved := _saved_files(folder):
        return re.sub(r"\d+-of", "*-of", saved[0].name) if len(saved) > 1 else saved[0].name
    files = visible_files(folder)
    found = [path for path in files if ending(path) in SUFFIXES]
    described = [path for path in found if without_ending(path).name.casefold() == _METADATA]
    if len(described or found) == 1:
        return (described or found)[0].name
    endings = {ending(path) for path in files}
    return f"*{endings.pop()}" if len(endings) == 1 and endings <= _SHARDS else None


def with_paths_from(table: pa.Table, folder: Path, base: Path) -> pa.Table:
    """The table with the paths in it, which are relative to its own folder, relative to ``base`` instead."""
    if folder == base:
        return table
    prefix = Path(os.path.relpath(folder, base)).as_posix()
    for index, name in enumerate(table.column_names):
        column = table[name]
        if is_text(column.type) and holds_paths(column, folder):
            prefixed = pc.binary_join_element_wise(pa.scalar(prefix, column.type), column, pa.scalar("/", column.type))
            table = table.set_column(index, name, prefixed)
    return table


def holds_paths(column: pa.ChunkedArray, folder: Path) -> bool:
    """Whether a column of text is paths of files that are there, judged by its first values."""
    return are_paths(values := first_values(column)) and any((folder / value).is_file() for value in values)


def splits_of_paths(table: pa.Table, folder: Path) -> list[str] | None:
    """The split of each row, where the paths in a column all start with a folder called like a split; or None."""
    for name in table.column_names:
        column = table[name]
        if is_text(column.type) and not column.null_count and holds_paths(column, folder):
            words = [value.replace("\\", "/").removeprefix("./").partition("/")[0] for value in column.to_pylist()]
            splits = [SPLIT_WORDS.get(word.casefold(), "") for word in words]
            if "train" in splits and "" not in splits and len(set(splits)) > 1:
                return splits
    return None
