"""Picture files: modes, orientation, transparency, fitting, the limit on pixels, bad files."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from builders import dicom_slice
from sensorium.codecs.pictures import PictureHeader, decode, decode_bands, encode_file, header
from sensorium.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
CHANNELS_FIRST = PIXELS.transpose(2, 0, 1)


def content(picture: Any, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=form, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG file of any size, up to its pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checked = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + checked + struct.pack(">I", 1000) + b"IDAT"


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_pixels_are_those_of_the_file(tmp_path: Path, form: str) -> None:
    """Without loss; by path, as text and as ``Path``, by content and as an array."""
    raw = content(Pillow.fromarray(PIXELS), form)
    path = tmp_path / f"it.{form.lower()}"
    path.write_bytes(raw)
    for each in (path, str(path), raw, PIXELS):
        assert np.array_equal(decode(each), CHANNELS_FIRST)
        assert header(each) == PictureHeader(6, 8, grey=False)


def test_what_is_encoded_is_decoded(tmp_path: Path) -> None:
    """Colour and grey; no other file is left."""
    encode_file(PIXELS, tmp_path / "it.png")
    assert np.array_equal(decode(tmp_path / "it.png"), CHANNELS_FIRST)
    encode_file(PIXELS[..., 0], tmp_path / "it.png")
    assert header(tmp_path / "it.png").grey
    assert np.array_equal(decode(tmp_path / "it.png", channels=1)[0], PIXELS[..., 0])
    assert [path.name for path in tmp_path.iterdir()] == ["it.png"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(orientation: int) -> None:
    """Whatever the EXIF orientation is; the header agrees with the pixels."""
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    turned = {
        1: PIXELS,
        2: PIXELS[:, ::-1],
        3: PIXELS[::-1, ::-1],
        4: PIXELS[::-1],
        5: PIXELS.transpose(1, 0, 2),
        6: np.rot90(PIXELS, 1),
        7: PIXELS[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(PIXELS, -1),
    }[orientation]
    raw = content(Pillow.fromarray(np.ascontiguousarray(turned)), exif=exif)
    assert np.array_equal(decode(raw), CHANNELS_FIRST)
    assert header(raw) == PictureHeader(6, 8, grey=False)


def test_modes_become_eight_bits() -> None:
    """Sixteen bits by their upper half, palettes by their colours, transparency as white, colour as grey by luma."""
    deep = (np.arange(48, dtype=np.uint16).reshape(6, 8) * 1000).astype(np.uint16)
    assert np.abs(decode(content(Pillow.fromarray(deep)), channels=1)[0] - deep / 257).max() <= 0.5
    assert header(content(Pillow.fromarray(deep))).grey
    palette = Pillow.fromarray(PIXELS).quantize(256)
    assert np.array_equal(decode(content(palette)), np.asarray(palette.convert("RGB")).transpose(2, 0, 1))
    clear = np.dstack([PIXELS, np.zeros((6, 8), np.uint8)])
    assert (decode(content(Pillow.fromarray(clear))) == 255).all()
    luma = PIXELS @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decode(PIXELS, channels=1)[0] - luma).max() <= 1
    assert np.array_equal(decode(PIXELS / 255), CHANNELS_FIRST)
    assert np.array_equal(decode(PIXELS[..., :1]), PIXELS[..., :1].repeat(3, 2).transpose(2, 0, 1))


def test_fitting_keeps_the_centre() -> None:
    """The largest part of the size's proportions: of a wide picture its middle."""
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    assert (decode(wide, size=(10, 10)) == 255).all()
    assert decode(wide, size=(20, 60)).shape == (3, 20, 60)


