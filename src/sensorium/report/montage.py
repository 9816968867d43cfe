"""A montage of attention maps, like the papers' figures: a line for each cross-attend, a column for each latent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..inference.latent_maps import LatentMaps, shades
from ..modalities import Batch, Modality, Signal
from ..modalities.elementwise import Elementwise
from .drawings import photograph

MAX_LATENTS = 32  # drawn on one line
LABEL = 0.45  # inches left of the maps for their names


def montage(modality: Modality, batch: Batch, found: Sequence[LatentMaps], *, before_softmax: bool = False) -> str:
    """The example and the maps of its latents as one picture, a data URI.

    Maps are not laid over the signal, as in the paper, so that what shows in a map is the map's; those of points, text
    and tables are drawn on these. Each map has its own scale.

    Args:
        modality: that the model reads.
        batch: one example, as the maps were made of.
        found: its maps.
        before_softmax: whether they are logits.
    """
    from matplotlib.figure import Figure

    columns = min(len(found[0].latents), MAX_LATENTS)
    lines = [(each, head) for each in found for head in range(max(1, len(each.heads)))]
    width, height = (0.8, 0.8) if modality.drawn_square else (1.3, 0.8)
    height *= len(modality.modalities)
    figure = Figure(figsize=(LABEL + width * (columns + 1), 0.25 + height * len(lines)))
    grid = figure.add_gridspec(
        len(lines), columns + 1, left=LABEL / figure.get_figwidth(), right=1, bottom=0, top=1, wspace=0.06, hspace=0.06
    )
    empty = _without_signal(modality, batch)
    for line, (each, head) in enumerate(lines):
        axes = _axes(figure, grid[line, 0])
        modality.draw(axes, batch, 0)
        _bare(axes)
        axes.text(
            -0.08, 0.5, _name(each, head), transform=axes.transAxes, rotation=90, fontsize=6, ha="right", va="center"
        )
        for column in range(columns):
            axes = _axes(figure, grid[line, column + 1])
            modality.draw(axes, empty, 0, _map(each.maps, column, head, before_softmax))
            _bare(axes)
            if line == 0:
                axes.set_title(f"{each.latents[column] + 1}", fontsize=6, pad=2)
    return photograph(figure, 110)


def _name(found: LatentMaps, head: int) -> str:
    """What a line shows, counted from 1."""
    return f"cross-attend {found.cross_attend + 1}" + (f"\nhead {found.heads[head] + 1}" if found.heads else "")


def _map(maps: Signal, latent: int, head: int, before_softmax: bool) -> Signal:
    """One latent's map of one example, for drawing."""
    if isinstance(maps, Mapping):
        return {name: _map(values, latent, head, before_softmax) for name, values in maps.items()}
    return shades(maps[0, latent, head], before_softmax=before_softmax)


def _without_signal(modality: Modality, batch: Batch) -> dict[str, Tensor]:
    """The batch, in which pictures, sound and other signals are their mean; what has no mean stays."""
    return {**batch} | {
        part.name: part.restore(torch.zeros_like(part.targets(batch)), batch)
        for part in modality.modalities
        if part.name in batch and not isinstance(part, Elementwise)
    }


def _axes(figure: Any, cell: Any) -> Any:
    axes = figure.add_subplot(cell)
    axes.tick_params(labelsize=4, length=1)
    return axes


def _bare(axes: Any) -> None:
    """Without numbers and names along the axes, and without the names of modalities, for which there is no room."""
    for drawn in (axes, *axes.child_axes):
        drawn.set(xticks=[], yticks=[], xlabel="", ylabel="")
        drawn.set_title("", loc="left")
