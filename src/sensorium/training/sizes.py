"""The size in which a contender takes part in a comparison.

**The rule.** The paper's baselines are too large for most budgets, so each is offered at 1, 1/2, 1/4 and 1/8 of its
width (channels; ViT and Transformer keep their 12 layers, ResNet-50 its 16 bottlenecks). The widest is taken whose
measured training step allows at least 30 passes over the training data in the time of the run (fewer where the recipe
asks for fewer); where none does, the narrowest. Steps are measured in float32 (in bfloat16 where the recipe says so).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ..errors import InputError
from ..models.auto import MINUTES
from .contenders import SHARES, Batch, Candidate
from .plan import RunConfig
from .step_costs import StepCost, measure_apart, write_batch

PASSES = 30  # over the training data, that a contender's size must allow
RULE = (
    f"The paper's networks are offered at {', '.join(str(Fraction(share)) for share in reversed(SHARES))} of their "
    f"width. The widest is taken whose measured training step allows {PASSES} passes over the training data in the "
    "time given (or as many as the recipe asks for, if they are fewer); where none does, the narrowest."
)


@dataclass(frozen=True)
class Size:
    """The size that a contender takes part in.

    Attributes:
        index: of the candidate.
        cost: of its training steps and its forward pass.
        note: what of the paper's width it has, and whether that is too much for the time; empty: it has one size.
    """

    index: int
    cost: StepCost
    note: str


@dataclass(frozen=True)
class Budget:
    """The time of a run as a number of steps.

    Attributes:
        passes: over the training data, that a size must allow.
        enough: seconds that a step may take for that.
    """

    passes: float
    enough: float

    @classmethod
    def of(cls, config: RunConfig, *, examples: int) -> Budget:
        """The budget of a run.

        Args:
            config: of the run.
            examples: for training.

        >>> from sensorium.modalities import ImageConfig
        >>> from sensorium.models.perceiver import PerceiverConfig
        >>> from sensorium.models.recipe import RecipeConfig
        >>> from sensorium.nn import EncoderConfig
        >>> from sensorium.tasks import ClassifyConfig
        >>> task = ClassifyConfig(classes=("cat", "dog"))
        >>> model = PerceiverConfig(inputs=ImageConfig(), encoder=EncoderConfig(), task=task)
        >>> recipe = RecipeConfig(minutes=1, batch_size=10)
        >>> Budget.of(RunConfig(model=model, recipe=recipe), examples=100)
        Budget(passes=30, enough=0.2)
        """
        recipe = config.recipe
        steps = max(1, examples // min(recipe.batch_size, examples))
        passes = PASSES if recipe.epochs is None else min(PASSES, recipe.epochs)
        passes = passes if recipe.steps is None else min(passes, recipe.steps / steps)
        minutes = MINUTES if recipe.minutes is None else recipe.minutes
        return cls(passes, 60 * minutes / (passes * steps))


def choose_size(candidates: Sequence[Candidate], batch: Batch, budget: Budget) -> Size:
    """The widest candidate that the rule allows.

    Args:
        candidates: the narrowest first.
        batch: of training examples, with targets.
        budget: of each run.

    Raises:
        InputError: not even the narrowest can be measured; why.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "batch.pt")
        write_batch(batch, path)
        costs, reason = measure_apart([candidate.config for candidate in candidates], path, enough=budget.enough)
    if not costs:
        raise InputError(reason)
    index = max([0, *(number for number, cost in enumerate(costs) if cost.seconds <= budget.enough)])
    return Size(index, costs[index], size_note(candidates[index], costs[index], budget))


def size_note(candidate: Candidate, cost: StepCost, budget: Budget) -> str:
    """What of the paper's width a candidate has, and whether that is too much for the time."""
    if candidate.share is None:
        return ""
    note = f"{Fraction(candidate.share)} of the width"
    if cost.seconds <= budget.enough:
        return note
    possible = budget.passes * budget.enough / cost.seconds
    return f"{note}; time for about {possible:.1f} passes instead of {budget.passes:g}"
