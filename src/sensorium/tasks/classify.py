"""One class of several for each example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ..config import record
from .base import Prediction
from .labels import LabelTask

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@record
class ClassifyConfig:
    """One class of several for each example."""

    kind: Literal["classify"] = "classify"
    classes: tuple[str, ...]


class Classify(LabelTask):
    """Cross-entropy; accuracy."""

    primary_metric = "accuracy"
    label_type = "class"
    outputs_noun = "classes"

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

    @classmethod
    def configure(cls, *, classes: tuple[str, ...] = (), targets: np.ndarray | None = None) -> ClassifyConfig:
        return ClassifyConfig(classes=classes)
