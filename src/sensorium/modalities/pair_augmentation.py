"""Pairs of frames that are turned, enlarged, stretched and moved in training, and their flow with them."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import record
from .sequences import uniform

KNOWN = 0.999  # of the pixels that a flow is interpolated between, by weight: a rounding below all of them


@record
class PairAugmentationConfig:
    """How training changes pairs of frames. Defaults are those that AutoFlow's authors published, who took them from
    FlowNet (github.com/google-research/opticalflow-autoflow, ``pwc`` in ``augmentations``).

    Attributes:
        rotation: the largest angle by which both frames are turned, in radians.
        zoom: logarithms of the least and the largest factor by which both frames are enlarged.
        stretch: logarithm of the largest factor by which both frames become wider and lower, or narrower and higher.
        flips: probabilities that both frames are mirrored up and down, and left and right.
        difference: the most by which the second frame's angle (in radians), the logarithm of its zoom, and its place (a
            share of its sides) differ from those of the first one.
        light: standard deviation by which the second frame's brightness, and the logarithms of its contrast and gamma,
            differ from those of the first one.
        noise: the largest standard deviation of noise in both frames, whose values are from 0 to 1.
    """

    rotation: float = 0.4
    zoom: tuple[float, float] = (-0.2, 0.4)
    stretch: float = 0.3
    flips: tuple[float, float] = (0.0, 0.5)
    difference: float = 0.03
    light: float = 0.02
    noise: float = 0.06


class Affine(NamedTuple):
    """Where the pixels of a view lie in a stored frame: a pixel at p from the middle of the view lies at
    ``matrix @ p + middle``. All in pixels, to the right and downwards.

    Attributes:
        matrix: batch × 2 × 2.
        middle: batch × 2.
    """

    matrix: Tensor
    middle: Tensor

    def of(self, points: Tensor) -> Tensor:
        """Points of the view (2 × height × width, from its middle) in the stored frame: batch × 2 × height × width."""
        return torch.einsum("bij,jhw->bihw", self.matrix, points) + self.middle[..., None, None]

    def back(self, points: Tensor) -> Tensor:
        """Points of the stored frame (batch × 2 × height × width) in the view, from its middle."""
        return torch.einsum("bij,bjhw->bihw", self.matrix.inverse(), points - self.middle[..., None, None])


def draw_affines(
    room: Tensor,
    full: tuple[int, int],
    size: tuple[int, int],
    config: PairAugmentationConfig,
    *,
    strength: float,
    generator: torch.Generator,
) -> tuple[Affine, Affine]:
    """Where to take the views of the first and of the second frames. Where they would be larger than the frame, both
    are enlarged until they fit; nothing outside of the frame is seen.

    Args:
        room: batch × 2, height and width of what there is in the middle of each stored frame; at least ``size``.
        full: height and width of the stored frames.
        size: of the views.
        config: how much they vary.
        strength: from 0 to 1, factor of all variation but of flips and crops.
        generator: of all that is random.
    """
    count = len(room)
    draw = uniform(room, (10, count), -1, 1, generator)
    angle = strength * config.rotation * draw[0]
    zoom = strength * (sum(config.zoom) + (config.zoom[1] - config.zoom[0]) * draw[1]) / 2
    stretch = strength * config.stretch * draw[2]
    apart = strength * config.difference * draw[3:7]  # angle, zoom, and the shift to the right and downwards
    flips = torch.where(draw[8:10] + 1 < 2 * room.new_tensor(config.flips)[:, None], -1.0, 1.0)
    first, second = (
        _matrix(angle + turned, zoom + nearer, stretch, flips)
        for turned, nearer in ((torch.zeros_like(angle), torch.zeros_like(zoom)), (apart[0], apart[1]))
    )
    half = (torch.tensor(size[::-1]).to(first) - 1) / 2
    shift = 2 * half * apart[2:].T
    reach = torch.maximum(first.abs() @ half, second.abs() @ half + shift.abs())
    spare = (room.flip(1) - 1) / 2
    larger = (reach / spare.clamp(min=0.5)).amax(1).clamp(min=1)
    start = (torch.tensor(full).to(room) - room).div(2, rounding_mode="floor").flip(1)
    free = (spare - reach / larger[:, None]).clamp(min=0)
    middle = start + spare + free * uniform(room, (2, count), -1, 1, generator).T
    matrices = (matrix / larger[:, None, None] for matrix in (first, second))
    return Affine(next(matrices), middle), Affine(next(matrices), middle + shift / larger[:, None])


def _matrix(angle: Tensor, zoom: Tensor, stretch: Tensor, flips: Tensor) -> Tensor:
    """batch × 2 × 2: flips (2 × batch: up and down, left and right), then zoom and stretch, then rotation."""
    cos, sin = angle.cos(), angle.sin()
    across, down = flips[1] * (-zoom - stretch).exp(), flips[0] * (-zoom + stretch).exp()
    return torch.stack([cos * across, -sin * down, sin * across, cos * down], dim=1).unflatten(1, (2, 2))


def moved(
    frames: Tensor, flow: Tensor | None, affines: tuple[Affine, Affine], size: tuple[int, int]
) -> tuple[Tensor, Tensor | None]:
    """Views of both frames, batch × 2 × 3 × ``size``, and the flow between them where there is one.

    Args:
        frames: batch × 2 × 3 × height × width, floats.
        flow: batch × 2 × height × width, in pixels, NaN where it is unknown; the view's is unknown wherever one of the
            pixels is that it is interpolated between.
        affines: from :func:`draw_affines`.
        size: height and width of the views.
    """
    x, y = (torch.arange(side, device=frames.device) - (side - 1) / 2 for side in size[::-1])
    points = torch.stack([x.expand(size), y[:, None].expand(size)])
    first, second = (affine.of(points) for affine in affines)
    views = torch.stack([_sampled(frames[:, 0], first), _sampled(frames[:, 1], second)], dim=1)
    if flow is None:
        return views, None
    known = ~flow.isnan().any(1, keepdim=True)
    seen = _sampled(torch.cat([flow.masked_fill(~known, 0), known.to(flow)], dim=1), first)
    motion = affines[1].back(first + seen[:, :2]) - points
    return views, motion.masked_fill(seen[:, 2:] < KNOWN, torch.nan)


def _sampled(signal: Tensor, points: Tensor) -> Tensor:
    """A signal (batch × k × height × width) at points (batch × 2 × …, in pixels): linear between its pixels, and its
    outermost ones beyond them."""
    sides = points.new_tensor(signal.shape[:1:-1]).clamp(min=2)
    grid = 2 * points.movedim(1, -1) / (sides - 1) - 1
    return F.grid_sample(signal, grid.to(signal.dtype), padding_mode="border", align_corners=True)


def relight(frames: Tensor, config: PairAugmentationConfig, *, strength: float, generator: torch.Generator) -> Tensor:
    """Frames (batch × 2 × 3 × height × width, in [0, 1]) whose second ones have slightly other light, with noise."""
    count = len(frames)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=generator.device).to(frames.device, non_blocking=True)

    brightness, contrast, gamma = strength * config.light * normal(3, count, 1, 1, 1)
    second = frames[:, 1].clamp(0, 1) ** gamma.exp()
    second = (second + brightness - 0.5) * contrast.exp() + 0.5
    deviation = strength * config.noise * uniform(frames, (count, 1, 1, 1, 1), 0, 1, generator)
    return (torch.stack([frames[:, 0], second], dim=1) + deviation * normal(*frames.shape)).clamp(0, 1)
