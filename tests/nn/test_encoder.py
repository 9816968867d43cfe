"""The encoder: the papers' equations, the laws of reading, the papers' counts."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import reference
from builders import arrays, flop_counter, gradients, normal, rows_of, small_encoder
from sensorium.errors import InputError
from sensorium.nn import Encoder, EncoderConfig, LinearDecoder, MeanDecoder
from sensorium.nn.attention import CrossAttention, SelfAttention, attention_path
from sensorium.nn.byte_array import ByteArray, GridPositions, PointPositions, Segment, join
from sensorium.nn.positions import fourier_grid

numbers = st.one_of(st.none(), st.integers(0, 2))
orders = st.integers(1, 4).flatmap(
    lambda steps: st.tuples(*(st.lists(numbers, min_size=steps, max_size=steps).map(tuple) for _ in range(2)))
)
EXACT = {"rtol": 1e-9, "atol": 1e-10}


# -- agreement with the papers' equations


@given(
    order=orders,
    layers=st.integers(0, 2),
    cross_heads=st.sampled_from([1, 2, 3]),
    self_heads=st.sampled_from([1, 2, 4]),
    rows=st.integers(0, 6),
    masked=st.sampled_from(["none", "some", "all of one example"]),
    widening=st.integers(1, 2),
)
def test_an_encoder_is_the_papers(
    order: tuple[tuple[int | None, ...], tuple[int | None, ...]],
    layers: int,
    cross_heads: int,
    self_heads: int,
    rows: int,
    masked: str,
    widening: int,
) -> None:
    """Any order of reads and processes, shared or not or left out; any heads; any mask; any number of rows."""
    encoder = small_encoder(
        cross_attention=order[0],
        latent_transformer=order[1],
        num_layers=layers,
        num_cross_attention_heads=cross_heads,
        num_self_attention_heads=self_heads,
        cross_attention_mlp_ratio=widening,
        self_attention_mlp_ratio=widening,
    )
    values = normal(2, rows, 6)
    mask = None if masked == "none" else normal(2, rows, seed=3) > 0
    if masked == "all of one example" and mask is not None:
        mask[1] = False
    expected = reference.encode(
        values.numpy(),
        arrays(encoder),
        cross_attends=order[0],
        latent_transformers=order[1],
        layers=layers,
        cross_heads=cross_heads,
        self_heads=self_heads,
        mask=None if mask is None else mask.numpy(),
    )
    result = encoder(rows_of(values, mask))
    assert result.shape == (2, 3, 8)
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-9, atol=1e-10)


def test_every_gradient_of_an_encoder_is_that_of_the_reference() -> None:
    """Along a random direction in every parameter, shared ones included: (f(+h) - f(-h)) / 2h in numpy."""
    encoder, values, cost = small_encoder(), normal(2, 5, 6), normal(2, 3, 8, seed=3)
    config = encoder.config
    (encoder(rows_of(values)) * cost).sum().backward()
    grads, point = gradients(encoder), arrays(encoder)

    def loss(at: dict[str, np.ndarray]) -> float:
        latents = reference.encode(
            values.numpy(),
            at,
            cross_attends=config.cross_attention,
            latent_transformers=config.latent_transformer,
            layers=config.num_layers,
            cross_heads=config.num_cross_attention_heads,
            self_heads=config.num_self_attention_heads,
        )
        return float((latents * cost.numpy()).sum())

    for seed, name in enumerate(point):
        direction = np.random.default_rng(seed).standard_normal(point[name].shape)
        ahead, behind = (loss(point | {name: point[name] + h * direction}) for h in (1e-5, -1e-5))
        gradient = float((grads[name].numpy() * direction).sum())
        assert gradient == pytest.approx((ahead - behind) / 2e-5, rel=1e-4, abs=1e-5), name


def test_the_mean_head_is_the_papers() -> None:
    head = MeanDecoder(8, output_channels=3).double()
    torch.nn.init.normal_(head.linear.weight)
    torch.nn.init.normal_(head.linear.bias)
    latents = normal(2, 5, 8)
    np.testing.assert_allclose(
        head(latents)[:, 0].detach().numpy(), reference.mean_head(latents.numpy(), arrays(head)), rtol=1e-12
    )


def test_every_latent_has_its_own_weights_in_a_linear_head() -> None:
    """With the same weights for all it is the mean head, but for the unit; it starts at zero."""
    head, mean = LinearDecoder(5, latent_channels=8, output_channels=3), MeanDecoder(8, output_channels=3)
    latents = normal(2, 5, 8).float()
    assert not head(latents).any()
    torch.nn.init.normal_(mean.linear.weight)
    with torch.no_grad():
        head.linear.weight.copy_(mean.linear.weight.repeat(1, 5) * 5**-0.5)
    torch.testing.assert_close(head(latents), mean(latents))
    torch.testing.assert_close(head(latents.flip(1)), head(latents))
    torch.nn.init.normal_(head.linear.weight)
    assert not torch.allclose(head(latents.flip(1)), head(latents))


# -- the laws of reading


@given(seed=st.integers(0, 999), masked=st.booleans())
def test_the_order_of_rows_is_free(seed: int, masked: bool) -> None:
    """Shuffling the rows, with their masks, changes no output."""
    encoder, values = small_encoder(), normal(2, 7, 6, seed=seed)
    mask = (normal(2, 7, seed=seed + 1) > -0.5) if masked else None
    order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
    shuffled = rows_of(values[:, order], None if mask is None else mask[:, order])
    torch.testing.assert_close(encoder(rows_of(values, mask)), encoder(shuffled), **EXACT)


def test_shuffled_pixels_with_their_codes_change_nothing() -> None:
    """The paper's permuted ImageNet: every picture's pixels in its own order, each with its code."""
    positions = GridPositions(tuple(table.double() for table in fourier_grid((3, 4), bands=2).tables))
    encoder, pixels = small_encoder(3 + positions.channels), normal(2, 12, 3)
    order = torch.stack([torch.randperm(12, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)])
    picture = ByteArray((Segment("image", pixels, positions),))
    moved = torch.stack([pixels[example, order[example]] for example in range(2)])
    points = ByteArray((Segment("image", moved, PointPositions(positions.dense()[order])),))
    torch.testing.assert_close(encoder(picture), encoder(points), **EXACT)
    forgetful = ByteArray((Segment("image", moved, positions),))
    assert (encoder(picture) - encoder(forgetful)).abs().max() > 1e-3, "without their positions it does matter"


@given(
    seed=st.integers(0, 999), garbage=st.sampled_from([0.0, -3.0, 1e6]), path=st.sampled_from(["projected", "absorbed"])
)
def test_masked_rows_are_never_attended_to(seed: int, garbage: float, path: str) -> None:
    """What a masked row holds changes no output; no gradient reaches it; the answer is that without the row."""
    encoder, values = small_encoder(), normal(2, 6, 6, seed=seed)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[:, seed % 6] = False
    mask[1] &= seed % 5 > 0
    spoilt = torch.where(mask[..., None], values, garbage).requires_grad_()
    with attention_path(encoder, path):  # type: ignore[arg-type]
        result, other = encoder(rows_of(values, mask)), encoder(rows_of(spoilt, mask))
        torch.testing.assert_close(result, other, **EXACT)
        shorter = encoder(rows_of(values[:1][:, mask[0]]))
    torch.testing.assert_close(result[:1], shorter, **EXACT)
    other.square().sum().backward()
    assert spoilt.grad is not None
    assert not spoilt.grad[~mask].any()
    assert spoilt.grad[0][mask[0]].abs().sum(-1).all(), "present rows are read"


@pytest.mark.parametrize("path", ["projected", "absorbed"])
@pytest.mark.parametrize("rows", [0, 4])
def test_no_rows_give_numbers(rows: int, path: str) -> None:
    """No rows, or masked ones only: finite, the same for all such inputs, and with finite gradients."""
    encoder = small_encoder()
    empty = rows_of(normal(2, rows, 6), torch.zeros(2, rows, dtype=torch.bool))
    with attention_path(encoder, path):  # type: ignore[arg-type]
        result = encoder(empty)
        torch.testing.assert_close(result, encoder(rows_of(normal(2, 0, 6))), **EXACT)
    result.sum().backward()
    assert result.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(encoder).values())
    assert not any(weights.any() for weights in encoder.weights(empty))


@given(seed=st.integers(0, 999), batch=st.integers(1, 4), masked=st.booleans())
def test_batch_mates_do_not_matter(seed: int, batch: int, masked: bool) -> None:
    """Each example alone gets the answer it gets among others."""
    encoder, values = small_encoder(), normal(batch, 5, 6, seed=seed)
    mask = (normal(batch, 5, seed=seed + 1) > 0) if masked else None
    together = encoder(rows_of(values, mask))
    for example in range(batch):
        one = slice(example, example + 1)
        alone = encoder(rows_of(values[one], None if mask is None else mask[one]))
        torch.testing.assert_close(together[one], alone, **EXACT)


def test_several_segments_are_read_as_one() -> None:
    """Fusion: segments give what their dense matrix gives; an absent modality is as if it were not there."""
    encoder = small_encoder()
    sound, picture = (
        Segment("sound", normal(2, 3, 4), modality_embedding=normal(2, seed=4)),
        Segment("picture", normal(2, 4, 6, seed=5)),
    )
    both = join([ByteArray((sound,)), ByteArray((picture,))])
    torch.testing.assert_close(encoder(both), encoder(rows_of(both.dense())), **EXACT)
    absent = Segment("picture", picture.values, mask=torch.zeros(2, 4, dtype=torch.bool))
    torch.testing.assert_close(encoder(ByteArray((sound, absent))), encoder(ByteArray((sound,))), **EXACT)


# -- same number, same weights


@given(order=orders)
def test_same_number_same_weights(order: tuple[tuple[int | None, ...], tuple[int | None, ...]]) -> None:
    """Steps with one number are one module; different numbers share no parameter; unnamed numbers do not exist."""
    encoder = small_encoder(cross_attention=order[0], latent_transformer=order[1])
    steps = list(encoder.steps())
    for chosen, modules in (
        (order[0], [step.cross_attention for step in steps]),
        (order[1], [step.latent_transformer for step in steps]),
    ):
        assert [module is None for module in modules] == [number is None for number in chosen]
        for first, one in zip(chosen, modules, strict=True):
            for second, other in zip(chosen, modules, strict=True):
                if one is not None and other is not None:
                    assert (one is other) == (first == second)
                    assert {id(p) for p in one.parameters()}.isdisjoint(map(id, other.parameters())) == (
                        first != second
                    )
    assert set(encoder.cross_attention) == {str(number) for number in order[0] if number is not None}
    assert set(encoder.latent_transformer) == {str(number) for number in order[1] if number is not None}


def test_a_shared_gradient_is_the_sum() -> None:
    """Weights used three times gather the gradients that three copies of them get."""
    shared = small_encoder(cross_attention=(0, 0, 0), latent_transformer=(0, 0, 0))
    apart = small_encoder(cross_attention=(0, 1, 2), latent_transformer=(0, 1, 2))
    apart.latents.data.copy_(shared.latents)
    for number in ("0", "1", "2"):
        apart.cross_attention[number].load_state_dict(shared.cross_attention["0"].state_dict())
        apart.latent_transformer[number].load_state_dict(shared.latent_transformer["0"].state_dict())
    array, cost = rows_of(normal(2, 5, 6)), normal(2, 3, 8, seed=3)
    for encoder in (shared, apart):
        (encoder(array) * cost).sum().backward()
    once, thrice = gradients(shared), gradients(apart)
    torch.testing.assert_close(once["latents"], thrice["latents"], **EXACT)
    for kind in ("cross_attention", "latent_transformer"):
        names = [name for name in once if name.startswith(kind)]
        assert names
        for name in names:
            rest = name.removeprefix(f"{kind}.0.")
            total = torch.stack([thrice[f"{kind}.{number}.{rest}"] for number in range(3)]).sum(0)
            torch.testing.assert_close(once[name], total, **EXACT)


def test_a_copy_shares_among_its_own() -> None:
    """deepcopy keeps the sharing and shares nothing with the original."""
    encoder = small_encoder()
    other = copy.deepcopy(encoder)
    reads = [step.cross_attention for step in other.steps()]
    assert reads[1] is reads[2]
    assert {id(p) for p in encoder.parameters()}.isdisjoint(map(id, other.parameters()))


# -- attention weights


def test_weights_are_one_per_read_in_order() -> None:
    """Each read's own, seen from the latents it had: the reference's, for a mask with gaps."""
    encoder, values, mask = small_encoder(), normal(2, 5, 6), normal(2, 5, seed=3) > -1
    inner = arrays(encoder)
    found = list(encoder.weights(rows_of(values, mask)))
    assert len(found) == 3
    x = np.repeat(inner["latents"][None], 2, axis=0)
    for weights, reader, processor in zip(
        found, encoder.config.cross_attention, encoder.config.latent_transformer, strict=True
    ):
        block = reference.below(inner, f"cross_attention.{reader}")
        expected = reference.attention_weights(
            reference.layer_norm(x, reference.below(block, "query_norm")),
            reference.layer_norm(values.numpy(), reference.below(block, "input_norm")),
            reference.below(block, "attention"),
            heads=1,
            mask=mask.numpy(),
        )
        np.testing.assert_allclose(weights.detach().numpy(), expected, rtol=1e-8, atol=1e-10)
        x = reference.cross_attention(x, values.numpy(), block, heads=1, mask=mask.numpy())
        if processor is not None:
            x = reference.self_attention(x, reference.below(inner, f"latent_transformer.{processor}.0"), heads=2)


def test_steps_without_a_read_show_no_weights() -> None:
    encoder = small_encoder(cross_attention=(None, 0, None), latent_transformer=(0, None, 0))
    assert [tuple(weights.shape) for weights in encoder.weights(rows_of(normal(2, 5, 6)))] == [(2, 1, 3, 5)]


# -- what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cross_attention": (0, 1)}, "2 entries of cross_attention but 3 of latent_transformer"),
        ({"num_self_attention_heads": 3}, "self-attention: 3 heads do not divide 8 channels"),
        ({"num_cross_attention_heads": 4}, "cross-attention: 4 heads do not divide 6 channels"),
    ],
)
def test_shapes_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small_encoder(**changes)


# -- the papers' counts


def count(*, head: int = 1000, channels: int = 261, **changes: object) -> int:
    with torch.device("meta"):
        encoder = Encoder(EncoderConfig(**changes), channels=channels)  # type: ignore[arg-type]
        parts = [encoder, MeanDecoder(encoder.config.latent_channels, output_channels=head)]
    return sum(map(count_of, parts))


def count_of(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_blocks_have_the_papers_counts() -> None:
    with torch.device("meta"):
        assert count_of(CrossAttention(1024, input_channels=261, num_heads=1)) == 2_776_395
        assert count_of(SelfAttention(1024, num_heads=8)) == 6_301_696


def test_imagenet_has_the_papers_count() -> None:
    """44.9M: 8 reads of which 2 to 8 share, 8 shared processes of 6."""
    assert count() == 44_912_254


@pytest.mark.parametrize(
    ("reads", "processes", "millions"),
    [
        (tuple(range(4)), (None,) * 4, 12.655),
        (tuple(range(8)), (None,) * 8, 23.760),
        (tuple(range(12)), (None,) * 12, 34.866),
        ((0,) + (None,) * 7, (0,) * 8, 42.136),
        ((0,), (0,), 42.136),
        (tuple(range(8)), tuple(range(8)), 326.242),
        ((0, 1, 1, 1, 1, 1, 1, 1), (0, 1, 1, 1, 1, 1, 1, 1), 82.722),
    ],
)
def test_ablations_have_the_papers_counts(
    reads: tuple[int | None, ...], processes: tuple[int | None, ...], millions: float
) -> None:
    """Tables 5 to 7 of the first paper."""
    assert round(count(cross_attention=reads, latent_transformer=processes) / 1e6, 3) == millions


def test_modelnet40_has_the_papers_count() -> None:
    """44.77M: three axes of 64 bands, 40 classes, ImageNet's sharing."""
    assert count(head=40, channels=387, cross_attention=(0, 1), latent_transformer=(0, 0)) / 1e6 == pytest.approx(
        44.77, abs=0.005
    )


