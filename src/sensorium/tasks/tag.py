"""Any number of classes for each example."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ..config import record
from .base import Prediction
from .labels import LabelTask
from .presentation import Caption, Judgement, list_names

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

    # -- for people

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
