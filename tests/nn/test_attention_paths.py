"""Attention to a byte array: one result, every path to compute it, and what none of them may depend on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path as File

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import reference
from builders import (
    MASKED,
    arrays,
    distance,
    grid_array,
    largest_allocation,
    leaves,
    mask_of,
    normal,
    rows_of,
    shake,
    small_encoder,
)
from sensorium.nn import Encoder, EncoderConfig
from sensorium.nn.attention import CrossAttention, attention_path
from sensorium.nn.byte_array import ByteArray, GridPositions, PointPositions, Segment
from sensorium.nn.ops import (
    AbsorbedQuery,
    AttentionInputs,
    AttentionPath,
    DenseRows,
    StructuredRows,
    compiled,
    dispatch,
    fallback,
)
from sensorium.nn.ops.absorbed import PartialAttention, merge
from sensorium.nn.ops.dispatch import AttentionPlan, plan_attention
from sensorium.nn.positions import fourier_grid

PATHS: tuple[AttentionPath, ...] = ("projected", "absorbed", "structured", "portable", "auto")
EXACT = {"rtol": 1e-9, "atol": 1e-10}
HERE = File(__file__).parent
WIDTH = 12  # channels of the byte arrays here


def small_block(heads: int = 1, channels: int = WIDTH) -> CrossAttention:
    return shake(CrossAttention(8, input_channels=channels, num_heads=heads))


def array_of(*segments: Segment) -> ByteArray:
    return ByteArray(segments)


def attend(block: CrossAttention, x: Tensor, array: ByteArray, path: AttentionPath) -> Tensor:
    with attention_path(block, path):
        return block(x, AttentionInputs(array))


def grads(block: CrossAttention, x: Tensor, array: ByteArray, path: AttentionPath) -> dict[str, Tensor]:
    """The answer and the grads of a cost: of all parameters, of the latents and of all the array is made of."""
    x = x.clone().requires_grad_()
    sources = dict(block.named_parameters()) | {"latents": x} | leaves(array)
    result = attend(block, x, array, path)
    cost = (result * normal(*result.shape, seed=31).to(result.dtype)).sum() + result.square().sum()
    found = torch.autograd.grad(cost, list(sources.values()), materialize_grads=True)
    return {"answer": result.detach()} | dict(zip(sources, found, strict=True))


def paper(block: CrossAttention, x: Tensor, array: ByteArray, heads: int = 1) -> np.ndarray:
    mask = None if array.mask is None else array.mask.numpy()
    return reference.cross_attention(x.numpy(), array.dense().detach().numpy(), arrays(block), heads=heads, mask=mask)


# -- arrays of every kind


def fourier(shape: tuple[int, ...], batch: int, values: int, mask: Tensor | None, seed: int) -> Segment:
    """A grid whose axes have channels of their own; a modality_embedding fills up to WIDTH."""
    count = int(np.prod(shape))
    positions = fourier_grid(shape, bands=1)
    return Segment(
        f"fourier {seed}",
        normal(batch, count, values, seed=seed).requires_grad_(),
        GridPositions(tuple(table.double().requires_grad_() for table in positions.tables)),
        normal(WIDTH - values - positions.channels, seed=seed + 1).requires_grad_(),
        mask,
    )


def learned(shape: tuple[int, ...], batch: int, values: int, mask: Tensor | None, seed: int) -> Segment:
    """A grid whose axes share all channels of their positions, with a modality_embedding or without."""
    modality_embedding = seed % 3
    return grid_array(
        shape,
        batch=batch,
        values=values,
        positions=WIDTH - values - modality_embedding,
        modality_channels=modality_embedding,
        mask=mask,
        seed=seed,
    )


def points(count: int, batch: int, values: int, mask: Tensor | None, seed: int) -> Segment:
    positions = PointPositions(normal(batch, count, WIDTH - values, seed=seed + 1).requires_grad_())
    return Segment(f"points {seed}", normal(batch, count, values, seed=seed).requires_grad_(), positions, None, mask)


def plain(count: int, batch: int, mask: Tensor | None, seed: int) -> Segment:
    modality_embedding = normal(4, seed=seed + 1).requires_grad_()
    return Segment(
        f"plain {seed}", normal(batch, count, WIDTH - 4, seed=seed).requires_grad_(), None, modality_embedding, mask
    )


shapes = st.one_of(
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)),
    st.tuples(st.integers(1, 4)),
)


@st.composite
def segments(draw: st.DrawFn, batch: int, seed: int) -> Segment:
    kind = draw(st.sampled_from(["fourier", "learned", "learned", "points", "plain", "empty"]))
    shape = draw(shapes) if kind in ("fourier", "learned") else (0 if kind == "empty" else draw(st.integers(1, 5)),)
    values = draw(st.integers(0, 3))
    mask = mask_of(batch, int(np.prod(shape)), draw(st.sampled_from(MASKED)), seed)
    if kind == "fourier":
        return fourier(shape, batch, values, mask, seed)
    if kind == "learned":
        return learned(shape, batch, values, mask, seed)
    if kind == "points":
        return points(shape[0], batch, values, mask, seed)
    return plain(shape[0], batch, mask, seed)


@st.composite
def byte_arrays(draw: st.DrawFn) -> ByteArray:
    """Up to four segments of any kind; masks of each, so that an example may have no row at all."""
    batch = draw(st.integers(1, 3))
    return ByteArray(tuple(draw(segments(batch, 100 * number)) for number in range(1, draw(st.integers(1, 4)) + 1)))


def picture(masked: str = "nothing", batch: int = 2) -> ByteArray:
    return array_of(fourier((3, 5), batch, 3, mask_of(batch, 15, masked), 3))


def video(masked: str = "nothing", batch: int = 2) -> ByteArray:
    return array_of(learned((2, 3, 4), batch, 3, mask_of(batch, 24, masked), 4))


def codes_only(masked: str = "nothing", batch: int = 2) -> ByteArray:
    return array_of(learned((3, 5), batch, 0, mask_of(batch, 15, masked), 5))


def everything(masked: str = "nothing", batch: int = 2) -> ByteArray:
    """Two grids, points, a grid of one axis, rows without positions, and a grid without rows."""
    counts = (15, 12, 4, 6, 3, 0)
    masks = [mask_of(batch, count, masked, seed) for seed, count in enumerate(counts)]
    return array_of(
        fourier((3, 5), batch, 3, masks[0], 10),
        learned((2, 3, 2), batch, 1, masks[1], 20),
        points(4, batch, 2, masks[2], 30),
        learned((6,), batch, 2, masks[3], 40),
        plain(3, batch, masks[4], 50),
        learned((0, 4), batch, 2, masks[5], 61),
    )


KINDS = {"picture": picture, "video": video, "positions only": codes_only, "everything": everything}


# -- one result, four paths


@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("masked", MASKED)
@pytest.mark.parametrize("kind", KINDS)
def test_every_path_is_the_papers(kind: str, masked: str, heads: int) -> None:
    """In float64, for latents shared by the batch and latents of each example's own."""
    array, block = KINDS[kind](masked), small_block(heads)
    for x in (normal(1, 3, 8), normal(2, 3, 8)):
        expected = paper(block, x, array, heads)
        for path in PATHS:
            np.testing.assert_allclose(attend(block, x, array, path).detach().numpy(), expected, err_msg=path, **EXACT)


