"""The published Perceiver IO checkpoints: what each one is, and a table of names; ``sensorium import``.

A checkpoint is a preset and a table of three columns: our name of a weight, that of ``transformers``, and that of the
authors' haiku. Tables do not depend on sizes: those are read off the weights.

The authors' code and ``transformers`` do not compute the same from the same weights; which one is followed
(``compat``) is written into the configuration, by default the one that the file comes from, since its weights are known
to work there:

- the GELU: by tanh in the authors' code, exact in ``transformers``;
- the convolutional stem: 56 × 56 rows in the authors' code, 55 × 55 in ``transformers``;
- its kernels: the script by which the weights came to ``transformers`` swapped height and width, the authors did not;
- the learned model's answer: the query is added to it in ``transformers`` only.

Nothing in a file is ever run: weights are read as weights alone, pickles as arrays in mappings and nothing else.
"""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from . import checkpoints, presets
from .config import from_dict, override, to_dict
from .errors import InputError, did_you_mean
from .model import Model, ModelConfig

Compat: TypeAlias = Literal["hf", "jax"]  # where weights come from, and whose arithmetic they are given
Weights: TypeAlias = Mapping[str, Tensor]

# -- names -----------------------------------------------------------------------------------------------------------

# How an array of haiku's becomes a tensor of ours and of transformers': the order of its axes; None: axes of 1 go.
TURNS: dict[str, tuple[int, ...] | None] = {
    "same": (),
    "transposed": (1, 0),
    "kernel": (3, 2, 0, 1),  # height, width, in, out -> out, in, height, width
    "squeezed": None,
}

# What a row of a table stands for: a turn of one array, or further rows, whose names are added to its own.
PARTS: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "linear": (
        ("transposed", ".weight", ".weight", "/w"),
        ("same", ".bias", ".bias", "/b"),
    ),
    "norm": (
        ("same", ".weight", ".weight", "/scale"),
        ("same", ".bias", ".bias", "/offset"),
    ),
    "convolution": (
        ("kernel", ".weight", ".weight", "/w"),
        ("same", ".bias", ".bias", "/b"),
    ),
    "batch norm": (
        ("squeezed", ".weight", ".weight", "/scale"),
        ("squeezed", ".bias", ".bias", "/offset"),
        ("squeezed", ".running_mean", ".running_mean", "/~/mean_ema/average"),
        ("squeezed", ".running_var", ".running_var", "/~/var_ema/average"),
        ("squeezed", ".num_batches_tracked", ".num_batches_tracked", "/~/mean_ema/counter"),
    ),
    "attention and mlp": (
        ("linear", ".attention.query", ".attention.self.query", "/attention/linear"),
        ("linear", ".attention.key", ".attention.self.key", "/attention/linear_1"),
        ("linear", ".attention.value", ".attention.self.value", "/attention/linear_2"),
        ("linear", ".attention.out", ".attention.output.dense", "/attention/linear_3"),
        ("linear", ".mlp.0", ".mlp.dense1", "/mlp/linear"),
        ("linear", ".mlp.2", ".mlp.dense2", "/mlp/linear_1"),
    ),
    "cross-attention": (
        ("attention and mlp", "", "", ""),
        ("norm", ".query_norm", ".attention.self.layernorm1", "/layer_norm"),
        ("norm", ".input_norm", ".attention.self.layernorm2", "/layer_norm_1"),
        ("norm", ".mlp_norm", ".layernorm", "/layer_norm_2"),
    ),
    "self-attention": (
        ("attention and mlp", "", "", ""),
        ("norm", ".query_norm", ".attention.self.layernorm1", "/layer_norm"),
        ("norm", ".mlp_norm", ".layernorm", "/layer_norm_1"),
    ),
}


