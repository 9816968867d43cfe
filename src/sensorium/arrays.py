"""The byte array: what an encoder reads, as a description rather than a matrix.

A :class:`ByteArray` is a tuple of segments, one a modality. ``dense()`` spells it out as batch × rows × channels:
that is its meaning, and what every test compares with. A read may compute the same answer from the parts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


@dataclass(frozen=True)
class GridCodes:
    """Position codes of the rows of a grid (rows in ``ij`` order): a row's code is the sum of its axes' codes.

    Fourier codes fit because each axis fills only its own channels; learned ones because one table is a 1-axis grid.

    Attributes:
        tables: one float tensor per axis, size of the axis × channels.
    """

    tables: tuple[Float[Tensor, "_ channels"], ...]

    @property
    def channels(self) -> int:
        return self.tables[0].shape[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis; their product is the number of rows."""
        return tuple(table.shape[0] for table in self.tables)

    @property
    def joined(self) -> Float[Tensor, "entries channels"]:
        """One axis' table after the other."""
        return torch.cat(self.tables)

    def dense(self) -> Float[Tensor, "rows channels"]:
        """rows × channels."""
        total = self.tables[0]
        for table in self.tables[1:]:
            total = (total[:, None] + table[None]).flatten(0, 1)
        return total

    def at(self, index: Int[Tensor, "*places"]) -> Float[Tensor, "*places channels"]:
        """The codes of the rows at ``index``: no other is spelled out."""
        places = torch.unravel_index(index, self.shape)
        total = self.tables[0][places[0]]
        for table, place in zip(self.tables[1:], places[1:], strict=True):
            total = total + table[place]
        return total


@dataclass(frozen=True)
class RowCodes:
    """Position codes given row by row: points, irregular times, kept rows.

    Attributes:
        table: batch × rows × channels, float.
    """

    table: Float[Tensor, "batch rows channels"]

    @property
    def channels(self) -> int:
        return self.table.shape[-1]

    def dense(self) -> Float[Tensor, "batch rows channels"]:
        """batch × rows × channels."""
        return self.table

    def at(self, index: Int[Tensor, " kept"]) -> Float[Tensor, "batch kept channels"]:
        """The codes of the rows at ``index``, the same rows of every example."""
        return self.table[:, index]


@dataclass(frozen=True)
class Segment:
    """The rows of one modality. A row is [values, code, marker]; this order is the papers'.

    Attributes:
        name: the modality's name.
        values: batch × rows × value channels, float; measured values (there may be 0 channels).
        codes: position codes, or None.
        marker: channels; the learned modality code, which also fills up to the common width. None: no marker.
        mask: batch × rows, bool, True = present. None: every row is present.
    """

    name: str
    values: Float[Tensor, "batch rows value_channels"]
    codes: GridCodes | RowCodes | None = None
    marker: Float[Tensor, " channels"] | None = None
    mask: Bool[Tensor, "batch rows"] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.codes, GridCodes) and prod(self.codes.shape) != self.rows:
            raise ValueError(f"{self.name}: a grid of {self.codes.shape} does not have {self.rows} rows")

    @property
    def rows(self) -> int:
        return self.values.shape[1]

    @property
    def channels(self) -> int:
        code = 0 if self.codes is None else self.codes.channels
        marker = 0 if self.marker is None else self.marker.shape[0]
        return self.values.shape[2] + code + marker

    def dense(self) -> Float[Tensor, "batch rows channels"]:
        """batch × rows × channels."""
        return self._spelled(self.values, None if self.codes is None else self.codes.dense())

    def at(self, index: Int[Tensor, " kept"]) -> Float[Tensor, "batch kept channels"]:
        """``dense()[:, index]``, without spelling out the others."""
        return self._spelled(self.values[:, index], None if self.codes is None else self.codes.at(index))

    def keep(self, index: Int[Tensor, "batch kept"]) -> Segment:
        """The rows at ``index`` (batch × kept, int64) only; a row keeps its code."""

        def take(rows: Tensor) -> Tensor:
            return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[-1]))

        codes = self.codes
        if isinstance(codes, GridCodes):
            codes = RowCodes(codes.at(index))
        elif isinstance(codes, RowCodes):
            codes = RowCodes(take(codes.table))
        mask = None if self.mask is None else self.mask.gather(1, index)
        return replace(self, values=take(self.values), codes=codes, mask=mask)

    def _spelled(self, values: Tensor, codes: Tensor | None) -> Tensor:
        batch, rows, _ = values.shape
        parts = [values]
        if codes is not None:
            parts.append(codes.to(values.dtype).expand(batch, rows, -1))
        if self.marker is not None:
            parts.append(self.marker.to(values.dtype).expand(batch, rows, -1))
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


@dataclass(frozen=True)
class ByteArray:
    """The papers' byte array, M × C, a batch of them: segments one after the other along the rows.

    >>> codes = GridCodes((torch.eye(2), torch.zeros(3, 2)))
    >>> array = ByteArray((Segment("image", torch.zeros(4, 6, 3), codes),))
    >>> array.dense().shape
    torch.Size([4, 6, 5])
    """

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        widths = {segment.name: segment.channels for segment in self.segments}
        if len(set(widths.values())) > 1:
            raise ValueError(f"segments must have one width, got {widths}")

    @property
    def batch(self) -> int:
        return self.segments[0].values.shape[0]

    @property
    def rows(self) -> int:
        return sum(segment.rows for segment in self.segments)

    @property
    def channels(self) -> int:
        return self.segments[0].channels

    @property
    def mask(self) -> Bool[Tensor, "batch rows"] | None:
        """batch × rows, bool, True = present; None when every row is present."""
        if all(segment.mask is None for segment in self.segments):
            return None
        return torch.cat([_mask(segment) for segment in self.segments], dim=1)

    def dense(self) -> Float[Tensor, "batch rows channels"]:
        """The matrix this array describes: batch × rows × channels."""
        parts = [segment.dense() for segment in self.segments]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def split(self, rows: Shaped[Tensor, "batch rows ..."]) -> dict[str, Tensor]:
        """Something given per row (batch × rows × …) as one piece per segment, by name."""
        pieces = rows.split([segment.rows for segment in self.segments], dim=1)
        return {segment.name: piece for segment, piece in zip(self.segments, pieces, strict=True)}

    def drop_rows(self, fraction: float, *, generator: torch.Generator | None = None) -> ByteArray:
        """Each segment without a random ``fraction`` of its rows, drawn per example; codes stay with their rows."""
        segments = []
        for segment in self.segments:
            kept = max(1, round(segment.rows * (1 - fraction)))
            if kept >= segment.rows:
                segments.append(segment)
                continue
            order = torch.rand(self.batch, segment.rows, generator=generator).to(segment.values.device)
            segments.append(segment.keep(order.topk(kept, dim=1, sorted=False).indices))
        return ByteArray(tuple(segments))


def join(arrays: list[ByteArray]) -> ByteArray:
    """Several byte arrays of one width as one: their segments in order."""
    return ByteArray(tuple(segment for array in arrays for segment in array.segments))


def _mask(segment: Segment) -> Tensor:
    if segment.mask is not None:
        return segment.mask
    return torch.ones(segment.values.shape[:2], dtype=torch.bool, device=segment.values.device)
