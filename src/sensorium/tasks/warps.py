"""Two frames whose motion is known, made of one picture: parts of it move over it (after AutoFlow, Sun et al. 2021).

A scene is layers: the picture, and shapes filled with other parts of it. Each layer has a motion of its own: a function
that tells where a point of the first frame is in the second. The second frame shows a layer's texture at x, the first
one the texture at motion(x); so the flow at x is motion(x) - x, exactly, whatever the motion.
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

ENLARGED = 2.0  # pictures are shown at their own size, or larger by up to so much
OUTLINE = {2: 0.3, 3: 0.2, 5: 0.1}  # how much of a shape's radius comes and goes, so many times around it
TURNED = 0.7  # of the largest motion: how far turning and growing move a layer's edge, and bending its waves
BENT = 0.3


@record
class WarpConfig:
    """The motion that pictures are given.

    Attributes:
        motion: pixels by which things move at most, before they turn and bend; most move far less.
        layers: shapes that move over a picture; some of them are outside.
        light: how much brightness and contrast may differ between two frames; 0: not at all.
        noise: the largest share of noise in a frame.
    """

    motion: float = 16.0
    layers: int = 3
    light: float = 0.1
    noise: float = 0.03


@dataclass(frozen=True)
class Made:
    """Pairs of frames with their motion.

    Attributes:
        frames: batch × 2 × 3 × height × width, in [0, 1].
        flow: batch × 2 × height × width: how far each pixel of the first frame goes, in pixels to the right and down.
        visible: batch × height × width, False where what was there is covered or outside in the second frame.
    """

    frames: Tensor
    flow: Tensor
    visible: Tensor


def make(
    pictures: Tensor, size: tuple[int, int], config: WarpConfig, *, generator: torch.Generator | None = None
) -> Made:
    """A pair of frames of each picture.

    Args:
        pictures: batch × 3 × any height × any width, in [0, 1].
        size: height and width of the frames; smaller pictures go on mirrored.
        config: how much moves.
        generator: of what is random; None: what becomes of a picture depends on that picture alone.

    >>> made = make(torch.rand(1, 3, 40, 40), (24, 32), WarpConfig())
    >>> made.frames.shape, made.flow.shape, made.visible.shape
    (torch.Size([1, 2, 3, 24, 32]), torch.Size([1, 2, 24, 32]), torch.Size([1, 24, 32]))
    """
    dice = _Dice(pictures, generator)
    height, width = size
    y = torch.arange(height, device=pictures.device) - (height - 1) / 2
    x = torch.arange(width, device=pictures.device) - (width - 1) / 2
    here = torch.stack([x.expand(size), y[:, None].expand(size)]).expand(len(pictures), -1, -1, -1)

    fastest = config.motion / 2 * dice.uniform(0, 1)
    drift = dice.direction(fastest)
    motion = _motion(dice, fastest, torch.zeros_like(drift), drift, hypot(*size) / 2)
    texture = _texture(dice, pictures, size)
    there = motion(here)
    first, second = texture(there), texture(here)
    top, covers = torch.zeros_like(here[:, :1]), []
    for place in range(1, config.layers + 1):
        centre = dice.uniform(-0.6, 0.6, 2, 1, 1) * here.new_tensor([width, height])[:, None, None]
        radius = dice.uniform(0.08, 0.35) * min(size)
        motion = _motion(dice, fastest, centre, drift + dice.direction(fastest), radius)
        texture, cover = _texture(dice, pictures, size), _outline(dice, centre, radius)
        moved = motion(here)
        first, second = first.lerp(texture(moved), cover(moved)), second.lerp(texture(here), cover(here))
        seen = cover(moved) > 0.5
        there, top = torch.where(seen, moved, there), top.masked_fill(seen, place)
        covers.append(cover)
    visible = (there.abs() <= here.amax((2, 3), keepdim=True) + 1e-4).all(1, keepdim=True)
    for place, cover in enumerate(covers, 1):
        visible &= (top >= place) | (cover(there) <= 0.5)
    return Made(_filmed(torch.stack([first, second], 1), dice, config), there - here, visible[:, 0])


class _Dice:
    """Random numbers for each example: from one generator, or for each example from its own content."""

    def __init__(self, pictures: Tensor, generator: torch.Generator | None) -> None:
        self.like = pictures
        self.generators = [generator] if generator is not None else [_content(picture) for picture in pictures]

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """batch × shape, by default batch × 1 × 1 × 1, between ``low`` and ``high``."""
        shape, each = shape or (1, 1, 1), len(self.like) // len(self.generators)
        drawn = [torch.rand(each, *shape, generator=own, device=own.device) for own in self.generators]
        return torch.cat(drawn).to(self.like.device) * (high - low) + low

    def direction(self, longest: Tensor) -> Tensor:
        """batch × 2 × 1 × 1: right and down, any way, mostly less far than ``longest``."""
        return longest * self.uniform(0, 1) * _circle(self.uniform(0, 2 * pi))


Field: TypeAlias = Callable[[Tensor], Tensor]  # of points: batch × 2 × height × width, pixels from the frame's centre


def _motion(dice: _Dice, fastest: Tensor, centre: Tensor, step: Tensor, radius: Tensor | float) -> Field:
    """Where points of the first frame are in the second: bent, turned and grown about a centre, and shifted.

    Args:
        fastest: pixels, how far turning, growing and bending may move what is ``radius`` pixels from the centre.
    """
    amplitude = BENT * fastest * dice.uniform(-1, 1, 2, 1, 1)
    wave, phase = 2 * pi * dice.uniform(0.2, 1, 2, 1, 1) / (2 * radius), dice.uniform(0, 2 * pi, 2, 1, 1)
    turn, growth = ((TURNED * fastest * dice.uniform(-1, 1) / radius).clamp(-0.5, 0.5) for _ in range(2))
    scaled = growth.exp() * _circle(turn)
    cos, sin = scaled[:, :1], scaled[:, 1:]

    def moved(points: Tensor) -> Tensor:
        x, y = (points - centre).split(1, 1)
        x = x + amplitude[:, :1] * torch.sin(wave[:, :1] * y + phase[:, :1])
        y = y + amplitude[:, 1:] * torch.sin(wave[:, 1:] * x + phase[:, 1:])
        return torch.cat([cos * x - sin * y, sin * x + cos * y], 1) + centre + step

    return moved


def _outline(dice: _Dice, centre: Tensor, radius: Tensor) -> Field:
    """How much of a pixel a shape covers: batch × 1 × height × width, 0 to 1."""
    waves = [(times, share * dice.uniform(-1, 1), dice.uniform(0, 2 * pi)) for times, share in OUTLINE.items()]
    stretch = dice.uniform(-0.5, 0.5).exp()
    stretches = torch.cat([stretch, 1 / stretch], 1)

    def cover(points: Tensor) -> Tensor:
        x, y = ((points - centre) * stretches).split(1, 1)
        angle = torch.atan2(y, x)
        edge = sum((share * torch.cos(times * angle + phase) for times, share, phase in waves), torch.ones_like(x))
        return (radius * edge - torch.hypot(x, y) + 0.5).clamp(0, 1)

    return cover


def _texture(dice: _Dice, pictures: Tensor, size: tuple[int, int]) -> Field:
    """The colours of some part of a picture, turned, enlarged and tinted: batch × 3 × height × width."""
    frame, picture = (pictures.new_tensor(list(reversed(sides))) / 2 for sides in (size, pictures.shape[-2:]))
    shown = 1 / dice.uniform(1, ENLARGED)  # picture's pixels in one of the frame's
    room = (picture[:, None, None] - shown * frame[:, None, None]).clamp(min=0)
    offset = room * dice.uniform(-1, 1, 2, 1, 1)
    scaled = shown * _circle(dice.uniform(0, 2 * pi))
    cos, sin = scaled[:, :1], scaled[:, 1:]
    mirror = dice.uniform(-1, 1).sign()
    contrast, shift = dice.uniform(0.7, 1.1), dice.uniform(-0.1, 0.1, 3, 1, 1)

    def colours(points: Tensor) -> Tensor:
        x, y = points.split(1, 1)
        places = torch.cat([mirror * (cos * x - sin * y), sin * x + cos * y], 1) + offset
        grid = places.movedim(1, -1) / picture
        found = F.grid_sample(pictures, grid, align_corners=False, padding_mode="reflection")
        return (found - 0.5) * contrast + 0.5 + shift

    return colours


def _filmed(frames: Tensor, dice: _Dice, config: WarpConfig) -> Tensor:
    """Frames in slightly different light, with noise; within [0, 1]."""
    contrast = 1 + config.light * dice.uniform(-1, 1, 2, 1, 1, 1)
    brightness = config.light * dice.uniform(-0.5, 0.5, 2, 1, 1, 1)
    noise = config.noise * dice.uniform(0, 1, 1, 1, 1, 1) * dice.uniform(-1, 1, *frames.shape[1:])
    return ((frames - 0.5) * contrast + 0.5 + brightness + noise).clamp(0, 1)


def _circle(angle: Tensor) -> Tensor:
    """batch × 1 × … angles to batch × 2 × …: cosine, sine."""
    return torch.cat([angle.cos(), angle.sin()], 1)


def _content(picture: Tensor) -> torch.Generator:
    """The same one for the same picture."""
    return torch.Generator().manual_seed(zlib.crc32(picture.cpu().numpy().tobytes()))
