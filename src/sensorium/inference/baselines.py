"""What stands beside the score of a model: a classical model and the most frequent class, on the same examples.

Classical models are fitted in rounds, on ever more training examples, until all are used or the time would be up.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import nan
from typing import Any

import numpy as np
import torch

from ..data import Samples
from ..modalities import Batch, Modality
from ..models.perceiver import Perceiver
from ..tasks import Prediction
from ..tasks.base import Task
from ..tasks.labels import LabelTask
from .estimators import Boosting, Estimator, Forest, Linear, Words
from .evaluate import computed
from .features import JoinedFeatures, texts

LEAST_SECONDS = 10.0  # that baselines may take, however short the training was
TIME_SHARE = 0.05  # of the training time, that they may take
BLOCK = 32  # examples whose features are computed between two looks at the clock
FIRST = 128  # examples of the first round
GROWTH = 8  # a round has at most so many times the examples of the last one
WORTHWHILE = 1.3  # a round of fewer times the examples of the last one is not worth its time
SCORING_SHARE = 0.4  # of the time, at most, for the evaluated examples
MOST_NUMBERS = 25_000_000  # features of all training examples together, which bounds memory

Clock = Callable[[], float]


@dataclass(frozen=True)
class Baseline:
    """A simple model's score.

    Attributes:
        name: what it is, in words.
        metrics: of the evaluated examples, by name, as the task has them; NaN where one is not defined.
        trained_on: how many training examples it was fitted on.
        scored_on: how many of the evaluated examples it was scored on.
        seconds: how long that took.
    """

    name: str
    metrics: dict[str, float]
    trained_on: int
    scored_on: int
    seconds: float = 0.0


@dataclass(frozen=True)
class Beside:
    """What stands beside a model's score.

    Attributes:
        majority: the most frequent class, the frequency of each tag, or the mean of each number, as the prediction for
            every example; None: the task predicts nothing of the sort.
        baselines: classical models, the main one first.
        problems: a line for each that could not be computed.
    """

    majority: Baseline | None = None
    baselines: tuple[Baseline, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Recipe:
    """A baseline that is not fitted yet.

    Attributes:
        name: in words.
        prepare: called once, with a batch of training examples, before ``inputs``.
        inputs: what the estimator takes of a batch: examples × features, or a list of texts.
    """

    name: str
    estimator: Estimator
    prepare: Callable[[Batch], None]
    inputs: Callable[[Batch], Any]


def compute_baselines(
    model: Perceiver,
    train: Samples,
    evaluated: Samples,
    *,
    train_seconds: float = 0.0,
    seed: int = 0,
    clock: Clock = time.monotonic,
) -> Beside:
    """What stands beside the score of a model that predicts a class, tags or numbers; nothing for other tasks.

    It takes about ten seconds at most, or 5 % of the training time where that is more, and never fails: what goes wrong
    is a line of the result.

    Args:
        model: its inputs say what the signals are, and its task what is predicted and measured.
        train: the examples that the model was trained on.
        evaluated: those that it was evaluated on.
        train_seconds: how long the training took.
        seed: of random choices.
        clock: the time in seconds.
    """
    task = model.task
    if not isinstance(task, LabelTask) or train.targets is None or evaluated.targets is None:
        return Beside()
    known, targets = train.targets.numpy(), evaluated.targets.numpy()
    problems: list[str] = []
    majority = _attempt("most frequent class", lambda: majority_baseline(task, targets, train=known), problems)
    recipes = _recipes(model.inputs, task, seed)
    seconds = max(LEAST_SECONDS, TIME_SHARE * train_seconds) / len(recipes)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # features are many small operations, which threads that wait for each other slow down
    try:
        baselines = []
        for recipe in recipes:
            fitting = _Fitting(recipe, task, train, seconds=seconds, seed=seed, clock=clock)
            baselines.append(_attempt(recipe.name, partial(fitting.score, evaluated), problems))
    finally:
        torch.set_num_threads(threads)
    return Beside(majority, tuple(filter(None, baselines)), tuple(problems))


def only_majority(task: Task, targets: np.ndarray) -> Beside:
    """What stands beside a score where there are no training examples: the most frequent class of the evaluated ones.

    Args:
        targets: of the evaluated examples, as the data give them.
    """
    problems: list[str] = []
    majority = _attempt("most frequent class", lambda: majority_baseline(task, targets), problems)
    return Beside(majority, problems=tuple(problems))


def _attempt(name: str, compute: Callable[[], Baseline | None], problems: list[str]) -> Baseline | None:
    """What ``compute`` gives; None and another line of ``problems`` if it fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, on what a simple model need not be perfect in
            return compute()
    except Exception as error:  # it must not cost the report of a whole training
        problems.append(f"the baseline ({name}) failed: {type(error).__name__}: {error}")
        return None


