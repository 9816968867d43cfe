"""Attributions: integrated gradients are complete, what flows through attention sums to one, nothing is in what is
absent; and the deletion score that judges them takes away exactly what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.errors import InputError
from sensorium.inference.attributions import (
    METHODS,
    Attribution,
    attention_rollout,
    integrated_gradients,
    mean_attention,
    predicted_classes,
)
from sensorium.inference.deletion import RANDOM, deletion, judge, random_deletion, without
from sensorium.inference.integrated_gradients import _Path
from sensorium.modalities import FusionConfig, SeriesConfig, TableConfig, TextConfig
from sensorium.modalities.table import Column
from sensorium.models.perceiver import Perceiver, PerceiverConfig, evaluating
from sensorium.nn import DecoderConfig
from sensorium.nn.stems import GridStemConfig, NeighbourStemConfig, NGramStemConfig, Stage
from sensorium.tasks import RegressConfig, TagConfig
from small_models import ENCODER, IMAGE, POINTS, classes, clouds, small_model

RANDOM_NUMBERS = torch.Generator().manual_seed(5)
GRID_STEM = GridStemConfig(stages=(Stage(channels=8, stride=(2, 2), kernel=(3, 3), dilations=(1,)),))
SERIES_STEM = GridStemConfig(stages=(Stage(channels=8, stride=(2,), kernel=(3,), dilations=(1,)),))
SERIES = SeriesConfig(channels=2, length=9, mean=(0.2, -0.1), std=(1.0, 2.0), patch=2)
TABLE = TableConfig(
    columns=(Column(name="a"), Column(name="b"), Column(name="c", kind="category", categories=("x", "y")))
)
MASK = torch.arange(12) < torch.tensor([7, 12, 12])[:, None]


def image_batch() -> dict[str, Tensor]:
    return {"image": torch.rand(3, 1, 6, 6, generator=RANDOM_NUMBERS)}


def points_batch() -> dict[str, Tensor]:
    return {"points": clouds(torch.zeros(3)).tensors["points"], "points.mask": MASK}


def series_batch() -> dict[str, Tensor]:
    series = torch.randn(3, 9, 2, generator=RANDOM_NUMBERS)
    series[0, 2:4] = torch.nan  # a gap of a whole row, and one of a channel
    series[1, 5, 0] = torch.nan
    return {"series": series, "series.mask": torch.arange(9) < torch.tensor([5, 9, 9])[:, None]}


def text_batch() -> dict[str, Tensor]:
    return {
        "text": torch.randint(6, 200, (3, 8), generator=RANDOM_NUMBERS),
        "text.mask": torch.arange(8) < torch.tensor([8, 3, 8])[:, None],
    }


def table_batch() -> dict[str, Tensor]:
    return {"table": torch.tensor([[0.5, torch.nan, 1.0], [1.0, -2.0, 0.0], [0.0, 1.0, torch.nan]])}


def both_batch() -> dict[str, Tensor]:
    return {**image_batch(), **points_batch(), "points.present": torch.tensor([True, True, False])}


SIGNALS: dict[str, tuple[Any, Callable[[], dict[str, Tensor]]]] = {
    "image": (IMAGE, image_batch),
    "image with a stem": (replace(IMAGE, stem=GRID_STEM), image_batch),
    "points": (POINTS, points_batch),
    "points with a stem": (
        replace(POINTS, stem=NeighbourStemConfig(stride=2, neighbours=(3, 2), channels=(4, 8))),
        points_batch,
    ),
    "series": (SERIES, series_batch),
    "series with a stem": (replace(SERIES, stem=SERIES_STEM), series_batch),
    "text": (TextConfig(length=8, channels=6), text_batch),
    "text with a stem": (TextConfig(length=8, channels=6, stem=NGramStemConfig(buckets=64)), text_batch),
    "table": (TABLE, table_batch),
    "several": (FusionConfig(modalities={"image": IMAGE, "points": POINTS}), both_batch),
}


@pytest.fixture(params=SIGNALS)
def case(request: pytest.FixtureRequest) -> tuple[Perceiver, dict[str, Tensor]]:
    """A model of random weights, and a batch of three examples with gaps and padding."""
    config, batch = SIGNALS[request.param]
    return small_model(config, classes(3)), batch()


def smooth_model(config: Any) -> Perceiver:
    """A model whose predictions change little enough on the way from the baseline that 256 points follow them."""
    torch.manual_seed(0)
    model = Perceiver(PerceiverConfig(inputs=config, encoder=ENCODER, task=classes(3)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


def present_rows(model: Perceiver, batch: dict[str, Tensor]) -> Tensor:
    array = model.inputs.embed(batch)
    mask = array.mask
    return torch.ones(array.batch, array.num_rows, dtype=torch.bool) if mask is None else mask


# -- integrated gradients


@pytest.mark.parametrize("name", SIGNALS)
def test_integrated_gradients_are_complete(name: str) -> None:
    """They sum to log p(x) - log p(baseline), in each example; absent rows have none."""
    config, batch_of = SIGNALS[name]
    model, batch, numbers = smooth_model(config), batch_of(), torch.arange(3)
    found = integrated_gradients(model, batch, numbers, steps=256)
    torch.testing.assert_close(found.rows.sum(1), found.difference, rtol=1e-3, atol=1e-3)
    assert found.difference.abs().max() > 0.1
    assert not found.rows[~present_rows(model, batch)].any()
    if model.inputs.kind not in ("image", "series"):  # of others the baseline is one of rows, not a signal
        return
    own = batch[model.inputs.name]
    baseline = model.inputs.restore(torch.zeros_like(model.inputs.targets(batch)), batch).masked_fill(
        own.isnan(), torch.nan
    )
    with evaluating(model):
        end, start = (
            model({**batch, model.inputs.name: signal}).scores[numbers, numbers] for signal in (own, baseline)
        )
    torch.testing.assert_close(found.difference, (end / start).log(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["image", "image with a stem", "series", "series with a stem"])
def test_they_have_the_signal_s_own_shape(name: str) -> None:
    """Channels and all; rows and elements are its sums, and gaps have nothing."""
    config, batch_of = SIGNALS[name]
    model, batch = small_model(config, classes(3)), batch_of()
    found = integrated_gradients(model, batch, steps=8)
    signal = batch[model.inputs.name]
    assert found.signal.shape == signal.shape
    torch.testing.assert_close(found.signal.flatten(1).sum(1), found.rows.sum(1))
    torch.testing.assert_close(found.elements.flatten(1).sum(1), found.rows.sum(1))
    torch.testing.assert_close(model.inputs.patchify(found.signal).sum(-1), found.rows)
    assert not found.signal[signal.isnan()].any()


def test_the_baseline_itself_has_no_attribution() -> None:
    model = small_model(IMAGE, classes(3))
    found = integrated_gradients(model, {"image": torch.full((2, 1, 6, 6), 0.5)}, steps=4)  # the mean of IMAGE
    assert found.rows.abs().max() < 1e-6
    assert found.difference.abs().max() < 1e-6


def test_of_a_linear_model_they_are_exact() -> None:
    """Of a log-probability that is linear in the pixels: gradient times difference, with two steps."""
    model = small_model(IMAGE, TagConfig(classes=("a",)))
    image = torch.rand(1, 1, 6, 6, generator=RANDOM_NUMBERS)
    weights = torch.randn(1, 1, 6, 6, generator=RANDOM_NUMBERS)

    class Linear(torch.nn.Module):
        config, num_latents, latent_channels = model.encoder.config, 1, 8

        def forward(self, array: Any, *, checkpointing: bool = False) -> Tensor:
            rows = array.segments[0].values
            scores = (rows * model.inputs.patchify(weights)).sum((1, 2))
            return scores[:, None, None].expand(-1, 1, 8)

    class Exponential(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, latents: Tensor, queries: Any) -> Tensor:
            logit = latents[:, :, :1] / 100 - 3
            return logit.exp().logit()  # so that log p = logit

    model.encoder, model.decoder = Linear(), Exponential()
    found = integrated_gradients(model, {"image": image}, torch.tensor([0]), steps=2)
    torch.testing.assert_close(found.signal, (image - 0.5) / 0.3 * weights / 100, rtol=1e-4, atol=1e-5)


def test_the_class_is_the_likeliest_unless_named(case: Any) -> None:
    model, batch = case
    likeliest = predicted_classes(model, batch)
    default = integrated_gradients(model, batch, steps=2)
    torch.testing.assert_close(default.rows, integrated_gradients(model, batch, likeliest, steps=2).rows)
    assert not torch.equal(default.rows, integrated_gradients(model, batch, (likeliest + 1) % 3, steps=2).rows)


def test_points_of_the_path_are_computed_in_parts_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is the same, whatever fits."""
    model, batch = small_model(IMAGE, classes(3)), image_batch()
    sizes: list[int] = []
    whole = _Path.gradients
    monkeypatch.setattr(
        "gradients",
        lambda path, wanted, shares, weights: sizes.append(len(shares)) or whole(path, wanted, shares, weights),
    )
    expected = integrated_gradients(model, batch, steps=6)
    assert sizes == [6]
    monkeypatch.setattr("sensorium.inference.integrated_gradients.KEPT", 1)
    torch.testing.assert_close(integrated_gradients(model, batch, steps=6).rows, expected.rows)
    assert sizes == [6] + [1] * 6


