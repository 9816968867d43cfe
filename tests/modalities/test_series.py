"""Series: files, gaps, times, windows, bad input."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.errors import InputError
from sensorium.modalities.sequences import resample
from sensorium.modalities.series import Series, SeriesConfig


def small(**changes: object) -> Series:
    config = {"channels": 2, "length": 10, "mean": (1.0, 2.0), "std": (2.0, 4.0), "bands": 3, **changes}
    return Series(SeriesConfig(**config))  # type: ignore[arg-type]


def test_values_are_normalised() -> None:
    segment = small().embed({"series": torch.tensor([[[3.0, 6.0], [1.0, -2.0]]])}).segments[0]
    assert segment.values.tolist() == [[[1.0, 1.0], [0.0, -1.0]]]


def test_gaps() -> None:
    values = torch.tensor([[[3.0, torch.nan], [torch.nan, torch.nan], [1.0, 2.0]]])
    segment = small().embed({"series": values}).segments[0]
    assert segment.values.tolist() == [[[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]]
    assert segment.mask is not None
    assert segment.mask.tolist() == [[True, False, True]]


def test_patches_of_a_length_they_do_not_divide() -> None:
    series = small(patch=4)
    assert (series.num_rows, series.channels) == (3, 8 + 7)
    signal = torch.randn(2, 9, 2)
    rows = series.patchify(signal)
    assert rows.shape == (2, 3, 8)
    assert torch.equal(series.unpatchify(rows, {"series": signal}), signal)
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    segment = series.embed({"series": signal, "series.mask": mask}).segments[0]
    assert segment.mask is not None
    assert segment.mask.tolist() == [[True] * 3, [True, False, False]]


def test_regular_times_give_the_grid_codes() -> None:
    values = torch.randn(2, 10, 2)
    times = torch.linspace(0, 5, 10).expand(2, 10)
    timed = small(span=5.0).embed({"series": values, "series.times": times})
    assert torch.allclose(timed.dense(), small().embed({"series": values}).dense(), atol=1e-5)


def test_times_of_patches_are_those_of_present_steps() -> None:
    series = small(span=9.0, patch=2)
    batch = {
        "series": torch.zeros(1, 3, 2),
        "series.times": torch.tensor([[0.0, 4.0, 9.0]]),
        "series.mask": torch.ones(1, 3, dtype=torch.bool),
    }
    positions = series.embed(batch).dense()[0, :, 4]
    assert torch.allclose(positions, torch.tensor([2 / 9 * 2 - 1, 1.0]))


def test_times_from_files_to_batches() -> None:
    moments = [0.0, 0.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]
    raws = [(np.random.randn(n, 2), 1.7e9 + np.array(moments[:n])) for n in (5, 9)]
    config = Series.measure(raws)
    assert config.span == 5.0
    assert Series(config).load(raws[1])["series.times"].tolist() == moments
    with pytest.raises(InputError, match="no times"):
        Series(config).load(raws[0][0])
    with pytest.raises(InputError, match="give all of them times, or none"):
        Series.measure([raws[0], raws[1][0]])


def test_measure() -> None:
    raws = [np.stack([np.full(n, 5.0), np.arange(n)], 1) for n in (3, 2000)]
    raws[0][0, 1] = np.nan
    config = Series.measure(raws)
    assert (config.channels, config.length, config.patch) == (2, 2000, 4)
    assert config.mean[0] == 5.0
    assert config.std[0] == 1.0, "a constant channel is not divided by zero"


@pytest.mark.parametrize("header", ["", "a,b\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_text_files(tmp_path: Path, header: str, delimiter: str) -> None:
    path = tmp_path / "one.csv"
    path.write_text((header + "1,2\n3,\n5,6\n").replace(",", delimiter))
    values = small().load(path)["series"]
    assert np.array_equal(values, np.array([[1, 2], [3, np.nan], [5, 6]], np.float32), equal_nan=True)


def test_npy_files() -> None:
    file = io.BytesIO()
    np.save(file, np.arange(6.0).reshape(3, 2))
    assert small().load(file.getvalue())["series"].tolist() == [[0, 1], [2, 3], [4, 5]]


def test_augment_stays_inside_the_series() -> None:
    series = small(length=50, jitter=0.0, gain=0.0, blank=0.0, warp=0.3)
    values = torch.full((16, 60, 2), 1000.0)
    values[:, :30] = torch.arange(30.0)[:, None]
    batch = {"series": values, "series.mask": torch.arange(60).expand(16, 60) < 30}
    view = series.augment(batch, torch.Generator().manual_seed(0))
    present = view["series"][view["series.mask"]]
    assert present.max() <= 29
    assert (view["series"][:, :30].diff(dim=1) >= 0).all()


def test_resample_at_the_steps_is_the_signal() -> None:
    signal = torch.randn(3, 7, 2, 2)
    assert torch.equal(resample(signal, torch.arange(7.0).expand(3, 7)), signal)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (np.zeros((5, 3)), "3 channels"),
        (np.zeros((2, 5)), "transposed"),
        (np.zeros((0, 2)), "no steps"),
        (np.array([[1.0, np.inf]]), "infinite"),
        (np.full((3, 2), np.nan), "nothing but NaN"),
        (np.zeros((2, 2, 2)), "is not a series"),
        (b"", "empty"),
        (b"1,2\n3\n", "not a table of numbers"),
        (b"\x93NUMPYgarbage", "cannot be read"),
        (Path("/nowhere/at/all.csv"), "cannot be read"),
        ((np.zeros((3, 2)), [0.0, 2.0, 1.0]), "never fall"),
        (["a", "b"], "something else"),
    ],
)
def test_bad_input(raw: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        small().load(raw)  # type: ignore[arg-type]
