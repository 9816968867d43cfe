"""Files of volumes: NIfTI, DICOM series and frames, stacks of TIFF pages; and single DICOM pictures."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile

from builders import dicom_slice
from sensorium.codecs import dicom
from sensorium.codecs.volumes import decode, header
from sensorium.errors import InputError

RANDOM = np.random.default_rng(0)
GRID = RANDOM.normal(100, 20, (4, 6, 5)).astype(np.float32)  # depth × height × width, as `decode` gives it


def nifti(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """Axes to the right, to the front and upwards, unless the affine says otherwise."""
    nibabel.Nifti1Image(values, np.diag([2.0, 3.0, 4.0, 1.0]) if affine is None else affine).to_filename(path)
    return path


def right_front_up(grid: np.ndarray) -> np.ndarray:
    return grid[:, ::-1].transpose(2, 1, 0)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti(tmp_path: Path, name: str) -> None:
    """From the feet to the head, from the front to the back, from left to right; by path and by content."""
    path = nifti(tmp_path / name, right_front_up(GRID))
    np.testing.assert_array_equal(decode(path), GRID[None])
    np.testing.assert_array_equal(decode(path.read_bytes()), GRID[None])
    for raw in (path, path.read_bytes()):
        assert header(raw).shape == (4, 6, 5)
        assert header(raw).spacing == (4.0, 3.0, 2.0)
        assert header(raw).channels == 1


def test_nifti_lies_the_same_however_it_is_stored(tmp_path: Path) -> None:
    """To the left and to the back, and with its axes in another order."""
    values = right_front_up(GRID)
    turned = nifti(tmp_path / "a.nii", values[::-1, ::-1], np.diag([-2.0, -3.0, 4.0, 1.0]))
    swapped = nifti(tmp_path / "b.nii", values.transpose(2, 0, 1), np.diag([2.0, 3.0, 4.0, 1.0])[:, [2, 0, 1, 3]])
    for path in (turned, swapped):
        np.testing.assert_array_equal(decode(path), GRID[None])
        assert header(path).spacing == (4.0, 3.0, 2.0)


def test_nifti_of_several_channels_and_of_many_moments(tmp_path: Path) -> None:
    values = right_front_up(GRID)
    four = nifti(tmp_path / "four.nii.gz", np.stack([values + n for n in range(4)], axis=3))
    np.testing.assert_allclose(decode(four), np.stack([GRID + n for n in range(4)]), rtol=1e-6)
    assert header(four).channels == 4
    one = nifti(tmp_path / "one.nii", values[..., None, None])
    np.testing.assert_array_equal(decode(one), GRID[None])
    for read in (decode, header):
        with pytest.raises(InputError, match="holds 5 volumes, one after the other in time; save their mean"):
            read(nifti(tmp_path / "five.nii", np.stack([values] * 5, axis=3)))


def test_what_lies_outside_of_the_body_is_as_dark_as_can_be() -> None:
    grid = GRID.copy()
    grid[0, :2] = np.nan
    found = decode(grid)
    assert np.array_equal(found[0][~np.isnan(grid)], grid[~np.isnan(grid)])
    assert set(found[0][np.isnan(grid)]) == {np.nanmin(grid)}


def test_resizing_is_of_the_whole_volume() -> None:
    """Each axis by itself; halved, voxels are means; enlarged, a constant stays one."""
    halved = decode(GRID[:, :, :4], size=(2, 3, 2))
    np.testing.assert_allclose(halved[0], GRID[:, :, :4].reshape(2, 2, 3, 2, 2, 2).mean((1, 3, 5)), rtol=1e-5)
    assert np.ptp(decode(np.full((2, 3, 4), 7.0), size=(5, 2, 9))) < 1e-5
    channels = RANDOM.normal(size=(2, 3, 4, 3))
    np.testing.assert_array_equal(decode(channels), channels.astype(np.float32).transpose(3, 0, 1, 2))


# -- DICOM


def series(folder: Path, grid: np.ndarray, *, uid: str = "1.2.3", first: str = "a") -> list[Path]:
    """A file for each slice, in an order that says nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, index in enumerate(RANDOM.permutation(len(grid))):
        path = folder / f"{first}{number}.dcm"
        position = [0.0, 0.0, 2.5 * float(index)]
        path.write_bytes(dicom_slice(grid[index], series=uid, position=position, slope=2.0, intercept=-1000.0))
        paths.append(path)
    return paths


