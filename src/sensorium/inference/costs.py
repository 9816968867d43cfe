"""What models cost: parameters, floating point operations, memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from ..modalities import ModalityConfig, build_modality
from ..models import presets
from ..models.perceiver import Perceiver, PerceiverConfig
from ..nn import AttentionPath, ByteArray, Encoder, EncoderConfig, Queries, Segment, attention_path
from ..nn.ops import compiled_name

BACKWARD = 1.5  # what training holds in the backward pass, in units of what is kept for it
COUNTED = 2  # examples of which it is counted: the norms of a ResNet's last stage need two


def gigaflop(model: Perceiver, *, trained: bool = False) -> float:
    """Floating point operations of one example's forward pass in 10⁹, with keys and values projected as in the papers.

    Args:
        model: on the ``meta`` device, so that nothing is computed.
        trained: whether the queries are decoded that a training step asks, and not all of them.
    """
    array = _array(model)
    with FlopCounterMode(display=False) as counter, attention_path(model, "projected"):
        model.decoder(model.encoder(array), _placeholders(model, trained=trained))
    return counter.get_total_flops() / 1e9


def _array(model: Perceiver, *, batch: int = 1) -> ByteArray:
    """A byte array of the right shape for examples of the configured size."""
    return ByteArray(
        tuple(
            Segment(
                modality.name,
                torch.zeros(batch, modality.num_rows, model.inputs.channels, device="meta"),
                layout=modality.layout(),
            )
            for modality in model.inputs.modalities
        )
    )


def _placeholders(model: Perceiver, *, trained: bool = False, batch: int = 1) -> Queries | None:
    """Queries of the right shape for examples of the configured size, or those that a training step asks; None: the
    task has no queries."""
    if model.task.query_channels is None:
        return None
    count = model.task.num_trained_queries if trained else model.num_queries
    values = torch.zeros(batch, count, model.task.query_channels, device="meta")
    return Queries(ByteArray((Segment("answer", values),)))


def preset_costs() -> list[dict[str, Any]]:
    """Every preset with its parameters, arithmetic and byte array."""
    rows = []
    for name in presets.names():
        preset = presets.load(name)
        with torch.device("meta"):
            model = Perceiver(preset.model())
        rows.append(
            {
                "name": name,
                "parameters": model.parameter_count(),
                "gigaflop": gigaflop(model),
                "rows": model.inputs.num_rows,
                "channels": model.inputs.channels,
                "about": preset.about,
            }
        )
    return rows


@dataclass(frozen=True)
class TrainingCost:
    """Expected bytes of memory in training.

    Attributes:
        state: of the weights, their gradients, two moments and an average.
        example: what each example of a batch keeps for the backward pass, with room for the pass itself.
    """

    state: int
    example: int


class FusedAttention(TorchFunctionMode):
    """Attention of the ``meta`` device as other devices compute it, which keep no weights of rows by rows for the
    backward pass."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is F.scaled_dot_product_attention and kwargs.get("attn_mask") is None:
            query, key, value = args
            if query.shape[-1] == value.shape[-1]:  # others' weights are kept on all devices
                fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
                return fused(query, key, value, scale=kwargs.get("scale"))[0]
        return function(*args, **kwargs)


def training_cost(config: PerceiverConfig, *, checkpointing: bool = False) -> TrainingCost:
    """What training a model is expected to take in float32: its tensors for the backward pass are counted on the
    ``meta`` device, where nothing is computed.

    >>> from sensorium.models import presets
    >>> training_cost(presets.load("perceiver-io-bytes").model()).state == 5 * 4 * 201_108_230
    True
    """
    with torch.device("meta"):
        model = Perceiver(config)
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    array, queries = _array(model, batch=COUNTED), _placeholders(model, trained=True, batch=COUNTED)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), FusedAttention():
        output = model.decoder(model.encoder(array, checkpointing=checkpointing), queries)
    del output
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    activations = sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in weights)
    rows = 4 * model.inputs.num_rows * model.inputs.channels
    return TrainingCost(5 * 4 * model.parameter_count(), int(BACKWARD * (activations / COUNTED + rows)))


@dataclass(frozen=True)
class Cost:
    """Expected bytes of memory, and floating point operations."""

    memory: float
    flop: float


def encoder_cost(
    encoder: EncoderConfig, inputs: ModalityConfig, *, path: AttentionPath, training: bool, batch: int = 1
) -> Cost:
    """What an encoder of pictures is expected to need; the estimate of memory is on the high side.

    Args:
        encoder: its shape.
        inputs: the configuration of the pictures.
        path: the attention path; ``auto`` counts as ``structured``.
        training: a forward and a backward pass; False: a forward pass.
        batch: pictures at a time.
    """
    path = "structured" if path == "auto" else path
    per_weight = 40 if compiled_name() else 400  # an exponential and its share of the sums, in operations
    operations = {
        torch.ops.sensorium.row_attention: lambda query, rows, *_, **__: 4 * prod(query) * rows[1],
        torch.ops.sensorium.grid_attention: lambda query, _, values, *__, **___: (
            per_weight * prod(query[:3]) * values[2]
        ),
    }
    with torch.device("meta"):
        modality = build_modality(inputs)
        module = Encoder(encoder, channels=modality.channels).requires_grad_(False)
        array = modality.embed({modality.name: torch.empty(1, modality.config.channels, *modality.config.size)})
        with attention_path(module, path), FlopCounterMode(display=False, custom_mapping=operations) as counter:
            module(array)
    cross_attends = sum(number is not None for number in encoder.cross_attention)
    transformers = sum(number is not None for number in encoder.latent_transformer)
    if path == "projected":  # in training every cross-attend keeps its inputs, keys and values
        floats = modality.channels * (3 * cross_attends + 5 if training else 6)
    else:
        floats = 3 * modality.channels if path == "absorbed" else 30
    memory, flop = 4.0 * modality.num_rows * floats, float(counter.get_total_flops())
    if training:  # every block keeps about fifteen arrays of latents
        blocks = cross_attends + encoder.num_layers * transformers
        memory, flop = memory + 4.0 * 15 * blocks * encoder.num_latents * encoder.latent_channels, 3.5 * flop
    return Cost(memory=1.5e9 + batch * memory, flop=batch * flop)
