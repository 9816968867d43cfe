"""The absorbed read of spelled-out rows: the dense softmax, its gradients, few bits, and tiles."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import reference
from builders import MASKED, distance, largest_allocation, mask_of, normal
from sensorium.nn.ops import row_attention, rows

EXACT = {"rtol": 1e-11, "atol": 1e-12}


def expected(query: Tensor, table: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    sums, log_sum = reference.row_attention(
        query.detach().double().numpy(), table.detach().double().numpy(), None if mask is None else mask.numpy()
    )
    return torch.from_numpy(sums), torch.from_numpy(log_sum)


def problem(
    *, batch: int = 2, latents: int = 3, channels: int = 4, count: int = 7, masked: str = "nothing", seed: int = 0
) -> tuple[Tensor, Tensor, Tensor | None]:
    table = normal(batch, count, channels, seed=seed)
    return normal(batch, latents, channels, seed=seed + 1), table, mask_of(batch, count, masked, seed + 2)


@settings(max_examples=30)
@given(
    batch=st.integers(1, 4),
    latents=st.integers(1, 5),
    channels=st.integers(1, 9),
    count=st.one_of(st.integers(0, 9), st.sampled_from([255, 256, 257, 700])),
    masked=st.sampled_from(MASKED),
    tile=st.sampled_from([1, 2048, 2**19]),
    seed=st.integers(0, 999),
)
@example(batch=3, latents=2, channels=3, count=700, masked="some", tile=1, seed=0)
@example(batch=4, latents=3, channels=2, count=257, masked="all of one example", tile=2048, seed=0)
@example(batch=2, latents=3, channels=4, count=0, masked="some", tile=1, seed=0)
def test_it_is_the_dense_softmax(
    batch: int, latents: int, channels: int, count: int, masked: str, tile: int, seed: int
) -> None:
    """Any sizes and masks, no rows at all, in as many tiles over rows and examples as it takes."""
    arguments = problem(batch=batch, latents=latents, channels=channels, count=count, masked=masked, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "TILE", tile)
        read = row_attention(*arguments)
    sums, log_sum = expected(*arguments)
    torch.testing.assert_close(read.sums, sums, **EXACT)
    torch.testing.assert_close(read.log_sum, log_sum, **EXACT)


@pytest.mark.parametrize("tile", [1, 4096])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("masked", MASKED)
def test_logits_beyond_what_exp_holds(masked: str, sign: int, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits of ±2000 that grow from tile to tile, or fall; whole tiles may be masked."""
    monkeypatch.setattr(rows, "TILE", tile)
    query, table, mask = problem(count=800, masked=masked)
    table = torch.cat([sign * torch.linspace(-2000, 2000, 800).double().expand(2, 800)[..., None], table], -1)
    query = torch.cat([torch.ones(2, 3, 1), query], -1)
    if mask is not None:
        mask[:, :300] = False
    read = row_attention(query, table, mask)
    sums, log_sum = expected(query, table, mask)
    torch.testing.assert_close(read.sums, sums, **EXACT)
    torch.testing.assert_close(read.log_sum, log_sum, **EXACT)


def test_tiles_change_nothing() -> None:
    """Forward and backward: over rows and over examples, and all at once."""
    answers = []
    for tile in (1, 2**19):
        query, table, mask = problem(batch=3, count=600, masked="all of one example")
        query.requires_grad_()
        table.requires_grad_()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rows, "TILE", tile)
            read = row_attention(query, table, mask)
            (read.sums.pow(3).sum() + read.log_sum[:-1].square().sum()).backward()
        answers.append([read.sums, read.log_sum, query.grad, table.grad])
    torch.testing.assert_close(answers[0], answers[1], **EXACT)


