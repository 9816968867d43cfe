"""What a user may get wrong, told in one line; and silence where a library tells what nobody can mend."""

from __future__ import annotations

import difflib
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class InputError(Exception):
    """Something the user handed in cannot be used: one line that names what, where and the cure.

    The command line prints it and exits with status 2; nothing else is ever printed for it.

    >>> str(InputError("shapes/a.png: the picture is truncated; copy it again or remove it"))
    'shapes/a.png: the picture is truncated; copy it again or remove it'
    """


class Absent(InputError):
    """Nothing is wrong with what was handed in, but it lacks this signal: the sound of a silent film.

    Where a model has several modalities, the others may do without; where it has one, this is bad input like any other.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The closest known word as a question, or the list of all known words.

    >>> did_you_mean("imagee", ["image", "audio"])
    "did you mean 'image'?"
    >>> did_you_mean("zzz", ["image", "audio"])
    'known: audio, image'
    """
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that there is no memory left. Torch has errors of its own for that.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shape"))
    (True, False)
    """
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: can't allocate memory" in str(error)
    )


@contextmanager
def silenced(loggers: Iterable[str], *, modules: str = "") -> Iterator[None]:
    """Without warnings, and without the remarks of some loggers; afterwards both are as before.

    Args:
        loggers: their names; errors are still logged.
        modules: a pattern of the modules whose warnings are left out; by default all.

    >>> with silenced(["noisy"]):
    ...     logging.getLogger("noisy").isEnabledFor(logging.WARNING)
    False
    """
    known = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in known]
    try:
        for logger in known:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=modules)
            yield
    finally:
        for logger, level in zip(known, levels, strict=True):
            logger.setLevel(level)
