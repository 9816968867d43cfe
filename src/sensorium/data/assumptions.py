"""What was guessed of data and could be otherwise. It is said by ``train`` and ``inspect``, and kept in the report."""

from __future__ import annotations

from dataclasses import dataclass


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
