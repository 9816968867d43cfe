"""Classical models for the baselines: from features, or texts, to what a task calls scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

LabelType = Literal["class", "tags", "numbers"]
PENALTIES = tuple(10 ** (power / 2) for power in range(-2, 13))  # of ridge regression
TREES = 200  # of a forest
BOOSTED = 100  # rounds of boosting, at most
MOST_TREES = 2000  # of boosting in all: a round has a tree for each class
MOST_CATEGORIES = 255  # of a column, that boosting takes as categories
MOST_WORDS = 200_000  # columns of TF-IDF
LETTERS_SEEN = 200  # of a text, to see whether it has spaces
LONG_WORD = 12  # letters of a word on average, from which a script has no spaces


class Estimator(ABC):
    """A model that is fitted anew on ever more examples.

    Args:
        label_type: what targets are.
        outputs: the classes, tags or numbers that are predicted.
        seed: of random choices.

    Attributes:
        title: its name in a few words; of a classifier, and of a model of numbers.
    """

    title: ClassVar[tuple[str, str]]

    def __init__(self, label_type: LabelType, outputs: int, *, seed: int = 0) -> None:
        self.label_type = label_type
        self.outputs = outputs
        self.seed = seed
        self.model = self._build()

    @property
    def name(self) -> str:
        """In a few words."""
        return self.title[self.label_type == "numbers"]

    @abstractmethod
    def _build(self) -> Any:
        """The model as scikit-learn has it, before it is fitted."""

    @abstractmethod
    def fit(self, inputs: Any, targets: np.ndarray) -> None:
        """Fit to examples.

        Args:
            inputs: examples × features, NaN where there is nothing; or a list of texts.
            targets: int64, (examples,), or float32, examples × outputs: as the data give them.
        """

    @abstractmethod
    def scores(self, inputs: Any) -> np.ndarray:
        """Examples × outputs: the larger, the likelier; in [0, 1] for tags; numbers in their own unit."""

    def _dense(self, targets: np.ndarray) -> np.ndarray:
        """Targets as examples × outputs: 1 at the class or the tags, 0 elsewhere; or the numbers."""
        if self.label_type == "class":
            return np.eye(self.outputs)[targets.astype(np.int64)]
        return targets.reshape(len(targets), self.outputs).astype(np.float64)

    def _shares(self, values: np.ndarray) -> np.ndarray:
        """Predictions of :meth:`_dense` as scores."""
        values = values.reshape(-1, self.outputs)
        return values.clip(0, 1) if self.label_type == "tags" else values


class Linear(Estimator):
    """Ridge regression of standardised features, whose penalty is chosen by leaving out one example at a time. Gaps
    become the mean of their feature, and a feature of their own.

    It is written out here, because scikit-learn's ``RidgeCV`` takes ten times as long where features are many.
    """

    title = ("linear classifier", "ridge regression")

    def _build(self) -> None:
        """Nothing: it is not scikit-learn's."""

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        features = torch.from_numpy(inputs).double()
        gaps = features.isnan()
        self.with_gaps = gaps.any(0).nonzero()[:, 0]
        self.filling = features.nanmean(0).nan_to_num()
        filled = self._filled(features)
        self.mean, self.deviation = filled.mean(0), filled.std(0, correction=0)
        self.deviation[self.deviation < 1e-9 * (1 + self.mean.abs())] = torch.inf  # what never varies has no weight
        standard = (filled - self.mean) / self.deviation
        wanted = torch.from_numpy(self._dense(targets))
        self.constant = wanted.mean(0)
        self.weights = _ridge(standard, wanted - self.constant)

    def scores(self, inputs: np.ndarray) -> np.ndarray:
        standard = (self._filled(torch.from_numpy(inputs).double()) - self.mean) / self.deviation
        return self._shares((standard @ self.weights + self.constant).numpy())

    def _filled(self, features: Tensor) -> Tensor:
        """Features without gaps, and where the gaps are."""
        gaps = features.isnan()
        return torch.cat([torch.where(gaps, self.filling, features), gaps[:, self.with_gaps].double()], dim=1)


class Forest(Estimator):
    """Extremely randomised trees, which predict the shares of the classes."""

    title = ("forest of random trees", "forest of random trees")

    def _build(self) -> Any:
        from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
        from sklearn.pipeline import make_pipeline

        kind = ExtraTreesClassifier if self.label_type == "class" else ExtraTreesRegressor
        return make_pipeline(_filled(), kind(TREES, max_features="sqrt", n_jobs=-1, random_state=self.seed))

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        dense = self._dense(targets)
        self.model.fit(inputs, targets if self.label_type == "class" else dense[:, 0] if self.outputs == 1 else dense)

    def scores(self, inputs: np.ndarray) -> np.ndarray:
        if self.label_type != "class":
            return self._shares(self.model.predict(inputs))
        return _of_all_classes(self.model, inputs, self.outputs)


