"""Files whose ending does not say what they hold: a ``.npy`` array, or text with a column for each number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...codecs import arrays
from ...codecs import series as series_codec
from ...errors import InputError
from ...files import ending
from ..assumptions import Assumption
from ..description import InputConfig, kind_of_axes
from .axes import AXES, COORDINATES, SMOOTH, Reading, order_of, read_array, smoothness
from .recognise import CLOUDS, SERIES

AMBIGUOUS = (".npy", ".csv")
_PROBED = 16  # files that are looked into
_COORDINATE_NAMES = frozenset(
    ("x", "y", "z", "i", "intensity", "r", "g", "b", "red", "green", "blue", "nx", "ny", "nz")
)


class ArrayFiles(Sequence[Any]):
    """Arrays in ``.npy`` files, each read when it is needed, with their axes in the order that their kind has.

    Args:
        paths: of the files; None where an example has none.
        order: the permutation of the axes.
    """

    def __init__(self, paths: Sequence[Path | None], order: tuple[int, ...]) -> None:
        self.paths, self.order = paths, order

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: Any) -> Any:
        path = self.paths[position]
        if path is None:
            return None
        array = next(iter(arrays.decode(path).values()))
        if array.ndim != len(self.order):
            raise InputError(f"an array of shape {array.shape}, where others have {len(self.order)} axes")
        return array.transpose(self.order)


def read_files(paths: Sequence[Path], config: InputConfig, name: str) -> Reading | None:
    """What files of an ambiguous ending hold, judged by some of them; None: their ending says it.

    Args:
        config: what the description says: its kind and axes are not guessed.
        name: of the data, which may speak of a kind of signal.
    """
    if not paths or any(ending(path) not in AMBIGUOUS for path in paths[:_PROBED]):
        return None
    if config.axes is not None:
        kind = config.kind or kind_of_axes(config.axes) or SERIES
        return Reading(kind, config.axes, "as you say", sure=True)
    probed = [paths[index] for index in np.unique(np.linspace(0, len(paths) - 1, min(len(paths), _PROBED)).astype(int))]
    readings = [reading for path in probed if (reading := _read_file(path, name, config.kind)) is not None]
    if not readings:
        return None
    counts = Counter((reading.kind, reading.axes) for reading in readings)
    usual = counts.most_common(1)[0][0]
    return next(reading for reading in readings if (reading.kind, reading.axes) == usual)


def raws_of_files(paths: Sequence[Path | None], reading: Reading | None) -> Sequence[Any]:
    """The files as raws: their paths, where the kind's own codec reads them, else arrays with their axes in order."""
    if reading is None or (reading.kind in (SERIES, CLOUDS) and other_axes(reading) is None):
        return paths
    return ArrayFiles(paths, order_of(reading.kind, reading.axes))


def other_axes(reading: Reading | None) -> tuple[str, ...] | None:
    """The axes of arrays in files, where they are not in the order that their kind has."""
    usual = () if reading is None else AXES.get(reading.kind, reading.axes)
    return None if reading is None or reading.axes == usual[: len(reading.axes)] else reading.axes


def assumed_files(name: str, reading: Reading | None) -> tuple[Assumption, ...]:
    """What was guessed of files."""
    if reading is None or reading.sure:
        return ()
    text = f"{reading.kind}, a file has the axes {' × '.join(reading.axes)} ({reading.reason})"
    return (Assumption(name, text, "--kind KIND, --axes AXES"),)


def _read_file(path: Path, name: str, kind: str | None) -> Reading | None:
    """What one file holds; None: it cannot be read, which is said when it is decoded."""
    try:
        if ending(path) == ".npy":
            return read_array(name, next(iter(arrays.decode(path).values()))[None], kind=kind)
        return _read_text(series_codec.decode(path), kind)
    except InputError:
        return None


def _read_text(recording: series_codec.Recording, kind: str | None) -> Reading:
    """Columns of text: a cloud of points, if they are called like coordinates, have no times and no order."""
    if kind == CLOUDS:
        return Reading(CLOUDS, AXES[CLOUDS], "as you say", sure=True)
    names = {name.casefold() for name in recording.channels}
    along = smoothness(recording.values[None], 1)
    if names >= {"x", "y", "z"} and names <= _COORDINATE_NAMES and recording.times is None and along < SMOOTH:
        return Reading(CLOUDS, AXES[CLOUDS], f"columns x, y, z whose neighbours do not correlate ({along:.2f})")
    ambiguous = recording.times is None and recording.values.shape[1] in COORDINATES
    reason = f"neighbours correlate {along:.2f} along the lines" if ambiguous else "a line is a step"
    return Reading(SERIES, AXES[SERIES], reason, sure=kind is not None or not ambiguous)
