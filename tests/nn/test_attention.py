"""Cross-attention and self-attention against the reference, and absorbed against projected attention."""

from __future__ import annotations

from typing import Literal
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import reference
from builders import arrays, flop_counter, gradients, mask_of, normal, rows_of, shake
from sensorium.nn.attention import Attention, CrossAttention, SelfAttention, attention_path
from sensorium.nn.ops import AbsorbedQuery, AttentionInputs, DenseRows, dispatch, plan_attention, projected

PATHS: tuple[Literal["projected", "absorbed"], ...] = ("projected", "absorbed")
MASKS = {
    "none": None,
    "some": torch.tensor([[True, False, True, True, False], [False, True, True, False, True]]),
    "all of one example": torch.tensor([[True, False, True, True, False], [False] * 5]),
}


@pytest.fixture(autouse=True, params=["products", "fused"])
def _kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every law holds for small attentions as two products, and for the fused kernel."""
    small = {torch.float64: 2**30, torch.float32: 2**30, torch.bfloat16: 2**30} if request.param == "products" else {}
    monkeypatch.setattr(projected, "PLAIN_PRODUCTS", small)


def small_block(heads: int = 1, channels: int = 6, **changes: int) -> CrossAttention:
    return shake(CrossAttention(8, input_channels=channels, num_heads=heads, **changes))


# -- agreement with the papers' equations


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("heads", [1, 2, 3])
def test_cross_attention_is_the_papers(heads: int, mask: str, path: Literal["projected", "absorbed"]) -> None:
    """With one head and several, masked rows and an example of masked rows only, on both paths."""
    block, x, rows = small_block(heads), normal(2, 3, 8), normal(2, 5, 6, seed=2)
    expected = reference.cross_attention(x.numpy(), rows.numpy(), arrays(block), heads=heads, mask=_numpy(MASKS[mask]))
    with attention_path(block, path):
        result = block(x, AttentionInputs(rows_of(rows, MASKS[mask])))
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-10, atol=1e-10)


@given(
    heads=st.sampled_from([1, 2, 4]),
    latents=st.integers(1, 4),
    rows=st.integers(0, 7),
    qk_channels=st.sampled_from([4, 8, 12]),
    value_channels=st.sampled_from([4, 16]),
    mlp_ratio=st.integers(1, 3),
    path=st.sampled_from(PATHS),
)
def test_any_shape_of_cross_attention_is_the_papers(
    heads: int,
    latents: int,
    rows: int,
    qk_channels: int,
    value_channels: int,
    mlp_ratio: int,
    path: Literal["projected", "absorbed"],
) -> None:
    """Any number of rows (0 too), any channels of keys and values, any MLP."""
    block = small_block(heads, 5, qk_channels=qk_channels, value_channels=value_channels, mlp_ratio=mlp_ratio)
    x, values = normal(2, latents, 8), normal(2, rows, 5, seed=2)
    with attention_path(block, path):
        result = block(x, AttentionInputs(rows_of(values)))
    expected = reference.cross_attention(x.numpy(), values.numpy(), arrays(block), heads=heads)
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_self_attention_is_the_papers(heads: int) -> None:
    block, x = shake(SelfAttention(8, num_heads=heads, mlp_ratio=2)), normal(2, 5, 8)
    expected = reference.self_attention(x.numpy(), arrays(block), heads=heads)
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("path", PATHS)
def test_every_gradient_is_that_of_the_reference(path: Literal["projected", "absorbed"]) -> None:
    """Along a random direction in each parameter, in the latents and in the rows: (f(+h) - f(-h)) / 2h in numpy."""
    block, mask = small_block(2), MASKS["some"]
    x, rows = normal(2, 3, 8).requires_grad_(), normal(2, 5, 6, seed=2).requires_grad_()
    cost = normal(2, 3, 8, seed=3)
    with attention_path(block, path):
        (block(x, AttentionInputs(rows_of(rows, mask))) * cost).sum().backward()
    assert x.grad is not None
    assert rows.grad is not None
    grads = gradients(block) | {"x": x.grad, "rows": rows.grad}
    point = arrays(block) | {"x": x.detach().numpy(), "rows": rows.detach().numpy()}

    def loss(at: dict[str, np.ndarray]) -> float:
        return float(
            (reference.cross_attention(at["x"], at["rows"], at, heads=2, mask=_numpy(mask)) * cost.numpy()).sum()
        )

    for seed, name in enumerate(point):
        direction = np.random.default_rng(seed).standard_normal(point[name].shape)
        ahead, behind = (loss(point | {name: point[name] + h * direction}) for h in (1e-5, -1e-5))
        gradient = float((grads[name].numpy() * direction).sum())
        assert gradient == pytest.approx((ahead - behind) / 2e-5, rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("path", PATHS)
def test_gradcheck_of_both_paths(path: Literal["projected", "absorbed"]) -> None:
    """Derivatives with respect to latents and rows, an example of masked rows only included."""
    block, mask = small_block(2, 4), torch.tensor([[True, False, True], [False] * 3])
    x, rows = normal(2, 2, 8).requires_grad_(), normal(2, 3, 4, seed=2).requires_grad_()

    def run(x: Tensor, rows: Tensor) -> Tensor:
        with attention_path(block, path):
            return block(x, AttentionInputs(rows_of(rows, mask)))

    assert torch.autograd.gradcheck(run, (x, rows), fast_mode=True)


# -- one answer, two paths


@given(
    heads=st.sampled_from([1, 2, 4]),
    rows=st.integers(0, 9),
    channels=st.sampled_from([4, 8, 12]),
    masked=st.booleans(),
    seed=st.integers(0, 99),
)
def test_absorbed_is_projected_forward_and_backward(
    heads: int, rows: int, channels: int, masked: bool, seed: int
) -> None:
    """In float64, answers and all gradients agree, whatever is masked."""
    block, x, values = small_block(heads, channels), normal(2, 3, 8), normal(2, rows, channels, seed=seed)
    mask = normal(2, rows, seed=seed + 1) > 0.5 if masked else None
    answers, grads = [], []
    for path in PATHS:
        block.zero_grad(set_to_none=True)
        latents, source = x.clone().requires_grad_(), values.clone().requires_grad_()
        with attention_path(block, path):
            answers.append(block(latents, AttentionInputs(rows_of(source, mask))))
        answers[-1].square().sum().backward()
        zero = torch.zeros_like(source)
        grads.append(gradients(block) | {"x": latents.grad, "rows": zero if source.grad is None else source.grad})
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("channels", [8, 13])
def test_float32_is_close_to_float64(channels: int, path: Literal["projected", "absorbed"]) -> None:
    """Relative error below 1e-5, for widths that are padded and widths that are not."""
    block, x, rows = small_block(1, channels), normal(2, 4, 8), normal(2, 50, channels, seed=2)
    with attention_path(block, path), torch.no_grad():
        exact = block(x, AttentionInputs(rows_of(rows)))
        result = block.float()(x.float(), AttentionInputs(rows_of(rows.float())))
    assert result.dtype == torch.float32
    assert float((result - exact).norm() / exact.norm()) < 1e-5


def test_a_path_is_put_back() -> None:
    """The path is put back at the end of the context, after an error too; contexts nest."""
    block, x, array = small_block(), normal(1, 2, 8), rows_of(normal(1, 4, 6, seed=2))

    def path() -> str:
        with patch.object(dispatch, "project_rows", wraps=dispatch.project_rows) as projecting:
            block(x, AttentionInputs(array))
        return "projected" if projecting.called else "absorbed"

    before = path()
    with attention_path(block, "projected"):
        with attention_path(block, "absorbed"):
            assert path() == "absorbed"
        with pytest.raises(RuntimeError, match="shape"), attention_path(block, "absorbed"):
            block(x[..., :3], AttentionInputs(array))
        assert path() == "projected"
    assert path() == before


@settings(max_examples=7)
@given(
    latents=st.integers(1, 12),
    channels=st.sampled_from([64, 128]),
    heads=st.sampled_from([1, 4, 8]),
    width=st.sampled_from([8, 128]),
    beyond=st.integers(-1, 1),
)
def test_auto_takes_the_path_with_less_arithmetic(
    latents: int, channels: int, heads: int, width: int, beyond: int
) -> None:
    """Multiply-adds as torch counts them, for numbers of rows around the one where both are equal."""
    # rows · (channels + latents - heads · latents) = latents · channels, if the left factor is positive at all
    equal = latents * channels // max(1, channels + latents - heads * latents)
    with torch.device("meta"):
        block = CrossAttention(width, input_channels=channels, num_heads=heads)
        x, array = torch.empty(1, latents, width), rows_of(torch.empty(1, max(1, equal + beyond), channels))
    counts = {}
    for path in (*PATHS, "auto"):
        with flop_counter() as counter, attention_path(block, path), torch.no_grad():
            block(x, AttentionInputs(array))
        counts[path] = counter.get_total_flops()
    assert counts["auto"] == min(counts["projected"], counts["absorbed"])
    plan = plan_attention(
        array, num_queries=latents, num_heads=heads, qk_channels=channels, value_channels=channels, path="auto"
    )
    assert plan.absorbed == (counts["absorbed"] <= counts["projected"])
    assert plan.structured == (False,)


# -- weights


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("heads", [1, 2, 3])
def test_weights_are_the_references(heads: int, mask: str) -> None:
    """They sum to 1 over present rows, are 0 on masked ones, and are all 0 where every row is masked."""
    block, x, rows = small_block(heads), normal(2, 3, 8), normal(2, 5, 6, seed=2)
    present = MASKS[mask]
    weights = block.weights(x, AttentionInputs(rows_of(rows, present))).detach()
    inner = arrays(block)
    expected = reference.attention_weights(
        reference.layer_norm(x.numpy(), reference.below(inner, "query_norm")),
        reference.layer_norm(rows.numpy(), reference.below(inner, "input_norm")),
        reference.below(inner, "attention"),
        heads=heads,
        mask=_numpy(present),
    )
    shown = torch.ones(2, 5, dtype=torch.bool) if present is None else present
    assert weights.shape == (2, heads, 3, 5)
    torch.testing.assert_close(weights.sum(-1), shown.any(-1)[:, None, None].expand(2, heads, 3).to(weights.dtype))
    assert not weights.masked_select(~shown[:, None, None]).any()
    np.testing.assert_allclose(weights.numpy(), expected * shown[:, None, None].numpy(), atol=1e-12)


def test_weights_reproduce_the_attention() -> None:
    """weights @ values, projected out, is what the attention adds to the latents."""
    block, x, rows = small_block(2), normal(2, 3, 8), normal(2, 5, 6, seed=2)
    present = AttentionInputs(rows_of(rows, MASKS["some"]))
    with torch.no_grad():
        values = projected.split_heads(block.attention.value(block.input_norm(rows)), 2)
        summed = (block.weights(x, present) @ values).transpose(1, 2).flatten(2)
        after = x + block.attention.out(summed)
        expected = block(x, present)
    torch.testing.assert_close(after + block.mlp(block.mlp_norm(after)), expected, rtol=1e-10, atol=1e-10)


# -- numbers of few bits


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("masked", [False, True])
def test_bfloat16_is_within_two_hundredths(path: Literal["projected", "absorbed"], masked: bool) -> None:
    """Autocast gives finite numbers within 2e-2 of float32."""
    torch.manual_seed(0)
    block, x, values = (
        CrossAttention(64, input_channels=21, num_heads=1),
        normal(2, 8, 64).float(),
        normal(2, 100, 21, seed=2).float(),
    )
    mask = (normal(2, 100, seed=3) > 0) if masked else None
    with attention_path(block, path), torch.no_grad():
        exact = block(x, AttentionInputs(rows_of(values, mask)))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rows = AttentionInputs(rows_of(values, mask))
            result = block(x, rows)
    assert rows.dense.normalised.dtype == torch.bfloat16, "autocast was in force"
    assert result.isfinite().all()
    assert float((result.float() - exact).norm() / exact.norm()) < 2e-2


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_huge_logits_do_not_overflow(precision: torch.dtype, path: Literal["projected", "absorbed"]) -> None:
    """Logits beyond float16's largest number (65504) give finite answers and weights that sum to 1."""
    torch.manual_seed(0)
    block, x, values = (
        CrossAttention(64, input_channels=24, num_heads=1),
        normal(2, 4, 64).float(),
        normal(2, 30, 24, seed=2).float(),
    )
    with torch.no_grad():
        block.attention.query.weight.mul_(1000)
        block.attention.key.weight.mul_(100)
        with attention_path(block, path), torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            rows = AttentionInputs(rows_of(values))
            attention = block.attention
            absorbed = AbsorbedQuery.absorb(
                attention.query(block.query_norm(x)), norm=block.input_norm, key=attention.key, num_heads=1
            )
            query, keys = absorbed.query.float(), rows.dense.normalised.float()
            result, weights = block(x, rows), block.weights(x, rows)
    assert float((query @ keys[:, None].mT).abs().max()) > 65504, "the test is about these"
    assert result.isfinite().all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1, 4))


