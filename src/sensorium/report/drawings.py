"""The pictures of a report, as data URIs. Text stays in the page, whose fonts have the letters of every script."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from ..modalities import Batch, Modality, Signal
from ..tasks.base import Task
from ..tasks.presentation import Illustration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, ACCENT, SECOND, PALE = "#1d2430", "#2f6fde", "#e0703c", "#d9dee7"
COLOURS = (ACCENT, SECOND, "#18865c", "#8a5bd1", "#c93f6b", "#7a7f8a", "#b08a1e")  # of several lines
MAX_POINTS = 400  # of a curve
MAX_DOTS = 3000  # of a scatter plot


@dataclass(frozen=True)
class Picture:
    """A picture and its title.

    Attributes:
        uri: the picture as a data URI.
    """

    title: str
    uri: str


def signal(modality: Modality, batch: Batch, index: int, attention: Signal | None = None, *, dpi: int = 110) -> str:
    """One example of a viewed batch; several modalities are drawn one below the other.

    Args:
        attention: an attention map of this example, which is drawn over it.
        dpi: pixels an inch; the picture is 2.8 inches wide.
    """
    from matplotlib.figure import Figure

    count = len(modality.modalities)
    figure = Figure(figsize=(2.8, 2.1 if count == 1 else 1.9 * count))
    axes = figure.add_subplot()
    axes.tick_params(labelsize=7)
    modality.draw(axes, batch, index, attention)
    axes.xaxis.label.set_fontsize(7)
    axes.yaxis.label.set_fontsize(7)
    return photograph(figure, dpi)


def illustration(modality: Modality, shown: Illustration, *, dpi: int = 110) -> str:
    """A task's illustration, as large as a signal."""
    if isinstance(shown.content, Mapping):
        return signal(modality, shown.content, 0, dpi=dpi)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.8, 2.1))
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.imshow(shown.content)
    return photograph(figure, dpi)


def curves(
    history: Sequence[Mapping[str, Any]], task: Task, *, keys: Sequence[str] = (), file_format: str = "svg"
) -> list[Picture]:
    """The course over training of the ``keys`` that ``history`` has: by default the loss, the primary metric and the
    learning rate."""
    clocks = ("seconds", "progress", "step")
    clock = next((key for key in clocks if len(_points(history, key, key)[0]) > 1), None)
    if clock is None:
        return []
    drawn = []
    for key in keys or ("loss", task.primary_metric, "learning_rate"):
        lines = {name: _points(history, clock, name) for name in (key, f"val_{key}")}
        lines = {name: line for name, line in lines.items() if len(line[0]) > 1}
        if lines:
            title = "Learning rate" if key == "learning_rate" else task.metric_title(key)
            drawn.append(Picture(title, _curve(lines, clock, percent=task.is_percent(key), file_format=file_format)))
    return drawn


def courses(lines: Mapping[str, Sequence[Sequence[tuple[float, float]]]], *, percent: bool) -> str | None:
    """Several trainings in one picture; None: none has two points.

    Args:
        lines: for each contender, by its title, the course of every seed: (seconds, value) pairs.
        percent: whether values are shares.
    """
    from matplotlib.figure import Figure

    drawn = {title: [line for line in seeds if len(line) > 1] for title, seeds in lines.items()}
    drawn = {title: seeds for title, seeds in drawn.items() if seeds}
    if not drawn:
        return None
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    unit, scale = _clock_unit("seconds", max(line[-1][0] for seeds in drawn.values() for line in seeds))
    for number, (title, seeds) in enumerate(drawn.items()):
        for seed, line in enumerate(seeds):
            times, values = np.array(line, np.float64).T
            label = title if not seed else None
            axes.plot(times / scale, values, color=COLOURS[number % len(COLOURS)], linewidth=1.6, label=label)
    if percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.set_xlabel(unit)
    axes.legend(frameon=False, fontsize=8)
    _tidy(axes)
    return _uri(figure, "svg", metadata={"Date": None})


