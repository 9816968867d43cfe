"""Tasks: losses, answers, metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from builders import normal
from sensorium.modalities.points import Points, PointsConfig
from sensorium.tasks import (
    MLM,
    TASKS,
    Classify,
    ClassifyConfig,
    Flow,
    Reconstruct,
    Regress,
    RegressConfig,
    Tag,
    TagConfig,
    Task,
    build_task,
)

CLASSES = ("a", "b", "c")
POINTS = Points(PointsConfig())
CLASSIFY = Classify(ClassifyConfig(classes=CLASSES), inputs=POINTS)
TAG = Tag(TagConfig(classes=CLASSES), inputs=POINTS)
REGRESS = Regress(RegressConfig(classes=CLASSES, mean=(1.0, -2.0, 300.0), std=(0.5, 2.0, 10.0)), inputs=POINTS)
TARGETS: list[tuple[Task, Tensor]] = [
    (CLASSIFY, torch.tensor([0, 2, 1, 2])),
    (TAG, torch.tensor([[0, 1, 1], [1, 0, 0], [0, 0, 1], [1, 1, 0]])),
    (REGRESS, torch.tensor([[1.0, -2, 300], [1.5, 0, 310], [0, 0, 0], [2, 2, 2]])),
]
each = pytest.mark.parametrize(("task", "target"), TARGETS, ids=lambda value: type(value).__name__)
OUTPUT = normal(4, 3).float()


@each
def test_the_table_makes_every_task(task: Task, target: Tensor) -> None:
    """By the kind in its configuration; an output for every class."""
    made = build_task(task.config, inputs=POINTS)
    assert type(made) is type(task) is TASKS[task.config.kind]
    assert made.output_channels == 3


def test_every_task_is_tested() -> None:
    elsewhere = {MLM, Flow, Reconstruct}
    assert set(TASKS.values()) == elsewhere | {type(task) for task, _ in TARGETS}


@each
def test_the_headline_is_a_metric(task: Task, target: Tensor) -> None:
    """Metrics take (scores, target) as they are, are fresh every time, and larger headlines are better."""
    metrics = task.metrics()
    metrics.update(task.interpret(OUTPUT).scores, target)
    assert task.primary_metric in metrics.compute()
    assert metrics[task.primary_metric].higher_is_better
    assert task.metrics() is not metrics


@each
def test_the_loss_falls_towards_the_target(task: Task, target: Tensor) -> None:
    """A few steps down the gradient make the loss smaller and the primary_metric no worse than at random."""
    output = OUTPUT.clone().requires_grad_()
    spelled = task.encode_targets(target)
    losses = []
    for _ in range(300):
        loss = task.loss(output, spelled)
        (gradient,) = torch.autograd.grad(loss, output)
        with torch.no_grad():
            output -= 2 * gradient
        losses.append(float(loss))
    assert losses[-1] < 0.2 * losses[0]
    metrics = task.metrics()
    metrics.update(task.interpret(output.detach()).scores, target)
    assert float(metrics.compute()[task.primary_metric]) > 0.95


@each
def test_losses_are_of_float32(task: Task, target: Tensor) -> None:
    """Outputs of few bits cost what they would cost in float32."""
    few = OUTPUT.bfloat16()
    spelled = task.encode_targets(target)
    assert spelled.dtype == torch.float32
    assert spelled.shape == (4, 3)
    assert task.loss(few, spelled).dtype == task.interpret(few).scores.dtype == torch.float32
    torch.testing.assert_close(task.loss(few, spelled), task.loss(few.float(), spelled))


def test_classes_are_cross_entropy() -> None:
    """-log p of the class; with smoothing, of the class mixed with all classes; mixed targets count by their shares."""
    target = TARGETS[0][1]
    logs = OUTPUT.double().numpy() - np.log(np.exp(OUTPUT.double().numpy()).sum(1, keepdims=True))
    hot = np.eye(3)[target.numpy()]
    for smoothing in (0.0, 0.1):
        expected = -((1 - smoothing) * hot + smoothing / 3) * logs
        loss = CLASSIFY.loss(OUTPUT, CLASSIFY.encode_targets(target), label_smoothing=smoothing)
        assert float(loss) == pytest.approx(expected.sum(1).mean(), rel=1e-6)
    mixed = 0.3 * CLASSIFY.encode_targets(target) + 0.7 * CLASSIFY.encode_targets(target.flip(0))
    both = [CLASSIFY.loss(OUTPUT, CLASSIFY.encode_targets(single)) for single in (target, target.flip(0))]
    torch.testing.assert_close(CLASSIFY.loss(OUTPUT, mixed), 0.3 * both[0] + 0.7 * both[1])


def test_tags_are_sigmoid_cross_entropy() -> None:
    target, p = TARGETS[1][1], 1 / (1 + np.exp(-OUTPUT.double().numpy()))
    for smoothing in (0.0, 0.1):
        t = target.numpy() * (1 - smoothing) + smoothing / 2
        expected = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
        loss = TAG.loss(OUTPUT, TAG.encode_targets(target), label_smoothing=smoothing)
        assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_numbers_are_squared_errors_in_standard_deviations() -> None:
    """The loss is of standardised targets; the answer is in the targets' own units."""
    target = TARGETS[2][1]
    expected = (OUTPUT.double().numpy() - (target.numpy() - [1, -2, 300]) / [0.5, 2, 10]) ** 2
    assert float(REGRESS.loss(OUTPUT, REGRESS.encode_targets(target))) == pytest.approx(expected.mean(), rel=1e-5)
    torch.testing.assert_close(
        REGRESS.interpret(OUTPUT).scores, OUTPUT * torch.tensor([0.5, 2, 10]) + torch.tensor([1.0, -2, 300])
    )
    perfect = (target - torch.tensor([1.0, -2, 300])) / torch.tensor([0.5, 2, 10])
    torch.testing.assert_close(REGRESS.interpret(perfect).scores, target)


