"""What a ``dataset.yaml`` may say: the few things about a data set that cannot always be guessed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from ..config import from_dict, read_yaml, record

SplitName = Literal["train", "val", "test"]
TaskName: TypeAlias = str  # a name in TASKS that labels or pairs determine, or "none"
LayoutName = Literal["folders", "table", "arrays", "ts", "audioset", "pairs"]

NO_LABELS: TaskName = "none"  # the signal itself is learned

FILE_NAME = "dataset.yaml"


@record
class InputConfig:
    """One signal of every example.

    Attributes:
        kind: the kind of signal, as in ``KINDS``.
        column: the column of a table that holds it (several columns for the kind ``table``), or the key of an array
            file. In class folders a ``label`` is the name of the folder.
        files: in class folders, which files belong to it (a glob such as ``"*.wav"``).
    """

    kind: str | None = None
    column: str | tuple[str, ...] | None = None
    files: str | None = None


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
            ``audioset`` (its published lists beside a folder of clips) or ``pairs`` (two frames and their flow).
        inputs: the signals of an example, by name.
        target: the target of the examples.
        split: the column that says which split a row belongs to.
        splits: for ``train``, ``val`` and ``test``, what holds it: a file, a folder, a glob, a word in the keys of an
            array file, or, with ``split``, a value in that column.
        fold: the column with the fold of each row, for cross-validation.
        group: the column with the group of each row, such as a person or a recording; all examples of a group are in
            the same split.

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
