"""The structured read of a grid: the dense softmax it stands for, its gradients, and what an operator owes PyTorch."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import reference
from builders import MASKED, distance, grid_problem, largest_allocation, mask_of, normal
from sensorium.nn.ops import GridAttention, compiled, fallback, grid_attention

FLOATS = ("query", "tables", "values", "scale")
RESULTS = ("sums", "marginals", "log_sum")
NEEDS_COMPILED = pytest.mark.skipif(compiled.library is None, reason="no compiled pass is built here")
KINDS = [
    pytest.param(torch.float64, id="fallback"),
    pytest.param(torch.float32, id="compiled", marks=NEEDS_COMPILED),
]


def to(problem: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    return {name: part.to(dtype) if name in FLOATS else part for name, part in problem.items()}


def dense(problem: dict[str, Any]) -> GridAttention:
    """What the reference says, from float64 numbers."""
    parts = [part.numpy() if isinstance(part, Tensor) else part for part in to(problem, torch.float64).values()]
    return GridAttention(*(torch.from_numpy(np.asarray(result)) for result in reference.grid_attention(*parts)))


def close(result: GridAttention, expected: GridAttention) -> None:
    for name in RESULTS:
        torch.testing.assert_close(getattr(result, name), getattr(expected, name), rtol=1e-11, atol=1e-12, msg=name)


# -- the dense softmax


@settings(max_examples=40)
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple),
    batch=st.integers(1, 3),
    heads=st.integers(1, 3),
    latents=st.integers(1, 5),
    channels=st.integers(1, 9),
    masked=st.sampled_from(MASKED),
    tile=st.sampled_from([1, 50, 2**20]),
    seed=st.integers(0, 999),
)
@example(shape=(5, 3), batch=2, heads=3, latents=5, channels=4, masked="some", tile=1, seed=0)
@example(shape=(3, 5, 2), batch=2, heads=2, latents=3, channels=1, masked="all of one example", tile=50, seed=0)
@example(shape=(2, 3, 2, 3), batch=1, heads=1, latents=1, channels=9, masked="nothing", tile=1, seed=0)
@example(shape=(7,), batch=2, heads=2, latents=3, channels=3, masked="all of one example", tile=1, seed=0)
@example(shape=(1, 1), batch=1, heads=1, latents=1, channels=1, masked="all of one example", tile=1, seed=0)
def test_it_is_the_dense_softmax(
    shape: tuple[int, ...], batch: int, heads: int, latents: int, channels: int, masked: str, tile: int, seed: int
) -> None:
    """Any number of axes, heads, latents and channels; any mask; in as many tiles as it takes."""
    sizes = {"batch": batch, "heads": heads, "latents": latents, "channels": channels}
    problem = grid_problem(shape, masked=masked, seed=seed, **sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fallback, "TILE", tile)
        close(grid_attention(**problem), dense(problem))


def test_every_axis_is_its_own() -> None:
    """A table that points at one entry of one axis makes the read look there, and nowhere else."""
    shape, begins = (3, 4, 5), (0, 3, 7)
    for axis, begin in enumerate(begins):
        problem = grid_problem(shape, batch=1, latents=1, channels=1)
        problem["query"].zero_()
        problem["scale"].fill_(1.0)
        problem["tables"].zero_()
        problem["tables"][..., begin + 2] = 100.0
        marginals = grid_attention(**problem).marginals[0, 0, 0].split(shape)
        for other, found in enumerate(marginals):
            expected = torch.full_like(found, 1 / shape[other])
            if other == axis:
                expected = torch.zeros_like(found)
                expected[2] = 1.0
            torch.testing.assert_close(found, expected)


def test_logits_beyond_what_exp_holds() -> None:
    """Logits of ±2000, growing from tile to tile and falling: the running maximum keeps everything in range."""
    for sign in (1, -1):
        problem = grid_problem((9, 5), latents=2, masked="some")
        problem["scale"].fill_(1.0)
        problem["tables"] = sign * torch.arange(14.0, dtype=torch.float64).sub(6).mul(250).expand(2, 1, 2, 14)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fallback, "TILE", 1)
            close(grid_attention(**problem), dense(problem))


def test_tiles_change_nothing() -> None:
    """Forward and backward, with one line at a time and all at once."""
    answers = []
    for tile in (1, 2**20):
        problem = grid_problem((5, 3, 2), heads=2, masked="all of one example")
        for name in FLOATS:
            problem[name].requires_grad_()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fallback, "TILE", tile)
            read = grid_attention(**problem)
            (read.sums.square().sum() + read.marginals.pow(3).sum() + read.log_sum[:-1].square().sum()).backward()
        answers.append([*(getattr(read, name) for name in RESULTS), *(problem[name].grad for name in FLOATS)])
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", KINDS)
def test_masked_rows_are_never_attended_to(dtype: torch.dtype) -> None:
    """Whatever finite numbers they hold: not a bit changes, and no gradient reaches them."""
    problem = to(grid_problem((4, 5), heads=2, masked="some"), dtype)
    other = dict(problem)
    other["values"] = torch.where(problem["mask"][:, None], problem["values"], 1e3).requires_grad_()
    other["scale"] = torch.where(problem["mask"], problem["scale"], -7.0).requires_grad_()
    result = grid_attention(**other)
    for name in RESULTS:
        assert getattr(grid_attention(**problem), name).equal(getattr(result, name)), name
    (result.sums.square().sum() + result.marginals.square().sum() + result.log_sum.sum()).backward()
    assert not other["scale"].grad[~problem["mask"]].any()
    assert not other["values"].grad.mT[~problem["mask"]].any()
    assert other["values"].grad.mT[problem["mask"]].abs().sum(-1).all(), "present rows are read"


@pytest.mark.parametrize("dtype", KINDS)
def test_no_row_gives_zeros(dtype: torch.dtype) -> None:
    """An example of masked rows only: zeros, a log-sum of -inf, and grads of zero."""
    problem = to(grid_problem((3, 4), masked="all of one example"), dtype)
    for name in FLOATS:
        problem[name].requires_grad_()
    read = grid_attention(**problem)
    assert not read.sums[-1].any()
    assert not read.marginals[-1].any()
    assert read.log_sum[-1].isneginf().all()
    assert read.log_sum[0].isfinite().all()
    (read.sums.sum() + read.marginals.square().sum() + read.log_sum.exp().sum()).backward()
    for name in FLOATS:
        assert not problem[name].grad[-1].any(), name
        assert problem[name].grad[0].any(), name


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize(("batch", "latents"), [(0, 3), (2, 0)])
def test_nobody_reads_nothing(batch: int, latents: int, dtype: torch.dtype) -> None:
    """No example or no latent: results of that shape."""
    problem = to(grid_problem((3, 4), batch=batch, latents=latents), dtype)
    assert grid_attention(**problem).sums.shape == (batch, 1, latents, 2)


# -- gradients


def run(problem: dict[str, Any], *floats: Tensor) -> tuple[Tensor, ...]:
    """The results as functions of the four float arguments, all finite."""
    read = grid_attention(*floats, problem["mask"], problem["shape"])
    return read.sums, read.marginals, read.log_sum.masked_fill(read.log_sum.isneginf(), 0.0)


@pytest.mark.parametrize("masked", MASKED)
@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((3, 5), {"heads": 2, "latents": 2, "channels": 1}),
        ((2, 3, 2), {"heads": 1, "latents": 2, "channels": 3}),
    ],
)
def test_gradcheck(shape: tuple[int, ...], sizes: dict[str, int], masked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entry of the grads of all four arguments, through all three results, over several tiles."""
    monkeypatch.setattr(fallback, "TILE", 40)
    problem = grid_problem(shape, masked=masked, **sizes)
    floats = [problem[name].requires_grad_() for name in FLOATS]
    assert torch.autograd.gradcheck(lambda *floats: run(problem, *floats), floats)


