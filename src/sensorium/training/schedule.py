"""The learning rate and the strength of augmentation over a run.

They are functions of *progress*, the share of the training that is done, so that a recipe fits a number of epochs, of
steps and of minutes alike.
"""

from __future__ import annotations

from math import cos, pi

from ..models.recipe import RecipeConfig


def learning_rate(recipe: RecipeConfig, progress: float) -> float:
    """The learning rate after ``progress`` (0 to 1) of the run.

    >>> recipe = RecipeConfig(learning_rate=1.0, warmup=0.1)
    >>> learning_rate(recipe, 0.05), learning_rate(recipe, 0.1), learning_rate(recipe, 1.0)
    (0.5, 1.0, 0.0)
    >>> learning_rate(RecipeConfig(learning_rate=5e-4, learning_rate_per=256, batch_size=1024), 0)
    0.002
    """
    progress = min(max(progress, 0.0), 1.0)
    highest = recipe.learning_rate
    if recipe.learning_rate_per is not None:
        highest *= recipe.batch_size / recipe.learning_rate_per
    if progress < recipe.warmup:
        return highest * progress / recipe.warmup
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
    return highest * factor


def augmentation_strength(recipe: RecipeConfig, progress: float) -> float:
    """The share of its strength that augmentation has after ``progress`` (0 to 1) of the run.

    >>> recipe = RecipeConfig(unaugmented=0.25, growing=0.5)
    >>> [augmentation_strength(recipe, progress) for progress in (0.2, 0.5, 0.75, 1)]
    [0.0, 0.5, 1.0, 1.0]
    """
    if progress < recipe.unaugmented:
        return 0.0
    return min(1.0, (progress - recipe.unaugmented) / recipe.growing) if recipe.growing else 1.0
