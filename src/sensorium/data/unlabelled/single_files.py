"""Files and folders for a trained model: most files hold one example, tables and arrays hold many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
from natsort import natsorted

from ...codecs.series import decode_ts
from ...errors import InputError
from ...files import ending
from ...modalities.base import Modality
from ..description import DataConfig, InputConfig
from ..examples import Examples, Records, Selection
from ..layouts import array_files, shards, tables
from ..layouts.dicom_folders import one_slice_each
from ..layouts.folders import by_stem, suits, walk
from ..layouts.joining import are_large, decode_table
from ..layouts.pairs import open_pairs
from ..layouts.recordings import unlabelled_recordings
from ..layouts.shards import shard_examples
from ..recognition.recognise import HOLDS, SERIES, VALUES, VOLUME, can_be, kind_of_suffix, visible_files
from .array_examples import open_array_file
from .table_examples import reads_rows, rows_of

# The raws of a file, their names, and notes.
_Opened: TypeAlias = tuple[Sequence[Any], Sequence[str], Sequence[str]]

_PAIR = "pair"  # the kind of signal whose examples are two files each
_TS = (".ts",)
_SUFFIXES = {"table": tables.SUFFIXES, "arrays": array_files.SUFFIXES, "ts": _TS}  # of the layouts of many examples


@dataclass(frozen=True)
class Unlabelled:
    """Examples for a trained model, not yet decoded.

    Attributes:
        examples: with one raw each, as the model's modality loads it.
        notes: what people should know of them, such as files that were left out.
    """

    examples: Examples
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unreadable:
    """What stands in the place of an example that was found to be unreadable before it was decoded, and why."""

    reason: str


def open_files(
    files: Sequence[Path],
    modality: Modality,
    *,
    description: DataConfig | None = None,
    follow_paths: bool = True,
) -> Unlabelled:
    """The examples in some files and folders, in order.

    * A folder is every file below it that the model reads, in natural order; the names are relative to the folder where
      it is the only one.
    * A table has one example in each row, for a model that was trained on a table or reads tables; columns that the
      model does not read, such as the target, are left out.
    * The arrays of ``.npy``, ``.npz`` and ``.h5`` files hold one example or many, as their shape says; labels are left
      out. ``.ts`` files hold many.
    * A ``.tar`` is a shard of WebDataset: an example in the files of one name.
    * Any other file is one example. Where a model has several modalities, files of one name (``a.png`` and ``a.wav``)
      are one example. For a model that reads pairs of frames, see :func:`open_pairs`.

    A file that cannot be opened, or holds another kind of signal, becomes one example that is :class:`Unreadable`.

    Args:
        files: paths that exist.
        modality: what the model reads.
        description: of the data the model was trained on: where each modality is.
        follow_paths: whether the files that a table names are read.

    Raises:
        InputError: there is no such file, or nothing that the model reads below a folder.
    """
    description = description or DataConfig()
    if modality.kind == _PAIR:
        return Unlabelled(open_pairs(files))
    for file in files:
        if not file.exists():
            raise InputError(f"{file}: there is no such file or folder")
    inputs = inputs_of(modality, description)
    found, notes = _with_folders(files, modality, inputs, description)
    if modality.modalities != (modality,):
        raws, names, more = _of_several(found, modality, inputs, description, follow_paths)
    else:
        raws, names, more = _joined(found, lambda file: _examples_in(file, modality, inputs, description, follow_paths))
    if len(files) == 1 and files[0].is_dir():
        prefix = f"{files[0] / '_'}"[:-1]
        names = [name.replace(prefix, "") for name in names]
    return Unlabelled(Examples({modality.name: raws}, None, names), (*notes, *dict.fromkeys(more)))


def inputs_of(modality: Modality, description: DataConfig) -> dict[str, InputConfig]:
    """Where each of a model's modalities is, by its name: as in the data that it was trained on."""
    described = description.inputs or {}
    if modality.modalities != (modality,):
        return {
            part.name: described.get(part.name, InputConfig(kind=part.kind, column=part.name))
            for part in modality.modalities
        }
    alike = (config for config in described.values() if config.kind == modality.kind)
    return {modality.name: next(alike, InputConfig(kind=modality.kind))}


def _with_folders(
    paths: Sequence[Path], modality: Modality, inputs: Mapping[str, InputConfig], description: DataConfig
) -> tuple[list[Path], tuple[str, ...]]:
    """The files, with those below folders in the folders' place; and notes on what was left out."""
    found: list[Path] = []
    notes: list[str] = []
    for path in paths:
        if path.is_dir():
            files, others = _below(path, modality, inputs, description)
            found += files
            if others:
                example = others[0].relative_to(path)
                notes.append(f"{path}: {len(others)} other files were left out, for example {example}")
        else:
            found.append(path)
    return found, tuple(notes)


