"""Picture files: decoded to grey or RGB of 8 bits, upright, and fitted to a size; or, where they are grids of measured
values such as those of satellites, to as many bands as they have."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import InputError
from ..files import ending, replace_file
from . import bounds, dicom, tiff
from .raw import Raw, file_bytes, first_line, plain_file

# What Pillow may take a file for. It knows more, and would run Ghostscript for PostScript that is called .png.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "ICO")
# What Pillow raises for damaged files, ImageFile.load and readers of tags included.
PICTURE_ERRORS = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, OverflowError),
    *(ZeroDivisionError, RuntimeError, struct.error, zlib.error),
)
GREY_MODES = ("L", "1", "I;16", "I")  # Pillow's names
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PAGES = "it has {} pages; where they are slices, use --kind volume, otherwise save each as a file of its own"
MOST_LIGHT = 2.0  # of a picture of floats, which are in [0, 1] or a little outside of it
ORIENTATION, LYING_DOWN = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that swap height and width


@dataclass(frozen=True)
class PictureHeader:
    """What is known of a picture before its pixels are decoded.

    Attributes:
        height, width: in pixels.
        grey: whether it is grey.
        bands: how many bands of measured values it has (more than four, or of more than 8 bits); 0: it is a picture of
            8 bits as any other.
    """

    height: int
    width: int
    grey: bool
    bands: int = 0

    @property
    def channels(self) -> int:
        """Values of a pixel."""
        return self.bands or (1 if self.grey else 3)


def header(raw: Raw) -> PictureHeader:
    """The size of a picture, the right way up, and whether it is grey.

    Raises:
        InputError: as :func:`decode`, but for what only its pixels show.
    """
    if isinstance(raw, np.ndarray):
        bands = raw.shape[2] if raw.ndim == 3 and raw.shape[2] not in (1, 3, 4) else 0
        if not bands or not raw.size:
            _check_shape(raw)
        return PictureHeader(raw.shape[0], raw.shape[1], raw.ndim == 2 or raw.shape[2] == 1, bands)
    if (source := _tiff_file(raw)) is not None:
        found = tiff.header(source)
        if found.pages > 1:
            raise InputError(_PAGES.format(found.pages))
        if not found.plain:
            return PictureHeader(found.height, found.width, found.bands == 1, found.bands)
    if _is_dicom(raw):
        return PictureHeader(*dicom.size(cast(Any, raw)))
    with _picture_file(raw) as picture:
        lies_down = picture.getexif().get(ORIENTATION, 1) in LYING_DOWN
        height, width = (picture.width, picture.height) if lies_down else (picture.height, picture.width)
        return PictureHeader(height, width, picture.mode in GREY_MODES)


def decode(
    raw: Raw,
    *,
    channels: int = 3,
    size: tuple[int, int] | None = None,
    most: int | None = None,
    enough: int | None = None,
) -> np.ndarray:
    """A picture's pixels: uint8, channels × height × width.

    Sixteen bits, palettes, CMYK and transparency (which becomes white) are converted.

    Args:
        raw: a path, the bytes of a file, a picture of Pillow's, or an array: height × width [× 1, 3 or 4], uint8 or
            floats in [0, 1].
        channels: 1 (grey) or 3 (RGB).
        size: height and width of the result: the largest centred part of these proportions, resized. None: the picture
            as it is.
        most: pixels along the longer side of the whole picture, where it has more and no ``size`` is given.
        enough: pixels along a side that are enough before resizing: a larger JPEG may be decoded at a fraction of its
            size, which is faster. None: every picture is decoded at its full size.

    Raises:
        InputError: not a picture, damaged or too large, NaN or infinite values.

    >>> decode(np.zeros((6, 8), np.uint8), size=(3, 3)).shape
    (3, 3, 3)
    """
    picture = _from_array(raw, channels) if isinstance(raw, np.ndarray) else _from_file(raw, channels, enough)
    shrink = 1.0 if most is None else min(1.0, most / max(picture.size))
    return _fit(picture, size or (max(1, round(shrink * picture.height)), max(1, round(shrink * picture.width))))


def decode_bands(raw: Raw, *, size: tuple[int, int] | None = None) -> np.ndarray:
    """The bands of a grid of measured values: float32, bands × height × width, in their units; NaN where there was no
    measurement.

    Args:
        raw: a path, the bytes of a file, or an array, height × width [× bands].
        size: as for :func:`decode`.

    Raises:
        InputError: not a picture, damaged, or several pages.
    """
    if isinstance(raw, np.ndarray):
        if raw.ndim not in (2, 3) or raw.size == 0 or raw.dtype.kind not in "biuf":
            raise InputError(f"an array of shape {raw.shape} of {raw.dtype} is not height × width × bands")
        values = np.atleast_3d(raw).transpose(2, 0, 1).astype(np.float32)
    elif (source := _tiff_file(raw)) is not None:
        pages = tiff.decode(source)
        if len(pages) > 1:
            raise InputError(_PAGES.format(len(pages)))
        values = pages[0]
    else:
        values = decode(raw, channels=1 if header(raw).grey else 3).astype(np.float32)
    if np.isinf(values).any():
        raise InputError("infinite values; replace or remove the file")
    return values if size is None else _fit_bands(values, size)


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
    plain = plain_file(raw if isinstance(raw, bytes) else Path(str(raw)))
    source = io.BytesIO(plain) if isinstance(plain, bytes) else plain
    try:
        with Pillow.open(source, formats=FORMATS) as picture:
            bounds.check_pixels(picture.height, picture.width)
            yield picture
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning):  # the warning where warnings are errors
        limit = f"more than {2 * Pillow.MAX_IMAGE_PIXELS / 1e6:.0f} million" if Pillow.MAX_IMAGE_PIXELS else "too many"
        raise InputError(f"the picture has {limit} pixels; make it smaller") from None
    except UnidentifiedImageError:
        empty = source.getbuffer().nbytes == 0 if isinstance(source, io.BytesIO) else source.stat().st_size == 0
        problem = "the file is empty" if empty else "not a picture that can be decoded"
        raise InputError(f"{problem}; replace or remove it") from None
    except PICTURE_ERRORS as error:
        raise InputError(f"the picture cannot be decoded ({first_line(error)}); replace or remove it") from None


def _tiff_file(raw: Raw) -> Path | io.BytesIO | None:
    """A TIFF file, by its first bytes or its ending; None: it is another file."""
    if not (raw.startswith(_TIFF) if isinstance(raw, bytes) else ending(str(raw)) in (".tif", ".tiff")):
        return None
    plain = plain_file(raw if isinstance(raw, bytes) else Path(str(raw)))
    if isinstance(plain, bytes):
        return io.BytesIO(plain)
    if not plain.is_file() or not plain.stat().st_size:
        file_bytes(plain)  # says what is wrong
    return plain


def _is_dicom(raw: Raw) -> bool:
    return dicom.is_dicom(raw) if isinstance(raw, bytes) else ending(str(raw)) == dicom.SUFFIX


def _from_file(raw: Raw, channels: int, enough: int | None) -> Any:
    from PIL import ImageOps

    if _is_dicom(raw):
        return _from_array(dicom.decode_picture(cast(Any, raw)), channels)
    with _picture_file(raw) as picture:
        if picture.format == "TIFF" and getattr(picture, "n_frames", 1) > 1:  # smaller copies are frames to Pillow
            source = _tiff_file(raw)
            if source is not None and (pages := tiff.header(source).pages) > 1:
                raise InputError(_PAGES.format(pages))
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
    if picture.size != (width, height):
        picture = picture.resize((width, height), Pillow.Resampling.BICUBIC, _centred(picture.size, size))
    return np.atleast_3d(np.asarray(picture, np.uint8)).transpose(2, 0, 1).copy()


def _fit_bands(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As :func:`_fit`, for bands × height × width; where NaN touches a pixel of the result, it is NaN."""
    from PIL import Image as Pillow

    height, width = size
    box = _centred((values.shape[2], values.shape[1]), size)
    if values.shape[1:] == size:
        return values
    return np.stack(
        [
            np.asarray(Pillow.fromarray(band, "F").resize((width, height), Pillow.Resampling.BILINEAR, box))
            for band in np.ascontiguousarray(values)
        ]
    )


def _centred(picture: tuple[int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box of the largest centred part of a picture (width, height) that has the proportions of a size."""
    (across, down), (height, width) = picture, size
    shrink = min(down / height, across / width)
    tall, wide = height * shrink, width * shrink
    left, top = max(0.0, (across - wide) / 2), max(0.0, (down - tall) / 2)
    return left, top, min(left + wide, across), min(top + tall, down)
