"""A published checkpoint: which weights it has, and the configuration that they need."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import Tensor

from ...config import from_dict, override, to_dict
from ...errors import InputError
from .. import presets
from ..perceiver import PerceiverConfig
from .names import Compat, Name, Weights, to_our_axes

HFConfig: TypeAlias = Mapping[str, Any]  # the content of transformers' config.json
Settings: TypeAlias = Mapping[str, Any]  # paths in a PerceiverConfig, as of --set, and their values

# What transformers' config.json says beside the sizes: its key, the path in a PerceiverConfig, the default.
HF_SETTINGS = (
    ("num_cross_attention_heads", "encoder.num_cross_attention_heads", 8),
    ("num_self_attention_heads", "encoder.num_self_attention_heads", 8),
    ("cross_attention_widening_factor", "encoder.cross_attention_mlp_ratio", 1),
    ("self_attention_widening_factor", "encoder.self_attention_mlp_ratio", 1),
)
# Values that it must have, since sensorium has no other model.
HF_FIXED = {"hidden_act": "gelu", "use_query_residual": True, "cross_attention_shape_for_attention": "kv"}


@dataclass(frozen=True)
class Published:
    """A published checkpoint.

    Attributes:
        preset: the preset of its model.
        architecture: the class of ``transformers`` that it is for.
        names: the table of names.
        sizes: paths in a :class:`PerceiverConfig`, and the functions that read their values off the weights.
        compat: for each of the two sources, the settings that give its arithmetic.
        classes: the weight with a row for each class, and the path of the classes' names; None: it has no classes.
        config_settings: the settings that only ``config.json`` knows; None: there are none.
        unused: names in haiku of arrays that are in the file and not needed.
    """

    preset: str
    architecture: str
    names: tuple[Name, ...]
    sizes: Mapping[str, Callable[[Weights], Any]]
    compat: Mapping[Compat, Settings]
    classes: tuple[str, str] | None = None
    config_settings: Callable[[HFConfig], Settings] | None = None
    unused: tuple[str, ...] = field(default=())

    def table(self, layers: int) -> list[Name]:
        """The names of every weight of a model with ``layers`` self-attention layers in its latent transformer."""
        rows: list[Name] = []
        for name in self.names:
            rows += [name.at(layer) for layer in range(layers)] if "{layer}" in name.ours else [name]
        return rows

    def layers(self, weights: Iterable[str], origin: Compat) -> int:
        """The number of self-attention layers: that of the highest layer of which there is any weight, at least 1."""
        known, layers = set(weights), 1
        repeated = [name for name in self.names if "{layer}" in name.ours]
        for layer in range(len(known)):
            if any(getattr(name.at(layer), origin) in known for name in repeated):
                layers = layer + 1
        return layers

    def differences(self, weights: Iterable[str], origin: Compat) -> tuple[list[str], list[str]]:
        """Missing weights and unknown weights, by the names of their source."""
        found = set(weights)
        expected = {getattr(name, origin) for name in self.table(self.layers(found, origin))}
        if origin == "jax":
            found -= set(self.unused)
        return sorted(expected - found), sorted(found - expected)

    def renamed(self, weights: Weights, origin: Compat, compat: Compat) -> dict[str, Tensor]:
        """The weights by our names, with their axes in our order; none may be missing."""
        result = {}
        for name in self.table(self.layers(weights, origin)):
            tensor = to_our_axes(weights[getattr(name, origin)], name.axes, origin)
            if name.axes == "kernel" and origin != compat:
                tensor = tensor.mT  # transformers has the authors' kernels with height and width swapped
            result[name.ours] = tensor
        return result

    def config(self, weights: Weights, compat: Compat, hf_config: HFConfig) -> PerceiverConfig:
        """The model's configuration: that of the preset, with the sizes of these weights.

        Args:
            weights: by our names.
            compat: whose arithmetic.
            hf_config: the content of the ``config.json`` of ``transformers``; empty: there is no such file.

        Raises:
            InputError: ``hf_config`` describes a model that sensorium does not have.
        """
        for key, value in HF_FIXED.items():
            if hf_config.get(key, value) != value:
                raise InputError(f"config.json: {key} is {hf_config[key]!r}; only {value!r} can be imported")
        layers = 1 + max(
            int(name.split(".")[3]) for name in weights if name.startswith("encoder.latent_transformer.0.")
        )
        settings: dict[str, Any] = {"encoder.num_layers": layers}
        settings |= {path: size(weights) for path, size in self.sizes.items()}
        settings |= self._config_settings(hf_config)
        if self.classes is not None:
            weight, path = self.classes
            names = class_names(len(weights[weight]), hf_config)
            if names:
                settings[path] = names
            elif path == "task.classes":  # classes need names; a label may be a number
                settings[path] = [f"class {number}" for number in range(len(weights[weight]))]
        settings |= self.compat[compat]
        lines = [f"{path}={json.dumps(value, ensure_ascii=False)}" for path, value in settings.items()]
        preset = to_dict(presets.load(self.preset).model())
        return from_dict(PerceiverConfig, override(preset, lines), where=self.preset)

    def _config_settings(self, hf_config: HFConfig) -> Settings:
        if not hf_config:
            return {}
        blocks = hf_config.get("num_blocks", 1)
        return {
            **{path: hf_config.get(key, default) for key, path, default in HF_SETTINGS},
            "encoder.cross_attention": [0, *[None] * (blocks - 1)],
            "encoder.latent_transformer": [0] * blocks,
            **({} if self.config_settings is None else self.config_settings(hf_config)),
        }


def class_names(count: int, hf_config: HFConfig) -> list[str]:
    """The names of ``count`` classes in ``config.json``, each name once; empty: it does not name them.

    >>> class_names(3, {"id2label": {"0": "crane", "1": "crane", "2": "tench"}})
    ['crane (0)', 'crane (1)', 'tench']
    >>> class_names(2, {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}})
    []
    """
    labels = hf_config.get("id2label") or {}
    names = [str(labels.get(str(number), f"LABEL_{number}")) for number in range(count)]
    if len(labels) != count or names == [f"LABEL_{number}" for number in range(count)]:
        return []
    counts = Counter(names)  # ImageNet has two classes called crane, a bird and a machine
    return [f"{name} ({number})" if counts[name] > 1 else name for number, name in enumerate(names)]
