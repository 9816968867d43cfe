"""sktime and aeon ``.ts`` text: one series a line, channels between colons, the label last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from .description import DataConfig, InputConfig, in_split_order
from .examples import Listing
from .recognise import check_kind, files_by_split


def list_ts(root: Path, files: Iterable[Path], description: DataConfig) -> Listing:
    """Every series of ``NAME_TRAIN.ts`` and ``NAME_TEST.ts`` (or of one file), steps × channels, float32.

    Raises:
        InputError: a line that is not as the format says, with its number.
    """
    parts = files_by_split(root, (path for path in files if path.suffix.lower() == ".ts"), description)
    series: list[np.ndarray] = []
    labels: list[str] = []
    names: list[str] = []
    split_names: list[str] = []
    numeric = False
    for split, path in parts:
        found, found_labels, numeric = _read(path)
        series += found
        labels += found_labels
        names += [f"{path.name} series {number}" for number in range(1, len(found) + 1)]
        split_names += [split] * len(found)
    name, config = next(iter((description.inputs or {}).items()), ("series", InputConfig(kind="series")))
    return Listing(
        kinds={name: check_kind(config.kind or "series")},
        raws={name: series},
        names=names,
        labels=_numbers(labels, parts) if numeric else np.array(labels, dtype=object),
        split_names=np.array(split_names) if any(split_names) else None,
        description=replace(
            description,
            layout="ts",
            inputs={name: replace(config, kind=config.kind or "series")},
            splits=in_split_order({split: path.name for split, path in parts}),
        ),
    )


def _numbers(labels: list[str], parts: list[tuple[str, Path]]) -> np.ndarray:
    try:
        return np.array(labels, dtype=np.float32)
    except ValueError as error:
        raise InputError(f"{parts[0][1]}: a target is not a number ({error})") from None


def _read(path: Path) -> tuple[list[np.ndarray], list[str], bool]:
    """Series, labels, and whether the labels are numbers to be regressed."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
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
        *channels, label = line.split(":")
        if line.startswith("("):
            raise InputError(f"{path}:{number}: series with time stamps are not supported; resample them to even steps")
        if not channels:
            raise InputError(f"{path}:{number}: there is no label after a last colon; add it")
        values = _steps(channels, f"{path}:{number}")
        if series and values.shape[1] != series[0].shape[1]:
            raise InputError(
                f"{path}:{number}: {values.shape[1]} channels where the first series has {series[0].shape[1]}; "
                "give every series the same channels"
            )
        series.append(values)
        labels.append(label.strip())
    if not series:
        raise InputError(f"{path}: there is no series in it; data lines come after a line @data")
    return series, labels, header.get("targetlabel", "").startswith("true")


def _steps(channels: list[str], where: str) -> np.ndarray:
    """Steps × channels, NaN where missing; without the steps at the end that miss all channels, which are padding."""
    try:
        columns = [np.array(channel.replace("?", "nan").split(","), dtype=np.float32) for channel in channels]
    except ValueError as error:
        raise InputError(f"{where}: a value is not a number ({error})") from None
    values = np.full((max(map(len, columns)), len(columns)), np.nan, dtype=np.float32)
    for place, column in enumerate(columns):
        values[: len(column), place] = column
    there = np.flatnonzero(~np.isnan(values).all(axis=1))
    return values[: there[-1] + 1] if len(there) else values
