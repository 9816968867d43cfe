"""DICOM files: single pictures, and the slices of a volume."""

from __future__ import annotations

import io
import mmap
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from . import bounds
from .raw import file_bytes, first_line, needs

MAGIC = b"DICM"  # at byte 128
_META = 1 << 16  # bytes that hold what says how the others are written
_DEFLATED = b"1.2.840.10008.1.2.1.99"
# What pydicom raises for damaged files: it converts elements when they are asked for.
DICOM_ERRORS = (
    *(OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, OverflowError, ZeroDivisionError),
    *(RuntimeError, NotImplementedError, RecursionError, AssertionError, struct.error, zlib.error),
)
SUFFIX = ".dcm"


def size(raw: str | bytes | Path) -> tuple[int, int, bool]:
    """Height, width, and whether a picture is grey.

    Raises:
        InputError: no DICOM picture.
    """
    data = _header(raw)
    with _one_line():
        return int(data.Rows), int(data.Columns), int(data.get("SamplesPerPixel", 1)) == 1


def decode_picture(raw: str | bytes | Path) -> np.ndarray:
    """One picture as a radiologist sees it: rescaled and windowed as the file says; where it names no window, from its
    smallest to its largest value.

    Returns:
        float32, height × width, in [0, 1]; or uint8, height × width × 3.

    Raises:
        InputError: no DICOM picture, several frames, or pydicom is not installed.
    """
    data, pixels = _decode(raw)
    with _one_line():
        from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

        if int(data.get("NumberOfFrames") or 1) > 1:
            raise InputError(f"it holds {data.NumberOfFrames} frames; use --kind volume where they are slices")
        if pixels.ndim == 3:
            return pixels.astype(np.uint8)
        values = apply_voi_lut(apply_modality_lut(pixels, data), data, index=0).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    values = (values - low) / max(high - low, 1e-9)
    return 1 - values if data.get("PhotometricInterpretation") == "MONOCHROME1" else values


def decode_slices(raws: Sequence[str | bytes | Path]) -> tuple[np.ndarray, tuple[float, float, float]]:
    """The slices of a volume, in the order in which they lie in space: of one file of many frames, or of many files.

    Returns:
        float32, depth × height × width, in the units of the file (rescaled, not windowed); and the distance in mm
        between neighbours along each axis.

    Raises:
        InputError: no DICOM pictures, slices of different sizes, colours, or pydicom is not installed.
    """
    with needs("pydicom", to_decode="DICOM files"):
        from pydicom.pixels.processing import apply_rescale
    slices = []
    size = 0
    for raw in raws:
        data, pixels = _decode(raw)
        with _one_line():
            if int(data.get("SamplesPerPixel", 1)) > 1:
                raise InputError("its frames are in colour, so it is no volume; convert it to a film")
            bounds.check_bytes(size := size + bounds.size_of(pixels.shape), "the volume")
            slices.append((data, apply_rescale(pixels, data).astype(np.float32)))
    with _one_line():
        return _stacked(slices)


def _stacked(slices: list[tuple[Any, np.ndarray]]) -> tuple[np.ndarray, tuple[float, float, float]]:
    """The slices in their order in space, and the distances between neighbours."""
    if len({pixels.shape for _, pixels in slices}) > 1:
        raise InputError("the slices differ in size; keep one series in a folder")
    slices.sort(key=lambda part: _depth(part[0]))
    first = slices[0][0]
    rows, columns = (float(value) for value in _measure(first, "PixelSpacing", (1.0, 1.0)))
    thickness = float(_measure(first, "SpacingBetweenSlices", _measure(first, "SliceThickness", 1.0)) or 1.0)
    if len(slices) == 1:
        values = slices[0][1]
        return values if values.ndim == 3 else values[None], (thickness, rows, columns)
    depths = np.array([_depth(data)[0] for data, _ in slices])
    apart = float(np.median(np.diff(depths)))
    return np.stack([pixels for _, pixels in slices]), (apart if apart > 0 else thickness, rows, columns)


