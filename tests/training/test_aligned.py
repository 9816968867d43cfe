"""Attention that starts at places: where latents and queries look before any training."""

from __future__ import annotations

from math import prod

import pytest
import torch
from torch import Tensor

from sensorium.nn.byte_array import ByteArray, PointPositions, Segment
from sensorium.nn.perceiver import Decoder, DecoderConfig, Encoder, EncoderConfig, MeanDecoder
from sensorium.nn.positions import fourier_grid
from sensorium.nn.queries import queries_at
from sensorium.training.aligned import lattice, place

GRIDS = ((64,), (16, 16), (4, 8, 8))
LATENTS, WIDTH = 16, 64


def segment(grid: tuple[int, ...], name: str = "signal", modality_channels: int = 2) -> Segment:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(4, prod(grid), 3, generator=generator)
    positions = fourier_grid(grid, bands=max(grid) // 2)
    return Segment(name, values, positions, torch.randn(modality_channels, generator=generator))


def placed(
    array: ByteArray, *, heads: int = 1, reads: tuple[int, ...] = (0,), queries: object = None
) -> tuple[Encoder, Decoder]:
    torch.manual_seed(0)
    config = EncoderConfig(
        num_latents=LATENTS,
        latent_channels=WIDTH,
        cross_attention=reads,
        latent_transformer=(0,) * len(reads),
        num_layers=1,
        num_cross_attention_heads=heads,
        qk_channels=32 * heads,
        value_channels=32 * heads,
    )
    encoder = Encoder(config, channels=array.channels)
    channels = array.channels if queries is None else queries.channels  # type: ignore[attr-defined]
    decoder = Decoder(DecoderConfig(num_heads=1), width=WIDTH, channels=channels, outputs=2)
    place(encoder, decoder, array, queries)  # type: ignore[arg-type]
    return encoder, decoder


def middle(weights: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Where attention (… × rows) is on the mean, in [-1, 1] along each axis."""
    return weights @ lattice(prod(grid), grid)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("reads", [(0,), (0, 1)])
def test_every_latent_looks_around_its_own_place(grid: tuple[int, ...], reads: tuple[int, ...]) -> None:
    """In every read; on the mean over examples within the distance to the next place."""
    array = ByteArray((segment(grid),))
    encoder, _ = placed(array, reads=reads)
    places = lattice(LATENTS, grid)
    for weights in encoder.weights(array):
        off = (middle(weights[:, 0, : len(places)], grid).mean(0) - places).norm(dim=-1)
        assert off.mean() < 2 / len(places) ** (1 / len(grid))
        assert weights.mean((0, 1)).amax(-1).median() > 3 / prod(grid)


def test_the_heads_of_a_latent_look_at_different_parts_of_its_surroundings() -> None:
    """In the order of the heads, from one side to the other."""
    array = ByteArray((segment((64,)),))
    encoder, _ = placed(array, heads=4)
    (weights,) = encoder.weights(array)
    found = middle(weights.mean(0), (64,))[:, 2:-2, 0]  # heads × latents, without those at the edges
    assert bool((found.diff(dim=0) > 0).float().mean() > 0.9)


@pytest.mark.parametrize("grid", GRIDS)
def test_every_query_looks_at_the_latents_around_it(grid: tuple[int, ...]) -> None:
    """The mean place of the latents it attends to is near its own."""
    array = ByteArray((segment(grid),))
    queries = queries_at(fourier_grid(grid, bands=max(grid) // 2))
    encoder, decoder = placed(array, queries=queries)
    latents = encoder(array)
    block = decoder.cross_attention
    query = block.attention.query(block.query_norm(queries.dense()))
    key = block.attention.key(block.input_norm(latents))
    weights = (query @ key.mT * block.attention.scale).softmax(-1)
    places = lattice(LATENTS, grid)
    found = (weights[..., : len(places)] @ places).mean(0)
    wanted = lattice(prod(grid), grid)
    correlation = torch.corrcoef(torch.stack([found.flatten(), wanted.flatten()]))[0, 1]
    assert correlation > 0.9


def test_the_segments_of_several_signals_share_the_latents() -> None:
    """Half of them look at the one, half at the other."""
    one, other = segment((64,), "one"), segment((32,), "other", modality_channels=34)
    assert one.channels == other.channels
    array = ByteArray((one, other))
    encoder, _ = placed(array)
    (weights,) = encoder.weights(array)
    share = weights.mean((0, 1))[:, :64].sum(-1)
    assert share[: LATENTS // 2].min() > 0.5 > share[LATENTS // 2 :].max()


def test_what_lies_on_no_grid_is_left_as_it_is() -> None:
    """Points have no places that latents could be given beforehand."""
    points = Segment("points", torch.randn(2, 20, 3), PointPositions(torch.randn(2, 20, 6)))
    array = ByteArray((points,))
    torch.manual_seed(0)
    encoder = Encoder(
        EncoderConfig(num_latents=4, latent_channels=16, cross_attention=(0,), latent_transformer=(0,), num_layers=1),
        channels=9,
    )
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    place(encoder, MeanDecoder(16, outputs=1), array, None)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


@pytest.mark.parametrize("count", [1, 2, 5, 16, 63])
@pytest.mark.parametrize("grid", GRIDS)
def test_lattices(count: int, grid: tuple[int, ...]) -> None:
    """No more places than asked for, all different, inside, and their mean in the middle."""
    places = lattice(count, grid)
    assert 1 <= len(places) <= count
    assert len(set(map(tuple, places.tolist()))) == len(places)
    assert places.abs().max() < 1
    assert places.mean(0).abs().max() < 1e-6
