"""The sizes that ``auto`` chooses, and the task where the labels do not say it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from ...modalities import ModalityConfig, PairConfig, TextConfig
from ...nn import DecoderConfig, EncoderConfig
from ...tasks import TASKS, FlowConfig, MLMConfig, ReconstructConfig, TaskConfig
from ...tasks.warps import WarpConfig
from .facts import MINUTES, Facts, parts_of

PLAIN_LADDER = ((5000, 64, 256, 8), (500, 48, 192, 6), (0, 32, 128, 4))  # from examples: latents, channels, layers
LADDER = ((500, 32, 192, 4), (0, 32, 128, 4))  # where every signal has a stem
SHORT_RUN = 1000  # examples for each minute, from which a smaller model learns more in the time
QUERIES = 1024  # of a modality, at a time
CROSS_ATTENDS = {"image": 4}  # 2 otherwise
STEM_CROSS_ATTENDS = {"text": 1}  # 2 otherwise
TEXT_LAYERS = 1  # behind a stem, for one answer; docs/decisions/0014
POINTER = 64  # channels; docs/decisions/0014
RENAMED_OF_FEW = 0.5  # of the words that a passage repeats; docs/decisions/0014
MASK_RATIOS = {"image": 0.75, "audio": 0.75, "video": 0.75, "volume": 0.75, "text": 0.15}  # 0.5 otherwise


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
    if facts.per_example and has_stems and inputs.kind == "text":
        layers = TEXT_LAYERS
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
        return "linear" if is_in_order_of_time(inputs, facts) else None
    decoder = DecoderConfig(num_heads=encoder.num_self_attention_heads)
    return replace(decoder, **DECODERS.get(facts.task, {}))


def is_in_order_of_time(inputs: ModalityConfig, facts: Facts) -> bool:
    """Whether latents start as moments of the signal and keep weights of their own: behind the stem of video alone,
    whose rows are its moments (docs/decisions/0019)."""
    return facts.stems and inputs.kind == "video"


def choose_task(inputs: ModalityConfig, facts: Facts) -> TaskConfig | None:
    """The task's configuration; None: the labels of the data determine it."""
    if facts.task in TASK_CONFIGS:
        return TASK_CONFIGS[facts.task](inputs)
    return None if TASKS[facts.task].label_type else TASKS[facts.task].configure()


def _reconstruct(inputs: ModalityConfig) -> ReconstructConfig:
    parts = parts_of(inputs)
    return ReconstructConfig(
        mask_ratio={name: MASK_RATIOS.get(part.kind, 0.5) for name, part in parts.items()},
        num_queries={name: QUERIES for name, part in parts.items() if part.num_rows > QUERIES},
    )


def _mlm(inputs: TextConfig) -> MLMConfig:
    """With logits of about 1 at the start. Words get other letters where channels of the stem are dropped: where there
    are few passages, whose names are learned by heart."""
    few = inputs.stem is not None and inputs.stem.dropout > 0
    renamed = RENAMED_OF_FEW if few else 0.0
    return MLMConfig(scale=inputs.channels**-0.5, queries="rows", training_share=0.5, renamed=renamed, pointer=POINTER)


def _flow(inputs: PairConfig) -> FlowConfig:
    """With synthetic motion for data that are single pictures."""
    return FlowConfig(scale=1.0, num_queries=256, warps=WarpConfig(motion=max(inputs.size) / 4), pyramid_levels=4)


# What a table lacks is treated like all others.
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
    "mlm": {"mlp_ratio": 4},
}
TASK_CONFIGS: dict[str, Callable[[Any], TaskConfig]] = {"reconstruct": _reconstruct, "mlm": _mlm, "flow": _flow}
