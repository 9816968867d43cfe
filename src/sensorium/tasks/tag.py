"""Any number of classes for each example."""

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
class TagConfig:
    """Any number of classes for each example."""

    kind: Literal["tag"] = "tag"
    classes: tuple[str, ...]


class Tag(LabelTask):
    """Sigmoid cross-entropy for each class; mean average precision over classes."""

    primary_metric = "mAP"
    label_type = "tags"
    outputs_noun = "tags"

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

    @classmethod
    def configure(cls, *, classes: tuple[str, ...] = (), targets: np.ndarray | None = None) -> TagConfig:
        return TagConfig(classes=classes)
