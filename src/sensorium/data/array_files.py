"""Arrays in ``.npz``, ``.npy`` and ``.h5``: ``x_train`` and ``y_train``, or ``data`` and ``label`` of ``train.h5``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..codecs import arrays as array_codec
from ..errors import InputError, did_you_mean
from ..files import ending
from .description import DataConfig, InputConfig, in_split_order
from .examples import Listing, Selection
from .recognise import SERIES, SPLIT_WORDS, TARGET_WORDS, check_kind, input_names, kind_of_array, split_of

SUFFIXES = array_codec.SUFFIXES
_CLASS_KEYS = ("classes", "class_names", "label_names", "target_names", "shape_names")
_CHANNEL_KEYS = ("channels", "channel_names")


def list_arrays(root: Path, files: Iterable[Path], description: DataConfig) -> Listing:
    """Every example in array files: the first axis of each array.

    Raises:
        InputError: no labels, arrays of different lengths, shapes no kind of signal has, or pickled objects.
    """
    files = [path for path in files if ending(path) in SUFFIXES]
    parts, shared = _by_split(files, _split_words(description))
    if "train" in parts:
        parts.pop("", None)
    example = parts.get("train") or next(iter(parts.values()))
    target = _choose(example, description.target.column, TARGET_WORDS, "target", files[0])
    if target is None:
        raise InputError(
            f"{files[0]}: there is no array of labels (arrays: {', '.join(sorted(example))}); "
            "name it in dataset.yaml, as in `target: {column: labels}`"
        )
    fold = _choose(example, description.fold, ("fold", "folds"), "fold", files[0])
    group = _choose(example, description.group, ("group", "groups"), "group", files[0])
    channels = next((shared[key] for key in _CHANNEL_KEYS if key in shared), None)
    inputs = _inputs(example, description, {target, fold, group}, channels is not None, files[0])
    raws: dict[str, list[Any]] = {name: [] for name in inputs}
    labels, split_names, folds, groups, names = [], [], [], [], []
    for split, arrays in parts.items():
        count = len(_array(arrays, target, split, files[0]))
        for name, config in inputs.items():
            array = _array(arrays, str(config.column), split, files[0])
            if len(array) != count:
                raise InputError(
                    f"{files[0].parent}: {len(array)} examples but {count} labels in the split {split or 'all'!r}; "
                    "make them as many"
                )
            raws[name].append(_channels_last(array, channels) if config.kind == SERIES else array)
        labels.append(_flat(arrays[target]))
        split_names += [split] * count
        folds += [_flat(arrays[fold])] if fold else []
        groups += [_flat(arrays[group])] if group else []
        names += [f"{split or files[0].name} {row}" for row in range(1, count + 1)]
    return Listing(
        kinds={name: check_kind(str(config.kind)) for name, config in inputs.items()},
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
            inputs=inputs,
            target=replace(description.target, column=target),
            splits=description.splits or in_split_order({split: split for split in parts}),
            fold=fold,
            group=group,
        ),
    )


def _split_words(description: DataConfig) -> dict[str, str]:
    """Which word in a key or file name means which split."""
    if description.splits is None:
        return SPLIT_WORDS
    ours = {Path(word).stem.casefold(): split for split, word in description.splits.items()}
    # "val" stands for "validation" too, as it does where nothing is described.
    return {**{word: ours[meant] for word, meant in SPLIT_WORDS.items() if meant in ours}, **ours}


def _by_split(
    files: list[Path], words: dict[str, str]
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """For each split its arrays by key without the split's word; and what all splits share (names of things)."""
    parts: dict[str, dict[str, np.ndarray]] = {}
    shared: dict[str, np.ndarray] = {}
    for path in files:
        for key, array in array_codec.decode(path).items():
            base, split = _strip(key, words)
            if base.casefold() in (*_CLASS_KEYS, *_CHANNEL_KEYS):
                shared[base.casefold()] = array.astype(str)
                continue
            stem = words.get(path.stem.casefold()) or words.get(split_of(path.stem) or "", "")
            part = parts.setdefault(split or stem, {})
            if base in part:
                raise InputError(f"{path}: a second array {base!r}; name the split in the file name, or join the files")
            part[base] = array
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
    arrays: dict[str, np.ndarray], wanted: str | tuple[str, ...] | None, words: tuple[str, ...], role: str, where: Path
) -> str | None:
    """The key the description names, or the one whose name says the role."""
    if wanted is None:
        return next((key for word in words for key in arrays if key.casefold() == word), None)
    if not isinstance(wanted, str) or wanted not in arrays:
        raise InputError(f"{where}: no array is called {wanted!r} ({role}); {did_you_mean(str(wanted), arrays)}")
    return wanted


def _inputs(
    arrays: dict[str, np.ndarray], description: DataConfig, taken: set[str | None], has_channel_names: bool, where: Path
) -> dict[str, InputConfig]:
    def kind_of(key: str) -> str | None:
        array = arrays[key]
        return kind_of_array(array.shape[1:], array.dtype.kind, has_channel_names=has_channel_names)

    if description.inputs:
        for config in description.inputs.values():
            if config.column is not None:
                _choose(arrays, config.column, (), "input", where)
        free = [key for key in arrays if key not in taken and arrays[key].dtype.kind in "biuf" and arrays[key].ndim > 1]
        columns = {name: str(config.column or next(iter(free), "")) for name, config in description.inputs.items()}
        return {
            name: replace(config, column=columns[name], kind=config.kind or kind_of(columns[name]))
            for name, config in description.inputs.items()
        }
    kinds = {
        key: kind
        for key, array in arrays.items()
        if key not in taken and array.dtype.kind in "biuf" and array.ndim > 1 and (kind := kind_of(key)) is not None
    }
    if not kinds:
        shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items())
        raise InputError(f"{where}: no array looks like a signal ({shapes}); name it in dataset.yaml under `inputs`")
    return {name: InputConfig(kind=kinds[key], column=key) for key, name in input_names(kinds).items()}


def _array(arrays: dict[str, np.ndarray], key: str, split: str, where: Path) -> np.ndarray:
    if key not in arrays:
        raise InputError(f"{where.parent}: the split {split!r} has no array {key!r}; {did_you_mean(key, arrays)}")
    return arrays[key]


def _channels_last(array: np.ndarray, channels: np.ndarray | None) -> np.ndarray:
    """n × steps × channels, whichever way round the named channels are."""
    if channels is not None and array.ndim == 3 and array.shape[2] != len(channels) == array.shape[1]:
        return array.swapaxes(1, 2)
    return array


def _flat(labels: np.ndarray) -> np.ndarray:
    """n, from n × 1."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
