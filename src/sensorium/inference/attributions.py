"""Attributions: how much each part of a signal speaks for a class, by methods beside attention.

Methods are in :data:`METHODS`; :mod:`.deletion` judges them.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..errors import InputError
from ..modalities import Batch
from ..models.backbones import RolloutBackbone
from ..models.perceiver import Perceiver, evaluating
from ..nn.decoder import Decoder
from .attribution_record import Attribution, by_name_or_alone, check_classes, explains_classes, predicted_classes
from .integrated_gradients import IntegratedGradients, integrated_gradients

__all__ = [
    "BEST",
    "METHODS",
    "Attribution",
    "IntegratedGradients",
    "attention_rollout",
    "check_classes",
    "explains_classes",
    "integrated_gradients",
    "mean_attention",
    "predicted_classes",
]


def attention_rollout(model: Perceiver, batch: Batch) -> Attribution:
    """Attention rollout (Abnar & Zuidema 2020) from the rows through all cross-attends and latent transformers to the
    decoder's query, or to the mean of the latents: see :meth:`sensorium.nn.Encoder.rollout`. It is the same for every
    class. The rows of an example sum to 1.

    Args:
        batch: as the modality's ``view`` gives it.

    Raises:
        InputError: the model has no attention that can be rolled out.
    """
    if not isinstance(model.encoder, RolloutBackbone):
        raise InputError(f"the backbone {model.config.encoder.kind!r} has no attention rollout; use another method")
    with evaluating(model):
        batch = model.to_device(batch)
        array = model.embed(batch)
        latents = model.encoder.rollout(array)
        queries = model.queries(batch, array=array)
        if isinstance(model.decoder, Decoder) and queries is not None:
            weights = model.decoder.weights(model.encode(array), queries).mean((1, 2))
            return _of_rows(model, batch, (weights[:, None] @ latents)[:, 0])
        return _of_rows(model, batch, latents.mean(1))


def mean_attention(model: Perceiver, batch: Batch) -> Attribution:
    """Attention itself: the mean over cross-attends, heads and latents. The rows of an example sum to 1.

    Args:
        batch: as the modality's ``view`` gives it.

    Raises:
        InputError: the model has no attention maps.
    """
    with evaluating(model):
        return _of_rows(model, model.to_device(batch), model.attention(model.to_device(batch)).mean(1))


def _of_rows(model: Perceiver, batch: Batch, rows: Tensor) -> Attribution:
    """The attribution whose ``rows`` are known; each element of a row has all of it."""
    signal = model.inputs.attention_map(rows, batch)
    signals = signal if isinstance(signal, dict) else {model.inputs.name: signal}
    return Attribution(rows.float().cpu(), by_name_or_alone(model, signals), by_name_or_alone(model, signals))


# By name: the attribution of a batch to a class of each example (int64, batch), as ``--method`` names it.
METHODS: dict[str, Callable[[Perceiver, Batch, Tensor], Attribution]] = {
    "attention": lambda model, batch, classes: mean_attention(model, batch),
    "rollout": lambda model, batch, classes: attention_rollout(model, batch),
    "integrated-gradients": integrated_gradients,
}
BEST = "integrated-gradients"  # by benchmarks/deletion.py (docs/explaining.md)
