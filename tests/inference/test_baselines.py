"""Baselines: features are an example's own, models learn what can be learned, time is kept, nothing fails a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from math import pi
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium.inference import baselines, estimators
from sensorium.inference.baselines import compute_baselines, evenly_ordered, majority_baseline, stored_baselines
from sensorium.inference.convolutions import KERNELS, RandomConvolutions
from sensorium.inference.features import JoinedFeatures
from sensorium.modalities import (
    AudioConfig,
    FusionConfig,
    ImageConfig,
    LabelConfig,
    PairConfig,
    PointsConfig,
    SeriesConfig,
    TableConfig,
    TextConfig,
    VideoConfig,
)
from sensorium.modalities.table import Column
from sensorium.nn import DecoderConfig
from sensorium.report.summary import plain
from sensorium.tasks import ReconstructConfig, RegressConfig, TagConfig
from small_models import TensorSamples, classes, small_model

COUNT = 60


class Made(TensorSamples):
    """Tensors as samples, with their targets."""

    @property
    def targets(self) -> Tensor | None:
        return self.tensors.get("target")

    def part(self, indices: Sequence[int]) -> Made:
        return Made(self.batch(indices))


# -- made data: of each kind, signals whose class can be told ----------------------------------------------------------


def _series(name: str, label: Tensor) -> dict[str, Tensor]:
    """Slow and fast waves, of different lengths, with gaps."""
    steps = torch.arange(24.0)
    phase = torch.rand(len(label), 1, 2) * 6
    waves = torch.sin(steps[:, None] * (0.4 + label[:, None, None]) + phase)
    waves[torch.rand(waves.shape) < 0.05] = torch.nan
    return _ragged(name, waves, torch.randint(16, 25, (len(label),)))


def _sound(name: str, label: Tensor) -> dict[str, Tensor]:
    """Spectra with noise in the lower or in the upper bands."""
    spectra = torch.randn(len(label), 20, 16, 1)
    spectra[..., 0] += 2 * ((torch.arange(16) < 8) == label[:, None])[:, None]
    return _ragged(name, spectra, torch.randint(12, 21, (len(label),)))


def _raw_sound(name: str, label: Tensor) -> dict[str, Tensor]:
    time = torch.arange(1600) / 8000
    waves = torch.sin(2 * pi * (300 + 900 * label[:, None]) * time + torch.rand(len(label), 1))
    return _ragged(name, waves[..., None], torch.randint(800, 1601, (len(label),)))


def _picture(name: str, label: Tensor) -> dict[str, Tensor]:
    """Stripes across or down."""
    stripes = torch.sin(torch.arange(16.0) + 6 * torch.rand(len(label), 1))
    across, down = stripes[:, None].expand(-1, 16, -1), stripes[:, :, None].expand(-1, -1, 16)
    grey = torch.where(label[:, None, None] > 0, across, down) * 0.3 + 0.5
    return {name: (grey + 0.1 * torch.rand(grey.shape))[:, None]}


def _film(name: str, label: Tensor) -> dict[str, Tensor]:
    """A spot that stands still or moves."""
    film = 0.2 * torch.rand(len(label), 5, 1, 16, 16)
    for number, moves in enumerate(label.tolist()):
        for frame in range(5):
            left = 2 + number % 3 + 2 * int(moves) * frame
            film[number, frame, 0, 6:10, left : left + 4] += 0.7
    return _ragged(name, film, torch.randint(3, 6, (len(label),)))


def _cloud(name: str, label: Tensor) -> dict[str, Tensor]:
    """Balls that are full or hollow."""
    points = torch.randn(len(label), 40, 3)
    points = (
        points / points.norm(dim=2, keepdim=True) * torch.rand(len(label), 40, 1) ** (1 - 0.9 * label[:, None, None])
    )
    return _ragged(name, points, torch.randint(25, 41, (len(label),)))


def _text(name: str, label: Tensor) -> dict[str, Tensor]:
    """Words of two vocabularies."""
    words = (("rain", "wind", "cloud"), ("sun", "heat", "light"))
    written = [" ".join(words[int(sort)][i] for i in torch.randint(3, (4,)).tolist()).encode() for sort in label]
    numbers = torch.zeros(len(label), max(map(len, written)), dtype=torch.int16)
    for row, text in zip(numbers, written, strict=True):
        row[: len(text)] = torch.tensor(list(text)) + 6
    return _ragged(name, numbers, torch.tensor([len(text) for text in written]))


def _line(name: str, label: Tensor) -> dict[str, Tensor]:
    """A number that says it, with gaps; a category that says it for some; a number that says nothing."""
    number = 5 + 2 * (2 * label - 1) + 0.5 * torch.randn(len(label))
    number[::9] = torch.nan
    category = torch.where(torch.rand(len(label)) < 0.7, label, 2.0)
    return {name: torch.stack([number, category, torch.randn(len(label))], dim=1)}


def _ragged(name: str, signal: Tensor, lengths: Tensor) -> dict[str, Tensor]:
    """A signal as data give it: padded with zeros after each example's own length."""
    mask = torch.arange(signal.shape[1]) < lengths[:, None]
    wide = mask.view(*mask.shape, *[1] * (signal.ndim - 2))
    return {name: signal.masked_fill(~wide, 0), f"{name}.mask": mask}


