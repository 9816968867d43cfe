"""The rows of a byte array, made ready once for all reads of a forward pass, and read in the cheapest exact way.

A folded query (see :mod:`sensorium.nn.attention`) attends to the normalised rows themselves. What is spelled out is
read as it is: :class:`SpelledRows`. The rows of a grid never are: :class:`GridRows` computes the same sums from the
measured values and one small table an axis, forward and backward. With a row's values v, the sum of its axes'
positions, its modality_embedding, mean μ and inverse deviation s, a folded query q = [q_v, q_c, q_m] has the logit

    q · s (row - μ)  =  s (q_v · v  +  Σ_axes q_c · code_axis  +  q_m · modality_embedding  -  μ Σ q)

in which everything but q_v · v and μ is a table over one axis; and of the weights p one needs Σ p s v, Σ p s μ and the
marginals of p s along each axis. Several pieces (a picture and a sound) are read apart and merge by their log-sum-exp.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from .byte_array import ByteArray, GridPositions, Segment, join
from .ops import compiled_name, grid_read, rows_read
from .precision import exact, lowered, without_autocast

Path = Literal["auto", "projected", "folded", "structured"]
EPSILON = 1e-5  # of every layer norm, as in Haiku
KEPT = 4  # products with positions that a query keeps: as many grids as an input may have at once
ALIGNMENT = 8  # fused attention kernels want head widths of whole vectors; 261 becomes 264

_path: Path = "auto"  # a plain variable, which torch.compile sees; a race for it could change no answer


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Choose how reads are computed; the answer is the same.

    ``projected`` spells rows out and projects keys and values, as the papers say it; ``folded`` spells rows out and
    attends to them directly; ``structured`` never spells out the rows of a grid, and folds the others. ``auto`` takes
    the fastest one.

    >>> with reading("projected"):
    ...     pass
    """
    global _path
    before, _path = _path, path
    try:
        yield
    finally:
        _path = before


@dataclass(frozen=True)
class FoldedQuery:
    """A query folded onto the normalised rows: its product with one is a logit.

    Attributes:
        query: one_or_batch × heads × n × channels.
        kept: products with positions that were asked for before, where the query is one that is asked again (the first
            read's, in inference); None: nothing is kept.
    """

    query: Float[Tensor, "one_or_batch heads n channels"]
    kept: deque[tuple[int, Tensor, Tensor]] | None = None

    def over(
        self, positions: Float[Tensor, "entries position_channels"], start: int
    ) -> Float[Tensor, "_ heads n entries"]:
        """The products with positions whose channels begin at ``start``."""
        for begin, known, product in self.kept or ():
            if begin == start and same(known, positions):
                return product
        product = exact(self.query[..., start : start + positions.shape[1]]) @ positions.mT
        if self.kept is not None:
            self.kept.append((start, positions, product))
        return product


@dataclass(frozen=True)
class Read:
    """What was read of some rows by a softmax over them.

    Attributes:
        sums: Σ p · normalised row, float32 at least; zeros where there was no row.
        log_sum: log Σ exp(logit); -inf where there was no row.
    """

    sums: Float[Tensor, "batch heads n channels"]
    log_sum: Float[Tensor, "batch heads n"]


@dataclass(frozen=True)
class SpelledRows:
    """Rows spelled out, normalised (without scale and shift) and padded.

    Attributes:
        normalised: batch × rows × channels padded to a multiple of 8, zeros in the padding.
        channels: how many channels there really are.
        mask: batch × rows, bool, True = present; None: all are.
    """

    normalised: Float[Tensor, "batch rows padded"]
    channels: int
    mask: Bool[Tensor, "batch rows"] | None

    @classmethod
    def of(cls, array: ByteArray) -> SpelledRows:
        """Spell out and normalise a byte array. Statistics are of float32 (float64 stays), whatever autocast says."""
        with without_autocast(array.segments[0].values.device.type):
            normalised = F.layer_norm(exact(array.dense()), (array.channels,), eps=EPSILON)
            normalised = pad(normalised)
        return cls(lowered(normalised), array.channels, array.mask)

    def read(self, folded: FoldedQuery) -> Read:
        """Attend to the rows."""
        batch, (heads, latents) = self.normalised.shape[0], folded.query.shape[1:3]
        query = pad(folded.query).to(self.normalised.dtype).flatten(1, 2).expand(batch, -1, -1)
        read = rows_read(query, self.normalised, self.mask)
        sums = read.sums.unflatten(1, (heads, latents))[..., : self.channels]
        return Read(sums, read.log_sum.unflatten(1, (heads, latents)))


