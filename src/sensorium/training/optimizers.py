"""The optimizers of a recipe, and which weights decay."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..models.recipe import RecipeConfig
from .lamb import Lamb
from .muon import Muon


def optimizers(recipe: RecipeConfig, model: nn.Module) -> list[torch.optim.Optimizer]:
    """The optimizers of a recipe; together they hold every parameter once."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    kept = undecayed(model)
    if recipe.optimizer == "lamb":
        return [Lamb(_groups(named, kept, recipe), lr=recipe.learning_rate, betas=recipe.betas)]
    if recipe.optimizer == "adamw":
        return [_adamw(named, kept, recipe)]
    matrices = [(name, parameter) for name, parameter in named if _is_block_matrix(name, parameter)]
    chosen = {name for name, _ in matrices}
    others = [(name, parameter) for name, parameter in named if name not in chosen]
    adamw = _adamw(others, kept, recipe)
    if not matrices:  # of convolutions, AdamW updates everything
        return [adamw]
    parameters = [parameter for _, parameter in matrices]
    return [Muon(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay), adamw]


def _adamw(named: list[tuple[str, nn.Parameter]], kept: set[str], recipe: RecipeConfig) -> torch.optim.AdamW:
    """In one pass over the weights, ten times as fast on a CPU as operation by operation, torch's default. Weights
    without data, on the meta device, have no such pass."""
    fused = not any(parameter.is_meta for _, parameter in named)
    return torch.optim.AdamW(_groups(named, kept, recipe), lr=recipe.learning_rate, betas=recipe.betas, fused=fused)


def _is_block_matrix(name: str, parameter: Tensor) -> bool:
    inside = name.startswith(("encoder.", "decoder.cross_attention.")) or ".stem." in name
    return parameter.ndim == 2 and name.endswith("weight") and inside


def undecayed(model: nn.Module) -> set[str]:
    """The names of the parameters without weight decay: biases, those of norms, and single numbers.

    Everything else decays, learned latents, positions, modality embeddings and mask tokens too: the authors' training
    code leaves out what is called ``b`` and the modules that are called ``layer_norm`` and ``batchnorm``, and its
    ``decay_pos_embs`` is true (Perceiver IO, ``train/experiment.py``). None of their models has a single number.

    >>> sorted(undecayed(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))))
    ['0.bias', '1.bias', '1.weight']
    """
    names = {name for name, parameter in model.named_parameters() if name.endswith("bias") or not parameter.ndim}
    for path, module in model.named_modules():
        if "Norm" in type(module).__name__:
            names |= {f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)}
    return names


def _groups(named: list[tuple[str, nn.Parameter]], kept: set[str], recipe: RecipeConfig) -> list[dict[str, Any]]:
    decayed = [parameter for name, parameter in named if name not in kept]
    others = [parameter for name, parameter in named if name in kept]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