# -- through attention


@pytest.mark.parametrize("method", [attention_rollout, mean_attention])
@pytest.mark.parametrize("decoder", [None, DecoderConfig()], ids=["mean", "query"])
def test_what_flows_through_attention_sums_to_one(
    method: Callable[[Perceiver, dict[str, Tensor]], Attribution], decoder: Any
) -> None:
    """Over the rows that are there; none is negative, none is in a row that is absent."""
    for config, batch_of in (SIGNALS["several"], SIGNALS["text"]):
        model, batch = small_model(config, classes(3), decoder=decoder), batch_of()
        rows = method(model, batch).rows
        torch.testing.assert_close(rows.sum(1), torch.ones(3))
        assert (rows >= 0).all()
        assert not rows[~present_rows(model, batch)].any()


def test_rollout_asks_the_decoder_which_latents_count() -> None:
    """Where the query attends to one latent alone, the map is that latent's."""
    model = small_model(IMAGE, classes(2), decoder=DecoderConfig())
    batch = image_batch()
    with torch.no_grad():
        latents = model.encoder.rollout(model.embed(batch))
        assert hasattr(model.decoder, "weights")
        weights = model.decoder.weights(model.encode(batch), model.queries(batch)).mean((1, 2))
        assert weights.std() > 1e-3
        expected = torch.einsum("bn,bnm->bm", weights, latents)
    torch.testing.assert_close(attention_rollout(model, batch).rows, expected)


