"""Files of arrays: ``.npy``, ``.npz`` and ``.h5``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..errors import InputError
from ..files import replace_file

SUFFIXES = (".npz", ".npy", ".h5", ".hdf5")


def decode(path: Path) -> dict[str, np.ndarray]:
    """Every array of a file by its name; the array of a ``.npy`` has the name of the file.

    Raises:
        InputError: the file cannot be read, or holds pickled objects.
    """
    try:
        if path.suffix.lower() == ".npy":
            return {path.stem: np.load(path, allow_pickle=False)}
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        return _decode_h5(path)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        if "Object arrays" in str(error):
            raise InputError(f"{path}: holds pickled objects, which are never loaded; save plain arrays") from None
        raise InputError(f"{path}: cannot be read ({error})") from None


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


def _decode_h5(path: Path) -> dict[str, np.ndarray]:
    import h5py

    arrays: dict[str, np.ndarray] = {}

    def collect(key: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[key] = item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()]

    with h5py.File(path, "r") as file:
        file.visititems(collect)
    return arrays
