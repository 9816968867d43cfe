"""Pairs of frames in both directions, and the phase of training that sees them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.modalities import PairConfig
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.models.recipe import RecipeConfig
from sensorium.nn import DecoderConfig
from sensorium.tasks import FlowConfig
from sensorium.tasks.directions import in_both_directions, inverse_flow
from sensorium.training.step import TrainingStep, part_generator
from small_models import ONE_LAYER


def shifted(right: float, down: float, size: tuple[int, int] = (5, 7)) -> Tensor:
    """Everything moves alike: 1 × 2 × height × width."""
    return torch.tensor([float(right), float(down)])[None, :, None, None].expand(1, 2, *size).clone()


@pytest.mark.parametrize(("right", "down"), [(0, 0), (2, 0), (-1, 3), (9, 0)])
def test_the_inverse_of_a_shift_is_the_shift_back(right: int, down: int) -> None:
    """Where something arrived; unknown where nothing did, and everywhere if all left the frame."""
    found = inverse_flow(shifted(right, down))
    arrived = torch.zeros(5, 7, dtype=torch.bool)
    arrived[max(0, down) : 5 + min(0, down), max(0, right) : max(0, 7 + min(0, right))] = True
    assert (~found.isnan().any(1)[0]).equal(arrived)
    torch.testing.assert_close(found[0][:, arrived], -shifted(right, down)[0][:, arrived])


def test_motions_that_end_at_one_pixel_are_averaged() -> None:
    """A pixel that stays and one that comes from its left; unknown motion ends nowhere; examples do not mix."""
    flow = torch.full((2, 2, 3, 3), torch.nan)
    flow[0, :, 1, 1] = torch.tensor([0.0, 0.4])
    flow[0, :, 1, 0] = torch.tensor([1.0, 0.0])
    found = inverse_flow(flow)
    torch.testing.assert_close(found[0, :, 1, 1], torch.tensor([-0.5, -0.2]))
    assert int((~found.isnan().any(1)).sum()) == 1


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_batch_stays_as_large(count: int) -> None:
    frames, flow = torch.rand(count, 2, 3, 5, 7), shifted(1, 0).repeat(count, 1, 1, 1)
    both, motion = in_both_directions(frames, flow)
    forward = (count + 1) // 2
    assert both[:forward].equal(frames[:forward])
    assert both[forward:].equal(frames[: count // 2].flip(1))
    assert motion[:forward].equal(flow[:forward])
    assert motion[forward:, 0, :, 1:].equal(-flow[: count // 2, 0, :, 1:])


def test_the_first_phase_is_not_augmented() -> None:
    """It sees the middle of the frames, in both directions, whatever the generator; afterwards frames are mirrored."""
    torch.manual_seed(0)
    pair = PairConfig(size=(6, 9), channels=8, bands=2, flip=1.0)
    model = Perceiver(PerceiverConfig(inputs=pair, encoder=ONE_LAYER, decoder=DecoderConfig(), task=FlowConfig()))
    step = TrainingStep(model, RecipeConfig(precision="float32"))
    batch = {"pair": torch.rand(4, 2, 3, 6, 9), "pair.flow": torch.randn(4, 2, 6, 9)}
    first, same = (step.prepare(batch, part_generator(seed, 0, 0), strength=0.0) for seed in (0, 1))
    assert first.inputs["pair"].equal(torch.cat([batch["pair"][:2], batch["pair"][:2].flip(1)]))
    assert first.inputs["pair"].equal(same.inputs["pair"])
    later = step.prepare(batch, part_generator(0, 0, 0))
    torch.testing.assert_close(later.inputs["pair"], batch["pair"].flip(-1, -2))


def test_the_first_frame_shows_a_pixel_where_the_flow_back_leads() -> None:
    """Of motion that is another one at every pixel."""
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(80.0), indexing="ij")
    flow = torch.stack([3 + 2 * torch.sin(y / 15), -2 + 2 * torch.cos(x / 18)])[None]

    def colour(x: Tensor, y: Tensor) -> Tensor:
        return torch.sin(x / 6) * torch.sin(y / 5)

    first, second = colour(x + flow[0, 0], y + flow[0, 1]), colour(x, y)
    back = inverse_flow(flow)[0]
    points = torch.stack([x, y]) + back
    grid = 2 * points.movedim(0, -1) / torch.tensor([79.0, 59.0]) - 1
    found = F.grid_sample(first[None, None], grid[None].nan_to_num(), align_corners=True)[0, 0]
    known = ~back.isnan().any(0) & (grid.abs() <= 1).all(-1)
    assert known.float().mean() > 0.7
    assert float((found - second)[known].abs().max()) < 0.1
    assert float((first - second)[known].abs().mean()) > 0.2