COLUMNS = (
    Column(name="depth", mean=5.0, std=2.0),
    Column(name="sort", kind="category", categories=("a", "b", "c")),
    Column(name="noise"),
)
SERIES = SeriesConfig(channels=2, length=24, mean=(0.0, 0.0), std=(1.0, 1.0), bands=2)
PICTURE = ImageConfig(size=(16, 16), channels=1, patch=(4, 4), bands=2, mean=(0.5,), std=(0.3,))
SOUND = AudioConfig(rate=8000, samples=1600, mels=16, patch=(1, 16), window=200, hop=80, bands=2, mean=0.0, std=1.0)
RAW = AudioConfig(rate=8000, samples=1600, representation="raw", patch=(16, 1), window=200, hop=80, bands=2)
FILM = VideoConfig(frames=5, size=(16, 16), channels=1, patch=(1, 8, 8), bands=2, mean=(0.5,), std=(0.3,))
PARTS: dict[str, Any] = {"waves": SERIES, "picture": PICTURE, "columns": TableConfig(columns=COLUMNS, channels=4)}


def _parts(name: str, label: Tensor) -> dict[str, Tensor]:
    """Three signals, each of which a third of the examples lack."""
    tensors = _series("waves", label) | _picture("picture", label) | _line("columns", label)
    for number, part in enumerate(PARTS):
        present = torch.arange(len(label)) // 2 % 3 != number
        tensors[part][~present] = 0
        tensors[f"{part}.present"] = present
    return tensors


Maker = Callable[[str, Tensor], dict[str, Tensor]]
KINDS_MADE: dict[str, tuple[Any, Maker]] = {
    "series": (SERIES, _series),
    "audio": (SOUND, _sound),
    "audio, raw": (RAW, _raw_sound),
    "image": (PICTURE, _picture),
    "video": (FILM, _film),
    "points": (PointsConfig(points=40, bands=2, resolution=8.0), _cloud),
    "text": (TextConfig(length=24, channels=8), _text),
    "table": (TableConfig(columns=COLUMNS, channels=4), _line),
    "label": (LabelConfig(classes=3), lambda name, label: {name: (2 * label.long())[:, None]}),
    "pair": (
        PairConfig(size=(8, 8), window=(1, 1), channels=4, bands=2),
        lambda name, label: {name: (label[:, None, None, None, None] + torch.rand(len(label), 2, 3, 8, 8)) / 2},
    ),
    "fusion": (FusionConfig(modalities=PARTS), _parts),
}


@cache
def made(kind: str) -> tuple[Any, Made]:
    """A model that classifies a kind of signal, and as many examples of each of its two classes."""
    config, maker = KINDS_MADE[kind]
    torch.manual_seed(3)
    label = torch.arange(COUNT) % 2
    model = small_model(config, classes(2))
    torch.manual_seed(4)
    return model, Made({**maker(model.inputs.name, label.float()), "target": label})


