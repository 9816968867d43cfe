"""The contract of every task: its targets, its queries, its loss and its metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..modalities import Batch, Modality
from ..modalities.base import Sample
from ..nn.byte_array import ByteArray
from ..nn.queries import Queries
from .answers import Answer, OpenedExamples, Predict
from .predictions import PredictionT, Prepared
from .presentation import Caption, Illustration, Judgement, list_values

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


class TaskSettings(Protocol):
    """What every task's configuration has.

    Attributes:
        kind: the task's name in ``TASKS``.
    """

    @property
    def kind(self) -> str: ...


ConfigT = TypeVar("ConfigT", bound=TaskSettings)
Progress: TypeAlias = Callable[[int, int], None]


class Task(nn.Module, ABC, Generic[ConfigT, PredictionT]):
    """What a model is trained for. A task makes targets, queries, loss and metrics, and owns the parameters that only
    it needs: learned queries, a bias, linear layers of signals.

    Args:
        config: the task's configuration.
        inputs: the modality that the model reads. The model owns it; the task keeps it as ``task.inputs``, but does not
            register it, so that its parameters are in the model's ``state_dict`` once.
        query_channels: channels of learned queries; None: the model has no decoder, and its output is computed from the
            mean of the latents.

    Attributes:
        primary_metric: the metric by which models are compared; larger is better.
        per_example: True: the prediction of an example is one row of scores; False: it is a signal.
        answers_folder: the folder in a run that predicted signals are written to.
        output_init: how the decoder's last linear layer is initialised.
        label_type: what the labels of the data must be: one class, any number of tags, or numbers; None: the task
            needs no labels.
        self_supervised: whether the targets are made from the signal itself, so that labels do not matter.
    """

    primary_metric: str
    per_example: ClassVar[bool] = True
    label_type: ClassVar[Literal["class", "tags", "numbers"] | None] = None
    self_supervised: ClassVar[bool] = False
    answers_folder: ClassVar[str] = "predicted"
    output_init: ClassVar[Literal["lecun", "zeros"]] = "lecun"

    def __init__(self, config: ConfigT, *, inputs: Modality, query_channels: int | None = None) -> None:
        super().__init__()
        self.config = config
        self._inputs = (inputs,)  # a tuple, which nn.Module does not register

    @property
    def inputs(self) -> Modality:
        """The modality that the model reads."""
        return self._inputs[0]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the outputs; empty where the prediction is a signal."""
        return getattr(self.config, "classes", ())

    # -- inputs and queries

    @property
    @abstractmethod
    def query_channels(self) -> int | None:
        """Channels of the queries; None: there are no queries."""

    @property
    @abstractmethod
    def output_channels(self) -> int | None:
        """Channels of the decoder's output; None: those of the queries."""

    @property
    @abstractmethod
    def num_queries(self) -> int:
        """How many output rows an example of the configured size has."""

    @property
    def num_trained_queries(self) -> int:
        """How many of them a training step computes; here, all."""
        return self.num_queries

    def mask_inputs(self, array: ByteArray, batch: Batch) -> ByteArray:
        """The byte array without the rows that ``prepare`` chose to hide; here, all of it."""
        return array

    @abstractmethod
    def queries(self, batch: Batch, indices: Tensor | None = None, *, array: ByteArray | None = None) -> Queries | None:
        """The queries of a batch; None: there are none, and the decoder takes the mean of the latents.

        Args:
            batch: as the modality's ``view`` gives it.
            indices: int64, (queries,): the output rows to compute; None: all of them.
            array: what ``model.embed`` made of the batch, for tasks whose queries are rows of the input; None: such
                a task makes it itself.

        Raises:
            InputError: indices of rows that the task does not have.
        """

    @abstractmethod
    def predict(self, output: Tensor, queries: Queries | None) -> PredictionT:
        """The decoder's output as a prediction.

        Args:
            output: batch × queries × output channels.
            queries: those that the output is for. ``queries.split(output)`` gives the output of each signal.
        """

    def predict_parts(self, parts: Iterable[tuple[Tensor, Queries]], queries: Queries) -> PredictionT:
        """As ``predict``, of many queries whose output is computed part by part. A task overrides this where its
        prediction is smaller than the output.

        Args:
            parts: the output and the queries of each part, computed when it is asked for.
            queries: all of them.
        """
        return self.predict(torch.cat([output for output, _ in parts], dim=1), queries)

    # -- training and evaluation

    def unaugmented(self, view: Batch) -> dict[str, Tensor]:
        """What training sees of a view in the first share of a run, ``recipe.unaugmented``. Here: the view.

        Args:
            view: as the modality's ``view`` gives it.
        """
        return dict(view)

    @abstractmethod
    def prepare(self, view: Batch, generator: torch.Generator | None = None) -> Prepared:
        """The inputs and the targets of a batch, for training and evaluation.

        Tasks that learn without labels hide parts of the signal here. Tasks with many output rows choose here which
        ones to train on.

        Args:
            view: as the modality's ``view`` or ``augment`` gives it; with the key ``target`` where labels are known.
            generator: of random choices, in training; None, in evaluation: choices depend on each example alone.
        """

    @abstractmethod
    def loss(self, output: Any, targets: Any, *, label_smoothing: float = 0.0) -> Tensor:
        """The mean loss of a batch, a scalar.

        Args:
            output: ``output`` of a prediction.
            targets: ``targets`` of :class:`Prepared`.
            label_smoothing: share of each target that is spread over all classes; ignored where there are no classes.
        """

    def loss_terms(self, output: Any, targets: Any, *, label_smoothing: float = 0.0) -> Tensor:
        """The means whose sum is the loss: (terms,). Here one, the loss itself. Arguments as of ``loss``."""
        return self.loss(output, targets, label_smoothing=label_smoothing).reshape(1)

    def term_counts(self, targets: Any) -> Tensor:
        """How many errors each of ``loss_terms`` is the mean of: (terms,), float32, on the device of the targets. The
        terms of a batch are those of its parts, weighted by these counts. Here: the examples.

        Args:
            targets: as of ``loss``.
        """
        return torch.full((1,), float(len(targets)), device=targets.device)

    def training_accuracy(self, output: Any, targets: Any) -> Tensor | float:
        """The share of a training batch that is right, to show while training: a scalar that is still on the device;
        NaN where nothing is right or wrong."""
        return nan

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """New metrics, for ``update_metrics``."""

    @abstractmethod
    def update_metrics(self, metrics: MetricCollection, prediction: PredictionT, targets: Any) -> None:
        """Add the prediction of a batch to metrics.

        Args:
            targets: ``targets`` of :class:`Prepared`.
        """

    def whole_metrics(
        self, predict: Predict[PredictionT], raws: Sequence[Any], *, progress: Progress | None = None
    ) -> dict[str, float]:
        """Metrics of whole signals, of which ``update_metrics`` is given only the part that the model sees at a time.
        Here: there are none.

        Args:
            predict: the model, in evaluation mode and without gradients.
            raws: of the examples, as ``Modality.load`` takes them; what cannot be read is left out.
            progress: called with (examples done, all examples).
        """
        return {}

    def selection_score(self, metrics: Mapping[str, float]) -> float:
        """The number by which training chooses the weights that it keeps; larger is better.

        Args:
            metrics: of a validation pass, by name, with ``loss``.
        """
        return metrics[self.primary_metric]

    def average(self, predictions: Sequence[PredictionT]) -> PredictionT:
        """The prediction of examples from those of their views: the mean of the scores, and the first one's output.

        Args:
            predictions: one for each view; of a task whose predictions are signals, just one.
        """
        if len(predictions) == 1:
            return predictions[0]
        mean = torch.stack([prediction.scores for prediction in predictions]).mean(0)
        return replace(predictions[0], scores=mean)  # type: ignore[type-var]

    # -- planning

    @classmethod
    @abstractmethod
    def configure(cls, *, classes: tuple[str, ...] = (), targets: np.ndarray | None = None) -> ConfigT:
        """The task's configuration for some data.

        Args:
            classes: the names of the classes, tags or numbers; empty where the task needs no labels.
            targets: of the training examples, as :func:`sensorium.data.targets.encode` gives them; None: there are
                none.
        """

    @classmethod
    def input_kinds(cls, kinds: Mapping[str, str]) -> dict[str, str]:
        """The kind of modality that reads each signal for this task, by name.

        Args:
            kinds: the kind of each signal as it was recognised in the data.

        Raises:
            InputError: the task cannot learn from such signals.
        """
        return dict(kinds)

    # -- for people

    def answer_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """What the model reads when a user wants an answer for a batch as data give it: with the parts hidden that an
        evaluation hides."""
        return self.prepare(self.inputs.view(batch)).inputs

    def unmasked(self, view: Batch) -> dict[str, Tensor]:
        """What the model would read of a view if nothing were hidden, to draw it."""
        return {name: tensor for name, tensor in view.items() if name != "target"}

    def answers(
        self,
        predict: Predict[PredictionT],
        examples: OpenedExamples,
        *,
        top: int = 3,
        batch_size: int = 1,
        folder: Path | None = None,
    ) -> list[Answer]:
        """What ``sensorium predict`` says of each example; here, of a task whose predictions it cannot show, nothing.

        Args:
            predict: the model, in evaluation mode and without gradients.
            examples: the examples.
            top: how many classes to name.
            batch_size: examples at a time, where an example is one row of scores.
            folder: where to write signals; None: they are not written.

        Raises:
            InputError: an example that cannot be answered.
        """
        return [Answer(name, []) for name in examples.names]

    def decoded(self, raw: Any) -> tuple[Any, Sample]:
        """What an example is read from, decoded if ``answers`` reads it again, and what the modality loads of it: so it
        can be answered when its files are gone.

        Raises:
            InputError: it cannot be read.
        """
        return raw, self.inputs.load(raw)

    def answered_pixels(self, raw: Any) -> int:
        """The pixels of an example that are answered one by one, in as many calls of the model as that takes; 0 where
        one call answers it. A server bounds them.

        Args:
            raw: what the example is read from, as :meth:`decoded` gives it.
        """
        return 0

    def illustrate_answer(self, raw: Any, answer: Answer) -> list[Illustration]:
        """Pictures of an answer that is of more than the model sees at a time; none where :meth:`illustrate` shows all.

        Args:
            raw: what the example is read from.
        """
        return []

    outputs_noun: ClassVar[str] = "outputs"
    """What the columns of scores are, or the outputs of an example, in the plural."""
    metric_titles: ClassVar[Mapping[str, str]] = {}
    """How reports call the metrics and the keys of ``per_class``; names without a title are shown as they are."""
    percent_metrics: ClassVar[tuple[str, ...]] = ()
    """Those of them that are shares, which reports write in percent."""
    leading_score: ClassVar[str | None] = None
    """The key of ``per_class`` by which reports sort its lines; larger is better."""
    scores_are_probabilities: ClassVar[bool] = False
    """Whether reports write scores in percent."""
    gallery_titles: ClassVar[tuple[str, str]] = ("Examples", "Furthest off")
    """Above the examples that ``judge`` calls right, and above the others."""
    illustration_legend: ClassVar[str] = ""
    """What a reader must know to understand the pictures of ``illustrate``."""

    def metric_title(self, name: str) -> str:
        """How reports call a metric. One of several signals, ``audio_psnr``, is "audio: " and the title of ``psnr``."""
        titles = {"loss": "Loss", **self.metric_titles}
        if name in titles:
            return titles[name]
        for ending, title in titles.items():
            if name.endswith(f"_{ending}"):
                return f"{name.removesuffix(f'_{ending}')}: {title}"
        return name.replace("_", " ")

    def is_percent(self, name: str) -> bool:
        """Whether a metric, or one of several signals such as ``label_accuracy``, is a share."""
        return any(name == known or name.endswith(f"_{known}") for known in self.percent_metrics)

    def summarise(self, scores: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """What ``report.json`` holds besides the metrics, NaN where a number is not defined; {}: nothing more.

        Args:
            scores: examples × outputs, as ``Prediction.scores``.
            targets: as the data give them, an example a row.

        Returns:
            any of these keys, which reports know how to show: ``per_class``, a dict of scores for each class by name;
            ``accuracy_interval``, two shares; ``confusion``, a matrix with a row for each true class;
            ``worst_confusions``, a list of dicts with ``true``, ``predicted``, ``count`` and ``share``.
        """
        return {}

    def value_pairs(self, scores: np.ndarray, targets: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The predicted and the true values of each quantity by name, (examples,) each, which reports plot against each
        other; {}: outputs are no quantities."""
        return {}

    def judge(self, scores: np.ndarray, targets: np.ndarray) -> Judgement:
        """Which predictions are right and how bad each is, for the gallery of examples. Here: all are right."""
        return Judgement(np.ones(len(scores), bool), np.zeros(len(scores)))

    def caption(self, score: np.ndarray, target: np.ndarray | None = None) -> Caption:
        """One example's prediction and truth in words. Here: its first numbers.

        Args:
            score: (outputs,), the example's row of scores.
            target: its target as the data give it; None: it is not known.
        """
        truth = None if target is None else list_values(target, self.classes)
        return Caption(list_values(score, self.classes), truth)

    def illustrate(self, prepared: Prepared, prediction: Any) -> list[Illustration]:
        """The pictures of one example, side by side, where a prediction has no row of scores (``per_example`` is
        False). Here: what the model is given.

        Args:
            prepared: a batch of one example.
            prediction: the model's for it.
        """
        return [] if self.per_example else [Illustration("Input", prepared.inputs)]
