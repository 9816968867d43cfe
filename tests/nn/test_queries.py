"""Queries: a byte array of which any part may be queries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference
from builders import grid_array, normal
from sensorium.errors import InputError
from sensorium.nn.byte_array import ByteArray, PointPositions, Segment
from sensorium.nn.positions import fourier_grid, fourier_points
from sensorium.nn.queries import LearnedQueries, Queries, queries_at


def several(*, masked: bool = False) -> Queries:
    """Queries of three segments: a grid of 12, rows with positions of their own, a single learned one; all 9 wide."""
    mask = (normal(2, 12, seed=5) > 0) if masked else None
    grid = grid_array((3, 4), values=2, positions=5, modality_channels=2, mask=mask)
    rows = Segment("rows", normal(2, 5, 4), PointPositions(normal(2, 5, 5)))
    return Queries(ByteArray((grid, rows, Segment("one", normal(2, 1, 9)))))


@given(seed=st.integers(0, 999), count=st.integers(0, 18), masked=st.booleans())
def test_a_part_is_an_index_into_the_whole(seed: int, count: int, masked: bool) -> None:
    """Of any segments, in any order, the same one twice too; their masks and what is given per query alike."""
    every = several(masked=masked)
    indices = torch.randint(18, (count,), generator=torch.Generator().manual_seed(seed))
    part = replace(every, indices=indices)
    assert part.count == count
    torch.testing.assert_close(part.dense(), every.dense()[:, indices], rtol=0, atol=0)
    assert (part.mask is None) == (not masked)
    if every.mask is not None and part.mask is not None:
        assert part.mask.equal(every.mask[:, indices])
    numbers = torch.arange(18).expand(2, -1)
    pieces = part.split(numbers[:, indices])
    assert list(pieces) == ["grid 0", "rows", "one"]
    for name, piece in every.split(numbers).items():
        expected = indices[torch.isin(indices, piece[0])]
        assert pieces[name][0].equal(expected)


@pytest.mark.parametrize("size", [1, 4, 17, 18, 100])
def test_chunks_are_the_whole(size: int) -> None:
    every = several(masked=True)
    for queries in (every, replace(every, indices=torch.tensor([17, 3, 3, 12]))):
        chunks = list(queries.chunks(size))
        assert max(chunk.count for chunk in chunks) <= size
        assert torch.cat([chunk.dense() for chunk in chunks], dim=1).equal(queries.dense())


def test_learned_queries_are_small_parameters() -> None:
    """A normal of 0.02, truncated at ±0.04; the first of them may be used, or any."""
    queries = LearnedQueries(300, 20)
    assert float(queries.table.detach().std()) == pytest.approx(0.02 * 0.8796, rel=0.05)
    assert float(queries.table.detach().abs().max()) <= 0.04
    assert queries().dense().equal(queries.table[None])
    assert queries(7).dense().equal(queries.table[None, :7])
    assert queries(7, indices=torch.tensor([5, 0])).dense().equal(queries.table[None, [5, 0]])
    mask = torch.tensor([[True, False], [True, True]])
    masked = queries(2, mask=mask)
    assert masked.mask is not None
    assert masked.mask.equal(mask)
    assert masked.dense().shape == (2, 2, 20)


def test_the_published_spacing_is_the_authors() -> None:
    """-1 + 2 i / n along each axis, as in the authors' queries for a part of a grid; never 1 (paper.md §0)."""
    positions = fourier_grid((3, 5), bands=2, resolution=(7.0, 9.0), spacing="published")
    entries = np.stack(np.meshgrid(np.arange(3), np.arange(5), indexing="ij"), -1).reshape(-1, 2)
    expected = reference.fourier(-1 + 2 * entries / [3, 5], bands=2, resolution=(7, 9))
    indices = torch.tensor([14, 0, 7])
    np.testing.assert_allclose(queries_at(positions, indices=indices).dense()[0].numpy(), expected[indices], atol=1e-6)
    assert float(positions.dense()[:, :2].max()) < 1


def test_queries_at_points_are_those_of_the_grid() -> None:
    """The positions of a grid's coordinates, row by row, are the grid's."""
    points = torch.from_numpy(reference.grid((3, 4))).float().expand(2, -1, -1)
    queries = queries_at(fourier_points(points, bands=3, resolution=(3.0, 4.0)), modality_embedding=torch.ones(2))
    grid = queries_at(fourier_grid((3, 4), bands=3), modality_embedding=torch.ones(2))
    torch.testing.assert_close(queries.dense(), grid.dense().expand(2, -1, -1), rtol=0, atol=1e-5)
    assert queries.channels == 16


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (torch.tensor([0, 18]), "rows 0 to 18; there are 18"),
        (torch.tensor([-1]), "rows -1 to -1"),
        (torch.tensor([[0]]), "indices are a list of rows"),
        (torch.tensor([1], dtype=torch.int32), "int64; got torch.int32"),
    ],
)
def test_indices_that_are_no_rows_are_refused(indices: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(several(), indices=indices)
    with pytest.raises(InputError, match="3 queries, only 2"):
        LearnedQueries(2, 4)(3)
