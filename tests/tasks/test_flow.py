"""Optical flow: what is asked, what is wrong, and pairs made of single pictures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from builders import shake
from sensorium.errors import InputError
from sensorium.modalities import ImageConfig, PairConfig
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.nn import DecoderConfig
from sensorium.tasks import FlowConfig
from sensorium.tasks.warps import WarpConfig
from small_models import ONE_LAYER

PAIR = PairConfig(size=(6, 9), channels=8, bands=2)


def small(inputs: Any = PAIR, **settings: Any) -> Perceiver:
    torch.manual_seed(0)
    task = FlowConfig(**settings)
    return Perceiver(
        PerceiverConfig(inputs=inputs, encoder=ONE_LAYER, decoder=DecoderConfig(query_residual=False), task=task)
    ).eval()


def batch(count: int = 3) -> dict[str, Tensor]:
    generator = seeded(1)
    return {
        "pair": torch.rand(count, 2, 3, 6, 9, generator=generator, dtype=torch.float64),
        "pair.flow": torch.randn(count, 2, 6, 9, generator=generator) * 3,
    }


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scores(model: Perceiver, *pieces: tuple[Tensor, Tensor]) -> dict[str, float]:
    """The metrics after answers (batch × 2 × height × width) and true flows, one after the other."""
    metrics = model.task.metrics()
    for found, flow in pieces:
        prediction = model({"pair": torch.rand(len(found), 2, 3, *found.shape[-2:])})
        prediction = type(prediction)(found.flatten(2).mT, prediction.queries, prediction.inputs)
        model.task.update_metrics(metrics, prediction, flow.flatten(2).mT)
    return {name: float(value) for name, value in metrics.compute().items()}


def test_some_pixels_are_those_of_the_whole() -> None:
    model, indices = shake(small()), torch.tensor([53, 0, 7])
    whole, part = model(batch()), model(batch(), indices)
    assert whole.flow.shape == (3, 2, 6, 9)
    assert whole.output.std() > 0.01
    torch.testing.assert_close(part.output, whole.output[:, indices])
    torch.testing.assert_close(whole.flow[:, :, 5, 8], part.output[:, 0])
    with pytest.raises(InputError, match="predict without query indices"):
        _ = part.flow


def test_encoded_once_and_asked_in_chunks_is_asked_at_once() -> None:
    model = shake(small())
    queries, latents = model.queries(batch()), model.encode(batch())
    assert queries is not None
    rows = model.decoder(latents, queries, chunk=7)  # type: ignore[call-arg]
    torch.testing.assert_close(model.task.predict(rows, queries).output, model(batch()).output)


def test_a_query_is_the_row_that_was_read() -> None:
    model = shake(small())
    queries = model.queries(batch())
    assert queries is not None
    assert queries.dense().equal(model.embed(batch()).dense())


def test_the_flow_of_a_reversed_pair_is_that_of_reversed_weights() -> None:
    """The frames are told apart by the linear layer of their windows, and by nothing else."""
    model, other = shake(small()), shake(small())
    with torch.no_grad():
        other.inputs.linear.weight.copy_(model.inputs.linear.weight.unflatten(1, (2, -1)).flip(1).flatten(1))
    turned = {"pair": batch()["pair"].flip(1)}
    torch.testing.assert_close(model(turned).flow, other(batch()).flow)
    assert not torch.allclose(model(turned).flow, model(batch()).flow)


def test_a_pixel_s_answer_is_in_units_of_the_scale() -> None:
    """And a new model says that nothing moves."""
    rows = torch.randn(1, 54, 2)
    for scale in (0.2, 5.0):
        model = small(scale=scale)
        queries = model.queries({"pair": batch(1)["pair"].float()})
        torch.testing.assert_close(model.task.predict(rows, queries).output, rows * scale)
        assert not model({"pair": batch()["pair"].float()}).flow.any()


def test_the_loss_is_the_end_point_error() -> None:
    """3 to the right and 4 down are 5 pixels."""
    task = small().task
    off = torch.tensor([3.0, 4.0]).expand(2, 54, 2)
    target = torch.randn(2, 54, 2)
    assert float(task.loss(target + off, target)) == pytest.approx(5.0, rel=1e-5)
    assert float(task.loss(target, target)) == 0.0


def test_unknown_motion_costs_and_teaches_nothing() -> None:
    """Wherever it is, and where it is everywhere; an exact answer has a finite slope."""
    task = small().task
    target = torch.tensor([[[3.0, 4.0], [torch.nan, torch.nan], [0.0, 0.0], [1.0, torch.nan]]])
    output = torch.zeros(1, 4, 2, requires_grad=True)
    loss = task.loss(output, target)
    loss.backward()
    assert float(loss.detach()) == 2.5
    assert output.grad is not None
    torch.testing.assert_close(output.grad, torch.tensor([[[-0.3, -0.4], [0, 0], [0, 0], [0, 0]]]))
    output.grad = None
    nothing = task.loss(output, torch.full_like(target, torch.nan))
    nothing.backward()
    assert float(nothing.detach()) == 0.0
    assert not output.grad.any()


def test_metrics_by_hand() -> None:
    """No motion explains nothing, the truth everything, half of it half; batches weigh by their known pixels."""
    model = small()
    flow = batch()["pair.flow"]
    length = float(flow.norm(dim=1).mean())
    for share, explained in ((0.0, 0.0), (1.0, 1.0), (0.5, 0.5), (-1.0, -1.0)):
        found = scores(model, (flow * share, flow))
        wanted = {"explained": explained, "epe": (1 - share) * length, "still": length}
        assert found == pytest.approx(wanted, abs=1e-5)
    assert set(found) == {model.task.primary_metric, "epe", "still"}
    wrong = flow + torch.randn(flow.shape, generator=seeded())
    holes = flow.clone()
    holes[0, :, :4] = torch.nan
    whole = scores(model, (wrong, holes))
    pieces = scores(model, *((wrong[index, None], holes[index, None]) for index in range(3)))
    assert pieces == pytest.approx(whole, rel=1e-5)
    with_unknown = scores(model, (wrong, holes), (wrong, torch.full_like(flow, torch.nan)))
    assert with_unknown == pytest.approx(whole, rel=1e-5)
    assert scores(model, (flow * 0, flow * 0)) == {"explained": 1.0, "epe": 0.0, "still": 0.0}


def test_figures_of_whole_frames_have_titles() -> None:
    """Those of a render pass, too; outliers are a share."""
    task = small().task
    assert task.metric_title("whole_epe") == "End-point error of whole frames, pixels"
    assert task.metric_title("clean_whole_epe") == "clean: End-point error of whole frames, pixels"
    assert task.is_percent("final_whole_outliers")
    assert not task.is_percent("whole_epe")


def test_training_asks_for_some_pixels_and_evaluation_for_all() -> None:
    """The same pixels of every example, other ones each time; their loss is that of the whole answer there."""
    model, view = shake(small(num_queries=10)), batch()
    prepared, other = (model.prepare(view, seeded(seed)) for seed in (0, 1))
    assert prepared.query_indices is not None
    assert prepared.targets.equal(view["pair.flow"].flatten(2).mT[:, prepared.query_indices])
    assert len(prepared.query_indices.unique()) == 10
    assert not prepared.query_indices.equal(other.query_indices)
    assert "pair.flow" not in prepared.inputs
    found, whole = model(prepared.inputs, prepared.query_indices).output, model(view).output
    torch.testing.assert_close(
        model.loss(found, prepared.targets), model.loss(whole[:, prepared.query_indices], prepared.targets)
    )
    every = model.prepare(view)
    assert every.query_indices is None
    assert every.targets.mT.unflatten(2, (6, 9)).equal(view["pair.flow"])
    assert model.prepare({"pair": view["pair"]}).targets is None


def test_every_parameter_is_trained() -> None:
    model = shake(small(num_queries=10)).train()
    prepared = model.prepare(batch(), seeded())
    model.loss(model(prepared.inputs, prepared.query_indices).output, prepared.targets).backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()}
    assert all(name.endswith("key.bias") for name in idle)  # constant over the rows: it drops out of every softmax


def test_single_pictures_become_pairs() -> None:
    """Of the model's size; in evaluation the same ones whoever else is asked, in training others each time."""
    model = small(PairConfig(size=(24, 32), channels=8, bands=2), warps=WarpConfig(motion=4.0), num_queries=50)
    pictures = {"pair": torch.randint(0, 256, (3, 1, 3, 40, 50), generator=seeded(), dtype=torch.uint8)}
    together = model.prepare(pictures)
    assert together.inputs["pair"].shape == (3, 2, 3, 24, 32)
    assert together.targets.shape == (3, 24 * 32, 2)
    alone = model.prepare({"pair": pictures["pair"][1:2]})
    torch.testing.assert_close(alone.inputs["pair"][0], together.inputs["pair"][1])
    torch.testing.assert_close(alone.targets[0], together.targets[1])
    first, same, other = (model.prepare(pictures, seeded(seed)) for seed in (1, 1, 2))
    assert first.inputs["pair"].equal(same.inputs["pair"])
    assert first.targets.equal(same.targets)
    assert not first.inputs["pair"].equal(other.inputs["pair"])
    assert first.targets.shape == (3, 50, 2)
    assert first.targets.isfinite().all()
    assert model(first.inputs, first.query_indices).output.shape == first.targets.shape


def test_what_cannot_be_predicted_is_refused() -> None:
    with pytest.raises(InputError, match="only pairs of frames show motion; the model reads image"):
        small(ImageConfig(size=(8, 8)))
    for settings in ({"scale": 0.0}, {"num_queries": 0}, {"pyramid_levels": 0}):
        with pytest.raises(InputError, match="scale, num_queries and pyramid_levels must be positive"):
            small(**settings)
    model = small()
    with pytest.raises(InputError, match=r"give pairs, or set task\.warps"):
        model.prepare({"pair": torch.rand(1, 1, 3, 6, 9)})
    with pytest.raises(InputError, match="'flow' has queries; give the model a decoder"):
        Perceiver(PerceiverConfig(inputs=PAIR, encoder=ONE_LAYER, task=FlowConfig()))
