"""Files of series: text with a column for each channel, ``.npy``, and the ``.ts`` of sktime and aeon."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import InputError
from ..files import ending
from . import bounds, npy, recordings, tables
from .raw import Raw, file_bytes

# What columns are called that hold the time of a step, or only count the steps, or hold what is to be predicted.
_TIMES = re.compile(
    "times?|timestamps?|datetime|date|t|ts|seconds|secs?|ms|millis|elapsed|zeit|zeitstempel|datum|temps|tiempo|tempo"
)
_HEAD = 1 << 16  # bytes that hold the first line
_COUNTS = frozenset(("", "index", "unnamed: 0", "step", "sample", "row", "frame", "n"))
_LABELS = frozenset(("label", "labels", "target", "targets", "class", "classes", "activity"))


@dataclass(frozen=True)
class Recording:
    """One series.

    Attributes:
        values: float32, steps × channels; NaN where a measurement is missing.
        times: float64, (steps,): when each step was measured, never falling; None: it is not known.
        channels: the names of the channels; empty: they have none.
    """

    values: np.ndarray
    times: np.ndarray | None = None
    channels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)


def decode(raw: Raw | Recording) -> Recording:
    """One series.

    Of a file of text, the columns are the channels, called as its first line says. A column of times (``time``,
    ``timestamp``, …; numbers or dates) is no channel, nor is one that counts the steps, nor one called like labels, nor
    one without any number.

    Args:
        raw: an array (steps [× channels]), a pair of an array and its times (steps), a recording, a ``.csv`` or
            ``.npy`` file by its path or content, or an ``.edf`` or ``.bdf`` file by its path. NaN is a missing
            measurement; so is a cell that is not a number.

    Raises:
        InputError: unreadable, empty, nothing but NaN, infinite values, or times that fall.
    """
    values: Any = raw
    times, channels = None, ()
    if isinstance(raw, tuple | list) and len(raw) == 2 and np.ndim(raw[0]) in (1, 2) and np.ndim(raw[1]) == 1:
        values, times = raw[0], np.asarray(raw[1], np.float64)
    if isinstance(values, str | bytes | Path):
        values = _decode_file(values)
    if isinstance(values, Recording):
        values, times, channels = values.values, values.times, values.channels
    values = _checked(values)
    if times is not None and (len(times) != len(values) or not np.isfinite(times).all() or (np.diff(times) < 0).any()):
        raise InputError("times must be one number a step, finite, and never fall; sort the steps by time")
    return Recording(values, times, channels)


def _checked(values: Any) -> np.ndarray:
    """float32, steps × channels."""
    try:
        values = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise InputError("a series is numbers, steps × channels; this is something else") from None
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise InputError(f"an array of shape {values.shape} is not a series; give steps × channels")
    if values.size == 0:
        raise InputError("there are no steps in it; remove it")
    if np.isinf(values).any():
        raise InputError("there are infinite values in it; repair them, or write NaN where a measurement is missing")
    if np.isnan(values).all():
        raise InputError("there is nothing but NaN in it; remove it")
    return values


def _decode_file(raw: str | bytes | Path) -> Recording | np.ndarray:
    """A ``.npy`` array, or columns of text with or without a line of names."""
    if not isinstance(raw, bytes) and ending(raw) in recordings.SUFFIXES:
        edf = recordings.decode_edf(raw)
        return Recording(edf.values, None, edf.channels)
    content = file_bytes(raw)
    if content.startswith(npy.MAGIC):
        return npy.load(io.BytesIO(content))
    try:
        return _decode_text(content)
    except (ValueError, pa.ArrowException, InputError):
        raise InputError(
            "this is not a table of numbers; write one step a line, its channels apart by commas"
        ) from None


def channel_names(path: Path) -> tuple[str, ...]:
    """What the first line of a text file names, times and counts left out; empty: it names nothing.

    Raises:
        InputError: the file cannot be read.
    """
    cells, has_names = _first_line(content := file_bytes(path), tables.sniff(content[:_HEAD]))
    names = cells if has_names else []
    return tuple(
        name for name in names if not _TIMES.fullmatch(_first_word(name)) and name.casefold() not in _LABELS | _COUNTS
    )


def _first_line(content: bytes, dialect: tables.Dialect) -> tuple[list[str], bool]:
    """The cells of the first line of a text, and whether they are names."""
    head = content[:_HEAD].decode(dialect.encoding, errors="ignore").lstrip().split("\n", 1)[0]
    cells = [cell.strip().strip('"') for cell in head.split(dialect.separator)]
    return cells, not all(_is_number(cell.replace(dialect.decimal, ".")) for cell in cells)


def _first_word(name: str) -> str:
    return next((word for word in re.split(r"[^a-z]+", name.casefold()) if word), "")


def _decode_text(content: bytes) -> Recording:
    dialect = tables.sniff(content)
    cells, has_names = _first_line(content, dialect)
    if not has_names:
        names = dialect.separator.join(f"channel {number}" for number in range(len(cells)))
        content = names.encode(dialect.encoding) + "\n".encode(dialect.encoding) + content.lstrip()
    return recording(tables.decode_text(content), has_names=has_names)


def recording(table: pa.Table, *, has_names: bool = True) -> Recording:
    """A table with a step in each row as a recording; see :func:`decode` for which columns are its channels.

    Args:
        has_names: whether its columns are named; otherwise all of them are channels.
    """
    columns = {str(name).strip(): column for name, column in zip(table.column_names, table.columns, strict=True)}
    times = None
    if has_names:
        times_name = next((name for name, column in columns.items() if is_time(name, column)), None)
        if times_name is not None:
            times = seconds(columns.pop(times_name))
        columns = {name: column for name, column in columns.items() if not _is_no_channel(name, column)}
    numbers = {name: _numbers(column) for name, column in columns.items()}
    numbers = {name: values for name, values in numbers.items() if not has_names or not np.isnan(values).all()}
    if not numbers:
        raise InputError("there is no column of numbers in it")
    values = np.stack(list(numbers.values()), axis=1)
    return Recording(values, times, tuple(numbers) if has_names else ())


def is_time(name: str, column: pa.ChunkedArray, *, falls: bool = False) -> bool:
    """Whether a column holds the time of each step: it is called so, and hardly ever falls, as it may where another
    recording begins. A column that is called ``t`` and falls may be a temperature.

    Args:
        falls: whether a column with an unmistakable name may fall, because its rows can be put in order.

    >>> is_time("Time [s]", pa.chunked_array([[0.0, 0.5]])), is_time("t", pa.chunked_array([[20.5, 19.0]]))
    (True, False)
    """
    if not _TIMES.fullmatch(_first_word(name)):
        return False
    if pa.types.is_temporal(column.type):
        return not column.null_count
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)) or column.null_count:
        return False
    if falls and len(_first_word(name)) > 3:
        return True
    return bool(8 * (np.diff(column.to_numpy()) < 0).sum() <= len(column))


def counts_steps(name: str, column: pa.ChunkedArray) -> bool:
    """Whether a column counts the steps of one recording after another: it is called so, goes up by one, and begins
    anew at times.

    >>> counts_steps("step", pa.chunked_array([list(range(9)) * 2])), counts_steps("step", pa.chunked_array([range(9)]))
    (True, False)
    """
    if _first_word(name) not in _COUNTS or not pa.types.is_integer(column.type) or column.null_count:
        return False
    steps = np.diff(column.to_numpy())
    return bool((steps == 1).sum() * 8 >= 7 * len(steps) and (steps < 0).any() and ((steps == 1) | (steps < 0)).all())


def seconds(column: pa.ChunkedArray) -> np.ndarray:
    """A column of times as float64, (steps,): numbers as they are, dates and clock times in seconds.

    Raises:
        InputError: a time is missing.
    """
    if column.null_count:
        raise InputError("a step has no time; fill it in or remove the step")
    if pa.types.is_time(column.type):
        return column.cast(pa.time64("us")).cast(pa.int64()).to_numpy().astype(np.float64) / 1e6
    if pa.types.is_temporal(column.type):
        unit = column.type if pa.types.is_timestamp(column.type) else None
        stamps = column.cast(pa.timestamp("us", tz=unit.tz if unit is not None else None))
        return stamps.cast(pa.int64()).to_numpy().astype(np.float64) / 1e6
    return column.to_numpy().astype(np.float64)


def _is_no_channel(name: str, column: pa.ChunkedArray) -> bool:
    """Whether a column counts the steps, or is called like labels."""
    if name.casefold() in _LABELS:
        return True
    if name.casefold() not in _COUNTS or not pa.types.is_integer(column.type) or column.null_count:
        return False
    return bool((np.diff(column.to_numpy()) == 1).all())


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """float32, (steps,): NaN where a cell is empty or no number."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        cells = column.to_pylist()
        return np.array([float(cell) if cell and _is_number(cell) else np.nan for cell in cells], dtype=np.float32)
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan, dtype=np.float32)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)):
        return np.full(len(column), np.nan, dtype=np.float32)
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float32)


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