def test_statistics_of_rows_are_never_of_few_bits() -> None:
    """A large offset (a year, a temperature in kelvin) survives autocast: rows are normalised in float32."""
    values = 2000 + normal(1, 4, 8).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rows = DenseRows.of(rows_of(values))
    assert rows.normalised.dtype == torch.bfloat16, "autocast was in force"
    torch.testing.assert_close(rows.normalised.float(), DenseRows.of(rows_of(values)).normalised, rtol=1e-2, atol=1e-2)


# -- shapes


def test_rows_are_padded_with_zeros() -> None:
    """Channels are filled up to whole vectors of 8; the filling is zero and changes nothing."""
    rows = DenseRows.of(rows_of(normal(1, 4, 13)))
    assert rows.normalised.shape == (1, 4, 16)
    assert rows.channels == 13
    assert not rows.normalised[..., 13:].any()
    torch.testing.assert_close(rows.normalised.mean(-1), torch.zeros(1, 4, dtype=torch.float64))


def test_heads_must_divide() -> None:
    with pytest.raises(ValueError, match="2 heads do not divide 261"):
        Attention(8, input_channels=261, num_heads=2, qk_channels=261, value_channels=261)


@pytest.mark.parametrize("path", PATHS)
def test_one_latent_array_is_shared_by_the_batch(path: Literal["projected", "absorbed"]) -> None:
    """A batch of one x is that x for every example of a batch of rows."""
    block, x, rows = small_block(2), normal(1, 3, 8), AttentionInputs(rows_of(normal(3, 5, 6, seed=2)))
    with attention_path(block, path):
        torch.testing.assert_close(block(x, rows), block(x.expand(3, -1, -1), rows))


def _numpy(mask: Tensor | None) -> np.ndarray | None:
    return None if mask is None else mask.numpy()


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("masked", [False, True])
def test_the_softmax_is_in_float32_at_least(precision: torch.dtype, masked: bool) -> None:
    """Of logits in a lower precision as of the same logits in float64: nothing is rounded on the way."""
    logits = (4 * normal(2, 3, 5, 200)).to(precision)
    mask = mask_of(2, 200, "some") if masked else None
    weights, exact = projected._softmax(logits, mask), projected._softmax(logits.double(), mask)
    assert weights.dtype == torch.promote_types(precision, torch.float32)
    torch.testing.assert_close(weights.double(), exact, atol=1e-6, rtol=1e-5)
