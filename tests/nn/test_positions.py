"""Positions against the authors' equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference
from sensorium.nn.byte_array import GridPositions
from sensorium.nn.positions import LearnedPositions, fourier_channels, fourier_grid, fourier_points, frequencies

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


@given(shape=shapes, bands=st.integers(1, 5))
def test_grid_codes_are_the_authors_features(shape: tuple[int, ...], bands: int) -> None:
    """Channels [positions, sines axis by axis, cosines axis by axis], rows in ij order, at float32's accuracy."""
    expected = reference.fourier(reference.grid(shape), bands=bands, resolution=shape)
    np.testing.assert_allclose(fourier_grid(shape, bands=bands).dense().numpy(), expected, atol=1e-7)


@given(shape=shapes, bands=st.integers(1, 5), resolution=st.floats(3, 50))
def test_points_on_the_grid_have_the_grids_codes(shape: tuple[int, ...], bands: int, resolution: float) -> None:
    """fourier_points at the grid's coordinates equals fourier_grid."""
    resolutions = (resolution,) * len(shape)
    points = torch.from_numpy(reference.grid(shape))[None]
    positions = fourier_points(points, bands=bands, resolution=resolutions).dense()[0]
    torch.testing.assert_close(
        positions, fourier_grid(shape, bands=bands, resolution=resolutions).dense(), atol=2e-5, rtol=0
    )


def test_imagenet_codes_are_accurate_to_float32() -> None:
    """224 × 224 with 64 bands: 258 channels, every one of them right to float32's rounding."""
    positions = fourier_grid((224, 224), bands=64)
    assert positions.channels == fourier_channels(2, 64) == 258
    expected = reference.fourier(reference.grid((224, 1)), bands=64, resolution=(224, 224))
    own = [0, *range(2, 66), *range(130, 194)]  # the first axis' position, sines and cosines
    np.testing.assert_allclose(positions.tables[0].numpy()[:, own], expected[:, own], atol=6e-8)
    others = np.setdiff1d(np.arange(258), own)
    assert not positions.tables[0].numpy()[:, others].any(), "an axis fills only its own channels"


def test_points_of_the_paper_are_accurate_at_the_highest_frequency() -> None:
    """At a resolution of 2240 an angle is some thousands; float32 still leaves three digits of its sine."""
    points = torch.rand(1, 200, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    positions = fourier_points(points, bands=64, resolution=(2240.0,) * 3).dense()
    expected = reference.fourier(points.double().numpy(), bands=64, resolution=(2240.0,) * 3)
    assert positions.shape == (1, 200, 387)
    np.testing.assert_allclose(positions.numpy(), expected, atol=6e-4)


@pytest.mark.parametrize(("axes", "bands", "channels"), [(2, 64, 258), (3, 64, 387), (1, 192, 385), (3, 32, 195)])
def test_channel_counts_of_the_papers(axes: int, bands: int, channels: int) -> None:
    assert fourier_channels(axes, bands) == channels


@given(bands=st.integers(2, 70), resolution=st.floats(2, 3000))
def test_frequencies_run_from_one_to_half_the_resolution(bands: int, resolution: float) -> None:
    """Linear, both ends included."""
    steps = frequencies(bands, resolution)
    assert steps.dtype == torch.float64
    assert steps[0] == 1
    assert float(steps[-1]) == pytest.approx(resolution / 2)
    torch.testing.assert_close(steps.diff(), (steps[-1] - steps[0]).expand(bands - 1) / (bands - 1))


def test_a_grid_reaches_both_ends() -> None:
    """Positions are -1 to 1, both included, and symmetric."""
    position = fourier_grid((5,), bands=1).tables[0][:, 0]
    torch.testing.assert_close(position, torch.tensor([-1, -0.5, 0, 0.5, 1.0]), atol=0, rtol=0)


def test_learned_codes_are_a_grid_of_one_axis() -> None:
    """The first rows' positions, the parameter itself, so that it is learned."""
    positions = LearnedPositions(7, 4)
    assert isinstance(positions(), GridPositions)
    assert positions().dense().equal(positions.table)
    assert positions(3).dense().equal(positions.table[:3])
    positions(3).dense().sum().backward()
    assert positions.table.grad is not None
    assert positions.table.grad.sum(1).tolist() == [4, 4, 4, 0, 0, 0, 0]