def majority_baseline(task: Task, targets: np.ndarray, *, train: np.ndarray | None = None) -> Baseline | None:
    """The score of one and the same prediction for every example; None for tasks without labels.

    Args:
        targets: of the evaluated examples, as the data give them.
        train: of the training examples, whose most frequent class or mean is predicted; None: of the evaluated ones.
    """
    if not isinstance(task, LabelTask):
        return None
    known = targets if train is None else train
    if task.label_type == "class":
        counts = np.bincount(known.astype(np.int64), minlength=len(task.classes))
        name, constant = "most frequent class", np.eye(len(counts))[counts.argmax()]
    else:
        name = "frequency of each tag" if task.label_type == "tags" else "mean"
        constant = known.reshape(len(known), -1).astype(np.float64).mean(0)
    return Baseline(name, _metrics(task, np.tile(constant, (len(targets), 1)), targets), len(known), len(targets))


def stored_baselines(report: Mapping[str, Any], *, split: str, samples: int) -> Beside | None:
    """What an earlier report has beside its score; None: it has nothing, or is of other examples.

    Args:
        report: the content of ``report.json``.
        split, samples: what is evaluated now.
    """
    if report.get("split") != split or report.get("samples") != samples or not report.get("majority"):
        return None
    majority, *baselines = (
        Baseline(**{**entry, "metrics": {name: nan if value is None else value for name, value in metrics.items()}})
        for entry in (report["majority"], *report.get("baselines", ()))
        for metrics in (entry["metrics"],)
    )
    return Beside(majority, tuple(baselines))


def _recipes(modality: Modality[Any], task: LabelTask, seed: int) -> list[_Recipe]:
    """The baselines for a signal, or for several."""
    label_type = task.label_type
    assert label_type is not None  # tasks with labels have it
    sizes = (label_type, len(task.classes))
    kind = modality.kind
    features = JoinedFeatures(modality, seed=seed)
    if kind == "text":
        words = Words(*sizes, seed=seed)
        return [_Recipe(words.name, words, lambda batch: None, lambda batch: texts(batch, modality.name))]
    estimator = (Forest if kind == "points" else Linear)(*sizes, seed=seed)
    linear = _Recipe(f"{estimator.name} on {features.title}", estimator, features.fit, features)
    if kind != "table":
        return [linear]
    categories = [len(column.categories) for column in modality.config.columns]
    boosting = _Recipe(
        "gradient boosting on the columns",
        Boosting(*sizes, categories=categories, seed=seed),
        lambda batch: None,
        lambda batch: modality.view(batch)[modality.name].numpy(),
    )
    return [boosting, linear] if label_type == "numbers" else [boosting]


