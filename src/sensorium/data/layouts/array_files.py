"""Arrays in ``.npz``, ``.npy`` and ``.h5``: ``x_train`` and ``y_train``, or ``data`` and ``label`` of ``train.h5`` (or
of ``train0.h5``, ``train1.h5`` and so on)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from natsort import natsorted

from ...codecs import arrays as array_codec
from ...errors import InputError, did_you_mean
from ...files import ending
from ..assumptions import Assumption
from ..description import DataConfig, InputConfig, in_split_order, kind_of_axes
from ..examples import Listing, Selection
from ..recognition.axes import Reading, kind_of_name, read_array
from ..recognition.groups import NO_GROUP, is_group_name, keeps_groups
from ..recognition.recognise import (
    CLOUDS,
    SERIES,
    SPLIT_WORDS,
    TARGET_WORDS,
    VALUES,
    check_kind,
    input_names,
    needs_labels,
    split_of,
)
from .array_notes import ArrayNotes, read_notes
from .windows import NamedChannels

SUFFIXES = array_codec.SUFFIXES
_CLASS_KEYS = ("classes", "class_names", "label_names", "target_names", "shape_names")
_OF_POINTS = ("normal", "faceid", "pid")  # arrays beside clouds, as ModelNet40 and ShapeNet are published
_CHANNEL_KEYS = ("channels", "channel_names")


def list_arrays(root: Path, files: Iterable[Path], description: DataConfig) -> Listing:
    """Every example in array files: the first axis of each array.

    Raises:
        InputError: no labels, arrays of different lengths, shapes no kind of signal has, or pickled objects.
    """
    files = natsorted(path for path in files if ending(path) in SUFFIXES)
    parts, shared = _by_split(files, _split_words(description))
    if "train" in parts:
        parts.pop("", None)
    example = (parts.get("train") or next(iter(parts.values())))[0]
    target = _target(example, description, files[0])
    fold = _choose(example, description.fold, ("fold", "folds"), "fold", files[0])
    group = _group(parts, description, files[0])
    notes = {_strip(key, SPLIT_WORDS)[0]: said for path in files for key, said in read_notes(path).items()}
    channels = next((shared[key] for key in _CHANNEL_KEYS if key in shared), None)
    if channels is None:
        channels = next((np.array(said.channels) for said in notes.values() if said.channels), None)
    roles = {target, fold, group, *description.ignore}
    readings = _inputs(example, description, roles, notes, channels, _length(example, target), files[0])
    raws: dict[str, list[Any]] = {name: [] for name in readings}
    labels, split_names, folds, groups, names = [], [], [], [], []
    for split, arrays in ((split, arrays) for split, several in parts.items() for arrays in several):
        count = _length(arrays, target or next(iter(readings.values())).key)
        for name, found in readings.items():
            array = _array(arrays, found.key, split, files[0])
            if len(array) != count:
                raise InputError(
                    f"{files[0].parent}: {len(array)} examples but {count} labels in the split {split or 'all'!r}; "
                    "make them as many"
                )
            raws[name].append(found.oriented(array, channels))
        labels.append(np.full(count, None) if target is None else _flat(_array(arrays, target, split, files[0])))
        split_names += [split] * count
        folds += [_flat(arrays[fold])] if fold else []
        groups += [_flat(arrays[group])] if group else []
        before = split_names.count(split) - count
        names += [f"{split or files[0].name} {row}" for row in range(before + 1, before + count + 1)]
    return Listing(
        kinds={name: check_kind(found.reading.kind) for name, found in readings.items()},
        raws={name: Selection(arrays) for name, arrays in raws.items()},
        names=names,
        labels=np.concatenate(labels),
        classes=next((tuple(map(str, shared[key])) for key in _CLASS_KEYS if key in shared), None),
        split_names=np.array(split_names) if any(split_names) else None,
        folds=np.concatenate(folds) if folds else None,
        groups=np.concatenate(groups) if groups else None,
        description=replace(
            description,
            layout="arrays",
            inputs={name: found.config for name, found in readings.items()},
            target=replace(description.target, column=target),
            splits=description.splits or in_split_order({split: split for split in parts}),
            fold=fold,
            group=group,
            kinds=None,
        ),
        assumptions=_assumptions(example, readings, description, target=target, group=group, roles=roles),
    )


@dataclass(frozen=True)
class _Input:
    """An array that is an input: its key, its part of the description, and what it was taken for."""

    key: str
    config: InputConfig
    reading: Reading

    def oriented(self, array: np.ndarray, channels: np.ndarray | None) -> Any:
        """The examples with their axes in the order that their kind has, with the names of their channels."""
        array = array.transpose(0, *(axis + 1 for axis in self.reading.order))
        if self.reading.kind == SERIES and channels is not None and array.ndim == 3 and len(channels) == array.shape[2]:
            return NamedChannels(array, tuple(map(str, channels)))
        return array


def _target(arrays: Mapping[str, np.ndarray], description: DataConfig, where: Path) -> str | None:
    """The array of labels; None: the signal itself is learned.

    Raises:
        InputError: none is called like labels.
    """
    found = _choose(arrays, description.target.column, TARGET_WORDS, "target", where)
    if found is None and needs_labels(description.target.task):
        flat = [key for key, array in arrays.items() if array.ndim == 1 or array.shape[1:] == (1,)]
        cure = f"candidates: {', '.join(flat)}" if flat else f"arrays: {', '.join(sorted(arrays))}"
        raise InputError(f"{where}: there is no array of labels; say which with --target NAME ({cure})")
    return found


def _group(parts: Mapping[str, Sequence[Mapping[str, np.ndarray]]], description: DataConfig, where: Path) -> str | None:
    """The array of groups: as described, or one that is called so and keeps its values within the splits."""
    example = next(iter(parts.values()))[0]
    if description.group == NO_GROUP:
        return None
    if description.group is not None:
        return _choose(example, description.group, (), "group", where)
    everything = [arrays for several in parts.values() for arrays in several]
    for key in example:
        if is_group_name(key) and all(key in arrays and _flat(arrays[key]).ndim == 1 for arrays in everything):
            by_split = [np.concatenate([_flat(arrays[key]) for arrays in several]) for several in parts.values()]
            if keeps_groups(np.concatenate(by_split), np.repeat(np.arange(len(by_split)), [len(v) for v in by_split])):
                return key
    return None


def _length(arrays: Mapping[str, np.ndarray], key: str | None) -> int:
    """How many examples the arrays have: the length of the labels, or else the most frequent one."""
    if key is not None and key in arrays:
        return len(arrays[key])
    lengths = [len(array) for array in arrays.values() if array.ndim]
    return max(lengths, key=lengths.count)


def _assumptions(
    arrays: Mapping[str, np.ndarray],
    inputs: Mapping[str, _Input],
    description: DataConfig,
    *,
    target: str | None,
    group: str | None,
    roles: set[str | None],
) -> tuple[Assumption, ...]:
    """What was guessed of the arrays."""
    found = []
    for name, chosen in inputs.items():
        reading = chosen.reading
        if not reading.sure:
            sizes = " × ".join(
                f"{size:,} {axis}" for size, axis in zip(arrays[chosen.key].shape[1:], reading.axes, strict=True)
            )
            found.append(Assumption(name, f"{reading.kind}, {sizes} ({reading.reason})", "--kind KIND, --axes AXES"))
    if target is not None and description.target.column is None:
        found.append(Assumption("target", f"the array {target!r}", "--target NAME"))
    if group is not None and description.group is None:
        found.append(Assumption("group", f"{group!r}: examples of one stay in one split", "--group NAME or none"))
    left_out = [key for key in arrays if key not in roles and key not in {chosen.key for chosen in inputs.values()}]
    if left_out:
        found.append(Assumption("left out", f"arrays {', '.join(sorted(left_out))}", "--kind NAME=KIND"))
    return tuple(found)


def _split_words(description: DataConfig) -> dict[str, str]:
    """Which word in a key or file name means which split."""
    if description.splits is None:
        return SPLIT_WORDS
    ours = {Path(word).stem.casefold(): split for split, word in description.splits.items()}
    # "val" stands for "validation" too, as it does where nothing is described.
    return {**{word: ours[meant] for word, meant in SPLIT_WORDS.items() if meant in ours}, **ours}


def _by_split(
    files: list[Path], words: dict[str, str]
) -> tuple[dict[str, list[dict[str, np.ndarray]]], dict[str, np.ndarray]]:
    """For each split its arrays by key without the split's word, a dict for each of its numbered files
    (``train0.h5``, ``train1.h5``); and what all splits share (names of things)."""
    parts: dict[str, list[dict[str, np.ndarray]]] = {}
    came_from: dict[str, str] = {}  # by split, the file name of its last part without its numbers
    shared: dict[str, np.ndarray] = {}
    for path in files:
        for key, array in array_codec.decode(path).items():
            base, split = _strip(key, words)
            if base.casefold() in (*_CLASS_KEYS, *_CHANNEL_KEYS):
                shared[base.casefold()] = array.astype(str)
                continue
            stem = words.get(path.stem.casefold()) or words.get(split_of(path.stem) or "", "")
            several = parts.setdefault(split or stem, [{}])
            numbered = re.sub(r"\d+", "", path.stem)
            if base in several[-1]:
                if numbered == path.stem or came_from[split or stem] != numbered:
                    cure = "name the split in the file name, number the files of a split, or join them"
                    raise InputError(f"{path}: a second array {base!r}; {cure}")
                several.append({})
            several[-1][base], came_from[split or stem] = array, numbered
    if not parts:
        raise InputError(f"{files[0]}: there is no array in it")
    order = ("train", "val", "test", "")
    return {split: parts[split] for split in order if split in parts}, shared


def _strip(key: str, words: dict[str, str]) -> tuple[str, str]:
    """A key without its split's word, and that split: ``x_train`` is ``x`` of ``train``."""
    pieces = re.split(r"[_/.\s-]+", key)
    split = next((words[piece.casefold()] for piece in pieces if piece.casefold() in words), "")
    return "_".join(piece for piece in pieces if piece.casefold() not in words) if split else key, split


