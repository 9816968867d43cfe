"""What tells a data set from others without decoding it, and in what two of them differ: a run that goes on needs the
very data that it began with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..codecs.large import Rows
from ..codecs.row_groups import RowGroups
from ..codecs.series import Recording
from .examples import Examples, Selection
from .fingerprints import MOST, fingerprints
from .layouts.members import Members
from .leaks import frames_of
from .recognition.columns import Cells
from .source import Source

SAMPLED = 10_000  # examples of a split whose content is compared; of all others it is their names, sizes and labels

IN_NO_FILE = -1  # as a size


@dataclass(frozen=True)
class SplitIdentity:
    """The examples of one split.

    Attributes:
        names: without the folder of the data.
        targets: as the examples have them.
        sizes: int64, n: bytes in the files of each example; -1 of what is in no file of its own.
        fingerprints: uint64, n: as :func:`fingerprints` gives them; 0 of those that were not taken.
    """

    names: Sequence[str]
    targets: np.ndarray | None
    sizes: np.ndarray
    fingerprints: np.ndarray


@dataclass(frozen=True)
class Identity:
    """What tells a data set from others.

    Attributes:
        signals: the kind of each, with the shape of the first array of it.
        classes: in the order of the targets.
        splits: by name.
    """

    signals: Mapping[str, str]
    classes: Sequence[str]
    splits: Mapping[str, SplitIdentity]


def identify(source: Source, *, sampled: int | None = SAMPLED) -> Identity:
    """The identity of a data set. Nothing is decoded; of a hundred thousand files it takes seconds.

    Args:
        sampled: of so many examples of a split, evenly chosen, the content is told; None: of all.
    """
    root = source.path if source.path.is_dir() else source.path.parent
    return Identity(
        signals={name: f"{kind}{_shape(source.splits['train'].raws[name])}" for name, kind in source.kinds.items()},
        classes=source.classes,
        splits={split: _identify(examples, f"{root}/", sampled) for split, examples in source.splits.items()},
    )


def _identify(examples: Examples, prefix: str, sampled: int | None) -> SplitIdentity:
    count = len(examples)
    prints = np.zeros(count, dtype=np.uint64)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST if sampled is None else sampled), dtype=int))
    prints[chosen] = fingerprints(examples if len(chosen) == count else examples.select(chosen))
    signals = [examples.raws[name] for name in sorted(examples.raws)]
    sizes = sum((_sizes_of(raws) for raws in signals), start=np.zeros(count, np.int64))
    names = [str(name).removeprefix(prefix) for name in examples.names]
    return SplitIdentity(names, examples.targets, sizes, prints)


def _sizes_of(raws: Sequence[Any]) -> np.ndarray:
    """The bytes of each example's signal, as :func:`_size`; what is read when it is needed is not read for that."""
    known = _known_sizes(raws)
    return np.array([_size(raw) for raw in raws], np.int64) if known is None else known


def _known_sizes(raws: Sequence[Any]) -> np.ndarray | None:
    """As :func:`_sizes_of`; None: the files must be asked, one by one."""
    if isinstance(raws, Selection):
        columns = [column for part in raws.parts if (column := _known_sizes(part)) is not None]
        return raws.gathered(columns) if len(columns) == len(raws.parts) else None
    if isinstance(raws, Members):
        return raws.sizes
    return np.full(len(raws), IN_NO_FILE) if isinstance(raws, Cells | RowGroups | Rows | np.ndarray) else None


def _size(raw: Any) -> int:
    """The bytes in the files of a signal; IN_NO_FILE: it is in none, or it cannot be read."""
    if frames := frames_of(raw):
        return sum(map(_size, frames))
    try:
        return raw.stat().st_size if isinstance(raw, Path) else IN_NO_FILE
    except OSError:
        return IN_NO_FILE


def _shape(raws: Sequence[Any]) -> str:
    """The shape of the first of some examples, where it is an array."""
    first = next((raw for raw in raws if raw is not None), None)
    values = first.values if isinstance(first, Recording) else first
    return f" of {' × '.join(map(str, values.shape))} numbers" if isinstance(values, np.ndarray) and values.ndim else ""


def difference(before: Identity, now: Identity) -> str | None:
    """In what a data set is not what it was, in a few words that name an example, a class or a signal; None: it is the
    same.

    >>> split = SplitIdentity(["a", "b"], np.array([0, 1]), np.array([-1, -1]), np.array([5, 6], dtype=np.uint64))
    >>> other = SplitIdentity(["a", "b"], np.array([0, 0]), np.array([-1, -1]), np.array([5, 6], dtype=np.uint64))
    >>> difference(*(Identity({}, ("cat", "dog"), {"train": part}) for part in (split, other)))
    "the label of b was 'dog' and is now 'cat'"
    """
    for compare in (_of_signals, _of_classes, _of_members, _of_examples):
        found = compare(before, now)
        if found is not None:
            return found
    return None


