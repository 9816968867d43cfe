"""A model over labelled examples: its scores, its loss and its metrics."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import nan
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..allocator import keep_freed_memory
from ..data import Samples
from ..errors import InputError
from ..modalities import Batch
from ..models.perceiver import Perceiver, evaluating
from ..processes import from_all, is_sharded, rank, total, world_size
from ..tasks import AnyPrediction

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

MOST_EXAMPLES = 64  # at a time
MOST_NUMBERS = 1 << 28  # that the input rows of a batch may have, and its answers: 1 GB
FEWEST_CHANNELS = 64  # as which narrower rows count: attention has a number for each latent


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
        views: how many views of examples were predicted; 0: it is not known.
    """

    split: str
    samples: int
    scores: np.ndarray
    targets: np.ndarray | None
    loss: float
    metrics: dict[str, float]
    seen_in_training: int | None = None
    views: int = 0


def examples_at_a_time(model: Perceiver) -> int:
    """How many examples a model evaluates and predicts at a time, at least one and at most 64: as many as leave room
    for their input (rows × channels) and for their answers (queries × channels). Predictions do not depend on it.

    The answers to the queries of a single example may need more room; ``model.decode`` then makes them part by part.
    """
    inputs = model.inputs.num_rows * max(FEWEST_CHANNELS, model.inputs.channels)
    channels = max(FEWEST_CHANNELS, model.task.query_channels or 0, model.task.output_channels or 0)
    return max(1, min(MOST_EXAMPLES, MOST_NUMBERS // max(inputs, model.num_queries * channels)))


def evaluate_model(
    model: Perceiver,
    samples: Samples,
    *,
    split: str = "test",
    batch_size: int | None = None,
    shared: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict every example, in order, and compare with the targets where there are any. Where the modality has several
    views of an example, its scores and its loss are the means over them. Examples that turn out to be unreadable are
    left out; ``samples.readable()`` are those that were scored.

    The model is in evaluation mode meanwhile, and afterwards in the mode it was in.

    Args:
        split: which part of the data this is, for the record.
        batch_size: examples at a time, on which the result does not depend; None: :func:`examples_at_a_time`.
        shared: whether the processes share the work; then all of them must call this, and have the whole result.
        progress: called after each batch with (examples done, all examples).

    Raises:
        InputError: there are no examples.
    """
    total = len(samples)
    if not total:
        raise InputError(f"the {split} split has no examples; add some or name another split")
    keep_freed_memory()
    batch_size = batch_size or examples_at_a_time(model)
    number, processes = (rank(), world_size()) if shared else (0, 1)
    scores: list[tuple[int, Tensor]] = []  # with the index of their first example
    targets: list[tuple[int, Tensor]] = []
    losses: list[Tensor] = []
    scored = views = 0
    metrics = model.task.metrics().to(next(model.parameters()).device)
    with evaluating(model):
        for start in range(number * batch_size, total + number * batch_size, processes * batch_size):
            indices = list(range(start, min(start + batch_size, total)))
            batch = samples.batch(indices) if indices else {}
            if not batch:
                list(_together(model, (), samples))
                continue
            count = len(next(iter(batch.values())))
            scored += count
            all_views = _together(model, model.inputs.views(model.to_device(batch)), samples)
            score, loss, num_views = _evaluate_batch(model, all_views, metrics)
            views += num_views * count
            if score is not None:
                scores.append((start, score.float().cpu()))
                targets += [(start, batch["target"].cpu())] if "target" in batch else []
            if loss is not None:
                losses.append(loss.double() * count)
            if progress is not None:
                progress(indices[-1] + 1, total)
    own = _Outcome(scored, views, torch.stack(losses).sum().item() if losses else None, scores, targets)
    outcomes = [own]
    if processes > 1:
        outcomes = from_all(own)
        _merge(metrics)
        _share_unreadable(samples)
    return _evaluation(split, outcomes, metrics)


@dataclass(frozen=True)
class _View:
    """What is kept of a view of a batch.

    Attributes:
        prediction: where it is a row of scores for each example; None: it is a signal, and the metrics have it.
        targets: with ``prediction``.
        loss: None: there are no targets.
    """

    prediction: AnyPrediction | None
    targets: Tensor | None
    loss: Tensor | None


def _evaluate_batch(
    model: Perceiver, all_views: Iterable[Batch], metrics: MetricCollection
) -> tuple[Tensor | None, Tensor | None, int]:
    """The scores of a batch by its views (None: predictions are signals), its loss (None: there are no targets), both
    means over the views, and how many views there are. The metrics take it in.

    Views are made and predicted one after the other, and none outlives its turn: all of them take the memory of one.
    """
    task = model.task

    def evaluate_view(view: Batch) -> _View:
        prepared = model.prepare(view)
        prediction, targets = model(prepared.inputs, prepared.query_indices), prepared.targets
        loss = None if targets is None else model.loss(prediction.output, targets)
        if task.per_example:
            return _View(prediction, targets, loss)
        if targets is not None:  # the signals of several views have no mean
            task.update_metrics(metrics, prediction, targets)
        return _View(None, None, loss)

    views = list(map(evaluate_view, all_views))
    predictions = [view.prediction for view in views if view.prediction is not None]
    mean = task.average(predictions) if predictions else None
    if mean is not None and views[0].targets is not None:
        task.update_metrics(metrics, mean, views[0].targets)
    losses = [view.loss for view in views if view.loss is not None]
    loss = torch.stack(losses).mean() if losses else None
    return None if mean is None else mean.scores, loss, len(views)


def _together(model: Perceiver, views: Iterable[Batch], samples: Samples) -> Iterator[Batch]:
    """The views of a batch. If the model is sharded, the processes need each other's weights for every pass: one that
    has fewer views, or none, makes as many passes as the others, with an example whose prediction nobody wants."""
    if not is_sharded(model):
        yield from views
        return
    for view in views:
        total(torch.ones(()))
        yield view
    while total(torch.zeros(())) > 0:
        batch = next(filter(None, (samples.batch([index]) for index in range(len(samples)))))
        prepared = model.prepare(next(iter(model.inputs.views(model.to_device(batch)))))
        model(prepared.inputs, prepared.query_indices)


@dataclass(frozen=True)
class _Outcome:
    """What one process has evaluated.

    Attributes:
        scored: examples.
        views: of them.
        loss: their sum; None: there are no targets.
        scores, targets: batches, each with the index of its first example.
    """

    scored: int
    views: int
    loss: float | None
    scores: list[tuple[int, Tensor]]
    targets: list[tuple[int, Tensor]]


def _evaluation(split: str, outcomes: Sequence[_Outcome], metrics: MetricCollection) -> Evaluation:
    """The evaluation that several processes have made together."""
    scored = sum(outcome.scored for outcome in outcomes)
    scores, targets = (
        [batch for _, batch in sorted(chain.from_iterable(parts), key=itemgetter(0))]
        for parts in ([outcome.scores for outcome in outcomes], [outcome.targets for outcome in outcomes])
    )
    all_scores = torch.cat(scores).numpy() if scores else np.zeros((scored, 0), np.float32)
    all_targets = torch.cat(targets).numpy() if targets else None
    losses = [outcome.loss for outcome in outcomes if outcome.loss is not None]
    values = {"loss": sum(losses) / scored, **computed(metrics)} if losses else {}
    views = sum(outcome.views for outcome in outcomes)
    return Evaluation(split, scored, all_scores, all_targets, values.get("loss", nan), values, views=views)


def _merge(metrics: MetricCollection) -> None:
    """Give each metric the states of all processes. (Its own way waits for ever where one process has no state.)"""
    for _, metric in metrics.items():
        states = from_all({name: _moved(state, "cpu") for name, state in metric.metric_state.items()})
        reductions: Mapping[str, Any] = metric._reductions
        for name, reduce in reductions.items():
            values: list[Any] = [state[name] for state in states]
            merged = (
                list(chain(*values))
                if isinstance(values[0], list)
                else reduce(torch.stack(torch.broadcast_tensors(*values)))
            )
            setattr(metric, name, _moved(merged, metric.device))


def _moved(state: Tensor | list[Tensor], device: torch.device | str) -> Tensor | list[Tensor]:
    return [tensor.to(device) for tensor in state] if isinstance(state, list) else state.to(device)


def _share_unreadable(samples: Samples) -> None:
    """Let every process know the examples that any of them could not read."""
    known = set(samples.unreadable)
    met = sorted(set(chain.from_iterable(from_all(sorted(known)))) - known)
    if met:
        samples.batch(met)


def computed(metrics: MetricCollection) -> dict[str, float]:
    """The values of metrics by name, of this process alone; NaN where one is not defined."""
    values = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about tags without examples, which the report shows
        for name, metric in metrics.items():
            metric.sync_on_compute = metric._to_sync = False
            try:
                values[str(name)] = float(metric.compute())
            except ValueError:  # R² of a single example is not defined
                values[str(name)] = nan
    return values
