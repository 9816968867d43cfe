"""The contract every task fulfils: what is asked of a signal, what it costs to be wrong, and how right an answer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..modalities import Batch, Modality
from ..nn.byte_array import ByteArray
from ..nn.queries import Queries

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@dataclass(frozen=True)
class Prediction:
    """What a model says of a batch.

    Attributes:
        output: as the decoder gives it (logits): batch × outputs, or batch × bytes × vocabulary of bytes filled in.
        scores: the same for people: probabilities, or values in their own units.
    """

    output: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Prepared:
    """A batch that a model is asked about, and what would be right.

    Attributes:
        inputs: what the model sees.
        targets: the right answer, as ``Task.loss`` takes it; None: it is not known.
        query_indices: the output rows that are asked for, int64; None: all.
    """

    inputs: dict[str, Tensor]
    targets: Any
    query_indices: Tensor | None = None


@dataclass(frozen=True)
class Places(Queries):
    """Queries for the places of signals, which know the batch that they are about.

    Attributes:
        view: the batch.
    """

    view: Batch = field(default_factory=dict)


class Task(nn.Module, ABC):
    """A prepared with an answer that can be scored. What it learns for itself (queries, a bias) it owns.

    Args:
        config: what is asked.
        inputs: what the model reads. It is the model's: a task looks at it and must not register it once more.
        channels: of the queries that a task may choose freely; None: there is no decoder that takes queries, and the
            mean of the latents is asked.

    Attributes:
        primary_metric: the metric by which models are compared; larger is better.
        per_example: whether an answer has one row of scores for each example, which a report can table; False: it is a
            signal.
        start: how the decoder's last linear layer starts.
    """

    primary_metric: str
    per_example: ClassVar[bool] = True
    start: ClassVar[Literal["lecun", "zeros"]] = "lecun"

    def __init__(self, config: Any, *, inputs: Modality, channels: int | None = None) -> None:
        super().__init__()
        self.config = config

    # -- asking

    def hide(self, array: ByteArray, batch: Mapping[str, Tensor]) -> ByteArray:
        """What the encoder reads of a batch's byte array: all of it, unless a posed view says what is hidden."""
        return array

    @property
    @abstractmethod
    def query_channels(self) -> int | None:
        """Channels of the queries; None: it has none."""

    @property
    def classes(self) -> tuple[str, ...]:
        """What the columns of scores are called; none, where an answer is a signal."""
        return getattr(self.config, "classes", ())

    @property
    @abstractmethod
    def outputs(self) -> int | None:
        """Channels of a row of the decoder's output; None: those of the queries."""

    @abstractmethod
    def num_queries(self, inputs: Modality) -> int:
        """How many output rows an example of the configured size has: what ``where`` may ask for."""

    @abstractmethod
    def queries(self, inputs: Modality, batch: Mapping[str, Tensor], where: Tensor | None = None) -> Queries | None:
        """The queries for a viewed batch; None: the mean of the latents is asked.

        Args:
            where: int64, the output rows that are asked; None: all.
        """

    @abstractmethod
    def predict(self, inputs: Modality, rows: Tensor, queries: Queries | None) -> Any:
        """The decoder's output, read.

        Args:
            rows: batch × queries × outputs.
            queries: what was asked: ``queries.split(rows)`` tells the rows of several signals apart,
                ``queries.indices`` which rows they are.

        Returns:
            a dataclass that has ``output``, which is what ``loss`` takes, and ``scores``, which is for people.
        """

    # -- being right

    @abstractmethod
    def prepare(
        self, inputs: Modality, view: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Prepared:
        """What to ask in training and evaluation, of a view that still has the batch's ``target``, if there is one.
        Where the signal is its own target, parts of it are hidden here.

        Args:
            generator: of what is random; None, in evaluation: the prepared depends on the example alone.
        """

    @abstractmethod
    def loss(self, output: Any, target: Any, *, smoothing: float = 0.0) -> Tensor:
        """The mean loss of a batch: an answer's ``output`` against a prepared's ``target``."""

    def training_accuracy(self, output: Any, target: Any) -> float:
        """The share of a training batch that is right, for a glance; NaN where right and wrong do not apply."""
        return nan

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """Fresh metrics, for ``score``."""

    def selection_score(self, metrics: Mapping[str, float]) -> float:
        """How good weights are of which an evaluation gave these metrics, with ``loss``; larger is better. The best are
        kept."""
        return metrics[self.primary_metric]

    @abstractmethod
    def score(self, metrics: MetricCollection, answer: Any, target: Any) -> None:
        """Update metrics with a batch's answer and its prepared's target."""
