"""Pictures as files and arrays hold them: opened, made grey or RGB of 8 bits, and fitted to a size."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .raw import Raw

LARGEST_PICTURE = 400_000_000  # pixels; more would not fit a laptop's memory once decoded


def opened(raw: Raw, *, least: int | None = None) -> Any:
    """A picture as Pillow has it, the right way up; its pixels are not decoded before they are needed.

    Args:
        raw: a path, the bytes of a file, or an array: height × width [× 1, 3 or 4], uint8 or floats in [0, 1].
        least: a JPEG of which no more pixels than these are needed along a side may be decoded at a fraction of its
            size, which costs less; None: it keeps its size.

    Raises:
        InputError: not a picture, one that is damaged or too large, NaN or infinite values.
    """
    return _from_array(raw) if isinstance(raw, np.ndarray) else _from_file(raw, least)


def _from_file(raw: Raw, least: int | None) -> Any:
    from PIL import Image as Pillow
    from PIL import ImageOps, UnidentifiedImageError

    Pillow.MAX_IMAGE_PIXELS = None  # our own limit below has a cure in its message
    source = io.BytesIO(raw) if isinstance(raw, bytes) else Path(str(raw))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Pillow.open(source)
            if picture.width * picture.height > LARGEST_PICTURE:
                raise InputError(
                    f"the picture has {picture.width} × {picture.height} pixels, more than "
                    f"{LARGEST_PICTURE / 1e6:.0f} million; make it smaller"
                )
            if least is not None:
                picture.draft(picture.mode, (least, least))
            return ImageOps.exif_transpose(picture)
    except UnidentifiedImageError:
        empty = source.getbuffer().nbytes == 0 if isinstance(source, io.BytesIO) else source.stat().st_size == 0
        problem = "the file is empty" if empty else "not a picture that can be decoded"
        raise InputError(f"{problem}; replace or remove it") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"the picture cannot be decoded ({error}); replace or remove it") from None


def _from_array(values: np.ndarray) -> Any:
    from PIL import Image as Pillow

    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 3, 4)) or 0 in values.shape:
        raise InputError(f"an array of shape {values.shape} is not height × width × 1, 3 or 4 channels")
    if np.issubdtype(values.dtype, np.floating):
        if not np.isfinite(values).all():
            raise InputError("NaN or infinite values; replace them")
        values = (values.clip(0, 1) * 255).round()
    return Pillow.fromarray(np.ascontiguousarray(values.squeeze(2) if values.shape[2:] == (1,) else values, np.uint8))


def flattened(picture: Any, channels: int) -> Any:
    """Grey or RGB, 8 bits, whatever the file holds: 16 bits, palettes, CMYK, transparency (on white)."""
    from PIL import Image as Pillow

    try:
        picture.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"the picture cannot be decoded ({error}); replace or remove it") from None
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


def fit(picture: Any, size: tuple[int, ...]) -> np.ndarray:
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