def test_tiles_are_what_they_are_for() -> None:
    """256 rows at least, else as many weights as a tile holds; every row and example once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "TILE", 4096)
        for batch, latents, count in ((3, 2, 5000), (5, 1000, 700), (7, 3, 9), (2, 1, 1)):
            seen = torch.zeros(batch, count, dtype=torch.int64)
            for examples, tiles in rows._tiles(torch.empty(batch, latents, 1), torch.empty(batch, count, 1)):
                for tile in tiles:
                    seen[examples, tile] += 1
                    weights = seen[examples, tile].numel() * latents
                    assert weights <= max(4096, 256 * latents)
            assert seen.eq(1).all()


@pytest.mark.parametrize("masked", MASKED)
@pytest.mark.parametrize("wanted", [True, False])
def test_gradcheck(wanted: bool, masked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every gradient of the query, and of the rows where they want one, through both results and over examples."""
    monkeypatch.setattr(rows, "TILE", 1)
    query, table, mask = problem(channels=3, count=5, masked=masked)

    def run(query: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        read = row_attention(query, table, mask)
        return read.sums, read.log_sum.masked_fill(read.log_sum.isneginf(), 0.0)

    assert torch.autograd.gradcheck(run, (query.requires_grad_(), table.requires_grad_(wanted)))


def test_a_query_of_one_example_may_be_shared() -> None:
    """Expanded over the batch, its gradient is the sum of the examples' grads."""
    query, table, _ = problem(batch=3)
    one, copies = query[:1].clone().requires_grad_(), query[:1].repeat(3, 1, 1).requires_grad_()
    for part in (one.expand(3, -1, -1), copies):
        row_attention(part, table, None).sums.square().sum().backward()
    torch.testing.assert_close(one.grad, copies.grad.sum(0, keepdim=True))


@pytest.mark.parametrize("garbage", [0.0, -7.0, 1e6])
def test_masked_rows_are_never_attended_to(garbage: float) -> None:
    """Not a bit changes, and no gradient reaches them."""
    query, table, mask = problem(masked="some")
    assert mask is not None
    spoilt = torch.where(mask[..., None], table, garbage).requires_grad_()
    read, other = row_attention(query, table, mask), row_attention(query, spoilt, mask)
    assert read.sums.equal(other.sums)
    assert read.log_sum.equal(other.log_sum)
    (other.sums.square().sum() + other.log_sum.sum()).backward()
    assert not spoilt.grad[~mask].any()
    assert spoilt.grad[mask].abs().sum(-1).all(), "present rows are read"


@pytest.mark.parametrize("count", [0, 5])
def test_no_row_gives_zeros(count: int) -> None:
    query, table = normal(2, 3, 4).requires_grad_(), normal(2, count, 4, seed=2).requires_grad_()
    read = row_attention(query, table, torch.zeros(2, count, dtype=torch.bool))
    assert not read.sums.any()
    assert read.log_sum.isneginf().all()
    (read.sums.sum() + read.log_sum.exp().sum()).backward()
    assert not query.grad.any()
    assert not table.grad.any()


@pytest.mark.parametrize(("batch", "latents"), [(0, 3), (2, 0)])
def test_nobody_reads_nothing(batch: int, latents: int) -> None:
    assert row_attention(*problem(batch=batch, latents=latents)).sums.shape == (batch, latents, 4)


# -- numbers of few bits


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("masked", MASKED)
def test_sixteen_bits_are_near(dtype: torch.dtype, masked: str) -> None:
    """Finite, float32 at the end, and near the exact read of the same numbers; grads too."""
    query, table, mask = problem(channels=8, count=600, masked=masked)
    query, table = (part.to(dtype).requires_grad_() for part in (query, table))
    exact_query, exact_table = (part.detach().double().requires_grad_() for part in (query, table))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "TILE", 1)
        read, exact = row_attention(query, table, mask), row_attention(exact_query, exact_table, mask)
        for part in (read, exact):
            part.sums.square().sum().backward()
    assert read.sums.dtype == read.log_sum.dtype == torch.float32
    assert query.grad.dtype == table.grad.dtype == dtype
    near = 2e-3 if dtype == torch.float16 else 2e-2
    assert distance(read.sums, exact.sums) < near
    assert distance(read.log_sum.exp(), exact.log_sum.exp()) < near
    assert distance(query.grad, exact_query.grad) < 4 * near
    assert distance(table.grad, exact_table.grad) < 4 * near


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sums_of_many_rows_are_in_range(dtype: torch.dtype) -> None:
    """70,000 rows of 2 with equal weights: the sum before it is divided (140,000) is beyond float16's range."""
    query = torch.zeros(1, 2, 8, dtype=dtype).requires_grad_()
    read = row_attention(query, torch.full((1, 70_000, 8), 2.0, dtype=dtype), None)
    torch.testing.assert_close(read.sums, torch.full((1, 2, 8), 2.0), rtol=1e-2, atol=0)
    read.sums.sum().backward()
    assert query.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_logits_beyond_float16_are_in_range(dtype: torch.dtype) -> None:
    """Logits of 160,000: the highest row is what is read."""
    query, table = torch.full((1, 1, 4), 200.0), torch.tensor([[[200.0] * 4, [-200.0] * 4, [150.0] * 4]])
    query, table = query.to(dtype).requires_grad_(), table.to(dtype).requires_grad_()
    read = row_attention(query, table, None)
    torch.testing.assert_close(read.sums, torch.full((1, 1, 4), 200.0))
    read.sums.sum().backward()
    assert query.grad.isfinite().all()
    assert table.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_does_not_reach_inside(dtype: torch.dtype) -> None:
    """What is computed in float32 stays so: the same bits within autocast and without."""
    query, table, mask = problem(channels=8, masked="some")
    for factor in (1, 300):
        arguments = ((factor * query).to(dtype), (factor * table).to(dtype), mask)
        expected = row_attention(*arguments)
        with torch.autocast("cpu", dtype=dtype):
            read = row_attention(*arguments)
        assert read.sums.equal(expected.sums)
        assert read.log_sum.equal(expected.log_sum)