def _below(
    folder: Path, modality: Modality, inputs: Mapping[str, InputConfig], description: DataConfig
) -> tuple[list[Path], list[Path]]:
    """The files below a folder that the model reads, in natural order, and the others. Tables that lie directly in it
    and were trained on are taken alone: their rows name the other files."""
    suffixes = _SUFFIXES.get(description.layout or "", ())
    if suffixes and (beside := [file for file in visible_files(folder) if ending(file) in suffixes]):
        return natsorted(beside, key=str), []
    files = natsorted(walk(folder), key=lambda path: path.relative_to(folder).parts)
    kinds = {part.kind for part in modality.modalities}
    if not suffixes or not any(ending(file) in suffixes for file in files):
        suffixes = tuple(suffix for part in modality.modalities for suffix in (*part.suffixes, *part.also_reads))
        suffixes += (tables.SUFFIXES if VALUES in kinds else ()) + (_TS if SERIES in kinds else ())

    def is_wanted(file: Path) -> bool:
        if any(config.files is not None for config in inputs.values()):
            return any(suits(file, config) for config in inputs.values())
        return ending(file) in suffixes or HOLDS.get(kind_of_suffix(ending(file)) or "") in kinds

    wanted = [file for file in files if is_wanted(file)]
    if not wanted:
        held = "nothing" if not files else f"no such file (found {', '.join(sorted({ending(file) for file in files}))})"
        raise InputError(f"{folder}: the model reads {' and '.join(sorted(kinds))}, below this folder is {held}")
    chosen = set(wanted)
    others = [file for file in files if file not in chosen]
    return (one_slice_each(wanted) if kinds == {VOLUME} else wanted), others


def _examples_in(
    file: Path,
    modality: Modality,
    inputs: Mapping[str, InputConfig],
    description: DataConfig,
    follow_paths: bool,
) -> _Opened:
    """The raws and the names of the examples in a file, for a model of one modality; and notes."""
    suffix = ending(file)
    if suffix in tables.SUFFIXES and description.time is not None:
        table = tables.read_table(file)
        if description.time in table.column_names:
            raws, names = unlabelled_recordings(table, file, description)
            return raws, [f"{file} {name}" for name in names], ()
    if suffix in tables.SUFFIXES and (modality.kind == VALUES or description.layout == "table"):
        opened = _open_table(file)
        if modality.kind == VALUES or suffix not in modality.suffixes or reads_rows(opened[0], modality, inputs):
            return _rows(file, *opened, modality, inputs, follow_paths)
    if suffix in _TS and modality.kind == SERIES:
        series = decode_ts(file).series
        return series, [f"{file} series {number}" for number in range(1, len(series) + 1)], ()
    if suffix in shards.SUFFIXES:
        signals, called = shard_examples(file, inputs)
        return signals[modality.name], list(called), ()
    if suffix in array_files.SUFFIXES:
        return *open_array_file(file, modality, inputs, description), ()
    kind = kind_of_suffix(suffix) or (VALUES if suffix in tables.SUFFIXES else None)
    if kind is not None and not can_be(suffix, modality.kind) and HOLDS.get(kind) != modality.kind:
        raise InputError(f"{file}: it holds {kind}, the model reads {modality.kind}; name another file")
    return [file], [str(file)], ()


def _joined(files: Sequence[Path], open_one: Callable[[Path], _Opened]) -> tuple[Selection, list[str], list[str]]:
    """The raws, the names and the notes of several files, one after the other."""
    parts: list[_Opened] = []
    for file in files:
        try:
            parts.append(open_one(file))
        except InputError as error:
            parts.append(([Unreadable(str(error).removeprefix(f"{file}: "))], [str(file)], ()))
    names = [name for _, names, _ in parts for name in names]
    return Selection([raws for raws, _, _ in parts]), names, [note for _, _, notes in parts for note in notes]


def _signals_in(file: Path, inputs: Mapping[str, InputConfig]) -> _Opened:
    """As :func:`_examples_in` of a shard, for a model of several modalities."""
    raws, names = shard_examples(file, inputs)
    return Records(raws), list(names), ()


def _open_table(file: Path) -> tuple[pa.Table, Mapping[str, Sequence[Any]]]:
    """A table file, and its columns that are read when they are needed."""
    return decode_table(file, is_large=are_large([file]))


def _rows(
    file: Path,
    table: pa.Table,
    lazy: Mapping[str, Sequence[Any]],
    modality: Modality,
    inputs: Mapping[str, InputConfig],
    follow_paths: bool,
) -> tuple[Sequence[Any], list[str], list[str]]:
    """The rows of a table file, their names, and notes."""
    raws, notes = rows_of(table, modality, inputs, folder=file.parent if follow_paths else None, lazy=lazy)
    return raws, [f"{file} row {number}" for number in range(1, len(raws) + 1)], [f"{file}: {note}" for note in notes]


def _of_several(
    files: Sequence[Path],
    modality: Modality,
    inputs: Mapping[str, InputConfig],
    description: DataConfig,
    follow_paths: bool,
) -> tuple[Sequence[Any], list[str], list[str]]:
    """As :func:`_examples_in` of all files, for a model of several modalities."""
    if description.layout == "table" and all(ending(file) in tables.SUFFIXES for file in files):
        return _joined(files, lambda file: _rows(file, *_open_table(file), modality, inputs, follow_paths))
    if all(ending(file) in array_files.SUFFIXES for file in files):
        return _joined(files, lambda file: (*open_array_file(file, modality, inputs, description), ()))
    if all(ending(file) in shards.SUFFIXES for file in files):
        return _joined(files, lambda file: _signals_in(file, inputs))
    examples, others = by_stem(files, inputs)
    if others:
        kinds = ", ".join(sorted({str(config.kind) for config in inputs.values()}))
        holds = kind_of_suffix(ending(others[0])) or "nothing that is known"
        raise InputError(f"{others[0]}: it holds {holds}, the model reads {kinds}; name another file")
    names = [" + ".join(sorted({str(path) for path in signals.values()})) for signals in examples.values()]
    return [{name: signals.get(name) for name in inputs} for signals in examples.values()], names, []