def halves(samples: Made) -> tuple[Made, Made]:
    """Training and evaluated examples."""
    return samples.part(range(2 * COUNT // 3)), samples.part(range(2 * COUNT // 3, COUNT))


# -- features ----------------------------------------------------------------------------------------------------------


def features_of(kind: str, indices: Sequence[int], seed: int = 0) -> np.ndarray:
    model, samples = made(kind)
    features = JoinedFeatures(model.inputs, seed=seed)
    features.fit(samples.batch(range(30)))
    return features(samples.batch(indices))


@pytest.mark.parametrize("kind", KINDS_MADE)
def test_the_same_seed_gives_the_same_features(kind: str) -> None:
    """And enough of them to tell examples apart."""
    features = features_of(kind, range(10))
    np.testing.assert_array_equal(features, features_of(kind, range(10)))
    assert features.dtype == np.float32
    assert len(np.unique(np.nan_to_num(features), axis=0)) == (2 if kind == "label" else 10)


@pytest.mark.parametrize("kind", KINDS_MADE)
def test_the_features_of_an_example_are_its_own(kind: str) -> None:
    """Neither the other examples of a batch nor padding changes them."""
    model, samples = made(kind)
    features = JoinedFeatures(model.inputs)
    features.fit(samples.batch(range(30)))
    together = features(samples.batch(range(8)))
    for index in range(8):
        alone = samples.batch([index])
        for name, mask in [(name, field) for name, field in alone.items() if name.endswith(".mask")]:
            length = int(mask.sum())
            signal = name.removesuffix(".mask")
            alone |= {name: mask[:, :length], signal: alone[signal][:, :length]}
        np.testing.assert_allclose(features(alone)[0], together[index], rtol=1e-3, atol=1e-4)


def test_an_absent_signal_is_a_gap_and_its_content_is_not_read() -> None:
    model, samples = made("fusion")
    batch = samples.batch(range(30))
    features = JoinedFeatures(model.inputs)
    features.fit(batch)
    absent = ~batch["picture.present"]
    gaps = np.isnan(features(batch))
    counts = features.counts
    columns = slice(counts["waves"], counts["waves"] + counts["picture"])
    assert gaps[absent.numpy(), columns].all()
    assert not gaps[~absent.numpy(), columns].any()
    noise = {**batch, "picture": torch.where(absent[:, None, None, None], torch.nan, batch["picture"])}
    np.testing.assert_array_equal(features(noise), features(batch))


def test_a_signal_that_the_first_examples_lack_is_left_out() -> None:
    model, samples = made("fusion")
    features = JoinedFeatures(model.inputs)
    batch = samples.batch(range(30))
    features.fit({**batch, "picture.present": torch.zeros(30, dtype=torch.bool)})
    assert features.counts.keys() == {"waves", "columns"}
    assert features(batch).shape == (30, sum(features.counts.values()))


def test_convolutions_are_those_of_the_paper() -> None:
    """84 kernels, three taps 2 and six -1; shares of the present steps, counted by hand for one kernel."""
    assert len(set(KERNELS)) == 84
    assert all(sorted(kernel) == [-1.0] * 6 + [2.0] * 3 for kernel in KERNELS)
    torch.manual_seed(0)
    series, present = torch.randn(4, 40, 1), torch.ones(4, 40, dtype=torch.bool)
    convolutions = RandomConvolutions(1, 40)
    convolutions.fit(series, present)
    shares = convolutions(series, present)
    assert shares.shape == (4, convolutions.count)
    assert convolutions.thresholds is not None
    level = float(convolutions.thresholds[0, 7, 1])  # the second threshold of the eighth kernel, without dilation
    padded = np.pad(series[2, :, 0].numpy(), 4)
    by_hand = [np.dot(padded[step : step + 9], KERNELS[7]) > level for step in range(40)]
    assert shares[2, 84 + 7] == pytest.approx(np.mean(by_hand))


# -- estimators --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("examples", "width"), [(80, 10), (30, 60)])
def test_ridge_regression_is_that_of_scikit_learn(examples: int, width: int) -> None:
    """Written out here, with gaps and a feature that never varies, and chosen by the same penalty."""
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    inputs = random.normal(size=(examples, width)).astype(np.float32)
    inputs[:, 3] = 7.0
    targets = (inputs[:, :2] @ random.normal(size=(2, 2)) + 0.5 * random.normal(size=(examples, 2))).astype(np.float32)
    linear = estimators.Linear("numbers", 2)
    linear.fit(inputs, targets)
    scaler = StandardScaler()
    other = RidgeCV(np.array(estimators.PENALTIES)).fit(scaler.fit_transform(inputs.astype(np.float64)), targets)
    expected = other.predict(scaler.transform(inputs.astype(np.float64)))
    np.testing.assert_allclose(linear.scores(inputs), expected, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS_MADE)
def test_a_baseline_beats_the_majority_where_classes_can_be_told(kind: str) -> None:
    model, samples = made(kind)
    train, evaluated = halves(samples)
    beside = compute_baselines(model, train, evaluated)
    assert not beside.problems
    assert beside.majority is not None
    assert beside.majority.metrics["accuracy"] == 0.5
    (baseline,) = beside.baselines
    assert baseline.metrics["accuracy"] >= 0.8
    assert (baseline.trained_on, baseline.scored_on) == (40, 20)


@pytest.mark.parametrize("kind", ["series", "table", "text", "points", "fusion"])
def test_tags_and_numbers_are_learned_too(kind: str) -> None:
    """Of one target that can be told and one that is noise."""
    model, samples = made(kind)
    torch.manual_seed(5)
    label = samples.tensors["target"].float()
    noise = (torch.rand(COUNT) < 0.3).float()
    for config, known, metric in (
        (TagConfig(classes=("told", "noise")), torch.stack([label, noise], dim=1), "mAP"),
        (RegressConfig(classes=("told",), mean=(3.0,), std=(2.0,)), 3 + 4 * label[:, None], "r2"),
    ):
        other = small_model(model.config.inputs, config)
        beside = compute_baselines(other, *halves(Made({**samples.tensors, "target": known})))
        assert not beside.problems
        assert beside.majority is not None
        assert len(beside.baselines) == (2 if (kind, metric) == ("table", "r2") else 1)
        for baseline in beside.baselines:
            assert baseline.metrics[metric] > beside.majority.metrics[metric] + 0.2, baseline.name


@pytest.mark.parametrize("kind", ["series", "points", "table", "text"])
def test_the_order_of_training_examples_matters_little(kind: str) -> None:
    model, samples = made(kind)
    train, evaluated = halves(samples)
    (baseline,) = compute_baselines(model, train, evaluated).baselines
    (other,) = compute_baselines(model, train.part(range(len(train))[::-1]), evaluated).baselines
    assert baseline.metrics["accuracy"] == pytest.approx(other.metrics["accuracy"], abs=0.1)


@pytest.mark.parametrize("kind", ["series", "points", "table", "text"])
def test_one_class_and_unknown_classes_are_no_problem(kind: str) -> None:
    """All training examples are of the class 2 of four."""
    _, samples = made(kind)
    model = small_model(KINDS_MADE[kind][0], classes(4))
    train, evaluated = halves(samples)
    train = Made({**train.tensors, "target": torch.full((40,), 2)})
    beside = compute_baselines(model, train, evaluated)
    assert not beside.problems
    assert [baseline.metrics["accuracy"] for baseline in beside.baselines] == [0.0]


# -- the majority ------------------------------------------------------------------------------------------------------


def test_the_most_frequent_class_is_that_of_the_training_examples() -> None:
    task = small_model(PICTURE, classes(3)).task
    majority = majority_baseline(task, np.array([0, 0, 0, 1]), train=np.array([1, 1, 2]))
    assert majority is not None
    assert majority.metrics["accuracy"] == 0.25
    assert (majority.name, majority.trained_on, majority.scored_on) == ("most frequent class", 3, 4)
    alone = majority_baseline(task, np.array([0, 0, 0, 1]))
    assert alone is not None
    assert alone.metrics["accuracy"] == 0.75


def test_the_mean_and_the_frequency_of_tags() -> None:
    numbers = small_model(PICTURE, RegressConfig(classes=("a",), mean=(0.0,), std=(1.0,))).task
    targets = np.array([[1.0], [2.0], [6.0]], np.float32)
    mean = majority_baseline(numbers, targets)
    assert mean is not None
    assert mean.name == "mean"
    assert mean.metrics["r2"] == pytest.approx(0.0, abs=1e-6)
    assert mean.metrics["mae"] == pytest.approx(2.0)
    tags = small_model(PICTURE, TagConfig(classes=("a", "b"))).task
    frequency = majority_baseline(tags, np.array([[1, 0], [1, 0], [0, 1], [1, 0]], np.float32))
    assert frequency is not None
    assert frequency.metrics["mAP"] == pytest.approx((0.75 + 0.25) / 2)


def test_tasks_without_labels_have_nothing_beside_them() -> None:
    model = small_model(PICTURE, ReconstructConfig(mask_ratio=0.5), decoder=DecoderConfig())
    _, samples = made("image")
    assert compute_baselines(model, samples, samples) == baselines.Beside()
    assert majority_baseline(model.task, np.zeros(3)) is None


# -- time and failures -------------------------------------------------------------------------------------------------


class Slow(Made):
    """Each example that is decoded takes a second of a clock that nothing else moves."""

    seconds = 0.0

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        Slow.seconds += len(indices)
        return super().batch(indices)


@pytest.mark.parametrize("seconds", [100.0, 1000.0, 10_000.0])
def test_as_many_examples_are_used_as_the_time_allows(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget counts examples here: training and evaluated ones together, up to a block of each."""
    model, samples = made("table")
    many = {name: field.repeat(20, *[1] * (field.ndim - 1)) for name, field in samples.tensors.items()}
    train, evaluated = Slow(many), Slow(many)
    monkeypatch.setattr(Slow, "seconds", 0.0)
    monkeypatch.setattr(baselines, "LEAST_SECONDS", seconds)
    beside = compute_baselines(model, train, evaluated, clock=lambda: Slow.seconds)
    (baseline,) = beside.baselines
    assert Slow.seconds <= seconds + 3 * baselines.BLOCK
    if seconds == 10_000:
        assert (baseline.trained_on, baseline.scored_on) == (1200, 1200)
    else:
        assert baseline.trained_on >= 0.2 * seconds
        assert baseline.scored_on >= 0.3 * seconds


def test_the_time_grows_with_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples = made("table")
    many = {name: field.repeat(20, *[1] * (field.ndim - 1)) for name, field in samples.tensors.items()}
    used = []
    for train_seconds in (0.0, 20 * 300.0):
        monkeypatch.setattr(Slow, "seconds", 0.0)
        clock = lambda: Slow.seconds  # noqa: E731
        beside = compute_baselines(model, Slow(many), Slow(many), train_seconds=train_seconds, clock=clock)
        used.append(beside.baselines[0].trained_on)
    assert used[0] == baselines.BLOCK < used[1]


def test_a_failure_is_a_line_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples = made("series")

    def fail(*_: object) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(estimators.Linear, "fit", fail)
    threads = torch.get_num_threads()
    beside = compute_baselines(model, *halves(samples))
    assert beside.problems == (
        "the baseline (linear classifier on random convolutions) failed: ValueError: no such thing",
    )
    assert beside.majority is not None
    assert not beside.baselines
    assert torch.get_num_threads() == threads


def test_every_beginning_of_the_order_has_its_share_of_each_class() -> None:
    targets = np.random.default_rng(0).choice(3, 400, p=[0.7, 0.2, 0.1])
    order = evenly_ordered(targets)
    assert sorted(order) == list(range(400))
    totals = np.bincount(targets)
    for count in (10, 50, 200):
        np.testing.assert_allclose(np.bincount(targets[order[:count]], minlength=3), totals * count / 400, atol=1)
    assert sorted(evenly_ordered(np.zeros((7, 2)))) == list(range(7))


# -- kept in a report --------------------------------------------------------------------------------------------------


def test_baselines_of_the_same_examples_are_kept() -> None:
    """Through ``report.json``; numbers that are not defined stay so."""
    model, samples = made("series")
    beside = compute_baselines(model, *halves(samples))
    report = {"split": "test", "samples": 20, "majority": beside.majority, "baselines": beside.baselines}
    stored = json.loads(json.dumps(plain(report)))
    assert stored_baselines(stored, split="test", samples=20) == beside
    assert stored_baselines(stored, split="val", samples=20) is None
    assert stored_baselines(stored, split="test", samples=21) is None
    assert stored_baselines({}, split="test", samples=20) is None
    stored["majority"]["metrics"]["accuracy"] = None
    undefined = stored_baselines(stored, split="test", samples=20)
    assert undefined is not None
    assert undefined.majority is not None
    assert np.isnan(undefined.majority.metrics["accuracy"])


def test_a_script_without_spaces_is_told_apart_by_its_letters() -> None:
    """Whole texts would be words that never recur."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 2
    texts = [
        "".join(random.choice(list("好美爱乐" if label else "坏丑恨悲") + list("的是在有"), 30)) for label in labels
    ]
    words = estimators.Words("class", 2)
    words.fit(texts[:40], labels[:40])
    assert (words.scores(texts[40:]).argmax(1) == labels[40:]).all()
