"""Files and pictures of optical flow."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from builders import png
from sensorium.codecs.flow import colours, decode, encode_file
from sensorium.errors import InputError


def random_flow(height: int = 5, width: int = 7) -> np.ndarray:
    flow = np.random.default_rng(0).normal(0, 9, (2, height, width)).astype(np.float32)
    flow[:, 1, 2] = np.nan
    return flow


def test_what_is_encoded_is_decoded(tmp_path: Path) -> None:
    """Bit for bit, unknown motion too; by path and by content; nothing else is left behind."""
    flow, path = random_flow(), tmp_path / "a.flo"
    encode_file(flow, path)
    np.testing.assert_array_equal(decode(path), flow)
    np.testing.assert_array_equal(decode(path.read_bytes()), flow)
    assert [each.name for each in tmp_path.iterdir()] == ["a.flo"]


def test_the_file_is_middlebury_s(tmp_path: Path) -> None:
    """The number that begins it, width before height, right and down of a pixel side by side."""
    encode_file(random_flow(), tmp_path / "a.flo")
    content = (tmp_path / "a.flo").read_bytes()
    tag, width, height, first_right, first_down = struct.unpack("<fiiff", content[:20])
    assert (tag, width, height) == (202021.25, 7, 5)
    np.testing.assert_array_equal([first_right, first_down], random_flow()[:, 0, 0])
    unknown = struct.unpack("<ff", content[12 + 8 * (1 * 7 + 2) :][:8])
    assert min(unknown) > 1e9


@pytest.mark.parametrize("value", [1666666752.0, -2e3, np.nan, np.inf])
def test_absurd_motion_is_unknown_motion(value: float) -> None:
    content = struct.pack("<fiiffff", 202021.25, 2, 1, value, 0.5, 1.5, -2.5)
    np.testing.assert_array_equal(decode(content), [[[np.nan, 1.5]], [[np.nan, -2.5]]])


def test_kitti_s_pictures_are_read() -> None:
    """Exactly, all 16 bits of them; unknown where the third channel is 0."""
    known = np.random.default_rng(0).random((6, 9)) > 0.3
    numbers = np.random.default_rng(1).integers(0, 2**16, (6, 9, 2))
    flow = decode(png(np.dstack([numbers, known])))
    assert flow.dtype == np.float32
    np.testing.assert_array_equal(flow, np.where(known, (numbers.transpose(2, 0, 1) - 32768) / 64, np.nan))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"RIFF and more", r"neither a Middlebury .flo nor a KITTI .png"),
        (struct.pack("<f", 202021.25) + b"\1\2", "ends before it says its size"),
        (struct.pack("<fii", 202021.25, 0, 4), "flow of 0 × 4 pixels"),
        (struct.pack("<fii", 202021.25, -3, -4), "flow of -3 × -4 pixels"),
        (struct.pack("<fii", 202021.25, 10**6, 10**6), "1,000,000 × 1,000,000 pixels"),
        (struct.pack("<fii", 202021.25, 2, 2) + bytes(31), r"43 bytes, 2 × 2 pixels of flow take 44; the file is cut"),
        (struct.pack("<fii", 202021.25, 2, 2) + bytes(33), r"45 bytes"),
        (png(np.zeros((2, 2, 3)))[:20], "ends before it says its size"),
        (png(np.zeros((0, 2, 3))), "flow of 2 × 0 pixels"),
        (png(np.zeros((2, 2, 3)), depth=8), "a picture of 8 bits, not flow"),
        (png(np.zeros((40, 40, 3)))[:40], "the picture cannot be decoded"),
    ],
)
def test_bad_files_get_a_line(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        decode(content)
    assert "\n" not in str(caught.value)


def test_missing_files_and_arrays_that_are_no_flow(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        decode(tmp_path / "none.flo")
    for shape in ((3, 4, 5), (2, 4), (2, 0, 5)):
        with pytest.raises(InputError, match="2 × height × width"):
            encode_file(np.zeros(shape), tmp_path / "a.flo")
        with pytest.raises(InputError, match="2 × height × width"):
            colours(np.zeros(shape))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("right", "down", "colour"),
    [
        (1, 0, (255, 0, 0)),  # red
        (0, 1, (255, 230, 0)),  # 13.5 of the 15 steps from red to yellow
        (-1, 0, (0, 209, 255)),  # 2 of the 11 from cyan to blue
        (0, -1, (88, 0, 255)),  # 4.5 of the 13 from blue to magenta
        (0, 0, (255, 255, 255)),
        (0.5, 0, (255, 128, 128)),
        (2, 0, (191, 0, 0)),  # beyond the largest
        (np.nan, 0, (0, 0, 0)),
    ],
)
def test_the_wheel_at_known_directions(right: float, down: float, colour: tuple[int, ...]) -> None:
    picture = colours(np.array([[[right]], [[down]]], np.float32), largest=1.0)
    assert picture.dtype == np.uint8
    np.testing.assert_allclose(picture[0, 0], colour, atol=1)


def test_neighbouring_directions_have_neighbouring_colours() -> None:
    angle = np.linspace(-np.pi, np.pi, 721)[None]
    wheel = colours(np.stack([np.cos(angle), np.sin(angle)]))[0].astype(int)
    assert np.abs(np.diff(wheel, axis=0)).max() < 50  # where the wheel closes
    assert len(np.unique(wheel, axis=0)) > 400


def test_the_fastest_motion_has_full_colour_unless_given() -> None:
    """Doubling all of a flow changes nothing; a still one is white."""
    flow = random_flow()
    np.testing.assert_array_equal(colours(flow), colours(2 * flow))
    assert (colours(flow, largest=1000.0)[0, 0] > 200).all()
    assert (colours(np.zeros((2, 3, 4))) == 255).all()
