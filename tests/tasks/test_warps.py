"""Pairs of frames whose motion is known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.tasks.warps import MadePairs, WarpConfig, make_pairs

PLAIN = WarpConfig(motion=12.0, layers=0, light=0.0, noise=0.0)
SCENE = WarpConfig(motion=12.0, layers=3, light=0.0, noise=0.0)


def smooth(count: int, size: tuple[int, int] = (48, 56)) -> Tensor:
    """Pictures without detail, of which interpolation loses nothing worth a word."""
    return F.interpolate(torch.rand(count, 3, 5, 5), size, mode="bicubic", align_corners=True).clamp(0, 1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ends(made: MadePairs) -> Tensor:
    """Where each pixel goes: batch × height × width × 2, columns and rows from 0."""
    height, width = made.flow.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return made.flow.movedim(1, -1) + torch.stack([columns, rows], -1)


def brought_back(made: MadePairs) -> Tensor:
    """The second frame read where each pixel of the first goes: batch × 3 × height × width."""
    height, width = made.flow.shape[-2:]
    grid = (2 * ends(made) + 1) / torch.tensor([width, height]) - 1
    return F.grid_sample(made.frames[:, 1], grid, align_corners=False, padding_mode="border")


def test_the_flow_is_exact() -> None:
    """Every visible pixel is found again where the flow says; nothing else is near it in a picture that moves."""
    made = make_pairs(smooth(8), (40, 48), PLAIN, generator=seeded())
    error = (brought_back(made) - made.frames[:, 0]).abs().amax(1)
    assert error[made.visible].max() < 0.02
    assert (made.frames[:, 1] - made.frames[:, 0]).abs().amax(1)[made.visible].max() > 0.2
    assert made.visible.float().mean() > 0.7


def test_the_flow_of_shapes_is_exact() -> None:
    """All but the pixels on outlines, which show two things at once."""
    made = make_pairs(smooth(8), (40, 48), SCENE, generator=seeded())
    error = (brought_back(made) - made.frames[:, 0]).abs().amax(1)[made.visible]
    assert (error < 0.01).float().mean() > 0.85
    hidden = (brought_back(made) - made.frames[:, 0]).abs().amax(1)[~made.visible]
    assert (hidden < 0.01).float().mean() < 0.3


def test_what_is_not_visible_is_covered_or_outside() -> None:
    """Of all that goes to one place only what lies on top is visible, and where something is covered something lies."""
    size = torch.tensor([47.0, 39.0])
    made = make_pairs(smooth(12), (40, 48), SCENE, generator=seeded())
    covered_count = 0
    for flow, points, visible in zip(
        made.flow.flatten(2), ends(made).flatten(1, 2), made.visible.flatten(1), strict=True
    ):
        outside = ((points < -1e-3) | (points > size + 1e-3)).any(1)
        assert not visible[outside].any()
        apart = torch.cdist(flow.T, flow.T) > 3  # of another thing
        near = torch.cdist(points, points)
        both = visible[:, None] & visible & apart & (near < 0.4)
        assert both.sum() <= 0.01 * visible.sum()
        well_inside = (points > 12).all(1) & (points < size - 12).all(1)  # what covers it was in the first frame too
        covered = ~visible & well_inside
        covered_count += int(covered.sum())
        assert (near[covered][:, visible].amin(1) < 2).all()
    assert covered_count > 50


def test_without_motion_both_frames_are_one() -> None:
    made = make_pairs(smooth(3), (24, 24), WarpConfig(motion=0.0, light=0.0, noise=0.0), generator=seeded())
    torch.testing.assert_close(made.flow, torch.zeros(3, 2, 24, 24), atol=1e-5, rtol=0)
    torch.testing.assert_close(made.frames[:, 1], made.frames[:, 0], atol=1e-4, rtol=0)
    assert made.visible.float().mean() > 0.99


def test_motion_is_what_it_says_and_varies() -> None:
    """Twice the motion, twice the flow; some examples hardly move, and none by much more than it says."""
    pictures = smooth(64)
    slow, fast = (
        make_pairs(pictures, (32, 32), WarpConfig(motion=motion), generator=seeded()).flow for motion in (4.0, 8.0)
    )
    lengths = [flow.norm(dim=1).mean((1, 2)) for flow in (slow, fast)]
    assert float(lengths[1].mean() / lengths[0].mean()) == pytest.approx(2, abs=0.1)
    assert lengths[1].amin() < 0.3 < 2.5 < lengths[1].amax()
    assert fast.norm(dim=1).max() < 2 * 8
    assert fast.mean((0, 2, 3)).abs().max() < 0.5  # no direction is preferred


def test_a_picture_s_pair_depends_on_nothing_but_the_picture() -> None:
    """Without a generator: alone or among others; and other pictures move otherwise."""
    pictures = smooth(3)
    together = make_pairs(pictures, (24, 32), WarpConfig())
    for index in range(3):
        alone = make_pairs(pictures[index : index + 1], (24, 32), WarpConfig())
        torch.testing.assert_close(alone.frames[0], together.frames[index], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.flow[0], together.flow[index], atol=1e-4, rtol=0)
    assert not together.flow[0].allclose(together.flow[1], atol=0.1)


def test_the_same_seed_makes_the_same_pair() -> None:
    pictures = smooth(2)
    first, again, other = (make_pairs(pictures, (24, 24), WarpConfig(), generator=seeded(seed)) for seed in (1, 1, 2))
    assert first.frames.equal(again.frames)
    assert first.flow.equal(again.flow)
    assert not first.flow.allclose(other.flow, atol=0.1)


def test_light_and_noise_differ_and_stay_within_range() -> None:
    still = WarpConfig(motion=0.0, light=0.2, noise=0.1)
    frames = make_pairs(smooth(16), (24, 24), still, generator=seeded()).frames
    assert frames.min() >= 0
    assert frames.max() <= 1
    change = frames[:, 1] - frames[:, 0]
    assert change.mean((1, 2, 3)).abs().max() > 0.05
    assert 0.005 < change.std((2, 3)).mean() < 0.15


def test_frames_larger_than_the_picture_go_on_mirrored() -> None:
    made = make_pairs(torch.rand(2, 3, 8, 12), (40, 30), WarpConfig(), generator=seeded())
    assert made.frames.shape == (2, 2, 3, 40, 30)
    assert made.frames.std((2, 3, 4)).min() > 0.02
