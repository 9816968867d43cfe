"""Files of optical flow, and pictures of it.

Flow is float32, 2 × height × width: pixels to the right, pixels downwards; NaN where nobody knows.
"""

from __future__ import annotations

import io
import os
import struct
from itertools import pairwise
from math import nan, pi
from pathlib import Path

import numpy as np

from ..errors import InputError

MAGIC = b"PIEH"  # of a Middlebury file: 202021.25 as float32, little-endian
UNKNOWN, ABSURD = 1e10, 1e3  # what is written for unknown motion; from where on it is read as that (Middlebury: 1e9)
LARGEST = 400_000_000  # pixels; a header that tells of more is not one
STEPS = (15, 6, 4, 11, 13, 6)  # hues from red to yellow, green, cyan, blue, magenta and red


def read_flow(raw: Path | bytes) -> np.ndarray:
    """The flow in a Middlebury ``.flo`` (Baker et al. 2011) or KITTI's 16-bit ``.png`` (Menze and Geiger 2015), told
    apart by how they begin: float32, 2 × height × width, NaN where it is unknown.

    Args:
        raw: a file's path or content.

    Raises:
        InputError: it is neither, it is cut off, or it has no size that can be.
    """
    try:
        content = raw if isinstance(raw, bytes) else Path(raw).read_bytes()
    except OSError as error:
        raise InputError(f"the flow cannot be read ({error.strerror}); check the path") from None
    if content.startswith(MAGIC):
        return _middlebury(content)
    if content.startswith(b"\x89PNG"):
        return _kitti(content)
    raise InputError(
        "the file is empty; replace or remove it"
        if not content
        else "neither a Middlebury .flo nor a KITTI .png of flow; convert it to one of them"
    )


def write_flow(flow: np.ndarray, path: Path) -> None:
    """A Middlebury ``.flo``, written whole or not at all.

    Args:
        flow: 2 × height × width; NaN where it is unknown.
        path: where to.

    Raises:
        InputError: another shape.
    """
    _check(flow)
    size = np.array(flow.shape[:0:-1], "<i4")
    values = np.where(np.isnan(flow).any(0), UNKNOWN, flow).transpose(1, 2, 0).astype("<f4")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(MAGIC + size.tobytes() + values.tobytes())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def colours(flow: np.ndarray, *, largest: float | None = None) -> np.ndarray:
    """A picture of flow: uint8, height × width × 3. The hue is the direction, the paler the slower; what is unknown is
    black, what is faster than ``largest`` darker (the colour wheel of Baker et al. 2011, §4.1).

    Args:
        flow: 2 × height × width.
        largest: pixels at which colours are full; None: the fastest motion there is.

    >>> colours(np.array([[[1.0, 0.0, np.nan]], [[0.0, 0.0, np.nan]]]))
    array([[[255,   0,   0],
            [255, 255, 255],
            [  0,   0,   0]]], dtype=uint8)
    """
    _check(flow)
    right, down = np.nan_to_num(flow.astype(np.float64))
    speed = np.hypot(right, down)
    speed /= largest or speed.max(initial=0) or 1
    # Directions are counted as published: from the right through below, the last hue a step short of the first.
    place = (np.arctan2(-down, -right) / pi + 1) / 2 * (len(WHEEL) - 1)
    step = place.astype(int)
    hue = WHEEL[step] + (place - step)[..., None] * (WHEEL[(step + 1) % len(WHEEL)] - WHEEL[step])
    shade = np.where(speed[..., None] <= 1, 1 - speed[..., None] * (1 - hue), 0.75 * hue)
    shade[np.isnan(flow).any(0)] = 0
    return (255 * shade).round().astype(np.uint8)


def write_colours(flow: np.ndarray, path: Path) -> None:
    """The picture of flow as a file, such as a .png; arguments as of :func:`colours`."""
    from PIL import Image as Pillow

    Pillow.fromarray(colours(flow)).save(path)


def _wheel() -> np.ndarray:
    """All hues, steps × 3, in [0, 1]: from each of six to the next, of which one channel rises or falls."""
    corners = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]], float)
    parts = zip(pairwise(corners), STEPS, strict=True)
    return np.concatenate([np.linspace(*ends, steps, endpoint=False) for ends, steps in parts])


WHEEL = _wheel()


def _middlebury(content: bytes) -> np.ndarray:
    width, height = struct.unpack("<ii", content[4:12].ljust(8, b"\0"))
    _check_size(height, width, told=len(content) >= 12)
    if len(content) != 12 + 8 * height * width:
        raise InputError(
            f"{len(content):,} bytes, {width} × {height} pixels of flow take {12 + 8 * height * width:,}; "
            "the file is cut off or not whole: copy it again"
        )
    flow = np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2).transpose(2, 0, 1).astype(np.float32)
    flow[:, ~(np.abs(flow) < ABSURD).all(0)] = nan
    return flow


def _kitti(content: bytes) -> np.ndarray:
    import av

    width, height, depth, colour = struct.unpack(">IIBB", content[16:26].ljust(10, b"\0"))
    _check_size(height, width, told=len(content) >= 26)
    if (depth, colour) != (16, 2):
        raise InputError(f"a picture of {depth} bits, not flow: KITTI's has three channels of 16 bits")
    try:
        with av.open(io.BytesIO(content), "r", format="png_pipe") as container:
            right, down, valid = next(container.decode(video=0)).to_ndarray(format="rgb48le").transpose(2, 0, 1)
    except (av.FFmpegError, StopIteration, ValueError) as error:
        raise InputError(f"the flow cannot be decoded ({error}); copy it again") from None
    flow = (np.stack([right, down]).astype(np.float32) - 2**15) / 64
    flow[:, valid == 0] = nan
    return flow


def _check(flow: np.ndarray) -> None:
    if flow.ndim != 3 or flow.shape[0] != 2 or 0 in flow.shape:
        raise InputError(f"flow of shape {flow.shape}; give 2 × height × width")


def _check_size(height: int, width: int, *, told: bool) -> None:
    if not told:
        raise InputError("the file ends before it tells its size; copy it again")
    if not (height > 0 and width > 0 and height * width <= LARGEST):
        raise InputError(f"flow of {width} × {height} pixels; the file is damaged: copy it again")