def _choose(
    arrays: Mapping[str, np.ndarray],
    wanted: str | tuple[str, ...] | None,
    words: tuple[str, ...],
    role: str,
    where: Path,
) -> str | None:
    """The key the description names, or the one whose name says the role."""
    if wanted is None:
        return next((key for word in words for key in arrays if key.casefold() == word), None)
    if not isinstance(wanted, str) or wanted not in arrays:
        raise InputError(f"{where}: no array is called {wanted!r} ({role}); {did_you_mean(str(wanted), arrays)}")
    return wanted


def _inputs(
    arrays: dict[str, np.ndarray],
    description: DataConfig,
    roles: set[str | None],
    notes: Mapping[str, ArrayNotes],
    channels: np.ndarray | None,
    count: int,
    where: Path,
) -> dict[str, _Input]:
    """The arrays that are inputs, by the name of the input: those of the description, or all that can be."""

    def said(key: str, config: InputConfig) -> InputConfig:
        return notes[key].completed(config) if key in notes else config

    free = {key: array for key, array in arrays.items() if key not in roles and array.ndim}
    free = {key: array for key, array in free.items() if len(array) == count} or free
    if description.inputs is None:
        described: dict[str, InputConfig] = {}
        chosen = description.kinds or {}
        readings = {
            key: _reading(key, array, said(key, InputConfig(kind=chosen.get(key))), channels, where)
            for key, array in free.items()
        }
        if any(found is not None and found.kind != VALUES for found in readings.values()):
            # Beside a signal, one number for each example is metadata; it is an input only if it is described.
            readings = {key: found for key, found in readings.items() if found is None or free[key].ndim > 1}
        found = {key: reading for key, reading in readings.items() if reading is not None and free[key].ndim > 1}
        found = {key: reading for key, reading in found.items() if key in chosen or not _is_of_points(key, free, found)}
        names = input_names({key: reading.kind for key, reading in found.items()})
        described = {names[key]: InputConfig(column=key, kind=chosen.get(key)) for key in found}
        if not described:
            shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items())
            raise InputError(f"{where}: no array looks like a signal ({shapes}); say --kind KIND, or --kind NAME=KIND")
    else:
        described = description.inputs
    inputs = {}
    for name, config in described.items():
        key = config.column if isinstance(config.column, str) else name if name in free else _only(free, config, where)
        if key not in arrays:
            raise InputError(f"{where}: no array is called {key!r} (input); {did_you_mean(str(key), arrays)}")
        reading = _reading(key, arrays[key], said(key, config), channels, where)
        if reading is None:
            raise InputError(
                f"{where}: {key} {arrays[key].shape} is no kind of signal; say --axes, or --kind NAME=KIND"
            )
        inputs[name] = _Input(key, replace(config, column=key, kind=reading.kind, axes=reading.axes), reading)
    return inputs