def test_large_jpegs_may_be_decoded_at_a_fraction() -> None:
    """Close to what all of their pixels give."""
    across = np.broadcast_to(np.linspace(0, 255, 1600).astype(np.uint8)[None, :, None], (1600, 1600, 3))
    raw = content(Pillow.fromarray(np.ascontiguousarray(across)), "JPEG")
    whole, drafted = (decode(raw, size=(64, 64), enough=enough).astype(int) for enough in (None, 256))
    assert np.abs(whole - drafted).max() <= 4


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "the file is empty"),
        (b"no picture at all", "not a picture that can be decoded"),
        (content(Pillow.fromarray(PIXELS))[:60], "the picture cannot be decoded"),
        (Path("/nowhere/at/all.png"), "the picture cannot be decoded"),
        (np.zeros((4,), np.uint8), "is not height × width"),
        (np.zeros((4, 4, 2), np.uint8), "is not height × width"),
        (np.zeros((0, 4), np.uint8), "is not height × width"),
        (np.full((4, 4), np.inf), "NaN or infinite values"),
    ],
)
def test_bad_files_get_one_line(raw: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        decode(raw)
    assert "\n" not in str(caught.value)


def test_too_many_pixels_are_refused_by_the_header() -> None:
    """Pillow's limit in our words; the limit itself stays what it is, in every thread."""
    before = Pillow.MAX_IMAGE_PIXELS
    assert before is not None
    messages: list[str] = []

    def refuse() -> None:
        for function in (decode, header):
            try:
                function(png_header(60_000, 60_000))
            except InputError as error:
                messages.append(str(error))

    threads = [threading.Thread(target=refuse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(messages) == 8
    assert set(messages) == {"the picture has more than 179 million pixels; make it smaller"}
    assert before == Pillow.MAX_IMAGE_PIXELS


# -- grids of measured values, and DICOM -----------------------------------------------------------------------------


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(("bands", "dtype"), [(6, "uint8"), (1, "uint16"), (4, "uint16"), (13, "float32")])
def test_bands(tmp_path: Path, bands: int, dtype: str, planar: str) -> None:
    """Many of them, or of more than 8 bits: as they are, in their units."""
    values = np.random.default_rng(0).integers(0, 250, (bands, 6, 8)).astype(dtype)
    stored = values.transpose(1, 2, 0) if planar == "contig" else values
    stored = stored if bands > 1 else values[0]
    options: Any = {"planarconfig": planar} if bands > 1 else {}
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", **options)
    assert header(tmp_path / "a.tif") == PictureHeader(6, 8, bands == 1, bands)
    found = decode_bands(tmp_path / "a.tif")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(decode_bands((tmp_path / "a.tif").read_bytes()), values)
    assert decode_bands(tmp_path / "a.tif", size=(3, 3)).shape == (bands, 3, 3)


def test_what_was_not_measured_is_nan(tmp_path: Path) -> None:
    """Where GDAL's tag names a number for it."""
    values = np.array([[1, -9999], [2, 3]], np.int16)
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=[(42113, "s", 0, "-9999", True)])
    np.testing.assert_array_equal(decode_bands(tmp_path / "a.tif")[0], [[1, np.nan], [2, 3]])


def test_pages_are_never_read_by_the_first(tmp_path: Path) -> None:
    """A smaller copy of the picture is no page of its own."""
    pages = np.random.default_rng(0).integers(0, 256, (3, 6, 8), np.uint8)
    tifffile.imwrite(tmp_path / "pages.tif", pages, photometric="minisblack")
    for read in (header, decode, decode_bands):
        with pytest.raises(InputError, match="it has 3 pages; where they are slices, use --kind volume"):
            read(tmp_path / "pages.tif")
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(pages[0], photometric="minisblack")
        file.write(pages[0, ::2, ::2], photometric="minisblack", subfiletype=1)
    assert header(tmp_path / "pyramid.tif") == PictureHeader(6, 8, True)
    np.testing.assert_array_equal(decode(tmp_path / "pyramid.tif", channels=1)[0], pages[0])


def test_dicom(tmp_path: Path) -> None:
    """Grey and in colour, like any other picture."""
    grey = np.linspace(0, 1000, 24).reshape(4, 6).astype(np.uint16)
    (tmp_path / "a.dcm").write_bytes(dicom_slice(grey))
    assert header(tmp_path / "a.dcm") == PictureHeader(4, 6, True)
    found = decode(tmp_path / "a.dcm", channels=1)[0]
    assert (found.dtype, found.min(), found.max()) == (np.uint8, 0, 255)
    np.testing.assert_allclose(found, grey / 1000 * 255, atol=1)
    colour = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    content = dicom_slice(colour, photometric="RGB")
    assert header(content) == PictureHeader(4, 6, False)
    np.testing.assert_array_equal(decode(content), colour.transpose(2, 0, 1))
