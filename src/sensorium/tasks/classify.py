"""Classification: one class for each example."""

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
class ClassifyConfig:
    """Classification: one class for each example.

    Attributes:
        classes: the names of the classes, in the order of the outputs.
    """

    kind: Literal["classify"] = "classify"
    classes: tuple[str, ...]


class Classify(LabelTask[ClassifyConfig]):
    """Softmax cross-entropy; accuracy."""

    primary_metric = "accuracy"

    def encode_targets(self, targets: Tensor) -> Tensor:
        return F.one_hot(targets.long(), self.output_channels).float()

    def loss(self, output: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        return F.cross_entropy(output.float(), targets, label_smoothing=label_smoothing)

    def interpret(self, output: Tensor) -> Prediction:
        return Prediction(output, output.float().softmax(-1))

    def training_accuracy(self, output: Tensor, targets: Tensor) -> float:
        return (output.argmax(-1) == targets.argmax(-1)).float().mean().item()

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection
        from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

        count = max(2, self.output_channels)
        metrics: dict[str, Any] = {
            "accuracy": MulticlassAccuracy(count, average="micro"),
            "balanced_accuracy": MulticlassAccuracy(count, average="macro"),
            "f1": MulticlassF1Score(count, average="macro"),
        }
        if count > 10:
            metrics["accuracy_top5"] = MulticlassAccuracy(count, average="micro", top_k=5)
        return MetricCollection(metrics)

    def update_metrics(self, metrics: MetricCollection, prediction: Prediction, targets: Tensor) -> None:
        metrics.update(prediction.scores, targets.argmax(-1))

    # -- for people

    def answer(self, file: str, scores: dict[str, float], *, top: int) -> Answer:
        return Answer(file, next(iter(likeliest(scores, 1))), likeliest(scores, top))
