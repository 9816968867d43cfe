"""Which layout a folder or file has, and the listing of its examples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...errors import InputError
from ...files import ending
from ..description import FILE_NAME, NO_LABELS, DataConfig, LayoutName
from ..examples import Listing
from ..recognition.recognise import needs_labels, visible_files
from ..recognition.roles import has_named_target
from . import array_files, shards, tables
from .array_files import list_arrays
from .audioset import is_segments, list_audioset
from .bids import is_bids, list_bids
from .folders import has_class_folders, list_folders
from .joining import are_large, decode_table
from .pairs import has_pairs, list_pairs
from .refusals import check_depth, check_holds_signals, no_data_set
from .shards import find_shards, list_shards
from .table_folders import find_tables
from .tables import list_table
from .ts_files import list_ts
from .windows import cut_into_windows

_SUFFIXES: dict[LayoutName, tuple[str, ...]] = {
    "shards": shards.SUFFIXES,
    "ts": (".ts",),
    "arrays": array_files.SUFFIXES,
    "table": tables.SUFFIXES,
}


def list_path(path: Path, description: DataConfig) -> Listing:
    """What a folder or file holds, before targets are encoded and splits are drawn."""
    root, files = _files_of(path)
    files, description = find_tables(path, files, description)
    files += [file for file in find_shards(path, files) if file not in files]  # in folders of splits
    layout = description.layout or _layout(path, files, description)
    suffixes = _SUFFIXES.get(layout, ())
    elsewhere = layout in ("table", "shards") and description.splits is not None  # the splits say in which files
    if suffixes and not elsewhere and not any(ending(file) in suffixes for file in files):
        raise InputError(f"{path}: the layout {layout!r} needs files that end in {', '.join(suffixes)}")
    if description.layout is None and layout == "folders" and needs_labels(description.target.task):
        check_depth(root)
    return cut_into_windows(_LAYOUTS[layout](root, files, description))


def layout_of(path: Path, description: DataConfig) -> LayoutName:
    """Which layout a folder or file has."""
    if description.layout is not None:
        return description.layout
    files = _files_of(path)[1]
    return _layout(path, files or find_shards(path, files), description)


def _files_of(path: Path) -> tuple[Path, list[Path]]:
    """The folder of some data, and the files that lie directly in it."""
    if path.is_file():
        return path.parent, [path]
    files = [file for file in visible_files(path) if file.name != FILE_NAME]
    return path, files + (visible_files(path / "data") if (path / "data").is_dir() else [])


def _layout(path: Path, files: list[Path], description: DataConfig) -> LayoutName:
    """Which layout this is. Flow comes before anything else, and class folders come before loose files, unless a table
    beside them knows the labels."""
    if any(map(is_segments, files)):
        return "audioset"
    if is_bids(path):
        return "bids"
    present = [layout for layout, suffixes in _SUFFIXES.items() if any(ending(file) in suffixes for file in files)]
    inputs = (description.inputs or {}).values()
    roles = (description.target.column, description.split, description.fold, description.group)
    speaks_of_columns = any(roles) or any(config.column for config in inputs)
    if any(config.files for config in inputs):
        return "folders"
    task = description.target.task
    may_be_pairs = task is None or (task != NO_LABELS and not needs_labels(task))
    if not speaks_of_columns and may_be_pairs and path.is_dir() and has_pairs(path):
        return "pairs"
    if not speaks_of_columns and path.is_dir() and has_class_folders(path):
        knows = "table" in present and _knows_labels(files)
        return "table" if knows else "folders"
    if present:
        return present[0]
    if path.is_file():
        raise no_data_set(path)
    check_holds_signals(path, labelled=needs_labels(description.target.task))
    return "folders"


def _knows_labels(files: list[Path]) -> bool:
    """Whether a table names files and their labels: then the folders the files lie in mean nothing."""
    for path in files:
        if ending(path) in tables.SUFFIXES:
            table, _ = decode_table(path, is_large=are_large([path]))
            return has_named_target(table) and tables.has_paths(table, path.parent)
    return False


_LAYOUTS: dict[LayoutName, Callable[[Path, list[Path], DataConfig], Listing]] = {
    "folders": lambda root, _, description: list_folders(root, description),
    "table": list_table,
    "arrays": list_arrays,
    "ts": list_ts,
    "shards": list_shards,
    "audioset": list_audioset,
    "bids": lambda root, _, description: list_bids(root, description),
    "pairs": lambda root, _, description: list_pairs(root, description),
}
