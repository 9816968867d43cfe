"""What the headers of clouds and meshes announce, compared with what the files can hold: their libraries believe it."""

from __future__ import annotations

import json
import re
import struct

from . import bounds

_FLOAT64 = 8  # bytes
_LAS_COLUMNS = 7  # that are read of .las, at most
_LAS_RECORD = 54  # bytes of the smallest record of variable length in .las
_HEAD = 1 << 16  # bytes that hold a header of text
_PCD_LINES = 10  # of a header
_COUNT = rb"(\d{1,18})"


def check_las(content: bytes) -> None:
    """Refuse a .las or .laz file that announces more records, points or chunks than it can hold.

    Raises:
        InputError: more points than a file may have.
        ValueError, struct.error: it is damaged.
    """
    is_new = content[25] >= 4  # version 1.4 counts in more bytes
    data, records, form, size, points = struct.unpack_from("<IIBHI", content, 96)
    if is_new:
        more, many_points = struct.unpack_from("<IQ", content, 243)
        records, points = records + more, max(points, many_points)
    bounds.check_array((points, _LAS_COLUMNS), _FLOAT64, "the cloud")
    is_compressed = bool(form & 0x80)
    if records * _LAS_RECORD > len(content) or (not is_compressed and points * size > len(content)):
        raise ValueError(f"{points:,} points and {records:,} records are announced in {len(content):,} bytes")
    if is_compressed:
        _check_laz(content, data, size=size, points=points)


def _check_laz(content: bytes, data: int, *, size: int, points: int) -> None:
    """The decoder allots memory for the chunks that a table of the file says, and ends the program if there is none."""
    (table,) = struct.unpack_from("<q", content, data)
    if table == -1:  # it is at the end
        (table,) = struct.unpack_from("<q", content, len(content) - 8)
    if not 0 <= table <= len(content) - 8:
        raise ValueError("the table of its chunks lies outside of it")
    (chunks,) = struct.unpack_from("<I", content, table + 4)
    record = content.find(b"laszip encoded") + 52
    (parts,) = struct.unpack_from("<H", content, record + 32)
    sizes = struct.unpack_from("<" + "HHH" * parts, content, record + 34)[1::3]
    if chunks > points or sum(sizes) != size:
        raise ValueError(f"{chunks:,} chunks of points of {sum(sizes):,} bytes are announced")


def check_pcd(content: bytes) -> None:
    """Refuse a .pcd file that announces more than a file may unpack to.

    Raises:
        InputError: the size and the bound.
        ValueError, struct.error: it is damaged.
    """
    head = content[:_HEAD]
    counts = [int(count) for count in re.findall(rb"^(?:POINTS|WIDTH)\s+" + _COUNT, head, re.MULTILINE)]
    fields = re.search(rb"^COUNT\s+([\d \t]{1,4000})", head, re.MULTILINE)
    columns = sum(map(int, fields[1].split())) if fields else 1
    bounds.check_array((max(counts, default=0), columns), _FLOAT64, "the cloud")
    form, start = _pcd_data(content)
    if form.endswith(b"compressed"):
        bounds.check_bytes(struct.unpack_from("<II", content, start)[1], "the cloud")


def _pcd_data(content: bytes) -> tuple[bytes, int]:
    """How the points of a .pcd file are written, as the last line of its header says, and where they begin."""
    start = lines = 0
    while lines < _PCD_LINES and (end := content.find(b"\n", start)) >= 0:
        line, start = content[start:end].strip(), end + 1
        lines += bool(line) and not line.startswith(b"#")
        if line.startswith(b"DATA"):
            return line, start
    raise ValueError("its header does not say how the points are written")


def check_mesh(content: bytes, suffix: str) -> None:
    """Refuse a mesh that announces more vertices or faces than it can hold.

    Raises:
        InputError: more than a file may unpack to.
        ValueError, LookupError, TypeError: it is damaged.
    """
    if suffix == ".ply":
        head = content.partition(b"end_header")[0][:_HEAD]
        _check_counts([int(count) for count in re.findall(rb"element\s+\S+\s+" + _COUNT, head)], content)
    elif suffix == ".glb":
        (size,) = struct.unpack_from("<I", content, 12)
        scene = json.loads(content[20 : 20 + size])
        counts = [int(accessor.get("count", 0)) for accessor in scene.get("accessors", ())]
        _check_counts(counts, content)
        vertices = [
            sum(counts[part["attributes"]["POSITION"]] for part in mesh["primitives"])
            for mesh in scene.get("meshes", ())
        ]
        shown = sum(vertices[node["mesh"]] for node in scene.get("nodes", ()) if "mesh" in node)
        bounds.check_array((shown, 3), _FLOAT64, "the scene")


def _check_counts(counts: list[int], content: bytes) -> None:
    if max(counts, default=0) > len(content):
        raise ValueError(f"{max(counts):,} elements are announced in {len(content):,} bytes")
