"""Single files to ask a trained model about: most hold one example, tables and arrays hold many."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..modalities.base import Modality
from . import array_files, tables
from .columns import Lines
from .description import DataConfig
from .examples import Examples, Rows
from .source import list_path


def open_files(files: Sequence[Path], modality: Modality) -> Examples:
    """The examples in some files, unlabelled, in order.

    A table (for a model that reads tables) has an example a line; columns that the model does not know, such as the
    target, are left out. ``.ts`` and ``.npz`` or ``.h5`` files laid out as for training have as many as they hold. Any
    other file is one example.

    Args:
        files: paths of existing files.
        modality: what the model reads.

    Raises:
        InputError: there is no such file, or it holds another kind of signal.
    """
    raws: list[Sequence[Any]] = []
    names: list[str] = []
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: there is no such file")
        suffix = file.suffix.lower()
        if modality.kind == "table" and suffix in tables.SUFFIXES:
            lines = _lines(file, modality)
            raws.append(lines)
            names += [f"{file} row {number}" for number in range(1, len(lines) + 1)]
        elif suffix == ".ts" or (
            suffix in array_files.SUFFIXES and suffix != ".npy"
        ):  # which holds one array, an example
            listing = list_path(file, DataConfig())
            found = next((name for name, kind in listing.kinds.items() if kind == modality.kind), None)
            if found is None:
                kinds = ", ".join(listing.kinds.values())
                raise InputError(f"{file}: it holds {kinds}, the model reads {modality.kind}; name another file")
            raws.append(listing.raws[found])
            names += listing.names
        else:
            raws.append([file])
            names.append(str(file))
    return Examples({modality.name: Rows(raws)}, None, names)


def _lines(file: Path, modality: Modality) -> Lines:
    table = tables.read_table(file)
    known = [column.name for column in modality.config.columns if column.name in table.column_names]
    if not known:
        wanted = ", ".join(column.name for column in modality.config.columns[:5])
        raise InputError(f"{file}: none of its columns is one that the model reads ({wanted}, …); name another file")
    return Lines({name: table[name].to_pylist() for name in known})