# -- .ts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TsFile:
    """What a ``.ts`` file holds.

    Attributes:
        series: each one float32, steps × channels, NaN where a value is missing.
        labels: the label of each series, as it is written.
        has_numeric_labels: whether the header says that the labels are numbers to be predicted (``@targetlabel true``).
    """

    series: list[np.ndarray]
    labels: list[str]
    has_numeric_labels: bool


def decode_ts(path: Path) -> TsFile:
    """The series of a ``.ts`` file: one on each line, its channels between colons, its label last.

    Raises:
        InputError: the file cannot be read, or a line is not as the format says; with the number of the line.
    """
    try:
        lines = file_bytes(path).decode("utf-8").splitlines()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    header: dict[str, str] = {}
    series: list[np.ndarray] = []
    labels: list[str] = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            key, _, value = line[1:].partition(" ")
            header[key.casefold()] = value.strip().casefold()
            continue
        values, label = _ts_line(line, f"{path}:{number}")
        if series and values.shape[1] != series[0].shape[1]:
            raise InputError(
                f"{path}:{number}: {values.shape[1]} channels where the first series has {series[0].shape[1]}; "
                "give every series the same channels"
            )
        series.append(values)
        labels.append(label)
    if not series:
        raise InputError(f"{path}: there is no series in it; data lines come after a line @data")
    return TsFile(series, labels, header.get("targetlabel", "").startswith("true"))


def _ts_line(line: str, where: str) -> tuple[np.ndarray, str]:
    """Steps × channels, without the steps at the end that miss all channels (they are padding); and the label."""
    *channels, label = line.split(":")
    if line.startswith("("):
        raise InputError(f"{where}: series with time stamps are not supported; resample them to even steps")
    if not channels:
        raise InputError(f"{where}: there is no label after a last colon; add it")
    try:
        columns = [np.array(channel.replace("?", "nan").split(","), dtype=np.float32) for channel in channels]
    except ValueError as error:
        raise InputError(f"{where}: a value is not a number ({error})") from None
    bounds.check_array((max(map(len, columns)), len(columns)), what=where)
    values = np.full((max(map(len, columns)), len(columns)), np.nan, dtype=np.float32)
    for channel, column in enumerate(columns):
        values[: len(column), channel] = column
    measured = np.flatnonzero(~np.isnan(values).all(axis=1))
    return values[: measured[-1] + 1] if len(measured) else values, label.strip()
