"""What was guessed of data and could be otherwise. It is said by ``train`` and ``inspect``, and kept in the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_MOST_LISTED = 10  # names in a line


@dataclass(frozen=True)
class Assumption:
    """One guess.

    Attributes:
        topic: what it is about, in a word: ``target``, ``split``, the name of an input.
        text: what was taken to be so, and why.
        flag: the option that says otherwise, such as ``--target COLUMN``; empty: there is nothing to say.

    >>> Assumption("target", "species, the only column called like a target", "--target COLUMN").topic
    'target'
    """

    topic: str
    text: str
    flag: str = ""


def listed(names: Sequence[str]) -> str:
    """The first names with commas between them, and the last one where there are many.

    >>> listed(["a", "b"]), listed([f"pixel{number}" for number in range(784)])[-27:]
    ('a, b', 'pixel7, pixel8, …, pixel783')
    """
    names = list(names)
    return ", ".join(names if len(names) <= _MOST_LISTED else [*names[: _MOST_LISTED - 1], "…", names[-1]])
