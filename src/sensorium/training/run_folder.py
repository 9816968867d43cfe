"""What lies where in a run folder."""

from __future__ import annotations

import csv
import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..config import read_json
from ..data.fingerprints import MOST
from ..data.identity import Identity, SplitIdentity
from ..errors import InputError
from ..files import replace_file
from ..models.pretrained import CARD
from .lock import check_unlocked, is_locked
from .state_file import LAST, PREVIOUS

CONFIG = "config.yaml"
REPORT, PAGE = "report.json", "report.html"
HISTORY = "metrics.csv"
SPLITS = ("train", "val", "test")
EXAMPLES = "examples.npz"  # what tells the run's examples from others: names, labels, sizes, fingerprints
EVALUATIONS = "evaluations"  # the folder for reports on other splits and other data
OLD = Path("checkpoints", "last.ckpt")  # the checkpoint of older versions

_LOG = logging.getLogger(__name__)


def free_folder(folder: Path) -> Path:
    """The folder itself, or the first of ``folder-2``, ``folder-3``, … that holds no run yet, not even one that has
    just begun."""
    number = 1
    free = folder
    while (free / CONFIG).exists() or is_locked(free):
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
        InputError: a run is in it already, another process trains into it, or it cannot be written to.
    """
    folder = free_folder(default_folder(data)) if out is None else out
    if (folder / CONFIG).exists():
        raise InputError(f"{folder}: a run is here already; go on with --resume or choose another --out")
    check_unlocked(folder)
    check_writable(folder)
    return folder


def interrupted_folder(data: Path, out: Path | None) -> Path:
    """The folder of an interrupted run, which can be written to. It may have no checkpoint yet.

    Raises:
        InputError: there is no run, it is finished or is going on, or the folder cannot be written to.
    """
    folder = default_folder(data) if out is None else out
    if not (folder / CONFIG).exists():
        raise InputError(f"{folder}: there is nothing to resume; train without --resume")
    if (folder / OLD).exists() and not has_checkpoint(folder):
        raise InputError(f"{folder / OLD}: written by an older sensorium; train a new run with another --out")
    if all((folder / name).exists() for name in (REPORT, PAGE, CARD)):
        raise InputError(f"{folder}: this run is finished; train a new one with another --out")
    check_unlocked(folder)
    check_writable(folder)
    return folder


def has_checkpoint(folder: Path) -> bool:
    """Whether a run has a checkpoint to go on from; otherwise it begins anew."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS))


def check_writable(folder: Path) -> None:
    """Write and remove an empty file, before training takes any time.

    Raises:
        InputError: the folder cannot be written to.
    """
    replace_file(folder / ".writable", lambda path: path.write_text(""))
    (folder / ".writable").unlink()


def read_report(folder: Path) -> dict[str, Any]:
    """The content of a run's ``report.json``; empty where there is none.

    Raises:
        InputError: the file is damaged.
    """
    if not (folder / REPORT).exists():
        return {}
    report = read_json(folder / REPORT)
    for name, kind in (("train_seconds", int | float), ("set_aside", list), ("baselines", list), ("majority", dict)):
        if name in report and not isinstance(report[name], kind):
            raise InputError(f"{folder / REPORT}: damaged ({name} is {report[name]!r:.40}); copy or make it again")
    return report