def _of_signals(before: Identity, now: Identity) -> str | None:
    for name in [*before.signals, *now.signals]:
        was, is_now = before.signals.get(name, "not there"), now.signals.get(name, "not there")
        if was != is_now:
            return f"the signal {name!r} was {was} and is now {is_now}"
    return None


def _of_classes(before: Identity, now: Identity) -> str | None:
    if list(before.classes) == list(now.classes):
        return None
    added = [name for name in now.classes if name not in before.classes]
    removed = [name for name in before.classes if name not in now.classes]
    if len(added) == len(removed) == 1:
        return f"the class {removed[0]!r} is now called {added[0]!r}"
    if added or removed:
        return f"the class {(added or removed)[0]!r} was {'added' if added else 'removed'}"
    return "the classes are in another order"


def _of_members(before: Identity, now: Identity) -> str | None:
    """Which examples are in the data, whatever split they are in."""
    counted, found = (Counter(name for split in data.splits.values() for name in split.names) for data in (before, now))
    if counted == found:
        return None
    removed, added = list((counted - found).elements()), list((found - counted).elements())
    if removed and added:
        return f"{_count(added)} was added and {_count(removed)} was removed"
    whole = _whole_class(before, set(removed))
    return f"{whole}{_count(removed)} was removed" if removed else f"{_count(added)} was added"


def _count(names: Sequence[str], chosen: np.ndarray | None = None) -> str:
    """The first of some names, and how many there are besides."""
    count = len(names) if chosen is None else int(chosen.sum())
    first = names[0 if chosen is None else int(np.argmax(chosen))]
    return first if count == 1 else f"{first} (one of {count:,})"


def _whole_class(before: Identity, removed: set[str]) -> str:
    """The class of which all examples were removed."""
    left = {int(target) for split in before.splits.values() for target in _kept(split, removed)}
    for number, name in enumerate(before.classes):
        if left and number not in left:
            return f"the class {name!r} has no examples any more: "
    return ""


def _kept(split: SplitIdentity, removed: set[str]) -> list[int]:
    """The classes of the examples that were not removed; none where targets are no classes."""
    if split.targets is None or split.targets.ndim != 1 or split.targets.dtype.kind != "i":
        return []
    return [int(target) for name, target in zip(split.names, split.targets, strict=True) if name not in removed]


def _of_examples(before: Identity, now: Identity) -> str | None:
    """What is different of examples of the same names: labels, content, splits, order. A label that changes may change
    splits that are drawn here, so it is named first."""
    was, found = _sorted(before), _sorted(now)
    if (was.targets is None) != (found.targets is None):
        return f"the labels were {'added' if was.targets is None else 'removed'}"
    if was.targets is not None and found.targets is not None:
        if was.targets.shape != found.targets.shape:
            return "the labels have another shape"
        same = (was.targets == found.targets) | ((was.targets != was.targets) & (found.targets != found.targets))  # NaN
        changed = ~same.reshape(len(same), -1).all(axis=1)
        if changed.any():
            index = int(np.argmax(changed))
            words = [_label(data.classes, part.targets, index) for data, part in ((before, was), (now, found))]
            return f"the label of {_count(was.names, changed)} was {words[0]} and is now {words[1]}"
    taken = (was.fingerprints != 0) & (found.fingerprints != 0)
    changed = (was.sizes != found.sizes) | (taken & (was.fingerprints != found.fingerprints))
    if changed.any():
        return f"the content of {_count(was.names, changed)} is another"
    changed = was.splits != found.splits
    if changed.any():
        index = int(np.argmax(changed))
        return f"{_count(was.names, changed)} was in {was.splits[index]} and is now in {found.splits[index]}"
    if any(list(part.names) != list(now.splits[split].names) for split, part in before.splits.items()):
        return "the examples are in another order"
    return None


@dataclass(frozen=True)
class _Sorted(SplitIdentity):
    """The examples of all splits in the order of their names.

    Attributes:
        splits: of each.
    """

    splits: np.ndarray


def _sorted(identity: Identity) -> _Sorted:
    parts = identity.splits.values()
    names = [name for part in parts for name in part.names]
    order = np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)
    known = [part.targets for part in parts if part.targets is not None]
    return _Sorted(
        names=[names[index] for index in order],
        targets=np.concatenate(known)[order] if len(known) == len(identity.splits) else None,
        sizes=np.concatenate([part.sizes for part in parts])[order],
        fingerprints=np.concatenate([part.fingerprints for part in parts])[order],
        splits=np.array([split for split, part in identity.splits.items() for _ in part.names])[order],
    )


def _label(classes: Sequence[str], targets: Any, index: int) -> str:
    target = targets[index]
    is_class = np.ndim(target) == 0 and targets.dtype.kind == "i" and int(target) < len(classes)
    return repr(classes[int(target)]) if is_class else str(np.asarray(target).tolist())
