"""Point clouds: a row per point, Fourier features of its coordinates, further measurements of it as values."""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import radians
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..codecs.raw import Raw
from ..config import record
from ..errors import InputError
from ..nn.byte_array import ByteArray, Segment
from ..nn.positions import fourier_channels, fourier_points
from .base import Batch, Elementwise, Sample

MOST_POINTS = 4096  # kept of a file; views take fewer


@record
class PointsConfig:
    """What point clouds look like to the model.

    Attributes:
        points: how many points the model reads; larger clouds are thinned.
        features: measurements per point beyond x, y, z (intensity, velocity, colour, normals, …).
        bands: Fourier bands per axis.
        resolution: twice the highest Fourier frequency; 2240 in the paper (10 × ImageNet's highest frequency).
        mean, std: per feature.
        scale: training multiplies each axis of a cloud by up to this factor, or divides by it.
        point_scale: training multiplies each coordinate of each point by 1 ± this (0.01 in the paper).
        jitter: standard deviation of noise on training coordinates, where the cloud spans [-1, 1].
        rotation: training turns the cloud about z by up to this many degrees either way.
        shift: training moves the cloud by up to this along each axis.
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


class Points(Elementwise):
    """Point clouds: ``points`` is batch × points × (3 + features); ``points.mask`` batch × points where they differ.

    >>> points = Points(PointsConfig(points=6, bands=2))
    >>> points.embed({"points": torch.rand(2, 6, 3)}).dense().shape
    torch.Size([2, 6, 15])
    """

    kind: ClassVar[str] = "points"
    drawn_square: ClassVar[bool] = True
    suffixes: ClassVar[tuple[str, ...]] = (".ply", ".off", ".obj", ".stl", ".xyz", ".glb")
    ragged: ClassVar[bool] = True
    config: PointsConfig
    mean: Tensor
    std: Tensor

    def __init__(self, config: PointsConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self.register_buffer("mean", torch.tensor(config.mean), persistent=False)
        self.register_buffer("std", torch.tensor(config.std), persistent=False)

    # -- from files

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> PointsConfig:
        """As many points as the median cloud has (at most 4,096); mean and std of the features."""
        clouds = [_cloud(raw) for raw in raws]
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
        """float32, points × (3 + features), centred and scaled into [-1, 1]; at most 4,096 points of a cloud."""
        cloud = _cloud(raw)
        if cloud.shape[1] != 3 + self.config.features:
            raise InputError(f"{cloud.shape[1]} columns a point, expected {3 + self.config.features} (x, y, z, …)")
        if len(cloud) > MOST_POINTS:
            cloud = cloud[np.linspace(0, len(cloud) - 1, MOST_POINTS).astype(int)]
        cloud = cloud.astype(np.float32)
        place = cloud[:, :3] - cloud[:, :3].mean(0)
        cloud[:, :3] = place / max(float(np.abs(place).max()), 1e-9)
        return {self.name: cloud}

    # -- from batches

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """``config.points`` of each cloud's points, evenly spaced in their order."""
        cloud = batch[self.name]
        count = self._counts(batch)
        if int(count.max()) <= self.config.points:
            return dict(batch)
        place = torch.arange(self.config.points, device=cloud.device)[None]
        thinned = (place * count[:, None]).div(self.config.points, rounding_mode="floor")
        index = torch.where(count[:, None] > self.config.points, thinned, place).clamp(max=cloud.shape[1] - 1)
        return self._taken(batch, index, place < count[:, None])

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Random points of each cloud; turned, stretched, moved and jittered; centred and scaled again."""
        cloud = batch[self.name]
        lot = torch.rand(cloud.shape[:2], generator=generator).to(cloud.device)
        present = torch.arange(cloud.shape[1], device=cloud.device) < self._counts(batch)[:, None]
        index = lot.masked_fill(~present, -1).topk(min(self.config.points, cloud.shape[1]), dim=1).indices
        taken = self._taken(batch, index, present.gather(1, index))
        cloud = taken[self.name]
        place = self._vary(cloud[..., :3], generator)
        taken[self.name] = torch.cat([_normalise(place, taken.get(f"{self.name}.mask")), cloud[..., 3:]], dim=-1)
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

    # -- rows and signal

    @property
    def channels(self) -> int:
        return self.config.features + fourier_channels(3, self.config.bands)

    @property
    def num_rows(self) -> int:
        return self.config.points

    # -- as an answer

    @property
    def position_channels(self) -> int:
        return fourier_channels(3, self.config.bands)

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × points × (3 + features): the points that were asked about, with the features answered."""
        return torch.cat([batch[self.name][..., :3], rows * self.std + self.mean], dim=-1)

    # -- for people

    def draw(self, axes: Any, batch: Batch, index: int, heat: Tensor | None = None) -> None:
        cloud = batch[self.name][index]
        mask = batch.get(f"{self.name}.mask")
        present = mask[index] if mask is not None else torch.ones(len(cloud), dtype=torch.bool)
        x, y, z = cloud[present, :3].double().unbind(-1)
        # An oblique look from the front, right and above, so that a plain 2-D axes will do.
        across, up, depth = x * 0.87 + y * 0.5, z * 0.87 + (y * 0.87 - x * 0.5) * 0.5, y * 0.87 - x * 0.5
        size = max(1.0, min(14.0, 4000 / len(cloud)))
        if heat is None:
            order = depth.argsort(descending=True)
            axes.scatter(across[order], up[order], c=-depth[order], s=size, cmap="viridis")
        else:  # the cloud in grey, and what was read over it, even where it is behind
            warm = heat.flatten()[present].float().cpu()
            axes.scatter(across, up, color="0.85", s=size)
            axes.scatter(across, up, c=warm, s=size, cmap="Reds", vmin=-0.5, vmax=1, alpha=warm)
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

    def _vary(self, place: Tensor, generator: torch.Generator) -> Tensor:
        config, count = self.config, place.shape[0]
        draw = torch.rand(7, count, 1, generator=generator).to(place.device) * 2 - 1
        if config.rotation:
            angle = draw[0] * radians(config.rotation)
            x, y, z = place.unbind(-1)
            place = torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos(), z], dim=-1)
        if config.scale > 1:
            place = place * torch.exp(torch.cat([draw[1], draw[2], draw[3]], dim=-1) * np.log(config.scale))[:, None]
        if config.point_scale:
            lot = torch.rand(place.shape, generator=generator).to(place.device)
            place = place * (1 + config.point_scale * (2 * lot - 1))
        if config.jitter:
            place = place + config.jitter * torch.randn(place.shape, generator=generator).to(place.device)
        return place + config.shift * torch.cat([draw[4], draw[5], draw[6]], dim=-1)[:, None]


