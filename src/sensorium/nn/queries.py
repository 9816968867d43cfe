"""Queries of a decoder (Perceiver IO §3.2).

They are a byte array: a description rather than a matrix, one row a query. Learned queries are a table of positions,
queries at coordinates are the positions of a grid, queries about the input are the input's own rows, and queries of
several modalities are segments with modality embeddings. A million of them take memory only for those that are decoded
at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from ..errors import InputError
from .byte_array import ByteArray, GridPositions, PointPositions, Segment
from .initialisation import truncated_normal


@dataclass(frozen=True)
class Queries:
    """Queries for a batch of latents.

    Attributes:
        array: all queries there are, one a row: for as many examples as there are latents, or for one, when they are
            the same for all examples. Its mask is True where a query attends to the latents.
        indices: int64, the rows of ``array`` that are decoded, in this order; None: all rows in their order.

    Raises:
        InputError: ``indices`` that are no list of rows of the array.

    >>> from .positions import fourier_grid
    >>> queries = queries_at(fourier_grid((4, 6), bands=2))
    >>> queries.count, queries.channels, replace(queries, indices=torch.tensor([23, 0])).dense().shape
    (24, 10, torch.Size([1, 2, 10]))
    """

    array: ByteArray
    indices: Int[Tensor, "..."] | None = None

    def __post_init__(self) -> None:
        indices = self.indices
        if indices is None:
            return
        if indices.ndim != 1 or indices.dtype != torch.int64:
            raise InputError(
                f"queries: indices are a list of rows, int64; got {indices.dtype} of shape {tuple(indices.shape)}"
            )
        if not indices.numel() or indices.is_meta:
            return
        lowest, highest = int(indices.min()), int(indices.max())
        if not 0 <= lowest <= highest < self.array.num_rows:
            raise InputError(
                f"queries: indices are of rows {lowest} to {highest}; there are {self.array.num_rows}, counted from 0"
            )

    @property
    def count(self) -> int:
        """How many queries are decoded."""
        return self.array.num_rows if self.indices is None else len(self.indices)

    @property
    def channels(self) -> int:
        return self.array.channels

    @property
    def mask(self) -> Bool[Tensor, "one_or_batch queries"] | None:
        """one_or_batch × queries, True = attends to the latents; None: all do."""
        mask = self.array.mask
        return mask if mask is None or self.indices is None else mask[:, self.indices]

    def dense(self) -> Float[Tensor, "one_or_batch queries channels"]:
        """one_or_batch × queries × channels."""
        if self.indices is None:
            return self.array.dense()
        segments = self.array.segments
        if len(segments) == 1:
            return segments[0].at(self.indices)
        memberships = self._memberships()
        pieces = [
            segment.at(self.indices[members] - start)
            for segment, members, start in zip(segments, memberships, self._starts(), strict=True)
        ]
        order = torch.cat([members.nonzero()[:, 0] for members in memberships])
        return torch.cat(pieces, dim=1)[:, order.argsort()]

    def chunks(self, size: int) -> Iterator[Queries]:
        """The same queries, at most ``size`` at a time."""
        indices = self.indices
        if indices is None:
            indices = torch.arange(self.array.num_rows, device=self.array.segments[0].values.device)
        for chunk in indices.split(size):
            yield replace(self, indices=chunk)

    def split(self, rows: Shaped[Tensor, "batch queries ..."]) -> dict[str, Tensor]:
        """A tensor with one row a query (batch × queries × …) as one piece per segment, by name, in the same order."""
        if self.indices is None:
            return self.array.split(rows)
        names = [segment.name for segment in self.array.segments]
        return {name: rows[:, members] for name, members in zip(names, self._memberships(), strict=True)}

    def _starts(self) -> list[int]:
        """The first row of each segment."""
        return list(accumulate([segment.num_rows for segment in self.array.segments[:-1]], initial=0))

    def _memberships(self) -> list[Tensor]:
        """For each segment, which of ``indices`` are rows of it: bool, one a query."""
        assert self.indices is not None
        segments = zip(self._starts(), self.array.segments, strict=True)
        return [(self.indices >= start) & (self.indices < start + segment.num_rows) for start, segment in segments]


class LearnedQueries(nn.Module):
    """Queries that are parameters, initialised from a truncated normal of 0.02.

    Args:
        count: how many.
        channels: of each.
        name: of the segment that they are.
        positions: count × any, the initial values of as many of their channels: position encodings for queries about
            positions. None: all channels start random.

    >>> LearnedQueries(7, 4)(5).dense().shape
    torch.Size([1, 5, 4])
    """

    def __init__(
        self, count: int, channels: int, *, name: str = "answer", positions: Float[Tensor, "count _"] | None = None
    ) -> None:
        super().__init__()
        self.name = name
        table = truncated_normal(torch.empty(count, channels), 0.02)
        if positions is not None:
            table[:, : positions.shape[1]] = positions[:, :channels]
        self.table = nn.Parameter(table)

    def forward(
        self,
        count: int | None = None,
        *,
        indices: Int[Tensor, "..."] | None = None,
        mask: Bool[Tensor, "batch count"] | None = None,
    ) -> Queries:
        """The first ``count`` queries (all by default).

        Args:
            indices: those of them that are decoded; None: all.
            mask: batch × count, True = attends to the latents; None: all do.

        Raises:
            InputError: more queries than there are.
        """
        if count is not None and count > len(self.table):
            raise InputError(f"{self.name}: {count} queries, only {len(self.table)} were learned")
        return queries_at(GridPositions((self.table[:count],)), indices=indices, mask=mask, name=self.name)


def queries_at(
    positions: GridPositions | PointPositions,
    *,
    indices: Int[Tensor, "..."] | None = None,
    mask: Bool[Tensor, "batch rows"] | None = None,
    modality_embedding: Float[Tensor, " channels"] | None = None,
    name: str = "answer",
) -> Queries:
    """One query for each position: of a grid (``fourier_grid``) or of coordinates (``fourier_points``).

    Args:
        positions: the positions. The authors' queries for all of a grid have its ``linspace`` spacing, those for a part
            of it the ``published`` one, a pixel off: use the spacing with which a model was trained.
        indices: the rows that are decoded; None: all.
        mask: batch × rows, True = attends to the latents; None: all do.
        modality_embedding: a learned vector that tells these queries from others, or pads them to the common width.
        name: of the segment.
    """
    table = positions.tables[0] if isinstance(positions, GridPositions) else positions.table
    if isinstance(positions, GridPositions):
        rows, batch = torch.Size(positions.shape).numel(), 1 if mask is None else mask.shape[0]
    else:
        batch, rows, _ = positions.table.shape
    return Queries(
        ByteArray((Segment(name, table.new_zeros(batch, rows, 0), positions, modality_embedding, mask),)), indices
    )
