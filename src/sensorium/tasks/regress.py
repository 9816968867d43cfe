"""Regression: target values for each example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import record
from .answers import Answer
from .labels import LabelTask
from .predictions import Prediction

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
        return MetricCollection(metrics)

    def update_metrics(self, metrics: MetricCollection, prediction: Prediction, targets: Tensor) -> None:
        metrics.update(prediction.scores, targets)

    def _mean_and_std(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the targets, float32, on the device of ``output``."""
        device = output.device
        return torch.tensor(self.config.mean, device=device), torch.tensor(self.config.std, device=device)

    # -- for people

    def answer(self, file: str, scores: dict[str, float], *, top: int) -> Answer:
        """Every target, whatever ``top`` is."""
        return Answer(file, scores, scores)
