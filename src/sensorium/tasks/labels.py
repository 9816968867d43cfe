"""What classification, tagging and regression share: one row of outputs for each example."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..modalities import Batch, Modality
from ..nn.byte_array import ByteArray
from ..nn.queries import LearnedQueries, Queries
from .answers import Answer, OpenedExamples, Predict
from .base import Task, TaskSettings
from .predictions import Prediction, Prepared


class LabelSettings(TaskSettings, Protocol):
    """What the configuration of a task with labels has.

    Attributes:
        classes: the names of the outputs: of classes, of tags, or of target values.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...


LabelConfigT = TypeVar("LabelConfigT", bound=LabelSettings)


class LabelTask(Task[LabelConfigT, Prediction]):
    """A task whose prediction for an example is one number for each of ``config.classes``.

    A model with a decoder has one learned query; one without a decoder uses the mean of the latents.
    """

    def __init__(self, config: LabelConfigT, *, inputs: Modality, query_channels: int | None = None) -> None:
        super().__init__(config, inputs=inputs, query_channels=query_channels)
        self.learned_queries = None if query_channels is None else LearnedQueries(1, query_channels)

    @property
    def query_channels(self) -> int | None:
        return None if self.learned_queries is None else self.learned_queries.table.shape[1]

    @property
    def output_channels(self) -> int:
        return len(self.config.classes)

    @property
    def num_queries(self) -> int:
        return 1

    def queries(self, batch: Batch, indices: Tensor | None = None, *, array: ByteArray | None = None) -> Queries | None:
        return None if self.learned_queries is None else self.learned_queries(indices=indices)

    def predict(self, output: Tensor, queries: Queries | None) -> Prediction:
        return self.interpret(output.squeeze(1))

    def prepare(self, view: Batch, generator: torch.Generator | None = None) -> Prepared:
        inputs = dict(view)
        targets = inputs.pop("target", None)
        return Prepared(inputs, None if targets is None else self.encode_targets(targets))

    @abstractmethod
    def interpret(self, output: Tensor) -> Prediction:
        """The prediction of the decoder's output, batch × outputs."""

    @abstractmethod
    def encode_targets(self, targets: Tensor) -> Tensor:
        """Targets as the data give them to batch × outputs, float32, of which mixup may take weighted sums."""

    # -- for people

    def per_class(
        self, score: Callable[[np.ndarray, np.ndarray], dict[str, float]], scores: np.ndarray, targets: np.ndarray
    ) -> dict[str, dict[str, float]]:
        """``score`` of each column of scores and targets (examples × outputs), by the column's name."""
        return {name: score(scores[:, column], targets[:, column]) for column, name in enumerate(self.classes)}

    def answers(
        self,
        predict: Predict[Prediction],
        examples: OpenedExamples,
        *,
        top: int = 3,
        batch_size: int = 1,
        folder: Path | None = None,
    ) -> list[Answer]:
        """The likeliest classes, the tags or the targets of each example: of the mean over its views."""
        answers = []
        for start in range(0, len(examples), batch_size):
            indices = list(range(start, min(start + batch_size, len(examples))))
            views = self.inputs.views(examples.batch(indices))
            scores = self.average(list(map(predict, views))).scores
            for index, row in zip(indices, scores.tolist(), strict=True):
                named = dict(zip(self.config.classes, row, strict=True))
                answers.append(self.answer(examples.names[index], named, top=top))
        return answers

    @abstractmethod
    def answer(self, file: str, scores: dict[str, float], *, top: int) -> Answer:
        """What ``sensorium predict`` says of one example.

        Args:
            scores: by class, in the order of the outputs.
            top: how many classes to name.
        """


def likeliest(scores: dict[str, float], count: int) -> dict[str, float]:
    """The highest scores, the highest first.

    >>> likeliest({"cat": 0.2, "dog": 0.7, "owl": 0.1}, 2)
    {'dog': 0.7, 'cat': 0.2}
    """
    return dict(sorted(scores.items(), key=lambda pair: -pair[1])[:count])
