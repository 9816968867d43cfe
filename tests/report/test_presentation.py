"""How tasks are shown to people: scores and verdicts are those computed by hand, captions are readable."""

from __future__ import annotations

import subprocess
import sys
from math import nan, sqrt
from typing import Any

import numpy as np
import pytest
import torch

from builders import without_presentation
from sensorium.codecs.flow import colours
from sensorium.modalities import AudioConfig, FusionConfig, ImageConfig, PairConfig, TextConfig, build_modality
from sensorium.modalities.text import MASK
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.nn import DecoderConfig, EncoderConfig
from sensorium.tasks import (
    Classify,
    ClassifyConfig,
    FlowConfig,
    MLMConfig,
    Prediction,
    Prepared,
    ReconstructConfig,
    RegressConfig,
    TagConfig,
    Task,
    build_task,
)
from sensorium.tasks.presentation import Caption

ENCODER = EncoderConfig(num_latents=3, latent_channels=8, num_layers=1, num_self_attention_heads=2)


def task_of(config: Any) -> Task:
    return build_task(config, inputs=build_modality(ImageConfig(size=(6, 6), patch=(2, 2), bands=3)))


def model_of(inputs: Any, task: Any) -> Perceiver:
    torch.manual_seed(0)
    return Perceiver(PerceiverConfig(inputs=inputs, encoder=ENCODER, decoder=DecoderConfig(), task=task)).eval()


def scores_with_answers(answers: list[int], classes: int) -> np.ndarray:
    """Scores whose largest is the answer of each example."""
    scores = np.full((len(answers), classes), 0.1, np.float32)
    scores[np.arange(len(answers)), answers] = 0.8
    return scores


# -- classes ----------------------------------------------------------------------------------------------------------


