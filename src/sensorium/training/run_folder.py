"""What lies where in a run folder."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ..errors import InputError
from ..files import replace_file
from .state import LAST

CONFIG = "config.yaml"
REPORT = "report.json"
HISTORY = "metrics.csv"
SPLITS = ("train", "val", "test")
EXAMPLES = "examples.npz"  # the fingerprints of the examples of each split
EVALUATIONS = "evaluations"  # the folder for reports on other splits and other data


def free_folder(folder: Path) -> Path:
    """The folder itself, or the first of ``folder-2``, ``folder-3``, … that holds no run yet."""
    number = 1
    free = folder
    while (free / CONFIG).exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def default_folder(data: Path) -> Path:
    """The run folder of some data where none is named."""
    return Path("runs", data.resolve().stem)


def new_folder(data: Path, out: Path | None) -> Path:
    """The folder of a new run, which can be written to.

    Args:
        out: as named by the user; None: that of the data, numbered if it is taken.

    Raises:
        InputError: a run is in it already, or it cannot be written to.
    """
    folder = free_folder(default_folder(data)) if out is None else out
    if (folder / CONFIG).exists():
        raise InputError(f"{folder}: a run is here already; go on with --resume or choose another --out")
    check_writable(folder)
    return folder


def interrupted_folder(data: Path, out: Path | None) -> Path:
    """The folder of an interrupted run, which can be written to.

    Raises:
        InputError: there is no run, the run is finished, or the folder cannot be written to.
    """
    folder = default_folder(data) if out is None else out
    if not (folder / LAST).exists():
        raise InputError(f"{folder}: there is nothing to resume; train without --resume")
    if (folder / REPORT).exists():
        raise InputError(f"{folder}: this run is finished; train a new one with another --out")
    check_writable(folder)
    return folder


def check_writable(folder: Path) -> None:
    """Write and remove an empty file, before training takes any time.

    Raises:
        InputError: the folder cannot be written to.
    """
    replace_file(folder / ".writable", lambda path: path.write_text(""))
    (folder / ".writable").unlink()


def read_history(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's ``metrics.csv``, one for each validation pass; empty where there is none."""
    path = folder / HISTORY
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def append_history(folder: Path, row: Mapping[str, float]) -> None:
    """Add a row to a run's ``metrics.csv``."""
    path = folder / HISTORY
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def write_examples(folder: Path, fingerprints: Mapping[str, np.ndarray]) -> None:
    """Keep the fingerprints (uint64) of a run's examples, by split."""

    train, val, test = (fingerprints.get(split, np.empty(0, np.uint64)) for split in SPLITS)

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, train=train, val=val, test=test)

    replace_file(folder / EXAMPLES, write)


def read_examples(folder: Path) -> dict[str, np.ndarray] | None:
    """The fingerprints of a run's examples, by split; None where the run is older than they are.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / EXAMPLES
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {split: arrays[split] for split in SPLITS}
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(f"{path}: cannot be read ({error}); remove it") from None
