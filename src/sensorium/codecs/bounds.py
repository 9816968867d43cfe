"""What a file may unpack to. A small file may announce, or hide, more than any memory holds: its codec compares what it
announces with these bounds before it unpacks it. Why they are as they are: docs/decisions/0015-bounds.md."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from math import inf, prod
from pathlib import Path

from ..errors import InputError

SHARE = 4  # a file may unpack to this part of the memory: until it trains, there are up to three copies of it
PIXELS = 200_000_000  # of a picture, or of a frame of a film
LEAST_RATE, RATE = 100, 10_000_000  # samples of sound a second; others are damaged headers
CELLS = 50_000_000  # of a sheet of a workbook, which can be empty but for its last one
_ELEMENT = 4  # bytes: whatever an array holds becomes float32


@dataclass(frozen=True, kw_only=True)
class LowerBounds:
    """Bounds below those of this file, for a program that decodes the files of strangers.

    Attributes:
        unpacked: bytes that one file may unpack to.
        pixels: of a picture, or of a frame of a film.
        seconds: of sound.
    """

    unpacked: int = sys.maxsize
    pixels: int = PIXELS
    seconds: float = inf


_LOWER: ContextVar[LowerBounds] = ContextVar("lower bounds", default=LowerBounds())  # noqa: B039, it is frozen


@contextmanager
def lowered(bounds: LowerBounds) -> Iterator[None]:
    """Within it, in this thread alone, files are decoded with lower bounds.

    >>> with lowered(LowerBounds(pixels=4)):
    ...     check_pixels(3, 2)
    Traceback (most recent call last):
        ...
    sensorium.errors.InputError: the picture has 2 × 3 pixels, and 4 are the most; make it smaller
    """
    token = _LOWER.set(bounds)
    try:
        yield
    finally:
        _LOWER.reset(token)


@cache
def memory() -> int:
    """The memory this process may use, in bytes: the machine's, or less where a container or ``ulimit -v`` says so."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):  # no such call on Windows
        total = 8 << 30
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return min(total, _addresses(), int(text) if text.isdigit() else total)


def _addresses() -> int:
    """The addresses that ``ulimit -v`` still leaves, in bytes."""
    try:
        import resource
    except ImportError:  # on Windows
        return sys.maxsize
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    used = Path("/proc/self/statm")
    if most == resource.RLIM_INFINITY or not used.is_file():
        return sys.maxsize
    return max(0, most - int(used.read_text().split()[0]) * resource.getpagesize())


def largest() -> int:
    """The bytes that one file may unpack to: a quarter of :func:`memory`, or less where that is :func:`lowered`."""
    return min(memory() // SHARE, _LOWER.get().unpacked)


def largest_in_words() -> str:
    """:func:`largest`, for people."""
    share = ", a quarter of it" if largest() == memory() // SHARE else ""
    return f"{largest() / 1e9:,.3g} GB{share}"


def check_bytes(size: int, what: str = "it") -> None:
    """Refuse what unpacks to more than :func:`largest`.

    >>> check_bytes(80 * 10**12, "the array 'x'")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    sensorium.errors.InputError: the array 'x' takes 80,000 GB of memory...

    Raises:
        InputError: the size and the bound.
    """
    if size > largest():
        raise InputError(
            f"{what} takes {size / 1e9:,.5g} GB of memory, and a file may take {largest_in_words()}; save it in "
            "several files, or copy it again if that cannot be"
        )


def size_of(shape: Sequence[int], itemsize: int = _ELEMENT) -> int:
    """The bytes of an array, counted as float32 where its elements are smaller.

    >>> size_of((3, 2), 1), size_of((3, 2), 8)
    (24, 48)

    Raises:
        ValueError: a negative length.
    """
    if any(length < 0 for length in shape):
        raise ValueError(f"an array of the impossible shape {tuple(shape)}")
    return prod(map(int, shape)) * max(_ELEMENT, itemsize)


def check_array(shape: Sequence[int], itemsize: int = _ELEMENT, what: str = "its array") -> None:
    """Refuse an array of more than :func:`largest` bytes, as :func:`size_of` counts them.

    Raises:
        InputError: the size and the bound.
        ValueError: a negative length.
    """
    check_bytes(size_of(shape, itemsize), what)


def check_pixels(height: int, width: int, what: str = "the picture") -> None:
    """Refuse pictures of more than :data:`PIXELS`, or than :func:`lowered` says.

    Raises:
        InputError: the size and the bound.
    """
    most = min(PIXELS, _LOWER.get().pixels)
    if height * width > most:
        words = f"{most / 1e6:g} million" if most >= 10_000 else f"{most:,}"
        raise InputError(f"{what} has {width:,} × {height:,} pixels, and {words} are the most; make it smaller")


def check_seconds(seconds: float, what: str = "the sound") -> None:
    """Refuse sound that is longer than :func:`lowered` says; by itself, it may have any length.

    Raises:
        InputError: the length and the bound.
    """
    if seconds > (most := _LOWER.get().seconds):
        raise InputError(f"{what} lasts {seconds:,.4g} seconds, and {most:,.4g} are the most; cut it")


def check_rate(rate: float) -> None:
    """Refuse sound of an impossible number of samples a second.

    Raises:
        InputError: the rate and the bound.
    """
    if not LEAST_RATE <= rate <= RATE:
        raise InputError(
            f"{rate:,.10g} samples a second, and sound has {LEAST_RATE} to {RATE:,}; copy it again or read it as series"
        )
