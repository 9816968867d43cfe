"""Pairs of frames with known motion, made from single pictures (after AutoFlow, Sun et al. 2021).

A scene has layers: the picture in the background, and shapes in front of it that are filled with other parts of the
picture. Each layer has its own motion: a function from a point of the first frame to the same point in the second. At
x, the second frame shows the layer's texture at x, and the first frame shows its texture at motion(x). So the flow at x
is motion(x) - x, exactly, whatever the motion.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import hypot, pi
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import record

LARGEST_ZOOM = 2.0  # pictures are shown at their own size, or enlarged up to this factor
OUTLINE = {2: 0.3, 3: 0.2, 5: 0.1}  # waves in a shape's outline: how many, and their height as a share of its radius
TURN_SHARE = 0.7  # of the largest motion: how far turning and growing may move the edge of a layer
BEND_SHARE = 0.3  # of the largest motion: how far bending may move a point


@record
class WarpConfig:
    """The motion that is made up for single pictures.

    Attributes:
        motion: the largest shift in pixels, before layers turn and bend; most shifts are far smaller.
        layers: shapes in front of the picture; some of them are outside the frame.
        light: how much brightness and contrast may differ between the two frames; 0: not at all.
        noise: the largest amplitude of noise in a frame, as a share of the range of values.
    """

    motion: float = 16.0
    layers: int = 3
    light: float = 0.1
    noise: float = 0.03


@dataclass(frozen=True)
class MadePairs:
    """Pairs of frames with their motion.

    Attributes:
        frames: batch × 2 × 3 × height × width, in [0, 1].
        flow: batch × 2 × height × width: how far each pixel of the first frame moves, in pixels to the right and down.
        visible: batch × height × width, bool: whether what a pixel of the first frame shows is in the second frame too,
            neither covered nor outside.
    """

    frames: Tensor
    flow: Tensor
    visible: Tensor


def make_pairs(
    pictures: Tensor, size: tuple[int, int], config: WarpConfig, *, generator: torch.Generator | None = None
) -> MadePairs:
    """A pair of frames of each picture.

    Args:
        pictures: batch × 3 × any height × any width, in [0, 1].
        size: height and width of the frames; smaller pictures are continued by their mirror image.
        config: how much moves.
        generator: of random choices; None: the pair made from a picture depends on that picture alone.

    >>> pairs = make_pairs(torch.rand(1, 3, 40, 40), (24, 32), WarpConfig())
    >>> pairs.frames.shape, pairs.flow.shape, pairs.visible.shape
    (torch.Size([1, 2, 3, 24, 32]), torch.Size([1, 2, 24, 32]), torch.Size([1, 24, 32]))
    """
    random = _Random(pictures, generator)
    height, width = size
    y = torch.arange(height, device=pictures.device) - (height - 1) / 2
    x = torch.arange(width, device=pictures.device) - (width - 1) / 2
    points = torch.stack([x.expand(size), y[:, None].expand(size)]).expand(len(pictures), -1, -1, -1)

    fastest = config.motion / 2 * random.uniform(0, 1)
    drift = random.direction(fastest)
    motion = _motion(random, fastest, torch.zeros_like(drift), drift, hypot(*size) / 2)
    texture = _texture(random, pictures, size)
    moved = motion(points)  # the points of the first frame, in the second one
    first, second = texture(moved), texture(points)
    top_layer, covers = torch.zeros_like(points[:, :1]), []
    for layer in range(1, config.layers + 1):
        centre = random.uniform(-0.6, 0.6, 2, 1, 1) * points.new_tensor([width, height])[:, None, None]
        radius = random.uniform(0.08, 0.35) * min(size)
        motion = _motion(random, fastest, centre, drift + random.direction(fastest), radius)
        texture, cover = _texture(random, pictures, size), _outline(random, centre, radius)
        layer_moved = motion(points)
        first = first.lerp(texture(layer_moved), cover(layer_moved))
        second = second.lerp(texture(points), cover(points))
        in_front = cover(layer_moved) > 0.5
        moved, top_layer = torch.where(in_front, layer_moved, moved), top_layer.masked_fill(in_front, layer)
        covers.append(cover)
    visible = (moved.abs() <= points.amax((2, 3), keepdim=True) + 1e-4).all(1, keepdim=True)
    for layer, cover in enumerate(covers, 1):
        visible &= (top_layer >= layer) | (cover(moved) <= 0.5)
    frames = _with_light_and_noise(torch.stack([first, second], 1), random, config)
    return MadePairs(frames, moved - points, visible[:, 0])


class _Random:
    """Random numbers for each example: all from one generator, or each example's from its own picture."""

    def __init__(self, pictures: Tensor, generator: torch.Generator | None) -> None:
        self.batch, self.device = len(pictures), pictures.device
        self.generators = [_content_generator(picture) for picture in pictures] if generator is None else [generator]

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """batch × shape, by default batch × 1 × 1 × 1, between ``low`` and ``high``."""
        shape, count = shape or (1, 1, 1), self.batch // len(self.generators)
        drawn = [torch.rand(count, *shape, generator=own, device=own.device) for own in self.generators]
        return torch.cat(drawn).to(self.device, non_blocking=True) * (high - low) + low

    def direction(self, longest: Tensor) -> Tensor:
        """A vector to the right and down, of any direction and a length up to ``longest``: batch × 2 × 1 × 1."""
        return longest * self.uniform(0, 1) * _circle(self.uniform(0, 2 * pi))


