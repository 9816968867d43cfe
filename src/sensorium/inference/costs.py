"""What a preset costs: parameters, arithmetic and the size of its byte array."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..models import presets
from ..models.perceiver import Perceiver
from ..nn.byte_array import ByteArray, Segment
from ..nn.queries import Queries
from ..nn.rows import reading


def gigaflop(model: Perceiver) -> float:
    """Multiplications and additions of one example's forward pass, in 10⁹, keys and values projected as in the papers.

    The model must be on the ``meta`` device: nothing is computed.
    """
    array = ByteArray(
        tuple(
            Segment(modality.name, torch.zeros(1, modality.num_rows, model.inputs.channels, device="meta"))
            for modality in model.inputs.modalities
        )
    )
    with FlopCounterMode(display=False) as counter, reading("projected"):
        model.decoder(model.encoder(array), _placeholders(model))
    return counter.get_total_flops() / 1e9


def _placeholders(model: Perceiver) -> Queries | None:
    """As many queries as the task asks of an example of the configured size; None: it asks none."""
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
