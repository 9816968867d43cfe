"""Which checkpoints there are: the table of names of each, and how its configuration is told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import isqrt
from typing import Any, TypeAlias

from torch import Tensor

from ...config import from_dict, override, to_dict
from ...errors import InputError
from .. import presets
from ..perceiver import PerceiverConfig
from .names import Compat, Name, Weights, named, turned

Row: TypeAlias = tuple[str, str, str, str]  # what it is, our name, transformers', haiku's
About: TypeAlias = Mapping[str, Any]  # transformers' config.json

# -- names -----------------------------------------------------------------------------------------------------------


def _encoder(scope: str = "perceiver_encoder") -> tuple[Row, ...]:
    return (
        ("same", "encoder.latents", "perceiver.embeddings.latents", f"{scope}/~/trainable_position_encoding/pos_embs"),
        (
            "cross-attention",
            "encoder.cross_attention.0",
            "perceiver.encoder.cross_attention",
            f"{scope}/~/cross_attention",
        ),
        (
            "self-attention",
            "encoder.latent_transformer.0.{layer}",
            "perceiver.encoder.self_attends.{layer}",
            f"{scope}/~/self_attention{{_layer}}",
        ),
    )


def _decoder(scope: str) -> tuple[Row, ...]:
    theirs = "perceiver.decoder.decoder"
    return (
        (
            "cross-attention",
            "decoder.cross_attention",
            f"{theirs}.decoding_cross_attention",
            f"{scope}/~/basic_decoder/cross_attention",
        ),
        ("linear", "decoder.linear", f"{theirs}.final_layer", f"{scope}/~/basic_decoder/output"),
    )


LABEL_QUERY = "classification_decoder/~/basic_decoder/~/trainable_position_encoding/pos_embs"
CLASSIFIER: tuple[Row, ...] = (
    *_encoder(),
    *_decoder("classification_decoder"),
    (
        "same",
        "task.learned_queries.table",
        "perceiver.decoder.decoder.output_position_encodings.position_embeddings",
        LABEL_QUERY,
    ),
)
LEARNED: tuple[Row, ...] = (
    *CLASSIFIER,
    (
        "convolution",
        "inputs.stem.convolution",
        "perceiver.input_preprocessor.convnet_1x1",
        "image_preprocessor/~/conv2_d",
    ),
    (
        "same",
        "inputs.stem.position_embedding.table",
        "perceiver.input_preprocessor.position_embeddings.position_embeddings",
        "image_preprocessor/~_build_network_inputs/trainable_position_encoding/pos_embs",
    ),
    (
        "linear",
        "inputs.stem.projection",
        "perceiver.input_preprocessor.positions_projection",
        "image_preprocessor/~_build_network_inputs/position_encoding_projector/linear",
    ),
)
CONV: tuple[Row, ...] = (
    *CLASSIFIER,
    (
        "kernel",
        "inputs.stem.convolution.weight",
        "perceiver.input_preprocessor.convnet.conv.weight",
        "image_preprocessor/~/conv2_d_downsample/~/conv/w",
    ),
    (
        "batch norm",
        "inputs.stem.norm",
        "perceiver.input_preprocessor.convnet.batchnorm",
        "image_preprocessor/~/conv2_d_downsample/~/batchnorm",
    ),
)
BYTES: tuple[Row, ...] = (
    *_encoder(),
    (
        "same",
        "task.learned_queries.table",
        "perceiver.decoder.output_position_encodings.position_embeddings",
        "basic_decoder/~/trainable_position_encoding/pos_embs",
    ),
    (
        "cross-attention",
        "decoder.cross_attention",
        "perceiver.decoder.decoding_cross_attention",
        "basic_decoder/cross_attention",
    ),
    ("same", "task.bias", "embedding_decoder.bias", "embedding_decoder/bias"),
    ("same", "inputs.byte_embedding.weight", "perceiver.input_preprocessor.embeddings.weight", "embed/embeddings"),
    (
        "same",
        "inputs.position_embedding.table",
        "perceiver.input_preprocessor.position_embeddings.weight",
        "trainable_position_encoding/pos_embs",
    ),
)

FLOW: tuple[Row, ...] = (
    *_encoder(),
    *_decoder("flow_decoder"),
    ("linear", "inputs.linear", "perceiver.input_preprocessor.conv_after_patches", "image_preprocessor/patches_linear"),
)


def _sense(ours: str, theirs: str, head: str) -> tuple[Row, ...]:
    """What the autoencoder has of one signal: its modality_embeddings, the token where it is hidden, and its last
    layer."""
    read, asked = "multimodal_preprocessor", "multimodal_decoder/~decoder_query"
    return (
        (
            "squeezed",
            f"inputs.modality_embeddings.of_{ours}",
            f"perceiver.input_preprocessor.padding.{theirs}",
            f"{read}/{theirs}_padding/pos_embs",
        ),
        (
            "squeezed",
            f"task.mask_tokens.of_{ours}",
            f"perceiver.input_preprocessor.mask.{theirs}",
            f"{read}/{theirs}_mask_token/pos_embs",
        ),
        (
            "squeezed",
            f"task.modality_embeddings.of_{ours}",
            f"perceiver.decoder.padding.{theirs}",
            f"{asked}/{theirs}_padding/pos_embs",
        ),
        (
            "linear",
            f"task.heads.of_{ours}",
            f"perceiver.output_postprocessor.modalities.{theirs}.classifier",
            f"{head}_postprocessor/linear",
        ),
    )


KINETICS: tuple[Row, ...] = (
    *_encoder("encoder"),
    *_decoder("multimodal_decoder"),
    (
        "same",
        "task.learned_queries.of_label.table",
        "perceiver.decoder.modalities.label.decoder.output_position_encodings.position_embeddings",
        LABEL_QUERY,
    ),
    *_sense("audio", "audio", "audio"),
    *_sense("video", "image", "projection"),
    *_sense("label", "label", "classification"),
)

# -- sizes and settings ----------------------------------------------------------------------------------------------


def _side(name: str, axis: int) -> Callable[[Weights], int]:
    """A size that is a side of a weight."""
    return lambda weights: weights[name].shape[axis]


def _square(name: str) -> Callable[[Weights], list[int]]:
    """The two sides of a square of as many places as a weight has rows."""
    return lambda weights: [isqrt(len(weights[name]))] * 2


def _least(prefix: str) -> Callable[[Weights], int]:
    """The length of the shortest modality_embedding: that of the signal with the most channels."""
    return lambda weights: min(len(tensor) for name, tensor in weights.items() if name.startswith(prefix))


# Places in a PerceiverConfig, and where their values are read off.
SIZES: dict[str, Callable[[Weights], Any]] = {
    "encoder.num_latents": _side("encoder.latents", 0),
    "encoder.latent_channels": _side("encoder.latents", 1),
}
WRITE_SIZES = {
    "decoder.qk_channels": _side("decoder.cross_attention.attention.query.weight", 0),
    "decoder.value_channels": _side("decoder.cross_attention.attention.value.weight", 0),
}
IMAGE_SIZES = {**SIZES, "decoder.query_channels": _side("task.learned_queries.table", 1)}

# What transformers' config.json says beside them: its name, our place, the value where it says nothing.
HF_SETTINGS = (
    ("num_cross_attention_heads", "encoder.num_cross_attention_heads", 8),
    ("num_self_attention_heads", "encoder.num_self_attention_heads", 8),
    ("cross_attention_widening_factor", "encoder.cross_attention_mlp_ratio", 1),
    ("self_attention_widening_factor", "encoder.self_attention_mlp_ratio", 1),
)
# What it must say, for there is no other model here.
HF_FIXED = {"hidden_act": "gelu", "use_query_residual": True, "cross_attention_shape_for_attention": "kv"}

Settings: TypeAlias = Mapping[str, Any]
EXACT: Settings = {"encoder.gelu": "erf", "decoder.gelu": "erf"}
TANH: Settings = {"encoder.gelu": "tanh", "decoder.gelu": "tanh"}


def _films(about: About) -> Settings:
    """The sizes of films and of their sound, on which no weight depends."""
    frames, side = int(about.get("num_frames", 16)), int(about.get("image_size", 56))
    samples = frames * int(about.get("audio_samples_per_frame", 1920))
    size = list(about.get("output_shape", (1, 16, 224, 224)))[2:]
    return {
        "inputs.modalities.video.frames": frames,
        "inputs.modalities.video.size": size,
        "inputs.modalities.video.resolution": [frames, side, side],
        "inputs.modalities.audio.samples": samples,
        "inputs.modalities.audio.resolution": [samples],
    }


@dataclass(frozen=True)
class Published:
    """A published checkpoint.

    Attributes:
        preset: the model it is.
        architecture: the class of ``transformers`` it is.
        names: the table.
        sizes: places in a :class:`PerceiverConfig`, and where their values are read off.
        compat: what each of the two sources computes its own way: places and values.
        classes: the weight with a row for each class, and the place of their names; None: it has no classes.
        told: places and values that only ``config.json`` tells.
        unused: haiku's names of what is in the file and of no use here.
    """

    preset: str
    architecture: str
    names: tuple[Name, ...]
    sizes: Mapping[str, Callable[[Weights], Any]]
    compat: Mapping[Compat, Settings]
    classes: tuple[str, str] | None = None
    told: Callable[[About], Settings] | None = None
    unused: tuple[str, ...] = field(default=())

    def table(self, layers: int) -> list[Name]:
        """The names of every weight of a model with so many layers in a process."""
        rows: list[Name] = []
        for name in self.names:
            rows += [name.at(layer) for layer in range(layers)] if "{layer}" in name.ours else [name]
        return rows

    def layers(self, weights: Iterable[str], origin: Compat) -> int:
        """How many layers a process has, by the highest that any weight is in; at least one."""
        known, layers = set(weights), 1
        repeated = [name for name in self.names if "{layer}" in name.ours]
        for layer in range(len(known)):
            if any(getattr(name.at(layer), origin) in known for name in repeated):
                layers = layer + 1
        return layers

    def differences(self, weights: Iterable[str], origin: Compat) -> tuple[list[str], list[str]]:
        """The weights that are lacking and those that are not known, by the names of their source."""
        found = set(weights)
        wanted = {getattr(name, origin) for name in self.table(self.layers(found, origin))}
        if origin == "jax":
            found -= set(self.unused)
        return sorted(wanted - found), sorted(found - wanted)

    def renamed(self, weights: Weights, origin: Compat, compat: Compat) -> dict[str, Tensor]:
        """The same weights by our names, turned as ours are; they must be all there."""
        result = {}
        for name in self.table(self.layers(weights, origin)):
            tensor = turned(weights[getattr(name, origin)], name.turn, origin)
            if name.turn == "kernel" and origin != compat:
                tensor = tensor.mT  # transformers has the authors' kernels with height and width swapped
            result[name.ours] = tensor
        return result

    def config(self, weights: Weights, compat: Compat, about: About) -> PerceiverConfig:
        """The model's configuration: the preset's, with the sizes of these weights.

        Args:
            weights: by our names.
            compat: whose arithmetic.
            about: the ``config.json`` of ``transformers``; empty: there is none.

        Raises:
            InputError: ``about`` describes a model that is not here.
        """
        for key, value in HF_FIXED.items():
            if about.get(key, value) != value:
                raise InputError(f"config.json: {key} is {about[key]!r}; only {value!r} can be imported")
        layers = 1 + max(
            int(name.split(".")[3]) for name in weights if name.startswith("encoder.latent_transformer.0.")
        )
        settings: dict[str, Any] = {"encoder.num_layers": layers}
        settings |= {place: size(weights) for place, size in self.sizes.items()}
        if about:
            settings |= {place: about.get(key, default) for key, place, default in HF_SETTINGS}
            blocks = about.get("num_blocks", 1)
            settings |= {
                "encoder.cross_attention": [0, *[None] * (blocks - 1)],
                "encoder.latent_transformer": [0] * blocks,
            }
            settings |= {} if self.told is None else self.told(about)
        if self.classes is not None:
            weight, place = self.classes
            names = class_names(len(weights[weight]), about)
            if names:
                settings[place] = names
            elif place == "task.classes":  # a class has a name; a label may be a number
                settings[place] = [f"class {number}" for number in range(len(weights[weight]))]
        settings |= self.compat[compat]
        lines = [f"{place}={json.dumps(value, ensure_ascii=False)}" for place, value in settings.items()]
        return from_dict(
            PerceiverConfig, override(to_dict(presets.load(self.preset).model()), lines), where=self.preset
        )


_BATCH_NORM = "image_preprocessor/~/conv2_d_downsample/~/batchnorm/~/"
_IMAGE_CLASSES = ("decoder.linear.weight", "task.classes")

CHECKPOINTS: dict[str, Published] = {
    "learned": Published(
        preset="perceiver-io-imagenet-learned",
        architecture="PerceiverForImageClassificationLearned",
        names=named(*LEARNED),
        sizes={
            **IMAGE_SIZES,
            "inputs.size": _square("inputs.stem.position_embedding.table"),
            "inputs.stem.channels": _side("inputs.stem.position_embedding.table", 1),
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
        names=named(*CLASSIFIER),
        sizes=IMAGE_SIZES,
        compat={"hf": EXACT, "jax": TANH},
        classes=_IMAGE_CLASSES,
    ),
    "conv": Published(
        preset="perceiver-io-imagenet-conv",
        architecture="PerceiverForImageClassificationConvProcessing",
        names=named(*CONV),
        sizes={**IMAGE_SIZES, "inputs.stem.channels": _side("inputs.stem.convolution.weight", 0)},
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
        names=named(*BYTES),
        sizes={
            **SIZES,
            **WRITE_SIZES,
            "inputs.length": _side("inputs.position_embedding.table", 0),
            "inputs.channels": _side("inputs.position_embedding.table", 1),
            "encoder.qk_channels": _side("encoder.cross_attention.0.attention.query.weight", 0),
            "encoder.value_channels": _side("encoder.cross_attention.0.attention.value.weight", 0),
        },
        compat={"hf": EXACT, "jax": TANH},
    ),
    "kinetics": Published(
        preset="perceiver-io-kinetics",
        architecture="PerceiverForMultimodalAutoencoding",
        names=named(*KINETICS),
        sizes={
            **SIZES,
            **WRITE_SIZES,
            "inputs.modality_channels": _least("inputs.modality_embeddings."),
            "inputs.modalities.audio.patch": lambda weights: [len(weights["task.heads.of_audio.weight"]), 1],
            "inputs.modalities.label.classes": _side("task.heads.of_label.weight", 0),
            "decoder.query_channels": _side("task.learned_queries.of_label.table", 1),
            "task.modality_channels": _least("task.modality_embeddings."),
            "task.output_channels": _side("decoder.linear.weight", 0),
        },
        compat={"hf": EXACT, "jax": TANH},
        classes=("task.heads.of_label.weight", "inputs.modalities.label.names"),
        told=_films,
    ),
    "flow": Published(
        preset="perceiver-io-flow",
        architecture="PerceiverForOpticalFlow",
        names=named(*FLOW),
        sizes={**SIZES, **WRITE_SIZES, "inputs.channels": _side("inputs.linear.weight", 0)},
        compat={"hf": EXACT, "jax": TANH},
        told=lambda about: {"inputs.size": list(about.get("train_size", (368, 496)))},
    ),
}


def class_names(count: int, about: About) -> list[str]:
    """What ``config.json`` calls so many classes, each name once; none where it does not.

    >>> class_names(3, {"id2label": {"0": "crane", "1": "crane", "2": "tench"}})
    ['crane (0)', 'crane (1)', 'tench']
    >>> class_names(2, {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}})
    []
    """
    told = about.get("id2label") or {}
    names = [str(told.get(str(number), f"LABEL_{number}")) for number in range(count)]
    if len(told) != count or names == [f"LABEL_{number}" for number in range(count)]:
        return []
    often = Counter(names)  # a bird and a machine of ImageNet are both called crane
    return [f"{name} ({number})" if often[name] > 1 else name for number, name in enumerate(names)]
