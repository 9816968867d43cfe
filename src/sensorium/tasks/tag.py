"""Tagging: any number of classes for each example."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ..config import record
from .answers import Answer
from .labels import LabelTask, likeliest
from .predictions import Prediction
from .presentation import Caption, Judgement, list_names

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
    label_type = "tags"

    def encode_targets(self, targets: Tensor) -> Tensor:
        return targets.float()

    def loss(self, output: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        smoothed = targets * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(output.float(), smoothed)

    def interpret(self, output: Tensor) -> Prediction:
        return Prediction(output, output.float().sigmoid())

    def training_accuracy(self, output: Tensor, targets: Tensor) -> Tensor:
        return ((output > 0) == (targets > 0.5)).float().mean()

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection
        from torchmetrics.classification import MultilabelAccuracy, MultilabelAveragePrecision

        metrics: dict[str, Any] = {
            "mAP": MultilabelAveragePrecision(self.output_channels, average="macro"),
            "accuracy": MultilabelAccuracy(self.output_channels, average="micro"),
        }
        return MetricCollection(metrics, compute_groups=False)

    def update_metrics(self, metrics: MetricCollection, prediction: Prediction, targets: Tensor) -> None:
        metrics.update(prediction.scores, targets.long())

    @classmethod
    def configure(cls, *, classes: tuple[str, ...] = (), targets: np.ndarray | None = None) -> TagConfig:
        return TagConfig(classes=classes)

    # -- for people

    def answer(self, file: str, scores: dict[str, float], *, top: int) -> Answer:
        ranked = likeliest(scores, len(scores))
        return Answer(file, [tag for tag, score in ranked.items() if score >= 0.5], likeliest(scores, top))

    outputs_noun: ClassVar[str] = "tags"
    metric_titles: ClassVar[dict[str, str]] = {
        "accuracy": "Accuracy",
        "average_precision": "Average precision",
        "count": "Examples",
        "mAP": "Mean average precision",
    }
    percent_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "average_precision", "mAP")
    leading_score: ClassVar[str] = "average_precision"
    scores_are_probabilities: ClassVar[bool] = True
    gallery_titles: ClassVar[tuple[str, str]] = ("All tags right", "Some tags wrong, the furthest off first")

    def summarise(self, scores: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """The average precision of each tag, which is not defined for one that no example has."""
        return {"per_class": self.per_class(_tag_scores, scores, targets)}

    def judge(self, scores: np.ndarray, targets: np.ndarray) -> Judgement:
        """Right: every tag is on the right side of one half. Badness: the error of the worst tag."""
        return Judgement(((scores > 0.5) == (targets > 0.5)).all(1), np.abs(scores - targets).max(1))

    def caption(self, score: np.ndarray, target: np.ndarray | None = None) -> Caption:
        return Caption(self._present_tags(score), None if target is None else self._present_tags(target))

    def _present_tags(self, values: np.ndarray) -> str:
        """The tags above one half, the highest first."""
        order = np.argsort(-values, kind="stable")
        return list_names([self.classes[column] for column in order if values[column] > 0.5])


def _tag_scores(scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import average_precision_score

    present = targets > 0.5
    precision = float(average_precision_score(present, scores)) if present.any() else nan
    return {"average_precision": precision, "count": int(present.sum())}
