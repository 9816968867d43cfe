"""What goes into a model and what comes out of it: prepared batches, queries about signals, predictions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import Tensor

from ..modalities import Batch
from ..nn.queries import Queries


class AnyPrediction(Protocol):
    """What every task's prediction has. Each task has a dataclass of its own, and may add to this.

    Attributes:
        output: what the task's ``loss`` takes.
        scores: the same for people: probabilities, or values in their own units.
    """

    @property
    def output(self) -> Any: ...

    @property
    def scores(self) -> Any: ...


PredictionT = TypeVar("PredictionT", bound=AnyPrediction)


@dataclass(frozen=True)
class Prediction:
    """The prediction of a model for a batch.

    Attributes:
        output: logits, or standardised values: batch × outputs; of masked language modelling, batch × bytes ×
            vocabulary.
        scores: probabilities, or values in their own units, of the same shape; float32.
    """

    output: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Prepared:
    """A batch that is ready for the model, and its targets.

    Attributes:
        inputs: the batch that the model reads.
        targets: as ``Task.loss`` takes them; None: they are not known.
        query_indices: int64, (queries,): the output rows to compute; of masked language modelling in training batch ×
            queries, other rows of each example. None: all of them.
    """

    inputs: dict[str, Tensor]
    targets: Any
    query_indices: Tensor | None = None


@dataclass(frozen=True)
class SignalQueries(Queries):
    """Queries for the rows of signals. They keep the batch, from which outputs become signals again.

    Attributes:
        view: the batch that the queries are about.
    """

    view: Batch = field(default_factory=dict)
