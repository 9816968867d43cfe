"""The flow of frames of any size, by a model of one size: tile by tile (Perceiver IO App. H), and from coarse to fine.

A model that has learned motion of a few pixels finds that of many where frames are shrunk; in larger ones, of which the
second is brought back by what is known already, it finds what is left (as in Brox et al. 2004; not in the paper).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..modalities.pixels import fitted, floats

OVERLAP = 20  # pixels, the authors'


def flow_of(model: Any, frames: Tensor, *, overlap: int = OVERLAP, chunk: int = 8) -> Tensor:
    """The flow between two frames: 2 × height × width, in pixels.

    Args:
        model: one whose task is flow (a ``Perceiver``); its ``task.levels`` says at how many sizes frames are answered.
        frames: 2 × 3 × height × width, bytes or floats in [0, 1]; where they are smaller than what the model reads,
            they are continued by their last pixels.
        overlap: pixels that neighbouring tiles share, at most half a tile.
        chunk: tiles answered at a time.
    """
    name, tile = model.inputs.name, model.inputs.config.size

    def answer(some: Tensor) -> Tensor:
        return model({name: some}).flow

    return refined(answer, frames, tile, levels=model.task.config.pyramid_levels, overlap=overlap, chunk=chunk)


@torch.inference_mode()
def refined(
    answer: Callable[[Tensor], Tensor],
    frames: Tensor,
    tile: tuple[int, int],
    *,
    levels: int,
    overlap: int = OVERLAP,
    chunk: int = 8,
) -> Tensor:
    """The flow between two frames, from coarse to fine: 2 × height × width.

    Args:
        levels: sizes of frames, each half the next one, as far as a tile fits into them; 1: the frames as they are.
        answer, frames, tile, overlap, chunk: see :func:`tiled`.
    """
    frames = floats(frames)
    size = frames.shape[-2], frames.shape[-1]
    sizes = [(size[0] >> level, size[1] >> level) for level in range(levels)]
    smaller = [each for each in sizes[1:] if all(side >= part for side, part in zip(each, tile, strict=True))]
    flow: Tensor | None = None
    for each in reversed([size, *smaller]):
        first, second = frames if each == size else F.interpolate(frames, each, mode="bilinear", antialias=True)
        if flow is None:
            flow = tiled(answer, torch.stack([first, second]), tile, overlap=overlap, chunk=chunk)
            continue
        grown = flow.new_tensor([each[1] / flow.shape[2], each[0] / flow.shape[1]])[:, None, None]
        flow = F.interpolate(flow[None], each, mode="bilinear")[0] * grown
        pair = torch.stack([first, _brought_back(second, flow)])
        flow = flow + tiled(answer, pair, tile, overlap=overlap, chunk=chunk)
    assert flow is not None
    return flow


@torch.inference_mode()
def tiled(
    answer: Callable[[Tensor], Tensor], frames: Tensor, tile: tuple[int, int], *, overlap: int = OVERLAP, chunk: int = 8
) -> Tensor:
    """The flow between two frames, where ``answer`` gives that of tiles: 2 × height × width.

    Where tiles overlap, each counts by the distance to its nearest edge.

    Args:
        answer: batch × 2 × 3 × tile, floats, to batch × 2 × tile.
        frames, overlap, chunk: see :func:`flow_of`.
    """
    height, width = frames.shape[-2:]
    down, across = tile
    frames = fitted(floats(frames), (max(height, down), max(width, across)))
    corners = tiles((frames.shape[-2], frames.shape[-1]), tile, overlap=overlap)
    weight = torch.minimum(_from_edge(down, frames.device)[:, None], _from_edge(across, frames.device))
    total, weights = frames.new_zeros(2, *frames.shape[-2:]), frames.new_zeros(frames.shape[-2:])
    for start in range(0, len(corners), chunk):
        some = corners[start : start + chunk]
        cuts = [frames[..., top : top + down, left : left + across] for top, left in some]
        for (top, left), flow in zip(some, answer(torch.stack(cuts)), strict=True):
            total[:, top : top + down, left : left + across] += weight * flow
            weights[top : top + down, left : left + across] += weight
    return (total / weights)[:, :height, :width]


def tiles(size: tuple[int, int], tile: tuple[int, int], *, overlap: int = OVERLAP) -> list[tuple[int, int]]:
    """The top left corners of tiles that cover a frame at least as large: in even steps, the last ones at its edge.

    Args:
        size: height and width of the frame.
        tile: of a tile.
        overlap: pixels that neighbours share, at most half a tile; the last ones may share more.

    >>> tiles((100, 64), (64, 64), overlap=20)
    [(0, 0), (36, 0)]
    >>> tiles((150, 64), (64, 64), overlap=20)
    [(0, 0), (44, 0), (86, 0)]
    """
    down, across = (_starts(whole, part, min(overlap, part // 2)) for whole, part in zip(size, tile, strict=True))
    return list(product(down, across))


def _brought_back(second: Tensor, flow: Tensor) -> Tensor:
    """The second frame read where each pixel of the first goes: 3 × height × width."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device) + flow[0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[1]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    return F.grid_sample(second[None], grid[None], padding_mode="border", align_corners=False)[0]


def _starts(whole: int, part: int, overlap: int) -> list[int]:
    return [*range(0, whole - part, part - overlap), whole - part]


def _from_edge(length: int, device: torch.device) -> Tensor:
    """1 at both ends, and one more each step inwards."""
    place = torch.arange(1, length + 1, device=device, dtype=torch.float32)
    return torch.minimum(place, place.flip(0))
