"""Series that are cut out of longer ones: the windows of recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...codecs.series import Recording, decode
from ...errors import InputError
from ..assumptions import Assumption
from ..description import DataConfig
from ..examples import Listing
from ..recognition.recognise import SERIES

LONG = 4096  # steps from which a recording is cut into windows
WINDOW = 1024  # steps of these windows
WINDOW_OF_LABELS = 128  # at most so many steps, where labels change within recordings


class Windows(Sequence[Any]):
    """Stretches of one long table of measurements, each a recording that is cut out when it is needed.

    Args:
        values: float32, rows × channels.
        times: float64, (rows,).
        channels: the names of the channels.
        starts, ends: int64, n: the rows of each stretch.
    """

    def __init__(
        self,
        values: np.ndarray,
        times: np.ndarray | None,
        channels: tuple[str, ...],
        starts: np.ndarray,
        ends: np.ndarray,
    ) -> None:
        self.values, self.times, self.channels = values, times, channels
        self.starts, self.ends = starts, ends

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, position: Any) -> Any:
        rows = slice(int(self.starts[position]), int(self.ends[position]))
        return Recording(self.values[rows], None if self.times is None else self.times[rows], self.channels)


class NamedChannels(Sequence[Any]):
    """The series of an array, examples × steps × channels, with the names of their channels."""

    def __init__(self, array: np.ndarray, channels: tuple[str, ...]) -> None:
        self.array, self.channels = array, channels

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, position: Any) -> Any:
        return Recording(np.asarray(self.array[position], dtype=np.float32), None, self.channels)


def window_of(description: DataConfig, lengths: np.ndarray, *, varies: bool) -> tuple[int, int, str]:
    """The steps of a window (0: recordings stay whole), those from one window to the next, and why."""
    window, reason = description.window, "as you say"
    if window is None and varies:
        window, reason = min(WINDOW_OF_LABELS, int(np.median(lengths))), "labels change within recordings"
    elif window is None:
        window, reason = (WINDOW if lengths.max() > LONG else 0), f"recordings are up to {lengths.max():,} steps long"
    return window, description.hop or max(1, window // 2), reason


def windows_of(starts: np.ndarray, ends: np.ndarray, window: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows of the stretches, none of them across two; what is shorter than a window is one by itself.

    >>> windows_of(np.array([0, 10]), np.array([10, 13]), 4, 3)
    (array([ 0,  3,  6, 10]), array([ 4,  7, 10, 13]))
    """
    cut = [np.arange(start, max(end - window, start) + 1, hop) for start, end in zip(starts, ends, strict=True)]
    counts = [len(begins) for begins in cut]
    begins = np.concatenate(cut)
    return begins, np.minimum(begins + window, np.repeat(ends, counts))


def assumed_windows(window: int, hop: int, reason: str) -> tuple[Assumption, ...]:
    """That recordings are cut, and why."""
    if not window:
        return ()
    text = f"{window:,} steps, one every {hop:,} ({reason}); those of one recording stay in one split"
    return (Assumption("windows", text, "--window N, --hop N"),)


def hop_of(description: DataConfig) -> int:
    """The steps from one window to the next: half a window, where nobody says."""
    return description.hop or max(1, (description.window or 0) // 2)


def pieces_of(raw: Any, name: str, window: int, hop: int) -> dict[str, Recording]:
    """The windows of one recording, by their names; a short recording is one, of its own name.

    Raises:
        InputError: it cannot be read.

    >>> list(pieces_of(np.zeros((5, 2)), "a", window=4, hop=1))
    ['a steps 1–4', 'a steps 2–5']
    """
    recording = decode(raw)
    starts, ends = windows_of(np.array([0]), np.array([len(recording)]), window, hop)
    pieces = {}
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        times = None if recording.times is None else recording.times[start:end]
        called = f"{name} steps {start + 1}–{end}" if len(starts) > 1 else name
        pieces[called] = Recording(recording.values[start:end], times, recording.channels)
    return pieces


def cut_into_windows(listing: Listing) -> Listing:
    """The windows of each recording, where the description asks for them and recordings are not cut yet. Windows of one
    recording are a group, unless the data have groups.

    Raises:
        InputError: the examples are no series, or one of them cannot be read.
    """
    description = listing.description
    if not description.window or description.time is not None:
        return listing
    if set(listing.kinds.values()) != {SERIES} or len(listing.kinds) > 1:
        raise InputError(
            f"--window: the data hold {', '.join(listing.kinds.values())}; only series are cut into windows"
        )
    ((name, raws),) = listing.raws.items()
    window, hop = description.window, hop_of(description)
    pieces: list[Recording] = []
    whose: list[int] = []
    names: list[str] = []
    for number, raw in enumerate(raws):
        try:
            found = pieces_of(raw, listing.names[number], window, hop)
        except InputError as error:
            raise InputError(f"{listing.names[number]}: {error}") from None
        pieces += found.values()
        names += found
        whose += [number] * len(found)

    def repeated(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[whose]

    return replace(
        listing,
        raws={name: pieces},
        names=names,
        labels=listing.labels[whose],
        split_names=repeated(listing.split_names),
        folds=repeated(listing.folds),
        groups=np.array(whose) if listing.groups is None else repeated(listing.groups),
        assumptions=(*listing.assumptions, *assumed_windows(window, hop, "as you say")),
    )
