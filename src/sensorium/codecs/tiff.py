"""TIFF files of measurements: many bands, 16 bits or floats, and stacks of pages. Pillow reads the others."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from . import bounds
from .raw import first_line

# What tifffile raises for damaged files.
TIFF_ERRORS = (
    *(OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, OverflowError, ZeroDivisionError),
    *(RuntimeError, NotImplementedError, AssertionError, struct.error, zlib.error),
)
_FEW = 1000  # strips
_NODATA = 42113  # GDAL's tag: the number that stands for "not measured"
_REDUCED, _MASK = 1, 4  # bits of a page's subfile type
_BANDS = "SC"  # tifffile's letters for samples and channels


@dataclass(frozen=True)
class TiffHeader:
    """What a TIFF says of itself: pages, height, width and bands, and whether it is a picture of bytes as any other."""

    pages: int
    height: int
    width: int
    bands: int
    plain: bool


def header(source: Path | io.BytesIO) -> TiffHeader:
    """The size of a TIFF; smaller copies of a page and its mask do not count.

    Raises:
        InputError: it cannot be read.
    """
    with _main_series(source) as series:
        sizes = dict(zip(series[0].axes, series[0].shape, strict=True))
        bands = int(np.prod([sizes.get(axis, 1) for axis in _BANDS]))
        pages = len(series) * series[0].size // (sizes["Y"] * sizes["X"] * bands)
        plain = bands <= 4 and series[0].dtype.kind in "bu" and series[0].dtype.itemsize == 1
        return TiffHeader(pages, sizes["Y"], sizes["X"], bands, plain)


def decode(source: Path | io.BytesIO) -> np.ndarray:
    """The values: float32, pages × bands × height × width, NaN where the file says that nothing was measured.

    Raises:
        InputError: it cannot be decoded, or its pages differ in size.
    """
    with _main_series(source) as series:
        bounds.check_bytes(sum(bounds.size_of(part.shape, part.dtype.itemsize) for part in series), "the picture")
        for part in series:  # each missing strip would be looked for
            strips = int(np.prod(part.keyframe.chunked, dtype=object))
            if strips > max(_FEW, len(part.keyframe.dataoffsets)):
                raise ValueError(
                    f"{strips:,} strips are announced, and the places of {len(part.keyframe.dataoffsets):,}"
                )
        if len({part.shape for part in series}) > 1:
            raise InputError("its pages differ in size; save each as a file of its own")
        stacks = []
        for part in series:
            axes = [*(axis for axis in part.axes if axis not in f"{_BANDS}YX"), *_BANDS, "Y", "X"]
            order = [part.axes.index(axis) for axis in axes if axis in part.axes]
            values = part.asarray().transpose(order)
            empty = part.keyframe.tags.get(_NODATA)
            height, width = values.shape[-2:]
            bands = int(np.prod([part.shape[part.axes.index(axis)] for axis in _BANDS if axis in part.axes]))
            floats = values.astype(np.float32).reshape(-1, bands, height, width)
            if empty is not None:
                floats[values.reshape(floats.shape) == _number(empty.value)] = np.nan
            stacks.append(floats)
        return np.concatenate(stacks)


def _number(text: Any) -> float:
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return np.nan


@contextmanager
def _main_series(source: Path | io.BytesIO) -> Iterator[list[Any]]:
    """The stacks of pages, without smaller copies and masks."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it logs is said by the error
    try:
        with tifffile.TiffFile(source) as file:
            series = [part for part in file.series if not int(part.keyframe.subfiletype) & (_REDUCED | _MASK)]
            if not series or not all({"Y", "X"} <= set(part.axes) for part in series):
                raise InputError("there is no picture in it; replace or remove it")
            yield series
    except InputError:
        raise
    except (*TIFF_ERRORS, tifffile.TiffFileError) as error:
        raise InputError(
            f"the TIFF cannot be decoded ({first_line(error)}); save it without compression or remove it"
        ) from None
