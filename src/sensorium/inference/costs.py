"""The costs of presets: parameters, floating point operations, and the size of the byte array."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..models import presets
from ..models.perceiver import Perceiver
from ..nn import ByteArray, Queries, Segment, attention_path


def gigaflop(model: Perceiver) -> float:
    """Floating point operations of one example's forward pass in 10⁹, with keys and values projected as in the papers.

    The model must be on the ``meta`` device, so that nothing is computed.
    """
    array = ByteArray(
        tuple(
            Segment(modality.name, torch.zeros(1, modality.num_rows, model.inputs.channels, device="meta"))
            for modality in model.inputs.modalities
        )
    )
    with FlopCounterMode(display=False) as counter, attention_path(model, "projected"):
        model.decoder(model.encoder(array), _placeholders(model))
    return counter.get_total_flops() / 1e9


def _placeholders(model: Perceiver) -> Queries | None:
    """Queries of the right shape for one example of the configured size; None: the task has no queries."""
    if model.task.query_channels is None:
        return None
    values = torch.zeros(1, model.num_queries, model.task.query_channels, device="meta")
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
