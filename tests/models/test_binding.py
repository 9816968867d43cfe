"""The model binds its inputs and its task."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from sensorium.errors import InputError
from sensorium.modalities import PairConfig, TextConfig
from sensorium.models.backbones import AttentionBackbone
from sensorium.nn import DecoderConfig
from sensorium.tasks import FlowConfig, MLMConfig, ReconstructConfig
from small_models import IMAGE, classes, pictures, small_model

TASKS: dict[str, tuple[Any, Any, Any]] = {
    "classify": (IMAGE, classes(2), None),
    "classify, with a decoder": (IMAGE, classes(2), DecoderConfig()),
    "classify, with weights for each latent": (IMAGE, classes(2), "linear"),
    "mlm": (TextConfig(length=12, channels=8), MLMConfig(), DecoderConfig()),
    "reconstruct": (IMAGE, ReconstructConfig(elementwise=("image",)), DecoderConfig()),
    "flow": (PairConfig(size=(6, 9), channels=8, bands=2), FlowConfig(), DecoderConfig()),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_copy_s_task_reads_the_copy_s_inputs(name: str) -> None:
    """The task keeps the inputs unregistered: their weights are in the state once, and a deep copy is whole."""
    inputs, task, decoder = TASKS[name]
    model = small_model(inputs, task, decoder=decoder)
    assert model.task.inputs is model.inputs
    assert not any(key.startswith("task") and "inputs" in key for key in model.state_dict())
    assert model.inputs not in list(model.task.modules())
    other = copy.deepcopy(model)
    assert other.task.inputs is other.inputs
    assert other.inputs is not model.inputs
    assert other.to(torch.float64).task.inputs is other.inputs


@pytest.mark.parametrize("name", TASKS)
def test_queries_are_counted(name: str) -> None:
    """``num_queries`` is the number of output rows of an example of the configured size."""
    inputs, task, decoder = TASKS[name]
    model = small_model(inputs, task, decoder=decoder)
    batches = {
        "image": torch.rand(2, 1, 6, 6),
        "text": torch.randint(6, 262, (2, 12)),
        "pair": torch.rand(2, 2, 3, 6, 9),
    }
    batch = {model.inputs.name: batches[model.inputs.name]}
    queries = model.queries(batch)
    assert (1 if queries is None else queries.count) == model.num_queries


def test_prediction_needs_no_mode_and_keeps_no_gradients() -> None:
    """As in evaluation mode, from what data give; the mode is as it was."""
    model, batch = small_model(IMAGE, classes(2)).train(), pictures(None).batch([0, 1])
    prediction = model.predict(batch)
    assert model.training
    assert not prediction.scores.requires_grad
    torch.testing.assert_close(prediction.scores, model.eval()(model.inputs.view(batch)).scores.detach())
    torch.testing.assert_close(model.predict_view(model.inputs.view(batch)).scores, prediction.scores)


def test_the_encoder_is_a_backbone_with_attention_maps() -> None:
    """Latents of the shape it says; attention maps over the rows of the array. Others: test_backbones.py."""
    model = small_model(IMAGE, classes(2))
    batch = pictures(None).batch([0, 1])
    assert model.encode(batch).shape == (2, model.encoder.num_latents, model.encoder.latent_channels)
    assert isinstance(model.encoder, AttentionBackbone)
    weights = list(model.encoder.weights(model.embed(batch)))
    assert len(weights) == len(model.cross_attends)
    assert all(one.shape[0] == 2 and one.shape[-1] == model.inputs.num_rows for one in weights)


def test_a_model_without_a_decoder_has_no_queries() -> None:
    with pytest.raises(InputError, match="'reconstruct' has queries; give the model a decoder"):
        small_model(IMAGE, ReconstructConfig())
    with pytest.raises(InputError, match="this model needs queries"):
        small_model(IMAGE, classes(2), decoder=DecoderConfig()).decode(torch.zeros(1, 3, 8))
