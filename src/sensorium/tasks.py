"""What is asked of a signal, what it costs to be wrong, and how right an answer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor

from .config import record

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True)
class Answer:
    """What a model says of a batch.

    Attributes:
        output: batch × outputs, as the decoder gives it (logits).
        scores: batch × outputs, for people: probabilities, or values in their own units.
    """

    output: Tensor
    scores: Tensor


@record
class ClassifyConfig:
    """One class of several for each example."""

    kind: Literal["classify"] = "classify"
    classes: tuple[str, ...]


@record
class TagConfig:
    """Any number of classes for each example."""

    kind: Literal["tag"] = "tag"
    classes: tuple[str, ...]


@record
class RegressConfig:
    """Numbers for each example; ``mean`` and ``std`` are of the training targets, in their own units."""

    kind: Literal["regress"] = "regress"
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


TaskConfig = Annotated[ClassifyConfig | TagConfig | RegressConfig, pydantic.Field(discriminator="kind")]


class Task(ABC):
    """A question with an answer that can be scored.

    Attributes:
        headline: the metric by which models are compared; larger is better.
    """

    headline: ClassVar[str]

    def __init__(self, config: Any) -> None:
        self.config = config

    @property
    def outputs(self) -> int:
        """Channels of the decoder's output."""
        return len(self.config.classes)

    @abstractmethod
    def spell_out(self, target: Tensor) -> Tensor:
        """Targets as batch × outputs floats, which may be mixed (mixup)."""

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        """The mean loss of a batch, against targets as ``spell_out`` gives them."""

    @abstractmethod
    def answer(self, output: Tensor) -> Answer:
        """The decoder's output, read."""

    def agreement(self, output: Tensor, target: Tensor) -> float:
        """The share of a training batch that is right, for a glance; NaN where right and wrong do not apply."""
        return nan

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """Fresh metrics, updated with (scores, target)."""


class Classify(Task):
    """Cross-entropy; accuracy."""

    headline = "accuracy"

    def spell_out(self, target: Tensor) -> Tensor:
        return F.one_hot(target.long(), self.outputs).float()

    def loss(self, output: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        return F.cross_entropy(output.float(), target, label_smoothing=smoothing)

    def answer(self, output: Tensor) -> Answer:
        return Answer(output, output.float().softmax(-1))

    def agreement(self, output: Tensor, target: Tensor) -> float:
        return (output.argmax(-1) == target.argmax(-1)).float().mean().item()

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection
        from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

        count = max(2, self.outputs)
        metrics: dict[str, Any] = {
            "accuracy": MulticlassAccuracy(count, average="micro"),
            "balanced_accuracy": MulticlassAccuracy(count, average="macro"),
            "f1": MulticlassF1Score(count, average="macro"),
        }
        if count > 10:
            metrics["accuracy_top5"] = MulticlassAccuracy(count, average="micro", top_k=5)
        return MetricCollection(metrics)


class Tag(Task):
    """Sigmoid cross-entropy for each class; mean average precision over classes."""

    headline = "mAP"

    def spell_out(self, target: Tensor) -> Tensor:
        return target.float()

    def loss(self, output: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        return F.binary_cross_entropy_with_logits(output.float(), target * (1 - smoothing) + smoothing / 2)

    def answer(self, output: Tensor) -> Answer:
        return Answer(output, output.float().sigmoid())

    def agreement(self, output: Tensor, target: Tensor) -> float:
        return ((output > 0) == (target > 0.5)).float().mean().item()

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection
        from torchmetrics.classification import MultilabelAccuracy, MultilabelAveragePrecision

        metrics: dict[str, Any] = {
            "mAP": MultilabelAveragePrecision(self.outputs, average="macro"),
            "accuracy": MultilabelAccuracy(self.outputs, average="micro"),
        }
        return MetricCollection(metrics)


class Regress(Task):
    """Squared error of standardised targets; coefficient of determination."""

    headline = "r2"

    def spell_out(self, target: Tensor) -> Tensor:
        return target.float().reshape(len(target), self.outputs)

    def loss(self, output: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        return F.mse_loss(output.float(), (target - self._mean(output)) / self._std(output))

    def answer(self, output: Tensor) -> Answer:
        return Answer(output, output.float() * self._std(output) + self._mean(output))

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection
        from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

        metrics: dict[str, Any] = {"r2": R2Score(), "mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False)}
        return MetricCollection(metrics)

    def _mean(self, like: Tensor) -> Tensor:
        return torch.tensor(self.config.mean, device=like.device)

    def _std(self, like: Tensor) -> Tensor:
        return torch.tensor(self.config.std, device=like.device)


TASKS: dict[str, type[Task]] = {"classify": Classify, "tag": Tag, "regress": Regress}


def task(config: Any) -> Task:
    """The task that a configuration describes."""
    return TASKS[config.kind](config)
