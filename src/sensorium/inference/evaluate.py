"""A model over labelled examples: its scores, its loss and its metrics."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..data import Samples
from ..errors import InputError
from ..models.perceiver import Perceiver, evaluating

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

MOST_EXAMPLES = 64  # at a time
MOST_ROWS = 1 << 22  # of input that a batch may have
MOST_QUERIES = 1 << 20  # that a batch may have


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        split: which part of the data was evaluated.
        samples: how many examples.
        scores: samples × outputs: probabilities, or values in their own units; samples × 0 where the prediction is a
            signal.
        targets: as the samples give them; None: there are no labels.
        loss: the mean over examples; NaN where there are no targets.
        metrics: by name, with ``loss``; empty where there are no targets.
        seen_in_training: how many of the examples the model was trained or selected on; None: it is not known.
    """

    split: str
    samples: int
    scores: np.ndarray
    targets: np.ndarray | None
    loss: float
    metrics: dict[str, float]
    seen_in_training: int | None = None


def examples_at_a_time(model: Perceiver) -> int:
    """How many examples a model evaluates and predicts at a time: as many as leave room for their input rows and their
    queries, at least one and at most 64. Predictions do not depend on it."""
    return max(1, min(MOST_EXAMPLES, MOST_ROWS // model.inputs.num_rows, MOST_QUERIES // model.num_queries))


def evaluate_model(
    model: Perceiver,
    samples: Samples,
    *,
    split: str = "test",
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict every example, in order, and compare with the targets where there are any. Where the modality has several
    views of an example, its scores and its loss are the means over them. Examples that turn out to be unreadable are
    left out; ``samples.readable()`` are those that were scored.

    The model is in evaluation mode meanwhile, and afterwards in the mode it was in.

    Args:
        split: which part of the data this is, for the record.
        batch_size: examples at a time, on which the result does not depend; None: :func:`examples_at_a_time`.
        progress: called after each batch with (examples done, all examples).

    Raises:
        InputError: there are no examples.
    """
    total = len(samples)
    if not total:
        raise InputError(f"the {split} split has no examples; add some or name another split")
    batch_size = batch_size or examples_at_a_time(model)
    scores: list[Tensor] = []
    targets: list[Tensor] = []
    loss, has_targets, scored = 0.0, False, 0
    metrics = model.task.metrics().to(next(model.parameters()).device)
    with evaluating(model):
        for start in range(0, total, batch_size):
            indices = list(range(start, min(start + batch_size, total)))
            batch = samples.batch(indices)
            if not batch:
                continue
            count = len(next(iter(batch.values())))
            scored += count
            prepared = [model.prepare(view) for view in model.inputs.views(model.to_device(batch))]
            predictions = [model(view.inputs, view.query_indices) for view in prepared]
            if model.task.per_example:
                mean = model.task.average(predictions)
                scores.append(mean.scores.float().cpu())
                targets += [batch["target"].cpu()] if "target" in batch else []
                judged = [(mean, prepared[0])]
            else:  # the signals of several views have no mean
                judged = list(zip(predictions, prepared, strict=True))
            if prepared[0].targets is not None:
                has_targets = True
                pairs = zip(predictions, prepared, strict=True)
                losses = [float(model.loss(prediction.output, view.targets)) for prediction, view in pairs]
                loss += sum(losses) / len(losses) * count
                for prediction, view in judged:
                    model.task.update_metrics(metrics, prediction, view.targets)
            if progress is not None:
                progress(start + len(indices), total)
    all_scores = torch.cat(scores).numpy() if scores else np.zeros((scored, 0), np.float32)
    all_targets = torch.cat(targets).numpy() if targets else None
    values = {"loss": loss / scored, **computed(metrics)} if has_targets else {}
    return Evaluation(split, scored, all_scores, all_targets, values.get("loss", nan), values)


def computed(metrics: MetricCollection) -> dict[str, float]:
    """The values of metrics by name; NaN where one is not defined."""
    values = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about tags without examples, which the report shows
        for name, metric in metrics.items():
            try:
                values[str(name)] = float(metric.compute())
            except ValueError:  # R² of a single example is not defined
                values[str(name)] = nan
    return values
