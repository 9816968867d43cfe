"""Files of arrays."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from sensorium.codecs.arrays import decode, encode_file
from sensorium.errors import InputError

ARRAYS = {"x": np.arange(6.0).reshape(2, 3), "names": np.array(["a", "b"])}


def test_what_is_encoded_is_decoded(tmp_path: Path) -> None:
    """No other file is left."""
    encode_file(ARRAYS, tmp_path / "deep" / "it.npz")
    found = decode(tmp_path / "deep" / "it.npz")
    assert found.keys() == ARRAYS.keys()
    assert all(np.array_equal(found[key], values) for key, values in ARRAYS.items())
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["it.npz"]


def test_single_arrays_and_hdf5(tmp_path: Path) -> None:
    """The array of a .npy has the file's name; groups of .h5 are parts of a name; text is text."""
    np.save(tmp_path / "it.npy", ARRAYS["x"])
    assert np.array_equal(decode(tmp_path / "it.npy")["it"], ARRAYS["x"])
    with h5py.File(tmp_path / "it.h5", "w") as file:
        file["group/x"] = ARRAYS["x"]
        file["names"] = ["a", "b"]
    found = decode(tmp_path / "it.h5")
    assert sorted(found) == ["group/x", "names"]
    assert np.array_equal(found["group/x"], ARRAYS["x"])
    assert found["names"].tolist() == ["a", "b"]


@pytest.mark.parametrize("name", ["it.npz", "it.npy", "it.h5", "it.mat", "it-idx1-ubyte"])
def test_bad_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for content in (b"", b"no arrays at all"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: (cannot be read|the file is empty)"):
            decode(path)
    with pytest.raises(InputError, match="cannot be read"):
        decode(tmp_path / "nowhere" / name)


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "it.npz", x=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="pickled objects, which are never loaded"):
        decode(tmp_path / "it.npz")


def idx(array: np.ndarray) -> bytes:
    """As MNIST's authors write arrays."""
    types = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
    code = types[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_idx(tmp_path: Path, dtype: str) -> None:
    """The array is called by the last two words of the file, however it is punctuated."""
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for name in ("letters-train-images-idx3-ubyte", "train-images.idx3-ubyte", "Train-Images-idx3-ubyte.gz"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(idx(array)) if name.endswith(".gz") else idx(array))
        ((key, found),) = decode(path).items()
        assert key.casefold() == "train-images"
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)


@pytest.mark.parametrize("content", [idx(np.zeros((2, 3), "u1"))[:-1], b"\0\0\x08\x02\0\0", b"\0\0\x07\x01\0\0\0\0"])
def test_damaged_idx(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x-images-idx2-ubyte").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        decode(tmp_path / "x-images-idx2-ubyte")


MATLAB = {"x": np.arange(24.0).reshape(2, 3, 4), "rate": np.array(50.0), "y": np.array([3, 1])}


def assert_matlab(found: dict[str, np.ndarray]) -> None:
    assert sorted(found) == ["classes", "rate", "x", "y"]
    for key, array in MATLAB.items():
        assert np.array_equal(np.squeeze(found[key]), array)
    assert found["classes"].tolist() == ["cat", "dog"]
    assert found["rate"].ndim == 0


def test_matlab(tmp_path: Path) -> None:
    """Numbers lose their axes of length one; a cell of words is an array of them; structs are left out."""
    cell = np.empty((1, 2), dtype=object)
    cell[0] = ["cat", "dog"]
    mixed = np.empty((1, 2), dtype=object)
    mixed[0] = [np.zeros(3), "dog"]
    path = tmp_path / "it.mat"
    savemat(path, {**MATLAB, "classes": cell, "mixed": mixed, "info": {"made": 1}})
    assert_matlab(decode(path))
    (tmp_path / "it.mat.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert_matlab(decode(tmp_path / "it.mat.gz"))


def write_matlab_7_3(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, array in MATLAB.items():
            file[key] = np.atleast_2d(array).T
            file[key].attrs["MATLAB_class"] = np.bytes_("double")
        links = []
        for index, word in enumerate(("cat", "dog")):
            file[f"#refs#/{index}"] = np.array([[ord(letter)] for letter in word], np.uint16)
            file[f"#refs#/{index}"].attrs["MATLAB_class"] = np.bytes_("char")
            links.append(file[f"#refs#/{index}"].ref)
        file.create_dataset("classes", data=np.array([links], dtype=h5py.ref_dtype).T, dtype=h5py.ref_dtype)
        file["classes"].attrs["MATLAB_class"] = np.bytes_("cell")
        file["info/made"] = 1.0


def test_matlab_7_3(tmp_path: Path) -> None:
    """The same from version 7.3, which is HDF5 with its axes in reverse."""
    write_matlab_7_3(tmp_path / "it.mat")
    assert_matlab(decode(tmp_path / "it.mat"))


def test_matlab_counts_examples_along_any_axis(tmp_path: Path) -> None:
    """As many as there are labels come first: MATLAB's pictures are height × width × channels × examples."""
    pictures = np.random.default_rng(0).integers(0, 256, (8, 9, 3, 5), np.uint8)
    savemat(tmp_path / "it.mat", {"X": pictures, "y": np.arange(5)[:, None], "z": np.zeros((5, 7))})
    found = decode(tmp_path / "it.mat")
    assert np.array_equal(found["X"], np.moveaxis(pictures, -1, 0))
    assert found["z"].shape == (5, 7)


def test_a_matlab_file_of_structs(tmp_path: Path) -> None:
    savemat(tmp_path / "it.mat", {"info": {"made": 1}})
    with pytest.raises(InputError, match="structs and cells only"):
        decode(tmp_path / "it.mat")
