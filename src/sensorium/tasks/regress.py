"""Numbers for each example."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import record
from .base import Prediction
from .labels import LabelTask
from .presentation import Judgement

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@record
class RegressConfig:
    """Numbers for each example; ``mean`` and ``std`` are of the training targets, in their own units."""

    kind: Literal["regress"] = "regress"
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Regress(LabelTask):
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

    # -- for people

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
