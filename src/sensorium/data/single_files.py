"""Single files for a trained model: most hold one example, tables and arrays hold many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import ending
from ..modalities.base import Modality
from . import array_files, tables
from .description import DataConfig, InputConfig
from .examples import Examples, Records, Selection
from .folders import by_stem
from .pairs import open_pairs
from .recognise import VALUES, kind_of_suffix
from .source import list_path

# Kinds of signal whose examples are several files each.
_OPENED_TOGETHER: dict[str, Callable[[Sequence[Path]], Examples]] = {"pair": open_pairs}
# Files that are laid out as for training and hold many examples; an .npy holds one array, which is one example.
_LISTED = {".ts", *array_files.SUFFIXES} - {".npy"}


def open_files(files: Sequence[Path], modality: Modality, *, description: DataConfig | None = None) -> Examples:
    """The examples in some files, unlabelled, in order.

    A table, for a model that reads tables, has one example in each row; columns that the model does not know, such as
    the target, are left out. ``.ts``, ``.npz`` and ``.h5`` files are laid out as for training and hold many examples.
    Any other file is one example; where a model has several modalities, files of one name (``a.png`` and ``a.wav``)
    are one example. For a model that reads pairs of frames, see :func:`open_pairs`.

    Args:
        files: paths of existing files.
        modality: what the model reads.
        description: of the data the model was trained on: where each of several modalities is.

    Raises:
        InputError: there is no such file, or it holds another kind of signal.
    """
    if modality.kind in _OPENED_TOGETHER:
        return _OPENED_TOGETHER[modality.kind](files)
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: there is no such file")
    if modality.modalities != (modality,):
        return _of_several(files, modality, description or DataConfig())
    parts = [_examples_in(file, modality) for file in files]
    raws = Selection([raws for raws, _ in parts])
    return Examples({modality.name: raws}, None, [name for _, names in parts for name in names])


def _examples_in(file: Path, modality: Modality) -> tuple[Sequence[Any], Sequence[str]]:
    """The raws and the names of the examples in a file, for a model of one modality."""
    suffix = ending(file)
    if modality.kind == VALUES and suffix in tables.SUFFIXES:
        records = _records(file, modality)
        return records, [f"{file} row {number}" for number in range(1, len(records) + 1)]
    if suffix not in _LISTED:
        return [file], [str(file)]
    listing = list_path(file, DataConfig())
    found = next((name for name, kind in listing.kinds.items() if kind == modality.kind), None)
    if found is None:
        kinds = ", ".join(listing.kinds.values())
        raise InputError(f"{file}: it holds {kinds}, the model reads {modality.kind}; name another file")
    return listing.raws[found], listing.names


def _of_several(files: Sequence[Path], modality: Modality, description: DataConfig) -> Examples:
    """As :func:`open_files`, for a model of several modalities: laid out as the data it was trained on."""
    inputs = {
        part.name: (description.inputs or {}).get(part.name, InputConfig(kind=part.kind, column=part.name))
        for part in modality.modalities
    }
    if description.layout == "table" and all(ending(file) in tables.SUFFIXES for file in files):
        parts = [_rows(file, modality, inputs) for file in files]
    elif description.layout == "arrays":
        listings = [list_path(file, description) for file in files]
        parts = [
            (listing.raws, [f"{file} {name}" for name in listing.names])
            for file, listing in zip(files, listings, strict=True)
        ]
    else:
        examples, others = by_stem(files, inputs)
        if others:
            kinds = ", ".join(sorted({str(config.kind) for config in inputs.values()}))
            holds = kind_of_suffix(ending(others[0])) or "nothing that is known"
            raise InputError(f"{others[0]}: it holds {holds}, the model reads {kinds}; name another file")
        parts = [
            (
                {name: [signals.get(name) for signals in examples.values()] for name in inputs},
                [" + ".join(sorted({str(path) for path in signals.values()})) for signals in examples.values()],
            )
        ]
    raws = {name: Selection([part[name] for part, _ in parts]) for name in inputs}
    return Examples(raws, None, [name for _, names in parts for name in names]).for_modality(modality)


def _rows(
    file: Path, modality: Modality, inputs: Mapping[str, InputConfig]
) -> tuple[dict[str, Sequence[Any]], list[str]]:
    """The raws and names of a table's rows; columns that it does not have are absent."""
    table = tables.read_table(file)
    names = [f"{file} row {number}" for number in range(1, len(table) + 1)]
    raws: dict[str, Sequence[Any]] = {}
    for part in modality.modalities:
        column = inputs[part.name].column
        wanted = [column] if isinstance(column, str) else column or ()
        known = [name for name in wanted if name in table.column_names]
        raws[part.name] = [None] * len(table)
        if known:
            config = InputConfig(kind=part.kind, column=known[0] if isinstance(column, str) else tuple(known))
            raws[part.name] = tables.raws_of(table, file.parent, names, config, alone=False)
    return raws, names


def _records(file: Path, modality: Modality) -> Records:
    table = tables.read_table(file)
    known = [column.name for column in modality.config.columns if column.name in table.column_names]
    if not known:
        wanted = ", ".join(column.name for column in modality.config.columns[:5])
        raise InputError(f"{file}: none of its columns is one that the model reads ({wanted}, …); name another file")
    return Records({name: table[name].to_pylist() for name in known})