@dataclass(frozen=True)
class Name:
    """One weight's names, or those of the same weight of every layer.

    Attributes:
        ours, hf, jax: sensorium's, transformers', haiku's. ``{layer}`` counts the layers of a process from 0;
            ``{_layer}`` is haiku's way: nothing, ``_1``, ``_2``, …
        turn: how haiku's array becomes a tensor, one of ``TURNS``.
    """

    ours: str
    hf: str
    jax: str
    turn: str

    def at(self, layer: int) -> Name:
        """The names in one layer."""
        words = {"layer": layer, "_layer": f"_{layer}" if layer else ""}
        return Name(self.ours.format(**words), self.hf.format(**words), self.jax.format(**words), self.turn)


def named(*rows: tuple[str, str, str, str]) -> tuple[Name, ...]:
    """Rows of (what it is, our name, transformers', haiku's) spelled out to single weights.

    >>> [(name.ours, name.jax) for name in named(("linear", "decoder.linear", "final_layer", "output"))]
    [('decoder.linear.weight', 'output/w'), ('decoder.linear.bias', 'output/b')]
    """
    names: list[Name] = []
    for what, ours, hf, jax in rows:
        if what in TURNS:
            names.append(Name(ours, hf, jax, what))
        else:
            names += named(*((part, ours + a, hf + b, jax + c) for part, a, b, c in PARTS[what]))
    return tuple(names)


