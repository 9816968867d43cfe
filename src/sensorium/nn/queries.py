"""Queries: what latents are asked (Perceiver IO §3.2).

They are a byte array: a description rather than a matrix, each query a row. Learned queries are a table of positions,
those at coordinates are the positions of a grid, those about the input are the input's own rows, and those for several
signals are segments with modality_embeddings. A million of them cost nothing until they are asked, and then as much as
are asked at once.
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
    """What is asked of some latents.

    Attributes:
        array: all that might be asked, a query a row: of as many examples as there are latents, or of one, when all are
            asked the same. Its mask says what is really asked (True = asked).
        where: int64, the rows that are asked, in this order; None: all, in their own.

    Raises:
        InputError: ``where`` is not a list of rows that are there.

    >>> from .positions import fourier_grid
    >>> every = queries_at(fourier_grid((4, 6), bands=2))
    >>> every.count, every.channels, replace(every, where=torch.tensor([23, 0])).dense().shape
    (24, 10, torch.Size([1, 2, 10]))
    """

    array: ByteArray
    where: Int[Tensor, "..."] | None = None

    def __post_init__(self) -> None:
        where = self.where
        if where is None:
            return
        if where.ndim != 1 or where.dtype != torch.int64:
            raise InputError(
                f"queries: where is a list of rows, int64; got {where.dtype} of shape {tuple(where.shape)}"
            )
        if where.numel() and not where.is_meta and not 0 <= int(where.min()) <= int(where.max()) < self.array.num_rows:
            raise InputError(
                f"queries: where asks for rows {int(where.min())} to {int(where.max())}; "
                f"there are {self.array.num_rows}, counted from 0"
            )

    @property
    def count(self) -> int:
        """How many are asked."""
        return self.array.num_rows if self.where is None else len(self.where)

    @property
    def channels(self) -> int:
        return self.array.channels

    @property
    def mask(self) -> Bool[Tensor, "one_or_batch queries"] | None:
        """one_or_batch × queries, True = asked; None: all are."""
        mask = self.array.mask
        return mask if mask is None or self.where is None else mask[:, self.where]

    def dense(self) -> Float[Tensor, "one_or_batch queries channels"]:
        """one_or_batch × queries × channels."""
        if self.where is None:
            return self.array.dense()
        segments = self.array.segments
        if len(segments) == 1:
            return segments[0].at(self.where)
        there = self._there()
        pieces = [
            segment.at(self.where[rows] - start)
            for segment, rows, start in zip(segments, there, self._starts(), strict=True)
        ]
        order = torch.cat([rows.nonzero()[:, 0] for rows in there])
        return torch.cat(pieces, dim=1)[:, order.argsort()]

    def chunks(self, size: int) -> Iterator[Queries]:
        """The same queries, at most ``size`` at a time."""
        where = self.where
        if where is None:
            where = torch.arange(self.array.num_rows, device=self.array.segments[0].values.device)
        for some in where.split(size):
            yield replace(self, where=some)

    def split(self, rows: Shaped[Tensor, "batch queries ..."]) -> dict[str, Tensor]:
        """Something given per query (batch × queries × …) as one piece per segment, by name, in the order asked."""
        if self.where is None:
            return self.array.split(rows)
        names = [segment.name for segment in self.array.segments]
        return {name: rows[:, there] for name, there in zip(names, self._there(), strict=True)}

    def _starts(self) -> list[int]:
        """The first row of each segment."""
        return list(accumulate([segment.num_rows for segment in self.array.segments[:-1]], initial=0))

    def _there(self) -> list[Tensor]:
        """Of each segment: which of ``where`` are its rows."""
        assert self.where is not None
        segments = zip(self._starts(), self.array.segments, strict=True)
        return [(self.where >= start) & (self.where < start + segment.num_rows) for start, segment in segments]


class LearnedQueries(nn.Module):
    """Queries that are parameters: truncated normal, 0.02.

    Args:
        count: how many.
        channels: of each.
        name: of the segment they are.
        positions: count × any; what as many of their channels start as, where they ask for places; None: nothing.

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
        where: Int[Tensor, "..."] | None = None,
        mask: Bool[Tensor, "batch count"] | None = None,
    ) -> Queries:
        """The first ``count`` queries (all by default).

        Args:
            where: the rows of them that are asked; None: all.
            mask: batch × count, True = asked; None: all are.

        Raises:
            InputError: more than there are.
        """
        if count is not None and count > len(self.table):
            raise InputError(f"{self.name}: {count} queries, only {len(self.table)} were learned")
        return queries_at(GridPositions((self.table[:count],)), where=where, mask=mask, name=self.name)


def queries_at(
    positions: GridPositions | PointPositions,
    *,
    where: Int[Tensor, "..."] | None = None,
    mask: Bool[Tensor, "batch rows"] | None = None,
    modality_embedding: Float[Tensor, " channels"] | None = None,
    name: str = "answer",
) -> Queries:
    """A query at each place that has a code: ``fourier_grid`` of a grid, ``fourier_points`` of coordinates.

    Args:
        positions: where. The authors' queries for all of a grid have its ``linspace`` spacing, those for a part of it
            the ``published`` one, a pixel off: ask as a model was trained.
        where: the rows of them that are asked; None: all.
        mask: batch × rows, True = asked; None: all are.
        modality_embedding: a learned position to tell these queries from others, or to fill up to their width.
        name: of the segment.
    """
    some = positions.tables[0] if isinstance(positions, GridPositions) else positions.table
    if isinstance(positions, GridPositions):
        rows, batch = torch.Size(positions.shape).numel(), 1 if mask is None else len(mask)
    else:
        batch, rows, _ = positions.table.shape
    return Queries(
        ByteArray((Segment(name, some.new_zeros(batch, rows, 0), positions, modality_embedding, mask),)), where
    )
