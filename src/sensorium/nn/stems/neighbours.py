"""A stem for points: the shape of the surface around each of them.

A point alone is a place; what it belongs to is in the places of its neighbours. For each of some points, the centres,
a layer sees where the nearest points are and takes the maximum over them (PointNet++, Qi et al. 2017, §3.2); further
levels do the same with the features of the nearest centres (EdgeConv: Wang et al. 2019, §3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...config import record
from ...errors import InputError
from ..initialisation import lecun

GEOMETRY = 10  # of a neighbour: its offset, its distance, and the offset's squares and products


@record
class NeighbourStemConfig:
    """The nearest points of some points, in one level or more.

    Attributes:
        stride: every how many points there is one that becomes a row; 1: each of them does.
        neighbours: how many nearest points a centre sees, itself among them; at further levels, how many centres.
        channels: of what each level makes of them; the last are those of a row.
    """

    kind: Literal["neighbours"] = "neighbours"
    stride: int = 4
    neighbours: tuple[int, ...] = (32, 16)
    channels: tuple[int, ...] = (64, 128)

    @property
    def row_channels(self) -> int:
        """The channels of a row, before its position."""
        return self.channels[-1]


@dataclass(frozen=True)
class Neighbours:
    """The nearest points of each centre, the nearest first.

    Attributes:
        index: batch × centres × neighbours, int64; where there are too few points, the first one again.
        geometry: batch × centres × neighbours × 10: the offset from the centre, the distance, and the squares and
            products of the offset, in units of the mean distance of the cloud's neighbours from their centres.
    """

    index: Int[Tensor, "batch centres neighbours"]
    geometry: Float[Tensor, "batch centres neighbours 10"]


class NeighbourStem(nn.Module):
    """Features of every ``stride``-th point from the points around it.

    The scale of a cloud and its place do not matter, nor does the order of the points that are no centres.

    Args:
        config: the configuration.
        features: measurements of a point beside its coordinates.

    Raises:
        InputError: no levels, or levels without neighbours or channels.

    >>> stem = NeighbourStem(NeighbourStemConfig(stride=2, neighbours=(3, 2), channels=(4, 8)), features=1)
    >>> stem(torch.rand(5, 9, 3), torch.rand(5, 9, 1)).shape
    torch.Size([5, 5, 8])
    """

    def __init__(self, config: NeighbourStemConfig, *, features: int) -> None:
        super().__init__()
        if not config.channels or len(config.neighbours) != len(config.channels):
            raise InputError("stem: give each level its neighbours and its channels: two lists of one length")
        if min(config.stride, *config.neighbours, *config.channels) < 1:
            raise InputError("stem: give a stride, neighbours and channels of 1 or more")
        self.config = config
        self.levels = nn.ModuleList(map(Level, (features, *config.channels), config.channels))

    def forward(
        self,
        points: Float[Tensor, "batch points 3"],
        features: Float[Tensor, "batch points features"],
        present: Bool[Tensor, "batch points"] | None = None,
    ) -> Float[Tensor, "batch rows channels"]:
        """The values of the rows.

        Args:
            points: batch × points × 3, float: coordinates.
            features: batch × points × features, float, normalised.
            present: batch × points, True = present; None: all are. Others are nobody's neighbours.
        """
        if present is None:
            present = torch.ones(points.shape[:2], dtype=torch.bool, device=points.device)
        values, stride = features, self.config.stride
        for level, count in zip(self.levels, self.config.neighbours, strict=True):
            around = find_neighbours(points[:, ::stride], present[:, ::stride], points, present, count)
            values = level(values[:, ::stride], values, around)
            points, present, stride = points[:, ::stride], present[:, ::stride], 1
        return values


class Level(nn.Module):
    """The maximum over neighbours of what a linear layer makes of a centre's features, a neighbour's and its geometry,
    then a layer for each centre.

    Args:
        before: channels of the features; 0: there is geometry alone.
        channels: of the result.
    """

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.geometry = lecun(nn.Linear(GEOMETRY, channels))
        self.own = lecun(nn.Linear(before, channels, bias=False)) if before else None
        self.other = lecun(nn.Linear(before, channels, bias=False)) if before else None
        self.hidden = lecun(nn.Linear(channels, channels))
        self.norm = nn.LayerNorm(channels)

    def forward(
        self,
        own: Float[Tensor, "batch centres before"],
        others: Float[Tensor, "batch points before"],
        around: Neighbours,
    ) -> Float[Tensor, "batch centres channels"]:
        """Features of the centres, from theirs and those of the points among which their neighbours are."""
        geometry, weight = around.geometry.to(own.dtype), self.geometry.weight
        projected = None if self.other is None else self.other(others)
        if torch.compiler.is_exporting():
            scores = F.linear(geometry, weight)
            result = (scores if projected is None else scores + _gathered(projected, around.index)).amax(2)
        else:
            result = _Strongest.apply(geometry, weight, projected, around.index)
        result = result + self.geometry.bias
        if self.own is not None:
            result = result + self.own(own)
        values: Tensor = self.norm(self.hidden(F.relu(result)))
        return values


class _Strongest(torch.autograd.Function):
    """The maximum over neighbours of what a linear layer makes of their geometry and of what is added to it. The
    gradient reaches the strongest neighbour alone.

    One neighbour after the other: of all at once, torch's maximum with its places and the layer's gradient take about
    twice as long on a CPU, most of it for memory (docs/decisions/0018).
    """

    @staticmethod
    def forward(context: Any, geometry: Tensor, weight: Tensor, projected: Tensor | None, index: Tensor) -> Tensor:
        """batch × centres × channels.

        Args:
            context: of the gradient.
            geometry: batch × centres × neighbours × 10; it gets no gradient.
            weight: channels × 10.
            projected: batch × points × channels, what is added; or None.
            index: batch × centres × neighbours, int64: which points are neighbours.
        """
        scores = _score(geometry, weight, projected, index, 0)
        strongest = torch.zeros_like(scores, dtype=torch.int16)
        for number in range(1, geometry.shape[2]):
            others = _score(geometry, weight, projected, index, number)
            # A product and a maximum, as to fill where a mask says so takes fifty times as long.
            strongest = torch.maximum(strongest, (others > scores).to(torch.int16) * number)
            scores = torch.maximum(scores, others)
        context.save_for_backward(geometry, weight, index, strongest)
        context.projected = None if projected is None else projected.shape
        return scores

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor | None, None]:
        (gradient,), (geometry, weight, index, strongest) = gradients, context.saved_tensors
        strongest = strongest.long()
        of_weight = [(part.gather(2, strongest) * gradient).sum((0, 1)) for part in geometry.unbind(-1)]
        of_projected = None
        if context.projected is not None:
            points = index.gather(2, strongest)
            of_projected = gradient.new_zeros(context.projected).scatter_add_(1, points, gradient)
        return None, torch.stack(of_weight, dim=-1).to(weight.dtype), of_projected, None


def _score(geometry: Tensor, weight: Tensor, projected: Tensor | None, index: Tensor, number: int) -> Tensor:
    """What :class:`_Strongest` compares, of one of the neighbours: batch × centres × channels."""
    score = F.linear(geometry[:, :, number], weight)
    return score if projected is None else score + _gathered(projected, index[:, :, number, None])[:, :, 0]


@torch.no_grad()
def find_neighbours(
    centres: Float[Tensor, "batch centres 3"],
    centre_present: Bool[Tensor, "batch centres"],
    points: Float[Tensor, "batch points 3"],
    present: Bool[Tensor, "batch points"],
    count: int,
) -> Neighbours:
    """The ``count`` nearest of the present points to each centre; without gradients.

    >>> line = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [3, 0, 0]]])
    >>> present = torch.tensor([[True, True, True]])
    >>> found = find_neighbours(line, present, line, present, 2)
    >>> found.index, found.geometry[0, :, 1, 0]
    (tensor([[[0, 1],
             [1, 0],
             [2, 1]]]), tensor([ 0.7500, -0.7500, -1.5000]))
    """
    centres, points = centres.float(), points.float()
    distances = _distances(centres, points)
    distances = distances.masked_fill(~present[:, None], torch.inf)
    found = distances.topk(min(count, points.shape[1]), dim=2, largest=False)
    far, index = found.values, found.indices
    absent = far.isinf()
    index = torch.where(absent, index[..., :1], index)
    offsets = _gathered(points, index) - centres[:, :, None]
    far = offsets.norm(dim=-1)
    counted = (~absent & centre_present[..., None]) & (far > 0)
    typical = (far * counted).sum((1, 2)) / counted.sum((1, 2)).clamp(min=1)
    scale = torch.where(typical > 0, typical, 1.0)[:, None, None, None]
    offsets, far = offsets / scale, far[..., None] / scale
    products = offsets * offsets.roll(1, -1)
    return Neighbours(index, torch.cat([offsets, far, offsets.square(), products], dim=-1))


def _distances(centres: Tensor, points: Tensor) -> Tensor:
    """batch × centres × points, from differences rather than a matrix product: that rounds otherwise in another batch,
    and neighbours change with it."""
    if torch.compiler.is_exporting():  # ONNX has no such operator
        return (centres[:, :, None] - points[:, None]).square().sum(-1).sqrt()
    return torch.cdist(centres, points, compute_mode="donot_use_mm_for_euclid_dist")


def _gathered(table: Tensor, index: Tensor) -> Tensor:
    """batch × points × channels at batch × centres × neighbours: batch × centres × neighbours × channels."""
    first = torch.arange(table.shape[0], device=table.device)[:, None, None] * table.shape[1]
    return F.embedding(index + first, table.flatten(0, 1))
