"""Arrays of any type of element, shape and order: what a file holds is what is read, and a model reads the numbers,
whatever they were stored as."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from sensorium.codecs import arrays
from sensorium.codecs.npy import load, load_archive
from sensorium.errors import InputError
from sensorium.modalities import KINDS

DTYPES = ("u1", "i1", "<i2", ">i2", "<u4", ">i8", "<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "?")
dtypes = st.sampled_from([np.dtype(code) for code in DTYPES])
whole_arrays = dtypes.flatmap(
    lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


def same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert found.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, expected)


@given(array=whole_arrays, in_columns=st.booleans())
def test_numpy_files_hold_what_was_saved(array: np.ndarray, in_columns: bool) -> None:
    """As NumPy itself reads them: by path and by content, alone and in archives."""
    array = np.asarray(array, order="F" if in_columns else "C")
    file = io.BytesIO()
    np.save(file, array)
    same(load(io.BytesIO(file.getvalue())), array)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.npy")
        path.write_bytes(file.getvalue())
        same(load(path), array)
        same(np.asarray(arrays.mapped(path)), array)
    for save in (np.savez, np.savez_compressed):
        archive: Any = io.BytesIO()
        save(archive, a=array, b=array)
        for found in load_archive(archive).values():
            same(found, array)
    assert load(io.BytesIO(file.getvalue())).flags.writeable


@given(array=whole_arrays)
def test_hdf5_holds_what_was_saved(array: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.h5")
        with h5py.File(path, "w") as file:
            file["a"] = array
        same(arrays.decode(path)["a"], array)


@given(array=whole_arrays, data=st.data())
def test_a_file_that_is_cut_off_is_refused(array: np.ndarray, data: st.DataObject) -> None:
    file = io.BytesIO()
    np.save(file, array)
    content = file.getvalue()
    kept = content[: data.draw(st.integers(0, len(content) - 1))]
    with pytest.raises(InputError, match="cannot be read"):
        load(io.BytesIO(kept))


@pytest.mark.parametrize(
    ("kind", "shape"), [("series", (5, 2)), ("points", (6, 3)), ("volume", (3, 4, 2)), ("image", (6, 5))]
)
@given(dtype=dtypes, numbers=st.lists(st.integers(0, 1), min_size=30, max_size=30))
def test_a_model_reads_the_numbers(kind: str, shape: tuple[int, ...], dtype: np.dtype, numbers: list[int]) -> None:
    """The same numbers are the same example, of whatever type they are; only a picture's integers are bytes."""
    values = np.resize(np.array([0, 1, *numbers]), shape)
    cls = KINDS[kind]
    model = cls(cls.measure([values.astype(np.float32)]))
    if kind == "image" and dtype.kind in "iu":
        expected, found = model.load(values.astype(np.uint8)), model.load(values.astype(dtype))
    else:
        expected, found = model.load(values.astype(np.float64)), model.load(values.astype(dtype))
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name])
        assert found[name].dtype == expected[name].dtype
