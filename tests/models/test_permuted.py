"""Permuted pictures (Perceiver Table 2) and points on a grid (§4.3): who notices, and that nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from builders import shake
from sensorium.errors import InputError
from sensorium.inference.features import PictureFeatures
from sensorium.modalities import ImageConfig, PointsConfig, build_modality
from sensorium.modalities.image import Image
from sensorium.modalities.points import Points
from sensorium.models.baselines.resnet import ResNetConfig
from sensorium.models.baselines.rows import present_grid
from sensorium.models.baselines.transformer import TransformerConfig
from sensorium.models.baselines.vit import ViTConfig
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.nn.byte_array import ByteArray, Layout, Segment, random_order
from sensorium.nn.stems import ConvolutionConfig, GridStemConfig, PointwiseConfig, Stage
from small_models import ENCODER, classes

SIZE = (6, 8)
PIXELS = ImageConfig(size=SIZE, bands=3, permute=5)
GRID_STEM = GridStemConfig(stages=(Stage(stride=(1, 1), channels=4, kernel=(3, 3), dilations=(1,)),))
INPUTS: dict[str, ImageConfig] = {
    "Fourier features": PIXELS,
    "learned positions": replace(PIXELS, positions="learned", learned_channels=7),
    "no positions": replace(PIXELS, positions="none"),
    "pointwise stem": replace(PIXELS, stem=PointwiseConfig(channels=5)),
}
BLIND = {"perceiver": ENCODER, "transformer": TransformerConfig(channels=8, num_layers=1, num_heads=2)}
LOCAL = {
    "resnet": ResNetConfig(width=2, blocks=(1, 1), stem="plain"),
    "vit": ViTConfig(patch=(2, 2), channels=8, num_layers=1, num_heads=2),
}


def pictures(count: int = 3, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def model_of(inputs: Any, encoder: Any) -> Perceiver:
    """A shaken model in float64, the same for every permutation."""
    torch.manual_seed(0)
    return shake(Perceiver(PerceiverConfig(inputs=inputs, encoder=encoder, task=classes(3)))).eval()


def by_hand(images: Tensor, seed: int = 5) -> Tensor:
    """Pictures whose pixels are permuted."""
    order = random_order(images.shape[-2] * images.shape[-1], seed, torch.device("cpu"))
    return images.flatten(-2)[..., order].unflatten(-1, images.shape[-2:])


def test_the_permutation_is_one_and_moves_pixels() -> None:
    """Every cell has one pixel, almost none its own; another seed is another permutation, the same seed the same."""
    order = random_order(48, 5, torch.device("cpu"))
    assert sorted(order.tolist()) == list(range(48))
    assert (order != torch.arange(48)).sum() > 40
    assert torch.equal(torch.randperm(48, generator=torch.Generator().manual_seed(5)), order)
    assert not torch.equal(random_order(48, 6, torch.device("cpu")), order)


@pytest.mark.parametrize("encoder", BLIND)
@pytest.mark.parametrize("inputs", INPUTS)
def test_the_perceiver_s_answers_do_not_change(inputs: str, encoder: str) -> None:
    """Positions go with their pixels, and the order of rows is free: of a permuted picture, the answers are the same to
    the last bit; and those of rows that are really in another order are the same."""
    batch = {"image": pictures()}
    permuted = model_of(INPUTS[inputs], BLIND[encoder])
    plain = model_of(replace(INPUTS[inputs], permute=None), BLIND[encoder])
    assert torch.equal(permuted(batch).output, plain(batch).output)
    order = random_order(48, 5, torch.device("cpu"))
    moved = ByteArray((Segment("image", plain.embed(batch).dense()[:, order]),))
    torch.testing.assert_close(plain.decode(plain.encode(moved)).output, permuted(batch).output)


@pytest.mark.parametrize("encoder", LOCAL)
@pytest.mark.parametrize("inputs", INPUTS)
def test_answers_of_networks_of_grids_do_change(inputs: str, encoder: str) -> None:
    batch = {"image": pictures()}
    permuted, plain = (
        model_of(replace(INPUTS[inputs], permute=seed), LOCAL[encoder])(batch).output for seed in (5, None)
    )
    assert not torch.allclose(permuted, plain, atol=1e-3)


@pytest.mark.parametrize("inputs", INPUTS)
def test_a_grid_has_every_pixel_with_its_position(inputs: str) -> None:
    """Permuted after positions are made (§4.1): a cell has the row, values and position, of one pixel."""
    torch.manual_seed(0)
    image = build_modality(INPUTS[inputs])
    array = image.embed({"image": pictures().float()})
    rows = array.dense().mT.unflatten(2, SIZE)
    grid, mask = present_grid(array, axes=2, reader="it")
    assert mask is None
    assert torch.equal(grid, by_hand(rows))


@pytest.mark.parametrize(
    "config",
    [replace(PIXELS, patch=(2, 2)), replace(PIXELS, stem=GRID_STEM), replace(PIXELS, stem=ConvolutionConfig())],
    ids=["patches", "stem", "convolution"],
)
def test_patches_and_stems_see_the_permuted_picture(config: ImageConfig) -> None:
    """As if the picture had been permuted before; so what they see next to each other comes from anywhere."""
    torch.manual_seed(0)
    image = build_modality(config).eval()
    torch.manual_seed(0)
    plain = build_modality(replace(config, permute=None)).eval()
    images = pictures().float()
    found = image.embed({"image": images}).dense()
    assert torch.equal(found, plain.embed({"image": by_hand(images)}).dense())
    assert not torch.allclose(found, plain.embed({"image": images}).dense())


@pytest.mark.parametrize("patch", [(1, 1), (2, 2), (3, 4)])
def test_what_is_put_back_is_where_it_was(patch: tuple[int, int]) -> None:
    """Attention maps and restored pictures are those of the picture that people see; also of another size."""
    image = Image(replace(PIXELS, patch=patch))
    for size in (SIZE, (12, 12)):
        images = pictures(size=size).float()
        batch = {"image": images}
        assert torch.equal(image.unpatchify(image.patchify(images), batch), images)
        torch.testing.assert_close(image.restore(image.targets(batch), batch), images)


def test_hidden_pixels_are_hidden_where_the_stem_sees_them() -> None:
    """A task hides rows; whatever is at the pixels that these rows cover, a stem sees nothing of it."""
    torch.manual_seed(0)
    stage = Stage(stride=(2, 2), channels=4, kernel=(3, 3), dilations=(1,))
    image = shake(Image(replace(PIXELS, stem=GridStemConfig(stages=(stage,))))).eval()
    hidden = torch.zeros(3, image.num_rows, dtype=torch.bool)
    hidden[:, ::2] = True
    images = pictures()
    covered = image.attention_map(hidden.float(), {"image": images}) > 0
    other = torch.where(covered, 0.7, images)
    found = [image.embed({"image": each, "image.hidden": hidden}).dense()[~hidden] for each in (images, other)]
    assert torch.equal(*found)
    assert not torch.equal(*(image.embed({"image": each}).dense()[~hidden] for each in (images, other)))


def test_the_classical_model_sees_permuted_pictures() -> None:
    """As every other model does; histograms of gradients then say little."""
    images = pictures(size=(8, 8)).float()
    permuted, plain = (Image(ImageConfig(size=(8, 8), permute=seed)) for seed in (5, None))
    found = PictureFeatures(permuted)({"image": images})
    assert torch.equal(found, PictureFeatures(plain)({"image": by_hand(images)}))
    assert not torch.allclose(found, PictureFeatures(plain)({"image": images}), atol=1e-3)


# -- points on a grid

CLOUDS = PointsConfig(points=12, bands=2, grid=(3, 4))


def test_each_point_is_in_one_cell() -> None:
    """At random, and always the same cell; cells beyond a small cloud are empty."""
    points = Points(CLOUDS)
    clouds = torch.rand(2, 10, 3)
    array = points.embed({"points": clouds})
    grid, mask = present_grid(array, axes=2, reader="it")
    order = random_order(12, 0, torch.device("cpu"))
    assert grid.shape == (2, array.channels, 3, 4)
    assert mask is not None
    assert mask.flatten(1).sum(1).tolist() == [10, 10]
    torch.testing.assert_close(grid.flatten(2)[..., order.argsort()][..., :10].mT, array.dense())
    assert (grid * ~mask == 0).all()


@pytest.mark.parametrize("encoder", LOCAL)
def test_absent_points_change_no_answer(encoder: str) -> None:
    """A padded cloud has the answer that it has alone."""
    model = model_of(CLOUDS, LOCAL[encoder]).float()
    cloud = torch.rand(1, 9, 3)
    padded = torch.cat([cloud, torch.full((1, 3, 3), 7.0)], dim=1)
    mask = (torch.arange(12) < 9)[None]
    torch.testing.assert_close(model({"points": padded, "points.mask": mask}).output, model({"points": cloud}).output)


def test_points_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"13 rows do not fit on a grid of \(3, 4\)"):
        Points(replace(CLOUDS, points=13))
    model = model_of(CLOUDS, LOCAL["resnet"]).float()
    with pytest.raises(InputError, match="a grid of 3 × 4 cells, which 13 rows do not fit on"):
        model({"points": torch.rand(1, 13, 3)})


def test_rows_that_are_kept_stand_on_no_grid() -> None:
    """A part of a permuted picture is a part of its rows."""
    segment = Segment("rows", torch.rand(2, 6, 3), layout=Layout((2, 3)))
    assert segment.keep(torch.tensor([[0, 2], [1, 5]])).layout is None
