"""What people should know of their data before they trust a score; no file is decoded for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from .description import TaskName
from .examples import Listing, Records, Selection
from .recognition.headers import remarks_on_headers
from .recognition.recognise import FILMS, PICTURES, SERIES, VALUES, VOLUME, has_one_class

IMBALANCE = 10  # examples of the largest class for each of the smallest one, from which it is said
_WITHOUT_GAPS = (PICTURES, FILMS, VOLUME)
_MOST_LISTED = 5  # classes, columns or channels in a line
_BLOCK = 1 << 24  # numbers looked at together
_MOST_BLOCKS = 16  # of an array that is larger, evenly spaced: it may lie in a file that is larger than memory


def remarks_on(
    listing: Listing,
    task: TaskName,
    classes: Sequence[str],
    targets: np.ndarray | None,
    indices: Mapping[str, np.ndarray],
) -> tuple[str, ...]:
    """A line for each oddity: classes that are never trained on, that are tested on nothing or that are rare, gaps in
    arrays, channels and columns that never change.

    Args:
        indices: the examples of each split.

    Raises:
        InputError: numbers are missing in pictures.

    >>> from .description import DataConfig
    >>> steady = Listing({"table": "table"}, {"table": Records({"a": [1, 1]})}, ["", ""], np.array([]), DataConfig())
    >>> remarks_on(steady, "none", (), None, {})
    ("1 columns of 'table' hold the same value in every example and say nothing: a",)
    """
    remarks: list[str] = []
    if targets is not None and has_one_class(task):
        remarks += _of_classes(classes, targets, indices)
    for name, kind in listing.kinds.items():
        raws = listing.raws[name]
        remarks += _of_columns(name, raws) if isinstance(raws, Records) else _of_arrays(name, kind, _arrays(raws))
        if kind == SERIES:
            remarks += remarks_on_headers(raws, listing.names)
    return tuple(remarks)


def _of_classes(classes: Sequence[str], targets: np.ndarray, indices: Mapping[str, np.ndarray]) -> Iterator[str]:
    counts = {split: np.bincount(targets[chosen], minlength=len(classes)) for split, chosen in indices.items()}
    trained, tested = counts["train"], counts["test"]
    never = np.flatnonzero((tested > 0) & (trained == 0))
    if len(never):
        yield (
            f"{len(never)} classes are in test but never in train, so they cannot be learned: {_first(classes, never)}"
        )
    total = np.sum(list(counts.values()), axis=0)
    single = np.flatnonzero((total == 1) & (trained == 1))
    if len(single):
        example = _first(classes, single)
        yield f"{len(single)} classes have a single example, so they are learned but never tested: {example}"
    present = np.flatnonzero(trained)
    if len(present) > 1:
        largest, smallest = present[trained[present].argmax()], present[trained[present].argmin()]
        if trained[largest] > IMBALANCE * trained[smallest]:
            yield (
                f"the classes differ much in size: {trained[largest]:,} training examples of {classes[largest]!r}, "
                f"{trained[smallest]:,} of {classes[smallest]!r}; --class-weights balanced gives them the same weight"
            )


def _of_columns(name: str, records: Records) -> Iterator[str]:
    steady = [
        column
        for column, cells in records.columns.items()
        if len(cells) > 1 and all(cell == cells[0] or (cell != cell and cells[0] != cells[0]) for cell in cells)
    ]
    if steady:
        yield (
            f"{len(steady)} columns of {name!r} hold the same value in every example and say nothing: "
            f"{_first(steady, range(len(steady)))}"
        )


def _of_arrays(name: str, kind: str, arrays: Sequence[np.ndarray]) -> Iterator[str]:
    numbers = [array for array in arrays if array.dtype.kind == "f"]
    gaps = sum(int(np.isnan(block).sum()) for array in numbers for block in _blocks(array))
    total = sum(block.size for array in arrays for block in _blocks(array))
    if gaps and kind in _WITHOUT_GAPS:
        raise InputError(
            f"{gaps:,} of {total:,} numbers in {name!r} are NaN, and pictures have no gaps; put a number in their place"
        )
    if gaps and kind in (SERIES, VALUES):
        yield f"{gaps:,} of {total:,} numbers in {name!r} are NaN; they are taken as gaps"
    if kind not in (SERIES, VALUES) or not arrays or sum(map(len, arrays)) < 2:
        return
    width = arrays[0].shape[-1]
    if any(array.shape[-1] != width for array in arrays):
        return
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    for array in arrays:
        for block in _blocks(array):
            rows = block.reshape(-1, width)
            low, high = np.fmin(low, np.fmin.reduce(rows)), np.fmax(high, np.fmax.reduce(rows))
            if (low < high).all():
                return
    steady = np.flatnonzero(low >= high)
    what = "channels" if kind == SERIES else "columns"
    names = list(map(str, range(1, width + 1)))
    yield (
        f"{len(steady)} {what} of {name!r} hold the same value in every example and say nothing: number "
        f"{_first(names, steady)}"
    )


def _arrays(raws: Sequence[Any]) -> list[np.ndarray]:
    """The arrays whose first axis is that of the examples; none where examples are in files or by themselves."""
    parts: Sequence[Any] = raws.parts if isinstance(raws, Selection) else ()
    return [part for part in parts if isinstance(part, np.ndarray) and part.dtype.kind in "biuf" and part.ndim > 1]


def _blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """An array in pieces along its first axis, so that little memory is needed; of a large one, some of them."""
    step = max(1, _BLOCK // max(1, array[:1].size))
    starts = range(0, len(array), step)
    return (array[start : start + step] for start in starts[:: -(-len(starts) // _MOST_BLOCKS) or 1])


def _first(names: Sequence[str], numbers: Sequence[int] | np.ndarray) -> str:
    """The first few of the names, with commas between them."""
    listed = ", ".join(names[number] for number in numbers[:_MOST_LISTED])
    return f"{listed}, …" if len(numbers) > _MOST_LISTED else listed
