"""Labels as people write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sensorium.data.targets import encode
from sensorium.errors import InputError


def objects(values: list[Any]) -> np.ndarray:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


def names(labels: np.ndarray) -> list[str]:
    return [f"row {number}" for number in range(1, len(labels) + 1)]


@pytest.mark.parametrize(
    ("labels", "task", "classes", "targets"),
    [
        (objects(["dog", "cat", "dog"]), "classify", ("cat", "dog"), [1, 0, 1]),
        (np.array([10, 9, 10], dtype=np.uint8), "classify", ("9", "10"), [1, 0, 1]),
        (np.array([1.0, 0.0, 1.0, 1.0]), "classify", ("0", "1"), [1, 0, 1, 1]),
        (np.array([True, False]), "classify", ("False", "True"), [1, 0]),
        (objects([["b"], [], ["a", "b"]]), "tag", ("a", "b"), [[0, 1], [0, 0], [1, 1]]),
        (np.array([[0, 1], [1, 0]]), "classify", ("0", "1"), [1, 0]),
        (np.array([[1, 1], [1, 0]]), "tag", ("0", "1"), [[1, 1], [1, 0]]),
        (np.array([0.5, 1.5, 2.5]), "regress", ("value 1",), [[0.5], [1.5], [2.5]]),
    ],
)
def test_what_is_recognised(labels: np.ndarray, task: str, classes: tuple[str, ...], targets: list[Any]) -> None:
    found_task, found_classes, found = encode(labels, names(labels))
    assert (found_task, found_classes, found.tolist()) == (task, classes, targets)
    assert found.dtype == (np.int64 if task == "classify" else np.float32)


def test_many_whole_numbers_are_regressed() -> None:
    prices = np.arange(100) * 7
    assert encode(prices, names(prices))[0] == "regress"
    assert encode(np.arange(1000) % 100, names(np.arange(1000)))[0] == "classify"


@pytest.mark.parametrize("labels", [[0, 2, 1], [1, 3, 2]])
def test_numbers_take_the_names_given(labels: list[int]) -> None:
    numbers = np.array(labels)
    _, classes, targets = encode(numbers, names(numbers), classes=("a", "b", "c"))
    assert classes == ("a", "b", "c")
    assert targets.tolist() == [0, 2, 1]


def test_a_text_of_tags_when_asked_for() -> None:
    _, classes, targets = encode(np.array(["rock; jazz", "jazz"]), ["a", "b"], task="tag")
    assert classes == ("jazz", "rock")
    assert targets.tolist() == [[1, 1], [1, 0]]


def test_numbers_in_words_are_ordered_by_value() -> None:
    assert list(encode(np.array(["fold 10", "fold 9", "fold"]), ["a", "b", "c"])[1]) == ["fold", "fold 9", "fold 10"]


@pytest.mark.parametrize(
    ("labels", "how", "message"),
    [
        (objects(["a", None]), {}, "row 2: the label is missing"),
        (objects(["a", ""]), {}, "row 2: the label is missing"),
        (np.array([1.0, np.nan]), {}, "row 2: the label is missing"),
        (np.array([1.0, np.inf]), {"task": "regress"}, "row 2: the target is infinite"),
        (objects(["a", "b"]), {"task": "regress"}, "not a number"),
        (objects(["a", "a"]), {}, "only one class, 'a'"),
        (objects(["dog", "catt"]), {"classes": ("cat", "dog")}, "row 2: 'catt' is not among.*did you mean 'cat'"),
        (np.array([0, 5]), {"classes": ("cat", "dog")}, "row 2: class number 5, but only 2"),
        (objects([["a"], ["b"]]), {"classes": ("a",)}, "row 2: 'b' is not among"),
    ],
)
def test_bad_input(labels: np.ndarray, how: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode(labels, names(labels), **how)
