"""Stems: the authors' geometry, and rows put back where they came from."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sensorium.errors import InputError
from sensorium.modalities.image import Image, ImageConfig
from sensorium.nn.positions import fourier_grid
from sensorium.nn.stems.published import Convolution, ConvolutionConfig, PointwiseConfig


def convolved(size: tuple[int, int], geometry: str = "same") -> Image:
    return Image(ImageConfig(size=size, bands=3, stem=ConvolutionConfig(channels=5, geometry=geometry))).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize(("geometry", "side"), [("same", 56), ("symmetric", 55)])
def test_imagenet_has_the_papers_rows(geometry: str, side: int) -> None:
    image = convolved((224, 224), geometry)
    assert image.num_rows == side**2
    assert image.embed({"image": torch.rand(1, 3, 224, 224)}).dense().shape == (1, side**2, 5 + 14)


def test_same_is_what_the_authors_pad() -> None:
    """Of 224: two before and three after the convolution; one of -inf after the pooling (peers.md, A2)."""
    image = convolved((224, 224))
    stem = image.stem
    assert isinstance(stem, Convolution)
    stem.norm.running_mean.normal_()  # type: ignore[union-attr]
    pictures = torch.rand(2, 3, 224, 224)
    halves = stem.norm(
        F.conv2d(F.pad((pictures - image.mean) / image.std, (2, 3, 2, 3)), stem.convolution.weight, stride=2)
    )
    expected = F.max_pool2d(F.pad(halves.relu(), (0, 1, 0, 1), value=float("-inf")), 3, 2).flatten(2).mT
    dense = image.embed({"image": pictures}).dense()
    torch.testing.assert_close(dense[..., :5], expected)
    torch.testing.assert_close(dense[0, :, 5:], fourier_grid((56, 56), bands=3).dense())


@pytest.mark.parametrize("geometry", ["same", "symmetric"])
@pytest.mark.parametrize("size", [(32, 32), (30, 41)])
def test_rows_are_put_back(geometry: str, size: tuple[int, int]) -> None:
    """A map has the picture's size and each row its own 4 × 4 pixels; folding undoes unfolding where they are whole."""
    image = convolved(size, geometry)
    batch = {"image": torch.rand(2, 3, *size)}
    rows = image.embed(batch).num_rows
    assert rows == image.num_rows
    weights = torch.rand(2, rows)
    heat = image.attention_map(weights, batch)
    assert heat.shape == (2, 1, *size)
    down, across = image._grid(batch["image"])
    assert heat[:, 0, ::4, ::4][:, :down, :across].flatten(1).equal(weights)
    whole = (min(size[0], 4 * down), min(size[1], 4 * across))
    again = image.unpatchify(image.patchify(batch["image"]), batch)
    assert again[..., : whole[0], : whole[1]].equal(batch["image"][..., : whole[0], : whole[1]])


@pytest.mark.parametrize("stem", [ConvolutionConfig(channels=4), PointwiseConfig(channels=4)])
def test_where_rows_are_is_told_without_a_look(stem: ConvolutionConfig | PointwiseConfig) -> None:
    """As ``embed`` has it, and the batch norm has not moved."""
    image, batch = Image(ImageConfig(size=(9, 14), bands=3, stem=stem)), {"image": torch.rand(2, 3, 9, 14)}
    before = {name: value.clone() for name, value in image.named_buffers()}
    positions = image.query_segment(batch).dense()
    assert all(value.equal(before[name]) for name, value in image.named_buffers())
    torch.testing.assert_close(positions, image.embed(batch).dense()[..., -image.position_channels :])


def test_learned_codes_are_projected() -> None:
    """conv(pixels) + bias, then linear(code): each 4 wide; all of it learns."""
    image = Image(ImageConfig(size=(3, 5), stem=PointwiseConfig(channels=4)))
    pictures = torch.rand(2, 3, 3, 5)
    array = image.embed({"image": pictures})
    assert (array.num_rows, array.channels, image.num_rows, image.channels) == (15, 8, 15, 8)
    stem, normal = image.stem, (pictures - image.mean) / image.std
    values = normal.permute(0, 2, 3, 1).flatten(1, 2) @ stem.convolution.weight[:, :, 0, 0].T + stem.convolution.bias  # type: ignore[union-attr,operator,index]
    torch.testing.assert_close(array.dense()[..., :4], values)
    torch.testing.assert_close(array.dense()[1, :, 4:], stem.projection(stem.position_embedding.table))  # type: ignore[union-attr,operator]
    array.dense().square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in image.parameters())
    assert image.attention_map(torch.rand(2, 15), {"image": pictures}).shape == (2, 1, 3, 5)


def test_what_does_not_fit_is_refused() -> None:
    image = Image(ImageConfig(size=(4, 4), stem=PointwiseConfig(channels=4)))
    with pytest.raises(InputError, match=r"\(4, 5\) pixels; learned positions are of \(4, 4\) only"):
        image.embed({"image": torch.rand(1, 3, 4, 5)})
