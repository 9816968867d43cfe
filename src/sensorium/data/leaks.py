"""Examples that are in two splits at once: they make scores too good."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from hashlib import blake2b
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from .examples import Examples

_HEAD = 1 << 16


def find_leaks(splits: Mapping[str, Examples]) -> tuple[str, ...]:
    """One warning per pair of splits that share examples with the same content.

    Sizes are compared first, then beginnings, then everything, so hardly any file is read whole.
    """
    places = [(split, row) for split, examples in splits.items() for row in range(len(examples))]
    twins: list[list[tuple[str, int]]] = [places]
    for look in (_size, _head, _whole):
        twins = [group for candidates in twins for group in _same(splits, candidates, look)]
    warnings = []
    for first, second in combinations(splits, 2):
        shared = [group for group in twins if {first, second} <= {split for split, _ in group}]
        if shared:
            count = sum(split == second for group in shared for split, _ in group)
            one, other = (next(row for split, row in shared[0] if split == name) for name in (first, second))
            warnings.append(
                f"{count} examples of {second} are in {first} too, for example {splits[second].names[other]} "
                f"(the same as {splits[first].names[one]}): remove one of each, or scores will be too good"
            )
    return tuple(warnings)


def _same(
    splits: Mapping[str, Examples], places: Iterable[tuple[str, int]], look: Callable[[Any], Hashable]
) -> list[list[tuple[str, int]]]:
    """Groups of examples from at least two splits whose signals all look the same."""
    groups: dict[Hashable, list[tuple[str, int]]] = defaultdict(list)
    for split, row in places:
        groups[tuple(look(raws[row]) for raws in splits[split].raws.values())].append((split, row))
    return [group for group in groups.values() if len({split for split, _ in group}) > 1]


def _size(raw: Any) -> Hashable:
    if frames := _frames(raw):
        return tuple(map(_size, frames))
    if isinstance(raw, Path):
        try:
            return raw.stat().st_size
        except OSError:
            return str(raw)
    if raw is None:
        return None
    return raw.shape if isinstance(raw, np.ndarray) else len(raw)


def _head(raw: Any) -> Hashable:
    return _digest(raw, _HEAD)


def _whole(raw: Any) -> Hashable:
    return _digest(raw, -1)


def _digest(raw: Any, length: int) -> bytes:
    if frames := _frames(raw):
        content = b"".join(_digest(frame, length) for frame in frames)
    elif isinstance(raw, Path):
        try:
            with raw.open("rb") as file:
                content = file.read(length)
        except OSError:
            content = str(raw).encode()
    elif isinstance(raw, np.ndarray):
        content = np.ascontiguousarray(raw).tobytes()
    else:
        content = raw if isinstance(raw, bytes) else repr(raw).encode()
    return blake2b(content, digest_size=16).digest()


def _frames(raw: Any) -> tuple[Path, ...]:
    """The two frames of a pair; the row of a table has none, whatever its columns are called."""
    frames = raw.get("frames") if isinstance(raw, Mapping) else None
    return frames if isinstance(frames, tuple) else ()
