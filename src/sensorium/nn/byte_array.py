"""The byte array: what an encoder attends to, as a description rather than a matrix.

A :class:`ByteArray` is a tuple of segments, one a modality. ``dense()`` is the matrix that it describes, batch × rows ×
channels, and what every test compares with. Attention may compute the same result from the parts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


@dataclass(frozen=True)
class GridPositions:
    """Position encodings of the rows of a grid (rows in ``ij`` order), one table for each axis.

    The encoding of a row is the sum of one entry of each table. Fourier features have this form because each axis fills
    its own channels only; learned positions because a single table is a grid of one axis.

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

    def at(self, index: Int[Tensor, "*rows"]) -> Float[Tensor, "*rows channels"]:
        """The positions of the rows at ``index``; no other is computed."""
        entries = torch.unravel_index(index, self.shape)
        # An embedding, as the gradient of an index into a table takes a CPU nine times as long.
        total = F.embedding(entries[0], self.tables[0])
        for table, entry in zip(self.tables[1:], entries[1:], strict=True):
            total = total + F.embedding(entry, table)
        return total


@dataclass(frozen=True)
class PointPositions:
    """Position encodings given row by row: of points, irregular times, kept rows.

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
        """The positions of the rows at ``index``, the same rows of every example."""
        return self.table[:, index]


@lru_cache(maxsize=16)
def random_order(count: int, seed: int, device: torch.device) -> Int[Tensor, " count"]:
    """The numbers below ``count`` in a random order, always the same for a seed: int64."""
    with torch.inference_mode(False):  # it is kept, also for backward passes
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed), device="cpu")
        return order.to(device, non_blocking=True)


@dataclass(frozen=True)
class Layout:
    """Where rows stand on a grid, for networks that read one: convolutions and patches. Attention never reads it,
    because the order of rows is free.

    Attributes:
        shape: the size of each axis. Cells beyond the number of rows are empty.
        order: int64, (cells,): the row that each cell holds, cells in ``ij`` order. None: cell i holds row i.
    """

    shape: tuple[int, ...]
    order: Int[Tensor, " cells"] | None = None


@dataclass(frozen=True)
class Segment:
    """The rows of one modality. A row is [values, position, modality embedding], in the papers' order.

    Attributes:
        name: the modality's name.
        values: batch × rows × value channels, float; measured values (there may be 0 channels).
        positions: position encodings, or None.
        modality_embedding: channels; the learned vector of the modality, which also pads to the common width; or None.
        mask: batch × rows, bool, True = present. None: every row is present.
        layout: where the rows stand on a grid, for networks that read one; None: as ``positions`` says, if those are of
            a grid.
    """

    name: str
    values: Float[Tensor, "batch rows value_channels"]
    positions: GridPositions | PointPositions | None = None
    modality_embedding: Float[Tensor, " channels"] | None = None
    mask: Bool[Tensor, "batch rows"] | None = None
    layout: Layout | None = None

    def __post_init__(self) -> None:
        if isinstance(self.positions, GridPositions) and prod(self.positions.shape) != self.num_rows:
            raise ValueError(f"{self.name}: a grid of {self.positions.shape} does not have {self.num_rows} rows")

    @property
    def num_rows(self) -> int:
        return self.values.shape[1]

    @property
    def channels(self) -> int:
        positions = 0 if self.positions is None else self.positions.channels
        modality_embedding = 0 if self.modality_embedding is None else self.modality_embedding.shape[0]
        return self.values.shape[2] + positions + modality_embedding

    def dense(self) -> Float[Tensor, "batch rows channels"]:
        """batch × rows × channels."""
        return self._joined(self.values, None if self.positions is None else self.positions.dense())

    def at(self, index: Int[Tensor, " kept"]) -> Float[Tensor, "batch kept channels"]:
        """``dense()[:, index]``, without building the other rows."""
        return self._joined(self.values[:, index], None if self.positions is None else self.positions.at(index))

    def keep(self, index: Int[Tensor, "batch kept"]) -> Segment:
        """The rows at ``index`` (batch × kept, int64) only; a row keeps its position, and they stand on no grid. Rows
        that are the same for all examples may be a batch of one."""

        def take(rows: Tensor) -> Tensor:
            return rows.expand(len(index), -1, -1).gather(1, index[..., None].expand(-1, -1, rows.shape[-1]))

        positions = self.positions
        if isinstance(positions, GridPositions):
            positions = PointPositions(positions.at(index))
        elif isinstance(positions, PointPositions):
            positions = PointPositions(take(positions.table))
        mask = None if self.mask is None else self.mask.expand(len(index), -1).gather(1, index)
        return replace(self, values=take(self.values), positions=positions, mask=mask, layout=None)

    def _joined(self, values: Tensor, positions: Tensor | None) -> Tensor:
        batch, rows, _ = values.shape
        parts = [values]
        if positions is not None:
            parts.append(positions.to(values.dtype).expand(batch, rows, -1))
        if self.modality_embedding is not None:
            parts.append(self.modality_embedding.to(values.dtype).expand(batch, rows, -1))
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


@dataclass(frozen=True)
class ByteArray:
    """The papers' byte array, M × C, a batch of them: segments one after the other along the rows.

    >>> positions = GridPositions((torch.eye(2), torch.zeros(3, 2)))
    >>> array = ByteArray((Segment("image", torch.zeros(4, 6, 3), positions),))
    >>> array.dense().shape
    torch.Size([4, 6, 5])
    """

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        if any(segment.channels != self.channels for segment in self.segments[1:]):
            widths = {segment.name: segment.channels for segment in self.segments}
            raise ValueError(f"segments must have one width, got {widths}")

    @property
    def batch(self) -> int:
        return self.segments[0].values.shape[0]

    @property
    def num_rows(self) -> int:
        return sum(segment.num_rows for segment in self.segments)

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
        """A tensor with one entry a row (batch × rows × …) as one piece per segment, by name."""
        pieces = rows.split([segment.num_rows for segment in self.segments], dim=1)
        return {segment.name: piece for segment, piece in zip(self.segments, pieces, strict=True)}

    def drop_rows(self, fraction: float, *, generator: torch.Generator | None = None) -> ByteArray:
        """Each segment without a random ``fraction`` of its rows, drawn per example; positions stay with their rows."""
        segments = []
        for segment in self.segments:
            device = segment.values.device
            kept = kept_rows(self.batch, segment.num_rows, fraction, generator=generator, device=device)
            segments.append(segment if kept is None else segment.keep(kept))
        return ByteArray(tuple(segments))


def kept_rows(
    batch: int, rows: int, fraction: float, *, generator: torch.Generator | None, device: torch.device
) -> Int[Tensor, "batch kept"] | None:
    """Which rows are left without a random ``fraction`` of them, drawn per example: int64, batch × kept, at least one.
    None: all of them."""
    kept = max(1, round(rows * (1 - fraction)))
    if kept >= rows:
        return None
    order = torch.rand(batch, rows, generator=generator).to(device, non_blocking=True)
    return order.topk(kept, dim=1, sorted=False).indices


def join(arrays: list[ByteArray]) -> ByteArray:
    """Several byte arrays of one width as one: their segments in order."""
    return ByteArray(tuple(segment for array in arrays for segment in array.segments))


def _mask(segment: Segment) -> Tensor:
    if segment.mask is not None:
        return segment.mask
    return torch.ones(segment.values.shape[:2], dtype=torch.bool, device=segment.values.device)