def test_a_dicom_series(tmp_path: Path) -> None:
    """By one of its slices: sorted in space, rescaled, without the slices of another series beside them."""
    stored = RANDOM.integers(0, 900, (4, 6, 5)).astype(np.uint16)
    paths = series(tmp_path, stored)
    series(tmp_path, stored[:2, :3], uid="9.9", first="scout")
    for path in paths:
        np.testing.assert_array_equal(decode(path), stored[None] * 2.0 - 1000)
    assert header(paths[0]).spacing == (2.5, 0.7, 0.6)


def test_dicom_frames() -> None:
    stored = RANDOM.integers(0, 900, (4, 6, 5)).astype(np.uint16)
    found = decode(dicom_slice(stored, slope=1.0, intercept=-5.0))
    np.testing.assert_array_equal(found, stored[None].astype(np.float32) - 5)


@pytest.mark.parametrize("inverted", [False, True])
def test_a_dicom_picture_is_windowed(inverted: bool) -> None:
    """Below the window black, above it white; or the other way round, where the file says so."""
    stored = np.array([[0, 500, 1000], [1500, 2000, 3000]], np.uint16)
    kind = "MONOCHROME1" if inverted else "MONOCHROME2"
    found = dicom.decode_picture(
        dicom_slice(stored, intercept=-1000.0, window=(0.0, 1000.0), photometric=kind)  # from -500 to 500
    )
    expected = np.array([[0, 0, 0.5], [1, 1, 1]])
    np.testing.assert_allclose(found, 1 - expected if inverted else expected, atol=0.01)
    assert dicom.size(dicom_slice(stored)) == (2, 3, True)


def test_a_dicom_picture_without_a_window() -> None:
    stored = np.array([[100, 200], [300, 500]], np.uint16)
    np.testing.assert_allclose(dicom.decode_picture(dicom_slice(stored)), [[0, 0.25], [0.5, 1]])


def test_a_dicom_picture_in_colour() -> None:
    stored = RANDOM.integers(0, 256, (4, 5, 3), np.uint8)
    content = dicom_slice(stored, photometric="RGB")
    np.testing.assert_array_equal(dicom.decode_picture(content), stored)
    assert dicom.size(content) == (4, 5, False)


# -- TIFF


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_stack_of_pages(tmp_path: Path, dtype: Any) -> None:
    stack = RANDOM.integers(0, 200, (4, 6, 5)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    np.testing.assert_array_equal(decode(tmp_path / "a.tif"), stack[None].astype(np.float32))
    np.testing.assert_array_equal(decode(gzip.compress((tmp_path / "a.tif").read_bytes())), stack[None])


# -- bad input


def tiff(*shape: int) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros(shape, np.uint8), photometric="minisblack")
    return file.getvalue()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.zeros((3, 4)), r"array of shape \(3, 4\) of float64 is not depth"),
        (np.zeros((0, 4, 4)), "is not depth"),
        (np.full((2, 2, 2), np.nan), "nothing but NaN"),
        (np.full((2, 2, 2), np.inf), "infinite"),
        ([1, 2], "not list"),
        (b"", "the file is empty"),
        (b"neither this nor that", "not a volume that can be decoded"),
        (Path("/nowhere/a.nii"), "cannot be read"),
        (Path("/nowhere/a.dcm"), "cannot be read"),
        (tiff(6, 5), "single page, so it is a picture"),
        (tiff(3, 6, 5)[:60], "the TIFF cannot be decoded"),
        (dicom_slice(np.zeros((4, 5), np.uint16)), "single slice, so it is a picture"),
        (dicom_slice(np.zeros((4, 5, 3), np.uint8), photometric="RGB"), "in colour"),
        (dicom_slice(np.zeros((4, 5), np.uint16))[:-20], "the DICOM file cannot be decoded"),
        (bytes(128) + b"DICM", "not a DICOM picture"),
    ],
)
def test_bad_input(raw: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        decode(raw)
    assert "\n" not in str(caught.value)


def test_a_torn_nifti(tmp_path: Path) -> None:
    for name in ("a.nii", "a.nii.gz"):
        path = nifti(tmp_path / name, right_front_up(GRID))
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(InputError, match=r"(cannot be decoded|is damaged) .*copy (it|the file) again"):
            decode(path)


def test_slices_of_several_sizes(tmp_path: Path) -> None:
    series(tmp_path, np.zeros((2, 4, 4), np.uint16))
    paths = series(tmp_path, np.zeros((2, 3, 4), np.uint16), first="b")
    with pytest.raises(InputError, match="the slices differ in size"):
        decode(paths[0])


def test_frames_are_no_picture() -> None:
    with pytest.raises(InputError, match="holds 3 frames; use --kind volume"):
        dicom.decode_picture(dicom_slice(np.zeros((3, 4, 5), np.uint16)))
