"""How ``auto`` trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...modalities import ModalityConfig
from ..recipe import RecipeConfig
from .facts import MINUTES, Facts
from .model import is_in_order_of_time

TABLE_EPOCHS = 20  # docs/decisions/0020
EXAMPLES_SEEN = 150_000  # by a run, where time allows
LONG_TEXT = 512  # bytes
DROP_ROWS: dict[str, Callable[[Any], float]] = {
    "points": lambda inputs: 0.5 if inputs.num_rows > 512 else 0.0,
    "text": lambda inputs: 0.0 if inputs.stem is None else 0.875 if inputs.length >= LONG_TEXT else 0.75,
}
BATCH_SIZES = ((2000, 64), (500, 32), (0, 16))  # from examples up
RECIPES: dict[str, dict[str, Any]] = {
    "flow": {"epochs": None, "learning_rate": 5e-3, "attention_init": "default"},
    "mlm": {"learning_rate": 4e-3, "weight_decay": 0.5},
}


def choose_recipe(inputs: ModalityConfig, facts: Facts) -> RecipeConfig:
    """How it is trained."""
    batch_size = next(size for least, size in BATCH_SIZES if facts.examples >= least) if facts.per_example else 16
    epochs = min(300, max(30, EXAMPLES_SEEN // facts.examples))
    recipe = RecipeConfig(
        epochs=float(TABLE_EPOCHS if facts.per_example and inputs.kind == "table" else epochs),
        minutes=MINUTES if facts.minutes is None else facts.minutes,
        batch_size=batch_size,
        optimizer="muon",
        learning_rate=2e-3,
        weight_decay=0.05,
        warmup=0.05,
        label_smoothing=0.1 if facts.per_example else 0.0,
        attention_init="default" if facts.per_example and not is_in_order_of_time(inputs, facts) else "aligned",
        drop_rows=choose_drop_rows(inputs, facts),
        ema_decay=0.998,
    )
    recipe = replace(recipe, **RECIPES.get(facts.task, {}))
    if facts.epochs is None and facts.steps is None:
        return recipe
    return replace(recipe, epochs=facts.epochs, minutes=facts.minutes, steps=facts.steps)


def choose_drop_rows(inputs: ModalityConfig, facts: Facts) -> float:
    """The share of rows that training leaves out."""
    return DROP_ROWS[inputs.kind](inputs) if facts.per_example and inputs.kind in DROP_ROWS else 0.0
