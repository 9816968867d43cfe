"""Files of series of measurements: ``.csv``, ``.npy``, and the ``.ts`` text of sktime and aeon."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .raw import Raw, file_bytes

DELIMITERS = ",;\t"


def decode(raw: Raw) -> tuple[np.ndarray, np.ndarray | None]:
    """One series and, if its steps carry times, the times.

    Args:
        raw: an array (steps [× channels]), a pair of an array and its times (steps), or a ``.csv`` or ``.npy`` file by
            its path or content. NaN is a missing measurement; so is a cell of text that is not a number.

    Returns:
        float32, steps × channels; and float32, (steps,), times counted from the first step, or None.

    Raises:
        InputError: unreadable, empty, nothing but NaN, infinite values, or times that fall.
    """
    values: Any = raw
    times = None
    if isinstance(raw, tuple | list) and len(raw) == 2 and np.ndim(raw[0]) in (1, 2) and np.ndim(raw[1]) == 1:
        values, times = raw[0], np.asarray(raw[1], np.float64)
    if isinstance(values, str | bytes | Path):
        values = _decode_file(values)
    values = _checked(values)
    if times is None:
        return values, None
    if len(times) != len(values) or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise InputError("times must be one number a step, finite, and never fall; sort the steps by time")
    return values, (times - times[0]).astype(np.float32)


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


def _decode_file(raw: str | bytes | Path) -> np.ndarray:
    """A ``.npy`` array, or columns of text with or without a line of names."""
    content = file_bytes(raw)
    try:
        if content.startswith(b"\x93NUMPY"):
            return np.load(io.BytesIO(content), allow_pickle=False)
        text = content.decode("utf-8-sig").strip()
        delimiter = next((mark for mark in DELIMITERS if mark in text.split("\n", 1)[0]), " ")
        lines = [
            [_number(cell) for cell in line] for line in csv.reader(io.StringIO(text), delimiter=delimiter) if line
        ]
        if len(lines) > 1 and np.isnan(lines[0]).all():
            lines = lines[1:]
        return np.array(lines, dtype=np.float32)
    except (ValueError, csv.Error):
        raise InputError(
            "this is not a table of numbers; write one step a line, its channels apart by commas"
        ) from None


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


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
    values = np.full((max(map(len, columns)), len(columns)), np.nan, dtype=np.float32)
    for channel, column in enumerate(columns):
        values[: len(column), channel] = column
    measured = np.flatnonzero(~np.isnan(values).all(axis=1))
    return values[: measured[-1] + 1] if len(measured) else values, label.strip()
