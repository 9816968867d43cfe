"""What kind of signal an array is, and which of its axes is which: judged from names, and from how smooth it is.

Neighbours in time and in space are alike, while the points of a cloud and the channels of a sensor have no order. So
the lag-one autocorrelation along each axis, a number that is measured, tells 100 steps × 3 channels from 100 points × 3
coordinates, and both from 3 channels × 100 steps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from .recognise import CLOUDS, FILMS, PICTURES, SERIES, VALUES, VOLUME

CONFUSABLE = {SERIES, CLOUDS}  # kinds that arrays of the same shape may be
SMOOTH = 0.3  # autocorrelation from which an axis counts as smooth
_SURELY_SMOOTH, _FEWEST_STEPS = 0.5, 32  # from which a row of numbers is a series rather than columns of a table
_CLEAR = 0.2  # difference between two axes' smoothness that tells which of them is time
_MEASURED = 64  # examples that smoothness is measured on
COORDINATES = (3, 4, 6)  # numbers of a point: x, y, z; and an intensity, or a colour or a normal
_COLOURS = (1, 3, 4)  # channels of an ordinary picture
_FILM_COLOURS = (1, 3)  # channels of a film
_ORDINAL = ("first", "second", "third", "last")
_SMALLEST_PICTURE = 8  # pixels a side of square arrays that are taken for pictures

# The canonical axes of each kind, the examples' axis left out.
AXES = {
    SERIES: ("time", "channels"),
    CLOUDS: ("points", "xyz"),
    PICTURES: ("height", "width", "channels"),
    VOLUME: ("depth", "height", "width", "channels"),
    FILMS: ("time", "height", "width", "channels"),
    VALUES: ("columns",),
}
_KIND_WORDS = {
    SERIES: "accel acceleration accelerometer acc gyro gyroscope imu ecg eeg emg ppg sensor sensors series signal"
    " signals wave waveform waveforms timeseries recording recordings motion",
    CLOUDS: "xyz point points cloud clouds pointcloud pointclouds vertices lidar",
    PICTURES: "image images img imgs picture pictures pixels photo photos frame",
    VOLUME: "volume volumes voxel voxels scan scans",
    FILMS: "video videos film films movie movies frames",
}
_WORDS = {word: kind for kind, words in _KIND_WORDS.items() for word in words.split()}


@dataclass(frozen=True)
class Reading:
    """What an array is taken for.

    Attributes:
        kind: the kind of signal.
        axes: what each axis of an example is, as the array has them.
        reason: why, for people.
        sure: whether there was nothing to guess.
    """

    kind: str
    axes: tuple[str, ...]
    reason: str
    sure: bool = False

    @property
    def order(self) -> tuple[int, ...]:
        """The permutation that brings the axes of an example into the order that the kind of signal has."""
        return order_of(self.kind, self.axes)


def order_of(kind: str, axes: Sequence[str]) -> tuple[int, ...]:
    """The permutation of an example's axes into those of its kind.

    Raises:
        InputError: other axes than the kind has.

    >>> order_of("series", ("channels", "time"))
    (1, 0)
    """
    canonical = AXES.get(kind, tuple(axes))
    wanted = canonical if len(axes) == len(canonical) else canonical[: len(axes)]
    if sorted(axes) != sorted(wanted):
        raise InputError(f"axes {','.join(axes)}: the kind {kind!r} has the axes {','.join(canonical)}; name them so")
    return tuple(list(axes).index(axis) for axis in wanted)


def smoothness(examples: np.ndarray, axis: int) -> float:
    """The lag-one autocorrelation along an axis: about 1 where neighbours are alike, about 0 where they have no order.

    Args:
        examples: numbers; the first axis is that of the examples.
        axis: of the array, from 1 on.

    >>> float(round(smoothness(np.sin(np.arange(100.0) / 10).reshape(1, 100, 1), 1), 1))
    1.0
    """
    values = np.moveaxis(np.asarray(examples, np.float64), axis, 1)
    values = np.ma.masked_invalid(values.reshape(len(values), values.shape[1], -1))
    if values.shape[1] < 2:
        return 0.0
    variance = values.var(axis=1).filled(0.0)
    differences = (np.ma.diff(values, axis=1) ** 2).mean(axis=1).filled(0.0) / 2
    varies = variance > 1e-12 * variance.max(initial=0.0)
    if not varies.any():
        return 0.0
    return float(np.median(1 - differences[varies] / variance[varies]))


def read_array(
    key: str, array: np.ndarray, *, has_channel_names: bool = False, kind: str | None = None
) -> Reading | None:
    """What an array holds, or None: no kind of signal has such a shape.

    Args:
        key: the name of the array, which may say what it is (``accel``, ``points``).
        array: examples first.
        has_channel_names: whether the data name its channels, as sensors have them.
        kind: the kind that the user says it is; only its axes are to be found.

    >>> random = np.random.default_rng(0)
    >>> noise = random.normal(size=(60, 100, 3))
    >>> read_array("x", noise).kind, read_array("x", noise.cumsum(1)).kind
    ('points', 'series')
    >>> read_array("x", noise.cumsum(1).swapaxes(1, 2)).axes
    ('channels', 'time')
    """
    shape, numbers = array.shape[1:], array.dtype.kind
    named = kind or kind_of_name(key) or (SERIES if has_channel_names and len(shape) == 2 else None)
    if numbers not in "biuf":
        return None
    if kind is None and not _can_be(named, shape):  # "frames" may be pictures
        named = None
    match len(shape):
        case 1:
            if named == SERIES:
                return Reading(SERIES, ("time",), f"{shape[0]:,} steps of one channel, by its name")
            along = smoothness(_sample(array), 1) if shape[0] >= _FEWEST_STEPS else 0.0
            if named is None and along >= _SURELY_SMOOTH:
                return Reading(SERIES, ("time",), f"neighbours correlate {along:.2f} along {shape[0]:,}")
            return Reading(VALUES, ("columns",), f"{shape[0]:,} numbers", sure=kind is not None)
        case 2:
            return _read_matrix(array, named, _because(key, kind, named))
        case 3:
            return _read_grid(array, named)
        case 4:
            return _read_colour_grid(shape, named)
    return None


def _can_be(named: str | None, shape: tuple[int, ...]) -> bool:
    """Whether examples of this shape can be what the name of their array says."""
    has_colours = len(shape) == 3 and (shape[0] in _COLOURS or shape[-1] in _COLOURS)
    if named == FILMS:
        return len(shape) == 4 or (len(shape) == 3 and not has_colours)
    return len(shape) != 2 if named == VOLUME else len(shape) != 4


def _because(key: str, kind: str | None, named: str | None) -> str:
    if kind is not None:
        return "as you say"
    return f"by its name {key!r}" if kind_of_name(key) else "its channels are named" if named else ""


def kind_of_name(name: str) -> str | None:
    """The kind of signal that a name speaks of.

    >>> kind_of_name("accel_xyz"), kind_of_name("x_points"), kind_of_name("x")
    ('series', 'points', None)
    """
    return next((_WORDS[word] for word in re.split(r"[^a-z]+", name.casefold()) if word in _WORDS), None)


def _read_matrix(array: np.ndarray, named: str | None, because: str) -> Reading:
    """Examples of two axes: a series, a cloud of points or a grey picture."""
    rows, columns = array.shape[1:]
    along_rows, along_columns = (smoothness(_sample(array), axis) for axis in (1, 2))
    measured = f"neighbours correlate {along_rows:.2f} along {rows:,} and {along_columns:.2f} along {columns:,}"
    because = f"{because}; {measured}" if because else measured
    coordinates_last = columns in COORDINATES and (rows not in COORDINATES or along_columns <= along_rows)
    if named is None:
        has_order = (along_rows if coordinates_last else along_columns) >= SMOOTH
        if array.dtype.kind == "u" or (rows == columns >= _SMALLEST_PICTURE and min(along_rows, along_columns) >= 0):
            named = PICTURES
        elif 3 in (rows, columns) and not has_order:
            named, because = CLOUDS, f"{measured}: points without an order"
    if named == PICTURES:
        return Reading(PICTURES, ("height", "width"), because, sure=array.dtype.kind == "u")
    if named == CLOUDS:
        return Reading(CLOUDS, ("points", "xyz") if coordinates_last else ("xyz", "points"), because)
    # Time is the smoother axis; where both are about as smooth, the longer one.
    time_first = along_rows > along_columns if abs(along_rows - along_columns) > _CLEAR else rows >= columns
    return Reading(SERIES, AXES[SERIES] if time_first else ("channels", "time"), because)


def _read_grid(array: np.ndarray, named: str | None) -> Reading | None:
    """Examples of three axes: pictures with channels first or last, or volumes."""
    first, _, last = array.shape[1:]
    if named in (None, PICTURES):
        if last in _COLOURS and not (first in _COLOURS and first < last):
            return Reading(PICTURES, AXES[PICTURES], f"{last} channels last", sure=True)
        if first in _COLOURS:
            return Reading(PICTURES, ("channels", "height", "width"), f"{first} channels first")
        along = [smoothness(_sample(array), axis) for axis in (1, 2, 3)]
        measured = "neighbours correlate " + ", ".join(f"{value:.2f}" for value in along) + " along its axes"
        if named == PICTURES or min(along[:2]) >= SMOOTH > along[2]:
            return Reading(PICTURES, AXES[PICTURES], f"{measured}: {last} bands last")
        if min(along[1:]) >= SMOOTH > along[0]:
            return Reading(PICTURES, ("channels", "height", "width"), f"{measured}: {first} bands first")
        return Reading(VOLUME, AXES[VOLUME][:3], measured)
    return Reading(named, AXES[named][:3], "by its name") if named in (VOLUME, FILMS) else None


def _read_colour_grid(shape: tuple[int, ...], named: str | None) -> Reading | None:
    """Examples of four axes: films, or volumes of several values."""
    if named is None:  # a cube of single values is rather a volume
        cubes = {(1, shape[1], shape[1], shape[1]), (shape[0], shape[0], shape[0], 1)}
        named = VOLUME if shape in cubes else FILMS
    if named == FILMS:
        # As NumPy has films, as torch has them, and as torch's convolutions take them.
        position = next((axis for axis in (3, 1, 0) if shape[axis] in _FILM_COLOURS), None)
    elif named == VOLUME:
        position = 3 if shape[3] <= shape[0] else 0
    else:
        return None
    if position is None:
        return None
    *others, channels = AXES[named]
    axes = (*others[:position], channels, *others[position:])
    return Reading(named, axes, f"{shape[position]} channels {_ORDINAL[position]}")


def _sample(array: np.ndarray) -> np.ndarray:
    """Some of the examples, evenly chosen."""
    return array[:: max(1, len(array) // _MEASURED)][:_MEASURED]
