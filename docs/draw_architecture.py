"""Draws docs/architecture.png, the figure of the README: ``python docs/draw_architecture.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

PAGE = Path(__file__).resolve().with_name("architecture.png")
INK, MUTED, PAPER = "#1f2933", "#616e7c", "#ffffff"
IMAGE, AUDIO, POSITION, MODALITY = "#4c8bf5", "#f0883e", "#b8c4d0", "#8e6fc7"
LATENT, QUERY, ATTENTION, MLP = "#2f9e77", "#d6517d", "#fff4d6", "#e9f5ef"


def text(axes: Any, x: float, y: float, words: str, size: float = 10, **style: Any) -> None:
    """Centred text, in ink unless said otherwise."""
    axes.text(x, y, words, **({"fontsize": size, "color": INK, "ha": "center", "va": "center"} | style))


def box(axes: Any, x: float, y: float, width: float, height: float, colour: str, **style: Any) -> None:
    """A box with round corners, its lower left corner at (x, y)."""
    shape = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.12")
    shape.set(**({"facecolor": colour, "edgecolor": INK, "linewidth": 1.1} | style))
    axes.add_patch(shape)


def arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], curve: float = 0.0, **style: Any) -> None:
    """An arrow from ``start`` to ``end``."""
    shape = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=13, connectionstyle=f"arc3,rad={curve}")
    shape.set(**({"color": INK, "linewidth": 1.3} | style))
    axes.add_patch(shape)


def segment(axes: Any, x: float, y: float, colour: str, rows: int, widths: tuple[float, float, float]) -> None:
    """The rows of one modality: values, positions and modality embedding side by side."""
    for row in range(rows):
        left = x
        for width, shade in zip(widths, (colour, POSITION, MODALITY), strict=True):
            axes.add_patch(
                Rectangle((left, y - 0.2 * row), width, 0.17, facecolor=shade, edgecolor=PAPER, linewidth=0.8)
            )
            left += width


def array(axes: Any, x: float, y: float, rows: int, width: float, colour: str) -> None:
    """A few rows of one colour: latents, queries or outputs."""
    for row in range(rows):
        axes.add_patch(Rectangle((x, y - 0.24 * row), width, 0.2, facecolor=colour, edgecolor=PAPER, linewidth=0.8))


def byte_array(axes: Any) -> None:
    """The input: two modalities, with what the columns are."""
    text(axes, 1.45, 5.62, "byte array", 12.5, weight="bold")
    text(axes, 1.45, 5.33, "M rows × C channels, a segment a modality", 8.8, color=MUTED)
    text(axes, 0.36, 4.02, "image", 9.5, rotation=90, color=IMAGE, weight="bold")
    text(axes, 0.36, 2.53, "audio", 9.5, rotation=90, color=AUDIO, weight="bold")
    segment(axes, 0.6, 4.75, IMAGE, 8, (0.55, 1.0, 0.3))
    segment(axes, 0.6, 2.95, AUDIO, 5, (0.35, 0.9, 0.6))
    for y, (colour, words) in zip(
        (1.72, 1.44, 1.16),
        ((IMAGE, "values"), (POSITION, "positions (one table an axis)"), (MODALITY, "modality embedding")),
        strict=True,
    ):
        axes.add_patch(Rectangle((0.6, y - 0.08), 0.2, 0.16, facecolor=colour, edgecolor=PAPER))
        text(axes, 0.9, y, words, 8.8, ha="left")
    axes.add_patch(Rectangle((0.7, 1.64), 0.1, 0.16, facecolor=AUDIO, edgecolor=PAPER))


def encoder(axes: Any) -> None:
    """The latent array, and one cross-attend with the latent transformer after it, repeated."""
    box(axes, 3.15, 0.95, 6.0, 5.0, "#fafbfc", edgecolor="#c4cdd6", linestyle=(0, (4, 3)))
    text(axes, 6.15, 5.62, "encoder", 12.5, weight="bold")
    text(axes, 3.95, 1.47, "latent array", 9.8, weight="bold", color=LATENT)
    text(axes, 3.95, 1.24, "N × D, learned", 8.8, color=MUTED)
    array(axes, 3.5, 2.45, 4, 0.9, LATENT)
    box(axes, 4.85, 2.75, 1.45, 1.5, ATTENTION)
    text(axes, 5.575, 3.68, "cross-attend", 10.5, weight="bold")
    text(axes, 5.575, 3.28, "latents query\nthe byte array", 8.6, color=MUTED)
    box(axes, 6.95, 2.75, 1.75, 1.5, MLP)
    text(axes, 7.825, 3.68, "latent transformer", 10.5, weight="bold")
    text(axes, 7.825, 3.28, "self-attention × layers,\nN × N: M plays no part", 8.6, color=MUTED)
    arrow(axes, (2.6, 3.75), (4.85, 3.75))
    text(axes, 3.72, 3.93, "keys, values", 8.8, color=MUTED)
    arrow(axes, (4.45, 2.2), (5.3, 2.75), 0.25)
    text(axes, 5.3, 2.18, "queries", 8.8, color=MUTED)
    arrow(axes, (6.3, 3.5), (6.95, 3.5))
    arrow(axes, (7.82, 4.25), (5.58, 4.25), 0.42)
    text(axes, 6.7, 5.02, "repeat: same number, same weights", 9.4, weight="bold")
    text(axes, 6.15, 1.68, "Perceiver", 8.8, ha="right", color=MUTED)
    text(axes, 6.25, 1.68, "cross_attention = (0, 1, 1, 1, …)", 8.6, ha="left", family="monospace")
    text(axes, 6.15, 1.4, "Perceiver IO", 8.8, ha="right", color=MUTED)
    text(axes, 6.25, 1.4, "cross_attention = (0, None, …)", 8.6, ha="left", family="monospace")


def decoder(axes: Any) -> None:
    """The queries, the decoder's cross-attend, and the prediction."""
    box(axes, 9.55, 0.95, 3.95, 5.0, "#fafbfc", edgecolor="#c4cdd6", linestyle=(0, (4, 3)))
    text(axes, 11.52, 5.62, "decoder", 12.5, weight="bold")
    box(axes, 9.85, 2.75, 1.45, 1.5, ATTENTION)
    text(axes, 10.575, 3.68, "cross-attend", 10.5, weight="bold")
    text(axes, 10.575, 3.28, "queries attend\nto the latents", 8.6, color=MUTED)
    arrow(axes, (8.7, 3.5), (9.85, 3.5))
    text(axes, 9.35, 3.68, "latents", 8.8, color=LATENT, bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.8})
    array(axes, 10.1, 2.0, 3, 0.95, QUERY)
    text(axes, 11.2, 1.92, "queries", 9.8, weight="bold", color=QUERY, ha="left")
    text(axes, 11.2, 1.69, "O × E: a class, each", 8.8, color=MUTED, ha="left")
    text(axes, 11.2, 1.5, "pixel, each byte, …", 8.8, color=MUTED, ha="left")
    arrow(axes, (10.575, 2.25), (10.575, 2.75))
    arrow(axes, (11.3, 3.5), (11.95, 3.5))
    array(axes, 12.05, 3.65, 3, 1.1, QUERY)
    text(axes, 12.6, 4.32, "prediction", 10.5, weight="bold")
    text(axes, 12.6, 4.06, "O × outputs", 8.8, color=MUTED)
    text(axes, 12.6, 2.88, "logits, or the signal\nin its own shape", 8.8, color=MUTED)


def captions(axes: Any) -> None:
    """What the parts are called in Python, below them."""
    for x, words in (
        (1.45, "model.embed(batch)"),
        (6.15, "latents = model.encode(batch)"),
        (11.52, "model.decode(latents, queries)"),
    ):
        text(axes, x, 0.6, words, 10, family="monospace")


def draw() -> None:
    """The whole figure, below 200 KB."""
    figure, axes = plt.subplots(figsize=(13.7, 5.6))
    figure.subplots_adjust(0, 0, 1, 1)
    axes.set(xlim=(0, 13.7), ylim=(0.35, 6.05))
    axes.set_axis_off()
    for part in (byte_array, encoder, decoder, captions):
        part(axes)
    figure.savefig(PAGE, dpi=110, facecolor=PAPER)
    plt.close(figure)
    print(f"{PAGE}: {PAGE.stat().st_size:,} bytes")


if __name__ == "__main__":
    draw()
