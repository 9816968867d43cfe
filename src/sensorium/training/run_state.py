"""The state of a run between two steps: all that it needs to go on bit for bit.

What is random in a step and which examples are in it depend on the seed and the step's number alone
(:mod:`sensorium.training.step`, :mod:`sensorium.training.batches`), so neither generators nor a position in the data
are part of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ..errors import InputError
from ..models.perceiver import Perceiver
from ..models.recipe import RecipeConfig
from ..processes import as_in_main, end_unless_main, is_main, total
from .ema import Ema
from .sharding import load_stored, load_stored_optimizer
from .state_file import LAST

STATE_FORMAT = 1  # of a state in a checkpoint; raised when names or meanings in it change


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Inside, a state that another version wrote, in which something is missing or has another name, is refused.

    Args:
        folder: of the run.

    Raises:
        InputError: the state is of another version.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        end_unless_main(2)
        raise InputError(
            f"{folder / LAST}: written by another version of sensorium ({' '.join(str(error).split())}); go on with "
            "that version, or train anew with another --out"
        ) from None


@dataclass
class Sums:
    """Sums over the steps since the last validation pass, on the device and of this process's parts alone.

    Attributes:
        loss, training_accuracy: scalars.
        steps: how many.
    """

    loss: Tensor
    training_accuracy: Tensor
    steps: int = 0

    @classmethod
    def zero(cls, device: torch.device) -> Sums:
        """Of no steps."""
        return cls(torch.zeros((), device=device), torch.zeros((), device=device))

    def gather(self) -> None:
        """Move what all processes have to the main one. All of them must call this."""
        for name in ("loss", "training_accuracy"):
            whole_sum = total(getattr(self, name))
            setattr(self, name, whole_sum if is_main() else torch.zeros_like(whole_sum))


@dataclass
class Counters:
    """How far a run is.

    Attributes:
        steps: of the optimizers.
        seconds: of training.
        saved_at: the seconds at the last checkpoint.
        validations: validation passes.
        validated_at: the step of the last one.
        validated: the views of examples in the last one.
        best_score, best_metric: the selection score and the primary metric of the weights that are kept.
    """

    steps: int = 0
    seconds: float = 0.0
    saved_at: float = 0.0
    validations: int = 0
    validated_at: int = 0
    validated: int = 0
    best_score: float = -math.inf
    best_metric: float = math.nan

    def share_done(self, recipe: RecipeConfig, steps_per_epoch: int) -> float:
        """The share of the run that is done, 0 to 1: by epochs, minutes or steps, whichever is furthest."""
        shares = [0.0]
        if recipe.epochs is not None:
            shares.append(self.steps / max(1.0, recipe.epochs * steps_per_epoch))
        if recipe.minutes is not None:
            shares.append(self.seconds / (60 * recipe.minutes))
        if recipe.steps is not None:
            shares.append(self.steps / max(1, recipe.steps))
        return min(1.0, max(shares))


@dataclass
class RunState:
    """What changes in a run.

    Attributes:
        model: what is trained.
        ema: the moving average of its weights; None: there is none.
        optimizers: of all its parameters.
        precision: that was chosen for the run.
        counters, sums: how far it is.
    """

    model: Perceiver
    ema: Ema | None
    optimizers: Sequence[torch.optim.Optimizer]
    precision: str
    sums: Sums
    counters: Counters = field(default_factory=Counters)

    @property
    def kept(self) -> Perceiver:
        """The model that is validated and kept: the moving average, where there is one."""
        return self.model if self.ema is None else cast(Perceiver, self.ema.module)

    def agree(self) -> None:
        """Give every process the buffers of the main one, such as the statistics of a batch norm."""
        for module in (self.model, self.kept):
            as_in_main(list(module.buffers()))

    def to_dict(self) -> dict[str, Any]:
        """The state as tensors, which are the run's own, numbers, strings, lists and dicts. All processes must call
        this."""
        self.agree()
        self.sums.gather()
        return {
            "format": STATE_FORMAT,
            "model": self.model.state_dict(),
            "ema": None if self.ema is None else self.ema.module.state_dict(),
            "ema_updates": 0 if self.ema is None else self.ema.updates,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "precision": self.precision,
            "sums": dict(vars(self.sums)),
            "counters": dict(vars(self.counters)),
        }

    @staticmethod
    def precision_of(saved: Mapping[str, Any]) -> Any:
        """The precision in a state in a file.

        Raises:
            ValueError: the state has another format than this version writes.
        """
        found = saved.get("format", 1)  # the first format said no number
        if found != STATE_FORMAT:
            raise ValueError(f"its format is {found}, here it is {STATE_FORMAT}")
        return saved["precision"]

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from a state in a file, which may be that of another number of processes. All processes must call
        this.

        Raises:
            KeyError, TypeError, ValueError: something is missing in the state, or has another name than here.
        """
        load_stored(self.model, saved["model"])
        if self.ema is not None:
            load_stored(self.ema.module, saved["ema"])
            self.ema.updates = saved["ema_updates"]
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            load_stored_optimizer(optimizer, state)
        self.counters = Counters(**saved["counters"])
        for name in ("loss", "training_accuracy"):
            value = saved["sums"][name].read().to(self.sums.loss.device)
            setattr(self.sums, name, value if is_main() else torch.zeros_like(value))
        self.sums.steps = saved["sums"]["steps"]
