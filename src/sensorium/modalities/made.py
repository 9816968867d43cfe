"""Made examples: noise in the shape of what a model reads, for checks that need examples where there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InputError
from .base import Modality, Sample

LETTERS = "abcdefghij klmnop qrstu vwxyz\n"


def made_examples(modality: Modality, count: int, *, seed: int = 0) -> list[Sample]:
    """Examples of noise, as ``modality.load`` gives them.

    Args:
        modality, count, seed: as for :func:`made_raws`.

    Raises:
        InputError: a kind of signal for which nothing is made here.

    >>> from sensorium.modalities import SeriesConfig, build_modality
    >>> series = build_modality(SeriesConfig(channels=2, length=10, mean=(0.0, 0.0), std=(1.0, 1.0), bands=4))
    >>> [len(sample["series"]) for sample in made_examples(series, 3)]
    [10, 7, 7]
    """
    return [modality.load(raw) for raw in made_raws(modality, count, seed=seed)]


def made_raws(modality: Modality, count: int, *, seed: int = 0) -> list[Any]:
    """Examples of noise, as ``modality.load`` takes them. Those of a ragged signal are shorter than a view may be, but
    for the first.

    Args:
        modality: what reads them, of one kind or a fusion.
        count: how many.
        seed: of the noise.

    Raises:
        InputError: a kind of signal for which nothing is made here.
    """
    random = np.random.default_rng(seed)
    raws = [
        {part.name: _made(part, 1.0 if index == 0 else 0.7, random) for part in modality.modalities}
        for index in range(count)
    ]
    alone = modality.modalities == (modality,)
    return [raw[modality.name] if alone else raw for raw in raws]


def _made(modality: Modality, share: float, random: np.random.Generator) -> Any:
    if modality.kind not in _NOISE:
        raise InputError(f"{modality.name}: no examples of {modality.kind} can be made; name data to take them from")
    return _NOISE[modality.kind](modality.config, share, random)


def _pixels(shape: tuple[int, ...], config: Any, random: np.random.Generator) -> np.ndarray:
    """Bytes; or measured values in the ranges of each channel, which is the last axis."""
    if config.ranges is None:
        return random.integers(0, 256, shape, dtype=np.uint8)
    low, high = np.array(config.ranges, dtype=np.float64).T
    return low + (high - low) * random.random(shape)


def _image(config: Any, share: float, random: np.random.Generator) -> np.ndarray:
    return _pixels((*config.size, config.channels), config, random)


def _volume(config: Any, share: float, random: np.random.Generator) -> np.ndarray:
    low, high = (0.0, 1.0) if config.ranges is None else config.ranges[0]
    shape = config.size if config.channels == 1 else (*config.size, config.channels)
    return low + (high - low) * random.random(shape)


def _video(config: Any, share: float, random: np.random.Generator) -> np.ndarray:
    return random.integers(0, 256, (max(1, round(share * config.frames)), *config.size, 3), dtype=np.uint8)


def _audio(config: Any, share: float, random: np.random.Generator) -> tuple[np.ndarray, int]:
    samples = max(config.window, round(share * config.samples))
    return random.uniform(-0.5, 0.5, (samples, config.channels)).astype(np.float32), config.rate


def _pair(config: Any, share: float, random: np.random.Generator) -> Any:
    return tuple(random.integers(0, 256, (2, *config.size, 3), dtype=np.uint8))


def _points(config: Any, share: float, random: np.random.Generator) -> np.ndarray:
    return random.normal(size=(max(1, round(share * config.points)), 3 + config.features))


def _text(config: Any, share: float, random: np.random.Generator) -> str:
    return "".join(random.choice(list(LETTERS), max(1, round(share * config.length))))


def _series(config: Any, share: float, random: np.random.Generator) -> Any:
    steps = max(1, round(share * config.length))
    signal = np.array(config.mean) + np.array(config.std) * random.normal(size=(steps, config.channels))
    if config.span is None:
        return signal
    return signal, np.linspace(0, share * config.span, steps)


def _table(config: Any, share: float, random: np.random.Generator) -> list[Any]:
    return [
        random.choice(column.categories) if column.kind == "category" else random.normal(column.mean, column.std)
        for column in config.columns
    ]


def _label(config: Any, share: float, random: np.random.Generator) -> str:
    number = int(random.integers(config.classes))
    return config.names[number] if config.names else str(number)


_NOISE: dict[str, Callable[[Any, float, np.random.Generator], Any]] = {
    "image": _image,
    "volume": _volume,
    "video": _video,
    "audio": _audio,
    "pair": _pair,
    "points": _points,
    "text": _text,
    "series": _series,
    "table": _table,
    "label": _label,
}
