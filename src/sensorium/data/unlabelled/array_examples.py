"""The examples in arrays without labels, for a trained model: one, or many along the first axis."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...codecs import arrays as array_codec
from ...errors import InputError, did_you_mean
from ...files import ending
from ...modalities.base import Modality
from ..description import DataConfig, InputConfig
from ..examples import Records
from ..recognition.recognise import PICTURES, SERIES, SPLIT_WORDS, TARGET_WORDS, VALUES

_NAMES = ("classes", "class_names", "label_names", "target_names", "shape_names")
_CHANNEL_NAMES = ("channels", "channel_names")
_NUMBERS, _CELLS = "biuf", "biufUO"  # dtypes of signals, and of the lines of a table
_COLOURS = (1, 3, 4)  # channels of a picture
_CHANNEL_AXES = ("channels", "xyz")


def examples_of(array: np.ndarray, modality: Modality, *, axes: Sequence[str] | None = None) -> Sequence[Any]:
    """The examples in an array: the array itself, if the model reads its shape as one example; else its parts along the
    first axis.

    Args:
        array: numbers. Pictures may have their channels first, as in torch, where that cannot be mistaken.
        modality: one kind of signal.
        axes: what the axes of an example were in training.

    Raises:
        InputError: it is empty or holds no numbers, or neither the array nor its first part can be read: why.
    """
    if array.dtype.kind not in (_CELLS if modality.kind == VALUES else _NUMBERS):
        raise InputError(f"an array of {array.dtype} is no signal; give integers or floats")
    if not array.size:
        raise InputError(f"an array of shape {array.shape} holds nothing; give at least one example")
    array = _channels_last(array, modality, axes)
    if modality.is_example(array.shape):
        return [array]
    parts: Any = array
    if array.ndim > 1 and modality.is_example(array.shape[1:]):
        return parts
    if array.ndim > modality.array_axes + 1:
        most = modality.array_axes + 1
        raise InputError(
            f"an array of {array.ndim} axes; the model reads {modality.kind}, of many examples {most} axes"
        )
    many = array.ndim > modality.array_axes
    modality.load(array[0] if many else array)
    return parts if many else [array]


def together(arrays: Mapping[str, Any], modality: Modality, axes: Mapping[str, Sequence[str] | None]) -> Records:
    """The examples in arrays by modality, which are as many in each.

    Raises:
        InputError: as :func:`examples_of`, or arrays of different numbers of examples.
    """
    parts: dict[str, Sequence[Any]] = {}
    for part in modality.modalities:
        if (array := arrays.get(part.name)) is None:
            continue
        try:
            parts[part.name] = examples_of(np.asarray(array), part, axes=axes.get(part.name))
        except InputError as error:
            raise InputError(f"{part.name}: {error}") from None
    counts = {name: len(part) for name, part in parts.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise InputError(f"as many examples of each signal are needed, not {listed}; give the same ones")
    return Records(parts)


def open_array_file(
    file: Path, modality: Modality, inputs: Mapping[str, InputConfig], description: DataConfig
) -> tuple[Sequence[Any], list[str]]:
    """The raws and the names of the examples in a ``.npy``, ``.npz`` or ``.h5`` file; labels in it are left out.

    Args:
        inputs: where each modality is.

    Raises:
        InputError: the file cannot be read, or has no array, or none of a shape that the model reads.
    """
    raws = _read(file, modality, inputs, description)
    return raws, [str(file)] if len(raws) == 1 else [f"{file} example {number + 1}" for number in range(len(raws))]


def _read(file: Path, modality: Modality, inputs: Mapping[str, InputConfig], description: DataConfig) -> Sequence[Any]:
    axes = {name: config.axes for name, config in inputs.items()}
    if ending(file) == ".npy" and modality.modalities == (modality,):
        array = array_codec.mapped(file)
        raws = examples_of(array, modality, axes=axes[modality.name])
        # A single one is decoded as files are, when it is needed; the parts of a mapped array are read then, too.
        as_file = isinstance(raws, list) and ending(file) in modality.suffixes and axes[modality.name] is None
        return [file] if as_file else raws
    arrays = array_codec.decode(file)
    channels = next((len(array) for key, array in arrays.items() if key.casefold() in _CHANNEL_NAMES), None)
    chosen: dict[str, np.ndarray] = {}
    for part in modality.modalities:
        keys = _keys(arrays, part, inputs[part.name], description)
        if keys:
            joined = np.concatenate([arrays[key] for key in keys]) if len(keys) > 1 else arrays[keys[0]]
            swapped = part.kind == SERIES and joined.ndim == 3 and joined.shape[2] != channels == joined.shape[1]
            chosen[part.name] = joined.swapaxes(1, 2) if swapped else joined
    if modality.modalities != (modality,):
        return together(chosen, modality, axes)
    return examples_of(chosen[modality.name], modality, axes=axes[modality.name])


def _keys(arrays: Mapping[str, np.ndarray], part: Modality, config: InputConfig, description: DataConfig) -> list[str]:
    """The keys of a modality's arrays, one for each split: those called as in training or as the modality, or the only
    one that may be a signal; empty: one of several modalities is absent."""
    named = {key: _without_split(key) for key in arrays}
    for name in (config.column, part.name):
        if found := [key for key, base in named.items() if name in (key, base)]:
            return found
    target = description.target.column
    targets = {*TARGET_WORDS, *((target,) if isinstance(target, str) else target or ())}
    others = {*targets, *_NAMES, *_CHANNEL_NAMES, "fold", "folds", "group", "groups"}
    free = [key for key, base in named.items() if base not in others and base.casefold() not in others]
    if len(set(map(_without_split, free))) == 1:
        return free
    wanted = str(config.column or part.name)
    raise InputError(f"no array is called {wanted!r}; {did_you_mean(wanted, arrays)}")


def _without_split(key: str) -> str:
    """A key without the word of its split.

    >>> _without_split("x_train"), _without_split("accel")
    ('x', 'accel')
    """
    pieces = re.split(r"[_/.\s-]+", key)
    kept = [piece for piece in pieces if piece.casefold() not in SPLIT_WORDS]
    return "_".join(kept) if kept and len(kept) < len(pieces) else key


def _channels_last(array: np.ndarray, modality: Modality, axes: Sequence[str] | None) -> np.ndarray:
    """The array with its channels on the last axis, where they were elsewhere in training; and pictures with channels
    first, as torch has them."""
    if axes:
        position = next((number for number, axis in enumerate(axes) if axis in _CHANNEL_AXES), None)
        fits = array.ndim in (len(axes), len(axes) + 1)
        return array if position is None or not fits else np.moveaxis(array, position - len(axes), -1)
    if modality.kind != PICTURES or array.ndim not in (3, 4) or array.shape[-1] in _COLOURS:
        return array
    first = array.shape[-3]
    is_first = first in _COLOURS if array.ndim == 4 else first == modality.config.channels
    return np.moveaxis(array, -3, -1) if is_first else array