def _normalise(place: Tensor, mask: Tensor | None) -> Tensor:
    """Each cloud's largest coordinate back at 1; a moved cloud stays where it was moved to."""
    size = place.abs() if mask is None else place.abs() * mask[..., None]
    return place / size.amax((1, 2), keepdim=True).clamp_min(1e-9)


def _cloud(raw: Raw) -> np.ndarray:
    """points × columns, float64, checked."""
    cloud = np.asarray(raw, np.float64) if isinstance(raw, np.ndarray) else _load(raw)
    if cloud.ndim != 2 or cloud.shape[1] < 3:
        raise InputError(f"an array of shape {cloud.shape} is not points × (x, y, z, …)")
    if len(cloud) == 0:
        raise InputError("there are no points; remove it")
    if not np.isfinite(cloud).all():
        row = int(np.flatnonzero(~np.isfinite(cloud).all(1))[0])
        raise InputError(f"NaN or infinite coordinates at point {row}; remove such points")
    return cloud


def _load(raw: Raw) -> np.ndarray:
    import trimesh

    if not isinstance(raw, str | Path):
        raise InputError("points come as an array of points × (x, y, z, …) or as a path")
    path = Path(raw)
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False), np.float64)
        if path.suffix in (".xyz", ".txt", ".csv"):
            text = path.read_text().replace(",", " ")
            return np.loadtxt(io.StringIO(text), ndmin=2)
        loaded: Any = trimesh.load(path)
        if hasattr(loaded, "to_geometry"):
            loaded = loaded.to_geometry()
        if len(getattr(loaded, "faces", ())):
            return np.asarray(trimesh.sample.sample_surface(loaded, MOST_POINTS // 2, seed=0)[0])
        return np.asarray(loaded.vertices, np.float64)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"the points cannot be read ({error}); replace or remove the file") from None
