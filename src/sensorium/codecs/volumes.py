"""Files of volumes, which are grids in three dimensions: NIfTI, DICOM and stacks of TIFF pages."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import InputError
from ..files import ending
from . import bounds, dicom, tiff
from .raw import Raw, file_bytes, first_line, needs, plain_file

# What nibabel raises for damaged files, besides its own errors.
NIFTI_ERRORS = (
    *(OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, OverflowError, ZeroDivisionError),
    *(RuntimeError, NotImplementedError, AssertionError, struct.error),
)
MOST_CHANNELS = 4  # of a NIfTI file's fourth axis; more are moments in time
_NIFTI = (348).to_bytes(4, "little"), (348).to_bytes(4, "big")
_NIFTI_2 = (540).to_bytes(4, "little"), (540).to_bytes(4, "big")
_TIFF = b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class VolumeHeader:
    """What is known of a volume before it is resized.

    Attributes:
        shape: depth, height and width in voxels.
        spacing: the distance between neighbours along each of them, in mm; 1 where it is not known.
        channels: values of a voxel.
    """

    shape: tuple[int, int, int]
    spacing: Triple
    channels: int


def header(raw: Raw) -> VolumeHeader:
    """The size of a volume.

    Raises:
        InputError: as :func:`decode`.
    """
    if isinstance(raw, str | Path) and ending(raw) == ".nii":
        with _nifti(raw) as (image, order):
            shape, zooms = image.shape, image.header.get_zooms()
            channels = shape[3] if len(shape) > 3 else 1
            depth, height, width = (int(shape[axis]) for axis in order)
            down, back, across = (float(zooms[axis]) for axis in order)
            return VolumeHeader((depth, height, width), (down, back, across), channels)
    values, spacing = _values(raw)
    depth, height, width = values.shape[1:]
    return VolumeHeader((depth, height, width), spacing, len(values))


def decode(raw: Raw, *, size: tuple[int, int, int] | None = None) -> np.ndarray:
    """A volume: float32, channels × depth × height × width.

    NIfTI volumes lie as they are drawn: from the feet to the head, each slice from the front to the back and from left
    to right. Where there is NaN, outside of the body, there is the smallest value instead.

    Args:
        raw: an array, depth × height × width [× channels]; or the path or content of a NIfTI file, of a DICOM file of
            many frames, or of a TIFF file with a page for each slice. By the path of a single DICOM slice, all slices
            of its series in its folder are read.
        size: depth, height and width of the result; each axis is resized by itself. None: the volume as it is.

    Raises:
        InputError: not a volume, damaged, infinite values, more than four volumes in one file, or a library that is not
            installed.
    """
    values, _ = _values(raw)
    if np.isinf(values).any():
        raise InputError("there are infinite values in it; repair or remove it")
    if (absent := np.isnan(values)).all():
        raise InputError("there is nothing but NaN in it; remove it")
    values = np.where(absent, values[~absent].min(), values) if absent.any() else values
    return values if size is None or values.shape[1:] == size else _resized(values, size)


def _resized(values: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Means of the voxels that become one where the result is smaller, linear interpolation where it is larger."""
    voxels = torch.from_numpy(np.ascontiguousarray(values))[None]
    smaller = tuple(min(old, new) for old, new in zip(values.shape[1:], size, strict=True))
    voxels = F.interpolate(voxels, smaller, mode="area")
    if smaller != size:
        voxels = F.interpolate(voxels, size, mode="trilinear", align_corners=False)
    return voxels[0].numpy()


def _values(raw: Raw) -> tuple[np.ndarray, Triple]:
    """float32, channels × depth × height × width, and the distances between neighbours."""
    if isinstance(raw, np.ndarray):
        values = raw if raw.ndim == 4 else raw[..., None]
        if values.ndim != 4 or values.size == 0 or values.dtype.kind not in "biuf":
            raise InputError(f"an array of shape {raw.shape} of {raw.dtype} is not depth × height × width [× channels]")
        return values.astype(np.float32).transpose(3, 0, 1, 2), (1.0, 1.0, 1.0)
    if not isinstance(raw, str | bytes | Path):
        raise InputError(f"a volume is an array, a path or the content of a file, not {type(raw).__name__}")
    plain = plain_file(raw)
    content = plain if isinstance(plain, bytes) else _head(plain)
    if content[:4] in _TIFF:
        stack = tiff.decode(io.BytesIO(plain) if isinstance(plain, bytes) else plain)
        if len(stack) == 1:
            raise InputError("it has a single page, so it is a picture and no volume; use --kind image")
        return stack.transpose(1, 0, 2, 3), (1.0, 1.0, 1.0)
    if dicom.is_dicom(content) or (isinstance(plain, Path) and ending(plain) == dicom.SUFFIX):
        values, spacing = dicom.decode_slices(dicom.slices_of(plain) if isinstance(plain, Path) else [plain])
        if len(values) == 1:
            raise InputError("it has a single slice, so it is a picture and no volume; use --kind image")
        return values[None], spacing
    with _nifti(raw) as (image, order):
        values = np.asarray(image.dataobj, np.float32)
        values = values.reshape(*values.shape[:3], -1).transpose(3, *order)[:, :, ::-1]  # the front of the body first
        depth, height, width = (float(image.header.get_zooms()[axis]) for axis in order)
        return values, (depth, height, width)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})") from None
    return head or file_bytes(path)


@contextmanager
def _nifti(raw: str | bytes | Path) -> Iterator[tuple[Any, tuple[int, int, int]]]:
    """A NIfTI image turned so that its axes run to the right, to the front and upwards; and its axes in our order."""
    with needs("nibabel", to_decode="NIfTI volumes"):
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.orientations import OrientationError
        from nibabel.spatialimages import HeaderDataError, HeaderTypeError
        from nibabel.wrapstruct import WrapStructError
    try:
        plain = plain_file(raw)
        head = file_bytes(plain)[:4] if isinstance(plain, bytes) else _head(plain)[:4]
        if head not in (*_NIFTI, *_NIFTI_2):
            raise InputError("this is not a volume that can be decoded; convert it to .nii.gz or remove it")
        cls: Any = nibabel.Nifti2Image if head in _NIFTI_2 else nibabel.Nifti1Image
        image = cls.from_bytes(plain) if isinstance(plain, bytes) else cls.from_filename(str(plain))
        bounds.check_array(image.shape, image.get_data_dtype().itemsize, "the volume")
        if len(image.shape) > 4 and set(image.shape[4:]) == {1}:
            image = image.slicer[(slice(None),) * 4 + (0,) * (len(image.shape) - 4)]
        if len(image.shape) not in (3, 4) or 0 in image.shape or image.get_data_dtype().fields:
            raise InputError(f"an image of shape {image.shape} is not a volume; give depth × height × width")
        if len(image.shape) == 4 and image.shape[3] > MOST_CHANNELS:
            raise InputError(
                f"it holds {image.shape[3]} volumes, one after the other in time; save their mean, or each as a file"
            )
        yield nibabel.as_closest_canonical(image), (2, 1, 0)
    except InputError:
        raise
    except (
        *NIFTI_ERRORS,
        HeaderDataError,
        HeaderTypeError,
        ImageFileError,
        OrientationError,
        WrapStructError,
    ) as error:
        raise InputError(f"the volume cannot be decoded ({first_line(error)}); copy it again or remove it") from None
