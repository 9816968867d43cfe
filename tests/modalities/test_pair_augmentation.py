"""Pairs that are turned, enlarged, stretched and moved: the flow still leads to the same things."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.modalities.pair import Pair, PairConfig
from sensorium.modalities.pair_augmentation import PairAugmentationConfig, draw_affines

SIZE = (48, 60)
STILL = {"rotation": 0.0, "zoom": (0.0, 0.0), "stretch": 0.0, "flips": (0.0, 0.0), "difference": 0.0}
DARK = {"light": 0.0, "noise": 0.0}
MOTIONS = {
    "rotation": {"rotation": 1.5},
    "zoom": {"zoom": (-0.5, 0.5)},
    "stretch": {"stretch": 0.3},
    "up and down": {"flips": (1.0, 0.0)},
    "left and right": {"flips": (0.0, 1.0)},
    "difference": {"difference": 0.08},
    "crop": {},
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pair_of(**changes: object) -> Pair:
    """Pairs of whose frames there is far more than is seen."""
    config = PairAugmentationConfig(**(STILL | DARK | changes))  # type: ignore[arg-type]
    return Pair(PairConfig(size=SIZE, bands=1, augmentation=config))


def colours(x: Tensor, y: Tensor) -> Tensor:
    """Smooth colours, different everywhere: 3 × the shape of the points."""
    waves = [torch.sin(x / 9) * torch.sin(y / 7), torch.sin(x / 5 + y / 11), torch.cos(y / 6 - x / 13)]
    return torch.stack(waves) / 2 + 0.5


def waving(pair: Pair, count: int = 6) -> dict[str, Tensor]:
    """Pairs of which each pixel moves otherwise, by some pixels."""
    y, x = torch.meshgrid(*(torch.arange(float(side)) for side in pair.stored), indexing="ij")
    flow = torch.stack([3 + 2 * torch.sin(y / 15), -2 + 2 * torch.cos(x / 18)])
    frames = torch.stack([colours(x + flow[0], y + flow[1]), colours(x, y)])
    return {"pair": frames.expand(count, -1, -1, -1, -1), "pair.flow": flow.expand(count, -1, -1, -1)}


def warped(second: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """What the second frames (batch × 3 × height × width) show where the flow leads, and where that is inside."""
    height, width = second.shape[-2:]
    points = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")) + flow
    grid = 2 * points.movedim(1, -1) / torch.tensor([width - 1, height - 1]) - 1
    return F.grid_sample(second, grid, align_corners=True), (grid.abs() <= 1).all(-1)


@pytest.mark.parametrize("motion", [*MOTIONS, "all"])
def test_the_second_frame_shows_a_pixel_where_its_flow_leads(motion: str) -> None:
    """Whatever moves, and all of it together."""
    pair = pair_of(**(MOTIONS[motion] if motion != "all" else {**MOTIONS["rotation"], **MOTIONS["difference"]}))
    batch = waving(pair)
    view = pair.augment(batch, seeded(4))
    assert view["pair"].shape == (6, 2, 3, *SIZE)
    found, inside = warped(view["pair"][:, 1], view["pair.flow"])
    assert inside.float().mean() > 0.6
    error = (found - view["pair"][:, 0]).abs().amax(1)
    assert float(error[inside].max()) < 0.03
    assert float((view["pair"][:, 1] - view["pair"][:, 0]).abs().amax(1)[inside].mean()) > 0.15


def test_nothing_that_varies_is_the_middle_of_the_frames() -> None:
    """Where there is no room to crop, and for an augmentation that has no strength yet."""
    for pair, strength in ((pair_of(), 1.0), (pair_of(rotation=1.0, zoom=(-1, 1), stretch=0.5, difference=0.5), 0.0)):
        batch = waving(pair) | {"pair.room": torch.tensor([SIZE]).expand(6, 2)}
        view, middle = pair.augment_at(strength, batch, seeded()), pair.view(batch)
        torch.testing.assert_close(view["pair"], middle["pair"], rtol=0, atol=1e-4)
        torch.testing.assert_close(view["pair.flow"], middle["pair.flow"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("room", [SIZE, (50, 100), (120, 61)])
def test_nothing_outside_of_the_frames_is_seen(room: tuple[int, int]) -> None:
    """However little room there is to turn them: they are enlarged."""
    pair = pair_of(rotation=1.5, zoom=(-1.0, 0.0), stretch=0.4, difference=0.2)
    frames = torch.zeros(20, 2, 3, *pair.stored)
    top, left = ((full - side) // 2 for full, side in zip(pair.stored, room, strict=True))
    frames[..., top : top + room[0], left : left + room[1]] = 1
    view = pair.augment({"pair": frames, "pair.room": torch.tensor([room]).expand(20, 2)}, seeded())
    assert float(view["pair"].min()) > 0.999


def test_unknown_motion_stays_unknown_and_changes_no_other() -> None:
    pair = pair_of(rotation=1.0, difference=0.05)
    batch = waving(pair)
    holes = batch["pair.flow"].clone()
    holes[:, :, 40:70, 50:90] = torch.nan
    whole = pair.augment(batch, seeded())["pair.flow"]
    partly = pair.augment(batch | {"pair.flow": holes}, seeded())["pair.flow"]
    unknown = partly.isnan()
    assert not whole.isnan().any()
    assert 0.02 < unknown.float().mean() < 0.9
    assert unknown[:, 0].equal(unknown[:, 1])
    torch.testing.assert_close(partly[~unknown], whole[~unknown], rtol=0, atol=1e-3)


def test_what_varies_grows_with_its_strength() -> None:
    """Angles, zoom and stretch are half as large at half of it; frames without a difference do not move."""
    config = PairAugmentationConfig(**(STILL | {"rotation": 0.8, "zoom": (-0.4, 0.4), "difference": 0.1}))
    room = torch.tensor([[1000.0, 1000.0]]).expand(50, 2)
    half, full = (
        draw_affines(room, (1000, 1000), SIZE, config, strength=strength, generator=seeded()) for strength in (0.5, 1.0)
    )
    for weaker, stronger in zip(half, full, strict=True):
        angles, zooms = zip(
            *((torch.atan2(at[:, 1, 0], at[:, 0, 0]), at.det().log()) for at in (weaker.matrix, stronger.matrix)),
            strict=True,
        )
        torch.testing.assert_close(2 * angles[0], angles[1])
        torch.testing.assert_close(2 * zooms[0], zooms[1], rtol=0, atol=1e-5)
        assert float(angles[1].abs().max()) == pytest.approx(0.8, abs=0.15)
    still = pair_of(rotation=0.8)
    batch = waving(still) | {"pair.flow": torch.zeros(6, 2, *still.stored)}
    assert float(still.augment(batch, seeded())["pair.flow"].abs().max()) < 1e-3


def test_light_and_noise_leave_the_flow_alone() -> None:
    """Only the second frame has other light; both have noise of their own, from none at all to the largest."""
    batch = waving(pair_of(), count=40)
    plain, lit, noisy = (pair_of(**part).augment(batch, seeded()) for part in ({}, {"light": 0.1}, {"noise": 0.06}))
    for view in (lit, noisy):
        assert view["pair.flow"].equal(plain["pair.flow"])
        assert 0 <= view["pair"].min() <= view["pair"].max() <= 1
    assert lit["pair"][:, 0].equal(plain["pair"][:, 0])
    assert (lit["pair"][:, 1] - plain["pair"][:, 1]).abs().mean() > 0.01
    middling = (plain["pair"] - 0.5).abs() < 0.3  # far from where values are cut off
    noise = (noisy["pair"] - plain["pair"]).where(middling, 0.0)
    deviations = noise.square().sum((1, 2, 3, 4)).div(middling.sum((1, 2, 3, 4))).sqrt()
    assert 0 < deviations.min() < 0.01
    assert 0.05 < deviations.max() < 0.062
    assert noise[:, 0].ne(noise[:, 1]).any()
