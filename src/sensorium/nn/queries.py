"""Queries: what the decoder computes outputs for (Perceiver IO §3.2).

Queries are a byte array: a description rather than a matrix, one query a row. Learned queries are a table of
positions; queries at coordinates are the positions of a grid; queries about the input are the input's own rows; queries
for several signals are segments with modality embeddings. Only the queries that are decoded at a time are computed as a
matrix, so a million of them need no memory before that.
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
    """The queries of a batch.

    Attributes:
        array: all queries, one a row: of as many examples as there are latents, or of one example, where all examples
            have the same queries. In its mask, True = present; the output of an absent query means nothing.
        indices: int64, (queries,): the rows of ``array`` to decode, in this order; None: all rows.

    Raises:
        InputError: ``indices`` is not a list of row numbers of ``array``.

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
        least, most = int(indices.min()), int(indices.max())
        if not 0 <= least <= most < self.array.num_rows:
            raise InputError(
                f"queries: indices from {least} to {most}; there are {self.array.num_rows} rows, counted from 0"
            )

    @property
    def count(self) -> int:
        """How many queries are decoded."""
        return self.array.num_rows if self.indices is None else len(self.indices)

    @property
    def channels(self) -> int:
        """Channels of a query."""
        return self.array.channels

    @property
    def mask(self) -> Bool[Tensor, "one_or_batch queries"] | None:
        """one_or_batch × queries, True = present; None: all are."""
        mask = self.array.mask
        return mask if mask is None or self.indices is None else mask[:, self.indices]

    def dense(self) -> Float[Tensor, "one_or_batch queries channels"]:
        """The queries as a matrix: one_or_batch × queries × channels."""
        if self.indices is None:
            return self.array.dense()
        segments = self.array.segments
        if len(segments) == 1:
            return segments[0].at(self.indices)
        in_segment = self._in_segment()
        pieces = [
            segment.at(self.indices[chosen] - start)
            for segment, chosen, start in zip(segments, in_segment, self._segment_starts(), strict=True)
        ]
        order = torch.cat([chosen.nonzero()[:, 0] for chosen in in_segment])
        return torch.cat(pieces, dim=1)[:, order.argsort()]

    def chunks(self, size: int) -> Iterator[Queries]:
        """The same queries, at most ``size`` at a time."""
        indices = self.indices
        if indices is None:
            indices = torch.arange(self.array.num_rows, device=self.array.segments[0].values.device)
        for chunk in indices.split(size):
            yield replace(self, indices=chunk)

    def split(self, rows: Shaped[Tensor, "batch queries ..."]) -> dict[str, Tensor]:
        """Rows of a decoder's output (batch × queries × …) by segment, each in the order of the queries."""
        if self.indices is None:
            return self.array.split(rows)
        names = [segment.name for segment in self.array.segments]
        return {name: rows[:, chosen] for name, chosen in zip(names, self._in_segment(), strict=True)}

    def _segment_starts(self) -> list[int]:
        """The first row of each segment."""
        return list(accumulate([segment.num_rows for segment in self.array.segments[:-1]], initial=0))

    def _in_segment(self) -> list[Tensor]:
        """For each segment, which of ``indices`` are its rows: (queries,), bool."""
        assert self.indices is not None
        segments = zip(self._segment_starts(), self.array.segments, strict=True)
        return [(self.indices >= start) & (self.indices < start + segment.num_rows) for start, segment in segments]


class LearnedQueries(nn.Module):
    """Queries that are parameters: truncated normal, standard deviation 0.02.

    Args:
        count: how many.
        channels: of each.
        name: of their segment.
        positions: count × any: position encodings that their first channels start as; None: all channels are random.

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
        """The first ``count`` queries, by default all of them.

        Args:
            indices: those of them to decode; None: all.
            mask: batch × count, True = present; None: all are.

        Raises:
            InputError: a count larger than the number of learned queries.
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
    """A query at each position.

    Args:
        positions: of the queries: ``fourier_grid`` of a grid, ``fourier_points`` of coordinates. The authors' queries
            for a whole grid have its ``linspace`` spacing, those for a part of it the ``published`` one, which is a
            pixel off: use the spacing that a model was trained with.
        indices: the rows to decode; None: all.
        mask: batch × rows, True = present; None: all are.
        modality_embedding: a learned vector that tells these queries from others, or pads them to their number of
            channels.
        name: of the segment.
    """
    table = positions.tables[0] if isinstance(positions, GridPositions) else positions.table
    if isinstance(positions, GridPositions):
        rows, batch = torch.Size(positions.shape).numel(), 1 if mask is None else len(mask)
    else:
        batch, rows, _ = positions.table.shape
    values = table.new_zeros(batch, rows, 0)
    return Queries(ByteArray((Segment(name, values, positions, modality_embedding, mask),)), indices)