@settings(max_examples=40)
@given(array=byte_arrays(), heads=st.sampled_from([1, 2]), latents=st.integers(1, 4), shared=st.booleans())
def test_all_gradients_agree_on_every_path(array: ByteArray, heads: int, latents: int, shared: bool) -> None:
    """Of parameters, latents, values, each axis' positions, points' positions and modality_embeddings: for any
    array."""
    block, x = small_block(heads), normal(1 if shared else array.batch, latents, 8)
    projected = grads(block, x, array, "projected")
    for path in ("absorbed", "structured"):
        found = grads(block, x, array, path)
        for name, expected in projected.items():
            torch.testing.assert_close(found[name], expected, rtol=1e-8, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")


def test_positions_that_overlap_need_their_products() -> None:
    """The test above can fail: axes whose positions share channels have cross terms in Σ x²."""
    segment = video().segments[0]
    assert isinstance(segment.positions, GridPositions)
    dense = DenseRows.of(array_of(segment)).normalised[..., :WIDTH].detach()
    scale = StructuredRows.of(segment).scale.detach()
    expected = 1 / (segment.dense().var(-1, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(scale, expected.detach(), **EXACT)
    alone = sum(np.ix_(*(table.detach().square().sum(-1).numpy() for table in segment.positions.tables)))
    together = segment.positions.dense().square().sum(-1).detach()
    assert (torch.from_numpy(alone).flatten() - together).abs().max() > 1
    torch.testing.assert_close(dense.mean(-1), torch.zeros_like(dense[..., 0]), **EXACT)


def test_statistics_are_those_of_the_layer_norm() -> None:
    """s · values and s · mean of every row; zeros in masked rows."""
    array = picture("some")
    segment = array.segments[0]
    parts, dense = StructuredRows.of(segment), segment.dense().detach()
    scale = (dense.var(-1, correction=0) + 1e-5).rsqrt() * segment.mask
    torch.testing.assert_close(parts.scale.detach(), scale, **EXACT)
    torch.testing.assert_close(parts.values[:, -1].detach(), scale * dense.mean(-1), **EXACT)
    torch.testing.assert_close(parts.values[:, :-1].detach(), scale[:, None] * dense[..., :3].mT, **EXACT)
    assert parts.shape == (3, 5)


@pytest.mark.parametrize("kind", ["picture", "video", "everything"])
def test_structured_rows_attend_as_dense_rows_do(kind: str) -> None:
    """Sums of normalised rows and their log-sum, up to what is constant over the rows: pieces can merge."""
    for segment in KINDS[kind]("some").segments:
        if not isinstance(segment.positions, GridPositions) or len(segment.positions.shape) < 2 or not segment.num_rows:
            continue
        query = AbsorbedQuery(normal(1, 2, 3, WIDTH))
        parts, spelled = StructuredRows.of(segment).attend(query), DenseRows.of(array_of(segment)).attend(query)
        torch.testing.assert_close(parts.sums, spelled.sums, **EXACT)
        torch.testing.assert_close(parts.log_sum, spelled.log_sum, **EXACT)


@pytest.mark.parametrize("masked", MASKED)
def test_gradcheck_of_merged_pieces(masked: str) -> None:
    """Two grids and points read apart and merged: every gradient of query, values, positions and modality_embedding."""
    made = [
        grid_array((2, 3), values=2, positions=2, modality_channels=1, mask=mask_of(2, 6, masked, 1), seed=1),
        grid_array((2, 2, 2), values=1, positions=4, mask=mask_of(2, 8, masked, 2), seed=2),
        Segment("points", normal(2, 3, 5, seed=3).requires_grad_(), mask=mask_of(2, 3, masked, 3)),
    ]

    def run(query: Tensor, *_: Tensor) -> Tensor:
        absorbed = AbsorbedQuery(query)
        grids = [replace(segment, positions=GridPositions(segment.positions.tables)) for segment in made[:2]]
        pieces = [*(StructuredRows.of(segment) for segment in grids), DenseRows.of(array_of(made[2]))]
        return merge([piece.attend(absorbed) for piece in pieces])

    sources = [tensor for segment in made for tensor in leaves(array_of(segment)).values()]
    assert len(sources) == 3 + 1 + 3 + 1 + 1
    query = normal(1, 2, 2, 5).requires_grad_()
    assert torch.autograd.gradcheck(run, (query, *sources), fast_mode=True)


def test_merged_parts_are_one_softmax() -> None:
    """However the rows are divided; pieces far apart in their logits do not overflow."""
    table, query = normal(2, 9, 8), normal(2, 1, 3, 8)
    for factor in (1.0, 300.0):
        absorbed = AbsorbedQuery(query * factor)
        whole = DenseRows(table, 8, None).attend(absorbed)
        for cuts in ((4, 5), (1, 7, 1), (9, 0)):
            pieces = [DenseRows(part, 8, None).attend(absorbed) for part in table.split(cuts, dim=1)]
            torch.testing.assert_close(merge(pieces), whole.sums, **EXACT)


def test_attention_to_nothing_merges_to_nothing() -> None:
    """Zeros, and grads that are numbers."""
    sums = torch.zeros(1, 1, 2, 3, requires_grad=True)
    nothing = torch.full((1, 1, 2), float("-inf"), requires_grad=True)
    result = merge([PartialAttention(sums, nothing), PartialAttention(sums, nothing)])
    assert not result.any()
    result.sum().backward()
    assert nothing.grad is not None
    assert nothing.grad.isfinite().all()


# -- which path is taken


def plan(array: ByteArray, path: AttentionPath) -> AttentionPlan:
    return plan_attention(array, num_queries=3, num_heads=1, qk_channels=8, value_channels=8, path=path)


def test_only_grids_are_structured() -> None:
    """Grids of two axes or more that have a row; all the rest is dense, in one piece."""
    array = everything()
    structured = plan(array, "structured")
    assert structured == AttentionPlan(True, (True, True, False, False, False, False))
    pieces = AttentionInputs(array).pieces(structured.structured)
    assert [type(piece) for piece in pieces] == [StructuredRows, StructuredRows, DenseRows]
    rest = pieces[-1]
    assert isinstance(rest, DenseRows)
    assert rest.normalised.shape == (2, 4 + 6 + 3, 16)
    assert plan(array, "absorbed") == AttentionPlan(True, (False,) * 6)
    assert plan(array, "projected") == AttentionPlan(False, (False,) * 6)
    assert [type(piece) for piece in AttentionInputs(array).pieces((False,) * 6)] == [DenseRows]


def test_inputs_serve_every_path() -> None:
    """Each form of the rows is built once and kept; one path does not change what another one gets."""
    inputs, block, x = AttentionInputs(everything("some")), small_block(), normal(1, 3, 8)
    for path in (*PATHS, *PATHS):
        with attention_path(block, path):
            expected = paper(block, x, inputs.array)
            np.testing.assert_allclose(block(x, inputs).detach().numpy(), expected, err_msg=path, **EXACT)
    assert inputs.dense is inputs.dense
    assert inputs.pieces((False,) * 6)[0] is inputs.dense


def test_structured_attention_builds_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture alone is never built; only its attention map needs its rows."""

    def dense(self: object) -> Tensor:
        raise AssertionError("built")

    for kind in (ByteArray, Segment, GridPositions):
        monkeypatch.setattr(kind, "dense", dense)
    block, array = small_block(), picture("some")
    result = attend(block, normal(1, 3, 8), array, "structured")
    result.sum().backward()
    with pytest.raises(AssertionError, match="built"):
        attend(block, normal(1, 3, 8), array, "absorbed")


def test_auto_is_structured_for_wide_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a weight costs decides: a wide row of few values is worth it, a narrow or measured one is not."""

    def structured(values: int, positions: int, dtype: torch.dtype = torch.float32) -> bool:
        tables = (torch.zeros(3, positions, dtype=dtype), torch.zeros(4, positions, dtype=dtype))
        segment = Segment("grid", torch.zeros(1, 12, values, dtype=dtype), GridPositions(tables))
        return plan(array_of(segment), "auto").structured == (True,)

    monkeypatch.setattr(dispatch, "compiled_name", lambda: "vectors")
    assert structured(3, 258)
    assert not structured(3, 2)
    assert not structured(3, 30, torch.float64)
    monkeypatch.setattr(dispatch, "compiled_name", lambda: None)
    assert structured(3, 258)
    assert not structured(3, 30)


# -- one forward pass after the other


def test_grids_that_share_positions_are_separate_pieces() -> None:
    """The same positions after three values and after one: their channels begin elsewhere."""
    shared = grid_array((3, 4), positions=6, seed=1).positions
    array = array_of(
        Segment("colour", normal(2, 12, 3), shared, normal(3, seed=5)),
        Segment("depth", normal(2, 12, 1, seed=6), shared, normal(5, seed=7)),
    )
    block, x = small_block(2), normal(1, 3, 8)
    for path in PATHS:
        expected = paper(block, x, array, 2)
        np.testing.assert_allclose(attend(block, x, array, path).detach().numpy(), expected, err_msg=path, **EXACT)


def test_positions_used_without_gradients_have_gradients_later() -> None:
    """A look at an array under no_grad or inference_mode, as between two epochs, takes nothing from training."""
    block, x = small_block(), normal(1, 3, 8)
    expected = grads(block, x, video(), "structured")
    for quiet in (torch.no_grad, torch.inference_mode):
        array = video()
        with quiet():
            attend(block, x, array, "structured")
        torch.testing.assert_close(grads(block, x, array, "structured"), expected)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("quiet", [torch.no_grad, torch.inference_mode])
def test_positions_made_in_inference_serve_training(quiet: type, path: AttentionPath) -> None:
    """A modality makes the positions of a picture once: if that was in a validation, training reads them all the
    same."""
    model, pixels = wide_encoder(), normal(2, 24, 3).float()
    with quiet():
        array = array_of(Segment("image", pixels.clone(), fourier_grid((4, 6), bands=8)))
        with attention_path(model, path):
            model(array)
    with attention_path(model, path):
        model(array_of(replace(array.segments[0], values=pixels))).sum().backward()
    assert model.latents.grad is not None


def test_positions_that_change_show() -> None:
    """A step of an optimiser changes learned positions in place: an array made of them says so."""
    block, x, array = small_block(), normal(1, 3, 8), video()
    attend(block, x, array, "structured")
    with torch.no_grad():
        for table in array.segments[0].positions.tables:
            table.mul_(-0.5)
    expected = attend(block, x, array, "projected")
    torch.testing.assert_close(attend(block, x, array, "structured"), expected, **EXACT)


@pytest.mark.parametrize("path", ["absorbed", "structured"])
def test_every_parameter_shows_in_inference(path: AttentionPath) -> None:
    """Nothing is kept from one forward pass to the next: any change of any parameter shows."""
    encoder, array = small_encoder(WIDTH, cross_attention=(0, 1), latent_transformer=(0, None)), picture("some")
    with attention_path(encoder, path), torch.no_grad():
        encoder(array)
        for name, parameter in encoder.named_parameters():
            parameter.data.view(-1)[0] += 0.5  # past autograd's version counters
            fresh = small_encoder(WIDTH, cross_attention=(0, 1), latent_transformer=(0, None))
            fresh.load_state_dict(encoder.state_dict())
            with attention_path(fresh, path):
                assert encoder(array).equal(fresh(array)), name


def test_gradients_after_an_inference_are_those_without_one() -> None:
    """Under no_grad and under inference_mode."""
    found = []
    for quiet in (None, torch.no_grad, torch.inference_mode):
        encoder, array = small_encoder(WIDTH), video()
        with attention_path(encoder, "structured"):
            if quiet is not None:
                with quiet():
                    encoder(video())
            encoder(array).square().sum().backward()
        found.append([parameter.grad for parameter in encoder.parameters()])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


# -- what does not matter


@pytest.mark.parametrize("bad", [0.0, -1e3, 1e30, float("inf"), float("nan")])
def test_masked_rows_of_a_grid_are_never_attended_to(bad: float) -> None:
    """Whatever they hold, the answer and all grads stay, and no gradient reaches them."""
    block, x, found = small_block(2), normal(1, 3, 8), []
    segment = video("all of one example").segments[0]
    assert segment.mask is not None
    for filling in (0.0, bad):
        values = segment.values.detach().masked_fill(~segment.mask[..., None], filling).requires_grad_()
        found.append(grads(block, x, array_of(replace(segment, values=values)), "structured"))
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, msg=lambda m, n=name: f"{n}: {m}", **EXACT)
    reached = found[1][f"{segment.name}: values"]
    assert not reached[~segment.mask].any()
    assert reached[segment.mask].abs().sum(-1).all(), "present rows are read"


@pytest.mark.parametrize("path", PATHS)
@given(order=st.permutations(range(6)))
@settings(max_examples=10)
def test_the_order_of_segments_is_free(path: AttentionPath, order: list[int]) -> None:
    block, x, array = small_block(2), normal(1, 3, 8), everything("some")
    moved = ByteArray(tuple(array.segments[place] for place in order))
    torch.testing.assert_close(attend(block, x, moved, path), attend(block, x, array, path), **EXACT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PATHS)
def test_batch_mates_do_not_matter(path: AttentionPath, kind: str) -> None:
    block, x, array = small_block(2), normal(1, 3, 8), KINDS[kind]("all of one example", batch=3)
    together = attend(block, x, array, path)
    for number in range(3):
        alone = ByteArray(tuple(_one(segment, number) for segment in array.segments))
        torch.testing.assert_close(together[number : number + 1], attend(block, x, alone, path), **EXACT)


def _one(segment: Segment, number: int) -> Segment:
    at = slice(number, number + 1)
    positions = (
        PointPositions(segment.positions.table[at])
        if isinstance(segment.positions, PointPositions)
        else segment.positions
    )
    return replace(
        segment, values=segment.values[at], positions=positions, mask=None if segment.mask is None else segment.mask[at]
    )


@pytest.mark.parametrize("absent", range(5))
@pytest.mark.parametrize("path", PATHS)
def test_an_absent_segment_is_as_if_it_were_not_there(path: AttentionPath, absent: int) -> None:
    """In one example; the other one reads it."""
    block, x, array = small_block(2), normal(1, 3, 8), everything()
    mask = torch.tensor([[True], [False]]).expand(2, array.segments[absent].num_rows)
    without = ByteArray(tuple(part for number, part in enumerate(array.segments) if number != absent))
    masked = ByteArray(
        tuple(replace(part, mask=mask) if number == absent else part for number, part in enumerate(array.segments))
    )
    result = attend(block, x, masked, path)
    torch.testing.assert_close(result[:1], attend(block, x, array, path)[:1], **EXACT)
    torch.testing.assert_close(result[1:], attend(block, x, without, path)[1:], **EXACT)


@pytest.mark.parametrize("path", PATHS)
def test_no_rows_give_numbers(path: AttentionPath) -> None:
    """Every row of every segment masked: the answer of an empty array, and finite grads."""
    block, x, array = small_block(2), normal(1, 3, 8), everything()
    blind = ByteArray(
        tuple(replace(part, mask=torch.zeros(2, part.num_rows, dtype=torch.bool)) for part in array.segments)
    )
    empty = rows_of(normal(2, 0, WIDTH))
    found, expected = grads(block, x, blind, path), grads(block, x, empty, path)
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert not any(found[name].any() for name in leaves(blind))
    torch.testing.assert_close(found["answer"], expected["answer"], **EXACT)


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_batch_is_answered(path: AttentionPath) -> None:
    array = picture("some", batch=1)
    nobody = array_of(replace(array.segments[0], values=torch.zeros(0, 15, 3).double(), mask=torch.ones(0, 15) > 0))
    assert attend(small_block(), normal(1, 3, 8), nobody, path).shape == (0, 3, 8)


# -- precision


def photograph(batch: int = 1, side: int = 224) -> Tensor:
    """Normalised pixels of something smooth with noise on it, batch × rows × 3: a range from -2.1 to 2.6."""
    place = torch.linspace(0, 1, side)
    waves = torch.stack([(6 * place[:, None] * (k + 1) + k + 4 * place[None]).sin() for k in range(3)], -1)
    pixels = (waves * 90 + 128 + 12 * normal(batch, side, side, 3).float()).clamp(0, 255) / 255
    pixels = (pixels - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    return pixels.flatten(1, 2)


@pytest.mark.parametrize(("sharp", "bound"), [(1.0, 1e-6), (30.0, 5e-6)])
def test_float32_at_the_size_of_imagenet(sharp: float, bound: float) -> None:
    """Summed rows and the whole attention are those of a dense read in float64.

    With weights as they start: within 1e-6. With logits of up to 140, of which one row gets all: their own rounding
    costs every float32 read 2e-6 to 4e-6 here, the projected one more than this one.
    """
    array = array_of(Segment("image", photograph(), fourier_grid((224, 224), bands=64)))
    block = CrossAttention(64, input_channels=261, num_heads=1).requires_grad_(False)
    block.attention.query.weight.mul_(sharp)
    attention, x = block.attention, normal(1, 8, 64).float()

    def absorb(x: Tensor) -> AbsorbedQuery:
        return AbsorbedQuery.absorb(attention.query(x), norm=block.input_norm, key=attention.key, num_heads=1)

    def attend(x: Tensor) -> Tensor:
        return attention.out(
            dispatch.attention(
                attention.query(x),
                AttentionInputs(array),
                norm=block.input_norm,
                key=attention.key,
                value=attention.value,
                num_heads=1,
                path="structured",
            )
        )

    query = absorb(x)
    (rows,) = AttentionInputs(array).pieces((True,))
    result, answer = rows.attend(query).sums, attend(x)
    dense = array.dense().double()
    normalised = (dense - dense.mean(-1, keepdim=True)) / (dense.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    del dense
    exact = (query.query.double() @ normalised[:, None].mT).softmax(-1) @ normalised[:, None]
    assert distance(result, exact) < bound
    block.double()
    exact_query = absorb(x.double()).query
    summed = (exact_query @ normalised[:, None].mT).softmax(-1) @ normalised[:, None]
    expected = attention.out(nn.functional.linear(summed[:, 0], attention.value.weight, attention.value.bias))
    assert distance(answer, expected) < bound


@pytest.mark.parametrize("offset", [1e3, 1e4])
def test_values_far_from_zero_keep_their_statistics(offset: float) -> None:
    """Pixels of 10,000 and small differences: deviation and mean in float32 are those of float64."""
    values = offset + normal(2, 120, 3).float()
    segment = Segment("image", values, fourier_grid((10, 12), bands=4), normal(6, seed=4).float())
    parts, dense = StructuredRows.of(segment), segment.dense().double()
    assert distance(parts.scale, (dense.var(-1, correction=0) + 1e-5).rsqrt()) < 1e-6
    query = normal(1, 1, 4, segment.channels).float()
    normalised = nn.functional.layer_norm(dense, (segment.channels,), eps=1e-5)
    exact = (query.double() @ normalised[:, None].mT).softmax(-1) @ normalised[:, None]
    assert distance(parts.attend(AbsorbedQuery(query)).sums, exact) < 1e-5


@pytest.mark.parametrize("masked", MASKED)
def test_autocast_computes_grids_in_float32(masked: str) -> None:
    """Within 1e-2 of float32, with positions, statistics and weights of float32; grads are float32 and finite."""
    segment = Segment("image", normal(2, 99, 3).float(), fourier_grid((9, 11), bands=8), mask=mask_of(2, 99, masked))
    block, x = CrossAttention(64, input_channels=segment.channels, num_heads=1), normal(1, 8, 64).float()
    with attention_path(block, "structured"):
        exact = block(x, AttentionInputs(array_of(segment))).detach()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rows = AttentionInputs(array_of(segment))
            result = block(x, rows)
    (piece,) = rows.pieces((True,))
    assert isinstance(piece, StructuredRows)
    assert piece.values.dtype == piece.scale.dtype == piece.positions.dtype == torch.float32
    assert distance(result, exact) < 1e-2
    assert not result.detach().float().equal(exact), "autocast was in force"
    result.float().square().sum().backward()
    for name, parameter in block.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.dtype == torch.float32, name
            assert parameter.grad.isfinite().all(), name


def test_pixels_of_sixteen_bits_become_float32() -> None:
    """Values given in bfloat16 are taken as they are; everything after is float32."""
    values = normal(1, 99, 3).bfloat16()
    positions, query = fourier_grid((9, 11), bands=8), normal(1, 1, 4, 37).float()
    low, full = (
        StructuredRows.of(Segment("image", given, positions)).attend(AbsorbedQuery(query))
        for given in (values, values.float())
    )
    assert low.sums.equal(full.sums)


# -- memory


@pytest.mark.parametrize("built", [True, False])
def test_structured_attention_never_holds_latents_by_rows(built: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward: no allocation beyond the array's own values and the operator's tile."""
    if not built:
        monkeypatch.setattr(compiled, "library", None)
    elif compiled.library is None:
        pytest.skip("no compiled pass is built here")
    monkeypatch.setattr(fallback, "TILE", 4096)
    block, x = CrossAttention(16, input_channels=37, num_heads=1), normal(1, 64, 16).float()
    array = array_of(Segment("image", normal(1, 6000, 3).float().requires_grad_(), fourier_grid((60, 100), bands=8)))
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        attend(block, x, array, "structured").sum().backward()
    largest = largest_allocation(profile) / 4
    assert 6000 * 3 <= largest <= 6000 * 4 < 6000 * 37 / 5, "floats at once; a row has 37, a weight for each is 64"


# -- without data, exported, compiled


def wide_encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(
        EncoderConfig(
            num_latents=3, latent_channels=8, cross_attention=(0, 0), latent_transformer=(None, 0), num_layers=1
        ),
        channels=37,
    )


class Picture(nn.Module):
    """Pixels to latents."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = wide_encoder()
        for axis, table in enumerate(fourier_grid((4, 6), bands=8).tables):
            self.register_buffer(f"axis_{axis}", table)

    def forward(self, pixels: Tensor) -> Tensor:
        positions = GridPositions((self.axis_0, self.axis_1))
        return self.encoder(ByteArray((Segment("image", pixels, positions),)))


@pytest.mark.parametrize("path", PATHS)
def test_shapes_without_data(path: AttentionPath) -> None:
    """On the meta device, forward and backward."""
    with torch.device("meta"):
        model, pixels = Picture(), torch.empty(2, 24, 3)
    with attention_path(model, path):
        latents = model.to("meta")(pixels)
    assert latents.shape == (2, 3, 8)
    assert latents.device.type == "meta"
    latents.sum().backward()
    assert model.encoder.latents.grad is not None


@pytest.mark.parametrize("path", ["structured", "absorbed"])
def test_an_exported_program_has_the_operator(path: AttentionPath) -> None:
    """torch.export: the same answers, and attention is one operator in the graph.

    With fixed sizes, as the annotations that are checked in tests know no symbolic ones.
    """
    model, pixels = Picture(), normal(2, 24, 3).float()
    with attention_path(model, path):
        program = torch.export.export(model, (pixels,))
        more = normal(2, 24, 3, seed=7).float()
        torch.testing.assert_close(program.module()(more), model(more))
    operators = {
        str(node.target)
        for graph in program.graph_module.modules()
        if isinstance(graph, torch.fx.GraphModule)
        for node in graph.graph.nodes
    }
    expected = {"structured": "sensorium.grid_attention.default", "absorbed": "sensorium.row_attention.default"}[path]
    assert {name for name in operators if name.startswith("sensorium.")} == {expected}


@pytest.mark.slow
@pytest.mark.parametrize("path", ["structured", "absorbed"])
def test_a_compiled_encoder_is_the_encoder(path: AttentionPath) -> None:
    """torch.compile: answers and grads. In a process of its own, for it cannot look through the checks of shapes."""
    script = f"""
import sys, torch
sys.path[:0] = {[str(place) for place in (HERE, HERE.parent)]}
from test_attention_paths import Picture, attention_path, normal
model, pixels = Picture(), normal(2, 24, 3).float()
with attention_path(model, {path!r}):
    expected = model(pixels)
    expected.square().sum().backward()
    grads = {{name: parameter.grad for name, parameter in model.named_parameters()}}
    model.zero_grad()
    result = torch.compile(model)(pixels)
    result.square().sum().backward()
torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
for name, parameter in model.named_parameters():
    torch.testing.assert_close(parameter.grad, grads[name], rtol=1e-3, atol=1e-5)
print("the same")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "the same", done.stderr[-3000:]


def test_a_whole_encoder_is_one_on_every_path() -> None:
    """Two reads of shared weights and one of its own, in turn with processes: latents and all grads."""
    encoder, array = small_encoder(WIDTH), everything("some")
    found = []
    for path in PATHS:
        with attention_path(encoder, path):
            latents = encoder(array)
        sources = [*encoder.parameters(), *leaves(array).values()]
        found.append([latents, *torch.autograd.grad(latents.square().sum(), sources, materialize_grads=True)])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-7, atol=1e-8)
