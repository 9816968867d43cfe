"""Flow of whole frames, tile by tile."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sensorium.tasks.tiles import STRIP, coarse_to_fine, flow_by_tiles, tile_corners

SIZES = [(64, 64), (65, 64), (108, 90), (384, 512), (97, 301)]


def pixel_numbers(frames: Tensor) -> Tensor:
    """A made-up answer that depends on its own pixels only: batch × 2 × tile."""
    return frames[:, :, 0] * 2 - frames[:, :, 1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", [0, 20, 1000])
def test_tiles_cover_the_frame_and_stay_within(size: tuple[int, int], overlap: int) -> None:
    """Neighbours share at least the overlap, half a tile at most."""
    corners = tile_corners(size, (64, 48), overlap=overlap)
    for axis, tile in enumerate((64, 48)):
        starts = sorted({corner[axis] for corner in corners})
        assert (starts[0], starts[-1]) == (0, size[axis] - tile)
        assert all(later - start <= tile - min(overlap, tile // 2) for start, later in pairwise(starts))
    assert len(corners) == len(set(corners)) == len({y for y, _ in corners}) * len({x for _, x in corners})


@pytest.mark.parametrize("size", [*SIZES, (20, 100), (10, 10)])
@pytest.mark.parametrize("chunk", [1, 5])
def test_an_answer_that_looks_at_its_pixel_only_is_that_of_the_whole(size: tuple[int, int], chunk: int) -> None:
    """However many tiles say it, and where frames are smaller than one."""
    frames = torch.rand(2, 3, *size)
    found = flow_by_tiles(pixel_numbers, frames, (64, 48), chunk=chunk)
    torch.testing.assert_close(found, pixel_numbers(frames[None])[0])


def test_what_is_far_from_an_edge_counts_most() -> None:
    """Of two tiles that disagree, the nearer centre wins; where one sees alone, it alone is heard."""

    def first_or_second(frames: Tensor) -> Tensor:
        return torch.arange(len(frames), dtype=torch.float32)[:, None, None, None].expand(-1, 2, 16, 16)

    row = flow_by_tiles(first_or_second, torch.rand(2, 3, 16, 24), (16, 16), overlap=8)[0, 8]
    torch.testing.assert_close(row[:8], torch.zeros(8))
    torch.testing.assert_close(row[16:], torch.ones(8))
    torch.testing.assert_close(row[8:16], torch.arange(1, 9) / 9)


def test_bytes_are_read_as_floats() -> None:
    """And no gradient is kept."""
    frames = torch.randint(256, (2, 3, 30, 30), dtype=torch.uint8)
    torch.testing.assert_close(flow_by_tiles(pixel_numbers, frames, (16, 16)), pixel_numbers(frames[None] / 255)[0])


def nearly_still(frames: Tensor) -> Tensor:
    """The motion to the right of pictures that grow brighter to the right, exact up to 2 pixels: batch × 2 × tile."""
    step = frames[:, 0, 0, :, 9:10] - frames[:, 0, 0, :, 8:9]
    right = ((frames[:, 0, 0] - frames[:, 1, 0]) / step).clamp(-2, 2)
    return torch.stack([right, torch.zeros_like(right)], 1)


@pytest.mark.parametrize(("levels", "found"), [(1, 2.0), (2, 6.0), (3, 9.0), (9, 9.0)])
def test_what_is_left_of_large_motion_is_found_in_larger_frames(levels: int, found: float) -> None:
    """9 pixels by one who sees 2: 2 · 2 + 2 = 6 with two sizes, all with three; no frame is less than a tile."""
    ramp = torch.arange(160.0).expand(3, 80, 160)
    frames = torch.stack([ramp, ramp - 9]) / 160
    flow = coarse_to_fine(nearly_still, frames, (16, 16), levels=levels)
    torch.testing.assert_close(flow[0, 30:50, 60:100], torch.full((20, 40), found), atol=0.05, rtol=0)
    assert flow.shape == (2, 80, 160)


@pytest.mark.parametrize("size", [(33, 47), (16, 100), (10, 12)])
def test_no_motion_stays_none_at_any_size(size: tuple[int, int]) -> None:
    """Nothing is moved by going through odd sizes, nor asked of frames that are less than a tile."""
    frames = torch.rand(1, 3, *size).expand(2, -1, -1, -1)
    flow = coarse_to_fine(lambda tiles: (tiles[:, 0] - tiles[:, 1])[:, :2], frames, (16, 16), levels=3)
    torch.testing.assert_close(flow, torch.zeros(2, *size), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("levels", "found"), [(1, 7.0), (2, 0.0)])
def test_what_is_wrong_at_a_single_pixel_does_not_last_through_several_sizes(levels: int, found: float) -> None:
    """One size is what the model says, as the paper has it."""

    def wrong_once(tiles: Tensor) -> Tensor:
        return torch.zeros(len(tiles), 2, 16, 16).index_put_(
            (torch.arange(len(tiles)), torch.tensor(0), torch.tensor(8), torch.tensor(8)), torch.tensor(7.0)
        )

    size = (16, 16) if levels == 1 else (32, 32)
    flow = coarse_to_fine(wrong_once, torch.rand(2, 3, *size), (16, 16), levels=levels)
    assert float(flow.abs().max()) == pytest.approx(found, abs=1e-5)


def test_the_median_is_that_of_each_pixel_s_surroundings() -> None:
    """In strips as in one, with edges continued; beside a loop over pixels."""
    size = 2 * STRIP + 3, 7
    flow = torch.rand(2, *size)
    found = coarse_to_fine(lambda tiles: flow[None], torch.rand(2, 3, *size), size, levels=2)
    for y in (0, 1, STRIP - 1, STRIP, 2 * STRIP + 2):
        for x in range(size[1]):
            rows = torch.arange(y - 2, y + 3).clamp(0, size[0] - 1)
            columns = torch.arange(x - 2, x + 3).clamp(0, size[1] - 1)
            torch.testing.assert_close(found[:, y, x], flow[:, rows][:, :, columns].flatten(1).median(1).values)
