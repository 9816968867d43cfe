"""``auto``: sizes, positions, augmentation and schedule from the shape and amount of data and the time given.

The rules, all of them:

=========== ==================================================================================================
rows        patches are as small as leaves at most 256 rows of a picture, 64 of a frame of video and 2,048 of a clip
video       at most 64 pixels a side: what a small machine can see often enough to learn from
bands       half the rows along an axis (their Nyquist frequency), at most 32
model       64 latents × 256 and eight layers, less below 5,000 examples and below 500 (LADDER); pictures are read
            four times, other signals twice: the paper reads pictures eight times, points and sound twice
hurry       one step down that ladder where a minute has to do for more than 1,000 examples that have one answer each
points      at most 1,024 are read; training leaves out half of them where there are more than 512 (and nothing else)
several     signals of an example are each treated by their own rules and read together, as often as the one that is
            read most; training takes the one with the most rows away from 0.3 of the examples, as the paper does
crop, flip  training crops leave at least 0.6 of the area; colour pictures and all video are mirrored, grey pictures
            (digits, letters, spectra) are not; the colours of video are varied by a fifth
pairs       a row per pixel of at most 32 × 32, with the 9 × 9 pixels around it in both frames; each pixel's motion is
            added to what is asked of it; a small model, for what moves a pixel is near it; 256 pixels are asked for at
            a time; made motion is of a quarter of a frame at most; larger frames are answered tile by tile, from coarse
            to fine at four sizes
hidden      to learn signals without labels, 0.75 of the rows of pictures, sound and video, 0.15 of text and half of
            other signals; 1,024 places of each are asked for at a time
words       to fill in words, 256 bytes are read at a time, with Fourier features of their places
places      where the hidden places of a signal are asked for, attention starts at places, with several heads a read:
            nothing else is learned before a query can find its place (docs/decisions/0009)
epochs      100,000 examples' worth, at least 30 and at most 300 passes; of motion, as many as there is time for
batch       64, 32 below 2,000 examples, 16 below 500; 16 where every place of an example is asked for
time        20 minutes unless said otherwise
=========== ==================================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Literal, TypeAlias

from ..modalities import FusionConfig, build_modality
from ..nn import DecoderConfig, EncoderConfig
from ..tasks import FlowConfig, MLMConfig, ReconstructConfig
from ..tasks.warps import WarpConfig
from .recipe import RecipeConfig

MINUTES = 20.0  # when nothing is said
ROWS = 256  # of a picture
FRAME_SIDE, FRAME_ROWS, CLIP_ROWS = 64, 64, 2048  # of video: pixels, rows of a frame and of a clip
CROP = 0.6
COLOUR = 0.2
SEEN = 100_000  # examples a run sees, where time allows
LADDER = ((5000, 64, 256, 8), (500, 48, 192, 6), (0, 32, 128, 4))  # from examples up: latents, width, layers
MOST_BANDS = 32
PAIR_SIDE, PAIR_WINDOW, PAIR_BANDS = 32, 9, 8  # of frames whose motion is learned: pixels, and those around each
FILLED = 256  # bytes of a text in which words are filled in
MOTION = EncoderConfig(
    num_latents=32,
    latent_channels=96,
    cross_attention=(0,),
    latent_transformer=(0,),
    num_layers=2,
    num_self_attention_heads=3,
    qk_channels=96,
    value_channels=96,
)
HIDDEN = {"image": 0.75, "audio": 0.75, "video": 0.75, "text": 0.15}
ASKED = 1024  # places of a signal
DROPOUT = 0.3  # of the signal with the most rows
HURRIED = 1000  # examples for each minute, from which a smaller model learns more in the time


Everywhere: TypeAlias = Literal["reconstruct", "mlm", "flow"]


@dataclass(frozen=True)
class Facts:
    """What the rules look at besides the signal's own shape.

    Attributes:
        examples: to train on.
        minutes: the time given; None: not said.
        everywhere: what is asked of every place of the signal; None: the signal is asked about as a whole.
    """

    examples: int
    minutes: float | None
    everywhere: Everywhere | None = None


def choose_inputs(measured: Any, facts: Facts) -> Any:
    """Patches, positions and augmentation: the measured configuration with the rules' values."""
    if isinstance(measured, FusionConfig):
        parts = {name: choose_inputs(part, facts) for name, part in measured.modalities.items()}
        largest = max(parts, key=lambda name: parts[name].num_rows)
        return replace(measured, modalities=parts, dropout={largest: DROPOUT})
    rule = {"image": _image, "pair": _pair, "points": _points, "text": _text, "video": _video}.get(measured.kind)
    return measured if rule is None else rule(measured, facts)


