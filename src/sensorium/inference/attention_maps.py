"""Attention maps: how much each cross-attend attends to each part of the signal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..data import Samples
from ..errors import InputError
from ..modalities import Batch, Signal
from ..models.perceiver import Perceiver, evaluating

SHARES_OF = 32  # examples over which shares of attention are averaged
LEAST_PEAK = 2.0  # in units of uniform attention: rows with less than this are not drawn at full strength


def attention_map(model: Perceiver, batch: Batch, *, cross_attend: int = -1) -> Signal:
    """The attention map of one cross-attend; see :func:`attention_maps`.

    Args:
        cross_attend: which one, in the order in which they are applied.

    Raises:
        InputError: the model has no such cross-attend.
    """
    maps = attention_maps(model, batch)
    if not -len(maps) <= cross_attend < len(maps):
        raise InputError(f"there is no cross-attend {cross_attend}: the model has {len(maps)}, counted from 0")
    return maps[cross_attend]


def attention_maps(model: Perceiver, batch: Batch) -> list[Signal]:
    """The attention map of each cross-attend, in the signal's shape, batch first, in [0, 1]. Of several modalities, a
    dict of maps by name, each scaled by itself; :func:`attention_shares` compares the modalities.

    Attention is the mean over heads and latents. 0 is no attention. 1 is the attention of the 99th percentile of the
    example's rows, or more; where that is less than twice uniform attention, 1 is twice uniform attention, so that
    uniform attention is drawn at half strength.

    Args:
        batch: as the modality's ``view`` gives it.

    Raises:
        InputError: the model has no attention maps.
    """
    with evaluating(model):
        batch = model.to_device(batch)
        array = model.embed(batch)
        masks = {segment.name: segment.mask for segment in array.segments}
        # A token that takes the place of an absent signal is no part of a map.
        rows = {segment.name: segment.num_rows for segment in model.inputs.embed(batch).segments}
        maps = []
        for weights in model.attention(batch).unbind(1):
            pieces = [_scaled(piece, masks[name])[:, : rows[name]] for name, piece in array.split(weights).items()]
            maps.append(_map_signal(model.inputs.attention_map(torch.cat(pieces, dim=1), batch), Tensor.cpu))
        return maps


def attention_shares(model: Perceiver, batch: Batch) -> list[dict[str, Tensor]]:
    """For each cross-attend, the share of its attention that each modality gets: by name, (batch,); 0 for a modality
    that an example does not have.

    Args:
        batch: as the modality's ``view`` gives it.

    Raises:
        InputError: the model has no attention maps.
    """
    with evaluating(model):
        batch = model.to_device(batch)
        array = model.embed(batch)
        return [
            {name: piece.sum(1).cpu() for name, piece in array.split(weights).items()}
            for weights in model.attention(batch).unbind(1)
        ]


def mean_attention_shares(model: Perceiver, samples: Samples) -> dict[str, list[float]]:
    """By modality, the share of attention that it gets in each cross-attend: the mean over a few examples, evenly
    chosen.

    Raises:
        InputError: the model has no attention maps.
    """
    chosen = np.linspace(0, len(samples) - 1, min(len(samples), SHARES_OF)).astype(int).tolist()
    batch = viewed(model, samples, chosen)
    # One example at a time: the attention weights of a large model over a long signal fill the memory.
    shares = [attention_shares(model, select(batch, slice(index, index + 1))) for index in range(len(chosen))]
    return {
        modality.name: [
            float(np.mean([float(of_example[number][modality.name]) for of_example in shares]))
            for number in range(len(shares[0]))
        ]
        for modality in model.inputs.modalities
    }


def viewed(model: Perceiver, samples: Samples, indices: Sequence[int]) -> dict[str, Tensor]:
    """The examples at ``indices`` as the model reads them where nothing is hidden; on the CPU, for drawing."""
    with torch.inference_mode():
        batch = samples.batch(list(indices))
        batch.pop("target", None)
        view = model.task.unmasked(model.inputs.view(model.to_device(batch)))
        return {name: tensor.cpu() for name, tensor in view.items()}


def select(signal: Signal, index: int | slice) -> Signal:
    """The example, or the examples, at ``index`` of a tensor with a batch axis, or of a dict of them.

    >>> select({"image": torch.rand(5, 3, 8, 8)}, 0)["image"].shape
    torch.Size([3, 8, 8])
    """
    return _map_signal(signal, lambda tensor: tensor[index])


def _map_signal(signal: Signal, function: Callable[[Tensor], Tensor]) -> Signal:
    if isinstance(signal, Mapping):
        return {name: function(tensor) for name, tensor in signal.items()}
    return function(signal)


def _scaled(weights: Tensor, mask: Tensor | None) -> Tensor:
    """Attention to the rows of one modality, scaled as :func:`attention_maps` says: batch × rows.

    Args:
        weights: batch × rows.
        mask: batch × rows, True = present; None: all are.
    """
    if weights.shape[1] == 0:
        return weights
    rows = weights.new_full(weights.shape[:1], weights.shape[1]) if mask is None else mask.sum(1).to(weights)
    total = weights.sum(1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    relative = weights / total * rows[:, None]  # 1 is uniform attention
    percentile = (rows * 0.01).long()[:, None]
    peak = relative.sort(dim=1, descending=True).values.gather(1, percentile)
    return (relative / peak.clamp_min(LEAST_PEAK)).clamp(0, 1)
