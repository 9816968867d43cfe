"""Arrays of files that are larger than what one wants to load: mapped into memory, or read row by row."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from ..errors import InputError
from .raw import memory

SIZE = 1 << 26  # bytes from which an array stays in its file
_SHARE = 3  # what a file unpacks to may take a third of the memory
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


def decode_npz(source: Any) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz``. Large ones that are not compressed are mapped; compressed ones are decompressed, as
    long as they take no more than a third of the memory together.

    Args:
        source: a path, or an open file in memory.

    Raises:
        InputError: they take more.
    """
    arrays: dict[str, np.ndarray] = {}
    with ZipFile(source) as archive:
        inside = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        mapped = [
            info
            for info in inside
            if isinstance(source, Path) and info.compress_type == ZIP_STORED and info.file_size > SIZE
        ]
    unpacked = sum(info.file_size for info in inside if info not in mapped)
    if unpacked > memory() // _SHARE:
        raise InputError(
            f"its compressed arrays take {unpacked / 1e9:,.1f} GB, more than a third of the memory; write it with "
            "np.savez, which does not compress: then rows are read when they are needed"
        )
    for info in mapped:
        arrays[info.filename.removesuffix(".npy")] = _map(source, info)
    with np.load(source, allow_pickle=False) as archive:
        return {key: arrays[key] if key in arrays else archive[key] for key in archive.files}


def decode_dataset(source: Any, key: str, data: Any) -> Any:
    """An array of HDF5: mapped, where it is large and in one piece; its rows, where it is large and in chunks; else
    loaded.

    Args:
        source: the path of the file, or an open file in memory.
        key: the name of the array.
        data: the array, of an open file.
    """
    if not isinstance(source, Path) or data.nbytes <= SIZE or not data.ndim or data.dtype.hasobject:
        return data[()]
    if data.chunks is None and data.compression is None and data.external is None and not data.is_virtual:
        offset = data.id.get_offset()
        if offset is not None:
            return np.memmap(source, data.dtype, "r", offset, data.shape)
    return Rows(source, key, data.shape, data.dtype)


def _map(path: Path, info: ZipInfo) -> np.ndarray:
    """A plainly stored ``.npy`` in a zip, mapped into memory."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER)
        name, extra = np.frombuffer(header[_LENGTHS], "<u2").tolist()
        file.seek(info.header_offset + _LOCAL_HEADER + name + extra)
        version = np.lib.format.read_magic(file)
        is_first = version == (1, 0)
        header_of = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header_of(file)
        if dtype.hasobject:
            raise ValueError("Object arrays cannot be mapped")
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")


@lru_cache(maxsize=16)
def _dataset(process: int, path: Path, key: str) -> Any:
    """The array in its file, open in this process: HDF5's files may not be shared by two."""
    import h5py

    return h5py.File(path, "r")[key]
