"""The records in which a task shows its predictions to people, and how numbers and names are written there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from ..modalities import Batch

MAX_LISTED = 3  # values or names in a caption


@dataclass(frozen=True)
class Judgement:
    """Which predictions of an evaluation are right, and how bad each one is.

    Attributes:
        right: (examples,), bool.
        badness: (examples,), float: a gallery shows the wrong predictions in descending order of it.
    """

    right: np.ndarray
    badness: np.ndarray


@dataclass(frozen=True)
class Caption:
    """What stands below the picture of one example.

    Attributes:
        prediction: what the model predicts.
        truth: the target, written in the same way; None: it is not known.
        confidence: the probability that the model gives its prediction; None: it gives none.
    """

    prediction: str
    truth: str | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Illustration:
    """One picture of a row that shows what a model was given, what it predicts, and the truth.

    Attributes:
        title: the heading of the column.
        content: a batch of one example, which the model's modality draws, or a picture, height × width × 3, uint8.
        note: a remark on this picture, such as the scale of its colours.
    """

    title: str
    content: Batch | np.ndarray
    note: str = ""


def format_number(value: float | None) -> str:
    """A number of any size, with at most four digits unless it is a large integer; a dash where it is not defined.

    >>> format_number(0.123456), format_number(-7), format_number(1234.5), format_number(None)
    ('0.1235', '-7', '1,234', '–')
    """
    if value is None or not isfinite(value):
        return "–"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3g}"
    return f"{value:.4g}"


def list_names(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are; "none" for an empty list.

    >>> list_names(["rain", "wind"]), list_names(["a", "b", "c", "d", "e"]), list_names([])
    ('rain, wind', 'a, b, c and 2 more', 'none')
    """
    hidden = len(names) - MAX_LISTED
    return (", ".join(names[:MAX_LISTED]) or "none") + (f" and {hidden} more" if hidden > 0 else "")


def list_values(values: np.ndarray, names: Sequence[str] = ()) -> str:
    """The first values of an array, each after its name where there are several.

    >>> list_values(np.array([1.5, 20.0]), ["height", "weight"]), list_values(np.array(7.0), ["age"])
    ('height 1.5, weight 20', '7')
    """
    numbers = [format_number(float(value)) for value in np.asarray(values).reshape(-1)]
    named = len(names) == len(numbers) > 1
    return list_names([f"{name} {number}" for name, number in zip(names, numbers, strict=True)] if named else numbers)