def class_scores_by_hand(confusion: np.ndarray) -> list[dict[str, float]]:
    """The definitions: shares of the matrix's diagonal in its columns, in its rows, and in the mean of both."""

    def ratio(part: float, whole: float) -> float:
        return float(part / whole) if whole else nan

    right, predicted, count = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
    return [
        {
            "precision": ratio(right[k], predicted[k]),
            "recall": ratio(right[k], count[k]),
            "f1": ratio(2 * right[k], predicted[k] + count[k]),
            "count": int(count[k]),
        }
        for k in range(len(confusion))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_class_scores_follow_from_the_confusion_matrix(seed: int) -> None:
    """Also where a class is never predicted, has no examples, or neither."""
    random = np.random.default_rng(seed)
    targets, answers = random.integers(0, 4, 30), random.integers(1, 5, 30)
    summary = task_of(ClassifyConfig(classes=tuple("abcdef"))).summarise(
        scores_with_answers(answers.tolist(), 6), targets
    )
    confusion = np.zeros((6, 6), np.int64)
    np.add.at(confusion, (targets, answers), 1)
    np.testing.assert_array_equal(summary["confusion"], confusion)
    for found, expected in zip(summary["per_class"].values(), class_scores_by_hand(confusion), strict=True):
        assert list(found) == list(expected)
        np.testing.assert_allclose(list(found.values()), list(expected.values()), equal_nan=True)
    assert np.isnan(summary["per_class"]["f"]["f1"])
    assert summary["per_class"]["a"]["recall"] == 0  # it has examples, and is never predicted
    assert np.isnan(summary["per_class"]["a"]["precision"])
    assert np.isnan(summary["per_class"]["e"]["recall"])


@pytest.mark.parametrize(("right", "count"), [(90, 100), (0, 10), (10, 10), (1, 1), (37, 359)])
def test_the_accuracy_s_interval_is_wilson_s(right: int, count: int) -> None:
    z, share = 1.959964, right / count
    centre = share + z * z / (2 * count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    scores = scores_with_answers([0] * count, 2)
    targets = np.array([0] * right + [1] * (count - right))
    low, high = task_of(ClassifyConfig(classes=("a", "b"))).summarise(scores, targets)["accuracy_interval"]
    assert low == pytest.approx(max(0.0, (centre - half) / scale), abs=1e-6)
    assert high == pytest.approx(min(1.0, (centre + half) / scale), abs=1e-6)
    assert 0 <= low <= share <= high <= 1


def test_the_most_frequent_confusions_come_first() -> None:
    task = task_of(ClassifyConfig(classes=("a", "b", "c")))
    targets = np.array([0, 0, 0, 0, 1, 2])
    found = task.summarise(scores_with_answers([1, 1, 1, 0, 1, 0], 3), targets)["worst_confusions"]
    assert found == [
        {"true": "a", "predicted": "b", "count": 3, "share": 0.75},
        {"true": "c", "predicted": "a", "count": 1, "share": 1.0},
    ]
    assert task.summarise(scores_with_answers([0, 1], 3), np.array([0, 1]))["worst_confusions"] == []


def test_a_class_and_its_probability_are_told() -> None:
    task = task_of(ClassifyConfig(classes=("cat", "dog")))
    scores, targets = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32), np.array([0, 0])
    assert task.caption(scores[0], targets[0]) == Caption("dog", "cat", 0.75)
    assert task.caption(scores[0]) == Caption("dog", None, 0.75)
    judgement = task.judge(scores, targets)
    assert judgement.right.tolist() == [False, True]
    assert judgement.badness.tolist() == [0.75, 0.5]


# -- tags and numbers -------------------------------------------------------------------------------------------------


def test_average_precision_of_each_tag() -> None:
    """As torchmetrics has it; not defined for a tag that no example has."""
    from torchmetrics.functional.classification import binary_average_precision

    random = np.random.default_rng(0)
    scores = random.random((40, 3), np.float32).round(1)  # with ties
    targets = (random.random((40, 3)) > 0.6).astype(np.float32)
    targets[:, 2] = 0
    per_class = task_of(TagConfig(classes=("wind", "rain", "never"))).summarise(scores, targets)["per_class"]
    for column, name in enumerate(("wind", "rain")):
        expected = binary_average_precision(
            torch.from_numpy(scores[:, column]), torch.from_numpy(targets[:, column]).long()
        )
        assert per_class[name]["average_precision"] == pytest.approx(float(expected))
        assert per_class[name]["count"] == targets[:, column].sum()
    assert np.isnan(per_class["never"]["average_precision"])


def test_tags_are_told_the_highest_first() -> None:
    task = task_of(TagConfig(classes=("a", "b", "c", "d", "e")))
    caption = task.caption(np.array([0.6, 0.9, 0.8, 0.7, 0.1]), np.array([0, 0, 0, 0, 0]))
    assert caption == Caption("b, c, d and 1 more", "none")
    judgement = task.judge(np.array([[0.6, 0.2, 0, 0, 0]]), np.array([[1, 0, 0, 0, 1]]))
    assert judgement.right.tolist() == [False]
    assert judgement.badness.tolist() == [1.0]


def test_errors_of_each_target() -> None:
    """R² by its definition; not defined for a target that does not vary."""
    task = task_of(RegressConfig(classes=("height", "same"), mean=(0.0, 0.0), std=(1.0, 2.0)))
    scores = np.array([[1.0, 4.0], [2.0, 5.0], [4.0, 6.0]], np.float32)
    targets = np.array([[1.0, 5.0], [3.0, 5.0], [5.0, 5.0]], np.float32)
    per_class = task.summarise(scores, targets)["per_class"]
    assert per_class["height"] == pytest.approx({"r2": 1 - 2 / 8, "mae": 2 / 3, "rmse": sqrt(2 / 3)})
    assert np.isnan(per_class["same"]["r2"])
    assert per_class["same"]["mae"] == pytest.approx(2 / 3)
    judgement = task.judge(scores, targets)
    np.testing.assert_allclose(judgement.badness, [0.25, 0.5, 0.75])
    assert judgement.right.tolist() == [True, True, False]
    predicted, true = task.value_pairs(scores, targets)["height"]
    np.testing.assert_array_equal(predicted, scores[:, 0])
    np.testing.assert_array_equal(true, targets[:, 0])
    assert task.caption(scores[1], targets[1]) == Caption("height 2, same 5", "height 3, same 5")


# -- signals ----------------------------------------------------------------------------------------------------------


def illustrations_of(model: Perceiver, view: dict[str, torch.Tensor]) -> tuple[Prepared, Any, list[Any]]:
    prepared = model.prepare(view)
    with torch.inference_mode():
        prediction = model(prepared.inputs)
        return prepared, prediction, model.task.illustrate(prepared, prediction)


def test_a_reconstruction_is_shown_beside_its_signal() -> None:
    model = model_of(ImageConfig(size=(6, 6), patch=(2, 2), bands=3), ReconstructConfig(mask_ratio=0.5))
    view = {"image": torch.rand(1, 3, 6, 6)}
    prepared, _, (signal, reconstruction) = illustrations_of(model, view)
    assert (signal.title, reconstruction.title) == ("Signal", "Reconstruction")
    torch.testing.assert_close(signal.content["image"], view["image"])
    hidden = model.inputs.attention_map(prepared.inputs["image.hidden"].float(), view).expand(1, 3, 6, 6) > 0
    changed = reconstruction.content["image"] != view["image"]
    assert 0 < hidden.float().mean() < 1
    assert not changed[~hidden].any()
    assert changed[hidden].any()


def test_a_motion_is_shown_beside_the_true_one_where_it_is_known() -> None:
    """Both in colours of one scale: the largest motion of either is at full strength."""
    model = model_of(PairConfig(size=(6, 8), bands=2), FlowConfig())
    true = torch.zeros(1, 2, 6, 8)
    true[0, 0] = 3.0
    frames = torch.rand(1, 2, 3, 6, 8)
    _, prediction, (first, found, truth) = illustrations_of(model, {"pair": frames, "pair.flow": true})
    assert [each.title for each in (first, found, truth)] == ["First frame", "Prediction", "Truth"]
    assert "3 px" in first.note
    np.testing.assert_array_equal(found.content, colours(prediction.flow[0].numpy(), largest=3.0))
    assert (truth.content == [255, 0, 0]).all()  # to the right, as far as any motion of the row
    _, _, unknown = illustrations_of(model, {"pair": frames})
    assert [each.title for each in unknown] == ["First frame", "Prediction"]


def test_hidden_bytes_are_shown_filled_in() -> None:
    model = model_of(TextConfig(length=24), MLMConfig())
    view = {"text": torch.tensor([[6 + byte for byte in b"some words of a text ok"]])}
    prepared, prediction, (shown, filled) = illustrations_of(model, view)
    hidden = prepared.inputs["text"] == MASK
    assert hidden.any()
    torch.testing.assert_close(shown.content["text"], prepared.inputs["text"])
    torch.testing.assert_close(filled.content["text"][~hidden], view["text"][~hidden])
    torch.testing.assert_close(filled.content["text"][hidden], prediction.output.argmax(-1)[hidden])


# -- any task ---------------------------------------------------------------------------------------------------------


def test_a_task_that_says_nothing_is_shown_too() -> None:
    inputs = build_modality(ImageConfig(size=(6, 6), patch=(2, 2), bands=3))
    task = without_presentation(Classify)(ClassifyConfig(classes=("a", "b")), inputs=inputs)
    scores, targets = np.array([[0.5, 20.0], [1.0, 2.0]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    assert task.summarise(scores, targets) == {}
    assert task.judge(scores, targets).right.tolist() == [True, True]
    assert task.caption(scores[0], targets[0]) == Caption("a 0.5, b 20", "a 1, b 2")
    assert task.illustrate(Prepared({}, None), Prediction(torch.zeros(1), torch.zeros(1))) == []
    assert task.metric_title("closeness_of_all") == "closeness of all"


def test_metrics_of_several_signals_are_named_after_both() -> None:
    picture = ImageConfig(size=(6, 6), patch=(2, 2), bands=3)
    task = model_of(picture, ReconstructConfig()).task
    assert task.metric_title("psnr") == "Peak signal-to-noise ratio, dB (peak 1)"
    sound = AudioConfig(rate=100, samples=20, representation="raw", patch=(4, 1), bands=2)
    both = model_of(FusionConfig(modalities={"image": picture, "sound": sound}), ReconstructConfig()).task
    assert both.metric_title("image_psnr") == "image: Peak signal-to-noise ratio, dB (peak 1)"
    assert both.metric_title("sound_psnr") == "sound: Peak signal-to-noise ratio, dB (peak 2)"
    assert task.metric_title("loss") == "Loss"
    assert task.is_percent("label_accuracy")
    assert not task.is_percent("sound_psnr")


@pytest.mark.parametrize(
    "config",
    [
        ClassifyConfig(classes=tuple("abcdefghijklm")),
        TagConfig(classes=("a", "b")),
        RegressConfig(classes=("a",), mean=(0.0,), std=(1.0,)),
    ],
    ids=lambda config: config.kind,
)
def test_every_metric_has_a_title(config: Any) -> None:
    task = task_of(config)
    assert set(map(str, task.metrics())) <= set(task.metric_titles)
    assert set(task.percent_metrics) <= set(task.metric_titles)
    assert task.leading_score in task.metric_titles


def test_predictions_need_none_of_the_libraries_of_reports() -> None:
    """They are imported where a report needs them: ``sensorium predict`` starts without them."""
    imported = "import sys, sensorium.inference.predict, sensorium.tasks; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", imported], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "sensorium.tasks.classify" in modules
    assert not {"jinja2", "matplotlib", "scipy", "sklearn"} & set(modules)
