"""A class, tags or numbers for a whole example: one query, or the mean of the latents."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import record
from ..modalities import Modality
from ..nn.queries import LearnedQueries, Queries
from .base import Prediction, Prepared, Task

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


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


class Named(Task):
    """A number for each of some names, for a whole example: one query, or the mean of the latents."""

    def __init__(self, config: Any, *, inputs: Modality, channels: int | None = None) -> None:
        super().__init__(config, inputs=inputs, channels=channels)
        self.learned_queries = None if channels is None else LearnedQueries(1, channels)

    @property
    def query_channels(self) -> int | None:
        return None if self.learned_queries is None else self.learned_queries.table.shape[1]

    @property
    def outputs(self) -> int:
        return len(self.config.classes)

    def num_queries(self, inputs: Modality) -> int:
        return 1

    def queries(self, inputs: Modality, batch: Mapping[str, Tensor], where: Tensor | None = None) -> Queries | None:
        return None if self.learned_queries is None else self.learned_queries(where=where)

    def predict(self, inputs: Modality, rows: Tensor, queries: Queries | None) -> Prediction:
        return self.read(rows.squeeze(1))

    def prepare(
        self, inputs: Modality, view: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Prepared:
        view = dict(view)
        target = view.pop("target", None)
        return Prepared(view, None if target is None else self.spell_out(target))

    @abstractmethod
    def read(self, output: Tensor) -> Prediction:
        """batch × outputs, as the decoder gives it, read."""

    @abstractmethod
    def spell_out(self, target: Tensor) -> Tensor:
        """Targets of the data as batch × outputs floats, which may be mixed (mixup)."""


class Classify(Named):
    """Cross-entropy; accuracy."""

    primary_metric = "accuracy"

    def spell_out(self, target: Tensor) -> Tensor:
        return F.one_hot(target.long(), self.outputs).float()

    def loss(self, output: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        return F.cross_entropy(output.float(), target, label_smoothing=smoothing)

    def read(self, output: Tensor) -> Prediction:
        return Prediction(output, output.float().softmax(-1))

    def training_accuracy(self, output: Tensor, target: Tensor) -> float:
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

    def score(self, metrics: MetricCollection, answer: Prediction, target: Tensor) -> None:
        metrics.update(answer.scores, target.argmax(-1))


class Tag(Named):
    """Sigmoid cross-entropy for each class; mean average precision over classes."""

    primary_metric = "mAP"

    def spell_out(self, target: Tensor) -> Tensor:
        return target.float()

    def loss(self, output: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        return F.binary_cross_entropy_with_logits(output.float(), target * (1 - smoothing) + smoothing / 2)

    def read(self, output: Tensor) -> Prediction:
        return Prediction(output, output.float().sigmoid())

    def training_accuracy(self, output: Tensor, target: Tensor) -> float:
        return ((output > 0) == (target > 0.5)).float().mean().item()

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection
        from torchmetrics.classification import MultilabelAccuracy, MultilabelAveragePrecision

        metrics: dict[str, Any] = {
            "mAP": MultilabelAveragePrecision(self.outputs, average="macro"),
            "accuracy": MultilabelAccuracy(self.outputs, average="micro"),
        }
        return MetricCollection(metrics)

    def score(self, metrics: MetricCollection, answer: Prediction, target: Tensor) -> None:
        metrics.update(answer.scores, target.long())


class Regress(Named):
    """Squared error of standardised targets; coefficient of determination."""

    primary_metric = "r2"

    def spell_out(self, target: Tensor) -> Tensor:
        return target.float().reshape(len(target), self.outputs)

    def loss(self, output: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        return F.mse_loss(output.float(), (target - self._mean(output)) / self._std(output))

    def read(self, output: Tensor) -> Prediction:
        return Prediction(output, output.float() * self._std(output) + self._mean(output))

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection
        from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

        metrics: dict[str, Any] = {"r2": R2Score(), "mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False)}
        return MetricCollection(metrics)

    def score(self, metrics: MetricCollection, answer: Prediction, target: Tensor) -> None:
        metrics.update(answer.scores, target)

    def _mean(self, like: Tensor) -> Tensor:
        return torch.tensor(self.config.mean, device=like.device)

    def _std(self, like: Tensor) -> Tensor:
        return torch.tensor(self.config.std, device=like.device)
