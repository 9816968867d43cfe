"""What a ``dataset.yaml`` may say: the few things about a data set that cannot always be guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from ..config import from_dict, read_yaml, record
from ..errors import InputError

SplitName = Literal["train", "val", "test"]
TaskName: TypeAlias = str  # a name in TASKS that labels or pairs determine, or "none"
LayoutName = Literal["folders", "table", "arrays", "ts", "audioset", "pairs", "bids", "shards"]

NO_LABELS: TaskName = "none"  # the signal itself is learned

FILE_NAME = "dataset.yaml"

# What an axis of an array is called -> the kind of signal that has such an axis.
KIND_OF_AXIS = {"time": "series", "points": "points", "depth": "volume", "height": "image"}


@record
class InputConfig:
    """One signal of every example.

    Attributes:
        kind: the kind of signal, as in ``KINDS``.
        column: the column of a table that holds it (several columns for the kind ``table``), or the key of an array
            file. In class folders a ``label`` is the name of the folder. In shards it is the ending of its files (or
            several, of which an example has one), or a name in the ``.json`` files.
        files: in class folders, which files belong to it (a glob such as ``"*.wav"``).
        axes: what the axes of an array are, the examples' axis left out, such as ``("time", "channels")``.
    """

    kind: str | None = None
    column: str | tuple[str, ...] | None = None
    files: str | None = None
    axes: tuple[str, ...] | None = None


@record
class TargetConfig:
    """The target of the examples.

    Attributes:
        column: the column (table) or key (arrays) that holds it; several numbers: several columns.
        task: ``classify`` (one class each), ``tag`` (any number of classes each), ``regress`` (numbers), ``flow`` (the
            motion between two frames; synthetic motion, where the data are single pictures) or ``none``: the signal
            itself is learned, and labels are not used.
        classes: the names of the classes in the order of their numbers, or a text file with one name per line.
    """

    column: str | tuple[str, ...] | None = None
    task: TaskName | None = None
    classes: tuple[str, ...] | str | None = None


@record
class DataConfig:
    """A description of a data set; whatever is left out is recognised from what is on disk.

    Attributes:
        layout: ``folders`` (a folder per class), ``table`` (CSV, TSV, Parquet), ``arrays`` (.npz, .npy, .h5), ``ts``,
            ``audioset`` (its published lists beside a folder of clips), ``pairs`` (two frames and their flow) or
            ``shards`` (tars of WebDataset).
        inputs: the signals of an example, by name.
        target: the target of the examples.
        split: the column that says which split a row belongs to.
        splits: for ``train``, ``val`` and ``test``, what holds it: a file, a folder, a glob, a word in the keys of an
            array file, or, with ``split``, a value in that column.
        fold: the column with the fold of each row, for cross-validation.
        group: the column with the group of each row, such as a person or a recording; all examples of a group are in
            the same split. ``none``: there are no groups, whatever columns are called.
        time: of a table whose rows are the steps of recordings, the column with the time of each step.
        recording: the column with the recording of each such row, or ``(file)``: each file is one.
        ignore: columns, or keys of an array file, that are not used.
        kinds: columns, or keys of an array file, that are inputs, and the kind of each; the others are recognised.
        window: steps of the windows that long recordings are cut into; 0: they stay whole.
        hop: steps from the beginning of a window to the beginning of the next one.
        val: the share of the training examples that are set aside for validation, where the data have no ``val``.

    >>> DataConfig(target=TargetConfig(column="price", task="regress")).target.task
    'regress'
    """

    layout: LayoutName | None = None
    inputs: dict[str, InputConfig] | None = None
    target: TargetConfig = TargetConfig()
    split: str | None = None
    splits: dict[SplitName, str] | None = None
    fold: str | None = None
    group: str | None = None
    time: str | None = None
    recording: str | None = None
    ignore: tuple[str, ...] = ()
    kinds: dict[str, str] | None = None
    window: int | None = None
    hop: int | None = None
    val: float | None = None


class Corrections(TypedDict, total=False):
    """What the user says of the data instead of what would be guessed; see :func:`corrected`."""

    target: str | None
    ignore: Sequence[str]
    group: str | None
    kind: Sequence[str]
    axes: str | None
    window: int | None
    hop: int | None
    val: float | None


def corrected(
    description: DataConfig,
    *,
    target: str | None = None,
    ignore: Sequence[str] = (),
    group: str | None = None,
    kind: Sequence[str] = (),
    axes: str | None = None,
    window: int | None = None,
    hop: int | None = None,
    val: float | None = None,
) -> DataConfig:
    """A description with what the user says in its place.

    Args:
        target: the column or key to predict; several with commas between them.
        ignore: columns or keys that are not used.
        group: the column whose values stay together in a split.
        kind: the kind of the signal; or ``NAME=KIND``, any number of times: of a column or key, which is then an input.
        axes: the axes of an array with commas between them, such as ``time,channels``; or ``NAME=AXES``.
        window, hop, val: as in :class:`DataConfig`.

    Raises:
        InputError: two kinds for one signal.

    >>> corrected(DataConfig(), kind=["points"]).inputs
    {'points': InputConfig(kind='points', column=None, files=None, axes=None)}
    """
    changes: dict[str, Any] = {"group": group, "window": window, "hop": hop, "val": val}
    changes = {name: value for name, value in changes.items() if value is not None}
    if target is not None:
        columns = tuple(name.strip() for name in target.split(","))
        changes["target"] = replace(description.target, column=columns[0] if len(columns) == 1 else columns)
    if ignore:
        changes["ignore"] = (*description.ignore, *ignore)
    whole = [value for value in kind if "=" not in value]
    if len(whole) > 1:
        raise InputError(f"--kind {whole[0]} and {whole[1]}: of several signals, say NAME=KIND")
    if named := dict(value.split("=", 1) for value in kind if "=" in value):
        changes["kinds"] = {**(description.kinds or {}), **named}
    if whole or axes is not None:
        changes["inputs"] = _with_axes(description.inputs, whole[0] if whole else None, axes)
    return replace(description, **changes)


def _with_axes(inputs: dict[str, InputConfig] | None, kind: str | None, axes: str | None) -> dict[str, InputConfig]:
    """The inputs with the kind of the only one and the axes of one of them."""
    name, separator, named_axes = (axes or "").rpartition("=")
    names = tuple(axis.strip() for axis in named_axes.split(",")) if axes else None
    kind = kind or (kind_of_axes(names) if names and not separator else None)
    only = next(iter(inputs)) if inputs and len(inputs) == 1 else kind
    name = name or only or "signal"
    described = (inputs or {}).get(name, InputConfig())
    described = replace(described, kind=kind or described.kind, axes=names or described.axes)
    return {**(inputs or {}), name: described}


def kind_of_axes(axes: tuple[str, ...]) -> str | None:
    """The kind of signal whose axes are called like that.

    >>> kind_of_axes(("time", "channels")), kind_of_axes(("time", "height", "width"))
    ('series', 'video')
    """
    if {"time", "height"} <= set(axes):
        return "video"
    return next((kind for axis, kind in KIND_OF_AXIS.items() if axis in axes), None)


def in_split_order(found: Mapping[str, str]) -> dict[SplitName, str] | None:
    """The word on disk for each split, ``train`` first; None where no split was found."""
    names: tuple[SplitName, ...] = get_args(SplitName)
    return {name: found[name] for name in names if name in found} or None


def read_description(path: Path) -> DataConfig:
    """The description in a YAML file.

    Raises:
        InputError: the file cannot be read, or says something a description has no place for.
    """
    return from_dict(DataConfig, read_yaml(path) or {}, where=str(path))


def find_description(data: Path) -> DataConfig:
    """The ``dataset.yaml`` that lies in the data folder, or beside the data file; else an empty description."""
    path = (data if data.is_dir() else data.parent) / FILE_NAME
    return read_description(path) if path.is_file() else DataConfig()
