"""Aligned initialisation: what latents and queries attend to before any training."""

from __future__ import annotations

from math import prod

import pytest
import torch
from torch import Tensor

from sensorium.nn import Decoder, DecoderConfig, Encoder, EncoderConfig, MeanDecoder
from sensorium.nn.byte_array import ByteArray, PointPositions, Segment
from sensorium.nn.positions import fourier_grid
from sensorium.nn.queries import queries_at
from sensorium.training.aligned import align, lattice

GRIDS = ((64,), (16, 16), (4, 8, 8))
LATENTS, WIDTH = 16, 64


def segment(grid: tuple[int, ...], name: str = "signal", modality_channels: int = 2) -> Segment:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(4, prod(grid), 3, generator=generator)
    positions = fourier_grid(grid, bands=max(grid) // 2)
    return Segment(name, values, positions, torch.randn(modality_channels, generator=generator))


def aligned(
    array: ByteArray,
    *,
    latents: int = LATENTS,
    heads: int = 1,
    cross_attention: tuple[int, ...] = (0,),
    queries: object = None,
) -> tuple[Encoder, Decoder]:
    torch.manual_seed(0)
    config = EncoderConfig(
        num_latents=latents,
        latent_channels=WIDTH,
        cross_attention=cross_attention,
        latent_transformer=(0,) * len(cross_attention),
        num_layers=1,
        num_cross_attention_heads=heads,
        qk_channels=32 * heads,
        value_channels=32 * heads,
    )
    encoder = Encoder(config, channels=array.channels)
    channels = array.channels if queries is None else queries.channels  # type: ignore[attr-defined]
    decoder = Decoder(DecoderConfig(num_heads=1), latent_channels=WIDTH, query_channels=channels, output_channels=2)
    align(encoder, decoder, array, queries)  # type: ignore[arg-type]
    return encoder, decoder


def mean_coordinates(weights: Tensor, grid: tuple[int, ...]) -> Tensor:
    """The mean coordinates of the rows by attention weights (… × rows), in [-1, 1] along each axis."""
    return weights @ lattice(prod(grid), grid)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("cross_attention", [(0,), (0, 1)])
def test_every_latent_attends_around_its_own_point(grid: tuple[int, ...], cross_attention: tuple[int, ...]) -> None:
    """In every cross-attend; on the mean over examples within the distance to the next point."""
    array = ByteArray((segment(grid),))
    encoder, _ = aligned(array, cross_attention=cross_attention)
    points = lattice(LATENTS, grid)
    for weights in encoder.weights(array):
        off = (mean_coordinates(weights[:, 0, : len(points)], grid).mean(0) - points).norm(dim=-1)
        assert off.mean() < 2 / len(points) ** (1 / len(grid))
        assert weights.mean((0, 1)).amax(-1).median() > 3 / prod(grid)


def test_the_heads_of_a_latent_attend_to_different_parts_of_its_surroundings() -> None:
    """In the order of the heads, from one side to the other."""
    array = ByteArray((segment((64,)),))
    encoder, _ = aligned(array, heads=4)
    (weights,) = encoder.weights(array)
    found = mean_coordinates(weights.mean(0), (64,))[:, 2:-2, 0]  # heads × latents, without those at the edges
    assert bool((found.diff(dim=0) > 0).float().mean() > 0.9)


@pytest.mark.parametrize("grid", GRIDS)
def test_every_query_attends_to_the_latents_around_it(grid: tuple[int, ...]) -> None:
    """The mean of the points of the latents that it attends to is near its own point."""
    array = ByteArray((segment(grid),))
    queries = queries_at(fourier_grid(grid, bands=max(grid) // 2))
    encoder, decoder = aligned(array, queries=queries)
    latents = encoder(array)
    block = decoder.cross_attention
    query = block.attention.query(block.query_norm(queries.dense()))
    key = block.attention.key(block.input_norm(latents))
    weights = (query @ key.mT * block.attention.key.out_features**-0.5).softmax(-1)
    points = lattice(LATENTS, grid)
    found = (weights[..., : len(points)] @ points).mean(0)
    wanted = lattice(prod(grid), grid)
    correlation = torch.corrcoef(torch.stack([found.flatten(), wanted.flatten()]))[0, 1]
    assert correlation > 0.9


def test_the_segments_of_several_signals_share_the_latents() -> None:
    """Half of them attend to the one, half to the other."""
    one, other = segment((64,), "one"), segment((32,), "other", modality_channels=34)
    assert one.channels == other.channels
    array = ByteArray((one, other))
    encoder, _ = aligned(array)
    (weights,) = encoder.weights(array)
    share = weights.mean((0, 1))[:, :64].sum(-1)
    assert share[: LATENTS // 2].min() > 0.5 > share[LATENTS // 2 :].max()


def test_few_rows_beside_many_are_found_as_well() -> None:
    """Sound has fewer rows than the pictures beside it, and finer positions than a latent has channels."""
    sound, video = segment((256,), "sound"), segment((20, 8, 8), "video", modality_channels=196)
    assert sound.channels == video.channels
    array = ByteArray((sound, video))
    encoder, _ = aligned(array, latents=128, heads=2)
    (weights,) = encoder.weights(array)
    of_sound = weights.mean((0, 1))[:64, :256]
    assert of_sound.sum(-1).mean() > 0.75
    is_near = (lattice(256, (256,)) - lattice(64, (64,)).T).abs().T < 2 / 64
    assert (of_sound * is_near).sum(-1).mean() > 0.5


def test_segments_without_a_grid_keep_their_initialisation() -> None:
    """Points have no coordinates that are known before training."""
    cloud = Segment("points", torch.randn(2, 20, 3), PointPositions(torch.randn(2, 20, 6)))
    array = ByteArray((cloud,))
    torch.manual_seed(0)
    encoder = Encoder(
        EncoderConfig(num_latents=4, latent_channels=16, cross_attention=(0,), latent_transformer=(0,), num_layers=1),
        channels=9,
    )
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    align(encoder, MeanDecoder(16, output_channels=1), array, None)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


@pytest.mark.parametrize("count", [1, 2, 5, 16, 63])
@pytest.mark.parametrize("grid", GRIDS)
def test_lattices(count: int, grid: tuple[int, ...]) -> None:
    """No more points than wanted, all different, inside the grid, and their mean in the middle."""
    points = lattice(count, grid)
    assert 1 <= len(points) <= count
    assert len(set(map(tuple, points.tolist()))) == len(points)
    assert points.abs().max() < 1
    assert points.mean(0).abs().max() < 1e-6
