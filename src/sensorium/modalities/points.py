"""Point clouds: a row for each point, with Fourier features of its coordinates; further measurements are its values, or
what a stem sees around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod, radians
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..codecs.points import decode
from ..codecs.raw import Raw
from ..config import record
from ..errors import InputError
from ..nn.byte_array import ByteArray, Layout, PointPositions, Segment, random_order
from ..nn.positions import Spacing, fourier_channels, fourier_points
from ..nn.stems import NeighbourStem, NeighbourStemConfig
from .base import Batch, Sample
from .elementwise import Elementwise
from .sequences import whole_rows

MOST_POINTS = 4096  # kept of a cloud; views take fewer
CELLS = 1024  # along an axis of the grid in whose order points become rows
MORTON = CELLS**3


@record
class PointsConfig:
    """What point clouds look like to the model.

    Attributes:
        points: how many points the model sees; larger clouds are thinned.
        features: measurements of a point beyond x, y and z (intensity, velocity, colour, normals, …).
        bands: number of Fourier frequencies along each axis.
        resolution: twice the highest Fourier frequency; 2240 in the paper (10 × ImageNet's highest frequency).
        grid: rows and columns of a grid that points are put on at random, for networks that read one: the paper's
            ResNet and ViT (Perceiver §4.3). None: points lie on no grid.
        stem: what the points around a point become as its values; it may make one row of several points that are close
            to each other. None: the values are the point's features, as in the paper.
        mean: of each feature, for normalisation.
        std: of each feature.
        scale: training multiplies or divides each axis of a cloud by up to this factor.
        point_scale: training multiplies each coordinate of each point by 1 ± up to this (0.01 in the paper).
        jitter: standard deviation of the noise that training adds to coordinates, which span [-1, 1].
        rotation: training turns the cloud about z by up to this many degrees to either side.
        shift: training moves the centred cloud by up to this much along each axis.
    """

    kind: Literal["points"] = "points"
    points: int = 1024
    features: int = 0
    bands: int = 64
    resolution: float = 2240.0
    grid: tuple[int, int] | None = None
    stem: NeighbourStemConfig | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scale: float = 1.0
    point_scale: float = 0.0
    jitter: float = 0.0
    rotation: float = 0.0
    shift: float = 0.0

    @property
    def num_rows(self) -> int:
        return -(-self.points // self.elements_per_row)

    @property
    def elements_per_row(self) -> int:
        """The points of a row, which has the position of the first of them."""
        return 1 if self.stem is None else self.stem.stride

    @property
    def position_channels(self) -> int:
        return fourier_channels(3, self.bands)

    @property
    def value_channels(self) -> int:
        """The features of the points of a row, whatever a stem makes of them."""
        return self.elements_per_row * self.features

    @property
    def row_channels(self) -> int:
        return (self.features if self.stem is None else self.stem.row_channels) + self.position_channels


class Points(Elementwise[PointsConfig]):
    """Point clouds: ``points`` is batch × points × (3 + features); ``points.mask`` batch × points where they differ.

    >>> points = Points(PointsConfig(points=6, bands=2))
    >>> points.embed({"points": torch.rand(2, 6, 3)}).dense().shape
    torch.Size([2, 6, 15])
    """

    kind: ClassVar[str] = "points"
    drawn_square: ClassVar[bool] = True
    suffixes: ClassVar[tuple[str, ...]] = (
        *(".ply", ".off", ".obj", ".stl", ".xyz", ".glb"),
        *(".las", ".laz", ".pcd"),
    )
    ragged: ClassVar[bool] = True
    mean: Tensor
    std: Tensor

    def __init__(self, config: PointsConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self.register_buffer("mean", torch.tensor(config.mean), persistent=False)
        self.register_buffer("std", torch.tensor(config.std), persistent=False)
        self.stem = None if config.stem is None else NeighbourStem(config.stem, features=config.features)
        if config.grid is not None and config.num_rows > prod(config.grid):
            raise InputError(f"{self.name}: {config.num_rows:,} rows do not fit on a grid of {config.grid}")

    # -- from files

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> PointsConfig:
        """As many points as the median cloud has (at most 4,096); mean and std of the features.

        Raises:
            InputError: a cloud cannot be decoded, or clouds differ in their number of columns.
        """
        clouds = [decode(raw) for raw in raws]
        if len({cloud.shape[1] for cloud in clouds}) > 1:
            raise InputError("clouds differ in their number of columns; give every point the same measurements")
        features = np.concatenate([cloud[:, 3:] for cloud in clouds])
        return PointsConfig(
            points=max(1, min(MOST_POINTS, int(np.median([len(cloud) for cloud in clouds])))),
            features=features.shape[1],
            mean=tuple(round(float(value), 6) for value in features.mean(0)),
            std=tuple(round(max(float(value), 1e-6), 6) for value in features.std(0)),
        )

    def load(self, raw: Raw) -> Sample:
        """One cloud, centred and scaled into [-1, 1]; of larger ones 4,096 points.

        Args:
            raw: an array, points × (3 + features), or the path of a file of points or of a mesh.

        Returns:
            float32, points × (3 + features).

        Raises:
            InputError: unreadable, no points, NaN or infinite values, or another number of columns than configured.
        """
        cloud = decode(raw)
        if cloud.shape[1] != 3 + self.config.features:
            raise InputError(
                f"{cloud.shape[1]} columns, the model reads {3 + self.config.features}; give x, y, z and "
                f"{self.config.features} features"
            )
        if len(cloud) > MOST_POINTS:
            cloud = cloud[np.linspace(0, len(cloud) - 1, MOST_POINTS).astype(int)]
        cloud = cloud.astype(np.float32)
        centred = cloud[:, :3] - cloud[:, :3].mean(0)
        cloud[:, :3] = centred / max(float(np.abs(centred).max()), 1e-9)
        return {self.name: cloud}

    # -- from batches

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """``config.points`` of the points of each cloud, evenly spaced in their order; then, where several points are
        a row, in an order in which points that follow each other are close."""
        cloud = batch[self.name]
        count = self._counts(batch)
        if int(count.max()) <= self.config.points:
            return self._ordered(dict(batch))
        order = torch.arange(self.config.points, device=cloud.device)[None]
        thinned = (order * count[:, None]).div(self.config.points, rounding_mode="floor")
        index = torch.where(count[:, None] > self.config.points, thinned, order).clamp(max=cloud.shape[1] - 1)
        return self._ordered(self._taken(batch, index, order < count[:, None]))

    @property
    def view_lengths(self) -> range:
        return whole_rows(self.config.points, self.elements_per_row)

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Random points of each cloud, turned, stretched and jittered; then centred as in ``load``, moved, scaled into
        [-1, 1] again (Perceiver §4.3), and in the order of ``view``."""
        cloud = batch[self.name]
        random = torch.rand(cloud.shape[:2], generator=generator).to(cloud.device, non_blocking=True)
        present = torch.arange(cloud.shape[1], device=cloud.device) < self._counts(batch)[:, None]
        index = random.masked_fill(~present, -1).topk(min(self.config.points, cloud.shape[1]), dim=1).indices
        taken = self._taken(batch, index, present.gather(1, index))
        cloud = taken[self.name]
        draw = torch.rand(7, len(cloud), 1, generator=generator).to(cloud.device, non_blocking=True) * 2 - 1
        shift = self.config.shift * torch.cat([*draw[4:]], dim=-1)
        varied = _normalise(self._vary(cloud[..., :3], draw, generator), taken.get(f"{self.name}.mask"), shift)
        taken[self.name] = torch.cat([varied, cloud[..., 3:]], dim=-1)
        return self._ordered(taken)

    def embed(self, batch: Batch) -> ByteArray:
        cloud = batch[self.name]
        if cloud.ndim != 3 or cloud.shape[2] != 3 + self.config.features:
            raise InputError(
                f"{self.name}: expected batch × points × {3 + self.config.features}, got {tuple(cloud.shape)}"
            )
        values = ((cloud[..., 3:] - self.mean) / self.std).float()
        if self.stem is not None:
            values = self.stem(cloud[..., :3].float(), values, self._seen(batch))
        positions, mask = self._positions(batch), self._row_mask(batch)
        return ByteArray((Segment(self.name, values, positions, mask=mask, layout=self.layout()),))

    def layout(self) -> Layout | None:
        """The points that training sees are in a random order; the layout's makes that of files random, too."""
        if self.config.grid is None:
            return None
        return Layout(self.config.grid, random_order(prod(self.config.grid), 0, self.mean.device))

    def patchify(self, signal: Tensor) -> Tensor:
        """batch × points [× k] as batch × rows × (elements · k)."""
        signal = signal if signal.ndim == 3 else signal[..., None]
        elements = self.elements_per_row
        return F.pad(signal, (0, 0, 0, -signal.shape[1] % elements)).unflatten(1, (-1, elements)).flatten(2)

    def unpatchify(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × points × k."""
        return rows.unflatten(2, (self.elements_per_row, -1)).flatten(1, 2)[:, : batch[self.name].shape[1]]

    # -- predicted

    def elementwise(self) -> Points:
        return Points(replace(self.config, stem=None), name=self.name)

    def query_segment(self, batch: Batch, *, spacing: Spacing = "linspace") -> Segment:
        positions = self._positions(batch)
        no_values = positions.table.new_zeros(*positions.table.shape[:2], 0)
        return Segment(self.name, no_values, positions, mask=self._row_mask(batch))

    def targets(self, batch: Batch) -> Tensor:
        """The normalised features, whatever a stem makes of them; NaN where a row's last points are absent."""
        values = ((batch[self.name][..., 3:] - self.mean) / self.std).float()
        if self.elements_per_row > 1:
            present = torch.arange(values.shape[1], device=values.device) < self._counts(batch)[:, None]
            padding = (0, 0, 0, -values.shape[1] % self.elements_per_row)
            values = F.pad(values.masked_fill(~present[..., None], torch.nan), padding, value=torch.nan)
        return self.patchify(values)

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × points × (3 + features): the points of the batch with the predicted features."""
        features = self.unpatchify(rows, batch)
        return torch.cat([batch[self.name][..., :3], features * self.std + self.mean], dim=-1)

    # -- for people

    def draw(self, axes: Any, batch: Batch, index: int, attention: Tensor | None = None) -> None:
        """The cloud in an oblique projection, coloured by depth; with attention it is grey, and the attention red."""
        cloud = batch[self.name][index]
        mask = batch.get(f"{self.name}.mask")
        present = mask[index] if mask is not None else torch.ones(len(cloud), dtype=torch.bool)
        x, y, z = cloud[present, :3].double().unbind(-1)
        # An oblique projection from the front, right and above, so that plain 2-D axes are enough.
        across, up, depth = x * 0.87 + y * 0.5, z * 0.87 + (y * 0.87 - x * 0.5) * 0.5, y * 0.87 - x * 0.5
        size = max(1.0, min(14.0, 4000 / len(cloud)))
        if attention is None:
            order = depth.argsort(descending=True)
            axes.scatter(across[order], up[order], c=-depth[order], s=size, cmap="viridis")
        else:  # over the grey points, even where they are behind
            attended = attention.flatten()[present].float().cpu()
            axes.scatter(across, up, color="0.85", s=size)
            axes.scatter(across, up, c=attended, s=size, cmap="Reds", vmin=-0.5, vmax=1, alpha=attended)
        axes.set_aspect("equal")
        axes.set_axis_off()

    def _positions(self, batch: Batch) -> PointPositions:
        first = batch[self.name][:, :: self.elements_per_row, :3]
        return fourier_points(first, bands=self.config.bands, resolution=(self.config.resolution,) * 3)

    def _row_mask(self, batch: Batch) -> Tensor | None:
        mask = batch.get(f"{self.name}.mask")
        return None if mask is None else mask[:, :: self.elements_per_row]

    def _seen(self, batch: Batch) -> Tensor | None:
        """The points that are present and that the task does not hide."""
        mask, hidden = batch.get(f"{self.name}.mask"), batch.get(f"{self.name}.hidden")
        if hidden is None:
            return mask
        seen = ~hidden.repeat_interleave(self.elements_per_row, dim=1)[:, : batch[self.name].shape[1]]
        return seen if mask is None else seen & mask

    def _ordered(self, view: dict[str, Tensor]) -> dict[str, Tensor]:
        """The points along a curve that stays in one part of the cloud before it goes on, absent ones at the end."""
        if self.elements_per_row == 1:
            return view
        keys, mask = _morton(view[self.name][..., :3]), view.get(f"{self.name}.mask")
        order = (keys if mask is None else keys.masked_fill(~mask, MORTON)).argsort(dim=1, stable=True)
        present = torch.ones_like(order, dtype=torch.bool) if mask is None else mask.gather(1, order)
        return self._taken(view, order, present)

    def _counts(self, batch: Batch) -> Tensor:
        mask = batch.get(f"{self.name}.mask")
        cloud = batch[self.name]
        if mask is None:
            return torch.full(cloud.shape[:1], cloud.shape[1], device=cloud.device)
        return mask.sum(1)

    def _taken(self, batch: Batch, index: Tensor, present: Tensor) -> dict[str, Tensor]:
        cloud = batch[self.name]
        taken = {**batch, self.name: cloud.gather(1, index[..., None].expand(-1, -1, cloud.shape[2]))}
        taken.pop(f"{self.name}.mask", None)
        # Only a CPU says for nothing that a mask is needless; another device would have to be waited for.
        whole = present.device.type == "cpu" and bool(present.all())
        return taken if whole else {**taken, f"{self.name}.mask": present}

    def _vary(self, points: Tensor, draw: Tensor, generator: torch.Generator) -> Tensor:
        config = self.config
        if config.rotation:
            angle = draw[0] * radians(config.rotation)
            x, y, z = points.unbind(-1)
            points = torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos(), z], dim=-1)
        if config.scale > 1:
            exponents = torch.cat([*draw[1:4]], dim=-1) * np.log(config.scale)
            points = points * torch.exp(exponents)[:, None]
        if config.point_scale:
            random_point = torch.rand(points.shape, generator=generator).to(points.device, non_blocking=True)
            points = points * (1 + config.point_scale * (2 * random_point - 1))
        if config.jitter:
            points = points + config.jitter * torch.randn(points.shape, generator=generator).to(
                points.device, non_blocking=True
            )
        return points


def _normalise(points: Tensor, mask: Tensor | None, shift: Tensor) -> Tensor:
    """Each cloud with the mean of its present points at ``shift`` (batch × 3) and a largest coordinate of 1."""
    present = torch.ones_like(points[..., :1]) if mask is None else mask[..., None].to(points)
    mean = (points * present).sum(1, keepdim=True) / present.sum(1, keepdim=True).clamp_min(1)
    points = points - mean + shift[:, None]
    return points / (points.abs() * present).amax((1, 2), keepdim=True).clamp_min(1e-9)


def _morton(points: Tensor) -> Tensor:
    """The number of each point (… × 3, in [-1, 1]) along a Z-order curve (Morton 1966) through a grid of 1,024 cells an
    axis: int64, below ``MORTON``.

    >>> _morton(torch.tensor([[-1.0, -1, -1], [1, -1, -1], [1, 1, 1]])).tolist()
    [0, 153391689, 1073741823]
    """
    cells = ((points.clamp(-1, 1) + 1) * (CELLS / 2)).long().clamp(max=CELLS - 1)
    bits = torch.arange(CELLS.bit_length() - 1, device=points.device)
    apart = ((cells[..., None] >> bits & 1) << 3 * bits).sum(-1)
    return (apart << torch.arange(3, device=points.device)).sum(-1)
