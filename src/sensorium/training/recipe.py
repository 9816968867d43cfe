"""How a model is trained, apart from the engine: the recipe's values, its optimizers, its schedule, its averages.

Everything here is a function of *progress*, the share of the training that is done, so that a recipe fits a number of
epochs and a number of minutes alike.
"""

from __future__ import annotations

from math import cos, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..modalities import Modality
from ..models.recipe import RecipeConfig
from .lamb import Lamb


def rate(recipe: RecipeConfig, progress: float) -> float:
    """The learning rate after ``progress`` (0 to 1) of the run.

    >>> recipe = RecipeConfig(learning_rate=1.0, warmup=0.1)
    >>> rate(recipe, 0.05), rate(recipe, 0.1), rate(recipe, 1.0)
    (0.5, 1.0, 0.0)
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < recipe.warmup:
        return recipe.learning_rate * progress / recipe.warmup
    match recipe.schedule:
        case "cosine":
            share = (progress - recipe.warmup) / max(1 - recipe.warmup, 1e-9)
            factor = (1 + cos(pi * share)) / 2
        case "flat-cosine":
            factor = (1 + cos(pi * max(0.0, 2 * progress - 1))) / 2
        case "steps":
            factor = 0.1 ** sum(progress >= step for step in recipe.milestones)
        case "constant":
            factor = 1.0
    return recipe.learning_rate * factor


def optimizers(recipe: RecipeConfig, model: nn.Module) -> list[torch.optim.Optimizer]:
    """The optimizers of a recipe; together they hold every parameter once."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if recipe.optimizer == "lamb":
        return [Lamb(_groups(named, recipe), lr=recipe.learning_rate, betas=recipe.betas)]
    if recipe.optimizer == "adamw":
        return [torch.optim.AdamW(_groups(named, recipe), lr=recipe.learning_rate, betas=recipe.betas)]
    matrices = [(name, parameter) for name, parameter in named if _is_block_matrix(name, parameter)]
    chosen = {name for name, _ in matrices}
    others = [(name, parameter) for name, parameter in named if name not in chosen]
    muon = torch.optim.Muon(
        [parameter for _, parameter in matrices],
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        adjust_lr_fn="match_rms_adamw",  # one learning rate for both optimizers
    )
    return [muon, torch.optim.AdamW(_groups(others, recipe), lr=recipe.learning_rate, betas=recipe.betas)]


def _is_block_matrix(name: str, parameter: Tensor) -> bool:
    return parameter.ndim == 2 and name.endswith("weight") and name.startswith(("encoder.", "decoder.cross_attention."))


def _groups(named: list[tuple[str, nn.Parameter]], recipe: RecipeConfig) -> list[dict[str, Any]]:
    decayed = [parameter for _, parameter in named if parameter.ndim >= 2]
    others = [parameter for _, parameter in named if parameter.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def mix(
    batch: dict[str, Tensor],
    inputs: Modality,
    target: Any,
    *,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    generator: torch.Generator,
) -> tuple[dict[str, Tensor], Tensor]:
    """Each example with another one, the next of a random order, and their targets alike.

    Mixup adds a share of the one to the rest of the other; CutMix sets a box of the other into the one, and its share
    is what is left around the box. Both have shares from Beta(alpha, alpha), one for each example. Where both are used,
    Mixup has the first half of the batch and CutMix the other.

    Args:
        batch: a viewed batch in which nothing is masked: rows that one example lacks cannot be mixed.
        inputs: whose batch it is.
        target: batch × outputs, floats.
        mixup, cutmix: alpha of each; 0: it is not used.
        generator: what is random comes from it.

    Raises:
        InputError: examples of different lengths, or that lack a signal; targets or signals that are no such numbers;
            CutMix of what is no picture.
    """
    cure = " and ".join(f"recipe.{name}=0" for name, used in (("mixup", mixup), ("cutmix", cutmix)) if used)
    if not isinstance(target, Tensor) or not target.is_floating_point():
        raise InputError(f"mixing is of classes and numbers, not of signals as answers; set {cure}")
    there = [modality.name for modality in inputs.modalities if modality.name in batch]
    for name in there:
        if not batch[name].is_floating_point():
            raise InputError(f"mixing is of numbers, and {name} holds names; set {cure}")
        for present in (batch.get(f"{name}.mask"), batch.get(f"{name}.present")):
            if present is not None and not bool(present.all()):
                raise InputError(f"mixing needs examples of one size that lack nothing; set {cure}")
    count = len(target)
    cut = torch.arange(count, device=target.device) >= (count // 2 if mixup and cutmix else count if mixup else 0)
    seed = int(torch.randint(2**31, (), generator=generator))
    alpha = torch.where(cut, cutmix, mixup).cpu()
    share = torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha)).to(target)
    order = torch.randperm(count, generator=generator).to(target.device)
    around = None
    if cutmix:
        around = inputs.around_boxes(batch, share, generator)
        share = torch.where(cut, around.flatten(1).mean(1), share)
    mixed = {}
    for name in there:
        signal = batch[name]
        weight = _along(share, signal)
        if around is not None:
            weight = torch.where(_along(cut, signal), around, weight)
        mixed[name] = torch.lerp(signal[order], signal, weight.to(signal))
    return {**batch, **mixed}, torch.lerp(target[order], target, share[:, None])


def _along(values: Tensor, signal: Tensor) -> Tensor:
    """One value for each example (batch,) in a shape that broadcasts to the signal's."""
    return values.view(-1, *[1] * (signal.ndim - 1))


@torch.no_grad()
def average(mean: nn.Module, model: nn.Module, *, decay: float, step: int) -> None:
    """Move ``mean`` towards ``model``; early on faster, so that the start is soon forgotten."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(mean.parameters()), list(model.parameters()), weight)
    for ours, theirs in zip(mean.buffers(), model.buffers(), strict=True):  # statistics are averages already
        ours.copy_(theirs)