class _Fitting:
    """One baseline, fitted on as many training examples as its time allows.

    Args:
        recipe: what to fit.
        train: the training examples.
        seconds: for reading, fitting and scoring together.
    """

    def __init__(
        self, recipe: _Recipe, task: LabelTask, train: Samples, *, seconds: float, seed: int, clock: Clock
    ) -> None:
        assert train.targets is not None
        self.recipe, self.task, self.train = recipe, task, train
        self.clock, self.seconds = clock, seconds
        self.targets = train.targets.numpy()
        self.order = evenly_ordered(self.targets, seed=seed)
        self.blocks: list[Any] = []
        self.count = 0  # examples in the blocks
        self.most = len(self.order)

    def score(self, evaluated: Samples) -> Baseline:
        """Fit in rounds, and score on the evaluated examples, or on as many of them as the time allows."""
        began = self.clock()
        end = began + self.seconds * (1 - SCORING_SHARE)
        self.recipe.prepare(self.train.batch(self.order[:BLOCK].tolist()))
        reading = self._read(min(self.most, FIRST), (began + end) / 2)
        fitting = self._fit()
        scoring = reading + self._scoring()
        scored = min(len(evaluated), max(BLOCK, int(SCORING_SHARE * self.seconds / max(scoring, 1e-9))))
        end = began + self.seconds - min(SCORING_SHARE * self.seconds, scored * scoring)
        while True:
            fitted = self.count
            count = self._next_count(reading, fitting, end - self.clock())
            if count < min(self.most, WORTHWHILE * fitted) or count == fitted:
                break
            reading = self._read(count, end)
            if self.count == fitted:
                break
            fitting = self._fit()
        shown = np.linspace(0, len(evaluated) - 1, scored).round().astype(int)
        scores = np.concatenate(
            [
                self.recipe.estimator.scores(self.recipe.inputs(evaluated.batch(shown[start : start + FIRST].tolist())))
                for start in range(0, scored, FIRST)
            ]
        )
        assert evaluated.targets is not None
        metrics = _metrics(self.task, scores, evaluated.targets.numpy()[shown])
        return Baseline(self.recipe.name, metrics, fitted, scored, round(self.clock() - began, 3))

    def _read(self, count: int, end: float) -> float:
        """Compute features until there are ``count`` of them or the time is ``end``, at least of one block. Returns the
        seconds for an example."""
        began, before = self.clock(), self.count
        while self.count < count and (not self.count or self.clock() < end):
            indices = self.order[self.count : min(self.count + BLOCK, count)].tolist()
            block = self.recipe.inputs(self.train.batch(indices))
            self.blocks.append(block)
            self.count += len(indices)
            if isinstance(block, np.ndarray):
                self.most = min(len(self.order), max(BLOCK, MOST_NUMBERS // max(1, block.shape[1])))
        return (self.clock() - began) / max(1, self.count - before)

    def _fit(self) -> float:
        """Fit to all examples whose features are computed. Returns the seconds for an example."""
        began = self.clock()
        self.recipe.estimator.fit(_joined(self.blocks), self.targets[self.order[: self.count]])
        return (self.clock() - began) / self.count

    def _scoring(self) -> float:
        """The seconds to score an example whose features are computed, measured on training examples."""
        began = self.clock()
        self.recipe.estimator.scores(_joined(self.blocks))
        return (self.clock() - began) / self.count

    def _next_count(self, reading: float, fitting: float, left: float) -> int:
        """The examples of the next round: as many as the time that is left allows, if the time to fit grows with
        their number to the power of 3/2.

        Args:
            reading, fitting: the seconds of the last round for an example.
            left: seconds.
        """
        count = min(self.most, GROWTH * self.count)
        while (
            count > self.count and reading * (count - self.count) + fitting * count * (count / self.count) ** 0.5 > left
        ):
            count -= max(1, count // 20)
        return max(count, self.count)


def evenly_ordered(targets: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """An order of the examples whose every beginning holds about the same shares of the classes.

    >>> targets = np.repeat([0, 1], [10, 90])
    >>> np.bincount(targets[evenly_ordered(targets)[:20]]).tolist()
    [2, 18]
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(targets))
    if targets.ndim > 1:
        return order
    rank = np.empty(len(targets))
    for label in np.unique(targets):
        having = order[targets[order] == label]
        rank[having] = (np.arange(len(having)) + 0.5) / len(having)
    return order[np.argsort(rank[order], kind="stable")]


def _joined(blocks: Sequence[Any]) -> Any:
    """The inputs of several batches, one after the other."""
    if isinstance(blocks[0], np.ndarray):
        return np.concatenate(blocks)
    return [text for block in blocks for text in block]


def _metrics(task: LabelTask, scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """The task's metrics of examples × outputs."""
    metrics = task.metrics()
    predicted = torch.from_numpy(np.asarray(scores, np.float32))
    task.update_metrics(metrics, Prediction(predicted, predicted), task.encode_targets(torch.from_numpy(targets)))
    return computed(metrics)
