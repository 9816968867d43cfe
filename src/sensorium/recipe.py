"""How a model is trained, apart from the engine: the recipe's values, its optimizers, its schedule, its averages.

Everything here is a function of *progress*, the share of the training that is done, so that a recipe fits a number of
epochs and a number of minutes alike.
"""

from __future__ import annotations

from math import cos, pi
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from .config import record
from .errors import InputError
from .lamb import Lamb
from .modalities import Modality


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
        mixup: alpha of the Beta distribution of the shares by which pairs of examples are added up; 0: none are.
        cutmix: alpha of that of the shares that are left of pictures around a box of another picture; 1: uniform,
            0: no boxes. With ``mixup``, each has half of every batch.
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
    cutmix: float = 0.0
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
    there = [sense.name for sense in inputs.senses if sense.name in batch]
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
