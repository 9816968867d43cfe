"""The flow of frames of any size, by a model of one size: tile by tile (Perceiver IO App. H), and from coarse to fine.

A model that has learned motion of a few pixels finds a motion of many pixels in smaller frames. At each larger size,
the second frame is first warped back by the flow that is known so far; the model finds what is left (as in Brox et al.
2004; not in the paper).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import ceil
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from ..modalities.pixels import fitted, floats

OVERLAP = 20  # pixels, the authors'
MEDIAN = 5  # pixels a side of the median that each size's flow goes through
STRIP = 64  # rows of pixels whose median is taken at a time: a median of all would take 25 times their memory
CHUNK = 8  # tiles predicted at a time

PredictFlow: TypeAlias = Callable[[Tensor], Tensor]  # batch × 2 × 3 × tile, floats in [0, 1] -> batch × 2 × tile


@torch.inference_mode()
def coarse_to_fine(
    predict: PredictFlow,
    frames: Tensor,
    tile: tuple[int, int],
    *,
    levels: int,
    overlap: int = OVERLAP,
    chunk: int = CHUNK,
) -> Tensor:
    """The flow between two frames of any size, from coarse to fine: 2 × height × width, in pixels.

    With more than one level, the flow of each size goes through a median over the pixels around, so that what is wrong
    at single pixels does not warp the next size (Sun et al. 2010).

    Args:
        levels: sizes of the frames, each half the next one. Sizes smaller than a tile are left out. 1: the frames as
            they are.
        predict, frames, tile, overlap, chunk: see :func:`flow_by_tiles`.
    """
    frames = floats(frames)
    whole = frames.shape[-2], frames.shape[-1]
    halved = [(whole[0] >> level, whole[1] >> level) for level in range(1, levels)]
    halved = [size for size in halved if size[0] >= tile[0] and size[1] >= tile[1]]
    flow: Tensor | None = None
    for size in reversed([whole, *halved]):
        first, second = frames if size == whole else F.interpolate(frames, size, mode="bilinear", antialias=True)
        if flow is not None:
            growth = flow.new_tensor([size[1] / flow.shape[2], size[0] / flow.shape[1]])[:, None, None]
            flow = F.interpolate(flow[None], size, mode="bilinear")[0] * growth
            second = _warped_back(second, flow)
        found = flow_by_tiles(predict, torch.stack([first, second]), tile, overlap=overlap, chunk=chunk)
        flow = found if flow is None else flow + found
        flow = flow if levels == 1 else _median(flow)
    assert flow is not None
    return flow


@torch.inference_mode()
def flow_by_tiles(
    predict: PredictFlow, frames: Tensor, tile: tuple[int, int], *, overlap: int = OVERLAP, chunk: int = CHUNK
) -> Tensor:
    """The flow between two frames, predicted tile by tile: 2 × height × width, in pixels.

    Where tiles overlap, the flow is their mean, weighted by a pixel's distance to the nearest edge of each tile.

    Args:
        predict: the flow of a batch of tiles.
        frames: 2 × 3 × height × width, bytes or floats in [0, 1]; frames smaller than a tile are continued by their
            last pixels.
        tile: height and width of a tile.
        overlap: pixels that neighbouring tiles share, at most half a tile.
        chunk: tiles predicted at a time.
    """
    height, width = frames.shape[-2:]
    tile_height, tile_width = tile
    frames = fitted(floats(frames), (max(height, tile_height), max(width, tile_width)))
    corners = tile_corners((frames.shape[-2], frames.shape[-1]), tile, overlap=overlap)
    weight = torch.minimum(
        _distance_to_edge(tile_height, frames.device)[:, None], _distance_to_edge(tile_width, frames.device)
    )
    total, weights = frames.new_zeros(2, *frames.shape[-2:]), frames.new_zeros(frames.shape[-2:])
    for start in range(0, len(corners), chunk):
        areas = [
            (..., slice(top, top + tile_height), slice(left, left + tile_width))
            for top, left in corners[start : start + chunk]
        ]
        flows = predict(torch.stack([frames[area] for area in areas]))
        for area, flow in zip(areas, flows, strict=True):
            total[area] += weight * flow
            weights[area] += weight
    return (total / weights)[:, :height, :width]


def tile_corners(size: tuple[int, int], tile: tuple[int, int], *, overlap: int = OVERLAP) -> list[tuple[int, int]]:
    """The top left corners of tiles that cover a frame: as few as possible, evenly spaced. With the paper's tiles of
    368 × 496 they are its six, for Sintel's frames and for KITTI's.

    Args:
        size: height and width of the frame, at least those of a tile.
        tile: height and width of a tile.
        overlap: pixels that neighbouring tiles share at least; at most half a tile.

    >>> tile_corners((100, 64), (64, 64), overlap=20)
    [(0, 0), (36, 0)]
    >>> tile_corners((436, 1024), (368, 496))
    [(0, 0), (0, 264), (0, 528), (68, 0), (68, 264), (68, 528)]
    """
    tops, lefts = (_tile_starts(length, part, min(overlap, part // 2)) for length, part in zip(size, tile, strict=True))
    return list(product(tops, lefts))


def _median(flow: Tensor) -> Tensor:
    """The median of each component over the pixels around, edges continued: 2 × height × width."""
    around = F.pad(flow[None], (MEDIAN // 2,) * 4, mode="replicate")[0].unfold(1, MEDIAN, 1).unfold(2, MEDIAN, 1)
    return torch.cat([strip.flatten(3).median(-1).values for strip in around.split(STRIP, dim=1)], dim=1)


def _warped_back(second: Tensor, flow: Tensor) -> Tensor:
    """The second frame, sampled where the flow takes each pixel of the first frame: 3 × height × width."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device) + flow[0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[1]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    return F.grid_sample(second[None], grid[None], padding_mode="border", align_corners=False)[0]


def _tile_starts(length: int, part: int, overlap: int) -> list[int]:
    steps = ceil((length - part) / (part - overlap))
    return [round(step * (length - part) / steps) for step in range(steps)] + [length - part]


def _distance_to_edge(length: int, device: torch.device) -> Tensor:
    """1 at both ends, and one more each step inwards: (length,), float32."""
    steps = torch.arange(1, length + 1, device=device, dtype=torch.float32)
    return torch.minimum(steps, steps.flip(0))