def test_one_number_an_example_may_come_without_an_axis() -> None:
    single = Regress(RegressConfig(classes=("price",), mean=(0.0,), std=(1.0,)), inputs=POINTS)
    assert single.encode_targets(torch.tensor([1.0, 2.0])).shape == (2, 1)


def test_scores_are_probabilities() -> None:
    """Of one class they sum to 1; of tags each is its own; the output is left as it is."""
    answer = CLASSIFY.interpret(OUTPUT)
    torch.testing.assert_close(answer.scores.sum(-1), torch.ones(4))
    assert answer.output is OUTPUT
    assert answer.scores.argmax(-1).equal(OUTPUT.argmax(-1))
    torch.testing.assert_close(TAG.interpret(OUTPUT).scores, 1 / (1 + (-OUTPUT).exp()))


def test_accuracies_are_counted() -> None:
    """accuracy is of examples, balanced accuracy of classes; more than ten classes have a top 5."""
    metrics = CLASSIFY.metrics()
    metrics.update(torch.eye(3)[torch.tensor([0, 0, 0, 1, 1])], torch.tensor([0, 0, 0, 2, 1]))
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found["accuracy"] == pytest.approx(0.8)
    assert found["balanced_accuracy"] == pytest.approx(2 / 3)
    assert "accuracy_top5" not in found
    many = Classify(ClassifyConfig(classes=tuple(map(str, range(11)))), inputs=POINTS).metrics()
    many.update(torch.arange(11.0).expand(2, 11), torch.tensor([6, 5]))
    assert float(many.compute()["accuracy_top5"]) == pytest.approx(0.5)


def test_metrics_do_not_depend_on_how_examples_are_put_into_batches() -> None:
    """In the first batch the first five guesses are no better than the first; each metric goes its own way."""
    task = Classify(ClassifyConfig(classes=tuple(map(str, range(11)))), inputs=POINTS)
    scores, targets = torch.arange(11.0).expand(12, 11), torch.tensor([0, 1, 2, 10, 9, 8, 7, 7, 9, 10, 6, 3])
    whole, parts = task.metrics(), task.metrics()
    whole.update(scores, targets)
    for start in range(0, 12, 4):
        parts.update(scores[start : start + 4], targets[start : start + 4])
    expected = {name: pytest.approx(float(value)) for name, value in whole.compute().items()}
    assert {name: float(value) for name, value in parts.compute().items()} == expected
    assert expected["accuracy"] == 2 / 12
    assert expected["accuracy_top5"] == 8 / 12


def test_average_precision_is_scikit_learns() -> None:
    """The mean over classes; the first paper's authors once transposed it (App. F)."""
    from sklearn.metrics import average_precision_score

    target, scores = (normal(20, 3, seed=3) > 0).long(), normal(20, 3, seed=4).sigmoid().float()
    metrics = TAG.metrics()
    metrics.update(scores, target)
    expected = average_precision_score(target.numpy(), scores.numpy(), average="macro")
    assert float(metrics.compute()["mAP"]) == pytest.approx(expected, rel=1e-5)


def test_agreement_is_the_share_that_is_right() -> None:
    """Of classes the likeliest, of tags each one; numbers are not right or wrong."""
    output = torch.tensor([[2.0, -1.0], [1.0, 3.0], [-2.0, -3.0], [0.5, 0.1]])
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    assert build_task(ClassifyConfig(classes=("a", "b")), inputs=POINTS).training_accuracy(output, target) == 0.75
    assert build_task(TagConfig(classes=("a", "b")), inputs=POINTS).training_accuracy(output, target) == 5 / 8
    assert math.isnan(
        build_task(RegressConfig(classes=("a",), mean=(0.0,), std=(1.0,)), inputs=POINTS).training_accuracy(
            output, target
        )
    )