class Boosting(Estimator):
    """Gradient boosting of histograms, which knows gaps and categories.

    Args:
        categories: how many categories each column has; 0: it holds numbers.
    """

    title = ("gradient boosting", "gradient boosting")

    def __init__(self, label_type: LabelType, outputs: int, *, categories: Sequence[int], seed: int = 0) -> None:
        self.categorical = np.array([0 < count <= MOST_CATEGORIES for count in categories])
        super().__init__(label_type, outputs, seed=seed)

    def _build(self) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        kind = HistGradientBoostingRegressor if self.label_type == "numbers" else HistGradientBoostingClassifier
        return kind(
            max_iter=max(10, min(BOOSTED, MOST_TREES // self.outputs)),
            categorical_features=self.categorical,
            early_stopping=False,
            random_state=self.seed,
        )

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> None:
        from sklearn.base import clone

        # Leaves of twenty examples, the default, leave nothing to split of small tables.
        self.model.set_params(min_samples_leaf=max(2, min(20, len(targets) // 30)))
        columns = [targets] if self.label_type == "class" else self._dense(targets).T
        self.models = [
            clone(self.model).fit(inputs, column) if column.min() < column.max() else float(column[0])
            for column in columns
        ]

    def scores(self, inputs: np.ndarray) -> np.ndarray:
        if self.label_type == "class":
            (model,) = self.models
            if isinstance(model, float):
                return np.eye(self.outputs)[np.full(len(inputs), int(model))]
            return _of_all_classes(model, inputs, self.outputs)
        return np.stack([self._column(model, inputs) for model in self.models], axis=1)

    def _column(self, model: Any, inputs: np.ndarray) -> np.ndarray:
        """The share or the number that one model predicts."""
        if isinstance(model, float):
            return np.full(len(inputs), model)
        return model.predict(inputs) if self.label_type == "numbers" else model.predict_proba(inputs)[:, 1]


class Words(Estimator):
    """TF-IDF of words and pairs of words, or of letters where a script has no spaces; and a linear model: logistic
    regression of classes and tags, ridge regression of numbers."""

    title = ("logistic regression on TF-IDF", "ridge regression on TF-IDF")

    def _build(self) -> Any:
        return self._pipeline(analyzer="word", ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")

    def _pipeline(self, **options: Any) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import make_pipeline

        tfidf = TfidfVectorizer(sublinear_tf=True, max_features=MOST_WORDS, dtype=np.float32, **options)
        logistic = LogisticRegression(C=30.0, solver="liblinear", dual=True, random_state=self.seed)
        return make_pipeline(tfidf, Ridge(1.0) if self.label_type == "numbers" else OneVsRestClassifier(logistic))

    def fit(self, inputs: Sequence[str], targets: np.ndarray) -> None:
        words = " ".join(text[:LETTERS_SEEN] for text in inputs).split()
        if sum(map(len, words)) > LONG_WORD * len(words):
            self.model = self._pipeline(analyzer="char", ngram_range=(1, 3))
        self.constant = self.label_type == "class" and targets.min() == targets.max()
        self.constant_class = targets[:1]
        if not self.constant:
            self.model.fit(list(inputs), targets if self.label_type == "class" else self._dense(targets))

    def scores(self, inputs: Sequence[str]) -> np.ndarray:
        if self.constant:
            return self._dense(self.constant_class.repeat(len(inputs)))
        if self.label_type == "class":
            return _of_all_classes(self.model, list(inputs), self.outputs)
        if self.label_type == "tags":
            return self._shares(self.model.predict_proba(list(inputs)))
        return self._shares(self.model.predict(list(inputs)))


def _ridge(features: Tensor, targets: Tensor) -> Tensor:
    """The weights of ridge regression, features × outputs, with the penalty whose squared error is least when each
    example is left out in turn.

    Args:
        features: examples × features, of mean 0.
        targets: examples × outputs, of mean 0.
    """
    wide = features.shape[1] > len(features)
    energies, vectors = torch.linalg.eigh(features @ features.T if wide else features.T @ features)
    kept = energies > 1e-10 * energies[-1].clamp(min=1e-300)
    energies, vectors = energies[kept], vectors[:, kept]
    basis = vectors if wide else features @ vectors / energies.sqrt()  # the left singular vectors
    projected = basis.T @ targets

    def left_out_error(penalty: float) -> float:
        shrunk = energies / (energies + penalty)
        leverage = (1 / len(features) + basis**2 @ shrunk).clamp(max=1 - 1e-9)
        return float((((targets - basis @ (shrunk[:, None] * projected)) / (1 - leverage)[:, None]) ** 2).sum())

    penalty = min(PENALTIES, key=left_out_error)
    return features.T @ (basis @ (projected / (energies + penalty)[:, None]))


def _filled() -> Any:
    """Gaps become the mean of their feature, and a feature of their own."""
    from sklearn.impute import SimpleImputer

    return SimpleImputer(keep_empty_features=True, add_indicator=True)


def _of_all_classes(model: Any, inputs: Any, outputs: int) -> np.ndarray:
    """The probabilities of all classes; 0 for those that were not among the examples of ``fit``."""
    scores = np.zeros((len(inputs), outputs))
    scores[:, model.classes_.astype(np.int64)] = model.predict_proba(inputs)
    return scores
