"""How ``auto`` makes rows of a signal, and how it varies them in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Any

from ...modalities import (
    FusionConfig,
    ImageConfig,
    ModalityConfig,
    PairConfig,
    PointsConfig,
    SingleConfig,
    TextConfig,
    VideoConfig,
    VolumeConfig,
)
from ...nn.stems import NGramStemConfig
from .facts import MINUTES, Facts
from .stems import CLIP_SIDE, PICTURE_ROWS, STEMS, STEMS_OF_TASK, halvings

PLAIN_PICTURE_ROWS = 256
FRAME_SIDE, FRAME_ROWS, CLIP_ROWS = 64, 64, 2048  # of video: pixels, rows of a frame and of a clip
CROP = 0.6
COLOUR = 0.2
FEW_PICTURES, COLOUR_OF_FEW = 1000, 0.4  # docs/decisions/0017
CONTRAST = 0.1
FEW_LINES = 1000  # docs/decisions/0020
NOISE, NOISE_OF_FEW = {"jitter": 0.1, "blank": 0.2}, {"jitter": 0.2, "blank": 0.3}
MOST_BANDS = 32
PAIR_SIDE, PAIR_WINDOW, PAIR_BANDS = 32, 9, 8  # of frames whose motion is learned: pixels, and those around each
PASSAGE = 2048  # bytes, where each of them is a row: the paper's sentences
PASSAGES = 4  # of a long text, over which evaluation averages
MASKED_TEXT = 256  # bytes of a text whose words are masked
FEW_PASSAGES, DROPOUT_OF_FEW = 2500, 0.1  # for each minute; of channels of the stem; docs/decisions/0014
DROPOUT = 0.3  # of the modality with the most patches


def choose_inputs(measured: ModalityConfig, facts: Facts) -> Any:
    """Patches, positions and augmentation: the measured configuration with the rules' values."""
    if isinstance(measured, FusionConfig):
        plain = replace(facts, stems=False)
        measured_parts = {name: _beside_others(part) for name, part in measured.modalities.items()}
        parts = {name: choose_inputs(part, facts) for name, part in measured_parts.items()}
        patches = {name: choose_inputs(part, plain).num_rows for name, part in measured_parts.items()}
        largest = max(patches, key=lambda name: patches[name])
        return replace(measured, modalities=parts, dropout={largest: DROPOUT})
    rules = INPUTS | INPUTS_OF_TASK.get(facts.task, {})
    chosen = rules[measured.kind](measured) if measured.kind in rules else measured
    if isinstance(chosen, ImageConfig) and _learns_colours_by_heart(chosen, facts):
        chosen = replace(chosen, colour=COLOUR_OF_FEW)
    stems = STEMS if facts.per_example else STEMS_OF_TASK.get(facts.task, {})
    if measured.kind not in stems or not facts.stems:
        return chosen
    beside = BESIDE_STEM[measured.kind](measured, facts) if measured.kind in BESIDE_STEM else {}
    stem = stems[measured.kind](chosen)
    if isinstance(stem, NGramStemConfig) and _learns_words_by_heart(measured, facts):
        stem = replace(stem, dropout=DROPOUT_OF_FEW)
    return replace(chosen, stem=stem, **beside)


def _beside_others(part: SingleConfig) -> SingleConfig:
    """Of several signals no rows are left out, so text is cut to what a step can read as a whole."""
    return replace(part, length=min(PASSAGE, part.length)) if isinstance(part, TextConfig) else part


# -- by kind of signal


def _image(measured: ImageConfig) -> ImageConfig:
    side = measured.size[0]
    side -= side % 2 ** halvings(side, PICTURE_ROWS)
    patch = _patch(side, PLAIN_PICTURE_ROWS**0.5)
    return replace(
        measured,
        size=(side, side),
        patch=(patch, patch),
        bands=max(1, min(MOST_BANDS, side // patch // 2)),
        crop=CROP,
        flip=0.0 if measured.channels == 1 else 0.5,
    )


def _learns_colours_by_heart(pictures: ImageConfig, facts: Facts) -> bool:
    return facts.per_example and facts.examples < FEW_PICTURES and pictures.channels == 3 and pictures.ranges is None


def _learns_words_by_heart(text: TextConfig, facts: Facts) -> bool:
    passages = facts.examples * max(1.0, text.length / MASKED_TEXT)
    minutes = MINUTES if facts.minutes is None else facts.minutes
    return facts.task == "mlm" and passages < FEW_PASSAGES * minutes


def _patch(side: int, rows: float) -> int:
    """The smallest patch that divides ``side`` into at most ``rows``."""
    return next(patch for patch in range(1, side + 1) if side % patch == 0 and side / patch <= rows)


def _video(measured: VideoConfig) -> VideoConfig:
    side = min(FRAME_SIDE, measured.size[0])
    side -= side % 2 ** halvings(side, CLIP_SIDE)
    patch = _patch(side, FRAME_ROWS**0.5)
    count = side // patch
    frames = ceil(measured.frames / (CLIP_ROWS // count**2))
    return replace(
        measured,
        size=(side, side),
        patch=(frames, patch, patch),
        bands=max(1, min(MOST_BANDS, max(ceil(measured.frames / frames), count) // 2)),
        crop=CROP,
        flip=0.5,
        colour=COLOUR,
    )


def _pair(measured: PairConfig) -> PairConfig:
    height, width = (min(PAIR_SIDE, side) for side in measured.size)
    return replace(
        measured,
        size=(height, width),
        window=(PAIR_WINDOW, PAIR_WINDOW),
        channels=64,
        bands=max(1, min(PAIR_BANDS, max(height, width) // 2)),
        flip=0.5,
        colour=COLOUR,
    )


def _volume(measured: VolumeConfig) -> VolumeConfig:
    return replace(measured, bands=max(1, min(MOST_BANDS, max(measured.grid) // 2)), crop=CROP, contrast=CONTRAST)


def _points(measured: PointsConfig) -> PointsConfig:
    return replace(
        measured,
        points=min(1024, measured.points),
        bands=16,
        resolution=40.0,
        scale=1.2,
        jitter=0.005,
        rotation=10.0,
    )


def _text_beside_stem(measured: TextConfig, facts: Facts) -> dict[str, Any]:
    """No byte is hidden: it would spoil every n-gram around it. Masked text stays as short as it is."""
    return {"blank": 0.0, "length": measured.length} if facts.per_example else {"blank": 0.0}


def _masked_text(measured: TextConfig) -> TextConfig:
    length = min(MASKED_TEXT, measured.length)
    return replace(
        measured,
        length=length,
        positions="fourier",
        bands=max(1, length // 4),
        channels=128,
    )


# What a table lacks is treated like all others.
INPUTS: dict[str, Callable[[Any], Any]] = {
    "image": _image,
    "text": lambda measured: replace(measured, length=min(PASSAGE, measured.length), passages=PASSAGES),
    "pair": _pair,
    "points": _points,
    "video": _video,
    "volume": _volume,
}
BESIDE_STEM: dict[str, Callable[[Any, Facts], dict[str, Any]]] = {
    "table": lambda measured, facts: NOISE if facts.examples >= FEW_LINES else NOISE_OF_FEW,
    "text": _text_beside_stem,
}
INPUTS_OF_TASK: dict[str, dict[str, Callable[[Any], Any]]] = {"mlm": {"text": _masked_text}}
