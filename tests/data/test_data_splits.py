"""Splits are partitions, stratified, seeded, and never tear a group apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.splits import FEWEST_FOR_VAL, assign
from sensorium.errors import InputError


def parts(count: int, **how: Any) -> dict[str, np.ndarray]:
    return assign(count, **how).indices


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(0, 3))
@settings(max_examples=60)
def test_a_partition_stratified_within_rounding(sizes: list[int], seed: int) -> None:
    strata = np.repeat(np.arange(len(sizes)), sizes)
    if len(strata) < 10:
        strata = np.repeat(strata, 10)
    found = parts(len(strata), strata=strata, seed=seed)
    assert sorted(np.concatenate(list(found.values())).tolist()) == list(range(len(strata)))
    total = np.bincount(strata)
    taken = np.bincount(strata[found["test"]], minlength=len(total))
    assert (np.abs(taken - 0.2 * total) <= 1).all()
    assert (taken < total).all()  # every class can be learned


def test_the_test_split_is_a_fifth() -> None:
    assert len(parts(100, strata=np.arange(100) % 7)["test"]) == 20


@pytest.mark.parametrize(("train", "has_val"), [(FEWEST_FOR_VAL - 1, False), (FEWEST_FOR_VAL, True)])
def test_val_is_cut_from_enough_training_examples(train: int, has_val: bool) -> None:
    on_disk = np.array(["train"] * train + ["test"] * 20)
    found = parts(len(on_disk), on_disk=on_disk)
    assert ("val" in found) is has_val
    assert len(found["test"]) == 20
    assert len(found.get("val", [])) == (train // 10 if has_val else 0)


def test_splits_on_disk_are_kept_and_empty_ones_are_left_out() -> None:
    found = parts(4, on_disk=np.array(["test", "", "train", "val"]))
    assert {name: indices.tolist() for name, indices in found.items()} == {"train": [2], "val": [3], "test": [0]}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_groups_are_never_torn(seed: int) -> None:
    groups = np.arange(900) // 6
    found = parts(900, groups=groups, strata=np.arange(900) % 3, seed=seed)
    assert set(found) == {"train", "val", "test"}
    members = [set(groups[indices].tolist()) for indices in found.values()]
    assert sum(map(len, members)) == len(set.union(*members))


def test_torn_groups_on_disk_are_reported() -> None:
    on_disk = np.array(["train", "train", "test"])
    (warning,) = assign(3, on_disk=on_disk, groups=np.array(["ann", "bob", "bob"])).warnings
    assert "'bob'" in warning


def test_the_seed_decides() -> None:
    strata = np.arange(200) % 4
    assert parts(200, strata=strata, seed=1)["test"].tolist() == parts(200, strata=strata, seed=1)["test"].tolist()
    assert parts(200, strata=strata, seed=1)["test"].tolist() != parts(200, strata=strata, seed=2)["test"].tolist()


def test_folds() -> None:
    folds = np.array([1, 2, 10, 1, 2, 10])
    assert parts(6, folds=folds, fold=2)["test"].tolist() == [1, 4]
    last = assign(6, folds=folds)
    assert last.indices["test"].tolist() == [2, 5]  # 10 comes after 2
    assert last.assumptions[0].text == "test: fold 10, the last of 3"
    assert last.assumptions[0].flag == "--fold FOLD"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"folds": np.array([1, 2, 3]), "fold": 7}, "there are 1, 2, 3"),
        ({"fold": 7}, "no folds"),
        ({"on_disk": np.array(["test", "test", "test"])}, "no training examples"),
        ({}, "too few"),
        ({"groups": np.array(["a", "a", "a"])}, "only one group"),
    ],
)
def test_bad_input(how: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        assign(2 if not how else 3, **how)


@pytest.mark.parametrize(("val", "count"), [(0.0, 0), (0.25, 60), (0.1, 24)])
def test_val_is_the_share_that_is_asked_for(val: float, count: int) -> None:
    splits = assign(300, strata=np.arange(300) % 3, val=val)
    assert len(splits.indices.get("val", ())) == count
    assert len(splits.indices["test"]) == 60
    assert splits.assumptions[-1].flag == "--val SHARE"


def test_a_val_split_on_disk_stays() -> None:
    on_disk = np.array(["train"] * 50 + ["val"] * 5 + ["test"] * 5)
    assert len(parts(60, on_disk=on_disk, val=0.5)["val"]) == 5


@pytest.mark.parametrize("val", [-0.1, 1.0, 3, float("nan")])
def test_a_share_that_is_none_is_refused(val: float) -> None:
    with pytest.raises(InputError, match=r"^--val .*a share"):
        assign(300, val=val)


def test_what_was_done_is_said() -> None:
    """How many, by what, and the option that says otherwise."""
    drawn = assign(600, strata=np.arange(600) % 3).assumptions
    assert [said.text for said in drawn] == [
        "test: 120 of 600 examples, drawn here, with the same share of each class",
        "val: none, so the weights of the last step are kept",
    ]
    grouped = assign(60, groups=np.arange(60) // 6).assumptions
    assert grouped[0].text.endswith("drawn here, so that none of 10 groups is in two splits")
    on_disk = assign(5, on_disk=np.array(["train", "train", "test", "val", ""])).assumptions
    assert [said.text for said in on_disk] == ["as on disk: 2 train, 1 val, 1 test; 1 examples are in none of them"]
    assert {said.topic for said in (*drawn, *grouped, *on_disk)} == {"split"}
