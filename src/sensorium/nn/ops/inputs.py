"""The rows of a byte array, prepared once for all cross-attends of a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool
from torch import Tensor

from ..byte_array import ByteArray, Segment, join
from .absorbed import DenseRows
from .structured import StructuredRows


@dataclass(frozen=True)
class AttentionInputs:
    """What cross-attends attend to. Each form of the rows is built when it is first needed, and kept.

    Attributes:
        array: the rows.
        parts: where other cross-attends attend to some of these segments only: the segments in groups that are always
            attended to together, so that each group is prepared once. Empty: the array is one group.
    """

    array: ByteArray
    parts: tuple[AttentionInputs, ...] = ()
    _pieces: dict[tuple[bool, ...], list[DenseRows | StructuredRows]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def select(cls, array: ByteArray, attends_to: Sequence[tuple[str, ...] | None]) -> list[AttentionInputs]:
        """The inputs of each cross-attend. What several of them attend to is prepared once.

        Args:
            array: all rows.
            attends_to: for each cross-attend the names of the segments that it attends to; None: all segments.

        Raises:
            ValueError: names of which the array has none.
        """
        groups: dict[tuple[bool, ...], list[Segment]] = {}  # by the cross-attends that attend to them
        for segment in array.segments:
            users = tuple(names is None or segment.name in names for names in attends_to)
            groups.setdefault(users, []).append(segment)
        parts = {users: cls(ByteArray(tuple(segments))) for users, segments in groups.items()}
        selections: dict[tuple[tuple[bool, ...], ...], AttentionInputs] = {}
        result = []
        for number, names in enumerate(attends_to):
            selected = tuple(users for users in parts if users[number])
            if not selected:
                raise ValueError(f"attends_to {names}, none of which is in the byte array")
            if selected not in selections:
                used = tuple(parts[users] for users in selected)
                selections[selected] = used[0] if len(used) == 1 else cls(join([part.array for part in used]), used)
            result.append(selections[selected])
        return result

    @cached_property
    def dense(self) -> DenseRows:
        """All rows as one matrix."""
        if not self.parts:
            return DenseRows.of(self.array)
        normalised = torch.cat([part.dense.normalised for part in self.parts], dim=1)
        return DenseRows(normalised, self.array.channels, self.array.mask)

    def pieces(self, structured: tuple[bool, ...]) -> list[DenseRows | StructuredRows]:
        """The rows in pieces that are attended to one after the other and merged.

        Args:
            structured: for each segment of the array, whether it is a piece of its own, computed from the axes of its
                grid. All other segments are dense rows together.
        """
        if structured not in self._pieces:
            self._pieces[structured] = self._make_pieces(structured)
        return self._pieces[structured]

    def _make_pieces(self, structured: tuple[bool, ...]) -> list[DenseRows | StructuredRows]:
        if self.parts:
            pieces, start = [], 0
            for part in self.parts:
                stop = start + len(part.array.segments)
                pieces += part.pieces(structured[start:stop])
                start = stop
            return pieces
        if not any(structured):
            return [self.dense]
        chosen = list(zip(self.array.segments, structured, strict=True))
        grids = [StructuredRows.of(segment) for segment, from_axes in chosen if from_axes]
        others = tuple(segment for segment, from_axes in chosen if not from_axes)
        return [*grids, DenseRows.of(ByteArray(others))] if others else [*grids]

    @cached_property
    def has_rows(self) -> Bool[Tensor, " batch"] | None:
        """batch, True = the example has at least one row; None: all have."""
        if self.array.num_rows == 0:
            return torch.zeros(self.array.batch, dtype=torch.bool, device=self.array.segments[0].values.device)
        mask = self.array.mask
        return None if mask is None else mask.any(-1)
