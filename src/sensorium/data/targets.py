"""Labels as people write them -> the task, the names of the classes, and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import InputError, did_you_mean
from .description import TaskName

_FEW = 20  # so many different numbers may still be classes


def encode(
    labels: np.ndarray,
    names: Sequence[str],
    *,
    task: TaskName | None = None,
    classes: tuple[str, ...] | None = None,
) -> tuple[TaskName, tuple[str, ...], np.ndarray]:
    """The task, the class names and the targets.

    Args:
        labels: n, or n × k; strings, numbers, or lists of either.
        names: of the examples, for errors.
        task: what to learn; None: numbers with many different values are regressed, lists are tags, the rest classes.
        classes: the class names in order; None: those that occur, in order.

    Returns:
        targets: classify: int64, n; tag and regress: float32, n × k.

    Raises:
        InputError: a label is missing, is not among the classes or is not a number; or there is but one class.

    >>> encode(np.array(["dog", "cat", "dog"]), ["a", "b", "c"])
    ('classify', ('cat', 'dog'), array([1, 0, 1]))
    """
    _check_present(labels, names)
    task = task or _task(labels)
    if task == "regress":
        numbers = _numbers(labels, names)
        return task, classes or tuple(f"value {place}" for place in range(1, numbers.shape[1] + 1)), numbers
    if task == "tag":
        return _tags(labels, names, classes)
    if labels.ndim == 2:
        labels = labels.argmax(axis=1)
    if labels.dtype.kind == "f":
        labels = labels.astype(np.int64) if (labels == np.floor(labels)).all() else labels
    found, targets = np.unique(labels.astype(str), return_inverse=True)
    if len(found) < 2:
        raise InputError(f"there is only one class, {str(found[0])!r}; a classifier needs at least two")
    order = in_order(found.tolist())
    if classes is None:
        return task, tuple(order), _places(found, order)[targets]
    if labels.dtype.kind in "iu" and not set(order) <= set(classes):
        return task, classes, _numbered(labels.astype(np.int64), names, len(classes))
    unknown = next((name for name in order if name not in classes), None)
    if unknown is not None:
        where = names[int(np.flatnonzero(targets == found.tolist().index(unknown))[0])]
        raise InputError(f"{where}: {unknown!r} is not among the classes; {did_you_mean(unknown, classes)}")
    return task, classes, _places(found, classes)[targets]


def in_order(words: Iterable[str]) -> list[str]:
    """Words in the order people expect: numbers in them by value.

    >>> in_order(["b", "10", "9", "a"])
    ['9', '10', 'a', 'b']
    """
    return sorted(words, key=lambda word: [(not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in _pieces(word)])


def _pieces(word: str) -> list[str]:
    return [piece for piece in re.split(r"(\d+)", word) if piece]


def _places(found: np.ndarray, order: Sequence[str]) -> np.ndarray:
    place = {name: number for number, name in enumerate(order)}
    return np.array([place[name] for name in found.tolist()], dtype=np.int64)


def _numbered(labels: np.ndarray, names: Sequence[str], count: int) -> np.ndarray:
    """Class numbers from 0; numbers that start at 1 are moved down."""
    if labels.min() == 1 and labels.max() == count:
        labels = labels - 1
    outside = (labels < 0) | (labels >= count)
    if outside.any():
        row = int(np.argmax(outside))
        raise InputError(f"{names[row]}: class number {labels[row]}, but only {count} classes are named; name them all")
    return labels


def _check_present(labels: np.ndarray, names: Sequence[str]) -> None:
    if labels.dtype.kind == "f":
        missing = np.isnan(labels)
    elif labels.dtype.kind == "O":
        missing = np.frompyfunc(lambda value: value is None or value == "" or value != value, 1, 1)(labels).astype(bool)
    else:
        return
    if missing.any():
        row = int(np.argmax(missing.any(axis=1) if missing.ndim == 2 else missing))
        raise InputError(f"{names[row]}: the label is missing; fill it in or remove the row")


def _task(labels: np.ndarray) -> TaskName:
    if labels.ndim == 2:
        if labels.dtype.kind not in "biu" or not np.isin(labels, (0, 1)).all():
            return "regress"
        return "classify" if (labels.sum(axis=1) == 1).all() else "tag"
    if labels.dtype.kind == "O":
        return "tag" if isinstance(labels[0], list) else "classify"
    if labels.dtype.kind == "f":
        return "regress" if len(np.unique(labels)) > min(_FEW, len(labels) / 2) else "classify"
    if labels.dtype.kind in "iu":
        return "regress" if len(np.unique(labels)) > max(_FEW, len(labels) / 10) else "classify"
    return "classify"


def _numbers(labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    try:
        numbers = labels.astype(np.float32).reshape(len(labels), -1)
    except (ValueError, TypeError) as error:
        raise InputError(f"a target to be regressed is not a number ({error})") from None
    infinite = ~np.isfinite(numbers).all(axis=1)
    if infinite.any():
        raise InputError(f"{names[int(np.argmax(infinite))]}: the target is infinite; correct it or remove the row")
    return numbers


def _tags(
    labels: np.ndarray, names: Sequence[str], classes: tuple[str, ...] | None
) -> tuple[TaskName, tuple[str, ...], np.ndarray]:
    if labels.ndim == 2:
        names_of_columns = classes or tuple(str(place) for place in range(labels.shape[1]))
        return "tag", names_of_columns, labels.astype(np.float32)
    rows = [_words(label) for label in labels.tolist()]
    if classes is None:
        classes = tuple(in_order({word for row in rows for word in row}))
    place = {name: number for number, name in enumerate(classes)}
    targets = np.zeros((len(rows), len(classes)), dtype=np.float32)
    for number, row in enumerate(rows):
        for word in row:
            if word not in place:
                raise InputError(f"{names[number]}: {word!r} is not among the classes; {did_you_mean(word, classes)}")
            targets[number, place[word]] = 1
    return "tag", classes, targets


def _words(label: object) -> list[str]:
    if isinstance(label, list):
        return [str(word) for word in label]
    separator = next((mark for mark in ";|," if mark in str(label)), ";")
    return [word.strip() for word in str(label).split(separator) if word.strip()]
