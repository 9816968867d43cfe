"""What a weight is called by us, by ``transformers`` and by the authors' haiku."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

Compat: TypeAlias = Literal["hf", "jax"]  # where weights come from, and whose arithmetic they are given
Weights: TypeAlias = Mapping[str, Tensor]

# How an array of haiku's becomes a tensor of ours: the order of its axes. Tensors of transformers' are turned already.
TURNS: dict[str, tuple[int, ...] | None] = {
    "same": (),
    "transposed": (1, 0),
    "kernel": (3, 2, 0, 1),  # height, width, in, out -> out, in, height, width
    "squeezed": None,  # axes of 1 go, those of transformers' too
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


def turned(tensor: Tensor, turn: str, origin: Compat) -> Tensor:
    """A weight of some source as ours is.

    >>> import torch
    >>> turned(torch.zeros(3, 5), "transposed", "jax").shape, turned(torch.zeros(3, 5), "transposed", "hf").shape
    (torch.Size([5, 3]), torch.Size([3, 5]))
    """
    axes = TURNS[turn]
    if axes is None:
        return tensor.squeeze()
    return tensor.permute(axes) if origin == "jax" and tensor.ndim == len(axes) > 0 else tensor
