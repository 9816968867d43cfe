"""What a signal may come as, before it is decoded."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..errors import InputError
from . import bounds

Raw: TypeAlias = "Path | bytes | str | np.ndarray | Sequence[Any] | Mapping[str, Any]"

GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20  # bytes decompressed at a time


def file_bytes(raw: str | bytes | Path) -> bytes:
    """The bytes of a file, by path or as they are; a file that gzip compressed is decompressed, whatever it is called.

    >>> file_bytes(gzip.compress(b"1,2"))
    b'1,2'

    Raises:
        InputError: it cannot be read, is empty, takes more memory than a file may, or its compression is damaged.
    """
    if not isinstance(raw, bytes):
        try:
            with Path(raw).open("rb") as file:
                bounds.check_bytes(os.fstat(file.fileno()).st_size, "the file")
                raw = file.read()
        except (OSError, ValueError) as error:  # a ValueError for a NUL in its name
            raise InputError(f"cannot be read ({getattr(error, 'strerror', error)})") from None
    if raw.startswith(GZIP):
        try:
            raw = _decompressed(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"its gzip compression is damaged ({error}); copy the file again or remove it") from None
    if not raw:
        raise InputError("the file is empty; copy it again or remove it")
    return raw


def _decompressed(content: bytes) -> bytes:
    """The last four bytes say how much there is, but need not be right."""
    bounds.check_bytes(int.from_bytes(content[-4:], "little"), "what gzip compressed")
    chunks, total = [], 0
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        while chunk := file.read(_CHUNK):
            chunks.append(chunk)
            bounds.check_bytes(total := total + len(chunk), "what gzip compressed")
    return b"".join(chunks)


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


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line.

    >>> first_line(ValueError("no\\nyes")), first_line(EOFError())
    ('no', 'EOFError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]


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
