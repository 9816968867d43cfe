"""A model over labelled examples: its scores, its metrics, and where it looked."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..modalities import Batch
from ..model import Model

WEAKEST_PEAK = 2.0  # in units of uniform attention: what is hottest on a map must be at least this to be drawn as 1


class Samples(Protocol):
    """Examples that can be asked for by number, as ``sensorium.data`` gives them."""

    @property
    def names(self) -> Sequence[str]:
        """What to call each example when speaking to people."""
        ...

    @property
    def set_aside(self) -> Sequence[str]:
        """One line per file that could not be read and is not among the samples."""
        ...

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> Mapping[str, Tensor]:
        """The examples at ``indices``, in that order; with ``target`` where there are labels."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """What came of an evaluation.

    Attributes:
        split: which part of the data this is.
        samples: how many examples.
        scores: samples × outputs: probabilities, or values in their own units.
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


def evaluate(
    model: Model,
    samples: Samples,
    *,
    split: str = "test",
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Ask a model about every example, in order, and compare with the targets where there are any.

    The model is in evaluation mode meanwhile, and in the mode it came in afterwards.

    Args:
        split: which part of the data this is, for the record.
        batch_size: examples at a time; the answer does not depend on it.
        progress: called after each batch with how many examples are done, of how many.

    Raises:
        InputError: there are no examples.
    """
    total = len(samples)
    if not total:
        raise InputError(f"the {split} split has no examples; add some or name another split")
    scores: list[Tensor] = []
    targets: list[Tensor] = []
    loss = 0.0
    with _evaluating(model):
        for start in range(0, total, batch_size):
            batch = dict(samples.batch(list(range(start, min(start + batch_size, total)))))
            target = batch.pop("target", None)
            answer = model(_seen(model, batch))
            scores.append(answer.scores.float().cpu())
            if target is not None:
                wanted = model.task.spell_out(target.to(answer.output.device))
                loss += float(model.task.loss(answer.output, wanted)) * len(target)
                targets.append(target.cpu())
            if progress is not None:
                progress(min(start + batch_size, total), total)
    every_score = torch.cat(scores)
    if not targets:
        return Evaluation(split, total, every_score.numpy(), None, nan, {})
    every_target = torch.cat(targets)
    metrics = {"loss": loss / total, **_metrics(model, every_score, every_target)}
    return Evaluation(split, total, every_score.numpy(), every_target.numpy(), loss / total, metrics)


def explain(model: Model, batch: Batch, *, read: int = -1) -> Tensor:
    """Where one read looked: a heat map in the signal's shape, batch first, each example's values in [0, 1].

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


def explain_reads(model: Model, batch: Batch) -> list[Tensor]:
    """Where each read looked: the maps of :func:`explain`, one per read, computed together."""
    with _evaluating(model):
        moved = _moved(model, batch)
        attention = model.attention(moved)
        mask = model.inputs.embed(moved).mask
        return [model.inputs.spread(_heat(weights, mask), moved).cpu() for weights in attention.unbind(1)]


def seen(model: Model, samples: Samples, indices: Sequence[int]) -> dict[str, Tensor]:
    """The examples at ``indices`` as the model sees them, on the CPU, for drawing."""
    with torch.inference_mode():
        batch = dict(samples.batch(list(indices)))
        batch.pop("target", None)
        return {name: tensor.cpu() for name, tensor in _seen(model, batch).items()}


def _heat(weights: Tensor, mask: Tensor | None) -> Tensor:
    """Attention (batch × rows, sums of 1) as heat in [0, 1], per example. Absent rows do not count as rows."""
    rows = weights.new_full(weights.shape[:1], weights.shape[1]) if mask is None else mask.sum(1).to(weights)
    shares = weights * rows[:, None]  # 1 is the even share
    place = (rows * 0.01).long()[:, None]
    peak = shares.sort(dim=1, descending=True).values.gather(1, place)
    return (shares / peak.clamp_min(WEAKEST_PEAK)).clamp(0, 1)


def _metrics(model: Model, scores: Tensor, targets: Tensor) -> dict[str, float]:
    targets = targets.float().reshape(scores.shape) if model.task.config.kind == "regress" else targets.long()
    result = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # tags without examples: the report shows them
        for name, metric in model.task.metrics().items():
            metric.update(scores, targets)
            try:
                result[str(name)] = float(metric.compute())
            except ValueError:  # R² is not defined for a single example
                result[str(name)] = nan
    return result


def _seen(model: Model, batch: Batch) -> dict[str, Tensor]:
    return model.inputs.view(_moved(model, batch))


def _moved(model: Model, batch: Batch) -> dict[str, Tensor]:
    device = next(model.parameters()).device
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


@contextmanager
def _evaluating(model: Model) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is in the mode it was in, frozen ones too."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training
