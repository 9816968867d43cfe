"""Regression: target values for each example."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import record
from .answers import Answer
from .labels import LabelTask
from .predictions import Prediction
from .presentation import Judgement

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@record
class RegressConfig:
    """Regression: target values for each example.

    Attributes:
        classes: the names of the targets, in the order of the outputs.
        mean, std: of each target over the training examples, in its own unit.
    """

    kind: Literal["regress"] = "regress"
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Regress(LabelTask[RegressConfig]):
    """Squared error of standardised targets; coefficient of determination."""

    primary_metric = "r2"
    label_type = "numbers"

    def encode_targets(self, targets: Tensor) -> Tensor:
        return targets.float().reshape(len(targets), self.output_channels)

    def loss(self, output: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        mean, std = self._mean_and_std(output)
        return F.mse_loss(output.float(), (targets - mean) / std)

    def interpret(self, output: Tensor) -> Prediction:
        mean, std = self._mean_and_std(output)
        return Prediction(output, output.float() * std + mean)

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection
        from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

        metrics: dict[str, Any] = {"r2": R2Score(), "mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False)}
        return MetricCollection(metrics, compute_groups=False)

    def update_metrics(self, metrics: MetricCollection, prediction: Prediction, targets: Tensor) -> None:
        metrics.update(prediction.scores, targets)

    def _mean_and_std(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the targets, float32, on the device of ``output``."""
        device = output.device
        mean, std = torch.tensor([self.config.mean, self.config.std]).to(device, non_blocking=True)
        return mean, std

    @classmethod
    def configure(cls, *, classes: tuple[str, ...] = (), targets: np.ndarray | None = None) -> RegressConfig:
        """The names of the numbers, and their mean and standard deviation in the training examples."""
        assert targets is not None  # data that are regressed have targets
        values = targets.astype(np.float64)
        return RegressConfig(
            classes=classes,
            mean=tuple(float(mean) for mean in values.mean(0)),
            std=tuple(max(float(deviation), 1e-9) for deviation in values.std(0)),
        )

    # -- for people

    def answer(self, file: str, scores: dict[str, float], *, top: int) -> Answer:
        """Every target, whatever ``top`` is."""
        return Answer(file, scores, scores)

    outputs_noun: ClassVar[str] = "targets"
    metric_titles: ClassVar[dict[str, str]] = {
        "mae": "Mean absolute error",
        "r2": "R²",
        "rmse": "Root mean squared error",
    }
    leading_score: ClassVar[str] = "r2"
    gallery_titles: ClassVar[tuple[str, str]] = ("Close", "Furthest off")

    def summarise(self, scores: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """The errors of each target. R² is not defined for a target that is the same in all examples."""
        return {"per_class": self.per_class(_target_scores, scores, targets.reshape(scores.shape))}

    def value_pairs(self, scores: np.ndarray, targets: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        columns = zip(scores.T, targets.reshape(scores.shape).T, strict=True)
        return dict(zip(self.classes, columns, strict=True))

    def judge(self, scores: np.ndarray, targets: np.ndarray) -> Judgement:
        """Badness: the mean absolute error in standard deviations of the training targets. Right: the better half."""
        badness = (np.abs(scores - targets.reshape(scores.shape)) / np.array(self.config.std)).mean(1)
        return Judgement(badness <= np.median(badness), badness)


def _target_scores(scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    scores, targets = scores.astype(np.float64), targets.astype(np.float64)
    varied = targets.min() < targets.max()
    return {
        "r2": float(r2_score(targets, scores)) if varied else nan,
        "mae": float(mean_absolute_error(targets, scores)),
        "rmse": float(root_mean_squared_error(targets, scores)),
    }