def flops(*, rows: int = 50_176, **changes: object) -> float:
    """Multiplications and additions of one example, keys and values projected as the authors do."""
    with torch.device("meta"):
        encoder = Encoder(EncoderConfig(**changes), channels=261)  # type: ignore[arg-type]
        encoder.requires_grad_(False)
        array = rows_of(torch.empty(1, rows, 261))
        head = MeanDecoder(1024, output_channels=1000).requires_grad_(False)
        with flop_counter() as counter, attention_path(encoder, "projected"):
            head(encoder(array))
    return counter.get_total_flops()


@pytest.mark.parametrize(("reads", "giga"), [((0, 1, 1, 1, 1, 1, 1, 1), 706.28), ((0,) + (None,) * 7, 403.96)])
def test_imagenet_has_the_papers_flops(reads: tuple[int | None, ...], giga: float) -> None:
    """Table 6, within 1 %."""
    assert flops(cross_attention=reads) / 1e9 == pytest.approx(giga, rel=0.01)


def test_blocks_have_the_papers_flops() -> None:
    """43.19 GFLOP a read, 7.516 GFLOP a self-attention, within 1 %."""
    nothing = flops(cross_attention=(None,), latent_transformer=(None,))
    assert (flops(cross_attention=(0,), latent_transformer=(None,)) - nothing) / 1e9 == pytest.approx(43.19, rel=0.01)
    assert (flops(cross_attention=(None,), latent_transformer=(0,), num_layers=1) - nothing) / 1e9 == pytest.approx(
        7.516, rel=0.01
    )