def _is_of_points(key: str, arrays: Mapping[str, np.ndarray], readings: Mapping[str, Reading]) -> bool:
    """Whether an array tells something of each point of a cloud in another array, by its name and its shape."""
    clouds = [other for other, reading in readings.items() if reading.kind == CLOUDS and not _tells_of_points(other)]
    return _tells_of_points(key) and any(arrays[key].shape[:2] == arrays[other].shape[:2] for other in clouds)


def _tells_of_points(key: str) -> bool:
    return re.sub(r"[^a-z]", "", key.casefold()).rstrip("s") in _OF_POINTS


def _only(free: Mapping[str, np.ndarray], config: InputConfig, where: Path) -> str:
    """The one array that an input without a column can be.

    Raises:
        InputError: there are several, or none.
    """
    signals = [key for key, array in free.items() if array.dtype.kind in "biuf" and array.ndim > 1]
    fitting = [key for key in signals if kind_of_name(key) == config.kind] or signals
    if len(fitting) != 1:
        which = ", ".join(fitting) or "none"
        raise InputError(f"{where}: which array holds the {config.kind}? ({which}); say --kind NAME={config.kind}")
    return fitting[0]


def _reading(
    key: str, array: np.ndarray, config: InputConfig, channels: np.ndarray | None, where: Path
) -> Reading | None:
    """What an array is taken for: what the description says, and what it leaves open as it looks."""
    if config.axes is not None:
        kind = config.kind or kind_of_axes(config.axes)
        if kind is None:
            raise InputError(f"{where}: what kind of signal has the axes {', '.join(config.axes)}? say --kind KIND")
        if len(config.axes) != array.ndim - 1:
            raise InputError(
                f"{where}: {key} {array.shape} has {array.ndim - 1} axes after that of the examples, "
                f"--axes names {len(config.axes)}; name each"
            )
        return Reading(kind, config.axes, "as you say", sure=True)
    if channels is not None and config.kind in (None, SERIES) and array.ndim == 3 and array.dtype.kind in "biuf":
        last, first = (array.shape[axis] == len(channels) for axis in (2, 1))
        if last or first:
            axes = ("time", "channels") if last else ("channels", "time")
            return Reading(SERIES, axes, f"the data name its {len(channels)} channels", sure=True)
    return read_array(key, array, kind=config.kind)


def _array(arrays: dict[str, np.ndarray], key: str, split: str, where: Path) -> np.ndarray:
    if key not in arrays:
        raise InputError(f"{where.parent}: the split {split!r} has no array {key!r}; {did_you_mean(key, arrays)}")
    return arrays[key]


def _flat(labels: np.ndarray) -> np.ndarray:
    """n, from n × 1."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