# From points, batch × 2 × height × width, in pixels from the frame's centre: to the right and down.
PointFunction: TypeAlias = Callable[[Tensor], Tensor]


def _motion(random: _Random, fastest: Tensor, centre: Tensor, shift: Tensor, radius: Tensor | float) -> PointFunction:
    """From points of the first frame to the same points in the second: bent, turned and grown about a centre, shifted.

    Args:
        fastest: pixels; turning, growing and bending move a point ``radius`` pixels from the centre by a share of it.
    """
    amplitude = BEND_SHARE * fastest * random.uniform(-1, 1, 2, 1, 1)
    wave, phase = 2 * pi * random.uniform(0.2, 1, 2, 1, 1) / (2 * radius), random.uniform(0, 2 * pi, 2, 1, 1)
    turn, growth = ((TURN_SHARE * fastest * random.uniform(-1, 1) / radius).clamp(-0.5, 0.5) for _ in range(2))
    cos, sin = (growth.exp() * _circle(turn)).split(1, 1)

    def moved(points: Tensor) -> Tensor:
        x, y = (points - centre).split(1, 1)
        x = x + amplitude[:, :1] * torch.sin(wave[:, :1] * y + phase[:, :1])
        y = y + amplitude[:, 1:] * torch.sin(wave[:, 1:] * x + phase[:, 1:])
        return torch.cat([cos * x - sin * y, sin * x + cos * y], 1) + centre + shift

    return moved


def _outline(random: _Random, centre: Tensor, radius: Tensor) -> PointFunction:
    """How much of the pixel at a point a shape covers: batch × 1 × height × width, from 0 to 1."""
    waves = [(count, share * random.uniform(-1, 1), random.uniform(0, 2 * pi)) for count, share in OUTLINE.items()]
    stretch = random.uniform(-0.5, 0.5).exp()
    stretches = torch.cat([stretch, 1 / stretch], 1)

    def cover(points: Tensor) -> Tensor:
        x, y = ((points - centre) * stretches).split(1, 1)
        angle = torch.atan2(y, x)
        edge = sum((share * torch.cos(count * angle + phase) for count, share, phase in waves), torch.ones_like(x))
        return (radius * edge - torch.hypot(x, y) + 0.5).clamp(0, 1)

    return cover


def _texture(random: _Random, pictures: Tensor, size: tuple[int, int]) -> PointFunction:
    """The colours at points, from some part of a picture, turned, enlarged and tinted: batch × 3 × height × width."""
    half_frame, half_picture = (pictures.new_tensor(list(reversed(sides))) / 2 for sides in (size, pictures.shape[-2:]))
    scale = 1 / random.uniform(1, LARGEST_ZOOM)  # pixels of the picture in one of the frame
    room = (half_picture[:, None, None] - scale * half_frame[:, None, None]).clamp(min=0)
    offset = room * random.uniform(-1, 1, 2, 1, 1)
    cos, sin = (scale * _circle(random.uniform(0, 2 * pi))).split(1, 1)
    mirror = random.uniform(-1, 1).sign()
    contrast, shift = random.uniform(0.7, 1.1), random.uniform(-0.1, 0.1, 3, 1, 1)

    def colours(points: Tensor) -> Tensor:
        x, y = points.split(1, 1)
        in_picture = torch.cat([mirror * (cos * x - sin * y), sin * x + cos * y], 1) + offset
        grid = in_picture.movedim(1, -1) / half_picture
        sampled = F.grid_sample(pictures, grid, align_corners=False, padding_mode="reflection")
        return (sampled - 0.5) * contrast + 0.5 + shift

    return colours


def _with_light_and_noise(frames: Tensor, random: _Random, config: WarpConfig) -> Tensor:
    """Frames with slightly different contrast and brightness, and with noise; in [0, 1]."""
    contrast = 1 + config.light * random.uniform(-1, 1, 2, 1, 1, 1)
    brightness = config.light * random.uniform(-0.5, 0.5, 2, 1, 1, 1)
    noise = config.noise * random.uniform(0, 1, 1, 1, 1, 1) * random.uniform(-1, 1, *frames.shape[1:])
    return ((frames - 0.5) * contrast + 0.5 + brightness + noise).clamp(0, 1)


def _circle(angle: Tensor) -> Tensor:
    """Cosine and sine of angles: batch × 1 × … to batch × 2 × …"""
    return torch.cat([angle.cos(), angle.sin()], 1)


def _content_generator(picture: Tensor) -> torch.Generator:
    """A generator seeded by the picture: the same one for the same picture."""
    return torch.Generator().manual_seed(zlib.crc32(picture.cpu().numpy().tobytes()))
