"""The byte array: what its parts mean."""

from __future__ import annotations

from itertools import product
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders import normal
from sensorium.nn.byte_array import ByteArray, GridPositions, PointPositions, Segment, join


def grid_positions(shape: tuple[int, ...], channels: int = 4, seed: int = 0) -> GridPositions:
    return GridPositions(tuple(normal(size, channels, seed=seed + axis) for axis, size in enumerate(shape)))


def segment(
    *, name: str = "a", batch: int = 2, shape: tuple[int, ...] = (2, 3), values: int = 3, seed: int = 0
) -> Segment:
    """A segment with everything: values, grid positions, modality_embedding and mask."""
    rows = prod(shape)
    mask = normal(batch, rows, seed=seed + 9) > 0
    return Segment(name, normal(batch, rows, values, seed=seed), grid_positions(shape), normal(2, seed=seed + 5), mask)


shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@given(shape=shapes, values=st.integers(0, 3), batch=st.integers(1, 3))
def test_dense_is_the_loop_over_rows(shape: tuple[int, ...], values: int, batch: int) -> None:
    """A row is [values, sum of its axes' positions, modality_embedding], rows in ij order; for grids of 1, 2 and 3
    axes."""
    array = ByteArray((segment(batch=batch, shape=shape, values=values),))
    part = array.segments[0]
    assert isinstance(part.positions, GridPositions)
    assert part.modality_embedding is not None
    dense = array.dense()
    assert dense.shape == (batch, array.num_rows, array.channels) == (batch, prod(shape), values + 4 + 2)
    for example in range(batch):
        for row, place in enumerate(product(*(range(size) for size in shape))):
            code = torch.stack([table[index] for table, index in zip(part.positions.tables, place, strict=True)]).sum(0)
            expected = torch.cat([part.values[example, row], code, part.modality_embedding])
            torch.testing.assert_close(dense[example, row], expected)


@given(shape=shapes, data=st.data())
def test_keep_commutes_with_dense(shape: tuple[int, ...], data: st.DataObject) -> None:
    """Keeping rows and then spelling out is spelling out and then keeping rows, grid positions and row positions
    alike; rows of one example may be those of all."""
    whole = segment(shape=shape, batch=data.draw(st.sampled_from((1, 2))))
    row = st.integers(0, whole.num_rows - 1)
    kept = data.draw(st.integers(1, 5))
    index = torch.tensor([data.draw(st.lists(row, min_size=kept, max_size=kept)) for _ in range(2)])
    part = whole.keep(index)
    rows = whole.dense().expand(2, -1, -1)
    chosen = torch.stack([rows[example, index[example]] for example in range(2)])
    assert part.dense().equal(chosen)
    assert whole.mask is not None
    assert part.mask is not None
    mask = whole.mask.expand(2, -1)
    assert part.mask.equal(torch.stack([mask[example, index[example]] for example in range(2)]))
    assert isinstance(part.positions, PointPositions)
    last = torch.full((2, 1), kept - 1)
    assert part.keep(last).dense().equal(chosen[:, -1:])


@given(fraction=st.floats(0, 1), seed=st.integers(0, 100))
def test_dropped_rows_leave_the_others_whole(fraction: float, seed: int) -> None:
    """The number kept is the rounded share, at least one; every kept row is a row of the array with its code, once."""
    array = ByteArray((segment(shape=(3, 4)), segment(name="b", shape=(5,), seed=3)))
    part = array.drop_rows(fraction, generator=torch.Generator().manual_seed(seed))
    assert [piece.num_rows for piece in part.segments] == [max(1, round(n * (1 - fraction))) for n in (12, 5)]
    assert [piece.name for piece in part.segments] == ["a", "b"]
    for before, after in zip(array.segments, part.segments, strict=True):
        assert before.mask is not None
        assert after.mask is not None
        for example in range(2):
            same = (before.dense()[example][:, None] == after.dense()[example][None]).all(-1)
            source = same.float().argmax(0)
            assert same.any(0).all()
            assert len(source.unique()) == after.num_rows
            assert after.mask[example].equal(before.mask[example][source])


def test_rows_are_dropped_per_example_and_by_the_generator() -> None:
    """Examples lose different rows; the same generator loses the same ones."""
    array = ByteArray((Segment("a", torch.arange(40.0).expand(4, 40)[..., None]),))
    first, again = (array.drop_rows(0.5, generator=torch.Generator().manual_seed(1)).dense() for _ in range(2))
    assert first.equal(again)
    assert len({tuple(sorted(example.flatten().tolist())) for example in first}) == 4


def test_split_undoes_join() -> None:
    """Rows joined and split again are what they were, by name and in order."""
    one, other = ByteArray((segment(),)), ByteArray((segment(name="b", shape=(5,), seed=3),))
    both = join([one, other])
    assert both.num_rows == one.num_rows + other.num_rows
    assert both.dense().equal(torch.cat([one.dense(), other.dense()], dim=1))
    pieces = both.split(both.dense())
    assert list(pieces) == ["a", "b"]
    assert pieces["a"].equal(one.dense())
    assert pieces["b"].equal(other.dense())
    assert both.mask is not None
    assert both.split(both.mask)["b"].equal(other.segments[0].mask)


def test_segments_must_agree_in_width() -> None:
    """Two widths are refused by name."""
    with pytest.raises(ValueError, match=r"one width.*'a': 9.*'b': 10"):
        join([ByteArray((segment(),)), ByteArray((segment(name="b", values=4),))])


def test_a_grid_must_have_as_many_places_as_there_are_rows() -> None:
    with pytest.raises(ValueError, match="pixels"):
        Segment("pixels", torch.zeros(1, 5, 3), grid_positions((2, 3)))


def test_rows_without_a_mask_are_present() -> None:
    """A mask is there only if a segment has one; then the others' rows are all True."""
    bare = Segment("b", normal(2, 3, 9))
    assert ByteArray((bare,)).mask is None
    mask = ByteArray((bare, segment())).mask
    assert mask is not None
    assert mask.dtype == torch.bool
    assert mask[:, :3].all()
    assert mask[:, 3:].equal(segment().mask)


def test_codes_take_the_values_type() -> None:
    """Values decide the type of the matrix."""
    assert Segment("a", torch.zeros(1, 6, 3), grid_positions((2, 3))).dense().dtype == torch.float32


def test_gradients_reach_every_part() -> None:
    """Values, every axis' table and the modality_embedding are learned through dense()."""
    whole = segment()
    assert isinstance(whole.positions, GridPositions)
    assert whole.modality_embedding is not None
    parts = [whole.values, *whole.positions.tables, whole.modality_embedding]
    for part in parts:
        part.requires_grad_()
    whole.dense().sum().backward()
    assert [float(part.grad.unique()) for part in parts] == [1, 2 * 3, 2 * 2, 2 * 6]  # how often each is used