@pytest.mark.parametrize("wanted", ["query", "values", "scale"])
def test_rows_get_gradients_only_where_something_wants_them(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One argument's gradient alone is right, and a pass over the rows is spared if it can be."""
    asked: list[bool] = []

    def backward(*arguments: Any, **names: Any) -> Any:
        asked.append(arguments[-1])
        return kept(*arguments, **names)

    kept = fallback.backward
    monkeypatch.setattr(fallback, "backward", backward)
    problem = grid_problem((3, 4), masked="some")
    together = [problem[name].clone().requires_grad_() for name in FLOATS]
    alone = [problem[name].clone().requires_grad_(name == wanted) for name in FLOATS]
    for floats in (together, alone):
        sum(part.square().sum() for part in run(problem, *floats)).backward()
    assert asked == [True, wanted != "query"]
    for name, one, other in zip(FLOATS, alone, together, strict=True):
        assert (one.grad is not None) == (name == wanted)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad)


def test_shared_arguments_gather_all_gradients() -> None:
    """A query and tables seen by every example (a stride of zero) get the sum of the examples' grads."""
    problem = grid_problem((3, 4), batch=3)
    query, tables = (problem[name][:1].clone().requires_grad_() for name in ("query", "tables"))
    copies = [part.detach().repeat(3, 1, 1, 1).requires_grad_() for part in (query, tables)]
    for parts in ((query.expand(3, -1, -1, -1), tables.expand(3, -1, -1, -1)), copies):
        read = run(problem, *parts, problem["values"], problem["scale"])
        sum(part.square().sum() for part in read).backward()
    torch.testing.assert_close(query.grad, copies[0].grad.sum(0, keepdim=True))
    torch.testing.assert_close(tables.grad, copies[1].grad.sum(0, keepdim=True))


