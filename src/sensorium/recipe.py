"""How a model is trained, apart from the engine: the recipe's values, its optimizers, its schedule, its averages.

Everything here is a function of *progress*, the share of the training that is done, so that a recipe fits a number of
epochs and a number of minutes alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from .config import record
from .errors import InputError
from .lamb import Lamb


@record
class RecipeConfig:
    """What a training run does.

    Attributes:
        epochs: passes over the training examples; None: no limit but ``minutes``.
        minutes: wall-clock limit; None: no limit but ``epochs``. The first limit reached ends the run.
        batch: examples per step.
        optimizer: ``muon`` turns the matrices of the blocks by Muon and leaves the rest to AdamW.
        learning_rate: its highest value.
        weight_decay: decoupled; matrices, latents and learned codes only, never biases and norms.
        betas: of the moment estimates of AdamW and LAMB; Muon's momentum is 0.95.
        schedule: ``cosine`` falls to zero, ``flat-cosine`` is constant for the first half, ``steps`` multiplies by
            0.1 at each of ``steps``, ``constant`` stays.
        warmup: share of the run in which the learning rate rises linearly from zero.
        steps: shares of the run at which the ``steps`` schedule falls.
        clip: largest norm of the whole gradient; None: no clipping.
        smoothing: label smoothing.
        mixup: alpha of the Beta distribution that mixes pairs of examples; 0: none.
        drop_rows: share of the input rows left out of each training example.
        average: decay of the moving average of the weights that is evaluated and kept; 0: the weights themselves.
        attention: where it starts: ``even``, as the papers' does, or ``placed``: every latent at its own place of the
            signal's grid and every query at its own (:mod:`sensorium.core.places`), for tasks that ask for places.
        checkpointing: keep less for the backward pass and compute it anew: a third more time, far less memory.
        precision: of the arithmetic; ``auto`` measures once, at the start, which one is faster here.
    """

    epochs: float | None = None
    minutes: float | None = None
    batch: int = 64
    optimizer: Literal["adamw", "muon", "lamb"] = "muon"
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    schedule: Literal["cosine", "flat-cosine", "steps", "constant"] = "cosine"
    warmup: float = 0.0
    steps: tuple[float, ...] = ()
    clip: float | None = 1.0
    smoothing: float = 0.0
    mixup: float = 0.0
    drop_rows: float = 0.0
    average: float = 0.0
    attention: Literal["even", "placed"] = "even"
    checkpointing: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


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
            factor = 0.1 ** sum(progress >= step for step in recipe.steps)
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
    return parameter.ndim == 2 and name.endswith("weight") and name.startswith(("encoder.", "decoder.write."))


def _groups(named: list[tuple[str, nn.Parameter]], recipe: RecipeConfig) -> list[dict[str, Any]]:
    decayed = [parameter for _, parameter in named if parameter.ndim >= 2]
    others = [parameter for _, parameter in named if parameter.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def mix(
    batch: dict[str, Tensor], names: Sequence[str], target: Any, *, alpha: float, generator: torch.Generator
) -> tuple[dict[str, Tensor], Tensor]:
    """Mixup: each example with the next one of a random order, by one share for the batch from Beta(alpha, alpha).

    Args:
        batch: a viewed batch in which nothing is masked: rows that one example lacks cannot be mixed.
        names: the signals in it.
        target: batch × outputs, floats.

    Raises:
        InputError: examples of different lengths, or that lack a signal; targets that are no such numbers.
    """
    if not isinstance(target, Tensor) or not target.is_floating_point():
        raise InputError("mixup mixes classes and numbers, not signals; set recipe.mixup=0")
    for name in names:
        for there in (batch.get(f"{name}.mask"), batch.get(f"{name}.present")):
            if there is not None and not bool(there.all()):
                raise InputError("mixup needs examples of one size that lack nothing; set recipe.mixup=0")
    seed = int(torch.randint(2**31, (), generator=generator))
    share = float(np.random.default_rng(seed).beta(alpha, alpha))
    order = torch.randperm(len(target), generator=generator).to(target.device)
    mixed = {name: share * batch[name] + (1 - share) * batch[name][order] for name in names if name in batch}
    return {**batch, **mixed}, share * target + (1 - share) * target[order]


@torch.no_grad()
def average(mean: nn.Module, model: nn.Module, *, decay: float, step: int) -> None:
    """Move ``mean`` towards ``model``; early on faster, so that the start is soon forgotten."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(mean.parameters()), list(model.parameters()), weight)
    for ours, theirs in zip(mean.buffers(), model.buffers(), strict=True):  # statistics are averages already
        ours.copy_(theirs)