@dataclass(frozen=True)
class GridRows:
    """The rows of a grid of two axes or more, as their parts; with s the inverse deviation of each row, μ its mean.

    Attributes:
        values: s · measured values and, as the last channel, s · μ; zeros in masked rows.
        scale: s; zero in masked rows.
        positions: one axis' table of positions after the other.
        modality_embedding: the learned modality code, or None.
        mask: True = present; None: all are.
        shape: the size of each axis.
    """

    values: Float[Tensor, "batch value_channels rows"]
    scale: Float[Tensor, "batch rows"]
    positions: Float[Tensor, "entries position_channels"]
    modality_embedding: Float[Tensor, " modality_channels"] | None
    mask: Bool[Tensor, "batch rows"] | None
    shape: tuple[int, ...]

    @classmethod
    def of(cls, segment: Segment) -> GridRows:
        """The statistics of every row from sums over its parts: no row is built."""
        assert isinstance(segment.positions, GridPositions)
        with without_autocast(segment.values.device.type):
            values = exact(segment.values).mT
            if segment.mask is not None:  # whatever stands there is never read
                values = values.masked_fill(~segment.mask[:, None], 0.0)
            tables = [table.to(values.dtype) for table in segment.positions.tables]
            position_sums = _over_grid([table.sum(-1) for table in tables])
            position_squares = _over_grid([table.square().sum(-1) for table in tables])
            for first, second in combinations(range(len(tables)), 2):
                products = tables[first] @ tables[second].mT
                position_squares = position_squares + 2 * _across(products, first, second, len(tables))
            sums, squares = position_sums.flatten(), position_squares.flatten()
            constant = segment.channels - values.shape[1]  # channels that are the same for every example
            modality_embedding = (
                None if segment.modality_embedding is None else segment.modality_embedding.to(values.dtype)
            )
            if modality_embedding is not None:
                sums, squares = sums + modality_embedding.sum(), squares + modality_embedding.square().sum()
            mean = (values.sum(1) + sums) / segment.channels
            # Σ (x - μ)² term by term: what is large in μ is large in its square, and nothing cancels.
            spread = (values - mean[:, None]).square().sum(1) + squares - 2 * mean * sums + constant * mean.square()
            scale = (spread / segment.channels + EPSILON).rsqrt()
            if segment.mask is not None:
                scale = scale.masked_fill(~segment.mask, 0.0)
            scaled = torch.cat([values, mean[:, None]], dim=1) * scale[:, None]
        positions = segment.positions.joined.to(values.dtype)
        return cls(scaled, scale, positions, modality_embedding, segment.mask, segment.positions.shape)

    def read(self, folded: FoldedQuery) -> Read:
        """Attend to the rows."""
        batch, width, first = self.values.shape[0], self.values.shape[1] - 1, self.shape[0]
        with without_autocast(self.values.device.type):
            query = folded.query.to(self.values.dtype)
            tables = folded.over(self.positions, width)
            if self.modality_embedding is not None:  # the same for all rows: any one axis may carry it
                constant = query[..., -self.modality_embedding.shape[0] :] @ self.modality_embedding
                tables = torch.cat([tables[..., :first] + constant[..., None], tables[..., first:]], dim=-1)
            read = grid_read(
                torch.cat([query[..., :width], -query.sum(-1, keepdim=True)], dim=-1).expand(batch, -1, -1, -1),
                tables.expand(batch, -1, -1, -1),
                self.values,
                self.scale,
                self.mask,
                self.shape,
            )
            sums, mean = read.sums.split([width, 1], dim=-1)
            parts = [sums, read.marginals @ self.positions]
            if self.modality_embedding is not None:
                parts.append(read.marginals[..., :first].sum(-1, keepdim=True) * self.modality_embedding)
            return Read(torch.cat(parts, dim=-1) - mean, read.log_sum)


