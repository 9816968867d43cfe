"""Numbers for each example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import record
from .base import Prediction
from .labels import LabelTask

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
    label_type = "numbers"
    outputs_noun = "targets"

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
