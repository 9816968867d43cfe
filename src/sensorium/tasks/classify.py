"""Classification: one class for each example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import record
from .answers import Answer
from .labels import LabelTask, likeliest
from .predictions import Prediction
from .presentation import Caption, Judgement

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

MAX_CONFUSIONS = 20  # pairs of classes that a summary lists


@record
class ClassifyConfig:
    """Classification: one class for each example.

    Attributes:
        classes: the names of the classes, in the order of the outputs.
        class_weights: of the loss, one for each class; None: every example counts alike.
    """

    kind: Literal["classify"] = "classify"
    classes: tuple[str, ...]
    class_weights: tuple[float, ...] | None = None


class Classify(LabelTask[ClassifyConfig]):
    """Softmax cross-entropy; accuracy."""

    primary_metric = "accuracy"
    label_type = "class"

    def encode_targets(self, targets: Tensor) -> Tensor:
        return F.one_hot(targets.long(), self.output_channels).float()

    def loss(self, output: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        weights = self.config.class_weights
        weight = None if weights is None else torch.tensor(weights).to(output.device, non_blocking=True)
        return F.cross_entropy(output.float(), targets, weight=weight, label_smoothing=label_smoothing)

    def interpret(self, output: Tensor) -> Prediction:
        return Prediction(output, output.float().softmax(-1))

    def training_accuracy(self, output: Tensor, targets: Tensor) -> Tensor:
        return (output.argmax(-1) == targets.argmax(-1)).float().mean()

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
        # In groups, metrics whose counts are equal after the first batch would share them from then on.
        return MetricCollection(metrics, compute_groups=False)

    def update_metrics(self, metrics: MetricCollection, prediction: Prediction, targets: Tensor) -> None:
        metrics.update(prediction.scores, targets.argmax(-1))

    @classmethod
    def configure(cls, *, classes: tuple[str, ...] = (), targets: np.ndarray | None = None) -> ClassifyConfig:
        return ClassifyConfig(classes=classes)

    # -- for people

    def answer(self, file: str, scores: dict[str, float], *, top: int) -> Answer:
        return Answer(file, next(iter(likeliest(scores, 1))), likeliest(scores, top))

    outputs_noun: ClassVar[str] = "classes"
    metric_titles: ClassVar[dict[str, str]] = {
        "accuracy": "Accuracy",
        "accuracy_top5": "Top-5 accuracy",
        "balanced_accuracy": "Balanced accuracy",
        "count": "Examples",
        "f1": "F1",
        "precision": "Precision",
        "recall": "Recall",
    }
    percent_metrics: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "accuracy_top5",
        "balanced_accuracy",
        "f1",
        "precision",
        "recall",
    )
    leading_score: ClassVar[str] = "f1"
    scores_are_probabilities: ClassVar[bool] = True
    gallery_titles: ClassVar[tuple[str, str]] = ("Right", "Wrong, the most confident first")

    def summarise(self, scores: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """The confusion matrix and what follows from it. The interval is Wilson's, at 95 %. Not defined: the precision
        of a class that is never predicted, the recall of one without examples."""
        from scipy.stats import binomtest
        from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

        targets, predicted, labels = targets.astype(np.int64), scores.argmax(1), np.arange(len(self.classes))
        confusion = confusion_matrix(targets, predicted, labels=labels)
        columns = precision_recall_fscore_support(targets, predicted, labels=labels, zero_division=np.nan)
        per_class = [
            dict(zip(("precision", "recall", "f1", "count"), row, strict=True)) for row in zip(*columns, strict=True)
        ]
        interval = binomtest(int(confusion.trace()), len(targets)).proportion_ci(method="wilson")
        return {
            "accuracy_interval": (float(interval.low), float(interval.high)),
            "per_class": dict(zip(self.classes, per_class, strict=True)),
            "worst_confusions": _worst_confusions(confusion, self.classes),
            "confusion": confusion,
        }

    def judge(self, scores: np.ndarray, targets: np.ndarray) -> Judgement:
        """A wrong prediction is the worse, the more confident it is."""
        return Judgement(scores.argmax(1) == targets, scores.max(1))

    def caption(self, score: np.ndarray, target: np.ndarray | None = None) -> Caption:
        truth = None if target is None else self.classes[int(target)]
        return Caption(self.classes[int(score.argmax())], truth, float(score.max()))


def balanced_weights(targets: np.ndarray, count: int) -> tuple[float, ...]:
    """Weights by which all classes together count alike in the loss: the mean over the examples is 1.

    Args:
        targets: int64, n.
        count: of the classes; one without examples has the weight 0.

    >>> balanced_weights(np.array([0, 0, 0, 1]), 2)
    (0.66667, 2.0)
    """
    counts = np.bincount(targets, minlength=count)
    present = int((counts > 0).sum())
    return tuple(round(len(targets) / (present * number), 5) if number else 0.0 for number in counts.tolist())


def _worst_confusions(confusion: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The most frequent pairs of a true class and another one that was predicted for it, the most frequent first."""
    wrong = confusion - np.diag(confusion.diagonal())
    pairs = [np.unravel_index(position, wrong.shape) for position in np.argsort(-wrong, axis=None, kind="stable")]
    return [
        {
            "true": classes[true],
            "predicted": classes[predicted],
            "count": int(wrong[true, predicted]),
            "share": float(wrong[true, predicted] / confusion[true].sum()),
        }
        for true, predicted in pairs[:MAX_CONFUSIONS]
        if wrong[true, predicted]
    ]
