"""Files of arrays: ``.npy``, ``.npz``, ``.h5``, ``.mat``, and the ``-idx3-ubyte`` of MNIST."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import InputError
from ..files import ending, replace_file, without_ending
from . import bounds, large, npy
from .matlab_headers import check_matlab
from .raw import file_bytes, first_line, plain_file

SUFFIXES = (".npz", ".npy", ".h5", ".hdf5", ".mat", ".idx")

# The types of elements in an idx file, by the third byte.
_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_HDF5 = b"\x89HDF\r\n\x1a\n"
_USER_BLOCK = 512  # bytes of text before the HDF5 of a MATLAB file

# What h5py and SciPy raise for damaged files. SciPy asks for as much memory as a damaged cell says that it has parts.
H5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)
MAT_ERRORS = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, OverflowError, NotImplementedError, EOFError),
    *(AttributeError, UnboundLocalError, MemoryError, zlib.error),
)


def decode(path: Path) -> dict[str, np.ndarray]:
    """Every array of a file by its name; the array of a ``.npy`` has the name of the file, that of an
    ``a-train-images-idx3-ubyte`` the last two words of it. Any of them may be compressed by gzip.

    Large arrays are not loaded: those of ``.npy`` and of ``.npz`` files that are stored plainly, and those of HDF5 in
    one piece, are mapped into memory, and rows of other HDF5 arrays are read when they are needed (:class:`Rows`).

    Of a MATLAB file, structs and cells of anything but text are left out. Its rows of numbers lose their axis of
    length one, and examples that are counted along the last axis, as many as there are labels, come first.

    Raises:
        InputError: the file cannot be read, holds pickled objects, or more than a file may.
    """
    try:
        plain, suffix = plain_file(path), ending(path)
        source = io.BytesIO(plain) if isinstance(plain, bytes) else plain
        if suffix == ".npy":
            is_large = isinstance(source, Path) and source.stat().st_size > large.SIZE
            loaded = npy.mapped(source) if is_large and isinstance(source, Path) else npy.load(source)
            return {without_ending(path).name: loaded}
        if suffix == ".npz":
            return large.decode_npz(source)
        if suffix == ".idx":
            return {"-".join(without_ending(path).name.split("-")[-2:]): _decode_idx(file_bytes(path))}
        if suffix == ".mat":
            return _decode_mat(file_bytes(path))
        return _decode_h5(source)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


def mapped(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file, read from disk where it is used, unless gzip compressed it.

    Raises:
        InputError: as :func:`decode`.
    """
    try:
        return npy.mapped(path) if isinstance(plain_file(path), Path) else npy.load(io.BytesIO(file_bytes(path)))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def attributes(path: Path) -> dict[str, dict[str, Any]]:
    """What is written about each array of a file: the attributes of HDF5 data sets, their dimension labels as ``axes``,
    and the content of a JSON file of the same name beside the file: under the name of an array, or for all of them.

    Raises:
        InputError: the JSON file cannot be read.
    """
    found: dict[str, dict[str, Any]] = {}
    if ending(path) in (".h5", ".hdf5"):
        try:
            plain = plain_file(path)
            found = _h5_attributes(io.BytesIO(plain) if isinstance(plain, bytes) else plain)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    beside = without_ending(path).with_suffix(".json")
    if not beside.is_file():
        return found
    try:
        written = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{beside}: cannot be read ({error}); correct or remove it") from None
    if not isinstance(written, dict):
        return found
    found = found or {key: {} for key in decode(path)}
    of_each = {key: written[key] if isinstance(written.get(key), dict) else written for key in found}
    return {key: {**values, **of_each[key]} for key, values in found.items()}


@contextmanager
def _h5_file(source: Path | io.BytesIO) -> Iterator[Any]:
    """An HDF5 file, by path or content."""
    import h5py

    try:
        with h5py.File(source, "r") as file:
            yield file
    except H5_ERRORS as error:
        raise InputError(f"cannot be read ({first_line(error)})") from None