@dataclass(frozen=True)
class Rows:
    """The rows of a byte array as the reads of a forward pass share them.

    Attributes:
        array: the rows.
        path: how they are read.
        parts: where other reads look at some of the rows only: the parts of them that are always read together.
    """

    array: ByteArray
    path: Path
    parts: tuple[Rows, ...] = ()

    @classmethod
    def of(cls, array: ByteArray) -> Rows:
        """Rows to be read as :func:`reading` says."""
        return cls(array, _path)

    @classmethod
    def seen(cls, array: ByteArray, looks: Sequence[tuple[str, ...] | None]) -> list[Rows]:
        """The rows that each look sees: segments by name, or all (None). What looks share is made ready once.

        Raises:
            ValueError: a look at nothing that the array has.
        """
        parts: dict[tuple[bool, ...], list[Segment]] = {}  # by which looks see them
        for segment in array.segments:
            seen = tuple(look is None or segment.name in look for look in looks)
            parts.setdefault(seen, []).append(segment)
        rows = {seen: cls.of(ByteArray(tuple(segments))) for seen, segments in parts.items()}
        views: dict[tuple[tuple[bool, ...], ...], Rows] = {}
        result = []
        for place, look in enumerate(looks):
            chosen = tuple(seen for seen in rows if seen[place])
            if not chosen:
                raise ValueError(f"a look at {look}, none of which is in the byte array")
            if chosen not in views:
                some = tuple(rows[seen] for seen in chosen)
                views[chosen] = some[0] if len(some) == 1 else cls(join([one.array for one in some]), _path, some)
            result.append(views[chosen])
        return result

    @property
    def structured(self) -> bool:
        """Whether any of the pieces is read as a grid."""
        return any(isinstance(piece, GridRows) for piece in self.pieces)

    @cached_property
    def spelled(self) -> SpelledRows:
        """All rows, spelled out."""
        if not self.parts:
            return SpelledRows.of(self.array)
        normalised = torch.cat([part.spelled.normalised for part in self.parts], dim=1)
        return SpelledRows(normalised, self.array.channels, self.array.mask)

    @cached_property
    def pieces(self) -> list[SpelledRows | GridRows]:
        """The rows in pieces that are read apart: each grid that is worth it, and all the rest."""
        if self.parts:
            return [piece for part in self.parts for piece in part.pieces]
        grids = [segment for segment in self.array.segments if self._as_grid(segment)]
        rest = tuple(segment for segment in self.array.segments if not self._as_grid(segment))
        if not grids:
            return [self.spelled]
        others = [SpelledRows.of(ByteArray(rest))] if rest else []
        return [*(GridRows.of(segment) for segment in grids), *others]

    @cached_property
    def some(self) -> Bool[Tensor, " batch"] | None:
        """Which examples have a row to read; None: all have."""
        if self.array.num_rows == 0:
            return torch.zeros(self.array.batch, dtype=torch.bool, device=self.array.segments[0].values.device)
        mask = self.array.mask
        return None if mask is None else mask.any(-1)

    def prepare(self, *, folded: bool) -> None:
        """Make the rows ready now, rather than when they are first read."""
        _ = self.pieces if folded else self.spelled

    def read(self, folded: FoldedQuery) -> Float[Tensor, "batch heads n channels"]:
        """Σ p · normalised row by the softmax over all rows; zeros where there is no row."""
        reads = [piece.read(folded) for piece in self.pieces]
        return reads[0].sums if len(reads) == 1 else merge(reads)

    def _as_grid(self, segment: Segment) -> bool:
        if (
            not isinstance(segment.positions, GridPositions)
            or len(segment.positions.shape) < 2
            or segment.num_rows == 0
        ):
            return False
        return self.path == "structured" or (self.path == "auto" and structure_pays(segment))


def merge(reads: list[Read]) -> Float[Tensor, "batch heads n channels"]:
    """The sums of one softmax over the rows of all reads."""
    log_sums = torch.stack([read.log_sum for read in reads])
    lowest = torch.finfo(log_sums.dtype).min  # finite, so that a read of nothing has a gradient
    shares = log_sums.clamp_min(lowest).softmax(0)
    return (shares[..., None] * torch.stack([read.sums for read in reads])).sum(0)


def structure_pays(segment: Segment) -> bool:
    """Whether a grid is read faster from its parts than spelled out and folded, for forward and backward together.

    Spelled out, a weight costs its share of two products over all channels; from parts, an exponential and its share
    of two products over the values. Measured (docs/decisions/0005), they break even where the channels are 1.7 for
    each value and 26 more with the compiled pass, 65 more with its twin. On a GPU rows are spelled out: there is
    no kernel for anything else.
    """
    if segment.values.device.type != "cpu":
        return False
    compiled = compiled_name() is not None and segment.values.dtype != torch.float64
    return segment.channels > 1.7 * segment.values.shape[2] + (26 if compiled else 65)


def same(one: Tensor, other: Tensor) -> bool:
    """The same numbers, in the same place and precision."""
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)


def pad(x: Tensor) -> Tensor:
    """Zeros after the last channel, up to a multiple of 8."""
    extra = -x.shape[-1] % ALIGNMENT
    return F.pad(x, (0, extra)) if extra else x


def _over_grid(per_axis: list[Tensor]) -> Tensor:
    """One number an entry of each axis, added up over the grid: shape of the grid."""
    total = per_axis[0]
    for numbers in per_axis[1:]:
        total = total[..., None] + numbers
    return total


def _across(products: Tensor, first: int, second: int, axes: int) -> Tensor:
    """A matrix over two axes, in a shape that broadcasts over the grid."""
    shape = [1] * axes
    shape[first], shape[second] = products.shape
    return products.view(shape)
