"""The compiled pass computes what the fallback computes in float64: any vectors, threads and lengths of line."""

from __future__ import annotations

import ctypes
import re
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from builders import MASKED, distance, grid_array, grid_problem, normal, shake, threads
from sensorium.nn.attention import CrossAttention, attention_path
from sensorium.nn.byte_array import ByteArray
from sensorium.nn.ops import AttentionInputs, compiled, compiled_name, fallback, grid_attention

FLOATS = ("query", "tables", "values", "scale")
NAMES = ("sums", "marginals", "log_sum", *(f"{name} gradient" for name in FLOATS))
TARGETS = range(0 if compiled.library is None else compiled.library.sensorium_targets())

needs_library = pytest.mark.skipif(compiled.library is None, reason="no compiled pass is built here")


@pytest.fixture(params=TARGETS or [None], ids=lambda number: f"target {number}")
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Every kind of vectors that this processor has, in turn."""
    if compiled.library is None:
        pytest.skip("no compiled pass is built here")
    monkeypatch.setattr(compiled, "target", request.param)
    return request.param


def answers(problem: dict[str, Any], dtype: torch.dtype) -> dict[str, Tensor]:
    """Results and grads, of a cost in which all three results have weights of their own."""
    floats = {name: problem[name].detach().to(dtype).requires_grad_() for name in FLOATS}
    read = grid_attention(**problem | floats)
    some = ~read.log_sum.isneginf()
    cost = (read.sums * normal(*read.sums.shape, seed=21).to(dtype)).sum()
    cost = cost + (read.marginals * normal(*read.marginals.shape, seed=22).to(dtype)).sum()
    cost = cost + (read.log_sum * normal(*some.shape, seed=23).to(dtype))[some].sum()
    grads = torch.autograd.grad(cost, list(floats.values()))
    # -inf would make every distance NaN; where it is, is compared apart.
    results = (read.sums, read.marginals, read.log_sum.masked_fill(~some, 0.0), *grads)
    return dict(zip(NAMES, (part.detach() for part in results), strict=True)) | {"some": some}


def agrees(problem: dict[str, Any], times: float = 1.0) -> None:
    """The compiled pass is the fallback in float64, for the same numbers: results, and all grads.

    Gradients are differences from a mean. What that costs in float32 (2e-6) it costs the fallback as well.
    """
    problem = problem | {name: problem[name].float().double() for name in FLOATS}
    exact, result = answers(problem, torch.float64), answers(problem, torch.float32)
    assert result.pop("some").equal(exact.pop("some"))
    assert result["sums"].dtype == torch.float32
    far = {name: distance(result[name], exact[name]) for name in NAMES}
    allowed = {name: times * (5e-6 if name.endswith("gradient") else 1e-6) for name in NAMES}
    assert {name: value for name, value in far.items() if value > allowed[name]} == {}


# -- the fallback's numbers


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3).flatmap(
        lambda lead: st.integers(1, 40).map(lambda width: (*lead, width))
    ),
    batch=st.integers(1, 3),
    heads=st.integers(1, 3),
    latents=st.integers(1, 9),
    channels=st.integers(1, 13),
    masked=st.sampled_from(MASKED),
    seed=st.integers(0, 999),
)
@settings(max_examples=25)
@needs_library
def test_any_problem(
    shape: tuple[int, ...], batch: int, heads: int, latents: int, channels: int, masked: str, seed: int
) -> None:
    sizes = {"batch": batch, "heads": heads, "latents": latents, "channels": channels}
    agrees(grid_problem(shape, masked=masked, seed=seed, **sizes), 2)


@pytest.mark.parametrize("masked", MASKED)
@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33])
def test_lines_of_any_length(target: int, width: int, masked: str) -> None:
    """Whole vectors, and one number more or less."""
    agrees(grid_problem((3, width), heads=2, latents=5, channels=4, masked=masked))


@pytest.mark.parametrize("channels", range(1, 14))
def test_any_number_of_channels(target: int, channels: int) -> None:
    """They are read in groups of four."""
    agrees(grid_problem((4, 19), latents=3, channels=channels, masked="some"))


@pytest.mark.parametrize("latents", range(1, 10))
def test_any_number_of_latents(target: int, latents: int) -> None:
    """They are read in blocks of four."""
    agrees(grid_problem((4, 19), heads=2, latents=latents, channels=3, masked="some"))


@pytest.mark.parametrize(
    "shape", [(21,), (5, 9), (3, 4, 5), (2, 3, 1, 4), (2, 1, 2, 3, 2), (2,) * 6, (1, 2) * 3 + (3,), (2,) * 8]
)
def test_any_number_of_axes(target: int, shape: tuple[int, ...]) -> None:
    agrees(grid_problem(shape, heads=2, latents=5, channels=3, masked="all of one example"))


def test_the_fallback_takes_more_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine axes are beyond the compiled pass; they are read all the same."""
    assert not compiled.supports(torch.zeros(1), 9)
    agrees(grid_problem((1, 2) * 4 + (3,), latents=2))