def _h5_datasets(file: Any, stays: Callable[[Any], bool] = large.stays) -> dict[str, Any]:
    """The arrays in an HDF5 file, by name, not yet read. Links to other files are not followed.

    Args:
        stays: whether an array is left in the file, and so may be larger than the bound.

    Raises:
        InputError: together they take more than a file may, or are in other files.
    """
    import h5py

    found: dict[str, Any] = {}

    def collect(key: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            _check_storage(item, stays)
            found[key] = item

    file.visititems(collect)
    loaded = [data for data in found.values() if not stays(data)]
    bounds.check_bytes(sum(bounds.size_of(data.shape, data.dtype.itemsize) for data in loaded), "what it holds")
    return found


def _check_storage(data: Any, stays: Callable[[Any], bool] = lambda data: False) -> None:
    if data.is_virtual or data.external:
        raise InputError(f"{data.name} is kept in other files, which are not read; copy it into one file (h5repack)")
    if not stays(data):
        bounds.check_array(data.shape, data.dtype.itemsize, data.name)
    bounds.check_array(data.chunks or (), data.dtype.itemsize, f"a chunk of {data.name}")


def _h5_values(data: Any) -> np.ndarray:
    """The elements of an array. Those of varying length may all be the same long one: they are read in parts no larger
    than the bound, if each were as long as the file."""
    import h5py

    reader = data.asstr() if h5py.check_string_dtype(data.dtype) else data
    at_once = max(1, bounds.largest() // max(1, data.file.id.get_filesize()))
    if not data.dtype.hasobject or data.size <= at_once:
        return np.asarray(reader[()])
    values = np.empty(data.shape, object)
    total = 0
    for row in np.ndindex(data.shape[:-1]):
        for start in range(0, data.shape[-1], at_once):
            part = (*row, slice(start, start + at_once))
            values[part] = reader[part]
            total += sum(map(len, values[part]))
            bounds.check_bytes(total, data.name)
    return values


def _h5_attributes(source: Path | io.BytesIO) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    with _h5_file(source) as file:
        for key, data in _h5_datasets(file).items():
            labels = [dimension.label for dimension in data.dims]
            values = {name: _plain(value) for name, value in data.attrs.items()}
            found[key] = values | ({"axes": labels} if all(labels) and "axes" not in values else {})
    return found


def _plain(value: Any) -> Any:
    """An attribute of HDF5 as Python has it."""
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value


def encode_file(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write arrays by name as a compressed ``.npz``.

    Raises:
        InputError: the file cannot be written.
    """

    def encode(temporary: Path) -> None:
        named: dict[str, Any] = dict(arrays)
        with temporary.open("wb") as file:
            np.savez_compressed(file, **named)

    replace_file(path, encode)


def _decode_h5(source: Path | io.BytesIO) -> dict[str, np.ndarray]:
    with _h5_file(source) as file:
        return {
            key: large.rows_of_dataset(cast(Path, source), key, data) if _stays(source, data) else _h5_values(data)
            for key, data in _h5_datasets(file, stays=partial(_stays, source)).items()
        }


def _stays(source: Path | io.BytesIO, data: Any) -> bool:
    """Whether an array stays in its file: a large one, of which as much is stored as it announces."""
    return isinstance(source, Path) and large.stays(data)


def _decode_idx(content: bytes) -> np.ndarray:
    """Two zeros, the type, the number of axes, their lengths, and the elements."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        raise InputError("cannot be read (this is not an idx file)")
    start = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:start].ljust(4 * content[3], b"\0"))
    dtype = np.dtype(_IDX_TYPES[content[2]])
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(content) != start + size:
        raise InputError(f"cannot be read ({len(content):,} bytes where {start + size:,} are announced); copy it again")
    if len(shape) > npy.MOST_AXES:
        raise InputError(f"cannot be read ({len(shape)} axes); copy it again")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _decode_mat(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a MATLAB file, of version 7.3 (which is HDF5) or before."""
    if content[_USER_BLOCK:].startswith(_HDF5):
        arrays = _decode_mat_h5(content)
    else:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError

        try:
            if 0 not in content[:4]:  # version 4 has a number there, and no sizes but those of its bytes
                check_matlab(content)
            found = loadmat(io.BytesIO(content))
        except (*MAT_ERRORS, MatReadError) as error:
            raise InputError(f"cannot be read ({first_line(error)})") from None
        arrays = {key: array for key, array in found.items() if isinstance(array, np.ndarray)}
    if not all(map(str.isidentifier, arrays)):
        raise InputError("cannot be read (what it calls its arrays are no names); copy it again")
    kept = {key: _matlab_array(array) for key, array in arrays.items() if array.dtype.names is None}
    kept = {key: array for key, array in kept.items() if array.dtype != object}
    if not kept:
        raise InputError("it holds structs and cells only, which are not read; save plain arrays (save -struct)")
    counts = {len(array) for array in kept.values() if array.ndim == 1 or array.shape[1:] == (1,)}
    return {
        key: np.moveaxis(array, -1, 0)
        if array.ndim > 1 and array.shape[0] not in counts and array.shape[-1] in counts
        else array
        for key, array in kept.items()
    }


def _matlab_array(array: np.ndarray) -> np.ndarray:
    """Without the axis of length one that MATLAB gives to numbers and rows; a cell of words is an array of them."""
    if (
        array.dtype == object
        and array.size
        and all(isinstance(cell, np.ndarray) and cell.dtype.kind == "U" for cell in array.flat)
    ):
        array = np.array(["".join(map(str, cell.flat)) for cell in array.flat])
    if array.ndim == 2 and array.shape[0] == 1:
        return array.reshape(-1) if array.shape[1] > 1 else array.reshape(())
    return array


def _decode_mat_h5(content: bytes) -> dict[str, np.ndarray]:
    """The numbers and the cells of words in a MATLAB file of version 7.3. HDF5 has their axes in reverse."""
    import h5py

    def words(data: Any) -> np.ndarray:
        _check_storage(data)
        return np.array("".join(map(chr, data[()].T.flat)))

    arrays: dict[str, np.ndarray] = {}
    with _h5_file(io.BytesIO(content)) as file:
        for key in file:
            if not isinstance(file.get(key, getlink=True), h5py.HardLink):
                continue  # it may lead to another file
            data = file[key]
            if not isinstance(data, h5py.Dataset) or data.shape is None or data.attrs.get("MATLAB_empty"):
                continue
            _check_storage(data)
            match data.attrs.get("MATLAB_class", b"double"):
                case b"char":
                    arrays[key] = words(data)
                case b"cell":
                    if data.size > len(content):
                        raise InputError(f"{key} says that it has {data.size:,} cells; copy it again")
                    cells = [file[link] for link in data[()].T.flat]
                    if all(cell.attrs.get("MATLAB_class") == b"char" for cell in cells):
                        arrays[key] = np.array([str(words(cell)) for cell in cells])
                case _:
                    arrays[key] = _h5_values(data).T
    bounds.check_bytes(sum(array.nbytes for array in arrays.values()), "what it holds")
    return arrays
