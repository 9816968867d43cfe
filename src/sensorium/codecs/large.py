"""Arrays of files that are larger than what one wants to load: mapped into memory, or read row by row."""

from __future__ import annotations

import io
import os
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from ..errors import InputError
from . import bounds, npy
from .raw import first_line

SIZE = 1 << 26  # bytes from which an array stays in its file
_MOST_PACKED = 1000  # bytes of an array for each that is stored; deflate cannot pack more
_LOCAL_HEADER, _LENGTHS = 30, slice(26, 30)  # of a file in a zip: its size, and where it says how long its name is


class Rows:
    """An array in an HDF5 file whose rows are read when they are needed. It is an array as far as shapes, rows and the
    order of axes go; each process opens the file for itself.

    Args:
        path: of the file.
        key: of the array in it.
        shape, dtype: of the array, as it is stored.
        order: the permutation of its axes; the first one stays where it is.
    """

    def __init__(
        self, path: Path, key: str, shape: tuple[int, ...], dtype: np.dtype[Any], order: tuple[int, ...] | None = None
    ) -> None:
        self._path, self._key, self._stored, self.dtype = path, key, shape, dtype
        self._order = order or tuple(range(len(shape)))

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return tuple(self._stored[axis] for axis in self._order)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._stored)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self._stored, dtype=object))

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self._stored[0]

    def __getitem__(self, position: Any) -> np.ndarray:
        data = _dataset(os.getpid(), self._path, self._key)
        if isinstance(position, int | np.integer):
            row = np.asarray(data[int(position) % len(self)])
            return row.transpose([axis - 1 for axis in self._order[1:]])
        if isinstance(position, slice):
            return np.asarray(data[position]).transpose(self._order)
        if isinstance(position, tuple):
            raise TypeError("rows are taken whole")
        return np.stack([self[int(index)] for index in np.asarray(position)])

    def transpose(self, *axes: int) -> Rows:
        """The same rows with their axes in another order."""
        return Rows(self._path, self._key, self._stored, self.dtype, tuple(self._order[axis] for axis in axes))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)


def decode_npz(source: Path | io.BytesIO) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` by name. Large ones that are not compressed are mapped; the others are loaded.

    Raises:
        InputError: it cannot be read, holds pickled objects, or the arrays that are loaded take more than a file may.
    """
    try:
        with ZipFile(source) as archive:
            inside = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    except npy.ZIP_ERRORS as error:
        raise InputError(f"cannot be read ({first_line(error)})") from None
    mapped = [
        info
        for info in inside
        if isinstance(source, Path) and info.compress_type == ZIP_STORED and info.file_size > SIZE
    ]
    unpacked = sum(info.file_size for info in inside if info not in mapped)
    if unpacked > bounds.largest():
        raise InputError(
            f"what it holds takes {unpacked / 1e9:,.5g} GB of memory, and a compressed file may take "
            f"{bounds.largest_in_words()}; save it with np.savez, which does not compress: then rows are read when "
            "they are needed"
        )
    arrays = npy.load_archive(source, without={info.filename for info in mapped})
    for info in mapped:
        assert isinstance(source, Path)
        arrays[info.filename.removesuffix(".npy")] = _map(source, info)
    return {name: arrays[name] for name in (info.filename.removesuffix(".npy") for info in inside)}


def stays(data: Any) -> bool:
    """Whether an array of HDF5 stays in its file: it is large, and not a small file that announces much."""
    stored = data.id.get_storage_size()
    return bool(data.ndim and not data.dtype.hasobject and SIZE < data.nbytes <= _MOST_PACKED * stored)


def rows_of_dataset(path: Path, key: str, data: Any) -> Any:
    """An array of HDF5 that stays in its file: mapped, where it is in one piece, else its rows.

    Args:
        path: of the file.
        key: the name of the array.
        data: the array, of an open file.
    """
    offset = data.id.get_offset() if data.chunks is None and data.compression is None else None
    if offset is not None and offset + data.nbytes <= path.stat().st_size:
        return np.memmap(path, data.dtype, "r", offset, data.shape)
    return Rows(path, key, data.shape, data.dtype)


def _map(path: Path, info: ZipInfo) -> np.ndarray:
    """A plainly stored ``.npy`` in a zip, mapped into memory."""
    try:
        with path.open("rb") as file:
            file.seek(info.header_offset)
            header = file.read(_LOCAL_HEADER)
            name, extra = np.frombuffer(header[_LENGTHS], "<u2").tolist()
            file.seek(info.header_offset + _LOCAL_HEADER + name + extra)
            shape, in_columns, dtype = npy.header(file, path.stat().st_size)
            return np.memmap(path, dtype, "r", file.tell(), shape, "F" if in_columns else "C")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({first_line(error)})") from None


@lru_cache(maxsize=16)
def _dataset(process: int, path: Path, key: str) -> Any:
    """The array in its file, open in this process: HDF5's files may not be shared by two."""
    import h5py

    return h5py.File(path, "r")[key]