# -- deletion


def test_what_is_removed_is_never_read(case: Any) -> None:
    """Other values in the elements that are taken away change nothing, with a stem or without."""
    model, batch = case
    present = present_rows(model, batch)
    removed = (torch.rand(present.shape, generator=RANDOM_NUMBERS) < 0.5) & present
    maps = model.inputs.attention_map(removed.float(), batch)
    maps = maps if isinstance(maps, dict) else {model.inputs.name: maps}
    changed = dict(batch)
    for name, inside in maps.items():
        own, other = batch[name], batch[name].flip(0)
        where = inside > 0 if inside.ndim == own.ndim else inside[..., 0] > 0
        changed[name] = torch.where(where, torch.where(own.isnan(), own, other.nan_to_num(1.0)), own)
    with evaluating(model):
        before, after = (without(model, each, removed) for each in (batch, changed))
        assert not torch.equal(model(batch).scores, model.decode(model.encode(before)).scores)
        torch.testing.assert_close(model.decode(model.encode(before)).scores, model.decode(model.encode(after)).scores)


def test_a_cloud_without_points_is_the_smaller_cloud() -> None:
    """Deletion is exact removal: the answer is that to a cloud which never had these points."""
    model = small_model(POINTS, classes(3))
    cloud = points_batch()["points"][1:2]
    removed = torch.zeros(1, 12, dtype=torch.bool)
    removed[0, [1, 4, 5, 11]] = True
    with evaluating(model):
        answer = model.decode(model.encode(without(model, {"points": cloud}, removed))).scores
        torch.testing.assert_close(answer, model({"points": cloud[:, ~removed[0]]}).scores)


