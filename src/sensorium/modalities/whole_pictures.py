"""Views that are cut from whole pictures one by one, as Perceiver IO's authors do for ImageNet: crop, mirror,
RandAugment, and bicubic resizing last."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import sqrt
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from .base import Batch

View: TypeAlias = Callable[[np.ndarray, np.random.Generator], np.ndarray]

ASPECTS = (3 / 4, 4 / 3)
ATTEMPTS = 10  # to find a crop
COVERED = 0.1  # of the picture, at least


class Box(NamedTuple):
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """This part of channels × height × width."""
        return pixels[:, self.top : self.top + self.height, self.left : self.left + self.width]


def on_canvas(pixels: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture in the corner of a square, so that pictures of all sizes make a batch, and its height and width.

    Args:
        pixels: uint8, channels × height × width, neither more than ``side``.
        side: of the square.
    """
    canvas = np.zeros((len(pixels), side, side), pixels.dtype)
    canvas[:, : pixels.shape[1], : pixels.shape[2]] = pixels
    return canvas, np.array(pixels.shape[1:], np.int32)


def cut_views(batch: Batch, name: str, view: View, generator: torch.Generator | None = None) -> dict[str, Tensor]:
    """The batch with a view of each whole picture, as :func:`views_of`; their extents are then gone."""
    rest = dict(batch)
    extents = rest.pop(f"{name}.extent")
    return {**rest, name: views_of(batch[name], extents, view, generator)}


def views_of(pictures: Tensor, extents: Tensor | None, view: View, generator: torch.Generator | None = None) -> Tensor:
    """A view of each picture, computed by as many threads as there are processors.

    Args:
        pictures: uint8, batch × channels × height × width, as :func:`on_canvas` makes them.
        extents: height and width of each, batch × 2; None: they fill the array.
        view: of channels × height × width, with random numbers of the picture's own.
        generator: of their seeds; None: views are not random.

    Returns:
        batch × channels × height × width of the views, where the pictures are.
    """
    arrays = pictures.cpu().numpy()
    sizes = [arrays.shape[2:]] * len(arrays) if extents is None else extents.tolist()
    seeds = [0] * len(arrays)
    if generator is not None:
        seeds = torch.randint(2**62, (len(arrays),), generator=generator).tolist()

    def of_one(pixels: np.ndarray, size: Sequence[int], seed: int) -> np.ndarray:
        shown = pixels[:, : size[0], : size[1]] if all(size) else pixels  # an example without its picture has zeros
        return view(shown, np.random.default_rng(seed))

    with ThreadPoolExecutor(min(len(arrays), os.cpu_count() or 1)) as pool:
        views = list(pool.map(of_one, arrays, sizes, seeds))
    return torch.from_numpy(np.stack(views)).to(pictures.device, non_blocking=True)


def middle_view(pixels: np.ndarray, random: np.random.Generator, *, size: tuple[int, int], share: float) -> np.ndarray:
    """What evaluation sees of a picture: the square in the middle whose side is a share of the shorter side.

    Args:
        pixels: uint8, channels × height × width.
        random: not used.
        size: height and width of the view.
        share: of the shorter side.

    Returns:
        float32, channels × size, in [0, 1] or a little outside of it.
    """
    _, height, width = pixels.shape
    return bicubic(middle(height, width, share).of(pixels), size) / np.float32(255)


def random_view(
    pixels: np.ndarray,
    random: np.random.Generator,
    *,
    size: tuple[int, int],
    share: float,
    least: float,
    flip: float,
    operations: View,
) -> np.ndarray:
    """What training sees of a picture: a random part, perhaps mirrored, after some operations.

    Args:
        pixels, size, share: as for :func:`middle_view`, which is seen where nothing is to be cropped.
        random: of everything.
        least: the smallest share of the area; 1: nothing is cropped.
        flip: probability of mirroring left and right.
        operations: take and give uint8, channels × height × width.
    """
    _, height, width = pixels.shape
    box = random_box(height, width, least=least, random=random) if least < 1 else None
    part = (box or middle(height, width, share)).of(pixels)
    part = part[:, :, ::-1] if random.random() < flip else part
    return bicubic(operations(part, random), size) / np.float32(255)


def operate(
    pixels: np.ndarray, random: np.random.Generator, *, layers: int, magnitude: float, scale: float
) -> np.ndarray:
    """:func:`randaugment` of channels × height × width."""
    if not layers:
        return pixels
    from .randaugment import randaugment  # here, because it imports Pillow

    pixels = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    changed = randaugment(pixels, layers=layers, magnitude=magnitude, scale=scale, random=random)
    return np.ascontiguousarray(changed.transpose(2, 0, 1))


def middle(height: int, width: int, share: float) -> Box:
    """The square in the middle whose side is this share of the shorter side."""
    side = max(1, int(share * min(height, width)))
    return Box((height - side + 1) // 2, (width - side + 1) // 2, side, side)


def random_box(height: int, width: int, *, least: float, random: np.random.Generator) -> Box | None:
    """A random part of a picture, by the rules of TensorFlow's ``sample_distorted_bounding_box``: an aspect between 3/4
    and 4/3, then a height between those of the least area and of the whole one, then a place. None: there was none in
    ten attempts, or it was the whole picture; the authors then take the middle.

    Args:
        height, width: of the picture.
        least: the smallest share of the area; the authors' function takes no less than 0.1, whatever is asked for.
        random: of the box.
    """
    for _ in range(ATTEMPTS):
        aspect = random.uniform(*ASPECTS)
        lowest = round(sqrt(least * height * width / aspect))
        highest = min(height, round(sqrt(height * width / aspect)), int((width + 0.5) / aspect))
        tall = int(random.integers(min(lowest, highest), highest + 1))
        wide = round(tall * aspect)
        if max(least, COVERED) * height * width <= tall * wide and wide <= width:
            top, left = (int(random.integers(max(1, room))) for room in (height - tall, width - wide))
            return Box(top, left, tall, wide) if tall * wide < height * width else None
    return None


def bicubic(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture resized as TensorFlow does it: by Keys' cubic (a = -1/2) between the four nearest pixels, also where
    the picture becomes smaller. Values may lie beyond those of the picture.

    Args:
        pixels: channels × height × width.
        size: height and width of the result.

    Returns:
        float32, channels × size.

    >>> bicubic(np.full((1, 4, 4), 7, np.uint8), (2, 3))[0].round(4).tolist()
    [[7.0, 7.0, 7.0], [7.0, 7.0, 7.0]]
    """
    (rows, of_rows), (columns, of_columns) = (
        _neighbours(length, side) for length, side in zip(pixels.shape[1:], size, strict=True)
    )
    resized: Any = sum(pixels[:, rows[k]] * of_rows[k, :, None] for k in range(4))
    resized = sum(resized[:, :, columns[k]] * of_columns[k] for k in range(4))
    return resized


def _neighbours(length: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The four pixels of ``length`` around each of ``side`` new ones, and their weights: 4 × side."""
    coordinates = (np.arange(side) + 0.5) * length / side - 0.5
    pixels = np.floor(coordinates).astype(int) + np.arange(-1, 3)[:, None]
    apart = np.abs(coordinates - pixels)
    near, far = 1 + (1.5 * apart - 2.5) * apart**2, 2 + (-4 + (2.5 - 0.5 * apart) * apart) * apart
    weights = np.where(apart <= 1, near, far) * ((pixels >= 0) & (pixels < length))
    return pixels.clip(0, length - 1), (weights / weights.sum(0)).astype(np.float32)
