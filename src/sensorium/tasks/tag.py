"""Tagging: any number of classes for each example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch.nn.functional as F
from torch import Tensor

from ..config import record
from .answers import Answer
from .labels import LabelTask, likeliest
from .predictions import Prediction

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@record
class TagConfig:
    """Tagging: any number of classes for each example.

    Attributes:
        classes: the names of the tags, in the order of the outputs.
    """

    kind: Literal["tag"] = "tag"
    classes: tuple[str, ...]


class Tag(LabelTask[TagConfig]):
    """Sigmoid cross-entropy of each class; mean average precision over classes."""

    primary_metric = "mAP"

    def encode_targets(self, targets: Tensor) -> Tensor:
        return targets.float()

    def loss(self, output: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        smoothed = targets * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(output.float(), smoothed)

    def interpret(self, output: Tensor) -> Prediction:
        return Prediction(output, output.float().sigmoid())

    def training_accuracy(self, output: Tensor, targets: Tensor) -> float:
        return ((output > 0) == (targets > 0.5)).float().mean().item()

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection
        from torchmetrics.classification import MultilabelAccuracy, MultilabelAveragePrecision

        metrics: dict[str, Any] = {
            "mAP": MultilabelAveragePrecision(self.output_channels, average="macro"),
            "accuracy": MultilabelAccuracy(self.output_channels, average="micro"),
        }
        return MetricCollection(metrics)

    def update_metrics(self, metrics: MetricCollection, prediction: Prediction, targets: Tensor) -> None:
        metrics.update(prediction.scores, targets.long())

    # -- for people

    def answer(self, file: str, scores: dict[str, float], *, top: int) -> Answer:
        ranked = likeliest(scores, len(scores))
        return Answer(file, [tag for tag, score in ranked.items() if score >= 0.5], likeliest(scores, top))
