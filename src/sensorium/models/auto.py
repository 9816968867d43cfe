"""``auto``: sizes, positions, augmentation and schedule from the shape and amount of data and the time given.

The rules, all of them:

============= ================================================================================================
stems         a small local network before the rows of every signal on a grid, of text and of points (auto_stems.py),
              where the task has one answer for each example, and for masked words and flow
rows          without a stem, a patch is as small as leaves at most 256 rows of a picture, 64 of a video frame and 2,048
              of a clip
volume        at most 64 voxels and 2,048 patches, as measured; training varies brightness and contrast by a tenth
video         at most 64 pixels a side: what a small machine can show the model often enough
bands         half the rows along an axis (their Nyquist frequency), at most 32
model         behind stems 32 latents of 192 channels and four layers, less below 500 examples (``LADDER``); signals
              are attended to twice, text once. Without stems 64 latents of 256 channels and eight layers, less below
              5,000 examples and below 500 (``PLAIN_LADDER``); a picture is then attended to four times: the paper has
              eight cross-attends for pictures, two for points and sound
text          behind a stem up to 8,192 bytes at a time, of which training leaves out 0.75, and 0.875 from 512 bytes
              on: the n-grams of neighbours overlap, and words are to be missing (docs/decisions/0014); otherwise, and
              beside other signals, 2,048 bytes; evaluation averages over four passages of longer texts
short runs    one step down that ladder where there are more than 1,000 examples for each minute of training and the
              task has one answer for each example
sound         windows of at most 10 seconds; over longer clips evaluation averages up to 16 windows that overlap by half
points        at most 1,024 points of a cloud, a row for eight of them; without a stem, training leaves out half of the
              rows where there are more than 512
several       each signal is treated by its own rules, and they are attended to together, as often as the one that is
modalities    attended to most; training masks the one with the most patches in 0.3 of the examples, as the paper does
crop, flip    a training crop keeps at least 0.6 of the area. Pictures of several channels and all video are mirrored;
              grey pictures (digits, letters, spectra) are not. The colours of video vary by a fifth, those of pictures
              by two fifths where there are fewer than 1,000 to learn from: else they are learned by heart
flow          a row for each pixel of a frame of at most 32 × 32, which a stem compares with the pixels around it in
              the other frame (without one, the row holds the 9 × 9 pixels around it in both frames); a small model,
              because what a pixel matches is near it; training asks for 256 pixels at a time; synthetic motion is at
              most a quarter of a frame; a larger frame is answered tile by tile, from coarse to fine at four sizes
reconstruct   the share of rows that is masked is 0.75 in pictures, sound and video, 0.15 in text and 0.5 in other
              signals; training asks for 1,024 rows of each modality at a time
mlm           256 bytes at a time, with Fourier features of their positions; the queries are the input's rows; training
              hides half of the words, evaluation 0.15; one step down the ladder, and twice the learning rate; of fewer
              than 2,500 passages for each minute, which are learned by heart, training drops a tenth of the channels
aligned start with ``reconstruct`` and ``mlm``, attention starts where positions agree, with several cross-attention
              heads: nothing is learned before a query finds its row (docs/decisions/0009); with video alone, too, so
              that latents start as moments
decoder       of one answer for each example, the mean of the latents and a linear layer; of video alone a linear layer
              on all latents, each with weights of its own (docs/decisions/0019)
tables        training varies numbers by a tenth of their standard deviation and hides a fifth of the values; with fewer
              than 1,000 lines to learn from, which are soon learned by heart, by a fifth and 0.3 (docs/decisions/0020)
epochs        150,000 examples in all, but 30 to 300 epochs; 20 of tables; flow trains as long as there is time
batch size    64; 32 below 2,000 examples, 16 below 500, and 16 where the task has an answer for every row
time          20 minutes unless given
============= ================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Literal

from ..modalities import (
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
from ..nn import DecoderConfig, EncoderConfig
from ..nn.stems import NGramStemConfig
from ..tasks import TASKS, FlowConfig, MLMConfig, ReconstructConfig, TaskConfig
from ..tasks.warps import WarpConfig
from .auto_stems import CLIP_SIDE, PICTURE_ROWS, STEMS, STEMS_OF_TASK, halvings
from .backbones import BackboneConfig
from .perceiver import PerceiverConfig
from .recipe import RecipeConfig

MINUTES = 20.0  # where no time is given
PLAIN_PICTURE_ROWS = 256
FRAME_SIDE, FRAME_ROWS, CLIP_ROWS = 64, 64, 2048  # of video: pixels, rows of a frame and of a clip
CROP = 0.6
COLOUR = 0.2
FEW_PICTURES, COLOUR_OF_FEW = 1000, 0.4  # docs/decisions/0017
CONTRAST = 0.1
TABLE_EPOCHS, FEW_LINES = 20, 1000  # docs/decisions/0020
NOISE, NOISE_OF_FEW = {"jitter": 0.1, "blank": 0.2}, {"jitter": 0.2, "blank": 0.3}
EXAMPLES_SEEN = 150_000  # by a run, where time allows
PLAIN_LADDER = ((5000, 64, 256, 8), (500, 48, 192, 6), (0, 32, 128, 4))  # from examples: latents, channels, layers
LADDER = ((500, 32, 192, 4), (0, 32, 128, 4))  # where every signal has a stem
MOST_BANDS = 32
PAIR_SIDE, PAIR_WINDOW, PAIR_BANDS = 32, 9, 8  # of frames whose motion is learned: pixels, and those around each
PASSAGE = 2048  # bytes, where each of them is a row: the paper's sentences
PASSAGES = 4  # of a long text, over which evaluation averages
MASKED_TEXT = 256  # bytes of a text whose words are masked
QUERIES = 1024  # of a modality, at a time
LONG_TEXT = 512  # bytes
FEW_PASSAGES, DROPOUT_OF_FEW = 2500, 0.1  # for each minute; of channels of the stem; docs/decisions/0014
DROPOUT = 0.3  # of the modality with the most patches
SHORT_RUN = 1000  # examples for each minute, from which a smaller model learns more in the time


@dataclass(frozen=True)
class Facts:
    """What the rules depend on besides the signal's own shape.

    Attributes:
        task: its name in ``TASKS``.
        examples: the number of training examples.
        minutes, epochs, steps: the limits given; None: not given.
        stems: whether signals have stems; False: the plain Perceiver, whose rows are patches.
    """

    task: str
    examples: int
    minutes: float | None = None
    epochs: float | None = None
    steps: int | None = None
    stems: bool = True

    @property
    def per_example(self) -> bool:
        """Whether the task has one answer for each example, rather than one for each row."""
        return TASKS[self.task].per_example


@dataclass(frozen=True)
class Choice:
    """A model and its recipe.

    Attributes:
        task: None: the labels of the data determine its configuration.
    """

    inputs: ModalityConfig
    encoder: BackboneConfig
    decoder: DecoderConfig | Literal["linear"] | None
    recipe: RecipeConfig
    task: TaskConfig | None


class Auto:
    """The preset ``auto``; a paper's preset has the same attribute and method."""

    kinds: None = None  # of the signals that it reads: any

    def choose(self, measured: ModalityConfig, facts: Facts, *, start: PerceiverConfig | None = None) -> Choice:
        """A model and a recipe for some data.

        Args:
            measured: the modality's configuration as measured on the data.
            facts: what else is known.
            start: the model whose inputs and encoder are taken over; None: a new one.
        """
        inputs = choose_inputs(measured, facts)
        encoder = choose_encoder(inputs, facts)
        decoder, recipe = choose_decoder(inputs, encoder, facts), choose_recipe(inputs, facts)
        if start is not None:
            inputs, encoder = start.inputs, start.encoder
        return Choice(inputs, encoder, decoder, recipe, choose_task(inputs, facts))


