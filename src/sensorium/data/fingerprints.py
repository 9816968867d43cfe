"""A number for each example that tells whether its content was seen before, whatever it is called."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from ..codecs.series import Recording
from .examples import Examples
from .leaks import HEAD, frames_of

MOST = 100_000  # examples of a split whose content is looked at


def fingerprints(examples: Examples) -> np.ndarray:
    """uint64, n: for each example a number that is made of its content. Of a file that is its size and two pieces, from
    the beginning and from the middle; of numbers in memory it is all of them, as float32. The names of files, of
    signals and of columns do not matter. Of more than 100,000 examples, so many are looked at, evenly spaced, and the
    result is as long: of the same examples it is the same.

    >>> one, other = (Examples({name: [np.ones(3), np.zeros(3)]}, None, ["a", "b"]) for name in ("x", "y"))
    >>> (fingerprints(one) == fingerprints(other)).tolist(), len(set(fingerprints(one).tolist()))
    ([True, True], 2)
    """
    signals = [examples.raws[name] for name in sorted(examples.raws)]
    indices = np.unique(np.linspace(0, max(0, len(examples) - 1), min(len(examples), MOST)).astype(np.int64))
    found = np.empty(len(indices), dtype=np.uint64)
    for number, index in enumerate(indices.tolist()):
        digest = blake2b(digest_size=8)
        for raws in signals:
            content = _content(raws[index])
            digest.update(len(content).to_bytes(8, "little") + content)
        found[number] = int.from_bytes(digest.digest(), "little")
    return found


def count_seen(found: np.ndarray, known: np.ndarray) -> int:
    """How many of the fingerprints in ``found`` are in ``known``; of several that are alike, no more than there.

    >>> count_seen(np.array([1, 1, 2, 3]), np.array([1, 2, 2]))
    2
    """
    values, counts = np.unique(found, return_counts=True)
    known_values, known_counts = np.unique(known, return_counts=True)
    _, positions, known_positions = np.intersect1d(values, known_values, assume_unique=True, return_indices=True)
    return int(np.minimum(counts[positions], known_counts[known_positions]).sum())


def _content(raw: Any) -> bytes:
    """What an example's signal is told from others by."""
    if frames := frames_of(raw):
        return b"".join(map(_content, frames))
    if isinstance(raw, Mapping):
        return b"".join(_content(raw[name]) + b"\0" for name in sorted(raw))
    if isinstance(raw, Path):
        return _pieces_of(raw)
    if isinstance(raw, bytes):
        middle = len(raw) // 2
        return len(raw).to_bytes(8, "little") + raw[:HEAD] + raw[middle : middle + HEAD]
    if isinstance(raw, Recording):
        raw = raw.values
    if isinstance(raw, bool | int | float | np.number | np.ndarray):
        array = np.asarray(raw)
        return np.ascontiguousarray(array, dtype=np.float32 if array.dtype.kind in "biuf" else None).tobytes()
    return str(raw).encode()


def _pieces_of(path: Path) -> bytes:
    """The size of a file and its two pieces, as of bytes; where it cannot be read, its path."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            head = file.read(HEAD)
            file.seek(size // 2)
            return size.to_bytes(8, "little") + head + file.read(HEAD)
    except OSError:
        return str(path).encode()
