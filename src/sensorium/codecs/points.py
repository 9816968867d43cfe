"""Files of points and meshes."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import InputError
from ..files import ending
from . import npy
from .point_headers import check_las, check_mesh, check_pcd
from .raw import Raw, file_bytes, first_line, needs

TEXT_SUFFIXES = (".xyz", ".txt", ".csv")
# What trimesh, laspy, pypcd4 and NumPy raise for damaged files.
POINT_ERRORS = (
    *(OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, OverflowError, ZeroDivisionError),
    *(RuntimeError, NotImplementedError, RecursionError, AssertionError, SyntaxError, UnboundLocalError),
    struct.error,
)
SURFACE_POINTS = 2048  # drawn from the surface of a mesh


def decode(raw: Raw) -> np.ndarray:
    """A cloud of points: float64, points × columns, of which the first three are x, y and z.

    Args:
        raw: an array, points × columns, or the path of a file: ``.npy``, text with a point on each line, or a format
            that trimesh (``.ply``, ``.off``, ``.obj``, ``.stl``, ``.glb``), laspy (``.las``, ``.laz``) or pypcd4
            (``.pcd``) reads. Of a mesh with faces, 2,048 points are drawn from its surface, the same ones each time.
            The further columns of ``.las`` are intensity and, where it has them, red, green and blue; those of
            ``.pcd`` are its fields, with a packed colour as red, green and blue.

    Raises:
        InputError: the file cannot be read, or the array has no points, fewer than three columns, NaN or infinite
            values.
    """
    cloud = np.asarray(raw, np.float64) if isinstance(raw, np.ndarray) else _decode_file(raw)
    if cloud.ndim != 2 or cloud.shape[1] < 3:
        raise InputError(f"an array of shape {cloud.shape} is not points × (x, y, z, …)")
    if len(cloud) == 0:
        raise InputError("there are no points; remove it")
    if not np.isfinite(cloud).all():
        row = int(np.flatnonzero(~np.isfinite(cloud).all(1))[0])
        raise InputError(f"NaN or infinite coordinates at point {row}; remove such points")
    return cloud


def _decode_file(raw: Raw) -> np.ndarray:
    if not isinstance(raw, str | Path):
        raise InputError("points come as an array of points × (x, y, z, …) or as a path")
    path, suffix = Path(raw), ending(raw)
    try:
        content = io.BytesIO(file_bytes(path))
        if suffix == ".npy":
            return np.asarray(npy.load(content), np.float64)
        if suffix in TEXT_SUFFIXES:
            text = content.read().decode().replace(",", " ").replace(";", " ").strip()
            head = text.split("\n", 1)[0]
            return np.loadtxt(io.StringIO(text), ndmin=2, skiprows=int(head[:1].isalpha()))
        if suffix in (".las", ".laz"):
            return _decode_las(content)
        if suffix == ".pcd":
            return _decode_pcd(content)
        if suffix == ".off":  # some of ModelNet40 begin with "OFF490 518 0", on one line
            content = io.BytesIO(re.sub(rb"\AOFF(?=[ \t]*[\d-])", b"OFF\n", content.getvalue()))
        check_mesh(content.getvalue(), suffix)
        return _decode_mesh(content, suffix)
    except POINT_ERRORS as error:
        raise InputError(f"the points cannot be read ({first_line(error)}); replace or remove the file") from None


def _decode_mesh(content: io.BytesIO, suffix: str) -> np.ndarray:
    import trimesh

    mesh: Any = trimesh.load(content, file_type=suffix[1:])
    if hasattr(mesh, "to_geometry"):
        mesh = mesh.to_geometry()
    if len(getattr(mesh, "faces", ())):
        return np.asarray(trimesh.sample.sample_surface(mesh, SURFACE_POINTS, seed=0)[0])
    return np.asarray(mesh.vertices, np.float64)


def _decode_las(content: io.BytesIO) -> np.ndarray:
    with needs("laspy", to_decode="points in .las and .laz"):
        import laspy
        from laspy.errors import LaspyException
    check_las(content.getvalue())
    with _rust_errors():
        # One thread, because files are read side by side.
        try:
            cloud = laspy.read(content, laz_backend=laspy.LazBackend.Lazrs)
        except LaspyException as error:
            raise ValueError(str(error)) from None
    names = set(cloud.point_format.dimension_names)
    features = [name for name in ("intensity", "red", "green", "blue") if name in names]
    return np.column_stack([np.asarray(cloud.xyz), *(np.asarray(cloud[name], np.float64) for name in features)])


@contextmanager
def _rust_errors() -> Iterator[None]:
    """A panic of a decoder in Rust is no ``Exception``, and its class cannot be imported."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"its compression is damaged: {error}") from None


def _decode_pcd(content: io.BytesIO) -> np.ndarray:
    """Points without coordinates, which fill up the grid of a sensor that saw nothing there, are left out."""
    with needs("pypcd4", to_decode="points in .pcd"):
        import pypcd4
    check_pcd(content.getvalue())
    cloud: Any = cast(Any, pypcd4).PointCloud.from_fileobj(content)
    columns = []
    for name in ("x", "y", "z", *(field for field in cloud.fields if field not in ("x", "y", "z", "_"))):
        values = cloud.numpy((name,))
        columns.append(cloud.decode_rgb(values[:, 0]) if name in ("rgb", "rgba") else values.astype(np.float64))
    points = np.column_stack(columns)
    return points[np.isfinite(points[:, :3]).all(1)]
