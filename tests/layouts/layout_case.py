"""One data folder as people have it, and what the program must say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Case:
    """What people have, and what is expected: it is understood, or refused.

    Attributes:
        name: of the case, in a word or two with dashes; also of the folder.
        what: what people have, for people.
        make: writes the data into an empty folder. What it returns, if anything, is pointed at instead of the folder.
        options: what the user says; the arguments of ``recognise``.
        kinds: the kind of each signal by name.
        axes: those of the first signal that has any.
        channels: the names of the channels that a model of it would read.
        task: what is learned.
        classes: how many classes, tags or numbers.
        splits: the number of examples in each split.
        drawn: whether the program draws the test split.
        group: the column of groups.
        left_out: columns that are not read.
        said: parts of the assumptions.
        warned: parts of the warnings.
        refused: parts of the one line that says why not; empty: the data are understood.
    """

    name: str
    what: str
    make: Callable[[Path], Path | None]
    options: Mapping[str, Any] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    axes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    task: str = "classify"
    classes: int = 2
    splits: Mapping[str, int] = field(default_factory=dict)
    drawn: bool = False
    group: str | None = None
    left_out: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.refused) == bool(self.splits):
            raise ValueError(f"{self.name}: say what is understood, or what is refused")

    def write(self, folder: Path) -> Path:
        """The data, written into a new folder of the case's name; the path that the user points at."""
        root = folder / self.name
        root.mkdir()
        return self.make(root) or root
