"""What benchmarks/utilisation.py measures: the model that ``auto`` chooses, and examples of its signal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.data import Examples, Samples, load_samples
from sensorium.data.splits import FEWEST_FOR_VAL, VAL_FRACTION
from sensorium.modalities import KINDS, build_modality
from sensorium.models.auto import Auto, Facts
from sensorium.models.perceiver import PerceiverConfig
from sensorium.models.recipe import RecipeConfig
from sensorium.tasks import TASKS
from sensorium.training.plan import plan

MADE = 128  # examples of made data, whatever their number is said to be
CLASSES = tuple("abcdefghij")


@dataclass(frozen=True)
class Subject:
    """A model, its recipe and some examples.

    Attributes:
        examples: for training, as ``auto`` was told.
        validated: examples of the validation split; 0: there is none.
        samples: some of them, decoded.
    """

    name: str
    model: PerceiverConfig
    recipe: RecipeConfig
    examples: int
    validated: int
    samples: Samples


def opened(path: Path, *, minutes: float) -> Subject:
    """What ``sensorium train`` would train on a data set.

    Raises:
        InputError: the data cannot be used.
    """
    planned = plan(path, minutes=minutes)
    splits, config = planned.source.splits, planned.config
    some = splits["train"].select(np.arange(min(MADE, len(splits["train"]))))
    inputs = build_modality(config.model.inputs)
    samples = load_samples(some.for_modality(inputs), [inputs])
    validated = len(splits.get("val", ()))
    return Subject(path.name, config.model, config.recipe, len(splits["train"]), validated, samples)


def made(kind: str, *, examples: int, minutes: float) -> Subject:
    """What ``auto`` would train on so many labelled examples of a kind of signal; noise of a usual size."""
    random = np.random.default_rng(0)
    raws: list[Any] = [_MAKERS[kind](random) for _ in range(MADE)]
    targets = np.arange(MADE) % len(CLASSES)
    measured = KINDS[kind].measure(raws)
    validated = round(VAL_FRACTION * examples) if examples >= FEWEST_FOR_VAL else 0
    choice = Auto().choose(measured, Facts(task="classify", examples=examples - validated, minutes=minutes))
    task = TASKS["classify"].configure(classes=CLASSES, targets=targets)
    model = PerceiverConfig(inputs=choice.inputs, encoder=choice.encoder, decoder=choice.decoder, task=task)
    samples = load_samples(
        Examples({kind: raws}, targets, [f"{kind} {number}" for number in range(MADE)]), [build_modality(choice.inputs)]
    )
    return Subject(kind, model, choice.recipe, examples - validated, validated, samples)


def _bytes(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.integers(0, 256, shape, dtype=np.uint8)


def _line(random: np.random.Generator) -> dict[str, Any]:
    """Sixteen numbers and four categories."""
    numbers = {f"number {column}": float(random.normal()) for column in range(16)}
    return numbers | {f"category {column}": str(random.choice(list("uvwxyz"))) for column in range(4)}


# The sizes of CIFAR-10, one second of speech, wearable sensors, a review, ModelNet40, two seconds of film, a table of
# census data and MedMNIST.
_MAKERS: dict[str, Callable[[np.random.Generator], Any]] = {
    "image": lambda random: _bytes(random, 32, 32, 3),
    "audio": lambda random: (random.normal(0, 0.1, 16_000).astype(np.float32), 16_000),
    "series": lambda random: random.normal(size=(128, 9)).astype(np.float32),
    "text": lambda random: "".join(random.choice(list("abcdefgh "), 2048)),
    "points": lambda random: random.uniform(-1, 1, (1024, 3)).astype(np.float32),
    "video": lambda random: (_bytes(random, 50, 64, 64, 3), 25.0),
    "table": _line,
    "volume": lambda random: random.uniform(size=(28, 28, 28)).astype(np.float32),
}
KINDS_MADE = tuple(_MAKERS)
