"""CHECKPOINTS, one readable table: the published checkpoints, their tables of names, their sizes and settings."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Any

from .checkpoint import HFConfig, Published, Settings
from .names import Weights, expanded
from .tables import BYTES, CLASSIFIER, CONV, FLOW, KINETICS, LEARNED


def _length(name: str, axis: int) -> Callable[[Weights], int]:
    """A size that is the length of one axis of a weight."""
    return lambda weights: weights[name].shape[axis]


def _grid_size(name: str) -> Callable[[Weights], list[int]]:
    """Height and width of a square grid with one row of a weight for each position."""
    return lambda weights: [isqrt(len(weights[name]))] * 2


def _shortest(prefix: str) -> Callable[[Weights], int]:
    """The length of the shortest modality embedding: that of the modality with the most channels."""
    return lambda weights: min(len(tensor) for name, tensor in weights.items() if name.startswith(prefix))


# Paths in a PerceiverConfig, and the functions that read their values off the weights.
SIZES: dict[str, Callable[[Weights], Any]] = {
    "encoder.num_latents": _length("encoder.latents", 0),
    "encoder.latent_channels": _length("encoder.latents", 1),
}
DECODER_SIZES = {
    "decoder.qk_channels": _length("decoder.cross_attention.attention.query.weight", 0),
    "decoder.value_channels": _length("decoder.cross_attention.attention.value.weight", 0),
}
IMAGE_SIZES = {**SIZES, "decoder.query_channels": _length("task.learned_queries.table", 1)}

EXACT: Settings = {"encoder.gelu": "erf", "decoder.gelu": "erf"}
TANH: Settings = {"encoder.gelu": "tanh", "decoder.gelu": "tanh"}


def _film_sizes(hf_config: HFConfig) -> Settings:
    """The sizes of films and of their sound, on which no weight depends."""
    frames, side = int(hf_config.get("num_frames", 16)), int(hf_config.get("image_size", 56))
    samples = frames * int(hf_config.get("audio_samples_per_frame", 1920))
    size = list(hf_config.get("output_shape", (1, 16, 224, 224)))[2:]
    return {
        "inputs.modalities.video.frames": frames,
        "inputs.modalities.video.size": size,
        "inputs.modalities.video.resolution": [frames, side, side],
        "inputs.modalities.audio.samples": samples,
        "inputs.modalities.audio.resolution": [samples],
    }


_BATCH_NORM = "image_preprocessor/~/conv2_d_downsample/~/batchnorm/~/"
_IMAGE_CLASSES = ("decoder.linear.weight", "task.classes")

CHECKPOINTS: dict[str, Published] = {
    "learned": Published(
        preset="perceiver-io-imagenet-learned",
        architecture="PerceiverForImageClassificationLearned",
        names=expanded(*LEARNED),
        sizes={
            **IMAGE_SIZES,
            "inputs.size": _grid_size("inputs.stem.position_embedding.table"),
            "inputs.stem.channels": _length("inputs.stem.position_embedding.table", 1),
        },
        compat={
            "hf": {**EXACT, "decoder.query_residual": True},
            "jax": {**TANH, "decoder.query_residual": False},
        },
        classes=_IMAGE_CLASSES,
    ),
    "fourier": Published(
        preset="perceiver-io-imagenet-fourier",
        architecture="PerceiverForImageClassificationFourier",
        names=expanded(*CLASSIFIER),
        sizes=IMAGE_SIZES,
        compat={"hf": EXACT, "jax": TANH},
        classes=_IMAGE_CLASSES,
    ),
    "conv": Published(
        preset="perceiver-io-imagenet-conv",
        architecture="PerceiverForImageClassificationConvProcessing",
        names=expanded(*CONV),
        sizes={**IMAGE_SIZES, "inputs.stem.channels": _length("inputs.stem.convolution.weight", 0)},
        compat={
            # The frequencies are those of 56 × 56 rows, also where there are 55 × 55.
            "hf": {**EXACT, "inputs.stem.geometry": "symmetric", "inputs.resolution": [56, 56]},
            "jax": {**TANH, "inputs.stem.geometry": "same", "inputs.resolution": [56, 56]},
        },
        classes=_IMAGE_CLASSES,
        unused=(_BATCH_NORM + "mean_ema/hidden", _BATCH_NORM + "var_ema/hidden", _BATCH_NORM + "var_ema/counter"),
    ),
    "bytes": Published(
        preset="perceiver-io-bytes",
        architecture="PerceiverForMaskedLM",
        names=expanded(*BYTES),
        sizes={
            **SIZES,
            **DECODER_SIZES,
            "inputs.length": _length("inputs.position_embedding.table", 0),
            "inputs.channels": _length("inputs.position_embedding.table", 1),
            "encoder.qk_channels": _length("encoder.cross_attention.0.attention.query.weight", 0),
            "encoder.value_channels": _length("encoder.cross_attention.0.attention.value.weight", 0),
        },
        compat={"hf": EXACT, "jax": TANH},
    ),
    "kinetics": Published(
        preset="perceiver-io-kinetics",
        architecture="PerceiverForMultimodalAutoencoding",
        names=expanded(*KINETICS),
        sizes={
            **SIZES,
            **DECODER_SIZES,
            "inputs.modality_channels": _shortest("inputs.modality_embeddings."),
            "inputs.modalities.audio.patch": lambda weights: [len(weights["task.heads.of_audio.weight"]), 1],
            "inputs.modalities.label.classes": _length("task.heads.of_label.weight", 0),
            "decoder.query_channels": _length("task.learned_queries.of_label.table", 1),
            "task.modality_channels": _shortest("task.modality_embeddings."),
            "task.output_channels": _length("decoder.linear.weight", 0),
        },
        compat={"hf": EXACT, "jax": TANH},
        classes=("task.heads.of_label.weight", "inputs.modalities.label.names"),
        config_settings=_film_sizes,
    ),
    "flow": Published(
        preset="perceiver-io-flow",
        architecture="PerceiverForOpticalFlow",
        names=expanded(*FLOW),
        sizes={**SIZES, **DECODER_SIZES, "inputs.channels": _length("inputs.linear.weight", 0)},
        compat={"hf": EXACT, "jax": TANH},
        config_settings=lambda hf_config: {"inputs.size": list(hf_config.get("train_size", (368, 496)))},
    ),
}
