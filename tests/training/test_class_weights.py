"""Balanced class weights: rare classes count as much as frequent ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import sensorium as sm
from sensorium.errors import InputError
from sensorium.modalities import SeriesConfig, build_modality
from sensorium.tasks.classify import Classify, ClassifyConfig, balanced_weights


def test_each_class_has_the_same_weight_in_all() -> None:
    targets = np.array([0] * 7 + [1] * 2 + [3])
    weights = np.array(balanced_weights(targets, 4))
    sums = np.bincount(targets, weights=weights[targets], minlength=4)
    np.testing.assert_allclose(sums, [10 / 3, 10 / 3, 0, 10 / 3], rtol=1e-4)


def test_the_loss_is_the_weighted_mean() -> None:
    inputs = build_modality(SeriesConfig(channels=1, length=2, mean=(0.0,), std=(1.0,)))
    task = Classify(ClassifyConfig(classes=("a", "b"), class_weights=(0.5, 2.0)), inputs=inputs)
    plain = Classify(ClassifyConfig(classes=("a", "b")), inputs=inputs)
    output = torch.tensor([[0.3, -1.0], [0.2, 0.9]])
    targets = task.encode_targets(torch.tensor([0, 1]))
    each = [plain.loss(output[row : row + 1], targets[row : row + 1]) for row in (0, 1)]
    assert float(task.loss(output, targets)) == pytest.approx(float((0.5 * each[0] + 2.0 * each[1]) / 2))


def test_the_plan_has_the_weights_of_the_training_examples(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x=random.normal(size=(40, 5)), y=np.array(["rare"] * 8 + ["usual"] * 32))
    planned = sm.plan(tmp_path, class_weights="balanced")
    targets = planned.source.splits["train"].targets
    assert targets is not None
    assert planned.config.model.task.class_weights == balanced_weights(targets, 2)
    np.savez(tmp_path / "a.npz", x=random.normal(size=(40, 5)), y=random.normal(size=40))
    with pytest.raises(InputError, match="--class-weights: regress has no classes"):
        sm.plan(tmp_path, class_weights="balanced")
