"""Examples of strangers for a trained model: files, and signals as JSON has them. No text in them is a path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...codecs.raw import Raw
from ...errors import InputError, did_you_mean
from ...modalities.base import Modality
from ..description import DataConfig, InputConfig
from ..examples import Examples
from ..layouts import tables
from ..recognition.recognise import TEXT, VALUES
from .array_examples import examples_of
from .single_files import Unlabelled, Unreadable, inputs_of, open_files
from .table_examples import rows_of
from .values import in_windows

_PAIR, _SOUND, _LABEL = "pair", "audio", "label"
_SCALARS = (str, int, float, bool, type(None))


def open_strange_files(files: Sequence[Path], modality: Modality, *, description: DataConfig) -> Unlabelled:
    """As :func:`open_values` of these paths, but for the files that a table names: they are not read.

    Raises:
        InputError: as :func:`open_values`.
    """
    found = open_files(files, modality, description=description, follow_paths=False)
    examples = found.examples
    raws, names = in_windows(examples.raws[modality.name], examples.names, modality, description)
    return Unlabelled(Examples({modality.name: raws}, None, names), found.notes)


def open_signals(values: Sequence[Any], modality: Modality, *, description: DataConfig) -> Unlabelled:
    """The examples in values that JSON may hold, called ``example 1``, ``example 2``, …

    Args:
        values: for each example nested lists of numbers (None is a gap), which may also be several examples along the
            first axis; a text; the cells of a row by name or in order; of sound, also ``{"values": …, "rate": …}``; of
            frames, two of them; of several signals, these by the names of the modalities, or the paths of their files.
        modality: what the model reads.
        description: of the data that it was trained on.

    What the model cannot read becomes one example that is :class:`Unreadable`.

    Raises:
        InputError: there is nothing.
    """
    inputs = inputs_of(modality, description)
    raws: list[Any] = []
    for value in values:
        try:
            raws += _raws(value, modality, inputs)
        except InputError as error:
            raws.append(Unreadable(str(error)))
    if not raws:
        raise InputError("there is nothing to answer; give at least one example")
    names = [f"example {number}" for number in range(1, len(raws) + 1)]
    shown, names_shown = in_windows(raws, names, modality, description)
    return Unlabelled(Examples({modality.name: shown}, None, names_shown))


def _raws(value: Any, modality: Modality, inputs: Mapping[str, InputConfig]) -> Sequence[Any]:
    if modality.modalities == (modality,):
        return _of_kind(value, modality, inputs[modality.name])
    parts = {part.name: part for part in modality.modalities}
    if not isinstance(value, Mapping):
        raise InputError(f"the model reads several signals; give them by name: {', '.join(parts)}")
    raws: dict[str, Any] = {}
    for name, signal in value.items():
        if name not in parts:
            raise InputError(f"the model reads no signal {name!r}; {did_you_mean(str(name), parts)}")
        if signal is None:
            continue
        found = _of_kind(signal, parts[name], inputs[name])
        if len(found) != 1:
            raise InputError(f"{name}: {len(found)} examples; give one")
        raws[name] = found[0]
    return [raws]


def _of_kind(value: Any, part: Modality, config: InputConfig) -> Sequence[Any]:
    """The raws of one kind of signal."""
    if isinstance(value, Path):
        return _rows_of_file(value, part, config) if part.kind == VALUES else [value]
    if part.kind == VALUES:
        return [_row(value, part)]
    if part.kind in (TEXT, _LABEL):
        if not isinstance(value, str):
            raise InputError(f"{part.kind} is a string, not {_noun(value)}")
        return [value.encode("utf-8", errors="replace").decode()]
    if part.kind == _PAIR:
        if not isinstance(value, list) or len(value) != 2:
            raise InputError("an example is two frames; give a list of two")
        return [(_array(value[0]), _array(value[1]))]
    if part.kind == _SOUND and isinstance(value, Mapping):
        rate = value.get("rate")
        if set(value) != {"values", "rate"} or not isinstance(rate, int | float) or not rate >= 1:
            raise InputError('sound with a rate is {"values": …, "rate": samples a second}')
        return [(_array(value["values"]).astype(np.float64), int(rate))]
    array = _array(value)
    return examples_of(array.astype(np.float64) if part.kind == _SOUND else array, part, axes=config.axes)


def _row(value: Any, part: Modality) -> Raw:
    """The cells of a row by name."""
    if isinstance(value, list):
        names = [column.name for column in part.config.columns]
        if len(value) != len(names):
            raise InputError(f"{len(value)} values, the model reads {len(names)} columns; give as many")
        value = dict(zip(names, value, strict=True))
    if not isinstance(value, Mapping) or not all(isinstance(cell, _SCALARS) for cell in value.values()):
        raise InputError("a row is an object of numbers and strings by the names of the columns, or a list of them")
    return value


def _rows_of_file(path: Path, part: Modality, config: InputConfig) -> Sequence[Any]:
    rows, _ = rows_of(tables.read_table(path), part, {part.name: config}, folder=None)
    return rows


def _array(value: Any) -> np.ndarray:
    """Nested lists of numbers as an array; None is a gap."""
    if not isinstance(value, list):
        raise InputError(f"a signal is nested lists of numbers, not {_noun(value)}")
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O":
            array = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("a signal is nested lists of numbers, all of the same length at each depth") from None
    return array


def _noun(value: Any) -> str:
    """What JSON calls a value.

    >>> _noun({}), _noun(3), _noun(None)
    ('an object', 'a number', 'null')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    names = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
