"""The stem of points: what is around each centre, whatever else is in the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.config import from_dict, to_yaml
from sensorium.errors import InputError
from sensorium.nn.stems.neighbours import NeighbourStem, NeighbourStemConfig, find_neighbours

CONFIG = NeighbourStemConfig(stride=2, neighbours=(4, 3), channels=(5, 7))


def _cloud(count: int = 3, size: int = 13, features: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(count, size, 3, generator=generator, dtype=torch.float64)
    values = torch.randn(count, size, features, generator=generator, dtype=torch.float64)
    present = torch.arange(size) < torch.tensor([size, size - 4, 3])[:count, None]
    return points, values, present


def _stem(features: int = 2, config: NeighbourStemConfig = CONFIG) -> NeighbourStem:
    torch.manual_seed(0)
    stem = NeighbourStem(config, features=features)
    for parameter in stem.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return stem.double()


def _reference(stem: NeighbourStem, points: Tensor, values: Tensor) -> Tensor:
    """One cloud without padding, point by point: points × 3, points × features."""
    stride = stem.config.stride
    levels: Any = stem.levels
    for level, count in zip(levels, stem.config.neighbours, strict=True):
        around = []
        for centre in points[::stride]:
            ranked = sorted(range(len(points)), key=lambda other: float((points[other] - centre).square().sum()))
            around.append(ranked[:count])
        far = [(points[other] - points[at * stride]).norm() for at, each in enumerate(around) for other in each]
        unit = torch.stack([distance for distance in far if distance > 0]).mean()
        rows = []
        for at, each in enumerate(around):
            edges = []
            for other in each:
                x, y, z = offset = (points[other] - points[at * stride]) / unit
                geometry = [x, y, z, offset.norm(), x * x, y * y, z * z, x * z, y * x, z * y]
                edge = level.geometry(torch.stack(geometry))
                if level.own is not None:
                    edge = edge + level.own.weight @ values[at * stride] + level.other.weight @ values[other]
                edges.append(edge.clamp(min=0))
            rows.append(level.norm(level.hidden(torch.stack(edges).amax(0))))
        points, values, stride = points[::stride], torch.stack(rows), 1
    return values


@pytest.mark.parametrize("features", [0, 2])
def test_the_stem_is_its_reference(features: int) -> None:
    """Geometry is float32 in the stem, so that it is the same in every precision."""
    stem = _stem(features)
    points, values, present = _cloud(2, features=features)
    rows = stem(points, values, present)
    assert rows.shape == (2, 7, 7)
    for example, (size, kept) in enumerate(((13, 7), (9, 5))):
        expected = _reference(stem, points[example, :size], values[example, :size])
        assert torch.allclose(rows[example, :kept], expected, atol=1e-4)


def test_gradients() -> None:
    stem = _stem()
    points, values, present = _cloud()
    values.requires_grad_()
    names, parameters = zip(*stem.named_parameters(), strict=True)

    def called(values: Tensor, *parameters: Tensor) -> Tensor:
        weights = dict(zip(names, parameters, strict=True))
        result: Tensor = torch.func.functional_call(stem, weights, (points, values, present))
        return result[:, :2]

    assert torch.autograd.gradcheck(called, (values, *parameters))
    stem(points, values, present)[present[:, ::2]].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in stem.parameters())
    assert values.grad is not None
    assert not values.grad[~present].any()


def test_absent_points_are_nobodys_neighbours() -> None:
    stem = _stem()
    points, values, _ = _cloud()
    present = torch.rand(3, 13, generator=torch.Generator().manual_seed(1)) < 0.7
    absent = ~present[..., None]
    rows = stem(points, values, present)
    other = stem(points.masked_fill(absent, 0.01), values.masked_fill(absent, 9.0), present)
    assert torch.equal(rows[present[:, ::2]], other[present[:, ::2]])
    assert rows.isfinite().all()


def test_an_example_is_alone() -> None:
    stem = _stem()
    points, values, present = _cloud()
    together = stem(points, values, present)
    for example, size in enumerate((13, 9, 3)):
        part = (slice(example, example + 1), slice(size))
        alone = stem(points[part], values[part])
        assert torch.allclose(alone, together[example : example + 1, : alone.shape[1]], atol=1e-6)


def test_place_scale_and_order_do_not_matter() -> None:
    stem = _stem()
    points, values, present = _cloud(1)
    rows = stem(points, values, present)
    assert torch.allclose(stem(points * 40 + 5, values, present), rows, atol=1e-3)
    order = torch.arange(13)
    order[1::2] = order[1::2].flip(0)  # centres stay where they are
    assert torch.allclose(stem(points[:, order], values[:, order], present), rows, atol=1e-6)
    assert not torch.allclose(stem(points * torch.tensor([1.0, 1.0, 2.0]), values, present), rows, atol=1e-2)


def test_clouds_that_are_hardly_one() -> None:
    """One point, and points that are all in one place, are clouds too."""
    stem = _stem(0).float()
    for points in (torch.ones(2, 1, 3), torch.ones(2, 6, 3)):
        rows = stem(points, points[..., 3:])
        assert rows.isfinite().all()
        assert torch.allclose(rows, rows[:1, :1].expand_as(rows))


@pytest.mark.parametrize("count", [1, 3, 50])
def test_neighbours_are_the_nearest_present_points(count: int) -> None:
    points, _, present = _cloud()
    found = find_neighbours(points, present, points, present, count)
    for example, size in enumerate((13, 9, 3)):
        far = (points[example, :size, None] - points[example, None, :size]).norm(dim=-1)
        expected = far.argsort(dim=1)[:, :count]
        assert torch.equal(found.index[example, :size, : expected.shape[1]], expected)
        repeated = found.index[example, :size, expected.shape[1] :]
        assert torch.equal(repeated, expected[:, :1].expand_as(repeated))
        distances = found.geometry[example, :size, 1 : expected.shape[1], 3]
        assert not distances.numel() or torch.isclose(distances.mean(), torch.ones(()), atol=1e-5)


def test_configuration() -> None:
    import yaml

    assert from_dict(NeighbourStemConfig, yaml.safe_load(to_yaml(CONFIG))) == CONFIG
    wrong: tuple[dict[str, Any], ...] = (
        {"neighbours": [], "channels": []},
        {"neighbours": [3]},
        {"stride": 0},
        {"channels": [0, 1]},
    )
    for changes in wrong:
        with pytest.raises(InputError, match=r"^stem: give "):
            NeighbourStem(from_dict(NeighbourStemConfig, changes), features=0)
