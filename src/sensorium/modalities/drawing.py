"""How pixels and sound are drawn onto matplotlib axes."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np


def draw_pixels(axes: Any, pixels: np.ndarray, attention: np.ndarray | None) -> None:
    """A picture; with attention it is pale grey, and the attention over it in colour.

    Args:
        pixels: height × width × 3, in [0, 1].
        attention: height × width, in [0, 1], NaN where nothing is drawn; None: the picture alone.
    """
    axes.set_axis_off()
    if attention is None:
        axes.imshow(pixels)
        return
    axes.imshow(pixels.mean(-1), cmap="gray", vmin=-0.3, vmax=1.3)
    axes.imshow(attention, cmap="inferno", alpha=0.6, vmin=0, vmax=1)


def draw_sound(axes: Any, sound: np.ndarray, attention: np.ndarray | None, *, seconds: float) -> None:
    """A waveform, or a spectrogram with time to the right and low tones at the bottom, and the attention over it.

    Args:
        sound: samples, or spectra × mels.
        attention: samples × 1, or spectra × mels, 0 to 1.
        seconds: its length.
    """
    axes.set_xlabel("seconds")
    if sound.ndim == 1:
        axes.plot(np.linspace(0, seconds, len(sound)), sound, color="0.2", linewidth=0.5)
        axes.set_xlim(0, seconds)
        low, high = axes.get_ylim()
    else:
        low, high = 0, sound.shape[1]
        axes.imshow(sound.T, origin="lower", aspect="auto", extent=(0, seconds, low, high), cmap="gray_r")
        axes.set_ylabel("mels")
    if attention is not None:
        over, extent = attention.T, (0, seconds, low, high)
        axes.imshow(over, origin="lower", aspect="auto", extent=extent, cmap="Reds", alpha=0.7 * over, vmin=0, vmax=1)


def contact_sheet(frames: np.ndarray, *, columns: int, gap: float) -> np.ndarray:
    """frames × height × width [× 3] as one picture, ``columns`` on a line, with narrow gaps of the value ``gap``.

    >>> contact_sheet(np.zeros((3, 4, 5)), columns=2, gap=1.0).shape
    (9, 11)
    """
    count, height, width = frames.shape[:3]
    columns = min(count, columns)
    lines = ceil(count / columns)
    space = max(1, width // 32)
    sheet = np.full((lines * (height + space) - space, columns * (width + space) - space, *frames.shape[3:]), gap)
    for index, frame in enumerate(frames):
        top, left = index // columns * (height + space), index % columns * (width + space)
        sheet[top : top + height, left : left + width] = frame
    return sheet