def choose_encoder(inputs: Any, facts: Facts) -> EncoderConfig:
    """The size of the model."""
    if facts.everywhere == "flow":
        return MOTION
    rung = next(place for place, (least, *_) in enumerate(LADDER) if facts.examples >= least)
    if facts.everywhere is None and minutes(facts) * HURRIED < facts.examples:
        rung = min(rung + 1, len(LADDER) - 1)
    _, latents, width, layers = LADDER[rung]
    parts = inputs.modalities.values() if isinstance(inputs, FusionConfig) else [inputs]
    steps = max(4 if part.kind == "image" else 2 for part in parts)
    encoder = EncoderConfig(
        num_latents=latents,
        latent_channels=width,
        cross_attention=(0, *[1] * (steps - 1)),
        latent_transformer=tuple(range(steps)),
        num_layers=max(1, layers // steps),
        num_self_attention_heads=width // 32,
    )
    if facts.everywhere is None:
        return encoder
    return replace(encoder, num_cross_attention_heads=width // 32, qk_channels=width, value_channels=width)


def choose_decoder(encoder: EncoderConfig, facts: Facts) -> DecoderConfig | None:
    """How queries are answered; None: the mean of the latents is."""
    if facts.everywhere is None:
        return None
    if facts.everywhere == "flow":
        return DecoderConfig(num_heads=3, qk_channels=96, mlp_ratio=2)
    return DecoderConfig(num_heads=encoder.num_self_attention_heads, query_residual=facts.everywhere != "mlm")


def minutes(facts: Facts) -> float:
    """The time there is."""
    return MINUTES if facts.minutes is None else facts.minutes


def choose_recipe(inputs: Any, facts: Facts) -> RecipeConfig:
    """How it is trained."""
    whole, moves = facts.everywhere is None, facts.everywhere == "flow"
    return RecipeConfig(
        epochs=None if moves else float(min(300, max(30, SEEN // facts.examples))),
        minutes=minutes(facts),
        batch_size=64 if whole and facts.examples >= 2000 else 32 if whole and facts.examples >= 500 else 16,
        optimizer="muon",
        learning_rate=5e-3 if moves else 2e-3,
        weight_decay=0.05,
        warmup=0.05,
        label_smoothing=0.1 if whole else 0.0,
        attention_init="default" if whole or moves else "aligned",
        drop_rows=0.5 if inputs.kind == "points" and inputs.points > 512 else 0.0,
        ema_decay=0.998,
    )


def choose_reconstruction(inputs: Any) -> ReconstructConfig:
    """What is hidden and asked for where a signal is learned without labels."""
    modalities = build_modality(inputs).modalities
    return ReconstructConfig(
        mask_ratio={modality.name: HIDDEN.get(modality.kind, 0.5) for modality in modalities},
        num_queries={modality.name: ASKED for modality in modalities if modality.num_rows > ASKED},
    )


def choose_mlm(inputs: Any) -> MLMConfig:
    """How words are filled in: with logits of about 1 at the start."""
    return MLMConfig(scale=inputs.channels**-0.5)


def choose_flow(inputs: Any) -> FlowConfig:
    """How motion is learned, and what is made up where pictures show none."""
    return FlowConfig(scale=1.0, num_queries=256, warps=WarpConfig(motion=max(inputs.size) / 4), pyramid_levels=4)


def _image(measured: Any, facts: Facts) -> Any:
    side = measured.size[0]
    patch = max(1, ceil(side / ROWS**0.5))
    count = max(1, side // patch)
    return replace(
        measured,
        size=(patch * count, patch * count),
        patch=(patch, patch),
        bands=max(1, min(MOST_BANDS, count // 2)),
        crop=CROP,
        flip=0.5 if measured.channels == 3 else 0.0,
    )


def _video(measured: Any, facts: Facts) -> Any:
    side = min(FRAME_SIDE, measured.size[0])
    patch = max(1, ceil(side / FRAME_ROWS**0.5))
    count = max(1, side // patch)
    frames = ceil(measured.frames / (CLIP_ROWS // count**2))
    return replace(
        measured,
        size=(patch * count, patch * count),
        patch=(frames, patch, patch),
        bands=max(1, min(MOST_BANDS, max(ceil(measured.frames / frames), count) // 2)),
        crop=CROP,
        flip=0.5,
        colour=COLOUR,
    )


def _pair(measured: Any, facts: Facts) -> Any:
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


def _text(measured: Any, facts: Facts) -> Any:
    if facts.everywhere != "mlm":
        return measured
    length = min(FILLED, measured.length)
    return replace(measured, length=length, positions="fourier", bands=max(1, length // 4), channels=192, blank=0.0)


def _points(measured: Any, facts: Facts) -> Any:
    return replace(
        measured,
        points=min(1024, measured.points),
        bands=16,
        resolution=40.0,
        scale=1.2,
        jitter=0.005,
        rotation=10.0,
    )