# -- an operator among operators


@pytest.mark.parametrize("masked", ["nothing", "some"])
@pytest.mark.parametrize("dtype", KINDS)
def test_pytorch_finds_the_operator_sound(dtype: torch.dtype, masked: str) -> None:
    """Schema, autograd registration, shapes without data, and what torch.compile makes of it."""
    problem = to(grid_problem((3, 4), heads=2, masked=masked), dtype)
    floats = [problem[name].requires_grad_() for name in FLOATS]
    arguments = (*floats, problem["mask"], list(problem["shape"]))
    torch.library.opcheck(torch.ops.sensorium.grid_attention.default, arguments)


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("masked", ["nothing", "some"])
@pytest.mark.parametrize("dtype", KINDS)
def test_pytorch_finds_the_backward_operator_sound(dtype: torch.dtype, masked: str, rows: bool) -> None:
    problem = to(grid_problem((3, 4), heads=2, masked=masked), dtype)
    grads = (torch.ones_like(problem["query"]), torch.ones_like(problem["tables"]))
    log_sum = grid_attention(**problem).log_sum
    problem |= {"log_sum": log_sum, "shape": list(problem["shape"]), "rows": rows}
    parts = [problem[name] for name in (*FLOATS, "mask", "log_sum", "shape", "rows")]
    torch.library.opcheck(
        torch.ops.sensorium.grid_attention_backward.default,
        (*grads, torch.ones_like(log_sum), *parts),
        test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_dynamic"),  # it has no gradient of its own
    )


def test_shapes_without_data() -> None:
    """On the meta device: shapes and dtypes, and those of the grads."""
    problem = to(grid_problem((3, 4), heads=2), torch.float32)
    floats = [problem[name].to("meta").requires_grad_() for name in FLOATS]
    read = grid_attention(*floats, None, problem["shape"])
    real = grid_attention(**problem)
    for name in RESULTS:
        assert getattr(read, name).shape == getattr(real, name).shape
        assert getattr(read, name).dtype == torch.float32
        assert getattr(read, name).device.type == "meta"
    read.sums.sum().backward()
    for part in floats:
        assert part.grad is not None
        assert part.grad.shape == part.shape


def test_autocast_reads_in_float32() -> None:
    """Nothing is rounded to 16 bits on the way, and what comes in 16 bits is read in 32."""
    problem = to(grid_problem((3, 4), channels=3), torch.float32)
    expected = grid_attention(**problem)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        read = grid_attention(**problem)
        lowered = grid_attention(**to(problem, torch.bfloat16))
    for name in RESULTS:
        assert getattr(read, name).equal(getattr(expected, name)), name
        assert getattr(lowered, name).dtype == torch.float32
        assert distance(getattr(lowered, name), getattr(expected, name)) < 2e-2


