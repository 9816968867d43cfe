"""Files of arrays."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

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


@pytest.mark.parametrize("name", ["it.npz", "it.npy", "it.h5"])
def test_bad_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for content in (b"", b"no arrays at all"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: cannot be read"):
            decode(path)
    with pytest.raises(InputError, match="cannot be read"):
        decode(tmp_path / "nowhere" / name)


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "it.npz", x=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="pickled objects, which are never loaded"):
        decode(tmp_path / "it.npz")
