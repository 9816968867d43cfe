"""Point clouds: a row for each point, with Fourier features of its coordinates; further measurements are its values."""

from __future__ import annotations

from collections.abc import Sequence
from math import radians
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..codecs.points import decode
from ..codecs.raw import Raw
from ..config import record
from ..errors import InputError
from ..nn.byte_array import ByteArray, Segment
from ..nn.positions import fourier_channels, fourier_points
from .base import Batch, Elementwise, Sample

MOST_POINTS = 4096  # kept of a cloud; views take fewer


@record
class PointsConfig:
    """What point clouds look like to the model.

    Attributes:
        points: how many points the model sees; larger clouds are thinned.
        features: measurements of a point beyond x, y and z (intensity, velocity, colour, normals, …).
        bands: number of Fourier frequencies along each axis.
        resolution: twice the highest Fourier frequency; 2240 in the paper (10 × ImageNet's highest frequency).
        mean: of each feature, for normalisation.
        std: of each feature.
        scale: training multiplies or divides each axis of a cloud by up to this factor.
        point_scale: training multiplies each coordinate of each point by 1 ± up to this (0.01 in the paper).
        jitter: standard deviation of the noise that training adds to coordinates, which span [-1, 1].
        rotation: training turns the cloud about z by up to this many degrees to either side.
        shift: training moves the cloud by up to this much along each axis.
    """

    kind: Literal["points"] = "points"
    points: int = 1024
    features: int = 0
    bands: int = 64
    resolution: float = 2240.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scale: float = 1.0
    point_scale: float = 0.0
    jitter: float = 0.0
    rotation: float = 0.0
    shift: float = 0.0

    @property
    def num_rows(self) -> int:
        return self.points

    @property
    def elements_per_row(self) -> int:
        return 1

    @property
    def position_channels(self) -> int:
        return fourier_channels(3, self.bands)

    @property
    def value_channels(self) -> int:
        return self.features

    @property
    def row_channels(self) -> int:
        return self.value_channels + self.position_channels


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
        """``config.points`` of the points of each cloud, evenly spaced in their order."""
        cloud = batch[self.name]
        count = self._counts(batch)
        if int(count.max()) <= self.config.points:
            return dict(batch)
        order = torch.arange(self.config.points, device=cloud.device)[None]
        thinned = (order * count[:, None]).div(self.config.points, rounding_mode="floor")
        index = torch.where(count[:, None] > self.config.points, thinned, order).clamp(max=cloud.shape[1] - 1)
        return self._taken(batch, index, order < count[:, None])

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Random points of each cloud, turned, stretched, jittered and moved; then scaled into [-1, 1] again."""
        cloud = batch[self.name]
        random = torch.rand(cloud.shape[:2], generator=generator).to(cloud.device)
        present = torch.arange(cloud.shape[1], device=cloud.device) < self._counts(batch)[:, None]
        index = random.masked_fill(~present, -1).topk(min(self.config.points, cloud.shape[1]), dim=1).indices
        taken = self._taken(batch, index, present.gather(1, index))
        cloud = taken[self.name]
        varied = _normalise(self._vary(cloud[..., :3], generator), taken.get(f"{self.name}.mask"))
        taken[self.name] = torch.cat([varied, cloud[..., 3:]], dim=-1)
        return taken

    def embed(self, batch: Batch) -> ByteArray:
        cloud = batch[self.name]
        if cloud.ndim != 3 or cloud.shape[2] != 3 + self.config.features:
            raise InputError(
                f"{self.name}: expected batch × points × {3 + self.config.features}, got {tuple(cloud.shape)}"
            )
        values = (cloud[..., 3:] - self.mean) / self.std
        positions = fourier_points(cloud[..., :3], bands=self.config.bands, resolution=(self.config.resolution,) * 3)
        return ByteArray((Segment(self.name, values.float(), positions, mask=batch.get(f"{self.name}.mask")),))

    # -- predicted

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × points × (3 + features): the points of the batch with the predicted features."""
        return torch.cat([batch[self.name][..., :3], rows * self.std + self.mean], dim=-1)

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
        return taken if bool(present.all()) else {**taken, f"{self.name}.mask": present}

    def _vary(self, points: Tensor, generator: torch.Generator) -> Tensor:
        config, count = self.config, points.shape[0]
        random = torch.rand(7, count, 1, generator=generator).to(points.device) * 2 - 1
        if config.rotation:
            angle = random[0] * radians(config.rotation)
            x, y, z = points.unbind(-1)
            points = torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos(), z], dim=-1)
        if config.scale > 1:
            exponents = torch.cat([random[1], random[2], random[3]], dim=-1) * np.log(config.scale)
            points = points * torch.exp(exponents)[:, None]
        if config.point_scale:
            random_point = torch.rand(points.shape, generator=generator).to(points.device)
            points = points * (1 + config.point_scale * (2 * random_point - 1))
        if config.jitter:
            points = points + config.jitter * torch.randn(points.shape, generator=generator).to(points.device)
        return points + config.shift * torch.cat([random[4], random[5], random[6]], dim=-1)[:, None]


def _normalise(points: Tensor, mask: Tensor | None) -> Tensor:
    """Scales each cloud so that its largest coordinate is 1; a cloud that was moved stays off the centre."""
    size = points.abs() if mask is None else points.abs() * mask[..., None]
    return points / size.amax((1, 2), keepdim=True).clamp_min(1e-9)
