"""Structured attention: exact attention to the rows of a grid from its axes, without building a row.

Let a row have the values v, the sum of its axes' positions, its modality embedding, the mean μ and the inverse standard
deviation s. The absorbed query q = [q_v, q_c, q_m] has the logit

    q · s (row - μ)  =  s (q_v · v  +  Σ_axes q_c · position_axis  +  q_m · modality_embedding  -  μ Σ q)

Everything but q_v · v and μ is a table over one axis. For the output one needs Σ p s v, Σ p s μ, and the sums of p s
along each axis (marginals), for the softmax weights p.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..byte_array import GridPositions, Segment
from ..precision import EPSILON, exact, without_autocast
from .absorbed import AbsorbedQuery, PartialAttention
from .grid import grid_attention


@dataclass(frozen=True)
class StructuredRows:
    """The rows of a grid of two axes or more, as their parts. s is a row's inverse standard deviation, μ its mean.

    Attributes:
        values: s · values and, as the last channel, s · μ; zeros in masked rows.
        scale: s; zero in masked rows.
        positions: the axes' tables of positions, one after the other.
        modality_embedding: the learned vector of the modality, or None.
        mask: True = present; None: every row is present.
        shape: the size of each axis.
    """

    values: Float[Tensor, "batch value_channels rows"]
    scale: Float[Tensor, "batch rows"]
    positions: Float[Tensor, "entries position_channels"]
    modality_embedding: Float[Tensor, " modality_channels"] | None
    mask: Bool[Tensor, "batch rows"] | None
    shape: tuple[int, ...]

    @classmethod
    def of(cls, segment: Segment) -> StructuredRows:
        """The rows of a segment whose positions are a grid's. Each row's statistics come from sums over its parts."""
        assert isinstance(segment.positions, GridPositions)
        with without_autocast(segment.values.device.type):
            values = exact(segment.values).mT
            if segment.mask is not None:  # masked rows may hold anything, NaN too
                values = values.masked_fill(~segment.mask[:, None], 0.0)
            tables = [table.to(values.dtype) for table in segment.positions.tables]
            sums, squares = _position_sums(tables)
            modality_embedding = segment.modality_embedding
            if modality_embedding is not None:
                modality_embedding = modality_embedding.to(values.dtype)
                sums, squares = sums + modality_embedding.sum(), squares + modality_embedding.square().sum()
            mean = (values.sum(1) + sums) / segment.channels
            constant_channels = segment.channels - values.shape[1]  # the same in every example
            # Σ (x - μ)² term by term: what is large in μ is large in its square, and nothing cancels.
            deviation = (values - mean[:, None]).square().sum(1) + squares - 2 * mean * sums
            variance = (deviation + constant_channels * mean.square()) / segment.channels
            scale = (variance + EPSILON).rsqrt()
            if segment.mask is not None:
                scale = scale.masked_fill(~segment.mask, 0.0)
            scaled = torch.cat([values, mean[:, None]], dim=1) * scale[:, None]
        positions = segment.positions.joined.to(values.dtype)
        return cls(scaled, scale, positions, modality_embedding, segment.mask, segment.positions.shape)

    def attend(self, query: AbsorbedQuery) -> PartialAttention:
        """Attention of the query to these rows, in float32 (or float64), whatever autocast asks."""
        batch, value_channels, first_axis = self.values.shape[0], self.values.shape[1] - 1, self.shape[0]
        with without_autocast(self.values.device.type):
            channels = query.query.to(self.values.dtype)
            position_channels = slice(value_channels, value_channels + self.positions.shape[1])
            tables = exact(query.query[..., position_channels]) @ self.positions.mT
            if self.modality_embedding is not None:  # the same in all rows, so the first axis may carry it
                constant = channels[..., position_channels.stop :] @ self.modality_embedding
                tables = torch.cat([tables[..., :first_axis] + constant[..., None], tables[..., first_axis:]], dim=-1)
            attended = grid_attention(
                torch.cat([channels[..., :value_channels], -channels.sum(-1, keepdim=True)], dim=-1).expand(
                    batch, -1, -1, -1
                ),
                tables.expand(batch, -1, -1, -1),
                self.values,
                self.scale,
                self.mask,
                self.shape,
            )
            sums, mean = attended.sums.split([value_channels, 1], dim=-1)
            parts = [sums, attended.marginals @ self.positions]
            if self.modality_embedding is not None:
                scale_sum = attended.marginals[..., :first_axis].sum(-1, keepdim=True)
                parts.append(scale_sum * self.modality_embedding)
            return PartialAttention(torch.cat(parts, dim=-1) - mean, attended.log_sum)


def _position_sums(tables: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Of each row's position: the sum of its channels and the sum of their squares, one number a row."""
    sums = _over_grid([table.sum(-1) for table in tables])
    squares = _over_grid([table.square().sum(-1) for table in tables])
    for first, second in combinations(range(len(tables)), 2):
        products = tables[first] @ tables[second].mT
        shape = [1] * len(tables)
        shape[first], shape[second] = products.shape
        squares = squares + 2 * products.view(shape)
    return sums.flatten(), squares.flatten()


def _over_grid(per_axis: list[Tensor]) -> Tensor:
    """The sum over the axes of one number for each entry: a tensor of the grid's shape."""
    total = per_axis[0]
    for numbers in per_axis[1:]:
        total = total[..., None] + numbers
    return total