def test_many_lines(target: int) -> None:
    """A grid with more lines than parts in which threads share them."""
    agrees(grid_problem((37, 21), heads=2, latents=6, channels=3, masked="all of one example"))


def test_masked_lines(target: int) -> None:
    """Lines of which no row is present: the first, the last and those between."""
    for absent in ([0], [5], [0, 1, 2], [3, 4, 5], [0, 2, 4], [0, 1, 2, 3, 4]):
        problem = grid_problem((6, 19), latents=5, channels=3)
        problem["mask"] = torch.ones(2, 6, 19, dtype=torch.bool)
        problem["mask"][0, absent] = False
        problem["mask"][1, :, 7:] = False
        problem["mask"] = problem["mask"].flatten(1)
        agrees(problem)


def test_one_row_is_present(target: int) -> None:
    """Its weight is 1, wherever it is."""
    for row in (0, 18, 19, 57, 75):
        problem = grid_problem((4, 19), batch=1, latents=3, channels=3)
        problem["mask"] = torch.arange(76)[None] == row
        read = grid_attention(**problem | {name: problem[name].float() for name in FLOATS})
        expected = problem["values"][0, :, row].float().expand(1, 1, 3, 3)
        torch.testing.assert_close(read.sums, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("sign", [1, -1])
def test_peaks_that_grow_along_the_rows(target: int, sign: int) -> None:
    """Logits from -200 to 200, line by line higher (or lower): old sums fade, far weights are 0 and not NaN.

    The numbers are such that float32 holds every logit exactly.
    """
    shape = (21, 19)
    problem = grid_problem(shape, latents=5, channels=2, masked="some")
    steps = torch.cat([torch.arange(-10.0, 11.0) * 20, torch.arange(19.0) / 8]).double()
    offsets = torch.arange(5.0).double()[:, None] / 4
    problem["tables"] = (sign * (steps + offsets)).expand(2, 1, 5, 40).contiguous()
    problem["scale"] = torch.ones(2, prod(shape), dtype=torch.float64)
    problem["values"] = (problem["values"] * 4).round() / 4
    problem["query"] = (problem["query"] * 4).round() / 4
    agrees(problem, 20)
    assert float(problem["tables"].max() - problem["tables"].min()) > 400


def test_single_weights_far_below_the_peak(target: int) -> None:
    """A weight of e^-60 is e^-60: it is added up from the lines where it is alone."""
    problem = grid_problem((3, 17), batch=1, latents=1, channels=1)
    problem["query"].zero_()
    problem["scale"] = torch.ones(1, 51, dtype=torch.float64)
    problem["tables"] = torch.zeros(1, 1, 1, 20, dtype=torch.float64)
    problem["tables"][..., :3] = torch.tensor([0.0, -30.0, -60.0])
    read = grid_attention(**problem | {name: problem[name].float() for name in FLOATS})
    lines = read.marginals[0, 0, 0, :3]
    torch.testing.assert_close(lines, torch.tensor([0.0, -30.0, -60.0]).exp(), rtol=1e-5, atol=0)


def test_one_query_for_all_examples(target: int) -> None:
    """A batch of one, seen many times, is not copied: a stride of 0."""
    problem = grid_problem((3, 19), batch=1, heads=2, latents=5, channels=3)
    many = grid_problem((3, 19), batch=3, heads=2, latents=5, channels=3, masked="some", seed=5)
    for name in ("query", "tables"):
        many[name] = problem[name].expand(3, -1, -1, -1)
        assert many[name].stride(0) == 0
    copied = many | {name: many[name].contiguous() for name in ("query", "tables")}
    shared, own = answers(many, torch.float32), answers(copied, torch.float32)
    assert all(shared[name].equal(own[name]) for name in NAMES)
    agrees(many)


@pytest.mark.parametrize("shape", [(6, width) for width in (1, 2, 3, 5, 7, 9, 17)] + [(5,), (2, 3, 1)])
@pytest.mark.parametrize("masked", ["nothing", "some"])
def test_nothing_beyond_the_arguments_is_read(target: int, shape: tuple[int, ...], masked: str) -> None:
    """NaN before and behind each argument changes no bit of results or grads."""
    problem = grid_problem(shape, latents=3, channels=5, masked=masked)
    fenced = problem | {name: _fenced(problem[name].float()) for name in FLOATS}
    if problem["mask"] is not None:
        fenced["mask"] = _fenced(problem["mask"], True)
    result = {name: part.isnan().any() for name, part in zip(NAMES, _passes(fenced), strict=True)}
    assert not any(result.values()), result
    for name, one, other in zip(NAMES, _passes(fenced), _passes(problem), strict=True):
        assert one.equal(other), name


def _fenced(tensor: Tensor, fence: float = float("nan")) -> Tensor:
    """The same numbers, in the middle of a piece of memory full of ``fence``."""
    room = torch.full((tensor.numel() + 128,), fence, dtype=tensor.dtype)
    room[64:-64] = tensor.flatten()
    return room[64:-64].view(tensor.shape)


def _passes(problem: dict[str, Any]) -> tuple[Tensor, ...]:
    """The compiled pass itself, forward and backward, on the very memory of ``problem``; grads are fenced too."""
    parts = [problem[name].float() for name in FLOATS]
    rest = (problem["mask"], list(problem["shape"]))
    results = compiled.forward(*parts, *rest)
    seeds = (_fenced(torch.full_like(result, 0.5)) for result in results)
    return *results, *compiled.backward(tuple(seeds), *parts, rest[0], _fenced(results[2]), rest[1], True)


# -- threads


@pytest.mark.parametrize("count", [2, 3, 7, 300])
def test_threads_change_no_bit(target: int, count: int) -> None:
    """More threads than processors, than work, and than there can be."""
    problem = grid_problem((18, 19), heads=2, latents=6, channels=5, masked="all of one example")
    with threads(1):
        one = answers(problem, torch.float32)
    with threads(count):
        many = answers(problem, torch.float32)
    assert all(one[name].equal(many[name]) for name in NAMES)


@needs_library
def test_it_is_told_how_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """``torch.set_num_threads`` is honoured, forward and backward."""
    told: list[int] = []
    library = compiled.library

    class Listening:
        def __getattr__(self, name: str) -> Any:
            def call(problem: Any, target: int, count: int) -> int:
                told.append(count)
                return getattr(library, name)(problem, target, count)

            return call

    monkeypatch.setattr(compiled, "library", Listening())
    for count in (1, 2):
        with threads(count):
            answers(grid_problem((3, 4)), torch.float32)
    assert told == [1, 1, 2, 2]


@needs_library
def test_a_failure_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory in there is no silent nonsense out here."""

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: 1

    monkeypatch.setattr(compiled, "library", Failing())
    with pytest.raises(MemoryError, match="structured attention"):
        grid_attention(**grid_problem((3, 4)) | {name: grid_problem((3, 4))[name].float() for name in FLOATS})


# -- the border between Python and C


def test_both_sides_have_one_struct() -> None:
    """The fields of ``Problem`` are those of the C source, by name, kind and order."""
    source = Path(compiled.__file__).with_name("grid_attention.c").read_text()
    body = re.search(r"typedef struct \{([^}]*)\} Problem;", source)
    assert body is not None
    declared: list[tuple[str, type]] = []
    for statement in re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL).split(";"):
        if words := statement.replace("const", "").split():
            kind = {"int64_t": ctypes.c_int64, "float": ctypes.c_void_p, "uint8_t": ctypes.c_void_p}[words[0]]
            for name in " ".join(words[1:]).split(","):
                number = re.search(r"\[(\w+)\]", name)
                length = int(re.search(rf"#define {number[1]} (\d+)", source)[1]) if number else 0
                declared.append((re.sub(r"[*\s]|\[.*", "", name), kind * length if number else kind))
    mirrored = list(compiled.Problem._fields_)
    assert [name for name, _ in mirrored] == [name for name, _ in declared]
    for (name, mine), (_, theirs) in zip(mirrored, declared, strict=True):
        assert (ctypes.sizeof(mine), mine._type_) == (ctypes.sizeof(theirs), theirs._type_), name


def test_every_field_arrives(target: int) -> None:
    """Called by its own address, with sizes that are all different: each result is its own, and nothing is written
    beyond it."""
    assert compiled.library is not None
    shape, batch, heads, latents, channels = (2, 3, 17), 2, 3, 5, 6
    problem = grid_problem(shape, batch=batch, heads=heads, latents=latents, channels=channels, masked="some")
    inputs = {name: _fenced(problem[name].float()) for name in FLOATS} | {"mask": problem["mask"]}
    exact = fallback.forward(*(problem[name] for name in (*FLOATS, "mask")), list(shape))
    names = ("sums", "marginals", "log_sum")
    outputs = {name: _fenced(torch.zeros(part.shape)) for name, part in zip(names, exact, strict=True)}
    fields = {name: part.data_ptr() for name, part in (inputs | outputs).items()}
    sizes = {"batch": batch, "heads": heads, "latents": latents, "channels": channels, "rows": prod(shape)}
    strides = {"query_stride": heads * latents * channels, "tables_stride": heads * latents * sum(shape)}
    record = compiled.Problem(**sizes, axes=3, shape=(ctypes.c_int64 * 8)(*shape), **strides, **fields)
    assert compiled.library.sensorium_grid_attention(record, target, 2) == 0
    for name, expected in zip(names, exact, strict=True):
        assert distance(outputs[name], expected) < 1e-6, name
        _untouched(outputs[name])

    seeds = {f"grad_{name}": normal(*part.shape, seed=7) for name, part in zip(names, exact, strict=True)}
    grads = fallback.backward(
        tuple(seeds.values()), *(problem[name] for name in (*FLOATS, "mask")), exact[2], list(shape), True
    )
    float_grads = {name: part.float() for name, part in seeds.items()}
    written = {f"grad_{name}": _fenced(torch.zeros(problem[name].shape)) for name in FLOATS}
    fields |= {name: part.data_ptr() for name, part in (float_grads | written).items()}
    record = compiled.Problem(**sizes, axes=3, shape=(ctypes.c_int64 * 8)(*shape), **strides, **fields)
    assert compiled.library.sensorium_grid_attention_backward(record, target, 2) == 0
    for name, expected in zip(written, grads, strict=True):
        assert distance(written[name], expected) < 2e-6, name
        _untouched(written[name])


def _untouched(fenced: Tensor) -> None:
    around = torch.as_strided(fenced, (fenced.numel() + 128,), (1,), fenced.storage_offset() - 64)
    assert around[:64].isnan().all()
    assert around[-64:].isnan().all()


@needs_library
def test_the_best_target_is_taken() -> None:
    """They have names, all different, and the last one is in use."""
    assert compiled.library is not None
    found = [compiled.library.sensorium_target_name(number).decode() for number in TARGETS]
    assert len(set(found)) == len(found) == len(TARGETS)
    assert compiled_name() == found[-1]


@pytest.mark.parametrize(
    ("tensor", "served"),
    [
        (torch.zeros(1), True),
        (torch.zeros(1, dtype=torch.float64), False),
        (torch.zeros(1, dtype=torch.bfloat16), False),
        (torch.zeros(1, device="meta"), False),
    ],
)
def test_it_serves_float32_on_the_cpu(tensor: Tensor, served: bool) -> None:
    assert compiled.supports(tensor, 2) == (served and compiled.library is not None)


# -- without it


@pytest.fixture
def nothing_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "library", None)


@pytest.mark.usefixtures("nothing_built")
@pytest.mark.parametrize("masked", MASKED)
def test_without_it_the_fallback_computes(masked: str) -> None:
    """In float32, within rounding of float64; and no name is given."""
    assert compiled_name() is None
    agrees(grid_problem((5, 19), heads=2, latents=5, channels=4, masked=masked))


def test_a_block_computes_the_same_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole block in float32, and its gradients, with the compiled pass if there is one and without it."""
    block, x = shake(CrossAttention(8, input_channels=10, num_heads=2)).float(), normal(1, 3, 8).float()
    segment = grid_array((5, 7), modality_channels=2)
    outputs = []
    for library in (compiled.library, None):
        monkeypatch.setattr(compiled, "library", library)
        single = type(segment)(
            segment.name,
            segment.values.detach().float(),
            type(segment.positions)(tuple(table.detach().float() for table in segment.positions.tables)),
            segment.modality_embedding.detach().float(),
        )
        with attention_path(block, "structured"):
            result = block(x, AttentionInputs(ByteArray((single,))))
        grads = torch.autograd.grad(result.square().sum(), list(block.parameters()), materialize_grads=True)
        outputs.append([result, *grads])
    for one, other in zip(*outputs, strict=True):
        if float(other.detach().norm()) > 1e-4:  # the key's bias has a gradient of nothing but rounding
            assert distance(one, other) < 1e-5


def test_a_library_that_cannot_be_opened_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built for another machine, or something else altogether: the fallback computes."""
    (tmp_path / "_grid_attention.so").write_bytes(b"not a library")
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "compiled.py"))
    assert compiled._open() is None