def test_the_curve_goes_from_the_whole_example_to_none_of_it(case: Any) -> None:
    """Its ends do not depend on the order, every example is scored as if it were alone, and the score is its mean."""
    model, batch = case
    classes_ = predicted_classes(model, batch)
    rows = torch.rand(present_rows(model, batch).shape, generator=RANDOM_NUMBERS)
    found, other = deletion(model, batch, rows, classes_), deletion(model, batch, -rows, classes_)
    with evaluating(model):
        whole = model(batch).scores.gather(1, classes_[:, None])[:, 0]
    assert found.probabilities.shape == (3, 11)
    torch.testing.assert_close(found.probabilities[:, 0], whole)
    torch.testing.assert_close(found.probabilities[:, 0], other.probabilities[:, 0])
    torch.testing.assert_close(found.probabilities[:, -1], other.probabilities[:, -1])
    middle = found.probabilities[:, 1:-1].sum(1)
    torch.testing.assert_close(found.score, (middle + found.probabilities[:, [0, -1]].mean(1)) / 10)
    for index in range(3):
        alone = {name: tensor[index : index + 1] for name, tensor in batch.items()}
        one = deletion(model, alone, rows[index : index + 1], classes_[index : index + 1])
        torch.testing.assert_close(one.probabilities[0], found.probabilities[index], rtol=1e-4, atol=1e-5)


def test_rows_go_in_order_of_importance() -> None:
    """One more at each step where there are as many rows as steps; absent rows are not counted."""
    model, batch = small_model(POINTS, classes(3)), points_batch()
    rows = torch.rand(3, 12, generator=RANDOM_NUMBERS)
    rows[0, 7:] = 9.0  # absent: first of all, if they counted
    found = deletion(model, batch, rows, steps=7)
    order = rows[0, :7].argsort(descending=True)
    classes_ = predicted_classes(model, batch)
    for step in range(8):
        removed = torch.zeros(3, 12, dtype=torch.bool)
        removed[0, order[:step]] = True
        with evaluating(model):
            scores = model.decode(model.encode(without(model, batch, removed))).scores
        torch.testing.assert_close(found.probabilities[0, step], scores[0, classes_[0]])


def test_random_orders_are_a_control() -> None:
    """The same for a seed, other for another; judged beside every method."""
    model, batch = small_model(IMAGE, classes(3)), {"image": image_batch()["image"][:1]}
    assert torch.equal(random_deletion(model, batch), random_deletion(model, batch))
    assert not torch.equal(random_deletion(model, batch), random_deletion(model, batch, seed=1))
    judged = judge(model, batch, list(METHODS), 2)
    assert judged.name == "class 2"
    assert list(judged.scores) == [*METHODS, RANDOM]
    expected = deletion(model, batch, judged.attributions["rollout"].rows, torch.tensor([2])).score
    assert judged.scores["rollout"] == pytest.approx(float(expected))


def test_a_model_without_classes_has_no_attributions() -> None:
    model = small_model(IMAGE, RegressConfig(classes=("x",), mean=(0.0,), std=(1.0,)))
    for refused in (integrated_gradients, predicted_classes):
        with pytest.raises(InputError, match="the task 'regress' has none"):
            refused(model, image_batch())
    with pytest.raises(InputError, match="the task 'regress' has none"):
        deletion(model, image_batch(), torch.rand(3, 9))
