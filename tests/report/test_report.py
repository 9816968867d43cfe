"""Reports: the numbers are right, the page is whole and harmless, nothing is left half-written."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium.errors import InputError
from sensorium.inference.evaluate import Evaluation, evaluate_model
from sensorium.modalities import ImageConfig, PointsConfig
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.nn.perceiver import EncoderConfig
from sensorium.report import wilson, write_report
from sensorium.tasks import ClassifyConfig, RegressConfig, TagConfig

IMAGE = ImageConfig(size=(6, 6), channels=1, patch=(2, 2), bands=3, mean=(0.5,), std=(0.3,))
POINTS = PointsConfig(points=12, bands=3, resolution=8.0)
HOSTILE = "<b>&"


class FakeSamples:
    """Tensors with names, as ``sensorium.data.Samples`` gives them."""

    def __init__(self, tensors: dict[str, Tensor], *, set_aside: tuple[str, ...] = ()) -> None:
        self.tensors = tensors
        self.set_aside = set_aside
        count = len(next(iter(tensors.values())))
        self.names = [f"test/{HOSTILE}/{index}.png" for index in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return {name: tensor[list(indices)] for name, tensor in self.tensors.items()}


def tiny(inputs: Any, task: Any) -> Perceiver:
    """A model whose answers differ between examples and whose reads look somewhere."""
    encoder = EncoderConfig(
        num_latents=3,
        latent_channels=8,
        cross_attention=(0, 1, 1),
        latent_transformer=(0, 0, 0),
        num_layers=1,
        num_self_attention_heads=2,
    )
    torch.manual_seed(0)
    model = Perceiver(PerceiverConfig(inputs=inputs, encoder=encoder, task=task))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape))
    return model


def pictures(target: Tensor | None, *, count: int = 20) -> FakeSamples:
    torch.manual_seed(1)
    tensors = {"image": torch.rand(count, 1, 6, 6)}
    return FakeSamples(
        tensors if target is None else {**tensors, "target": target}, set_aside=(f"{HOSTILE}.png: empty",)
    )


def clouds(target: Tensor) -> FakeSamples:
    """Every other cloud has fewer points than the rest."""
    torch.manual_seed(2)
    count = len(target)
    mask = torch.ones(count, 12, dtype=torch.bool)
    mask[::2, 7:] = False
    cloud = (torch.rand(count, 12, 3) * 2 - 1) * mask[..., None]
    return FakeSamples({"points": cloud, "points.mask": mask, "target": target})


def classify(count: int) -> ClassifyConfig:
    return ClassifyConfig(classes=(HOSTILE, *(f"class {index}" for index in range(1, count))))


def report_of(folder: Path, model: Perceiver, samples: FakeSamples, **also: Any) -> tuple[dict[str, Any], str]:
    """The report as it was read back from the disk, and the page."""
    evaluation = evaluate_model(model, samples)
    returned = write_report(
        folder,
        model=model,
        samples=samples,
        evaluation=evaluation,
        config={"name": HOSTILE},
        train_seconds=90.0,
        seed=3,
        warnings=[f"few examples of {HOSTILE}"],
        **also,
    )

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    report = json.loads((folder / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert report == returned
    return report, (folder / "report.html").read_text(encoding="utf-8")


def assert_whole_and_harmless(page: str) -> None:
    assert not re.search(r"""\s(src|href)\s*=\s*(?!\s*"data:)""", page)
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert html.escape(HOSTILE) in page
    assert HOSTILE not in page.replace(html.escape(HOSTILE), "")  # where it is set in bold, <b>&lt;… is not a leak
    assert len(page) < 1_500_000


def test_unlabelled_samples_have_no_report(tmp_path: Path) -> None:
    model, samples = tiny(IMAGE, classify(2)), pictures(None)
    evaluation = evaluate_model(model, samples)
    with pytest.raises(InputError, match="no labels"):
        write_report(tmp_path, model=model, samples=samples, evaluation=evaluation, config={}, train_seconds=1, seed=0)


