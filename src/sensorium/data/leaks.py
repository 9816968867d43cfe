"""Examples that are in two splits: they make scores too good."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Sized
from hashlib import blake2b
from itertools import combinations
from pathlib import Path

import numpy as np

from ..codecs.series import Recording
from .examples import Examples, Selection
from .layouts.members import Members

HEAD = 1 << 12  # bytes from the beginning of a file that tell most files apart
MOST_COMPARED = 20_000  # examples; of more, so many are compared


def find_leaks(splits: Mapping[str, Examples]) -> tuple[str, ...]:
    """One warning per pair of splits that share examples with the same content.

    Sizes are compared first, then the first bytes, then the whole content, so that few files are read whole. Of more
    than 20,000 examples, so many are compared, as many of each split as there are of the others: of copies in two
    splits it finds some, if there are more than a few.
    """
    everything = [(split, index) for split, indices in _compared(splits).items() for index in indices]
    signals = {split: list(examples.raws.values()) for split, examples in splits.items()}
    sizes = {(split, index): tuple(_size_at(raws, index) for raws in signals[split]) for split, index in everything}

    def head(split: str, index: int) -> Hashable:
        return tuple(_digest(raws[index], HEAD) for raws in signals[split])

    def whole(split: str, index: int) -> Hashable:
        if all(isinstance(size, int) and size <= HEAD for size in sizes[split, index]):
            return ()  # the head is all of it
        return tuple(_digest(raws[index], -1) for raws in signals[split])

    alike: list[list[tuple[str, int]]] = [everything]
    for feature in (lambda split, index: sizes[split, index], head, whole):
        alike = [group for candidates in alike for group in _same(candidates, feature)]
    warnings = []
    for first, second in combinations(splits, 2):
        shared = [group for group in alike if {first, second} <= {split for split, _ in group}]
        if shared:
            count = sum(split == second for group in shared for split, _ in group)
            index, copy = (next(index for split, index in shared[0] if split == name) for name in (first, second))
            number = f"{count}" if len(everything) == sum(map(len, splits.values())) else f"at least {count}"
            warnings.append(
                f"{number} examples of {second} are in {first} too, for example {splits[second].names[copy]} "
                f"(the same as {splits[first].names[index]}): remove one of each, or scores will be too good"
            )
    return tuple(warnings)


def _compared(splits: Mapping[str, Examples]) -> dict[str, list[int]]:
    """Which examples of each split are compared: all of them, or, evenly spaced, so many that few files are opened."""
    left, shares = MOST_COMPARED, {}
    for number, (split, examples) in enumerate(sorted(splits.items(), key=lambda item: len(item[1]))):
        shares[split] = min(len(examples), left // (len(splits) - number))
        left -= shares[split]
    return {
        split: np.unique(np.linspace(0, max(0, len(examples) - 1), shares[split]).astype(np.int64)).tolist()
        for split, examples in splits.items()
    }


def _same(
    candidates: Iterable[tuple[str, int]], feature: Callable[[str, int], Hashable]
) -> list[list[tuple[str, int]]]:
    """Groups of examples from at least two splits with the same feature."""
    groups: dict[Hashable, list[tuple[str, int]]] = defaultdict(list)
    for split, index in candidates:
        groups[feature(split, index)].append((split, index))
    return [group for group in groups.values() if len({split for split, _ in group}) > 1]


def _size_at(raws: Sequence[object], index: int) -> Hashable:
    """What tells most contents apart without reading them."""
    if isinstance(raws, Selection):
        part, at = raws.locate(index)
        if isinstance(part, Members):
            return int(part.sizes[at])
    return _size(raws[index])


def _size(raw: object) -> Hashable:
    if frames := frames_of(raw):
        return tuple(map(_size, frames))
    if isinstance(raw, Path):
        try:
            return raw.stat().st_size
        except OSError:
            return str(raw)
    if isinstance(raw, Recording):
        raw = raw.values
    if isinstance(raw, np.ndarray):
        return raw.shape
    return len(raw) if isinstance(raw, Sized) else None


def _digest(raw: object, length: int) -> bytes:
    if frames := frames_of(raw):
        content = b"".join(_digest(frame, length) for frame in frames)
    elif isinstance(raw, Path):
        try:
            with raw.open("rb") as file:
                content = file.read(length)
        except OSError:
            content = str(raw).encode()
    elif isinstance(raw, np.ndarray | Recording):
        raw = raw.values if isinstance(raw, Recording) else raw
        content = np.ascontiguousarray(raw).tobytes()
    else:
        content = raw if isinstance(raw, bytes) else repr(raw).encode()
    return blake2b(content, digest_size=16).digest()


def frames_of(raw: object) -> tuple[Path, ...]:
    """The two frames of a pair; none for the row of a table, even if a column is called ``frames``."""
    frames = raw.get("frames") if isinstance(raw, Mapping) else None
    return frames if isinstance(frames, tuple) else ()
