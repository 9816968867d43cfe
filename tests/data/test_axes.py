"""Which axis of an array is which: laws of the measured smoothness and of what follows from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.recognition.axes import AXES, order_of, read_array, smoothness
from sensorium.errors import InputError


def walk(*shape: int, seed: int = 0) -> np.ndarray:
    """Series that change little from step to step, along the second axis."""
    return np.random.default_rng(seed).normal(size=shape).cumsum(1)


@given(st.integers(0, 99), st.floats(0.01, 100), st.floats(-100, 100))
@settings(max_examples=20, deadline=None)
def test_smoothness_does_not_depend_on_units(seed: int, scale: float, offset: float) -> None:
    series = walk(5, 40, 3, seed=seed)
    assert smoothness(series * scale + offset, 1) == pytest.approx(smoothness(series, 1), abs=1e-5)


def test_smoothness_of_neighbours_and_of_noise() -> None:
    noise = np.random.default_rng(0).normal(size=(20, 200, 3))
    assert smoothness(noise.cumsum(1), 1) > 0.9
    assert abs(smoothness(noise, 1)) < 0.1
    assert smoothness(np.ones((4, 9, 3)), 1) == 0.0
    assert smoothness(noise[:, :1], 1) == 0.0


def test_gaps_change_little() -> None:
    series = walk(20, 200, 3)
    gaps = np.where(np.random.default_rng(1).random(series.shape) < 0.05, np.nan, series)
    assert smoothness(gaps, 1) == pytest.approx(smoothness(series, 1), abs=0.05)


@pytest.mark.parametrize("steps", [20, 60, 500])
@pytest.mark.parametrize("channels", [1, 2, 3, 9])
def test_time_is_found_wherever_it_is(steps: int, channels: int) -> None:
    series = walk(30, steps, channels)
    there, turned = read_array("x", series), read_array("x", series.swapaxes(1, 2))
    assert there is not None
    assert turned is not None
    assert (there.kind, there.axes, there.order) == ("series", ("time", "channels"), (0, 1))
    assert (turned.kind, turned.axes, turned.order) == ("series", ("channels", "time"), (1, 0))


def test_points_have_no_order() -> None:
    """Points in any order are points; the same numbers sorted along a curve are a series."""
    points = np.random.default_rng(0).normal(size=(30, 64, 3))
    for array, axes in ((points, ("points", "xyz")), (points.swapaxes(1, 2), ("xyz", "points"))):
        reading = read_array("x", array)
        assert reading is not None
        assert (reading.kind, reading.axes) == ("points", axes)
    assert (reading := read_array("x", np.sort(points, axis=1))) is not None
    assert reading.kind == "series"


@pytest.mark.parametrize(
    ("key", "kind"),
    [("accelerometer", "series"), ("points_xyz", "points"), ("x", "points")],
)
def test_a_name_says_it_before_the_numbers_do(key: str, kind: str) -> None:
    reading = read_array(key, np.random.default_rng(0).normal(size=(30, 64, 3)))
    assert reading is not None
    assert reading.kind == kind


@pytest.mark.parametrize(
    ("shape", "kind", "axes"),
    [
        ((9, 16, 16, 3), "image", ("height", "width", "channels")),
        ((9, 3, 16, 16), "image", ("channels", "height", "width")),
        ((9, 7), "table", ("columns",)),
    ],
)
def test_other_shapes(shape: tuple[int, ...], kind: str, axes: tuple[str, ...]) -> None:
    reading = read_array("x", np.random.default_rng(0).random(shape))
    assert reading is not None
    assert (reading.kind, reading.axes) == (kind, axes)


@pytest.mark.parametrize(
    ("key", "shape", "kind", "axes"),
    [
        ("x", (9, 24, 16, 16, 3), "video", "time height width channels"),
        ("x", (9, 24, 1, 16, 16), "video", "time channels height width"),
        ("x", (9, 3, 24, 16, 20), "video", "channels time height width"),
        ("frames", (9, 24, 16, 16), "video", "time height width"),
        ("x", (9, 16, 16, 16, 1), "volume", "depth height width channels"),
        ("x", (9, 1, 16, 16, 16), "volume", "channels depth height width"),
        ("films", (9, 16, 16, 16, 1), "video", "time height width channels"),
        ("scans", (9, 12, 16, 20, 3), "volume", "depth height width channels"),
    ],
)
def test_films_and_volumes_of_several_values(key: str, shape: tuple[int, ...], kind: str, axes: str) -> None:
    reading = read_array(key, np.zeros(shape))
    assert reading is not None
    assert (reading.kind, " ".join(reading.axes)) == (kind, axes)
    turned = np.empty(shape[1:]).transpose(reading.order).shape
    assert turned[-1] in (1, 3) if len(axes.split()) == 4 else turned == shape[1:]


@pytest.mark.parametrize(
    ("key", "shape", "kind"),
    [
        ("frames", (9, 28, 28), "image"),
        ("scan", (9, 28, 28), "image"),
        ("frames", (9, 28, 28, 3), "image"),
        ("frames", (9, 3, 28, 28), "image"),
        ("images", (9, 24, 16, 16, 3), "video"),
        ("motion", (9, 24, 16, 16, 3), "video"),
        ("frames", (9, 5), "table"),
    ],
)
def test_a_name_that_does_not_fit_the_shape_says_nothing(key: str, shape: tuple[int, ...], kind: str) -> None:
    reading = read_array(key, np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    assert reading is not None
    assert reading.kind == kind


def test_bands_and_volumes() -> None:
    """Bands have no order, slices of a volume have one."""
    noise = np.random.default_rng(0).normal(size=(9, 12, 16, 16))
    smooth = noise.cumsum(2).cumsum(3)
    bands, volume = read_array("x", smooth), read_array("x", smooth.cumsum(1))
    assert bands is not None
    assert volume is not None
    assert (bands.kind, bands.axes) == ("image", ("channels", "height", "width"))
    assert (volume.kind, volume.axes) == ("volume", AXES["volume"][:3])


def test_what_no_signal_is() -> None:
    assert read_array("x", np.array(["a", "b"])) is None
    assert read_array("x", np.zeros((2, 5, 4, 5, 6))) is None
    assert read_array("x", np.zeros((2, 3, 4, 5, 6)), kind="series") is None
    with pytest.raises(InputError, match="the kind 'series' has the axes time,channels"):
        order_of("series", ("height", "width"))
