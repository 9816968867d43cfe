"""Point clouds: views, augmentations and files, beyond the contract."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from sensorium.config import from_dict, to_yaml
from sensorium.errors import InputError
from sensorium.modalities.points import Points, PointsConfig
from sensorium.nn.stems.neighbours import NeighbourStemConfig


def clouds(count: int = 4, points: int = 32, columns: int = 3) -> torch.Tensor:
    return torch.rand(count, points, columns, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_papers_rows() -> None:
    """387 channels, positions and their Fourier features only; measurements of a point come before them."""
    assert Points(PointsConfig()).channels == 387
    points = Points(PointsConfig(points=32, features=1, mean=(2.0,), std=(4.0,), bands=2))
    cloud = clouds(columns=4)
    row = points.embed({"points": cloud}).dense()[0, 5]
    assert torch.allclose(row[:4], torch.cat([(cloud[0, 5, 3:] - 2) / 4, cloud[0, 5, :3]]))


def test_reading_centres_and_scales() -> None:
    """Mean zero, the largest coordinate 1, whatever the unit and the place."""
    cloud = Points(PointsConfig()).load(np.random.default_rng(0).normal(500, 30, (100, 3)))["points"]
    assert np.abs(cloud.mean(0)).max() < 1e-5
    assert np.abs(cloud).max() == pytest.approx(1)


def test_fewer_points_are_points_of_the_cloud() -> None:
    """Evaluation and training both take so many different points as configured, in full where there are fewer."""
    points = Points(PointsConfig(points=8))
    cloud = clouds()
    for view in (points.view({"points": cloud}), points.augment({"points": cloud}, torch.Generator())):
        assert view["points"].shape == (4, 8, 3)
    taken = points.view({"points": cloud})["points"]
    assert all(len({tuple(point) for point in example.tolist()}) == 8 for example in taken)
    assert all((taken[0, index] == cloud[0]).all(-1).any() for index in range(8))


def test_short_clouds_among_long_ones_are_masked() -> None:
    """A cloud of five points keeps its five, and nothing of its padding is read."""
    points = Points(PointsConfig(points=8))
    cloud = clouds(2)
    mask = torch.ones(2, 32, dtype=torch.bool)
    mask[1, 5:] = False
    cloud[1, 5:] = 99.0
    batch = {"points": cloud, "points.mask": mask}
    for view in (points.view(batch), points.augment(batch, torch.Generator())):
        assert view["points.mask"].sum(1).tolist() == [8, 5]
        assert view["points"][view["points.mask"]].abs().max() <= 1


def test_turning_is_about_the_vertical() -> None:
    """Heights and distances from the axis stay."""
    points = Points(PointsConfig(points=32, rotation=180.0))
    cloud = clouds()
    cloud[:, 0] = torch.tensor([0.0, 0.0, 1.0])  # so that the largest coordinate is 1 before and after
    cloud[..., :2] *= 0.5
    cloud[:, 16:] = -cloud[:, :16]  # and the mean is 0
    turned = points.augment({"points": cloud}, torch.Generator().manual_seed(1))["points"]
    assert not torch.allclose(turned.sort(1).values, cloud.sort(1).values)
    for measure in (lambda c: c[..., 2], lambda c: c[..., :2].norm(dim=-1)):
        assert torch.allclose(measure(turned).sort(1).values, measure(cloud).sort(1).values, atol=1e-5)


@pytest.mark.parametrize("change", [{"scale": 1.5}, {"point_scale": 0.1}, {"jitter": 0.05}, {"shift": 0.2}])
def test_every_variation_varies_each_example_by_itself(change: dict[str, float]) -> None:
    """Two copies of one cloud come out different; nothing leaves [-1, 1]."""
    points = Points(PointsConfig(points=32, **change))  # type: ignore[arg-type]
    cloud = clouds(1).expand(2, -1, -1)
    varied = points.augment({"points": cloud}, torch.Generator().manual_seed(0))["points"]
    assert not torch.allclose(varied[0].sort(0).values, varied[1].sort(0).values)
    assert varied.abs().max() <= 1 + 1e-6


@pytest.mark.parametrize("masked", [False, True])
def test_training_sees_centred_points_as_evaluation_does(masked: bool) -> None:
    """Whatever was varied, the mean of the points that are there is 0 and their largest coordinate 1; a cloud that is
    moved is moved from there."""
    config = PointsConfig(points=16, scale=1.5, point_scale=0.01, jitter=0.02, rotation=30.0)
    batch = {"points": clouds() + 0.3}
    if masked:
        batch["points.mask"] = torch.arange(32)[None] < torch.tensor([32, 20, 9, 3])[:, None]
        batch["points"] = batch["points"].masked_fill(~batch["points.mask"][..., None], 50.0)
    for shift in (0.0, 0.5):
        view = Points(replace(config, shift=shift)).augment(batch, torch.Generator().manual_seed(0))
        present = view.get("points.mask", torch.ones(4, 16, dtype=torch.bool))[..., None]
        mean = (view["points"] * present).sum(1) / present.sum(1)
        assert (mean.abs() < 1e-6).all() == (not shift)
        assert torch.allclose((view["points"] * present).abs().amax((1, 2)), torch.ones(4))


def test_files_of_points_and_meshes_are_read(tmp_path: Path) -> None:
    """Text, arrays and meshes; a mesh's surface is sampled, the same each time."""
    import trimesh

    values = np.random.default_rng(0).normal(size=(20, 3))
    np.savetxt(tmp_path / "scan.xyz", values)
    np.save(tmp_path / "scan.npy", values)
    trimesh.creation.box().export(tmp_path / "box.off")
    points = Points(PointsConfig())
    text, array = (points.load(tmp_path / name)["points"] for name in ("scan.xyz", "scan.npy"))
    assert np.allclose(text, array, atol=1e-6)
    first, second = (points.load(tmp_path / "box.off")["points"] for _ in range(2))
    assert len(first) > 1000
    assert np.array_equal(first, second)
    assert (np.abs(first).max(1) > 0.95).all()  # on the box, not in it


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (np.zeros((0, 3)), "no points"),
        (np.zeros((4, 2)), "not points"),
        (np.full((4, 3), np.inf), "NaN or infinite"),
        (np.zeros((4, 5)), "5 columns"),
        (b"bytes", "array"),
        (Path("nowhere.ply"), "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_said(raw: object, word: str) -> None:
    """Each with its cure."""
    with pytest.raises(InputError, match=word):
        Points(PointsConfig()).load(raw)  # type: ignore[arg-type]


def _stemmed(stride: int, **changes: Any) -> Points:
    torch.manual_seed(0)
    stem = NeighbourStemConfig(stride=stride, neighbours=(4, 3), channels=(6, 10))
    sizes = {"points": 18, **changes}
    config = PointsConfig(features=2, bands=2, resolution=20.0, mean=(1.0, 2.0), std=(2.0, 3.0), stem=stem, **sizes)
    return Points(config).eval()


@pytest.mark.parametrize("stride", [1, 4])
def test_rows_of_a_stem_are_groups_of_points(stride: int) -> None:
    """The sizes are those that the configuration states; what is predicted are the features of the points."""
    points = _stemmed(stride)
    assert from_dict(PointsConfig, yaml.safe_load(to_yaml(points.config))) == points.config
    batch = {"points": torch.rand(3, 18, 5) * 2 - 1, "points.mask": torch.arange(18) < torch.tensor([[18], [10], [1]])}
    view = points.view(batch)
    (segment,) = points.embed(view).segments
    rows = -(-18 // stride)
    assert segment.dense().shape == (3, rows, points.config.row_channels) == (3, points.num_rows, 10 + 15)
    targets = points.targets(view)
    assert targets.shape == (3, rows, stride * 2) == (3, rows, points.value_channels)
    assert segment.mask is not None
    assert torch.equal(segment.mask.sum(1), torch.tensor([rows, -(-10 // stride), 1]))
    query = points.query_segment(view)
    assert segment.positions is not None
    assert query.positions is not None
    assert query.positions.dense().equal(segment.positions.dense())
    assert query.mask is not None
    assert query.mask.equal(segment.mask)
    present = view["points.mask"]
    assert torch.allclose(points.restore(targets.nan_to_num(), view)[present], view["points"][present], atol=1e-6)
    assert torch.equal(points.distance(targets.nan_to_num(), targets), torch.zeros(3, rows))
    assert points.patchify(view["points"]).shape == (3, rows, stride * 5)
    assert torch.equal(points.unpatchify(points.patchify(view["points"]), view), view["points"])
    weights = torch.rand(3, rows)
    heat = points.attention_map(weights, view)
    assert torch.equal(heat[..., 0], weights.repeat_interleave(stride, dim=1)[:, :18])
    assert points.elementwise().config.stem is None
    assert torch.equal(
        points.elementwise().embed(view).dense()[..., 2:], points.elementwise().query_segment(view).dense()
    )


@pytest.mark.parametrize("stride", [1, 4])
def test_a_stem_sees_neither_padding_nor_hidden_points_nor_other_clouds(stride: int) -> None:
    points = _stemmed(stride)
    cloud, mask = torch.rand(3, 18, 5) * 2 - 1, torch.arange(18) < torch.tensor([[18], [10], [2]])
    view = points.view({"points": cloud, "points.mask": mask})
    hidden = torch.rand(3, points.num_rows) < 0.3
    hidden[2, 0] = False
    view["points.hidden"] = hidden
    row_mask = points.embed(view).mask
    assert row_mask is not None
    kept = row_mask & ~hidden
    unseen = ~view["points.mask"] | hidden.repeat_interleave(stride, dim=1)[:, :18]
    other = {**view, "points": view["points"].masked_fill(unseen[..., None], 0.3)}
    assert torch.equal(points.embed(view).dense()[kept], points.embed(other).dense()[kept])
    for example, size in enumerate((18, 10, 2)):
        alone = points.embed(points.view({"points": cloud[example, None, :size]}))
        del view["points.hidden"]
        together = points.embed(view).dense()[example, : alone.num_rows]
        view["points.hidden"] = hidden
        assert torch.allclose(alone.dense()[0], together, atol=1e-5)


def test_points_of_a_row_are_close() -> None:
    """Where several points are a row, they are along a curve through space, absent ones after it; the same cloud."""
    points = _stemmed(4, points=200, rotation=180.0, jitter=0.01)
    cloud = torch.rand(2, 300, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batch = {"points": cloud, "points.mask": torch.arange(300) < torch.tensor([[300], [11]])}
    for view in (points.view(batch), points.augment(batch, torch.Generator().manual_seed(0))):
        assert view["points"].shape == (2, 200, 5)
        assert torch.equal(view["points.mask"].sum(1), torch.tensor([200, 11]))
        assert view["points.mask"][:, :11].all()
        of_row = view["points"][0, :, :3].unflatten(0, (50, 4))
        inside = (of_row[:, :, None] - of_row[:, None]).norm(dim=-1).mean()
        across = (of_row[:, None, :] - of_row[None]).norm(dim=-1).mean()
        assert inside < 0.5 * across
    view = points.view(batch)
    assert sorted(view["points"][1, :11].tolist()) == sorted(cloud[1, :11].tolist())
    again = points.view(view)
    assert torch.equal(again["points"], view["points"])