def test_absorbing_saves_arithmetic_on_imagenet() -> None:
    """auto takes the absorbed path on dense rows: less than 70 % of the arithmetic of the projected one."""
    with torch.device("meta"):
        encoder = Encoder(EncoderConfig(cross_attention=(0,), latent_transformer=(None,)), channels=261).requires_grad_(
            False
        )
        array = rows_of(torch.empty(1, 50_176, 261))
    counted = {}
    for path in ("projected", "absorbed", "auto"):
        with flop_counter() as counter, attention_path(encoder, path):  # type: ignore[arg-type]
            encoder(array)
        counted[path] = counter.get_total_flops()
    assert counted["auto"] == counted["absorbed"] < 0.7 * counted["projected"]
    assert counted["absorbed"] > 4 * 512 * 50_176 * 261, "the two products with all rows were counted"


# -- numbers of few bits


def test_an_encoder_in_bfloat16_is_within_two_hundredths() -> None:
    """Reads and processes under autocast: finite and within 2e-2 of float32; gradients are finite and of float32."""
    torch.manual_seed(0)
    encoder = Encoder(
        EncoderConfig(
            num_latents=16, latent_channels=64, cross_attention=(0, 1, 1), latent_transformer=(0, 0, 0), num_layers=2
        ),
        channels=21,
    )
    array = rows_of(normal(2, 60, 21).float())
    exact = encoder(array)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result: Tensor = encoder(array)
    assert float((result.float() - exact).norm() / exact.norm()) < 2e-2
    assert not result.float().equal(exact), "autocast was in force"
    result.float().square().sum().backward()
    for name, parameter in encoder.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.dtype == torch.float32, name
            assert parameter.grad.isfinite().all(), name