def scatter(predicted: np.ndarray, true: np.ndarray) -> str:
    """Predicted against true values of one quantity (examples,), with the diagonal on which they agree."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    shown = np.linspace(0, len(true) - 1, min(len(true), MAX_DOTS)).astype(int)
    ends = [float(min(predicted.min(), true.min())), float(max(predicted.max(), true.max()))]
    opacity = max(0.15, min(0.7, 150 / len(shown)))
    axes.plot(ends, ends, color=SECOND, linewidth=1)
    axes.scatter(true[shown], predicted[shown], s=9, color=ACCENT, alpha=opacity, linewidths=0)
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    axes.set_aspect("equal", adjustable="datalim")
    _tidy(axes)
    return _uri(figure, "webp", dpi=150, pil_kwargs={"quality": 90})


def _curve(lines: Mapping[str, tuple[np.ndarray, np.ndarray]], clock: str, *, percent: bool, file_format: str) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 2.7), layout="constrained")
    axes = figure.add_subplot()
    longest = max(float(times[-1]) for times, _ in lines.values())
    unit, scale = _clock_unit(clock, longest)
    for name, (times, values) in lines.items():
        validation = name.startswith("val_")
        colour, label = (SECOND, "validation") if validation else (ACCENT, "training")
        window = 1 if validation else max(1, len(values) // 40)
        if window > 1:  # single steps are noisy: they stay visible, pale, behind their running mean
            axes.plot(times / scale, values, color=colour, alpha=0.22, linewidth=0.8)
        marker = "o" if len(values) <= 40 and validation else ""
        mean = _running_mean(values, window)
        axes.plot(times / scale, mean, color=colour, linewidth=1.8, label=label, marker=marker, ms=3)
    if percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    else:
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4))
    axes.set_xlabel(unit)
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8)
    _tidy(axes)
    return _uri(figure, file_format, dpi=150, **({"metadata": {"Date": None}} if file_format == "svg" else {}))


def _points(history: Sequence[Mapping[str, Any]], clock: str, key: str) -> tuple[np.ndarray, np.ndarray]:
    """The times and the values of a key, thinned evenly; entries in which either is missing or not finite are left
    out."""
    pairs = [
        (entry[clock], entry[key]) for entry in history if _is_number(entry.get(clock)) and _is_number(entry.get(key))
    ]
    shown = np.linspace(0, len(pairs) - 1, min(len(pairs), MAX_POINTS)).astype(int)
    times, values = np.array(pairs, np.float64).reshape(-1, 2)[shown].T
    return times, values


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def _clock_unit(clock: str, longest: float) -> tuple[str, float]:
    """The label of a time axis, and what to divide times by."""
    if clock != "seconds":
        return {"progress": ("share of the run", 1.0), "step": ("step", 1.0)}[clock]
    return ("seconds", 1.0) if longest < 120 else ("minutes", 60.0) if longest < 7200 else ("hours", 3600.0)


def _running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of the last ``window`` values at each position; of fewer at the start."""
    total = np.concatenate([[0.0], values.cumsum()])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(0, end - window)
    return (total[end] - total[start]) / (end - start)


def _tidy(axes: Axes) -> None:
    axes.grid(color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    axes.xaxis.label.set(color=INK, fontsize=8)
    axes.yaxis.label.set(color=INK, fontsize=8)


def photograph(figure: Figure, dpi: int) -> str:
    """A figure as pixels, a data URI."""
    # WebP makes photographs as small as JPEG does, and keeps lines clean.
    return _uri(figure, "webp", dpi=dpi, pil_kwargs={"quality": 88})


def _uri(figure: Figure, file_format: str, **options: Any) -> str:
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with warnings.catch_warnings(), rc_context({"svg.hashsalt": "sensorium"}):  # the same names in it each time
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a letter that the font lacks is an empty box
        figure.savefig(buffer, format=file_format, bbox_inches="tight", pad_inches=0.03, **options)
    media_type = "svg+xml" if file_format == "svg" else file_format
    return f"data:image/{media_type};base64,{base64.b64encode(buffer.getvalue()).decode()}"