def slices_of(path: Path) -> list[Path]:
    """The files of a volume of which one slice is ``path``: those of its folder that belong to the same series.

    Raises:
        InputError: ``path`` is no DICOM picture.
    """
    series = series_of(path)
    header = _header(path)
    with _one_line():
        if int(header.get("NumberOfFrames") or 1) > 1 or not series:
            return [path]
    beside = sorted(other for other in path.parent.iterdir() if other.suffix.lower() == SUFFIX)
    return [other for other in beside if other == path or series_of(other) == series]


def series_of(path: Path) -> str:
    """What the slices of one volume share; empty where the file does not say.

    Raises:
        InputError: no DICOM picture.
    """
    header = _header(path)
    with _one_line():
        return str(header.get("SeriesInstanceUID", ""))


def is_dicom(content: bytes) -> bool:
    """Whether the first bytes are those of a DICOM file."""
    return content[128:132] == MAGIC


def _header(raw: str | bytes | Path) -> Any:
    """Everything but the pixels."""
    with needs("pydicom", to_decode="DICOM files"):
        import pydicom
    with _one_line():
        with _source(raw) as source:
            _check_plain(source.read(_META))
            source.seek(0)
            data = pydicom.dcmread(source, stop_before_pixels=True, force=True)
        if "Rows" not in data:
            raise InputError("this is not a DICOM picture; replace or remove it")
        return data


@contextmanager
def _source(raw: str | bytes | Path) -> Iterator[Any]:
    """A file to read some of. pydicom asks for as many bytes as a damaged element says that it has, and a mapped file
    gives no more than there are."""
    if isinstance(raw, bytes):
        yield io.BytesIO(file_bytes(raw))
        return
    with Path(raw).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped


def _check_plain(content: bytes) -> None:
    """Refuse files that are compressed as a whole, because pydicom unpacks them whatever their size."""
    if _DEFLATED in content[:_META]:
        raise InputError("the file is compressed as a whole (deflated); save it with its pixels alone compressed")


def _decode(raw: str | bytes | Path) -> tuple[Any, np.ndarray]:
    with needs("pydicom", to_decode="DICOM files"):
        import pydicom
        from pydicom.pixels.utils import pixel_array
    content = file_bytes(raw)
    _check_plain(content)
    with _one_line():
        data = pydicom.dcmread(io.BytesIO(content), force=True)
        if "PixelData" not in data and "FloatPixelData" not in data:
            raise InputError("this is not a DICOM picture; replace or remove it")
        if not hasattr(data.file_meta, "TransferSyntaxUID"):
            data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        sizes = ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames")
        shape = [int(data.get(name) or 1) for name in sizes]
        bounds.check_array(shape, int(data.get("BitsAllocated") or 8) // 8, "the picture")
        return data, pixel_array(data)


@contextmanager
def _one_line() -> Iterator[None]:
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        yield
    except InputError:
        raise
    except (*DICOM_ERRORS, BytesLengthException, InvalidDicomError) as error:
        raise InputError(f"the DICOM file cannot be decoded ({first_line(error)}); convert or remove it") from None


def _depth(data: Any) -> tuple[float, float]:
    """Where a slice lies along the normal of its plane; its number, where that is not said."""
    number = float(data.get("InstanceNumber") or 0)
    position, plane = data.get("ImagePositionPatient"), data.get("ImageOrientationPatient")
    if not position or not plane:
        return number, number
    normal = np.cross(np.array(plane[:3], float), np.array(plane[3:], float))
    return float(normal @ np.array(position, float)), number


def _measure(data: Any, name: str, default: Any) -> Any:
    """A distance, which files of many frames keep in a place of their own."""
    if (value := data.get(name)) is not None:
        return value
    for group in data.get("SharedFunctionalGroupsSequence", ()):
        for measures in group.get("PixelMeasuresSequence", ()):
            if (value := measures.get(name)) is not None:
                return value
    return default
