"""The scikit-learn estimators: its own checks, and what they learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import sensorium as sm
from sensorium.errors import InputError
from small_models import SMALLEST_RUN, signs

SMALL: dict[str, Any] = {"epochs": 6, "settings": (*SMALLEST_RUN, "recipe.learning_rate=0.01")}
# Checks that ask for more than a few seconds of training reach.
LEARNED: dict[str, Any] = {"epochs": 60, "settings": (*SMALLEST_RUN, "recipe.learning_rate=0.01")}
ROUNDING = "float32 sums round differently in other batches: 1e-6, and the check allows 1e-7"
EXPECTED_FAILURES = {
    "check_methods_subset_invariance": ROUNDING,
    "check_methods_sample_order_invariance": ROUNDING,
}
LEARNING = ("check_classifiers_train", "check_regressors_train", "check_classifiers_classes", "check_regressors_int")


def estimators() -> list[Any]:
    return [sm.SensoriumClassifier(**SMALL), sm.SensoriumRegressor(**SMALL)]


@pytest.mark.slow
@parametrize_with_checks(estimators(), expected_failed_checks=lambda estimator: EXPECTED_FAILURES)
def test_scikit_learn_s_checks_pass(estimator: Any, check: Any) -> None:
    if check.func.__name__ in LEARNING:
        estimator.set_params(**LEARNED)
    check(estimator)


def test_a_classifier_learns_a_table() -> None:
    """Labels are those that were given, probabilities are in their order, and the same seed gives the same answers."""
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 3))
    X[::7, 2] = np.nan  # a gap
    y = np.where(X[:, 0] > 0, "warm", "cold")
    classifier = sm.SensoriumClassifier(**LEARNED).fit(X, y)
    assert classifier.score(X, y) > 0.9
    assert classifier.classes_.tolist() == ["cold", "warm"]
    assert classifier.n_features_in_ == 3
    probabilities = classifier.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(1), 1.0)
    assert (classifier.classes_[probabilities.argmax(1)] == classifier.predict(X)).all()
    assert clone(classifier).get_params() == classifier.get_params()
    assert classifier.model_.task.classes == ("cold", "warm")


@pytest.mark.slow
def test_estimators_take_part_in_cross_validation() -> None:
    signals, labels = signs(36)
    scores = cross_val_score(sm.SensoriumClassifier(kind="series", **LEARNED), signals, labels, cv=2)
    assert scores.mean() > 0.9
    scores = cross_val_score(sm.SensoriumRegressor(**LEARNED), signals[:, 0], signals[:, 0, 0], cv=2)
    assert scores.mean() > 0.3


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model() -> None:
    signals, labels = signs(24)
    first, second, other = (
        sm.SensoriumClassifier(kind="series", seed=seed, **SMALL).fit(signals, labels).predict_proba(signals)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)


def test_what_an_estimator_does_not_know_is_refused() -> None:
    signals, labels = signs(8)
    with pytest.raises(InputError, match=r"kind 'serie': there is no such kind of signal; did you mean 'series'\?"):
        sm.SensoriumClassifier(kind="serie").fit(signals, labels)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        sm.SensoriumClassifier(kind="series").fit(signals, labels[1:])
    with pytest.raises(ValueError, match="dim"):
        sm.SensoriumClassifier().fit(signals, labels)
