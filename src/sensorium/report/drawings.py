"""The pictures of a report, as data URIs. Words stay in the page: there every script has its letters."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from ..codecs.flow import colours
from ..modalities import Batch, Modality, Signal

INK, ACCENT, SECOND, PALE = "#1d2430", "#2f6fde", "#e0703c", "#d9dee7"
MOST_POINTS = 400  # of a curve
MOST_DOTS = 3000  # of a scatter


def signal(modality: Modality, batch: Batch, index: int, heat: Signal | None = None, *, dpi: int = 110) -> str:
    """One example of a viewed batch, with heat over it if given; several modalities one below the other. It is 2.8
    inches wide, so ``dpi`` says how large."""
    from matplotlib.figure import Figure

    count = len(modality.modalities)
    figure = Figure(figsize=(2.8, 2.1 if count == 1 else 1.9 * count))
    axes = figure.add_subplot()
    axes.tick_params(labelsize=7)
    modality.draw(axes, batch, index, heat)
    axes.xaxis.label.set_fontsize(7)
    axes.yaxis.label.set_fontsize(7)
    # WebP: photographs as small as JPEG, and clean lines.
    return _uri(figure, "webp", dpi=dpi, pil_kwargs={"quality": 88})


def motion(flow: np.ndarray, largest: float) -> str:
    """A field of motion (2 × height × width) in colours, the strongest at ``largest`` pixels; as large as a signal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.8, 2.1))
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.imshow(colours(flow, largest=largest))
    return _uri(figure, "webp", dpi=110, pil_kwargs={"quality": 88})


def curves(history: Sequence[Mapping[str, Any]], primary_metric: str) -> list[tuple[str, str]]:
    """What went on in training: (title, picture) for the loss, the primary_metric metric and the learning rate, if
    known."""
    clock = next((key for key in ("seconds", "progress", "step") if len(_points(history, key, key)[0]) > 1), None)
    panels = {"Loss": "loss", primary_metric: primary_metric, "Learning rate": "learning_rate"}
    drawn = []
    for title, key in panels.items():
        lines = {name: _points(history, clock, name) for name in (key, f"val_{key}")} if clock else {}
        lines = {name: line for name, line in lines.items() if len(line[0]) > 1}
        if clock and lines:
            drawn.append((title, _curve(lines, clock, share=title == primary_metric)))
    return drawn


def scatter(predicted: np.ndarray, true: np.ndarray) -> str:
    """Predicted against true values of one target (n each), with the diagonal where they would agree."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    some = np.linspace(0, len(true) - 1, min(len(true), MOST_DOTS)).astype(int)
    ends = [float(min(predicted.min(), true.min())), float(max(predicted.max(), true.max()))]
    axes.plot(ends, ends, color=SECOND, linewidth=1)
    axes.scatter(
        true[some], predicted[some], s=9, color=ACCENT, alpha=max(0.15, min(0.7, 150 / len(some))), linewidths=0
    )
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    axes.set_aspect("equal", adjustable="datalim")
    _tidy(axes)
    return _uri(figure, "webp", dpi=150, pil_kwargs={"quality": 90})


def _curve(lines: Mapping[str, tuple[np.ndarray, np.ndarray]], clock: str, *, share: bool) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 2.7), layout="constrained")
    axes = figure.add_subplot()
    longest = max(float(across[-1]) for across, _ in lines.values())
    unit, scale = _clock_unit(clock, longest)
    for name, (across, values) in lines.items():
        held_out = name.startswith("val_")
        colour, label = (SECOND, "validation") if held_out else (ACCENT, "training")
        window = 1 if held_out else max(1, len(values) // 40)
        if window > 1:  # single steps are noisy: they stay visible, pale, behind their running mean
            axes.plot(across / scale, values, color=colour, alpha=0.22, linewidth=0.8)
        marker = "o" if len(values) <= 40 and held_out else ""
        axes.plot(
            across / scale,
            _running_mean(values, window),
            color=colour,
            linewidth=1.8,
            label=label,
            marker=marker,
            ms=3,
        )
    if share and all(values.min() >= 0 and values.max() <= 1 for _, values in lines.values()):
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    else:
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4))
    axes.set_xlabel(unit)
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8)
    _tidy(axes)
    return _uri(figure, "svg", metadata={"Date": None})


def _points(history: Sequence[Mapping[str, Any]], clock: str, key: str) -> tuple[np.ndarray, np.ndarray]:
    """The finite values of a key and when they were, thinned evenly; keys may come and go between entries."""
    pairs = [(entry[clock], entry[key]) for entry in history if _number(entry.get(clock)) and _number(entry.get(key))]
    some = np.linspace(0, len(pairs) - 1, min(len(pairs), MOST_POINTS)).astype(int)
    across, values = np.array(pairs, np.float64).reshape(-1, 2)[some].T
    return across, values


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def _clock_unit(clock: str, longest: float) -> tuple[str, float]:
    """What the axis of a clock is called, and what to divide by."""
    if clock != "seconds":
        return {"progress": ("share of the run", 1.0), "step": ("step", 1.0)}[clock]
    return ("seconds", 1.0) if longest < 120 else ("minutes", 60.0) if longest < 7200 else ("hours", 3600.0)


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of up to ``window`` values until each; as many as were given."""
    total = np.concatenate([[0.0], values.cumsum()])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(0, end - window)
    return (total[end] - total[start]) / (end - start)


def _tidy(axes: Any) -> None:
    axes.grid(color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    axes.xaxis.label.set(color=INK, fontsize=8)
    axes.yaxis.label.set(color=INK, fontsize=8)


def _uri(figure: Any, form: str, **how: Any) -> str:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a letter that the font lacks is an empty box
        figure.savefig(buffer, format=form, bbox_inches="tight", pad_inches=0.03, **how)
    kind = "svg+xml" if form == "svg" else form
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
