"""Files of points and of meshes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from sensorium.codecs.points import SURFACE_POINTS, decode
from sensorium.errors import InputError

VALUES = np.random.default_rng(0).normal(size=(20, 5))


@pytest.mark.parametrize("delimiter", [" ", ", "])
@pytest.mark.parametrize("suffix", [".xyz", ".txt", ".csv"])
def test_text(tmp_path: Path, suffix: str, delimiter: str) -> None:
    """All columns, whatever is between them; one line is one point."""
    path = tmp_path / f"scan{suffix}"
    np.savetxt(path, VALUES, delimiter=delimiter)
    np.testing.assert_allclose(decode(path), VALUES)
    np.savetxt(path, VALUES[:1], delimiter=delimiter)
    np.testing.assert_allclose(decode(str(path)), VALUES[:1])


def test_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", VALUES.astype(np.float32))
    cloud = decode(tmp_path / "scan.npy")
    assert cloud.dtype == np.float64
    np.testing.assert_array_equal(cloud, VALUES.astype(np.float32))
    np.testing.assert_array_equal(decode(VALUES), VALUES)


@pytest.mark.parametrize("suffix", [".off", ".obj", ".stl", ".ply", ".glb"])
def test_points_are_drawn_from_the_surface_of_a_mesh(tmp_path: Path, suffix: str) -> None:
    """On the box, not in it; the same ones each time."""
    path = tmp_path / f"box{suffix}"
    trimesh.creation.box(extents=(2, 2, 2)).export(path)
    cloud = decode(path)
    assert cloud.shape == (SURFACE_POINTS, 3)
    np.testing.assert_allclose(np.abs(cloud).max(1), 1, atol=1e-5)
    np.testing.assert_array_equal(decode(path), cloud)


def test_a_mesh_without_faces_is_its_points(tmp_path: Path) -> None:
    path = tmp_path / "scan.ply"
    trimesh.PointCloud(VALUES[:, :3]).export(path)
    np.testing.assert_allclose(decode(path), VALUES[:, :3], atol=1e-5)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.zeros((0, 3)), "no points"),
        (np.zeros((4, 2)), "not points"),
        (np.zeros(3), "not points"),
        (np.array([[0, 0, 0], [0, np.nan, 0]]), "NaN or infinite coordinates at point 1"),
        (b"bytes", "as an array"),
        (Path("nowhere.ply"), "cannot be read"),
        (Path("nowhere.xyz"), "cannot be read"),
    ],
)
def test_bad_input(raw: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        decode(raw)
    assert "\n" not in str(caught.value)
