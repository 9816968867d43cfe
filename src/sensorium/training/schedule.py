"""The learning rate over a run.

It is a function of *progress*, the share of the training that is done, so that a recipe fits a number of epochs and a
number of minutes alike.
"""

from __future__ import annotations

from math import cos, pi

from ..models.recipe import RecipeConfig


def learning_rate(recipe: RecipeConfig, progress: float) -> float:
    """The learning rate after ``progress`` (0 to 1) of the run.

    >>> recipe = RecipeConfig(learning_rate=1.0, warmup=0.1)
    >>> learning_rate(recipe, 0.05), learning_rate(recipe, 0.1), learning_rate(recipe, 1.0)
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
