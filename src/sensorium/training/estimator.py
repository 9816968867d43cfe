"""Estimators with scikit-learn's interface: ``fit``, ``predict``, pipelines, cross-validation, grid search.

They train in memory, as ``sensorium train`` does, but with neither a run folder nor a report.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ..data import DataConfig, Examples, InputConfig, Source, collate, load_samples
from ..errors import InputError, did_you_mean
from ..inference.evaluate import examples_at_a_time
from ..modalities import KINDS
from ..models import checkpoints
from ..models.perceiver import Perceiver
from .plan import plan_source

TABLE = "table"


class _Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What classifier and regressor share."""

    def __init__(
        self,
        *,
        kind: str = TABLE,
        epochs: float | None = None,
        minutes: float | None = None,
        seed: int = 0,
        preset: str = "auto",
        settings: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        self.epochs = epochs
        self.minutes = minutes
        self.seed = seed
        self.preset = preset
        self.settings = settings

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True  # gaps
        tags.input_tags.two_d_array = self.kind == TABLE
        tags.target_tags.required = True
        return tags

    def _fit(self, raws: Sequence[Any], targets: np.ndarray, *, task: str, classes: tuple[str, ...]) -> None:
        """Train ``model_`` on examples, without a validation split: the last weights are kept."""
        names = [f"example {number}" for number in range(1, len(raws) + 1)]
        examples = Examples({self.kind: raws}, targets, names)
        source = Source(
            path=Path("memory"),
            kinds={self.kind: self.kind},
            task=task,
            classes=classes,
            splits={"train": examples},
            description=DataConfig(inputs={self.kind: InputConfig(kind=self.kind)}),
            warnings=(),
        )
        planned = plan_source(
            source,
            preset=self.preset,
            minutes=self.minutes,
            epochs=self.epochs,
            settings=self.settings,
            seed=self.seed,
        )
        from .loop import fit  # takes a second
        from .progress import Quiet

        torch.manual_seed(self.seed)
        model = Perceiver(planned.config.model)
        samples = load_samples(examples.for_modality(model.inputs), [model.inputs])
        with TemporaryDirectory() as folder:
            fit(model, samples, None, config=planned.config, folder=Path(folder), listener=Quiet())
            self.model_ = checkpoints.load(folder)

    def _examples(self, X: Any, *, reset: bool) -> Sequence[Any]:
        """The examples in X, one raw each; of tables checked as scikit-learn has it."""
        if self.kind not in KINDS:
            raise InputError(f"kind {self.kind!r}: there is no such kind of signal; {did_you_mean(self.kind, KINDS)}")
        if self.kind == TABLE:
            return list(validate_data(self, X, reset=reset, dtype="numeric", ensure_all_finite="allow-nan"))
        return list(X)

    def _scores(self, X: Any) -> np.ndarray:
        """examples × outputs, float64."""
        check_is_fitted(self, "model_")
        model, raws = self.model_, self._examples(X, reset=False)
        ragged = [modality.name for modality in model.inputs.modalities if modality.ragged]
        size, scores = examples_at_a_time(model), [np.empty((0, len(model.task.classes)))]
        for start in range(0, len(raws), size):
            samples = [model.inputs.load(raw) for raw in raws[start : start + size]]
            scores.append(model.predict(collate(samples, ragged=ragged)).scores.double().numpy())
        return np.concatenate(scores)


class SensoriumClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """A classifier of rows of a table, series, pictures, sounds or any other kind of signal.

    Args:
        kind: of the signal: ``table``, where X is examples × columns; or ``series``, ``image``, ``audio``, …, where X
            is an array with the examples along its first axis, or a list of what a model of that kind reads (arrays,
            paths, texts).
        epochs, minutes: limits of the training; by default as ``auto`` chooses, at most 20 minutes.
        seed: of everything random; the same seed gives the same weights, where ``minutes`` is no limit that is reached.
        preset: ``auto``, or the name of a paper's model.
        settings: as ``--set`` takes them, such as ``recipe.batch_size=8``.

    Attributes:
        classes_: the labels, sorted.
        model_: the trained :class:`sensorium.Perceiver`, for ``sensorium.save``, ``embed`` and ``predict``.
        n_features_in_: of a table, its columns.

    Raises:
        ValueError: ``fit`` or ``predict`` got what scikit-learn's checks refuse.
        InputError: no such kind or preset, or examples that a model of the kind does not read.

    >>> X = np.array([[0.0], [0.1], [0.9], [1.0]] * 4)
    >>> small = ("recipe.precision=float32", "encoder.num_layers=1", "encoder.num_latents=4", "recipe.batch_size=8")
    >>> classifier = SensoriumClassifier(epochs=1, settings=small).fit(X, ["no", "no", "yes", "yes"] * 4)
    >>> classifier.classes_.tolist(), classifier.predict_proba(X).shape
    (['no', 'yes'], (16, 2))
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train on examples.

        Args:
            X: the examples; see ``kind``. NaN is a gap.
            y: a label each: texts or integers.
        """
        X, y = _with_targets(self, X, y)
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        self._fit(X, targets.astype(np.int64), task="classify", classes=tuple(map(str, self.classes_)))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probabilities of ``classes_``: examples × classes."""
        scores = self._scores(X)
        return scores / scores.sum(1, keepdims=True)  # in float64, so that they add up to 1

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest label of each example."""
        return self.classes_[self._scores(X).argmax(1)]


class SensoriumRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """A regressor of a number for each example. Arguments, errors and attributes (but for ``classes_``) are those of
    :class:`SensoriumClassifier`."""

    def fit(self, X: Any, y: Any) -> Self:
        """Train on examples.

        Args:
            X: the examples, as of a classifier.
            y: a number each.
        """
        X, y = _with_targets(self, X, y, numeric=True)
        self._fit(X, y.astype(np.float32)[:, None], task="regress", classes=("y",))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """A number for each example, float64."""
        return self._scores(X)[:, 0]


def _with_targets(estimator: _Estimator, X: Any, y: Any, *, numeric: bool = False) -> tuple[Sequence[Any], np.ndarray]:
    """The examples and one target each, checked as scikit-learn has it."""
    if estimator.kind == TABLE:
        options: dict[str, Any] = {"dtype": "numeric", "ensure_all_finite": "allow-nan", "y_numeric": numeric}
        X, y = validate_data(estimator, X, y, **options)
        return list(X), y
    y = column_or_1d(y, warn=True)
    examples = estimator._examples(X, reset=True)
    check_consistent_length(examples, y)
    return examples, y
