"""Picture files, through Pillow: decoded to grey or RGB of 8 bits, upright, and fitted to a size."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import InputError
from ..files import replace_file
from .raw import Raw

GREY_MODES = ("L", "1", "I;16", "I")  # Pillow's names
MOST_LIGHT = 2.0  # of a picture of floats, which are in [0, 1] or a little outside of it
ORIENTATION, LYING_DOWN = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that swap height and width


@dataclass(frozen=True)
class PictureHeader:
    """What is known of a picture before its pixels are decoded: its size in pixels, and whether it is grey."""

    height: int
    width: int
    grey: bool


def header(raw: Raw) -> PictureHeader:
    """The size of a picture, the right way up, and whether it is grey.

    Raises:
        InputError: as :func:`decode`, but for what only its pixels show.
    """
    if isinstance(raw, np.ndarray):
        _check_shape(raw)
        return PictureHeader(raw.shape[0], raw.shape[1], raw.ndim == 2 or raw.shape[2] == 1)
    with _picture_file(raw) as picture:
        lies_down = picture.getexif().get(ORIENTATION, 1) in LYING_DOWN
        height, width = (picture.width, picture.height) if lies_down else (picture.height, picture.width)
        return PictureHeader(height, width, picture.mode in GREY_MODES)


def decode(
    raw: Raw, *, channels: int = 3, size: tuple[int, int] | None = None, enough: int | None = None
) -> np.ndarray:
    """A picture's pixels: uint8, channels × height × width.

    Sixteen bits, palettes, CMYK and transparency (which becomes white) are converted.

    Args:
        raw: a path, the bytes of a file, a picture of Pillow's, or an array: height × width [× 1, 3 or 4], uint8 or
            floats in [0, 1].
        channels: 1 (grey) or 3 (RGB).
        size: height and width of the result: the largest centred part of these proportions, resized. None: the picture
            as it is.
        enough: pixels along a side that are enough before resizing: a larger JPEG may be decoded at a fraction of its
            size, which is faster. None: every picture is decoded at its full size.

    Raises:
        InputError: not a picture, damaged or too large, NaN or infinite values.

    >>> decode(np.zeros((6, 8), np.uint8), size=(3, 3)).shape
    (3, 3, 3)
    """
    picture = _from_array(raw, channels) if isinstance(raw, np.ndarray) else _from_file(raw, channels, enough)
    return _fit(picture, size or (picture.height, picture.width))


def encode_file(pixels: np.ndarray, path: Path) -> None:
    """Write a picture as a PNG file.

    Args:
        pixels: uint8, height × width (grey) or height × width × 3.
        path: of the file.

    Raises:
        InputError: the file cannot be written.
    """
    from PIL import Image as Pillow

    picture = Pillow.fromarray(np.ascontiguousarray(pixels))
    replace_file(path, lambda temporary: picture.save(temporary, format="PNG"))


def is_picture(value: object) -> bool:
    """Whether a value is one of Pillow's pictures, which is told without importing Pillow."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


@contextmanager
def _picture_file(raw: Raw) -> Iterator[Any]:
    """A picture file as Pillow has it: its header is read, its pixels are decoded when they are asked for.

    Pillow refuses pictures of more than twice ``PIL.Image.MAX_IMAGE_PIXELS`` (2 · 89 million), so that a small file
    cannot fill the memory. That limit belongs to the whole process: we keep it, and say it in our words.
    """
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    if is_picture(raw):
        yield cast(Any, raw).copy()
        return
    source = io.BytesIO(raw) if isinstance(raw, bytes) else Path(str(raw))
    try:
        with Pillow.open(source) as picture:
            yield picture
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning):  # the warning where warnings are errors
        limit = f"more than {2 * Pillow.MAX_IMAGE_PIXELS / 1e6:.0f} million" if Pillow.MAX_IMAGE_PIXELS else "too many"
        raise InputError(f"the picture has {limit} pixels; make it smaller") from None
    except UnidentifiedImageError:
        empty = source.getbuffer().nbytes == 0 if isinstance(source, io.BytesIO) else source.stat().st_size == 0
        problem = "the file is empty" if empty else "not a picture that can be decoded"
        raise InputError(f"{problem}; replace or remove it") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"the picture cannot be decoded ({error}); replace or remove it") from None


def _from_file(raw: Raw, channels: int, enough: int | None) -> Any:
    from PIL import ImageOps

    with _picture_file(raw) as picture:
        if enough is not None:
            picture.draft(picture.mode, (enough, enough))
        ImageOps.exif_transpose(picture, in_place=True)
        return _flatten(picture, channels)


def _check_shape(values: np.ndarray) -> None:
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 3, 4)) or 0 in values.shape:
        raise InputError(f"an array of shape {values.shape} is not height × width × 1, 3 or 4 channels")


def _from_array(values: np.ndarray, channels: int) -> Any:
    from PIL import Image as Pillow

    _check_shape(values)
    if np.issubdtype(values.dtype, np.floating):
        if not np.isfinite(values).all():
            raise InputError("NaN or infinite values; replace them")
        if values.max(initial=0) > MOST_LIGHT:
            raise InputError(f"floats up to {values.max():.6g} are no picture; divide them by 255, or give uint8")
        values = (values.clip(0, 1) * 255).round()
    elif values.max(initial=0) > 255 or values.min(initial=0) < 0:
        raise InputError(f"integers from {values.min()} to {values.max()} are no picture; give uint8, 0 to 255")
    values = values.squeeze(2) if values.shape[2:] == (1,) else values
    return _flatten(Pillow.fromarray(np.ascontiguousarray(values, np.uint8)), channels)


def _flatten(picture: Any, channels: int) -> Any:
    """Grey or RGB, 8 bits, whatever the file holds; what is transparent is laid on white."""
    from PIL import Image as Pillow

    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, np.float64)
        if not np.isfinite(values).all():
            raise InputError("NaN or infinite pixels; replace or remove the file")
        values = values / 257 if values.max(initial=0) > 255 else values
        picture = Pillow.fromarray(values.clip(0, 255).round().astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Pillow.alpha_composite(Pillow.new("RGBA", picture.size, "white"), picture)
    return picture.convert("L" if channels == 1 else "RGB")


def _fit(picture: Any, size: tuple[int, int]) -> np.ndarray:
    """The largest centred part of the size's proportions, resized: uint8, channels × height × width."""
    from PIL import Image as Pillow

    height, width = size
    shrink = min(picture.height / height, picture.width / width)
    tall, wide = height * shrink, width * shrink
    left, top = max(0.0, (picture.width - wide) / 2), max(0.0, (picture.height - tall) / 2)
    box = (left, top, min(left + wide, picture.width), min(top + tall, picture.height))
    if picture.size != (width, height):
        picture = picture.resize((width, height), Pillow.Resampling.BICUBIC, box)
    return np.atleast_3d(np.asarray(picture, np.uint8)).transpose(2, 0, 1).copy()
