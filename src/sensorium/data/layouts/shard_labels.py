"""What is said of the examples in shards besides their signals: labels, groups, splits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, did_you_mean
from ...files import ending
from ..assumptions import Assumption, listed
from ..description import DataConfig
from ..recognition.groups import NO_GROUP, is_group_name, keeps_groups
from ..recognition.recognise import SPLIT_WORDS, kind_of_suffix, needs_labels
from ..recognition.target_column import named_target
from .members import Shards

CLASS, WORDS, RECORD = "cls", "txt", "json"  # endings of files that hold a class, a text or label, values by name
FOLDER = "(folder)"  # as the target's column: the folder in the tar
_LONGEST_LABEL = 60  # letters on average, up to which texts that recur are labels


def kinds_of_endings(shards: Shards) -> dict[str, str]:
    """The kind of signal in the files of each ending; those that hold none are left out."""
    kinds = {name: kind_of_suffix(ending(f"x.{name}")) for name in shards.endings}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def splits_of_folders(folders: Sequence[tuple[str, ...]]) -> np.ndarray | None:
    """The split of each example, where the first folder in the tar says one of all of them."""
    words = [SPLIT_WORDS.get(parts[0].casefold(), "") if parts else "" for parts in folders]
    return np.array(words) if "train" in words and "" not in words else None


def records_of_shards(shards: Shards) -> dict[str, list[Any]]:
    """The entries of the ``.json`` files: for each name a value an example; None where it has none.

    Raises:
        InputError: one of them is no object.
    """
    if RECORD not in shards.sizes:
        return {}
    records: dict[str, list[Any]] = {}
    for row, content in enumerate(shards.contents(RECORD)):
        try:
            found = {} if content is None else json.loads(content)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            path = shards.tars[shards.tar[row]]
            raise InputError(f"{path}: {shards.keys[row].decode()}.json is no JSON object; correct or remove it")
        for name, value in found.items():
            records.setdefault(name, [None] * len(shards))[row] = value
    return records


def labels_of_shards(
    shards: Shards,
    records: Mapping[str, Sequence[Any]],
    folders: Sequence[tuple[str, ...]],
    root: Path,
    description: DataConfig,
) -> tuple[str | tuple[str, ...] | None, np.ndarray]:
    """The column of the labels, and the labels.

    Raises:
        InputError: a label is needed, and there is none.
    """
    column = description.target.column
    if column is None and needs_labels(description.target.task):
        column = _label_column(shards, records, folders)
        if column is None:
            keys = f"; the .json files hold {listed(list(records))}" if records else ""
            raise InputError(
                f"{root}: the shards have no labels; give each example a .cls file, say --target NAME, or use "
                f"sensorium pretrain{keys}"
            )
    if column is None:
        return None, np.full(len(shards), None)
    if isinstance(column, tuple):
        return column, np.stack([value_column(records, name, root) for name in column], axis=1)
    if column == FOLDER:
        return column, np.array([parts[0] if parts else None for parts in folders], dtype=object)
    if column not in shards.sizes or column == RECORD:
        return column, value_column(records, column, root)
    return column, _plain(_words(shards, column), description.target.classes)


def _words(shards: Shards, name: str) -> list[str | None]:
    """What the files of one ending say.

    Raises:
        InputError: one of them is no text.
    """
    contents = shards.contents(name)
    words: dict[bytes | None, str | None] = {None: None}
    for content in {content for content in contents if content is not None}:  # labels recur: each is decoded once
        try:
            words[content] = content.decode().strip()
        except UnicodeDecodeError:
            row = contents.index(content)
            key = shards.keys[row].decode(errors="replace")
            path = shards.tars[shards.tar[row]]
            raise InputError(f"{path}: {key}.{name} is no text; correct or remove it") from None
    return [words[content] for content in contents]


def _label_column(
    shards: Shards, records: Mapping[str, Sequence[Any]], folders: Sequence[tuple[str, ...]]
) -> str | None:
    if CLASS in shards.sizes:
        return CLASS
    if (name := named_target(records)) is not None:
        return name
    if WORDS in shards.sizes and any(name != WORDS for name in kinds_of_endings(shards)):
        sizes = shards.sizes[WORDS]
        if sizes.mean() <= _LONGEST_LABEL and len(set(shards.contents(WORDS))) <= len(shards) / 2:
            return WORDS
    return FOLDER if len({parts[:1] for parts in folders} - {()}) > 1 else None


def _plain(words: Sequence[str | None], classes: object) -> np.ndarray:
    """Labels as they are written: whole numbers, which are the numbers of the classes if these have names, or words."""
    if all(word is not None and word.lstrip("-").isdigit() for word in set(words)):
        numbers = np.array(words, dtype=np.int64)
        if isinstance(classes, tuple) and numbers.min() >= 0 and numbers.max() < len(classes):
            return np.array(classes, dtype=object)[numbers]
        return numbers
    return np.array(words, dtype=object)


def value_column(records: Mapping[str, Sequence[Any]], name: str, root: Path) -> np.ndarray:
    """An entry of the ``.json`` files as an array.

    Raises:
        InputError: no entry is called so.
    """
    if name not in records:
        raise InputError(f"{root}: no entry of the .json files is called {name!r}; {did_you_mean(name, records)}")
    values = list(records[name])
    if all(isinstance(value, bool | int | float) for value in values):
        return np.array(values)
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def groups_of_shards(
    records: Mapping[str, Sequence[Any]],
    target: str | tuple[str, ...] | None,
    split_names: np.ndarray,
    description: DataConfig,
) -> tuple[str | None, np.ndarray | None, tuple[Assumption, ...]]:
    """The entry of groups, as described or by its name; its values; and what was guessed."""
    if description.group is not None:
        said = description.group
        return said, None if said == NO_GROUP else value_column(records, said, Path("shards")), ()
    on_disk = split_names if (split_names != "").any() else None
    for name in records:
        if name != target and is_group_name(name):
            values = value_column(records, name, Path())
            if keeps_groups(values, on_disk):
                text = f"{name!r} ({len(set(records[name])):,} values): its examples stay in one split"
                return name, values, (Assumption("group", text, "--group COLUMN or none"),)
    return None, None, ()
