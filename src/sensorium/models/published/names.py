"""The names of a weight: here, in ``transformers`` and in the authors' haiku."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

Compat: TypeAlias = Literal["hf", "jax"]  # where weights come from, and whose arithmetic they are given
Weights: TypeAlias = Mapping[str, Tensor]

# How an array of haiku becomes one of our tensors: the order of its axes. Tensors of transformers are in our order.
AXES: dict[str, tuple[int, ...] | None] = {
    "same": (),
    "transposed": (1, 0),
    "kernel": (3, 2, 0, 1),  # height, width, in, out -> out, in, height, width
    "squeezed": None,  # axes of length 1 are dropped, in tensors of transformers too
}

# What a row of a table stands for: one array with its axes, or further rows, whose names are appended to its own.
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
    """The names of one weight, or of the same weight in every layer.

    Attributes:
        ours, hf, jax: the name in sensorium, transformers, haiku. ``{layer}`` stands for the number of a self-attention
            layer, from 0; ``{_layer}`` for haiku's suffix of it: nothing, ``_1``, ``_2``, …
        axes: how haiku's array becomes a tensor, one of ``AXES``.
    """

    ours: str
    hf: str
    jax: str
    axes: str

    def at(self, layer: int) -> Name:
        """The names in one layer."""
        numbers = {"layer": layer, "_layer": f"_{layer}" if layer else ""}
        return Name(self.ours.format(**numbers), self.hf.format(**numbers), self.jax.format(**numbers), self.axes)


def expanded(*rows: tuple[str, str, str, str]) -> tuple[Name, ...]:
    """The single weights of rows of (what it is, our name, that in transformers, that in haiku).

    >>> [(name.ours, name.jax) for name in expanded(("linear", "decoder.linear", "final_layer", "output"))]
    [('decoder.linear.weight', 'output/w'), ('decoder.linear.bias', 'output/b')]
    """
    names: list[Name] = []
    for what, ours, hf, jax in rows:
        if what in AXES:
            names.append(Name(ours, hf, jax, what))
        else:
            ends = PARTS[what]
            names += expanded(*((part, ours + end, hf + hf_end, jax + jax_end) for part, end, hf_end, jax_end in ends))
    return tuple(names)


def to_our_axes(tensor: Tensor, axes: str, origin: Compat) -> Tensor:
    """A weight of a source with its axes in our order.

    >>> import torch
    >>> [to_our_axes(torch.zeros(3, 5), "transposed", origin).shape for origin in ("jax", "hf")]
    [torch.Size([5, 3]), torch.Size([3, 5])]
    """
    order = AXES[axes]
    if order is None:
        return tensor.squeeze()
    return tensor.permute(order) if origin == "jax" and tensor.ndim == len(order) > 0 else tensor