def read_history(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's ``metrics.csv``, one for each validation pass; empty where there is none. A line that is not
    whole, or that is none of numbers, is left out."""
    path = folder / HISTORY
    if not path.exists():
        return []
    return _rows(_whole_lines(path))


def append_history(folder: Path, row: Mapping[str, float]) -> None:
    """Add a row to a run's ``metrics.csv``. If that cannot be written, a warning is logged, and nothing else happens:
    a history is not worth the run."""
    path = folder / HISTORY
    try:
        lines = _whole_lines(path) if path.exists() else []
        if path.exists() and path.stat().st_size != sum(len(line.encode()) for line in lines):
            path.write_text("".join(lines), encoding="utf-8", newline="")  # the end of it was torn
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if not lines:
                writer.writeheader()
            writer.writerow(row)
    except OSError as error:
        _LOG.warning("%s: cannot be written (%s); the training goes on without", path, error.strerror or error)


def trim_history(folder: Path, *, step: int) -> None:
    """Take the rows of steps after ``step`` out of a run's ``metrics.csv``, and what is no whole row: a run that goes
    on from a checkpoint of that step writes them again."""
    path = folder / HISTORY
    if not path.exists():
        return
    lines = _whole_lines(path)
    kept = [line for line in lines[1:] if any(row["step"] <= step for row in _rows([lines[0], line]))]
    text = "".join([lines[0], *kept]) if kept else ""
    try:
        replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))
    except InputError as error:
        _LOG.warning("%s", error)


def _rows(lines: Sequence[str]) -> list[dict[str, float]]:
    """The rows that are whole and of numbers; an empty field is left out of its row."""
    rows = []
    for row in csv.DictReader(lines):
        with suppress(TypeError, ValueError, AttributeError):  # a field too many is a list, a field too few is None
            found = {key: float(value) for key, value in row.items() if value.strip() != ""}
            rows += [found] if "step" in found else []
    return rows


def _whole_lines(path: Path) -> list[str]:
    """The lines of a text file, but for a last one without its end."""
    lines = path.read_bytes().decode("utf-8", errors="replace").splitlines(keepends=True)
    return lines if not lines or lines[-1].endswith("\n") else lines[:-1]


def write_identity(folder: Path, identity: Identity, *, config: Mapping[str, Any]) -> None:
    """Keep what tells a run's data from others, and the configuration that it began with, in ``examples.npz``: the
    fingerprints of each split's examples under its name."""
    arrays: dict[str, np.ndarray] = {split: np.empty(0, np.uint64) for split in SPLITS}
    for split, part in identity.splits.items():
        arrays |= {split: part.fingerprints, f"{split}.sizes": part.sizes, f"{split}.names": _packed(list(part.names))}
        if part.targets is not None:
            arrays[f"{split}.targets"] = part.targets
    about = {"signals": dict(identity.signals), "classes": list(identity.classes), "config": dict(config)}
    arrays["about"] = _packed(about)

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    replace_file(folder / EXAMPLES, write)


def read_identity(folder: Path) -> Identity | None:
    """What tells a run's data from others; None where the run is older than that.

    Raises:
        InputError: the file is damaged.
    """
    arrays = _arrays(folder)
    if arrays is None or "about" not in arrays:
        return None
    try:
        about = _unpacked(arrays["about"])
        splits = {
            split: SplitIdentity(
                _unpacked(arrays[f"{split}.names"]),
                arrays.get(f"{split}.targets"),
                arrays[f"{split}.sizes"],
                arrays[split],
            )
            for split in SPLITS
            if f"{split}.names" in arrays
        }
        return Identity(about["signals"], about["classes"], splits)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(folder, error) from None


def read_started(folder: Path) -> dict[str, Any] | None:
    """The configuration that a run began with, as plain values; None where the run is older than that.

    Raises:
        InputError: the file is damaged.
    """
    arrays = _arrays(folder)
    if arrays is None or "about" not in arrays:
        return None
    try:
        config: dict[str, Any] = _unpacked(arrays["about"])["config"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(folder, error) from None
    return config


def read_examples(folder: Path) -> dict[str, np.ndarray] | None:
    """The fingerprints of a run's examples, by split; None where the run is older than they are, or was ended before
    all of them were taken.

    Raises:
        InputError: the file is damaged.
    """
    arrays = _arrays(folder)
    if arrays is None:
        return None
    taken = {split: arrays[split][arrays[split] != 0] for split in SPLITS}
    whole = all(len(taken[split]) >= min(len(arrays[split]), MOST) for split in SPLITS)
    return taken if whole else None


def _arrays(folder: Path) -> dict[str, np.ndarray] | None:
    """The arrays in ``examples.npz``; None: there is none."""
    path = folder / EXAMPLES
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
            return {**found, **{split: found[split] for split in SPLITS}}
    except (OSError, EOFError, ValueError, KeyError, NotImplementedError, TokenError, BadZipFile, zlib.error) as error:
        raise _damaged(folder, error) from None


def _damaged(folder: Path, error: Exception) -> InputError:
    return InputError(f"{folder / EXAMPLES}: cannot be read ({error}); remove it")


def _packed(value: Any) -> np.ndarray:
    """JSON as an array of its bytes."""
    return np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)


def _unpacked(array: np.ndarray) -> Any:
    return json.loads(array.tobytes())
