"""Films: their frames at a given rate and size."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import replace_file
from .containers import (
    USUAL_RATE,
    FilmHeader,
    Frame,
    FrameFitter,
    TimedFrames,
    decode_frames,
    encode_mp4,
    film_header,
    frame_of,
)
from .raw import Raw

BEYOND = 0.01  # by which floats may leave the range of pixels, as after a resampling
ROUNDING = 0.001  # seconds by which a time may be off: Matroska keeps whole milliseconds


def header(raw: Raw) -> FilmHeader:
    """The size, rate and length of a film, and whether it is grey, before its frames are decoded.

    Args:
        raw: as for :func:`decode`; a bare array is taken to have 25 frames a second.

    Raises:
        Absent: there are no pictures in it.
        InputError: not a film.
    """
    if isinstance(raw, str | bytes | Path):
        return film_header(raw)
    frames, rate = _from_array(raw, USUAL_RATE)
    height, width = frames.shape[1:3]
    return FilmHeader(height, width, rate, seconds=len(frames) / rate, grey=frames.ndim == 3)


def decode(raw: Raw, *, rate: float, size: tuple[int, int], channels: int, most: int) -> np.ndarray:
    """The frames that are shown at 0, 1/rate, 2/rate, … seconds after the start of the pictures, until their end.

    Of a damaged film, the frames before the damage.

    Args:
        raw: a path, the bytes of a file, an array (frames × height × width [× 1 or 3], uint8 or floats in [0, 1]) of
            ``rate`` frames a second, or a pair of an array and its rate.
        rate: frames a second of the result.
        size: height and width of the result: the largest centred part of these proportions, upright, resized.
        channels: 1 (grey) or 3 (RGB).
        most: frames; later ones are not decoded.

    Returns:
        uint8, frames × channels × height × width; at least one frame.

    Raises:
        Absent: there are no pictures in it.
        InputError: not a film, not one frame that can be decoded, NaN or infinite values.
    """
    timed = decode_frames(raw) if isinstance(raw, str | bytes | Path) else _timed_array(raw, rate)
    fit = FrameFitter(size=size, channels=channels)
    pictures: list[np.ndarray] = []
    previous = None
    with closing(_at_rate(timed, rate, most)) as frames:
        for frame in frames:  # a frame that is shown for long is fitted once
            pictures.append(pictures[-1] if frame is previous else fit(frame))
            previous = frame
    return np.stack(pictures)


def encode_file(frames: np.ndarray, path: Path, *, rate: float, sound: tuple[np.ndarray, int] | None = None) -> None:
    """Write a film that every browser plays, as an MP4 file.

    Args:
        frames: uint8, frames × height × width × 3. A last row or column is repeated where there is an odd number.
        path: of the file.
        rate: frames a second.
        sound: the sound beside the pictures: float32, (samples,) in [-1, 1], and samples a second.

    Raises:
        InputError: the file cannot be written.
    """
    odd = [side % 2 for side in frames.shape[1:3]]
    frames = np.ascontiguousarray(np.pad(frames, ((0, 0), (0, odd[0]), (0, odd[1]), (0, 0)), mode="edge"))
    replace_file(path, lambda temporary: encode_mp4(frames, temporary, rate=rate, sound=sound))


def _at_rate(timed: TimedFrames, rate: float, most: int) -> Generator[Frame, None, None]:
    """The frame that is shown at 0, 1/rate, 2/rate, … seconds until the end; at least one and at most ``most``."""
    with closing(timed):
        shown: Frame | None = None
        count = 0
        for time, frame in timed:
            while shown is not None and count / rate < time - ROUNDING:
                yield shown
                count += 1
                if count == most:
                    return
            shown = frame or shown
        if shown is not None and not count:
            yield shown


def _timed_array(raw: Any, rate: float) -> TimedFrames:
    frames, rate = _from_array(raw, rate)
    for index, pixels in enumerate(frames):
        yield index / rate, frame_of(pixels)
    yield len(frames) / rate, None


def _from_array(raw: Any, rate: float) -> tuple[np.ndarray, float]:
    """uint8, frames × height × width [× 3], and its rate (``rate`` for a bare array)."""
    if isinstance(raw, tuple):
        raw, rate = raw[0], float(raw[1])
    values = np.asarray(raw)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim not in (3, 4) or values.shape[3:] not in ((), (3,)) or values.dtype.kind not in "biuf":
        raise InputError(
            f"an array of shape {values.shape} of {values.dtype} is not a video; "
            "give frames × height × width × 1 or 3 channels"
        )
    if values.size == 0 or not rate > 0:
        raise InputError("there are no frames in it, or no rate; remove it")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError("there are NaN or infinite values in it; replace them")
    lowest, highest = float(values.min()), float(values.max())
    if lowest < -BEYOND or highest > (255 if values.dtype.kind in "iu" else 1 + BEYOND):
        raise InputError(f"its values go from {lowest:g} to {highest:g}; give uint8, or floats from 0 to 1")
    if values.dtype.kind == "f":
        values = (values.clip(0, 1) * 255).round()
    return values.astype(np.uint8, copy=False), rate