@pytest.mark.parametrize("shape", [(3, 5), (12,), (2, 2, 2)])
def test_a_grid_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="not those of a grid"):
        grid_attention(**grid_problem((3, 4)) | {"shape": shape})


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("query", (slice(1),)),
        ("query", (..., slice(1))),
        ("tables", (slice(1),)),
        ("tables", (slice(None), slice(None), slice(1))),
        ("values", (slice(1),)),
        ("values", (slice(None), slice(1))),
        ("scale", (slice(1),)),
        ("scale", (slice(None), slice(5))),
        ("mask", (slice(1),)),
        ("mask", (slice(None), slice(5))),
    ],
)
def test_arguments_that_do_not_fit_are_refused(name: str, part: Any, dtype: torch.dtype) -> None:
    """The compiled pass sees addresses only: an argument that is too small must not reach it."""
    problem = to(grid_problem((3, 4), masked="some"), dtype)
    with pytest.raises((ValueError, RuntimeError)):
        grid_attention(**problem | {name: problem[name][part]})


@NEEDS_COMPILED
@pytest.mark.parametrize("name", FLOATS)
def test_floats_of_two_kinds_are_refused(name: str) -> None:
    """The compiled pass would take eight bytes for two numbers."""
    problem = to(grid_problem((3, 4)), torch.float32)
    with pytest.raises((ValueError, RuntimeError)):
        grid_attention(**problem | {name: problem[name].double()})


# -- memory


@pytest.mark.parametrize("dtype", KINDS)
def test_nothing_is_latents_by_rows(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward with small tiles: no allocation is beyond what goes in and a tile."""
    tile = 2048
    monkeypatch.setattr(fallback, "TILE", tile)
    problem = to(grid_problem((30, 40), batch=1, latents=64, channels=3), dtype)
    problem["mask"] = mask_of(1, prod(problem["shape"]), "some")
    floats = [problem[name].requires_grad_() for name in FLOATS]
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        sum(part.sum() for part in run(problem, *floats)).backward()
    largest = largest_allocation(profile) / torch.finfo(dtype).bits * 8
    inputs = max(part.numel() for part in floats)
    assert inputs <= largest <= max(inputs, 64 * 40, tile) < 64 * 1200 / 10, "floats at once"


def test_a_grid_of_a_million_rows_needs_what_it_holds() -> None:
    """1024 × 1024 rows and 2 latents over several tiles: the sums of ones are ones, marginals are shares."""
    shape = (1024, 1024)
    read = grid_attention(
        torch.zeros(1, 1, 2, 1),
        torch.zeros(1, 1, 2, 2048),
        torch.ones(1, 1, 2**20),
        torch.ones(1, 2**20),
        None,
        shape,
    )
    torch.testing.assert_close(read.sums, torch.ones(1, 1, 2, 1), rtol=1e-5, atol=0)
    torch.testing.assert_close(read.marginals, torch.full((1, 1, 2, 2048), 1 / 1024), rtol=1e-5, atol=0)
    torch.testing.assert_close(read.log_sum, torch.full((1, 1, 2), float(np.log(2**20))), rtol=1e-6, atol=0)


def test_values_given_in_any_layout() -> None:
    """Transposed, expanded or sliced arguments are read as what they say, not as how they lie in memory."""
    problem = to(grid_problem((3, 4), heads=2, masked="some"), torch.float32)
    expected = grid_attention(**problem)
    laid = dict(problem)
    laid["values"] = problem["values"].mT.contiguous().mT
    laid["query"] = problem["query"].transpose(1, 2).contiguous().transpose(1, 2)
    laid["tables"] = torch.cat([problem["tables"], normal(2, 2, 3, 1).float()], -1)[..., :-1]
    laid["scale"] = problem["scale"].mT.contiguous().mT
    laid["mask"] = problem["mask"].mT.contiguous().mT
    assert not any(laid[name].is_contiguous() for name in (*FLOATS, "mask"))
    for name in RESULTS:
        assert getattr(grid_attention(**laid), name).equal(getattr(expected, name)), name