# -- write_report -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 41])
def test_classify(tmp_path: Path, classes: int) -> None:
    target = torch.arange(20) % classes
    report, page = report_of(tmp_path, tiny(IMAGE, classify(classes)), pictures(target))
    assert {"task", "split", "samples", "metrics", "parameters", "train_seconds", "seed", "config"} <= set(report)
    assert {"versions", "classes", "per_class", "confusion", "worst_confusions", "set_aside", "warnings"} <= set(report)
    matrix = np.array(report["confusion"])
    assert matrix.shape == (classes, classes)
    assert matrix.trace() / 20 == pytest.approx(report["metrics"]["accuracy"])
    assert (matrix.sum(1) == np.bincount(target, minlength=classes)).all()
    low, high = report["accuracy_interval"]
    assert low <= report["metrics"]["accuracy"] <= high
    assert ("matrix" in re.sub("<style>.*</style>", "", page, flags=re.DOTALL)) == (classes == 2)
    assert_whole_and_harmless(page)


def test_scores_of_a_class_are_those_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.metrics import precision_recall_fscore_support

    target = torch.arange(20) % 3
    model, samples = tiny(IMAGE, classify(3)), pictures(target)
    report, _ = report_of(tmp_path, model, samples)
    answers = evaluate_model(model, samples).scores.argmax(1)
    expected = precision_recall_fscore_support(target, answers, zero_division=np.nan)
    found = [
        [np.nan if value is None else value for value in scores.values()] for scores in report["per_class"].values()
    ]
    np.testing.assert_allclose(np.array(found).T, np.array(expected))


def test_tag(tmp_path: Path) -> None:
    """A tag that no example has gets no average precision, and null in the file."""
    target = torch.zeros(20, 3)
    target[::2, 0] = 1
    target[5:9, 1] = 1
    report, page = report_of(tmp_path, tiny(IMAGE, TagConfig(classes=(HOSTILE, "wind", "never"))), pictures(target))
    assert report["per_class"]["never"] == {"average_precision": None, "count": 0}
    assert 0 < report["per_class"]["wind"]["average_precision"] <= 1
    assert_whole_and_harmless(page)


def test_regress(tmp_path: Path) -> None:
    torch.manual_seed(4)
    task = RegressConfig(classes=(HOSTILE, "height"), mean=(0.0, 5.0), std=(1.0, 2.0))
    report, page = report_of(tmp_path, tiny(IMAGE, task), pictures(torch.randn(20, 2)))
    mean_error = np.mean([scores["mae"] for scores in report["per_class"].values()])
    assert mean_error == pytest.approx(report["metrics"]["mae"], rel=1e-5)
    assert_whole_and_harmless(page)


def test_points_with_masks_and_a_history_with_gaps(tmp_path: Path) -> None:
    history: list[dict[str, float]] = [
        {"step": step, "seconds": step * 2.0, "loss": 1 / (1 + step), "learning_rate": 1e-3} for step in range(9)
    ]
    history[4] |= {"val_loss": 0.5, "val_accuracy": 0.4}
    history[5]["loss"] = float("nan")
    history[8] |= {"val_loss": 0.4, "val_accuracy": 0.7}
    report, page = report_of(tmp_path, tiny(POINTS, classify(2)), clouds(torch.arange(12) % 2), history=history)
    assert page.count("data:image/svg+xml") == 3
    assert report["train_seconds"] == 90.0
    assert_whole_and_harmless(page)


def test_answers_that_are_all_right_make_a_page_too(tmp_path: Path) -> None:
    model, samples = tiny(IMAGE, classify(2)), pictures(torch.zeros(20).long())
    scores = np.tile(np.array([[0.9, 0.1]], np.float32), (20, 1))
    evaluation = Evaluation("val", 20, scores, np.zeros(20, np.int64), 0.1, {"accuracy": 1.0, "loss": float("nan")})
    report = write_report(
        tmp_path, model=model, samples=samples, evaluation=evaluation, config={}, train_seconds=1, seed=0
    )
    assert report["metrics"] == {"accuracy": 1.0, "loss": None}
    assert report["worst_confusions"] == []
    assert "No confusions" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(InputError, match="cannot be written"):
        report_of(tmp_path, tiny(IMAGE, classify(2)), pictures(torch.arange(20) % 2))
    assert list(tmp_path.iterdir()) == []


def test_wilson_stays_within_zero_and_one() -> None:
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == pytest.approx(1)
    assert wilson(0, 10)[1] == pytest.approx(0.2775, abs=1e-3)
