"""What a file may unpack to. A small file may announce, or hide, more than any memory holds: its codec compares what it
announces with these bounds before it unpacks it. Why they are as they are: docs/decisions/0015-bounds.md."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from math import prod
from pathlib import Path

from ..errors import InputError

SHARE = 4  # a file may unpack to this part of the memory: until it trains, there are up to three copies of it
PIXELS = 200_000_000  # of a picture, or of a frame of a film
LEAST_RATE, RATE = 100, 10_000_000  # samples of sound a second; others are damaged headers
CELLS = 50_000_000  # of a sheet of a workbook, which can be empty but for its last one
_ELEMENT = 4  # bytes: whatever an array holds becomes float32


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
    """The bytes that one file may unpack to: a quarter of :func:`memory`."""
    return memory() // SHARE


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
            f"{what} takes {size / 1e9:,.5g} GB of memory, and a file may take {largest() / 1e9:,.3g} GB, a quarter "
            "of it; save it in several files, or copy it again if that cannot be"
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
    """Refuse pictures of more than :data:`PIXELS`.

    Raises:
        InputError: the size and the bound.
    """
    if height * width > PIXELS:
        raise InputError(
            f"{what} has {width:,} × {height:,} pixels, and {PIXELS / 1e6:.0f} million are the most; make it smaller"
        )


def check_rate(rate: float) -> None:
    """Refuse sound of an impossible number of samples a second.

    Raises:
        InputError: the rate and the bound.
    """
    if not LEAST_RATE <= rate <= RATE:
        raise InputError(
            f"{rate:,.10g} samples a second, and sound has {LEAST_RATE} to {RATE:,}; copy it again or read it as series"
        )
