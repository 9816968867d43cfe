"""Files of points and of meshes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest
import trimesh
from pypcd4 import PointCloud

from sensorium.codecs.points import SURFACE_POINTS, decode
from sensorium.data.recognition.recognise import kind_of_bytes
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


@pytest.mark.parametrize("head", ["OFF490 518 0", "OFF 490 518 0", "OFF\n490 518 0", "OFF\r\n490 518 0"])
def test_a_mesh_of_modelnet40_may_begin_with_one_line(tmp_path: Path, head: str) -> None:
    """As its ``chair_0856.off`` does; the same points as of the file as it should be."""
    box = trimesh.creation.box()
    for _ in range(3):
        box = box.subdivide()
    numbers = f"{len(box.vertices)} {len(box.faces)} 0"
    lines = [" ".join(map(str, vertex)) for vertex in box.vertices] + [f"3 {a} {b} {c}" for a, b, c in box.faces]
    (tmp_path / "right.off").write_text("\n".join(["OFF", numbers, *lines]))
    (tmp_path / "box.off").write_bytes("\n".join([head.replace("490 518 0", numbers), *lines]).encode())
    np.testing.assert_array_equal(decode(tmp_path / "box.off"), decode(tmp_path / "right.off"))
    assert kind_of_bytes((tmp_path / "box.off").read_bytes()[:64]) == "points"


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


@pytest.mark.parametrize("suffix", [".las", ".laz", ".las.gz"])
@pytest.mark.parametrize("point_format", [0, 2])
def test_las(tmp_path: Path, suffix: str, point_format: int) -> None:
    """Coordinates in their units, intensity, and colours where the file has them."""
    header = laspy.LasHeader(point_format=point_format, version="1.2")
    header.scales = np.full(3, 0.01)
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = np.arange(15.0).reshape(3, 5) / 4
    cloud.intensity = np.arange(5)
    if point_format == 2:
        cloud.green = np.arange(5) * 7
    plain = tmp_path / f"a{suffix.removesuffix('.gz')}"
    cloud.write(str(plain))
    if suffix.endswith(".gz"):
        (tmp_path / "a.las.gz").write_bytes(gzip.compress(plain.read_bytes()))
    found = decode(tmp_path / f"a{suffix}")
    assert found.shape == (5, 7 if point_format == 2 else 4)
    np.testing.assert_allclose(found[:, :3], np.arange(15.0).reshape(3, 5).T / 4)
    np.testing.assert_array_equal(found[:, 3], np.arange(5))
    if point_format == 2:
        np.testing.assert_array_equal(found[:, 4:], np.outer(np.arange(5), [0, 7, 0]))


def test_pcd(tmp_path: Path) -> None:
    """Its fields are columns, a packed colour is three, and points that a sensor did not see are left out."""
    random = np.random.default_rng(0)
    points = random.normal(size=(6, 4)).astype(np.float32)
    PointCloud.from_xyzi_points(points).save(tmp_path / "a.pcd")
    np.testing.assert_array_equal(decode(tmp_path / "a.pcd"), points)
    colours = random.integers(0, 256, (6, 3))
    packed = PointCloud.encode_rgb(colours).reshape(-1, 1)
    points[2, 1] = np.nan
    PointCloud.from_xyzrgb_points(np.hstack([points[:, :3], packed])).save(tmp_path / "b.pcd")
    expected = np.delete(np.hstack([points[:, :3], colours]), 2, axis=0)
    np.testing.assert_array_equal(decode(tmp_path / "b.pcd"), expected)


@pytest.mark.parametrize("name", ["a.las", "a.laz", "a.pcd"])
def test_damaged_scans(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"LASF and nothing else")
    with pytest.raises(InputError, match=r"^the points cannot be read .*; replace or remove the file$"):
        decode(tmp_path / name)
