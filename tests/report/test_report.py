"""Reports: the numbers are right, the page is complete and harmless, nothing is left half-written.

Tests of drawings count the pictures of a page; they do not check what is on them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from markupsafe import escape
from sensorium.inference.evaluation import Evaluation, evaluate_model, explain, explain_reads
from sensorium.nn.perceiver import DecoderConfig, EncoderConfig
from torch import Tensor

from builders import without_presentation
from sensorium.errors import InputError
from sensorium.modalities import FusionConfig, ImageConfig, PointsConfig
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.report import write_report
from sensorium.tasks import Classify, ClassifyConfig, Reconstruct, ReconstructConfig, RegressConfig, TagConfig

IMAGE = ImageConfig(size=(6, 6), channels=1, patch=(2, 2), bands=3, mean=(0.5,), std=(0.3,))
POINTS = PointsConfig(points=12, bands=3, resolution=8.0)
HOSTILE = '"><b>&'


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


def tiny(inputs: Any, task: Any, *, decoder: DecoderConfig | None = None, **changes: Any) -> Perceiver:
    """A model whose predictions differ between examples and whose attention is not uniform."""
    shape: dict[str, Any] = {"cross_attention": (0, 1, 1), "latent_transformer": (0, 0, 0), **changes}
    encoder = EncoderConfig(num_latents=3, latent_channels=8, num_layers=1, num_self_attention_heads=2, **shape)
    torch.manual_seed(0)
    model = Perceiver(PerceiverConfig(inputs=inputs, encoder=encoder, decoder=decoder, task=task))
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
    assert str(escape(HOSTILE)) in page
    assert HOSTILE not in page.replace(str(escape(HOSTILE)), "")  # where it is set in bold, <b>&lt;… is not a leak
    assert len(page) < 1_500_000


# -- evaluate ---------------------------------------------------------------------------------------------------------


def test_accuracy_and_loss_agree_with_a_count_by_hand() -> None:
    model = tiny(IMAGE, classify(3))
    target = torch.arange(20) % 3
    samples = pictures(target)
    evaluation = evaluate_model(model, samples, batch_size=7)
    scores = model.eval()(samples.batch(range(20))).scores.detach().numpy()
    chosen = scores[np.arange(20), target.numpy()]
    np.testing.assert_allclose(evaluation.scores, scores, atol=1e-5)
    assert evaluation.metrics["accuracy"] == pytest.approx((scores.argmax(1) == target.numpy()).mean())
    assert evaluation.loss == evaluation.metrics["loss"] == pytest.approx(-np.log(chosen).mean(), rel=1e-4)
    assert evaluation.samples == 20
    assert evaluation.targets is not None
    np.testing.assert_array_equal(evaluation.targets, target)


@pytest.mark.parametrize("batch_size", [1, 6, 100])
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    model, samples = tiny(POINTS, classify(2)), clouds(torch.arange(13) % 2)
    one, other = evaluate_model(model, samples), evaluate_model(model, samples, batch_size=batch_size)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
    assert one.metrics == pytest.approx(other.metrics, rel=1e-4)


def test_the_mode_is_left_as_it_was_even_after_a_failure() -> None:
    model, samples = tiny(IMAGE, classify(2)), pictures(torch.arange(20) % 2)
    model.train()
    model.decoder.eval()  # frozen
    evaluate_model(model, samples)
    assert model.training
    assert model.encoder.training
    assert not model.decoder.training
    with pytest.raises(InputError):
        evaluate_model(model, FakeSamples({"image": torch.rand(2, 3, 6, 6)}))
    assert model.encoder.training


def test_training_goes_on_after_an_evaluation() -> None:
    """What evaluation computes and keeps (position encodings) must be usable with gradients."""
    inputs = ImageConfig(size=(10, 4), channels=1, patch=(2, 2), bands=5, mean=(0.5,), std=(0.3,))
    model = tiny(inputs, classify(2))
    samples = FakeSamples({"image": torch.rand(4, 1, 10, 4), "target": torch.tensor([0, 1, 0, 1])})
    evaluate_model(model, samples)
    batch = samples.batch(range(4))
    target = model.task.spell_out(batch.pop("target"))
    model.task.loss(model(batch).output, target).backward()
    assert model.encoder.latents.grad is not None


def test_progress_counts_up_to_all() -> None:
    calls: list[tuple[int, int]] = []
    evaluate_model(
        tiny(IMAGE, classify(2)), pictures(None), batch_size=8, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(8, 20), (16, 20), (20, 20)]


def test_unlabelled_samples_have_scores_only(tmp_path: Path) -> None:
    model, samples = tiny(IMAGE, classify(2)), pictures(None)
    evaluation = evaluate_model(model, samples)
    assert evaluation.targets is None
    assert evaluation.metrics == {}
    assert np.isnan(evaluation.loss)
    assert evaluation.scores.shape == (20, 2)
    with pytest.raises(InputError, match="no labels"):
        write_report(tmp_path, model=model, samples=samples, evaluation=evaluation, config={}, train_seconds=1, seed=0)


def test_nothing_to_evaluate_is_said() -> None:
    with pytest.raises(InputError, match="val split has no examples"):
        evaluate_model(tiny(IMAGE, classify(2)), pictures(torch.zeros(0).long(), count=0), split="val")


def test_r2_of_one_example_is_not_defined() -> None:
    model = tiny(IMAGE, RegressConfig(classes=("weight",), mean=(1.0,), std=(2.0,)))
    metrics = evaluate_model(model, pictures(torch.ones(1, 1), count=1)).metrics
    assert np.isnan(metrics["r2"])
    assert np.isfinite(metrics["mae"])


# -- explain ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["image", "points"])
def test_attention_sums_to_one_and_heat_fits_the_signal(kind: str) -> None:
    inputs, samples = (IMAGE, pictures(None, count=5)) if kind == "image" else (POINTS, clouds(torch.arange(5) % 2))
    model = tiny(inputs, classify(2))
    batch = {name: tensor for name, tensor in model.inputs.view(samples.batch(range(5))).items() if name != "target"}
    torch.testing.assert_close(model.attention(batch).sum(-1), torch.ones(5, 3))
    heat = explain(model, batch)
    assert heat.shape == ((5, 1, 6, 6) if kind == "image" else (5, 12, 1))
    assert heat.min() >= 0
    assert heat.max() <= 1
    torch.testing.assert_close(heat, explain_reads(model, batch)[2])
    assert not torch.equal(heat, explain(model, batch, read=0))
    if kind == "points":  # what is absent is not read
        assert (heat[..., 0][~batch["points.mask"]] == 0).all()


def test_an_even_gaze_is_even_and_half_bright() -> None:
    model = tiny(IMAGE, classify(2))
    with torch.no_grad():
        for name, parameter in model.encoder.named_parameters():
            if "query" in name:
                parameter.zero_()
    batch = pictures(None, count=2).batch([0, 1])
    torch.testing.assert_close(explain(model, batch, read=0), torch.full((2, 1, 6, 6), 0.5))


def test_there_is_no_fourth_read() -> None:
    with pytest.raises(InputError, match="no read 3"):
        explain(tiny(IMAGE, classify(2)), pictures(None).batch([0]), read=3)


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


# -- the page ---------------------------------------------------------------------------------------------------------

EVERY_REPORT = ["Model", "Scores", "Examples", "Attention maps", "Warnings", "Unreadable files: 1", "Configuration"]


def headings(page: str) -> list[str]:
    return re.findall("<h2>(.*?)</h2>", page)


def bare_report(folder: Path, model: Perceiver, samples: FakeSamples, **also: Any) -> str:
    """The page of a run without warnings."""
    evaluation = evaluate_model(model, samples)
    write_report(
        folder, model=model, samples=samples, evaluation=evaluation, config={}, train_seconds=1, seed=0, **also
    )
    return (folder / "report.html").read_text(encoding="utf-8")


def test_a_section_for_all_that_there_is(tmp_path: Path) -> None:
    """In this order; none for what there is not."""
    model, target = tiny(IMAGE, classify(2)), torch.arange(20) % 2
    _, page = report_of(tmp_path, model, pictures(target))
    assert headings(page) == EVERY_REPORT
    samples = FakeSamples({**pictures(target).tensors})
    assert headings(bare_report(tmp_path, model, samples)) == [
        "Model",
        "Scores",
        "Examples",
        "Attention maps",
        "Configuration",
    ]
    history = [{"step": step, "loss": 1.0 + step} for step in range(3)]
    assert headings(bare_report(tmp_path, model, samples, history=history))[1] == "Training curves"


def test_a_model_without_cross_attends_has_no_attention_maps(tmp_path: Path) -> None:
    model = tiny(IMAGE, classify(2), cross_attention=(None,), latent_transformer=(0,))
    _, page = report_of(tmp_path, model, pictures(torch.arange(20) % 2))
    assert headings(page) == [title for title in EVERY_REPORT if title != "Attention maps"]
    assert "Cross-attend" not in page
    assert_whole_and_harmless(page)


def test_the_page_says_what_browsers_must_not_load(tmp_path: Path) -> None:
    """The policy allows the pictures and the style that are in the page, and nothing else."""
    _, page = report_of(tmp_path, tiny(IMAGE, classify(2)), pictures(torch.arange(20) % 2))
    (policy,) = re.findall('<meta http-equiv="Content-Security-Policy" content="(.*?)">', page)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert page.count("<style>") == 1
    assert ".matrix td" in page  # the style itself, not a link to it


def test_names_of_modalities_are_harmless_too(tmp_path: Path) -> None:
    """In the steps of the model and in the table of shares, which sum to one for each cross-attend."""
    model = tiny(FusionConfig(modalities={HOSTILE: IMAGE, "points": POINTS}), classify(2))
    tensors = clouds(torch.arange(12) % 2).tensors
    samples = FakeSamples({HOSTILE: torch.rand(12, 1, 6, 6), **tensors})
    report, page = report_of(tmp_path, model, samples)
    shares = np.array(list(report["attention_shares"].values()))
    np.testing.assert_allclose(shares.sum(0), np.ones(3), atol=1e-5)
    assert f'<th scope="row">{escape(HOSTILE)!s}</th>' in page
    assert f"<b>{escape(HOSTILE)!s} + points</b>" in page
    assert_whole_and_harmless(page)


def test_the_weakest_classes_come_first_and_undefined_ones_last(tmp_path: Path) -> None:
    target = torch.zeros(20, 3)
    target[::2, 0] = 1
    target[5:9, 1] = 1
    task = TagConfig(classes=("often", "rare", "never"))
    report, page = report_of(tmp_path, tiny(IMAGE, task), pictures(target))
    order = re.findall('<tr><th scope="row">(often|rare|never)</th>', page)
    assert order[-1] == "never"
    first, second = (report["per_class"][name]["average_precision"] for name in order[:2])
    assert first <= second
    bars = [float(share) for share in re.findall(r'<i style="--share:([\d.]+)"></i>', page)]
    assert bars == pytest.approx([first, second, 0], abs=1e-3)


def test_a_confusion_s_colour_is_its_share(tmp_path: Path) -> None:
    """Of its row, from a tenth of full colour up; right ones in another colour than wrong ones."""
    model, samples = tiny(IMAGE, classify(2)), pictures(torch.zeros(20).long())
    scores = np.tile(np.array([[0.9, 0.1]], np.float32), (20, 1))
    scores[:4] = scores[:4, ::-1]
    evaluation = Evaluation("val", 20, scores, np.zeros(20, np.int64), 0.1, {"accuracy": 0.8, "loss": 0.1})
    write_report(tmp_path, model=model, samples=samples, evaluation=evaluation, config={}, train_seconds=1, seed=0)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    cells = re.findall(r'style="--tone:var\((--\w+)\);--share:([\d.]+)" title="(.*?)">(\d+)</td>', page)
    name = str(escape(HOSTILE))
    assert cells == [
        ("--accent", "0.82", f"{name} predicted as {name}: 16 of 20 (80.0\xa0%)", "16"),
        ("--bad", "0.28", f"{name} predicted as class 1: 4 of 20 (20.0\xa0%)", "4"),
    ]


def test_right_and_wrong_examples_are_apart(tmp_path: Path) -> None:
    """Wrong ones by their confidence; each has its truth, right ones need none."""
    model, samples = tiny(IMAGE, classify(2)), pictures(torch.arange(20) % 2)
    evaluation = evaluate_model(model, samples)
    page = bare_report(tmp_path, model, samples)
    right = evaluation.scores.argmax(1) == evaluation.targets
    assert page.count('<figure class="right">') == min(8, right.sum())
    wrong = re.findall('<figure class="wrong">(.*?)</figure>', page, re.DOTALL)
    assert len(wrong) == min(8, (~right).sum()) > 0
    assert all("<br>true: " in figure for figure in wrong)
    confidence = [float(re.findall(r"</b> ([\d.]+)", figure)[0]) for figure in wrong]
    assert confidence == sorted(confidence, reverse=True)


def test_any_task_has_a_whole_report(tmp_path: Path) -> None:
    """One that says nothing about how it is shown: scores of its metrics, a gallery, attention maps."""
    model = tiny(IMAGE, classify(2))
    model.task = without_presentation(Classify)(model.task.config, inputs=model.inputs)
    report, page = report_of(tmp_path, model, pictures(torch.arange(20) % 2))
    assert headings(page) == EVERY_REPORT
    assert not {"per_class", "confusion", "accuracy_interval"} & set(report)
    assert "<h3>Examples</h3>" in page
    assert page.count('<figure class="right">') == 8
    assert "balanced accuracy" in page
    assert_whole_and_harmless(page)


@pytest.mark.parametrize("bare", [False, True])
def test_signals_are_shown_an_example_a_row(tmp_path: Path, bare: bool) -> None:
    """The signal and its reconstruction; of a task that says nothing, what the model was given."""
    model = tiny(IMAGE, ReconstructConfig(mask_ratio=0.5), decoder=DecoderConfig())
    if bare:
        torch.manual_seed(0)
        model.task = without_presentation(Reconstruct)(model.task.config, inputs=model.inputs).eval()
    report, page = report_of(tmp_path, model, pictures(None))
    assert headings(page) == EVERY_REPORT
    assert report["metrics"].keys() == {"loss", "psnr"}
    titles = re.findall('<th scope="col">(.*?)</th>', page)
    maps = ["Input", *(f"Cross-attend {number} of 3" for number in (1, 2, 3))]
    assert titles == (["Input"] if bare else ["Signal", "Reconstruction"]) + maps
    assert page.count("<img ") == 8 * (1 if bare else 2) + 4 * 4
    assert str(escape(HOSTILE)) in page
