"""NumPy's own files, ``.npy`` and ``.npz``: what their headers announce is compared with what there is, before memory
is asked for."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Collection
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from ..errors import InputError
from . import bounds
from .raw import first_line

MAGIC = b"\x93NUMPY"
PICKLED = "holds pickled objects, which are never loaded; save plain arrays"
# What a header of damaged Python raises, and what damaged zip archives do (encrypted members RuntimeError, unknown
# compression NotImplementedError).
HEADER_ERRORS = (ValueError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError, EOFError, OverflowError)
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    KeyError,
)
MOST_AXES = 64  # of NumPy's arrays
_CHUNK = 1 << 24  # bytes read at a time


def load(source: Path | io.BytesIO) -> np.ndarray:
    """The array of a ``.npy`` file.

    Raises:
        InputError: it cannot be read, holds pickled objects, or more than a file may.
    """
    if isinstance(source, io.BytesIO):
        return _array(source, source.getbuffer().nbytes)
    try:
        with source.open("rb") as file:
            return _array(file, source.stat().st_size)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})") from None


def mapped(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file that stays on disk: what is used of it is read then.

    Raises:
        InputError: as :func:`load`, but for its size.
    """
    try:
        with path.open("rb") as file:
            header(file, path.stat().st_size)
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})") from None


def load_archive(source: Path | io.BytesIO, *, without: Collection[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` file by name; what else is in it is left out.

    Args:
        without: the names of files in it that are not loaded.

    Raises:
        InputError: it cannot be read, holds pickled objects, or more than a file may.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(source) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            members = [member for member in members if member.filename not in without]
            bounds.check_bytes(sum(member.file_size for member in members), "what it holds")
            for member in members:
                with archive.open(member) as file:
                    arrays[member.filename.removesuffix(".npy")] = _array(file, member.file_size)
    except ZIP_ERRORS as error:
        raise InputError(f"cannot be read ({first_line(error)})") from None
    return arrays


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """The array in an open file of ``size`` bytes."""
    shape, in_columns, dtype = header(file, size)
    bounds.check_array(shape, dtype.itemsize)
    values = _elements(file, dtype, prod(shape))
    return values.reshape(shape[::-1]).T if in_columns else values.reshape(shape)


def header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Of an open ``.npy`` of ``size`` bytes: the shape, whether the first axis varies fastest, the type of elements."""
    try:
        version = npy_format.read_magic(file)
        read_header: Any = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, in_columns, dtype = read_header(file)
        announced = prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or len(shape) > MOST_AXES:
            raise ValueError(f"an array of the impossible shape {shape}")
    except HEADER_ERRORS as error:
        raise InputError(f"cannot be read ({first_line(error)})") from None
    if dtype.hasobject:
        raise InputError(PICKLED)
    if file.tell() + announced > size:
        bounds.check_bytes(announced, "its array")
        raise InputError(f"cannot be read (it ends before the {announced:,} bytes of its array)")
    return shape, in_columns, dtype


def _elements(file: IO[bytes], dtype: np.dtype, count: int) -> np.ndarray:
    if isinstance(file, io.BufferedReader):
        values = np.fromfile(file, dtype, count) if count and dtype.itemsize else np.zeros(count, dtype)
        whole = len(values) == count
    else:
        values = np.zeros(count, dtype)
        content = values.view(np.uint8) if values.nbytes else np.zeros(0, np.uint8)
        filled = 0
        while filled < len(content) and (chunk := file.read(min(_CHUNK, len(content) - filled))):
            content[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
            filled += len(chunk)
        whole = filled == len(content)
    if not whole:
        raise InputError(f"cannot be read (it ends before the {count * dtype.itemsize:,} bytes of its array)")
    return values