# -- an operator among operators


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("masked", ["nothing", "some"])
def test_pytorch_finds_the_operator_sound(masked: str, dtype: torch.dtype) -> None:
    """Schema, autograd registration, shapes without data, and what torch.compile makes of it."""
    query, table, mask = problem(masked=masked)
    arguments = (query.to(dtype).requires_grad_(), table.to(dtype).requires_grad_(), mask)
    torch.library.opcheck(torch.ops.sensorium.row_attention.default, arguments)


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("masked", ["nothing", "some"])
def test_pytorch_finds_the_backward_operator_sound(masked: str, wanted: bool) -> None:
    query, table, mask = problem(masked=masked)
    read = row_attention(query, table, mask)
    torch.library.opcheck(
        torch.ops.sensorium.row_attention_backward.default,
        (torch.ones_like(read.sums), torch.ones_like(read.log_sum), query, table, mask, read.log_sum, wanted),
        test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_dynamic"),  # it has no gradient of its own
    )


def test_shapes_without_data() -> None:
    query, table = torch.empty(2, 3, 4, device="meta", dtype=torch.bfloat16), torch.empty(2, 7, 4, device="meta")
    read = row_attention(query.requires_grad_(), table.bfloat16().requires_grad_(), None)
    assert read.sums.shape == (2, 3, 4)
    assert read.log_sum.shape == (2, 3)
    assert read.sums.dtype == torch.float32
    read.sums.sum().backward()
    assert query.grad is not None
    assert query.grad.dtype == torch.bfloat16


def test_nothing_is_latents_by_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward with small tiles: no allocation is beyond the rows themselves and a tile."""
    monkeypatch.setattr(rows, "TILE", 1)
    query, table, mask = problem(batch=1, latents=64, channels=4, count=3000, masked="some")
    query.requires_grad_()
    table.requires_grad_()
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        read = row_attention(query, table, mask)
        (read.sums.sum() + read.log_sum.sum()).backward()
    largest = largest_allocation(profile) / 8
    assert table.numel() <= largest <= 64 * 256 < 64 * 3000 / 10, "floats at once"
