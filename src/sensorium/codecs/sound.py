"""Sound files: soundfile decodes the sound formats, ffmpeg the containers (``.mp4``, ``.m4a``, …)."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import InputError
from ..files import replace_file
from . import bounds
from .containers import decode_sound
from .raw import Raw, file_bytes

FINEST = 200_000  # the largest number in a ratio of two rates; a length changes by less than one sample in 10 billion
LOUDEST = 65_000.0  # the largest number of float16; sound is in [-1, 1]


def decode(raw: Raw, *, rate: int) -> tuple[np.ndarray, int]:
    """A clip: float32, samples × channels, and its rate in samples a second.

    Integers are scaled to [-1, 1]. The sound of a film starts when its pictures start.

    Args:
        raw: a path, the bytes of a file, an array (samples [× channels]), or a pair of an array and its rate.
        rate: of an array that comes without a rate.

    Raises:
        Absent: a film without sound.
        InputError: not a sound file, no samples, NaN or infinite samples, or samples far outside [-1, 1].
    """
    if isinstance(raw, np.ndarray):
        wave = raw
    elif isinstance(raw, str | bytes | Path):
        wave, rate = _decode_file(raw)
    else:
        wave, rate = np.asarray(cast(Any, raw)[0]), int(cast(Any, raw)[1])
    if wave.ndim not in (1, 2) or wave.dtype.kind not in "iuf":
        raise InputError(f"an array of shape {wave.shape} of {wave.dtype} is not sound; give samples [× channels]")
    if wave.size == 0:
        raise InputError("there are no samples in it; remove it")
    bounds.check_seconds(len(wave) / max(rate, 1))
    if np.issubdtype(wave.dtype, np.integer):
        low, high = float(np.iinfo(wave.dtype).min), float(np.iinfo(wave.dtype).max)
        wave = (2 * wave.astype(np.float64) - (low + high + 1)) / (high - low + 1)
    wave = wave.astype(np.float32).reshape(len(wave), -1)
    if not (np.abs(wave) < LOUDEST).all():
        raise InputError("there are NaN or infinite samples in it, or samples far outside [-1, 1]; repair or remove it")
    return wave, rate


def at_rate(wave: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Sound (samples × channels) of ``rate`` samples a second, resampled to ``new_rate``: float32.

    >>> at_rate(np.zeros((100, 1), np.float32), 8000, 4000).shape
    (50, 1)
    """
    if rate == new_rate:
        return wave
    from scipy.signal import resample_poly

    bounds.check_array((len(wave) * new_rate // rate, *wave.shape[1:]), what="its sound, resampled,")
    ratio = Fraction(new_rate, rate)
    if max(ratio.numerator, ratio.denominator) > FINEST:  # a filter that long takes minutes
        ratio = ratio.limit_denominator(FINEST) if ratio < 1 else 1 / (1 / ratio).limit_denominator(FINEST)
    return resample_poly(wave, ratio.numerator, ratio.denominator, axis=0).astype(np.float32)


def encode_file(wave: np.ndarray, path: Path, *, rate: int) -> None:
    """Write sound as a WAV file of 16 bits.

    Args:
        wave: floats in [-1, 1], samples [× channels].
        path: of the file.
        rate: samples a second.

    Raises:
        InputError: the file cannot be written.
    """
    import soundfile

    replace_file(path, lambda temporary: soundfile.write(temporary, wave, rate, format="WAV"))


def _decode_file(raw: str | bytes | Path) -> tuple[np.ndarray, int]:
    import soundfile

    content = file_bytes(raw)
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            bounds.check_rate(file.samplerate)
            bounds.check_array((file.frames, file.channels), what="its sound")
            bounds.check_seconds(file.frames / file.samplerate)
            return file.read(dtype="float32", always_2d=True), file.samplerate
    except (soundfile.LibsndfileError, RuntimeError):
        return decode_sound(content)