def parts_of(inputs: ModalityConfig) -> Mapping[str, SingleConfig]:
    """The configuration of each modality by its name, which is its kind where there is only one.

    >>> list(parts_of(PointsConfig()))
    ['points']
    """
    return inputs.modalities if isinstance(inputs, FusionConfig) else {inputs.kind: inputs}


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


def choose_encoder(inputs: ModalityConfig, facts: Facts) -> EncoderConfig:
    """The size of the model."""
    if facts.task in ENCODERS:
        return ENCODERS[facts.task]
    parts = parts_of(inputs).values()
    has_stems = all(getattr(part, "stem", None) is not None for part in parts)
    ladder = LADDER if has_stems else PLAIN_LADDER
    rung = next(number for number, (least, *_) in enumerate(ladder) if facts.examples >= least)
    minutes = MINUTES if facts.minutes is None else facts.minutes
    if facts.task == "mlm" or (facts.per_example and minutes * SHORT_RUN < facts.examples):
        rung = min(rung + 1, len(ladder) - 1)
    _, latents, channels, layers = ladder[rung]
    attends = STEM_CROSS_ATTENDS if has_stems else CROSS_ATTENDS
    blocks = max(attends.get(part.kind, 2) for part in parts)
    encoder = EncoderConfig(
        num_latents=latents,
        latent_channels=channels,
        cross_attention=(0, *[1] * (blocks - 1)),
        latent_transformer=tuple(range(blocks)),
        num_layers=max(1, layers // blocks),
        num_self_attention_heads=channels // 32,
    )
    if facts.per_example:
        return encoder
    return replace(encoder, num_cross_attention_heads=channels // 32, qk_channels=channels, value_channels=channels)


def choose_decoder(
    inputs: ModalityConfig, encoder: EncoderConfig, facts: Facts
) -> DecoderConfig | Literal["linear"] | None:
    """The decoder; None: the mean of the latents and a linear layer."""
    if facts.per_example:
        return "linear" if _in_order_of_time(inputs, facts) else None
    decoder = DecoderConfig(num_heads=encoder.num_self_attention_heads)
    return replace(decoder, **DECODERS.get(facts.task, {}))


def choose_recipe(inputs: ModalityConfig, facts: Facts) -> RecipeConfig:
    """How it is trained."""
    batch_size = next(size for least, size in BATCH_SIZES if facts.examples >= least) if facts.per_example else 16
    epochs = min(300, max(30, EXAMPLES_SEEN // facts.examples))
    recipe = RecipeConfig(
        epochs=float(TABLE_EPOCHS if facts.per_example and inputs.kind == "table" else epochs),
        minutes=MINUTES if facts.minutes is None else facts.minutes,
        batch_size=batch_size,
        optimizer="muon",
        learning_rate=2e-3,
        weight_decay=0.05,
        warmup=0.05,
        label_smoothing=0.1 if facts.per_example else 0.0,
        attention_init="default" if facts.per_example and not _in_order_of_time(inputs, facts) else "aligned",
        drop_rows=DROP_ROWS[inputs.kind](inputs) if facts.per_example and inputs.kind in DROP_ROWS else 0.0,
        ema_decay=0.998,
    )
    recipe = replace(recipe, **RECIPES.get(facts.task, {}))
    if facts.epochs is None and facts.steps is None:
        return recipe
    return replace(recipe, epochs=facts.epochs, minutes=facts.minutes, steps=facts.steps)


def _in_order_of_time(inputs: ModalityConfig, facts: Facts) -> bool:
    """Whether latents start as moments of the signal and keep weights of their own: behind the stem of video alone,
    whose rows are its moments (docs/decisions/0019)."""
    return facts.stems and inputs.kind == "video"


def choose_task(inputs: ModalityConfig, facts: Facts) -> TaskConfig | None:
    """The task's configuration; None: the labels of the data determine it."""
    if facts.task in TASK_CONFIGS:
        return TASK_CONFIGS[facts.task](inputs)
    return None if TASKS[facts.task].label_type else TASKS[facts.task].configure()


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


# -- by task


def _masked_text(measured: TextConfig) -> TextConfig:
    length = min(MASKED_TEXT, measured.length)
    return replace(
        measured,
        length=length,
        positions="fourier",
        bands=max(1, length // 4),
        channels=128,
    )


def _reconstruct(inputs: ModalityConfig) -> ReconstructConfig:
    parts = parts_of(inputs)
    return ReconstructConfig(
        mask_ratio={name: MASK_RATIOS.get(part.kind, 0.5) for name, part in parts.items()},
        num_queries={name: QUERIES for name, part in parts.items() if part.num_rows > QUERIES},
    )


def _mlm(inputs: TextConfig) -> MLMConfig:
    """With logits of about 1 at the start."""
    return MLMConfig(scale=inputs.channels**-0.5, queries="rows", training_share=0.5)


def _flow(inputs: PairConfig) -> FlowConfig:
    """With synthetic motion for data that are single pictures."""
    return FlowConfig(scale=1.0, num_queries=256, warps=WarpConfig(motion=max(inputs.size) / 4), pyramid_levels=4)


# The rules that differ by kind of signal or by task. What a table lacks is treated like all others.
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
CROSS_ATTENDS = {"image": 4}  # 2 otherwise
STEM_CROSS_ATTENDS = {"text": 1}  # 2 otherwise
MASK_RATIOS = {"image": 0.75, "audio": 0.75, "video": 0.75, "volume": 0.75, "text": 0.15}  # 0.5 otherwise
DROP_ROWS: dict[str, Callable[[Any], float]] = {
    "points": lambda inputs: 0.5 if inputs.num_rows > 512 else 0.0,
    "text": lambda inputs: 0.0 if inputs.stem is None else 0.875 if inputs.length >= LONG_TEXT else 0.75,
}
BATCH_SIZES = ((2000, 64), (500, 32), (0, 16))  # from examples up
ENCODERS = {
    "flow": EncoderConfig(
        num_latents=32,
        latent_channels=96,
        cross_attention=(0,),
        latent_transformer=(0,),
        num_layers=2,
        num_self_attention_heads=3,
        qk_channels=96,
        value_channels=96,
    )
}
DECODERS: dict[str, dict[str, Any]] = {
    "flow": {"qk_channels": 96, "mlp_ratio": 2},
    "mlm": {"query_residual": False},
}
RECIPES: dict[str, dict[str, Any]] = {
    "flow": {"epochs": None, "learning_rate": 5e-3, "attention_init": "default"},
    "mlm": {"learning_rate": 4e-3},
}
TASK_CONFIGS: dict[str, Callable[[Any], TaskConfig]] = {"reconstruct": _reconstruct, "mlm": _mlm, "flow": _flow}
