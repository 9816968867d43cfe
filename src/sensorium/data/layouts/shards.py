"""WebDataset shards: tars in which the files of an example are named alike up to the first point.

``train-0000.tar`` with ``0001.jpg`` and ``0001.cls``, ``0002.jpg`` and ``0002.cls``, …; a tar of class folders, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...codecs.tars import SUFFIX
from ...errors import InputError, did_you_mean
from ...files import ending
from ..assumptions import Assumption, listed
from ..description import DataConfig, InputConfig, in_split_order
from ..examples import Listing
from ..recognition.axes import Reading, order_of, read_array
from ..recognition.recognise import (
    HOLDS,
    SPLIT_WORDS,
    VALUES,
    any_sound,
    check_kind,
    files_by_split,
    input_names,
    visible_folders,
)
from .folders import relative
from .members import Names, Pairs, Shards, folders_of, index_shards, rows_with, visible
from .shard_labels import (
    CLASS,
    FOLDER,
    RECORD,
    WORDS,
    groups_of_shards,
    kinds_of_endings,
    labels_of_shards,
    records_of_shards,
    splits_of_folders,
    value_column,
)

SUFFIXES = (SUFFIX,)
ARRAY = ".npy"
PAIR = "pair"  # the kind of two frames and their flow, whose columns are the beginnings of their endings
_PROBED = 32  # files that the kind of an ending is judged by


def find_shards(root: Path, files: Sequence[Path]) -> list[Path]:
    """The tars of a data set: among its files, or else in its folders of splits."""
    found = [path for path in files if ending(path) == SUFFIX]
    if found or not root.is_dir():
        return found
    splits = [name for name in visible_folders(root) if name.casefold() in SPLIT_WORDS]
    return [path for name in splits for path in visible((root / name).glob(f"*{SUFFIX}"))]


def list_shards(root: Path, files: Sequence[Path], description: DataConfig) -> Listing:
    """Every example in some tars, in the order of their names.

    Labels are what ``.cls`` holds; else the entry of ``.json`` that is called like a target; else short texts in
    ``.txt`` that recur; else the folders in the tars. The split is said by the names of the tars or their folders, else
    by the first folder in them.

    Raises:
        InputError: a tar cannot be read, nothing in it is a signal, or there are no labels.
    """
    parts = _parts(root, find_shards(root, files), description)
    shards = index_shards([path for _, path in parts])
    if not len(shards):
        raise InputError(f"{parts[0][1]}: there are no files in it that have an ending")
    split_names = np.array([split for split, _ in parts])[shards.tar]
    folders = folders_of(shards) if description.target.column in (None, FOLDER) else []
    if not (split_names != "").any() and (found := splits_of_folders(folders)) is not None:
        split_names, folders = found, [parts[1:] for parts in folders]
    records = records_of_shards(shards)
    column, labels = labels_of_shards(shards, records, folders, root, description)
    group, groups, assumptions = groups_of_shards(records, column, split_names, description)
    inputs, readings = _inputs(shards, column, records, root, description)
    target = replace(description.target, column=column)
    return Listing(
        kinds={name: check_kind(str(config.kind)) for name, config in inputs.items()},
        raws={name: raws_of_input(shards, config, records, root) for name, config in inputs.items()},
        names=Names([relative(root, path) for _, path in parts], shards.tar, shards.keys),
        labels=labels,
        split_names=split_names if (split_names != "").any() else None,
        folds=None if description.fold is None else value_column(records, description.fold, root),
        groups=groups,
        description=replace(
            description,
            layout="shards",
            inputs=inputs,
            target=target,
            group=group,
            splits=description.splits or _patterns(root, parts),
            kinds=None,
        ),
        assumptions=(
            *_assumed(shards, description, column, inputs, readings, records, group),
            *assumptions,
        ),
    )


def raws_of_input(
    shards: Shards, config: InputConfig, records: Mapping[str, Sequence[Any]], root: Path
) -> Sequence[Any]:
    """The raws of one input, one for each example.

    Raises:
        InputError: there are no files of its ending, and no entry of the ``.json`` files is called so.
    """
    columns = (config.column,) if isinstance(config.column, str) else config.column or ()
    if config.kind == PAIR and len(columns) > 1:
        endings = [[name for name in shards.endings if name.startswith(f"{role}.")] for role in columns]
        return Pairs([shards.members(names, PAIR) for names in endings if names])
    unknown = [name for name in columns if name not in shards.sizes]
    if not unknown and columns:
        order = order_of(str(config.kind), config.axes) if config.axes else None
        return shards.members(columns, str(config.kind), order)
    if not columns or any(name not in records for name in unknown):
        name = unknown[0] if unknown else "a column"
        raise InputError(f"{root}: no file ends in .{name}; {did_you_mean(name, [*shards.endings, *records])}")
    if config.kind != VALUES:
        return list(records[columns[0]])
    cells = zip(*(records[name] for name in columns), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in cells]


def shard_examples(file: Path, inputs: Mapping[str, InputConfig]) -> tuple[dict[str, Sequence[Any]], Names]:
    """The signals in one tar by the names of a model's inputs, and what to call the examples; labels are left out.

    Args:
        inputs: where each signal was in training; in a tar it may also have another ending of its kind.

    Raises:
        InputError: the tar cannot be read, or no file in it is of an input's kind.
    """
    shards = index_shards([file])
    if not len(shards):
        raise InputError(f"{file}: there are no files in it that have an ending")
    records, kinds = records_of_shards(shards), kinds_of_endings(shards)
    raws: dict[str, Sequence[Any]] = {}
    for name, config in inputs.items():
        columns = (config.column,) if isinstance(config.column, str) else config.column or ()
        if not columns or not any(column in shards.sizes or column in records for column in columns):
            alike = tuple(column for column, kind in kinds.items() if config.kind in (kind, HOLDS.get(kind)))
            if not alike:
                raise InputError(f"{file}: no file in it is {config.kind} (found {listed(shards.endings)})")
            config = replace(config, column=alike)
        elif config.kind not in (VALUES, PAIR):
            config = replace(config, column=tuple(column for column in columns if column in (*shards.sizes, *records)))
        raws[name] = raws_of_input(shards, config, records, file)
    return raws, Names([str(file)], shards.tar, shards.keys)


def _parts(root: Path, found: Sequence[Path], description: DataConfig) -> list[tuple[str, Path]]:
    """The tars with the split of each, if its name or its folder says one."""
    for path in found:
        if path.name.lower().endswith(".gz"):
            raise InputError(f"{path}: files in it can only be reached in an open tar; gunzip {path.name} first")
    parts = files_by_split(root, found, description)
    if description.splits is None:
        parts = [
            (split or ("" if path.parent == root else SPLIT_WORDS.get(path.parent.name.casefold(), "")), path)
            for split, path in parts
        ]
    order = ("train", "", "val", "test")
    return sorted(parts, key=lambda part: order.index(part[0]))


def _patterns(root: Path, parts: Sequence[tuple[str, Path]]) -> Any:
    """The tars of each split as one pattern; None: their names say it anew each time."""
    patterns: dict[str, str] = {}
    for split in {split for split, _ in parts}:
        paths = [path for name, path in parts if name == split]
        names = [relative(root, path) for path in paths]
        patterns[split] = names[0] if len(names) == 1 else re.sub(r"\d+", "*", names[0])
        if not split or sorted(root.glob(patterns[split])) != sorted(paths):
            return None
    return in_split_order(patterns)


def _inputs(
    shards: Shards,
    target: str | tuple[str, ...] | None,
    records: Mapping[str, Sequence[Any]],
    root: Path,
    description: DataConfig,
) -> tuple[dict[str, InputConfig], dict[str, Reading]]:
    """The signals by name, and what their arrays were taken for: as described, or by the endings of the files.

    Raises:
        InputError: there are none.
    """
    kinds = {name: kind for name, kind in kinds_of_endings(shards).items() if name not in (target, CLASS, RECORD)}
    kinds = {name: kind for name, kind in kinds.items() if name not in description.ignore}
    kinds |= {name: check_kind(kind) for name, kind in (description.kinds or {}).items() if name in shards.sizes}
    described = description.inputs or {}
    readings: dict[str, Reading] = {}
    if not any(config.column for config in described.values()):
        only = next(iter(described.values()), InputConfig())
        found = _signals(shards, kinds, only)
        plain = tuple(name for name, kind in (description.kinds or {}).items() if kind == VALUES and name in records)
        if plain:
            found[VALUES] = InputConfig(kind=VALUES, column=plain)
        if not found:
            raise InputError(
                f"{root}: no file in the shards is a signal (found {listed(shards.endings)}); say --kind ENDING=KIND"
            )
        described = {next(iter(described)): next(iter(found.values()))} if len(found) == len(described) == 1 else found
    inputs = {}
    for name, config in described.items():
        columns = (config.column,) if isinstance(config.column, str) else config.column or (name,)
        if all(ending(f"x.{column}") == ARRAY for column in columns) and config.axes is None:
            reading = _reading(shards, columns, config)
            if reading is None:
                raise InputError(f"{root}: the arrays in .{columns[0]} are no kind of signal; say --kind and --axes")
            readings[name] = reading
            config = replace(config, kind=reading.kind, axes=reading.axes)
        kind = config.kind or next((kinds[column] for column in columns if column in kinds), None)
        if kind is None:
            raise InputError(f"{root}: what .{columns[0]} files are cannot be guessed; say --kind {columns[0]}=KIND")
        inputs[name] = replace(config, column=config.column or columns[0], kind=kind)
    return inputs, readings


def _signals(shards: Shards, kinds: Mapping[str, str], only: InputConfig) -> dict[str, InputConfig]:
    """The signals where nobody describes them: one for each ending, or for several of one kind of which each example
    has one. Films have their sound.

    Args:
        only: what is said of the only signal.
    """
    if only.kind is not None and only.kind in kinds.values():
        kinds = {name: kind for name, kind in kinds.items() if kind == only.kind}
    alike = {kind: tuple(name for name in kinds if kinds[name] == kind) for kind in kinds.values()}
    several: dict[str | tuple[str, ...], str] = {}
    for kind, names in alike.items():
        if sum(int((shards.sizes[name] >= 0).sum()) for name in names) <= rows_with(shards, names).sum():
            several[names if len(names) > 1 else names[0]] = kind
        else:
            several |= dict.fromkeys(names, kind)
    for column, kind in list(several.items()):
        if kind in HOLDS and HOLDS[kind] not in alike and only.kind is None:
            films = shards.members((column,) if isinstance(column, str) else column, kind)
            steps = range(0, len(films), max(1, len(films) // _PROBED))
            if any_sound([film for step in steps if isinstance(film := films[step], bytes)]):
                return {
                    HOLDS[kind]: InputConfig(kind=HOLDS[kind], column=column),
                    kind: InputConfig(kind=kind, column=column),
                }
    if len(several) == len(alike):
        return {kind: replace(only, kind=only.kind or kind, column=column) for column, kind in several.items()}
    names_of = input_names({str(column): kind for column, kind in several.items()})
    return {names_of[str(column)]: InputConfig(kind=kind, column=column) for column, kind in several.items()}


def _reading(shards: Shards, columns: Sequence[str], config: InputConfig) -> Reading | None:
    """What the arrays of an ending are taken for, judged by those of the usual shape among some of them."""
    members = shards.members(columns, "")
    present = np.flatnonzero(members.sizes >= 0)
    probed = [np.asarray(members[int(row)]) for row in present[:: max(1, len(present) // _PROBED)]]
    arrays = np.stack([array for array in probed if array.shape == probed[0].shape])
    return read_array(columns[0].removesuffix(ARRAY[1:]), arrays, kind=config.kind)


def _assumed(
    shards: Shards,
    description: DataConfig,
    target: str | tuple[str, ...] | None,
    inputs: Mapping[str, InputConfig],
    readings: Mapping[str, Reading],
    records: Mapping[str, Sequence[Any]],
    group: str | None,
) -> tuple[Assumption, ...]:
    """What was guessed."""
    said = []
    for name, reading in readings.items():
        if not reading.sure and (description.inputs or {}).get(name, InputConfig()).axes is None:
            said.append(
                Assumption(name, f"{reading.kind}, {', '.join(reading.axes)} ({reading.reason})", "--axes AXES")
            )
    if target is not None and description.target.column is None:
        what = {CLASS: "the .cls files", WORDS: "the .txt files, which recur", FOLDER: "the folders in the tars"}
        text = what.get(str(target), f"{target!r} in the .json files")
        said.append(Assumption("target", text, "--target NAME"))
    used = {target, group, CLASS, RECORD, *(description.ignore), *([] if isinstance(target, str) else target or ())}
    for config in inputs.values():
        used |= {config.column} if isinstance(config.column, str) else set(config.column or ())
    left_out = [name for name in (*shards.endings, *records) if name not in used]
    if left_out and description.inputs is None:
        said.append(Assumption("left out", listed(left_out), "--kind NAME=KIND"))
    return tuple(said)
