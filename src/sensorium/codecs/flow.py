"""Files of optical flow, and pictures of it.

Flow is float32, 2 × height × width: by how many pixels each pixel moves to the right, and downwards; NaN where the
motion is unknown.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from math import nan, pi
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import replace_file
from . import bounds
from .containers import decode_16_bit_png
from .raw import file_bytes

MAGIC = b"PIEH"  # the first bytes of a Middlebury file: 202021.25 as float32, little-endian
UNKNOWN = 1e10  # written for unknown motion
ABSURD = 1e3  # motion from here on is taken for unknown (Middlebury: 1e9)
STEPS = (15, 6, 4, 11, 13, 6)  # hues from red to yellow, green, cyan, blue, magenta and red


def decode(raw: Path | bytes) -> np.ndarray:
    """The flow in a Middlebury ``.flo`` (Baker et al. 2011) or a 16-bit ``.png`` of KITTI (Menze and Geiger 2015): the
    first bytes say which.

    Args:
        raw: the path of a file, or its content.

    Returns:
        float32, 2 × height × width, NaN where it is unknown.

    Raises:
        InputError: another format, a file that is cut off, or an impossible size.
    """
    content = file_bytes(raw)
    if content.startswith(MAGIC):
        return _middlebury(content)
    if content.startswith(b"\x89PNG"):
        return _kitti(content)
    raise InputError("neither a Middlebury .flo nor a KITTI .png of flow; convert it to one of them")


def encode_file(flow: np.ndarray, path: Path) -> None:
    """Write flow as a Middlebury ``.flo`` file.

    Args:
        flow: 2 × height × width; NaN where it is unknown.
        path: of the file.

    Raises:
        InputError: ``flow`` has another shape, or the file cannot be written.
    """
    _check(flow)
    size = np.array(flow.shape[:0:-1], "<i4")
    values = np.where(np.isnan(flow).any(0), UNKNOWN, flow).transpose(1, 2, 0).astype("<f4")
    replace_file(path, lambda temporary: temporary.write_bytes(MAGIC + size.tobytes() + values.tobytes()))


def colours(flow: np.ndarray, *, largest: float | None = None) -> np.ndarray:
    """A picture of flow: uint8, height × width × 3.

    The hue shows the direction, and paler colours are slower motion. Unknown motion is black, and motion faster than
    ``largest`` is darker (the colour wheel of Baker et al. 2011, §4.1).

    Args:
        flow: 2 × height × width.
        largest: the motion, in pixels, that is shown in full colour; None: the fastest motion of this flow.

    >>> colours(np.array([[[1.0, 0.0, np.nan]], [[0.0, 0.0, np.nan]]]))
    array([[[255,   0,   0],
            [255, 255, 255],
            [  0,   0,   0]]], dtype=uint8)
    """
    _check(flow)
    right, down = np.nan_to_num(flow.astype(np.float64))
    speed = np.hypot(right, down)
    speed /= largest or speed.max(initial=0) or 1
    # As published, directions start at the right and turn downwards, and the last hue is a step short of the first.
    angle = (np.arctan2(-down, -right) / pi + 1) / 2 * (len(WHEEL) - 1)
    step = angle.astype(int)
    hue = WHEEL[step] + (angle - step)[..., None] * (WHEEL[(step + 1) % len(WHEEL)] - WHEEL[step])
    shade = np.where(speed[..., None] <= 1, 1 - speed[..., None] * (1 - hue), 0.75 * hue)
    shade[np.isnan(flow).any(0)] = 0
    return (255 * shade).round().astype(np.uint8)


def _wheel() -> np.ndarray:
    """All hues, steps × 3, in [0, 1]: between two neighbouring corners one channel rises or falls."""
    corners = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]], float)
    parts = zip(pairwise(corners), STEPS, strict=True)
    return np.concatenate([np.linspace(*ends, steps, endpoint=False) for ends, steps in parts])


WHEEL = _wheel()


def _middlebury(content: bytes) -> np.ndarray:
    width, height = struct.unpack("<ii", content[4:12].ljust(8, b"\0"))
    _check_size(height, width, complete=len(content) >= 12)
    if len(content) != 12 + 8 * height * width:
        raise InputError(
            f"{len(content):,} bytes, {width} × {height} pixels of flow take {12 + 8 * height * width:,}; "
            "the file is cut off or not whole: copy it again"
        )
    flow = np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2).transpose(2, 0, 1).astype(np.float32)
    flow[:, ~(np.abs(flow) < ABSURD).all(0)] = nan
    return flow


def _kitti(content: bytes) -> np.ndarray:
    width, height, depth, colour = struct.unpack(">IIBB", content[16:26].ljust(10, b"\0"))
    _check_size(height, width, complete=len(content) >= 26)
    if (depth, colour) != (16, 2):
        raise InputError(f"a picture of {depth} bits, not flow: KITTI's has three channels of 16 bits")
    right, down, valid = decode_16_bit_png(content).transpose(2, 0, 1)
    flow = (np.stack([right, down]).astype(np.float32) - 2**15) / 64
    flow[:, valid == 0] = nan
    return flow


def _check(flow: np.ndarray) -> None:
    if flow.ndim != 3 or flow.shape[0] != 2 or 0 in flow.shape:
        raise InputError(f"flow of shape {flow.shape}; give 2 × height × width")


def _check_size(height: int, width: int, *, complete: bool) -> None:
    if not complete:
        raise InputError("the file ends before it says its size; copy it again")
    if not (height > 0 and width > 0):
        raise InputError(f"flow of {width} × {height} pixels; the file is damaged: copy it again")
    bounds.check_pixels(height, width, "the flow")
