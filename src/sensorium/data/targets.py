"""Labels as people write them -> the task, the names of the classes, and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from natsort import natsorted

from ..errors import InputError, did_you_mean
from ..tasks import TASKS
from .description import TaskName

LabelType: TypeAlias = Literal["class", "tags", "numbers"]

# The task that is learned where nothing but the labels says so.
TASK_OF_LABELS: dict[LabelType, TaskName] = {"class": "classify", "tags": "tag", "numbers": "regress"}

SEPARATORS = ";|,"
_FEW = 20  # up to this many different numbers may be classes


def encode(
    labels: np.ndarray,
    names: Sequence[str],
    *,
    task: TaskName | None = None,
    classes: tuple[str, ...] | None = None,
    columns: tuple[str, ...] = (),
) -> tuple[TaskName, tuple[str, ...], np.ndarray]:
    """The task, the class names and the targets.

    Args:
        labels: n, or n × k; strings, numbers, or lists of either.
        names: of the examples, for errors.
        task: what to learn; None: numbers with many different values are regressed, lists are tags, the rest classes.
        classes: the class names in order; None: those that occur, in order.
        columns: the columns that the labels are from, by which numbers are called.

    Returns:
        targets: classify: int64, n; tag and regress: float32, n × k.

    Raises:
        InputError: a label is missing, is not among the classes or is not a number; or there is but one class.

    >>> encode(np.array(["dog", "cat", "dog"]), ["a", "b", "c"])
    ('classify', ('cat', 'dog'), array([1, 0, 1]))
    """
    _check_present(labels, names)
    task = task or TASK_OF_LABELS[_label_type(labels)]
    label_type = TASKS[task].label_type
    if label_type == "numbers":
        numbers = _numbers(labels, names)
        count = numbers.shape[1]
        called = columns if len(columns) == count else tuple(f"value {column}" for column in range(1, count + 1))
        return task, classes or called, numbers
    if label_type == "tags":
        return task, *_tags(labels, names, classes)
    if labels.ndim == 2:
        labels = labels.argmax(axis=1)
    if labels.dtype.kind == "f":
        labels = labels.astype(np.int64) if (labels == np.floor(labels)).all() else labels
    words = labels if labels.dtype.kind in "biu" else labels.astype(str)  # numbers are sorted much faster than words
    values, targets = np.unique(words, return_inverse=True)
    found = values.astype(str)
    if len(found) < 2:
        raise InputError(f"there is only one class, {str(found[0])!r}; a classifier needs at least two")
    order = natsorted(found.tolist())
    if classes is None:
        return task, tuple(order), _class_numbers(found, order)[targets]
    if labels.dtype.kind in "iu" and not set(order) <= set(classes):
        return task, classes, _numbered(labels.astype(np.int64), names, len(classes))
    unknown = next((name for name in order if name not in classes), None)
    if unknown is not None:
        example = names[int(np.flatnonzero(targets == found.tolist().index(unknown))[0])]
        raise InputError(f"{example}: {unknown!r} is not among the classes; {did_you_mean(unknown, classes)}")
    return task, classes, _class_numbers(found, classes)[targets]


def _class_numbers(found: np.ndarray, order: Sequence[str]) -> np.ndarray:
    """The number that each class has in ``order``."""
    numbers = {name: number for number, name in enumerate(order)}
    return np.array([numbers[name] for name in found.tolist()], dtype=np.int64)


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


def _label_type(labels: np.ndarray) -> LabelType:
    """What the labels look like: numbers with many different values, lists of tags (or tags with a separator between
    them), or classes."""
    if labels.ndim == 2:
        if labels.dtype.kind not in "biuf" or not np.isin(labels, (0, 1)).all():
            return "numbers"
        return "class" if (labels.sum(axis=1) == 1).all() else "tags"
    if labels.dtype.kind in "OUS":
        return "tags" if isinstance(labels[0], list) or separator_of(labels.tolist()) else "class"
    if labels.dtype.kind == "f":
        return "numbers" if len(np.unique(labels)) > min(_FEW, len(labels) / 2) else "class"
    if labels.dtype.kind in "iu":
        return "numbers" if len(np.unique(labels)) > max(_FEW, len(labels) / 10) else "class"
    return "class"


def separator_of(labels: Sequence[object]) -> str | None:
    """What stands between several tags of one label; None: each label is one class.

    Tags recur in other combinations: there are fewer of them than of labels with them, or each occurs by itself or in
    two labels. A class whose name has a comma in it does not.

    >>> separator_of(["dog;cat", "dog", "cat;owl", "owl"]), separator_of(["tench, Tinca", "hen", "cock, Gallus"])
    (';', None)
    """
    words = sorted({str(label) for label in labels})
    for mark in SEPARATORS:
        joined = [word for word in words if mark in word]
        if not joined:
            continue
        counts = Counter(tag.strip() for word in words for tag in set(word.split(mark)))
        tags = [tag.strip() for word in joined for tag in word.split(mark) if tag.strip()]
        if all(counts[tag] > 1 for tag in tags) or len(set(tags)) < len(joined):
            return mark
    return None


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
) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the tags, and for each example and tag 1 where the example has it."""
    if labels.ndim == 2:
        return classes or tuple(str(column) for column in range(labels.shape[1])), labels.astype(np.float32)
    mark = separator_of(labels.tolist())
    tags_of_examples = [_tags_of(label, mark) for label in labels.tolist()]
    if classes is None:
        classes = tuple(natsorted(sorted({tag for tags in tags_of_examples for tag in tags})))
    columns = {tag: column for column, tag in enumerate(classes)}
    targets = np.zeros((len(tags_of_examples), len(classes)), dtype=np.float32)
    for number, tags in enumerate(tags_of_examples):
        for tag in tags:
            if tag not in columns:
                raise InputError(f"{names[number]}: {tag!r} is not among the classes; {did_you_mean(tag, classes)}")
            targets[number, columns[tag]] = 1
    return classes, targets


def _tags_of(label: object, separator: str | None) -> list[str]:
    """The tags of one example: a list of them, or a string with a separator between them."""
    if isinstance(label, list):
        return [str(tag) for tag in label]
    separator = separator or next((mark for mark in SEPARATORS if mark in str(label)), ";")
    return [tag.strip() for tag in str(label).split(separator) if tag.strip()]
