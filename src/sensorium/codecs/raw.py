"""What a signal may come as, before it is decoded."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..errors import InputError

Raw: TypeAlias = "Path | bytes | str | np.ndarray | Sequence[Any] | Mapping[str, Any]"

GZIP = b"\x1f\x8b"


def memory() -> int:
    """The memory this process may use, in bytes: the machine's, or less where a container has less."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):  # no such call on Windows
        total = 8 << 30
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return min(total, int(text)) if text.isdigit() else total


def file_bytes(raw: str | bytes | Path) -> bytes:
    """The bytes of a file, by path or as they are; a file that gzip compressed is decompressed, whatever it is called.

    >>> file_bytes(gzip.compress(b"1,2"))
    b'1,2'

    Raises:
        InputError: it cannot be read, is empty, or its compression is damaged.
    """
    if not isinstance(raw, bytes):
        try:
            raw = Path(raw).read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})") from None
    if raw.startswith(GZIP):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"its gzip compression is damaged ({error}); copy the file again or remove it") from None
    if not raw:
        raise InputError("the file is empty; copy it again or remove it")
    return raw


def plain_file(raw: str | bytes | Path) -> bytes | Path:
    """A file as it is, by path or content; where gzip compressed it, its content decompressed.

    Raises:
        InputError: its compression is damaged.
    """
    if isinstance(raw, bytes):
        return file_bytes(raw) if raw.startswith(GZIP) else raw
    return file_bytes(raw) if _is_compressed(Path(raw)) else Path(raw)


def _is_compressed(path: Path) -> bool:
    """Whether gzip compressed the file; False where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(len(GZIP)) == GZIP
    except OSError:
        return False


@contextmanager
def needs(library: str, *, to_decode: str) -> Iterator[None]:
    """Imports of a library that not everyone has installed: where it is missing, one line that says how to get it.

    >>> with needs("nowhere", to_decode="volumes"):
    ...     import nowhere
    Traceback (most recent call last):
        ...
    sensorium.errors.InputError: reading volumes needs nowhere: pip install 'sensorium[formats]'
    """
    try:
        yield
    except ImportError:
        raise InputError(f"reading {to_decode} needs {library}: pip install 'sensorium[formats]'") from None
