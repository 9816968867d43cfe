"""What is asked of a signal, what it costs to be wrong, and how right an answer is."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import log, nan
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import record
from .core.queries import LearnedQueries, Queries
from .errors import InputError
from .modalities import Modality
from .modalities.text import MASK, SPECIALS, VOCABULARY, Text

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

IGNORED = -100  # in a target: what stands there is not asked
SPACES = tuple(SPECIALS + byte for byte in b" \t\n\r\f\v")


@dataclass(frozen=True)
class Answer:
    """What a model says of a batch.

    Attributes:
        output: as the decoder gives it (logits): batch × outputs, or batch × bytes × vocabulary of bytes filled in.
        scores: the same for people: probabilities, or values in their own units.
    """

    output: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Question:
    """A batch that a model is asked about, and what would be right.

    Attributes:
        view: what the model sees.
        target: the right answer, as ``Task.loss`` takes it; None: nobody knows.
        where: the output rows that are asked, int64; None: all.
    """

    view: dict[str, Tensor]
    target: Any
    where: Tensor | None = None


@record
class ClassifyConfig:
    """One class of several for each example."""

    kind: Literal["classify"] = "classify"
    classes: tuple[str, ...]


@record
class TagConfig:
    """Any number of classes for each example."""

    kind: Literal["tag"] = "tag"
    classes: tuple[str, ...]


@record
class RegressConfig:
    """Numbers for each example; ``mean`` and ``std`` are of the training targets, in their own units."""

    kind: Literal["regress"] = "regress"
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@record
class FillConfig:
    """The words that are hidden in a text, byte by byte (Perceiver IO §4.1).

    Attributes:
        share: of the words that are hidden.
    """

    kind: Literal["fill"] = "fill"
    share: float = 0.15


TaskConfig = Annotated[ClassifyConfig | TagConfig | RegressConfig | FillConfig, pydantic.Field(discriminator="kind")]


class Task(nn.Module, ABC):
    """A question with an answer that can be scored. What it learns for itself (queries, a bias) it owns.

    Args:
        config: what is asked.
        inputs: what the model reads. It is the model's: a task looks at it and must not register it once more.
        channels: of the queries that a task may choose freely; None: there is no decoder that takes queries, and the
            mean of the latents is asked.

    Attributes:
        headline: the metric by which models are compared; larger is better.
        per_example: whether an answer has one row of scores for each example, which a report can table; False: it is a
            signal.
        start: how the decoder's last linear layer starts.
    """

    headline: ClassVar[str]
    per_example: ClassVar[bool] = True
    start: ClassVar[Literal["lecun", "zeros"]] = "lecun"

    def __init__(self, config: Any, *, inputs: Modality, channels: int | None = None) -> None:
        super().__init__()
        self.config = config

    # -- asking

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
    def rows(self, inputs: Modality) -> int:
        """How many output rows an example of the configured size has: what ``where`` may ask for."""

    @abstractmethod
    def ask(self, inputs: Modality, batch: Mapping[str, Tensor], where: Tensor | None = None) -> Queries | None:
        """The queries for a viewed batch; None: the mean of the latents is asked.

        Args:
            where: int64, the output rows that are asked; None: all.
        """

    @abstractmethod
    def answer(self, inputs: Modality, rows: Tensor, queries: Queries | None) -> Any:
        """The decoder's output, read.

        Args:
            rows: batch × queries × outputs.
            queries: what was asked: ``queries.split(rows)`` tells the rows of several signals apart,
                ``queries.where`` which rows they are.

        Returns:
            a dataclass that has ``output``, which is what ``loss`` takes, and ``scores``, which is for people.
        """

    # -- being right

    @abstractmethod
    def pose(self, inputs: Modality, view: Mapping[str, Tensor], generator: torch.Generator | None = None) -> Question:
        """What to ask in training and evaluation, of a view that still has the batch's ``target``, if there is one.
        Where the signal is its own target, parts of it are hidden here.

        Args:
            generator: of what is random; None, in evaluation: the question depends on the example alone.
        """

    @abstractmethod
    def loss(self, output: Any, target: Any, *, smoothing: float = 0.0) -> Tensor:
        """The mean loss of a batch: an answer's ``output`` against a question's ``target``."""

    def agreement(self, output: Any, target: Any) -> float:
        """The share of a training batch that is right, for a glance; NaN where right and wrong do not apply."""
        return nan

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """Fresh metrics, for ``score``."""

    @abstractmethod
    def score(self, metrics: MetricCollection, answer: Any, target: Any) -> None:
        """Update metrics with a batch's answer and its question's target."""


class Named(Task):
    """A number for each of some names, for a whole example: one query, or the mean of the latents."""

    def __init__(self, config: Any, *, inputs: Modality, channels: int | None = None) -> None:
        super().__init__(config, inputs=inputs, channels=channels)
        self.queries = None if channels is None else LearnedQueries(1, channels)

    @property
    def query_channels(self) -> int | None:
        return None if self.queries is None else self.queries.table.shape[1]

    @property
    def outputs(self) -> int:
        return len(self.config.classes)

    def rows(self, inputs: Modality) -> int:
        return 1

    def ask(self, inputs: Modality, batch: Mapping[str, Tensor], where: Tensor | None = None) -> Queries | None:
        return None if self.queries is None else self.queries(where=where)

    def answer(self, inputs: Modality, rows: Tensor, queries: Queries | None) -> Answer:
        return self.read(rows.squeeze(1))

    def pose(self, inputs: Modality, view: Mapping[str, Tensor], generator: torch.Generator | None = None) -> Question:
        view = dict(view)
        target = view.pop("target", None)
        return Question(view, None if target is None else self.spell_out(target))

    @abstractmethod
    def read(self, output: Tensor) -> Answer:
        """batch × outputs, as the decoder gives it, read."""

    @abstractmethod
    def spell_out(self, target: Tensor) -> Tensor:
        """Targets of the data as batch × outputs floats, which may be mixed (mixup)."""


class Classify(Named):
    """Cross-entropy; accuracy."""

    headline = "accuracy"

    def spell_out(self, target: Tensor) -> Tensor:
        return F.one_hot(target.long(), self.outputs).float()

    def loss(self, output: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        return F.cross_entropy(output.float(), target, label_smoothing=smoothing)

    def read(self, output: Tensor) -> Answer:
        return Answer(output, output.float().softmax(-1))

    def agreement(self, output: Tensor, target: Tensor) -> float:
        return (output.argmax(-1) == target.argmax(-1)).float().mean().item()

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection
        from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

        count = max(2, self.outputs)
        metrics: dict[str, Any] = {
            "accuracy": MulticlassAccuracy(count, average="micro"),
            "balanced_accuracy": MulticlassAccuracy(count, average="macro"),
            "f1": MulticlassF1Score(count, average="macro"),
        }
        if count > 10:
            metrics["accuracy_top5"] = MulticlassAccuracy(count, average="micro", top_k=5)
        return MetricCollection(metrics)

    def score(self, metrics: MetricCollection, answer: Answer, target: Tensor) -> None:
        metrics.update(answer.scores, target.argmax(-1))


class Tag(Named):
    """Sigmoid cross-entropy for each class; mean average precision over classes."""

    headline = "mAP"

    def spell_out(self, target: Tensor) -> Tensor:
        return target.float()

    def loss(self, output: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        return F.binary_cross_entropy_with_logits(output.float(), target * (1 - smoothing) + smoothing / 2)

    def read(self, output: Tensor) -> Answer:
        return Answer(output, output.float().sigmoid())

    def agreement(self, output: Tensor, target: Tensor) -> float:
        return ((output > 0) == (target > 0.5)).float().mean().item()

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection
        from torchmetrics.classification import MultilabelAccuracy, MultilabelAveragePrecision

        metrics: dict[str, Any] = {
            "mAP": MultilabelAveragePrecision(self.outputs, average="macro"),
            "accuracy": MultilabelAccuracy(self.outputs, average="micro"),
        }
        return MetricCollection(metrics)

    def score(self, metrics: MetricCollection, answer: Answer, target: Tensor) -> None:
        metrics.update(answer.scores, target.long())


class Regress(Named):
    """Squared error of standardised targets; coefficient of determination."""

    headline = "r2"

    def spell_out(self, target: Tensor) -> Tensor:
        return target.float().reshape(len(target), self.outputs)

    def loss(self, output: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        return F.mse_loss(output.float(), (target - self._mean(output)) / self._std(output))

    def read(self, output: Tensor) -> Answer:
        return Answer(output, output.float() * self._std(output) + self._mean(output))

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection
        from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

        metrics: dict[str, Any] = {"r2": R2Score(), "mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False)}
        return MetricCollection(metrics)

    def score(self, metrics: MetricCollection, answer: Answer, target: Tensor) -> None:
        metrics.update(answer.scores, target)

    def _mean(self, like: Tensor) -> Tensor:
        return torch.tensor(self.config.mean, device=like.device)

    def _std(self, like: Tensor) -> Tensor:
        return torch.tensor(self.config.std, device=like.device)


class Fill(Task):
    """Whole words hidden byte by byte; cross-entropy of the hidden bytes (Perceiver IO §4.1, App. F).

    A learned query for every place; what the decoder makes of it meets the embedding of every byte once more.

    Raises:
        InputError: the model does not read text.
    """

    headline = "accuracy"
    per_example = False

    def __init__(self, config: FillConfig, *, inputs: Modality, channels: int | None = None) -> None:
        super().__init__(config, inputs=inputs, channels=channels)
        if not isinstance(inputs, Text):
            raise InputError(f"fill: only bytes of text can be filled in; the model reads {inputs.kind}")
        self.queries = LearnedQueries(inputs.config.length, inputs.config.channels)
        self.bias = nn.Parameter(torch.zeros(VOCABULARY))

    @property
    def query_channels(self) -> int:
        return self.queries.table.shape[1]

    @property
    def outputs(self) -> None:
        return None

    def rows(self, inputs: Modality) -> int:
        return len(self.queries.table)

    def ask(self, inputs: Modality, batch: Mapping[str, Tensor], where: Tensor | None = None) -> Queries:
        return self.queries(batch[inputs.name].shape[1], where=where, mask=batch.get(f"{inputs.name}.mask"))

    def answer(self, inputs: Modality, rows: Tensor, queries: Queries | None) -> Answer:
        assert isinstance(inputs, Text)
        output = F.linear(rows, inputs.bytes.weight.to(rows.dtype), self.bias.to(rows.dtype))
        return Answer(output, output.float().softmax(-1))

    def pose(self, inputs: Modality, view: Mapping[str, Tensor], generator: torch.Generator | None = None) -> Question:
        numbers, present = view[inputs.name].long(), view.get(f"{inputs.name}.mask")
        hidden = _hidden(numbers, present, self.config.share, generator)
        target = numbers.masked_fill(~hidden, IGNORED)
        return Question({**view, inputs.name: numbers.masked_fill(hidden, MASK)}, target)

    def loss(self, output: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        return F.cross_entropy(
            output.float().mT, target, ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum"
        ) / (target != IGNORED).sum().clamp(min=1)

    def agreement(self, output: Tensor, target: Tensor) -> float:
        hidden = target != IGNORED
        return (output.argmax(-1) == target)[hidden].float().mean().item()

    def metrics(self) -> MetricCollection:
        from torchmetrics import MeanMetric, MetricCollection
        from torchmetrics.classification import MulticlassAccuracy

        metrics: dict[str, Any] = {
            "accuracy": MulticlassAccuracy(VOCABULARY, average="micro"),
            "bits_per_byte": MeanMetric(),
        }
        return MetricCollection(metrics, compute_groups=False)

    def score(self, metrics: MetricCollection, answer: Answer, target: Tensor) -> None:
        hidden = target != IGNORED
        output, wanted = answer.output[hidden].float(), target[hidden]
        metrics["accuracy"].update(output, wanted)
        metrics["bits_per_byte"].update(F.cross_entropy(output, wanted, reduction="none") / log(2))


def _hidden(numbers: Tensor, present: Tensor | None, share: float, generator: torch.Generator | None) -> Tensor:
    """The places of whole words, chosen at random, at least one of an example: bool, batch × bytes.

    Args:
        numbers: batch × bytes.
        present: batch × bytes, True = present; None: all are.
        generator: None: which words of an example are hidden depends on its bytes alone.
    """
    inside = (numbers >= SPECIALS) & ~torch.isin(numbers, torch.tensor(SPACES, device=numbers.device))
    if present is not None:
        inside &= present
    begins = inside & ~F.pad(inside, (1, 0))[:, :-1]
    word = begins.cumsum(1)  # counted from 1; what is before the first one or between them is not inside
    counts = begins.sum(1).tolist()
    draw = torch.full((len(numbers), 1 + max(counts, default=0)), 2.0)
    for place, count in enumerate(counts):
        own = generator
        if own is None:
            content = numbers[place][inside[place]].cpu().numpy().tobytes()
            own = torch.Generator().manual_seed(zlib.crc32(content))
        draw[place, 1 : 1 + count] = torch.rand(count, generator=own)
    chosen = (draw < share) | (draw == draw.amin(1, keepdim=True))
    return inside & chosen.to(numbers.device).gather(1, word)


TASKS: dict[str, type[Task]] = {"classify": Classify, "tag": Tag, "regress": Regress, "fill": Fill}


def task(config: Any, *, inputs: Modality, channels: int | None = None) -> Task:
    """The task that a configuration describes; arguments as of :class:`Task`."""
    return TASKS[config.kind](config, inputs=inputs, channels=channels)
