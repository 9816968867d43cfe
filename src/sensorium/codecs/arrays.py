"""Files of arrays: ``.npy``, ``.npz``, ``.h5``, ``.mat``, and the ``-idx3-ubyte`` of MNIST."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..errors import InputError
from ..files import ending, replace_file, without_ending
from . import large
from .raw import file_bytes, plain_file

SUFFIXES = (".npz", ".npy", ".h5", ".hdf5", ".mat", ".idx")

# The types of elements in an idx file, by the third byte.
_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_HDF5 = b"\x89HDF\r\n\x1a\n"
_USER_BLOCK = 512  # bytes of text before the HDF5 of a MATLAB file


def decode(path: Path) -> dict[str, np.ndarray]:
    """Every array of a file by its name; the array of a ``.npy`` has the name of the file, that of an
    ``a-train-images-idx3-ubyte`` the last two words of it. Any of them may be compressed by gzip.

    Large arrays are not loaded: those of ``.npy`` and of ``.npz`` files that are stored plainly, and those of HDF5 in
    one piece, are mapped into memory, and rows of other HDF5 arrays are read when they are needed (:class:`Rows`).

    Of a MATLAB file, structs and cells of anything but text are left out. Its rows of numbers lose their axis of
    length one, and examples that are counted along the last axis, as many as there are labels, come first.

    Raises:
        InputError: the file cannot be read, holds pickled objects, or unpacks to more than a third of the memory.
    """
    try:
        plain, suffix = plain_file(path), ending(path)
        source: Any = io.BytesIO(plain) if isinstance(plain, bytes) else plain
        if suffix == ".npy":
            is_large = isinstance(source, Path) and source.stat().st_size > large.SIZE
            loaded = np.load(source, mmap_mode="r" if is_large else None, allow_pickle=False)
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
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        if "Object arrays" in str(error):
            raise InputError(f"{path}: holds pickled objects, which are never loaded; save plain arrays") from None
        raise InputError(f"{path}: cannot be read ({error})") from None


def attributes(path: Path) -> dict[str, dict[str, Any]]:
    """What is written about each array of a file: the attributes of HDF5 data sets, their dimension labels as ``axes``,
    and the content of a JSON file of the same name beside the file: under the name of an array, or for all of them.

    Raises:
        InputError: the JSON file cannot be read.
    """
    found: dict[str, dict[str, Any]] = {}
    if ending(path) in (".h5", ".hdf5"):
        plain = plain_file(path)
        found = _h5_attributes(io.BytesIO(plain) if isinstance(plain, bytes) else plain)
    beside = without_ending(path).with_suffix(".json")
    if not beside.is_file():
        return found
    try:
        written = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{beside}: cannot be read ({error}); correct or remove it") from None
    if not isinstance(written, dict):
        return found
    found = found or {key: {} for key in decode(path)}
    of_each = {key: written[key] if isinstance(written.get(key), dict) else written for key in found}
    return {key: {**values, **of_each[key]} for key, values in found.items()}


def _h5_attributes(source: Any) -> dict[str, dict[str, Any]]:
    import h5py

    found: dict[str, dict[str, Any]] = {}

    def collect(key: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            labels = [dimension.label for dimension in item.dims]
            values = {name: _plain(value) for name, value in item.attrs.items()}
            found[key] = values | ({"axes": labels} if all(labels) and "axes" not in values else {})

    with h5py.File(source, "r") as file:
        file.visititems(collect)
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


def _decode_h5(source: Any) -> dict[str, np.ndarray]:
    import h5py

    arrays: dict[str, np.ndarray] = {}

    def collect(key: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            is_text = h5py.check_string_dtype(item.dtype)
            arrays[key] = item.asstr()[()] if is_text else large.decode_dataset(source, key, item)

    with h5py.File(source, "r") as file:
        file.visititems(collect)
    return arrays


def _decode_idx(content: bytes) -> np.ndarray:
    """Two zeros, the type, the number of axes, their lengths, and the elements."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        raise ValueError("this is not an idx file")
    start = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:start].ljust(4 * content[3], b"\0"))
    dtype = np.dtype(_IDX_TYPES[content[2]])
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(content) != start + size:
        raise ValueError(f"{len(content):,} bytes where {start + size:,} are announced; copy it again")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _decode_mat(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a MATLAB file, of version 7.3 (which is HDF5) or before."""
    if content[_USER_BLOCK:].startswith(_HDF5):
        arrays = _decode_mat_h5(content)
    else:
        from scipy.io import loadmat

        try:
            found = loadmat(io.BytesIO(content))
        except Exception as error:  # scipy's reader raises whatever it stumbles over
            raise ValueError(str(error) or "it is damaged") from None
        arrays = {key: array for key, array in found.items() if isinstance(array, np.ndarray)}
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
    if array.dtype == object and array.size and all(cell.dtype.kind == "U" for cell in array.flat):
        array = np.array(["".join(map(str, cell.flat)) for cell in array.flat])
    if array.ndim == 2 and array.shape[0] == 1:
        return array.reshape(-1) if array.shape[1] > 1 else array.reshape(())
    return array


def _decode_mat_h5(content: bytes) -> dict[str, np.ndarray]:
    """The numbers and the cells of words in a MATLAB file of version 7.3. HDF5 has their axes in reverse."""
    import h5py

    def words(data: Any) -> np.ndarray:
        return np.array("".join(map(chr, data[()].T.flat)))

    arrays: dict[str, np.ndarray] = {}
    with h5py.File(io.BytesIO(content), "r") as file:
        for key, data in file.items():
            if not isinstance(data, h5py.Dataset) or data.attrs.get("MATLAB_empty"):
                continue
            match data.attrs.get("MATLAB_class", b"double"):
                case b"char":
                    arrays[key] = words(data)
                case b"cell":
                    cells = [file[link] for link in data[()].T.flat]
                    if all(cell.attrs.get("MATLAB_class") == b"char" for cell in cells):
                        arrays[key] = np.array([str(words(cell)) for cell in cells])
                case _:
                    arrays[key] = data[()].T
    return arrays
