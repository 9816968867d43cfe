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
from torch import Tensor

from builders import without_presentation
from sensorium.data import Assumption
from sensorium.errors import InputError
from sensorium.inference.baselines import Baseline, Beside
from sensorium.inference.evaluate import Evaluation, evaluate_model
from sensorium.modalities import KINDS, FusionConfig, ImageConfig, PointsConfig, TextConfig
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.nn import DecoderConfig, EncoderConfig
from sensorium.report import write_report
from sensorium.report.examples import picture_style
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


# -- write_report -----------------------------------------------------------------------------------------------------


def test_unlabelled_samples_have_no_report(tmp_path: Path) -> None:
    model, samples = tiny(IMAGE, classify(2)), pictures(None)
    evaluation = evaluate_model(model, samples)
    with pytest.raises(InputError, match="no labels"):
        write_report(tmp_path, model=model, samples=samples, evaluation=evaluation, config={}, train_seconds=1, seed=0)


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


def test_pictures_and_clouds_are_shown_as_squares_and_other_signals_wide() -> None:
    square = {kind for kind, modality in KINDS.items() if modality.drawn_square}
    assert square == {"image", "points", "volume"}
    assert "--shape:1;" in picture_style(KINDS["image"](IMAGE))
    assert "--shape:4/3;" in picture_style(KINDS["text"](TextConfig(length=4)))


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


def beside(metric: str, *values: float) -> Beside:
    """A classical model with a hostile name for each value but the last, which is of the majority."""
    simple = [Baseline(HOSTILE, {metric: value}, 30, 20, 1.25) for value in values]
    return Beside(simple[-1], tuple(simple[:-1]))


def compared(page: str) -> list[tuple[str, str, str, str]]:
    """The lines of the table beside simple models: name, score, width of the bar, note."""
    section = page.split("<h2>Beside simple models</h2>")[1].split("</section>")[0]
    cell = (
        r'<th scope="row">(.*?)</th><td class="number">(.*?)</td>\s*<td class="bar"><i style="--share:(.*?)"></i></td>'
    )
    return re.findall(cell + r'\s*<td class="soft">(.*?)</td>', section)


def test_simple_models_stand_beside_the_score(tmp_path: Path) -> None:
    """This model first; what a classical one was fitted and scored on; all of it in the file."""
    model, samples = tiny(IMAGE, classify(2)), pictures(torch.arange(20) % 2)
    part = Baseline("on a part", {"accuracy": 0.625}, 8, 16, 0.5)
    known = beside("accuracy", 0.9, 0.5)
    report, page = report_of(
        tmp_path, model, samples, beside=Beside(known.majority, (*known.baselines, part), problems=())
    )
    own = report["metrics"]["accuracy"]
    name = str(escape(HOSTILE))
    assert compared(page) == [
        ("this model", f"{100 * own:.1f}\xa0%", f"{own:.3f}", ""),
        (name, "90.0\xa0%", "0.900", "fitted on 30 examples in 1.2 s"),
        (
            "on a part",
            "62.5\xa0%",
            "0.625",
            "fitted on 8 examples in 0.5 s; scored on 16 of the 20 examples, evenly chosen",
        ),
        (name, "50.0\xa0%", "0.500", ""),
    ]
    assert headings(page) == ["Beside simple models", *EVERY_REPORT]
    assert report["majority"]["metrics"] == {"accuracy": 0.5}
    assert [entry["trained_on"] for entry in report["baselines"]] == [30, 8]
    assert_whole_and_harmless(page)


def test_scores_that_are_negative_or_not_defined_have_no_bar(tmp_path: Path) -> None:
    task = RegressConfig(classes=("height",), mean=(0.0,), std=(1.0,))
    samples = pictures(torch.randn(20, 1))
    report, page = report_of(tmp_path, tiny(IMAGE, task), samples, beside=beside("r2", float("nan"), -0.25))
    assert [line[1:3] for line in compared(page)[1:]] == [("–", "0.000"), ("-0.25", "0.000")]
    assert report["baselines"][0]["metrics"] == {"r2": None}


def test_what_was_assumed_is_a_table(tmp_path: Path) -> None:
    assumptions = (Assumption("target", HOSTILE, "--target COLUMN"), Assumption("split", "drawn"))
    report, page = report_of(
        tmp_path, tiny(IMAGE, classify(2)), pictures(torch.arange(20) % 2), assumptions=assumptions
    )
    assert report["assumptions"][1] == {"topic": "split", "text": "drawn", "flag": ""}
    section = page.split("<h2>Assumed of the data</h2>")[1].split("</section>")[0]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td></tr>', section)
    assert rows == [("target", str(escape(HOSTILE)), "<code>--target COLUMN</code>"), ("split", "drawn", "")]
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