ENCODER = (
    (
        "same",
        "encoder.latents",
        "perceiver.embeddings.latents",
        "perceiver_encoder/~/trainable_position_encoding/pos_embs",
    ),
    (
        "cross-attention",
        "encoder.reads.0",
        "perceiver.encoder.cross_attention",
        "perceiver_encoder/~/cross_attention",
    ),
    (
        "self-attention",
        "encoder.processes.0.{layer}",
        "perceiver.encoder.self_attends.{layer}",
        "perceiver_encoder/~/self_attention{_layer}",
    ),
)
CLASSIFIER = (
    *ENCODER,
    (
        "same",
        "task.queries.table",
        "perceiver.decoder.decoder.output_position_encodings.position_embeddings",
        "classification_decoder/~/basic_decoder/~/trainable_position_encoding/pos_embs",
    ),
    (
        "cross-attention",
        "decoder.write",
        "perceiver.decoder.decoder.decoding_cross_attention",
        "classification_decoder/~/basic_decoder/cross_attention",
    ),
    (
        "linear",
        "decoder.linear",
        "perceiver.decoder.decoder.final_layer",
        "classification_decoder/~/basic_decoder/output",
    ),
)
LEARNED = (
    *CLASSIFIER,
    (
        "convolution",
        "inputs.stem.convolution",
        "perceiver.input_preprocessor.convnet_1x1",
        "image_preprocessor/~/conv2_d",
    ),
    (
        "same",
        "inputs.stem.places.table",
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
CONV = (
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
BYTES = (
    *ENCODER,
    (
        "same",
        "task.queries.table",
        "perceiver.decoder.output_position_encodings.position_embeddings",
        "basic_decoder/~/trainable_position_encoding/pos_embs",
    ),
    (
        "cross-attention",
        "decoder.write",
        "perceiver.decoder.decoding_cross_attention",
        "basic_decoder/cross_attention",
    ),
    ("same", "task.bias", "embedding_decoder.bias", "embedding_decoder/bias"),
    ("same", "inputs.bytes.weight", "perceiver.input_preprocessor.embeddings.weight", "embed/embeddings"),
    (
        "same",
        "inputs.places.table",
        "perceiver.input_preprocessor.position_embeddings.weight",
        "trainable_position_encoding/pos_embs",
    ),
)

# -- sizes and settings ----------------------------------------------------------------------------------------------


def _side(name: str, axis: int) -> Callable[[Weights], int]:
    """A size that is a side of a weight."""
    return lambda weights: weights[name].shape[axis]


def _square(name: str) -> Callable[[Weights], list[int]]:
    """The two sides of a square of as many places as a weight has rows."""
    return lambda weights: [isqrt(len(weights[name]))] * 2


# Places in a ModelConfig, and where their values are read off.
SIZES: dict[str, Callable[[Weights], Any]] = {
    "encoder.latents": _side("encoder.latents", 0),
    "encoder.width": _side("encoder.latents", 1),
}
IMAGE_SIZES = {**SIZES, "decoder.channels": _side("task.queries.table", 1)}

# What transformers' config.json says beside them: its name, our place, the value where it says nothing.
HF_SETTINGS = (
    ("num_cross_attention_heads", "encoder.read_heads", 8),
    ("num_self_attention_heads", "encoder.process_heads", 8),
    ("cross_attention_widening_factor", "encoder.read_widening", 1),
    ("self_attention_widening_factor", "encoder.process_widening", 1),
)
# What it must say, for there is no other model here.
HF_FIXED = {"hidden_act": "gelu", "use_query_residual": True, "cross_attention_shape_for_attention": "kv"}

Settings: TypeAlias = Mapping[str, Any]
EXACT: Settings = {"encoder.gelu": "erf", "decoder.gelu": "erf"}
TANH: Settings = {"encoder.gelu": "tanh", "decoder.gelu": "tanh"}


@dataclass(frozen=True)
class Published:
    """A published checkpoint.

    Attributes:
        preset: the model it is.
        architecture: the class of ``transformers`` it is.
        names: the table.
        sizes: places in a :class:`ModelConfig`, and where their values are read off.
        compat: what each of the two sources computes its own way: places and values.
        unused: haiku's names of what is in the file and of no use here.
    """

    preset: str
    architecture: str
    names: tuple[Name, ...]
    sizes: Mapping[str, Callable[[Weights], Any]]
    compat: Mapping[Compat, Settings]
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
            tensor = weights[getattr(name, origin)]
            if origin == "jax":
                tensor = _turned(tensor, name.turn)
            if name.turn == "kernel" and origin != compat:
                tensor = tensor.mT  # transformers has the authors' kernels with height and width swapped
            result[name.ours] = tensor
        return result

    def config(self, weights: Weights, compat: Compat, about: Mapping[str, Any]) -> ModelConfig:
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
        layers = 1 + max(int(name.split(".")[3]) for name in weights if name.startswith("encoder.processes.0."))
        settings: dict[str, Any] = {"encoder.layers": layers}
        settings |= {place: size(weights) for place, size in self.sizes.items()}
        if about:
            settings |= {place: about.get(key, default) for key, place, default in HF_SETTINGS}
            blocks = about.get("num_blocks", 1)
            settings |= {"encoder.reads": [0, *[None] * (blocks - 1)], "encoder.processes": [0] * blocks}
        if "decoder.linear.weight" in weights:
            settings["task.classes"] = class_names(len(weights["decoder.linear.weight"]), about)
        settings |= self.compat[compat]
        lines = [f"{place}={json.dumps(value, ensure_ascii=False)}" for place, value in settings.items()]
        return from_dict(ModelConfig, override(to_dict(presets.load(self.preset).model()), lines), where=self.preset)


_BATCH_NORM = "image_preprocessor/~/conv2_d_downsample/~/batchnorm/~/"

CHECKPOINTS: dict[str, Published] = {
    "learned": Published(
        preset="perceiver-io-imagenet-learned",
        architecture="PerceiverForImageClassificationLearned",
        names=named(*LEARNED),
        sizes={
            **IMAGE_SIZES,
            "inputs.size": _square("inputs.stem.places.table"),
            "inputs.stem.channels": _side("inputs.stem.places.table", 1),
        },
        compat={
            "hf": {**EXACT, "decoder.residual": True},
            "jax": {**TANH, "decoder.residual": False},
        },
    ),
    "fourier": Published(
        preset="perceiver-io-imagenet-fourier",
        architecture="PerceiverForImageClassificationFourier",
        names=named(*CLASSIFIER),
        sizes=IMAGE_SIZES,
        compat={"hf": EXACT, "jax": TANH},
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
        unused=(_BATCH_NORM + "mean_ema/hidden", _BATCH_NORM + "var_ema/hidden", _BATCH_NORM + "var_ema/counter"),
    ),
    "bytes": Published(
        preset="perceiver-io-bytes",
        architecture="PerceiverForMaskedLM",
        names=named(*BYTES),
        sizes={
            **SIZES,
            "inputs.length": _side("inputs.places.table", 0),
            "inputs.channels": _side("inputs.places.table", 1),
            "encoder.qk_channels": _side("encoder.reads.0.attention.query.weight", 0),
            "encoder.value_channels": _side("encoder.reads.0.attention.value.weight", 0),
            "decoder.qk_channels": _side("decoder.write.attention.query.weight", 0),
            "decoder.value_channels": _side("decoder.write.attention.value.weight", 0),
        },
        compat={"hf": EXACT, "jax": TANH},
    ),
}


def class_names(count: int, about: Mapping[str, Any]) -> list[str]:
    """What ``config.json`` calls the classes, each name once; ``class 0``, … where it does not.

    >>> class_names(3, {"id2label": {"0": "crane", "1": "crane", "2": "tench"}})
    ['crane (0)', 'crane (1)', 'tench']
    >>> class_names(2, {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}})
    ['class 0', 'class 1']
    """
    told = about.get("id2label") or {}
    names = [str(told.get(str(number), f"LABEL_{number}")) for number in range(count)]
    if len(told) != count or names == [f"LABEL_{number}" for number in range(count)]:
        return [f"class {number}" for number in range(count)]
    often = Counter(names)  # a bird and a machine of ImageNet are both called crane
    return [f"{name} ({number})" if often[name] > 1 else name for number, name in enumerate(names)]


# -- importing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Imported:
    """What came of an import.

    Attributes:
        folder: the weights folder, for ``sm.load`` and every command.
        checkpoint: which one it is, one of ``CHECKPOINTS``.
        origin: where the weights are from.
        compat: whose arithmetic they were given.
        parameters: how many.
        notes: what people should know of it, a line each.
    """

    folder: Path
    checkpoint: str
    origin: Compat
    compat: Compat
    parameters: int
    notes: tuple[str, ...]


def import_published(
    source: str | Path, *, out: str | Path | None = None, model: str | None = None, compat: Compat | None = None
) -> Imported:
    """A published checkpoint as a weights folder of our own: ``model.safetensors`` and ``config.json``.

    Args:
        source: a folder with ``model.safetensors`` or ``pytorch_model.bin`` (and ``config.json``), one of these files,
            one of the authors' pickles (``.pystate``, ``.pickle``), or a name on the Hugging Face hub.
        out: the folder to write to; ``runs/PRESET`` by default.
        model: which checkpoint it is; None: as ``config.json`` says, or by the names of its weights.
        compat: whose arithmetic, see the top of this file; None: that of the source.

    Raises:
        InputError: there is nothing there, it is damaged or no checkpoint, it lacks weights or has others, a pickle
            asks for more than arrays, the hub cannot be reached, or the folder is taken.
    """
    if model is not None and model not in CHECKPOINTS:
        raise InputError(f"--model {model}: there is none; {did_you_mean(model, CHECKPOINTS)}")
    if out is not None:
        _refuse_taken(Path(out))
    weights, origin, about = _read(str(source))
    name = model or _recognised(source, weights, origin, about)
    checkpoint = CHECKPOINTS[name]
    missing, extra = checkpoint.differences(weights, origin)
    if missing or extra:
        told = [f"{what} {_some(names)}" for what, names in (("lacks", missing), ("has besides", extra)) if names]
        raise InputError(
            f"{source}: not the whole {name} checkpoint, it {' and '.join(told)}; "
            f"get the file again or name another --model ({', '.join(CHECKPOINTS)})"
        )
    folder = Path("runs", checkpoint.preset) if out is None else Path(out)
    _refuse_taken(folder)
    compat = compat or origin
    ours = checkpoint.renamed(weights, origin, compat)
    try:
        built = Model(checkpoint.config(ours, compat, about))
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    except (AttributeError, IndexError, TypeError, ValueError) as error:  # a list where there is a number, and such
        raise InputError(
            f"{source}: config.json or a weight is not of the {name} checkpoint's make ({error}); get it again"
        ) from None
    _load(source, built, ours)
    checkpoints.save(built, folder)
    notes = []
    if built.task.classes[:1] == ("class 0",):
        notes.append("the classes are numbered, for the source does not name them")
    return Imported(folder, name, origin, compat, built.parameter_count(), tuple(notes))


def _load(source: str | Path, model: Model, weights: Weights) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.shape != weights[name].shape:
            shapes = [" × ".join(map(str, one.shape)) or "one number" for one in (weights[name], tensor)]
            raise InputError(
                f"{source}: {name} is {shapes[0]}, its model has {shapes[1]}; is config.json of this file?"
            )
    model.load_state_dict(weights)


def _turned(tensor: Tensor, turn: str) -> Tensor:
    axes = TURNS[turn]
    if axes is None:
        return tensor.squeeze()
    return tensor.permute(axes) if axes and tensor.ndim == len(axes) else tensor


def _recognised(source: str | Path, weights: Weights, origin: Compat, about: Mapping[str, Any]) -> str:
    """Which checkpoint this is: what ``config.json`` says, else whose names fit best.

    Raises:
        InputError: none is alike.
    """
    for name, checkpoint in CHECKPOINTS.items():
        if checkpoint.architecture in (about.get("architectures") or ()):
            return name
    off = {name: sum(map(len, one.differences(weights, origin))) for name, one in CHECKPOINTS.items()}
    best = min(off, key=lambda name: off[name])
    if 2 * off[best] > len(weights):
        told = f" ({_some(about['architectures'])})" if about.get("architectures") else ""
        raise InputError(f"{source}: not an architecture that is known here{told}; known: {', '.join(CHECKPOINTS)}")
    return best


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _refuse_taken(folder: Path) -> None:
    if any((folder / name).exists() for name in (checkpoints.WEIGHTS, checkpoints.CONFIG, "config.yaml")):
        raise InputError(f"{folder}: there is a model here already; choose another --out")


# -- reading ---------------------------------------------------------------------------------------------------------

HF_FILES = ("model.safetensors", "pytorch_model.bin")
PICKLES = (".pystate", ".pickle", ".pkl")
BY_HAND = f"download config.json and {' or '.join(HF_FILES)} by hand, then import their folder"


def _read(source: str) -> tuple[dict[str, Tensor], Compat, dict[str, Any]]:
    """The weights of a source by its own names, where they are from, and what ``config.json`` says of them."""
    path = Path(source)
    if not path.exists():
        path = _fetched(source)
    if path.is_dir():
        path = _only_file(path)
    if path.suffix in PICKLES:
        return _read_pickle(path), "jax", {}
    if path.suffix not in {Path(name).suffix for name in HF_FILES}:
        raise InputError(f"{path}: not a checkpoint; give a folder, {', '.join(HF_FILES)}, or a .pystate or .pickle")
    about = _read_about(path.with_name("config.json"))
    return (checkpoints.read_weights(path) if path.suffix == ".safetensors" else _read_bin(path)), "hf", about


def _only_file(folder: Path) -> Path:
    there = [name for name in HF_FILES if (folder / name).is_file()]
    if len(there) > 1:
        raise InputError(f"{folder}: {' and '.join(there)} are both here; name one of them, {folder / there[0]}")
    if there:
        return folder / there[0]
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise InputError(f"{folder}: holds {_some(pickles)}; name the file to import, {folder / pickles[0]}")
    raise InputError(f"{folder}: no {' or '.join(HF_FILES)} here; give the folder or file of a checkpoint")


def _read_about(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        about = json.loads(path.read_text("utf-8"))
        if not isinstance(about, dict):
            raise ValueError("it is not an object")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); get it again, or take it away") from None
    if "format" in about and "model" in about:
        raise InputError(f"{path.parent}: this is a model of sensorium already; use it as it is")
    return about


def _read_bin(path: Path) -> dict[str, Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file anything may come, from pickle, zipfile or torch
        raise InputError(
            f"{path}: not read ({type(error).__name__}): damaged, or more than weights, none of which was run; "
            "get it again"
        ) from None
    if not isinstance(weights, Mapping) or not all(isinstance(one, Tensor) for one in weights.values()):
        raise InputError(f"{path}: holds something else than weights by name; give the file of a checkpoint")
    return {str(name): tensor for name, tensor in weights.items()}


def _fetched(name: str) -> Path:
    """The folder of a checkpoint on the hub, in the hub's own cache.

    Raises:
        InputError: that is no name there, the extra is missing, or the hub cannot be reached.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or Path(name).suffix in (*PICKLES, ".safetensors", ".bin"):
        raise InputError(f"{name}: there is no such file or folder")
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError:
        raise InputError(
            f"{name}: no such folder, and names on the hub need the extra: pip install 'sensorium[hub]'; or {BY_HAND}"
        ) from None
    try:
        hf_hub_download(name, "config.json")
        try:
            return Path(hf_hub_download(name, HF_FILES[0]))
        except LocalEntryNotFoundError:  # no network
            raise
        except EntryNotFoundError:
            return Path(hf_hub_download(name, HF_FILES[1]))
    except (OSError, ValueError, EntryNotFoundError) as error:
        raise InputError(
            f"{name}: no such folder, and not to be had from the hub ({type(error).__name__}); {BY_HAND}"
        ) from None


# -- the authors' pickles --------------------------------------------------------------------------------------------

_ARRAY = object()  # stands for numpy.ndarray, which a pickle may name and not call


def _empty(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """An array for a pickle to fill: its ``__setstate__`` takes shape, kind of numbers and bytes."""
    return np.empty(0, np.uint8)


def _array(make: Any, arguments: Any, state: Any, about: Any) -> np.ndarray:
    """An array of jax, which is pickled as numpy's and some words about it."""
    array = _empty(*arguments)
    array.__setstate__(state)
    return array


def _from_bytes(
    data: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Any, axes: tuple[int, ...] | None = None
) -> np.ndarray:
    """An array of numbers in a row; order K: in the order of ``axes``, as numpy keeps transposed arrays."""
    array = np.frombuffer(data, dtype)
    return array.reshape(shape, order=order) if axes is None else array.reshape(shape).transpose(axes)


def _scalar(dtype: np.dtype, data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(())


# All that a pickle may name, and what it gets. New names of old places (numpy 2) are the same things.
ALLOWED: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "numpy.ndarray": _ARRAY,
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray._reconstruct": _empty,
    "numpy._core.multiarray._reconstruct": _empty,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_bytes,
    "numpy._core.numeric._frombuffer": _from_bytes,
    "jax._src.array._reconstruct_array": _array,
    "jax._src.device_array.reconstruct_device_array": _array,
    "jax.interpreters.xla.reconstruct_device_array": _array,
    "haiku._src.data_structures.FlatMapping": dict,
    "haiku._src.data_structures.FlatMap": dict,
    "haiku._src.data_structures.frozendict": dict,
}


class _Unpickler(pickle.Unpickler):
    """Arrays in plain containers. Whatever else a pickle names is refused, before anything is made of it."""

    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}"
        if wanted not in ALLOWED:
            raise InputError(f"the pickle asks for {wanted}, which is no array; nothing of it was run, do not trust it")
        return ALLOWED[wanted]


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """The arrays of one of the authors' pickles, by haiku's names: ``params``, and ``state`` where it has one."""
    try:
        with path.open("rb") as file:
            content = _Unpickler(file).load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # of a damaged pickle anything may come
        raise InputError(f"{path}: not a whole pickle ({type(error).__name__}); get it again") from None
    content = content if isinstance(content, Mapping) else {}
    parts = (content["params"], content.get("state") or {}) if "params" in content else (content,)
    arrays: dict[str, Tensor] = {}
    for part in parts:
        for name, values in _leaves(part):
            if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
                raise InputError(f"{path}: {name or 'it'} is no array of numbers; give the file of a checkpoint")
            arrays[name] = torch.from_numpy(values.astype(np.float32 if values.dtype.kind == "f" else np.int64))
    return arrays


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What is in mappings of mappings, by the path to it."""
    if not isinstance(tree, Mapping):
        yield name, tree
        return
    for key, below in tree.items():
        yield from _leaves(below, f"{name}/{key}" if name else str(key))
