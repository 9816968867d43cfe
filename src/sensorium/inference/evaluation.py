"""A model over labelled examples: its scores, its metrics, and where it looked."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import nan
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..data import Samples
from ..errors import InputError
from ..modalities import Batch, Signal
from ..models.perceiver import Perceiver
from ..tasks import Flow
from ..tasks.reconstruct import Reconstruction

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

MOST_EXAMPLES, MOST_ROWS = 64, 1 << 20  # answered at a time
LOOKED_AT = 32  # examples that shares of attention are the mean of
WEAKEST_PEAK = 2.0  # in units of uniform attention: what is hottest on a map must be at least this to be drawn as 1


@dataclass(frozen=True)
class Evaluation:
    """What came of an evaluation.

    Attributes:
        split: which part of the data this is.
        samples: how many examples.
        scores: samples × outputs: probabilities, or values in their own units; samples × 0 where an answer is a signal.
        targets: as the samples give them; None: unlabelled.
        loss: the mean over examples; NaN where there are no targets.
        metrics: name → number, with ``loss``; empty where there are no targets.
    """

    split: str
    samples: int
    scores: np.ndarray
    targets: np.ndarray | None
    loss: float
    metrics: dict[str, float]


def evaluate_model(
    model: Perceiver,
    samples: Samples,
    *,
    split: str = "test",
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Ask a model about every example, in order, and compare with the targets where there are any. Where its modality
    has several views of an example, scores and loss are their means.

    The model is in evaluation mode meanwhile, and in the mode it came in afterwards.

    Args:
        split: which part of the data this is, for the record.
        batch_size: examples at a time; the answer does not depend on it. None: as many as answers have room for.
        progress: called after each batch with how many examples are done, of how many.

    Raises:
        InputError: there are no examples.
    """
    total = len(samples)
    batch_size = batch_size or max(1, min(MOST_EXAMPLES, MOST_ROWS // model.task.num_queries(model.inputs)))
    if not total:
        raise InputError(f"the {split} split has no examples; add some or name another split")
    scores: list[Tensor] = []
    targets: list[Tensor] = []
    loss, known = 0.0, False
    metrics = model.task.metrics().to(next(model.parameters()).device)
    with _evaluating(model):
        for start in range(0, total, batch_size):
            batch = dict(samples.batch(list(range(start, min(start + batch_size, total)))))
            count = min(batch_size, total - start)
            prepared = [model.task.prepare(model.inputs, view) for view in model.inputs.views(_moved(model, batch))]
            answers = [model(one.inputs, one.query_indices) for one in prepared]
            if model.task.per_example:
                answer = replace(answers[0], scores=torch.stack([each.scores for each in answers]).mean(0))
                scores.append(answer.scores.float().cpu())
                targets += [batch["target"].cpu()] if "target" in batch else []
                judged = [(answer, prepared[0])]
            else:  # signals of several views have no mean
                judged = list(zip(answers, prepared, strict=True))
            if prepared[0].targets is not None:
                known = True
                pairs = zip(answers, prepared, strict=True)
                losses = [float(model.task.loss(each.output, one.targets)) for each, one in pairs]
                loss += sum(losses) / len(losses) * count
                for each, one in judged:
                    model.task.score(metrics, each, one.targets)
            if progress is not None:
                progress(start + count, total)
    every_score = torch.cat(scores).numpy() if scores else np.zeros((total, 0), np.float32)
    every_target = torch.cat(targets).numpy() if targets else None
    if not known:
        return Evaluation(split, total, every_score, every_target, nan, {})
    figures = {"loss": loss / total, **_computed(metrics)}
    return Evaluation(split, total, every_score, every_target, loss / total, figures)


def explain(model: Perceiver, batch: Batch, *, read: int = -1) -> Signal:
    """Where one read looked: a heat map in the signal's shape, batch first, each example's values in [0, 1]. Of several
    modalities a map each, by name, each by itself: how much of the attention a modality got is told by :func:`shares`.

    0 is not read at all. 1 is read as much as the 99th percentile of the rows, or more; where no row stands out (less
    than twice its even share), 1 is twice the even share, so that an even gaze is even and half-bright.

    Args:
        batch: as the modality's ``view`` gives it.
        read: which read, in the order they are applied.

    Raises:
        InputError: there is no such read.
    """
    heats = explain_reads(model, batch)
    if not -len(heats) <= read < len(heats):
        raise InputError(f"there is no read {read}: the model has {len(heats)}, counted from 0")
    return heats[read]


def explain_reads(model: Perceiver, batch: Batch) -> list[Signal]:
    """Where each read looked: the maps of :func:`explain`, one per read, computed together."""
    with _evaluating(model):
        moved = _moved(model, batch)
        array = model.embed(moved)
        masks = {segment.name: segment.mask for segment in array.segments}
        # A token that stands for a signal that is not there has no place on a map.
        rows = {segment.name: segment.num_rows for segment in model.inputs.embed(moved).segments}
        maps = []
        for weights in model.attention(moved).unbind(1):
            pieces = [_heat(piece, masks[name])[:, : rows[name]] for name, piece in array.split(weights).items()]
            maps.append(_each(model.inputs.attention_map(torch.cat(pieces, dim=1), moved), Tensor.cpu))
        return maps


def shares(model: Perceiver, batch: Batch) -> list[dict[str, Tensor]]:
    """Of each read, the share of its attention that each modality got: by name, batch; 0 of what an example lacks."""
    with _evaluating(model):
        moved = _moved(model, batch)
        array = model.embed(moved)
        reads = model.attention(moved).unbind(1)
        return [{name: piece.sum(1).cpu() for name, piece in array.split(weights).items()} for weights in reads]


def reconstruction(model: Perceiver, view: Batch) -> Reconstruction:
    """What a model says of a view of some examples, asked as in an evaluation."""
    with _evaluating(model):
        return model(model.task.prepare(model.inputs, _moved(model, view)).inputs)


def reconstructed(model: Perceiver, view: Batch) -> dict[str, Tensor]:
    """A view of some examples as the model says they are, where it was not shown what they are."""
    completed = reconstruction(model, view).completed
    return {**view, **{name: signal.cpu() for name, signal in completed.items() if name in view}}


def flows(model: Perceiver, samples: Samples, index: int) -> tuple[dict[str, Tensor], Tensor, Tensor | None]:
    """Of one example two frames, as a view, the motion that the model sees in them, and the true one: 2 × height ×
    width, NaN where it is unknown; None: nobody knows it. On the CPU, for drawing."""
    with _evaluating(model):
        prepared = model.task.prepare(model.inputs, _seen(model, samples.batch([index])))
        found = model(prepared.inputs).flow[0].cpu()
        true = None if prepared.targets is None else prepared.targets[0].mT.reshape(found.shape).cpu()
        return {name: tensor.cpu() for name, tensor in prepared.inputs.items()}, found, true


def mean_shares(model: Perceiver, samples: Samples) -> dict[str, list[float]]:
    """The share of each modality's attention in each read: the mean over a few examples, evenly chosen."""
    chosen = np.linspace(0, len(samples) - 1, min(len(samples), LOOKED_AT)).astype(int).tolist()
    batch = seen(model, samples, chosen)
    # One at a time: the attention of a large model over a long signal fills a memory.
    told = [shares(model, one(batch, slice(place, place + 1))) for place in range(len(chosen))]
    return {
        modality.name: [
            float(np.mean([float(reads[read][modality.name]) for reads in told])) for read in range(len(told[0]))
        ]
        for modality in model.inputs.modalities
    }


def one(signal: Signal, index: int | slice) -> Signal:
    """The example (or examples) at ``index`` of what is given per example, of one modality or of several by name."""
    return _each(signal, lambda tensor: tensor[index])


def _each(signal: Signal, look: Callable[[Tensor], Tensor]) -> Signal:
    return {name: look(value) for name, value in signal.items()} if isinstance(signal, Mapping) else look(signal)


def seen(model: Perceiver, samples: Samples, indices: Sequence[int]) -> dict[str, Tensor]:
    """The examples at ``indices`` as the model sees them, on the CPU, for drawing; single pictures whose motion is made
    up as pairs."""
    with torch.inference_mode():
        batch = dict(samples.batch(list(indices)))
        batch.pop("target", None)
        view = _seen(model, batch)
        if isinstance(model.task, Flow):
            view = model.task.prepare(model.inputs, view).inputs
        return {name: tensor.cpu() for name, tensor in view.items()}


def _heat(weights: Tensor, mask: Tensor | None) -> Tensor:
    """Attention to the rows of a modality (batch × rows) as heat in [0, 1], per example. Absent rows are not
    counted."""
    if weights.shape[1] == 0:
        return weights
    rows = weights.new_full(weights.shape[:1], weights.shape[1]) if mask is None else mask.sum(1).to(weights)
    whole = weights.sum(1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    shares = weights / whole * rows[:, None]  # 1 is the even share
    place = (rows * 0.01).long()[:, None]
    peak = shares.sort(dim=1, descending=True).values.gather(1, place)
    return (shares / peak.clamp_min(WEAKEST_PEAK)).clamp(0, 1)


def _computed(metrics: MetricCollection) -> dict[str, float]:
    result = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # tags without examples: the report shows them
        for name, metric in metrics.items():
            try:
                result[str(name)] = float(metric.compute())
            except ValueError:  # R² is not defined for a single example
                result[str(name)] = nan
    return result


def _seen(model: Perceiver, batch: Batch) -> dict[str, Tensor]:
    return model.inputs.view(_moved(model, batch))


def _moved(model: Perceiver, batch: Batch) -> dict[str, Tensor]:
    device = next(model.parameters()).device
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


@contextmanager
def _evaluating(model: Perceiver) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is in the mode it was in, frozen ones too."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training
