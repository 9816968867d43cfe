"""Attention maps as the papers show them: of single latents and single heads, of each cross-attend, before or after the
softmax (Perceiver §4.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor

from ..config import record
from ..errors import InputError
from ..modalities import Batch, Signal
from ..models.backbones import AttentionBackbone, Backbone, RolloutBackbone
from ..models.perceiver import Perceiver, evaluating
from ..nn import Encoder
from ..nn.byte_array import ByteArray
from .attention_maps import LEAST_PEAK

FIRST = 16  # latents that are shown where none are named


@record
class LatentMapsConfig:
    """Which maps are wanted. Everything is counted from 0.

    Attributes:
        latents: which latents; ``first``: the first 16, or as many as there are.
        heads: which heads, each by itself; ``mean``: the mean over all heads.
        cross_attends: which cross-attends, in the order in which they are applied.
        before_softmax: the logits instead of the attention weights.
    """

    latents: tuple[int, ...] | Literal["first", "all"] = "first"
    heads: tuple[int, ...] | Literal["mean", "all"] = "mean"
    cross_attends: tuple[int, ...] | Literal["all"] = "all"
    before_softmax: bool = False


@dataclass(frozen=True)
class LatentMaps:
    """The attention of single latents in one cross-attend.

    Attributes:
        cross_attend: which one, counted from 0.
        latents: which latents, counted from 0.
        heads: which heads, counted from 0; empty: there is one map, the mean over them.
        maps: float32, batch × latents × heads × the signal's shape with one channel, on the CPU; of several modalities
            a dict by name. Weights, which sum to 1 over the rows of the byte array; or logits, -inf where nothing is.
            An element of the signal has the number of its row.
    """

    cross_attend: int
    latents: tuple[int, ...]
    heads: tuple[int, ...]
    maps: Signal


def latent_maps(model: Perceiver, batch: Batch, config: LatentMapsConfig = LatentMapsConfig()) -> list[LatentMaps]:
    """The maps of each cross-attend that ``config`` names, in the order of the model.

    Args:
        batch: as the modality's ``view`` gives it.
        config: which maps.

    Raises:
        InputError: the model has no attention maps, or not such a latent, head or cross-attend; or its backbone does
            not show logits.

    >>> from sensorium.modalities import ImageConfig
    >>> from sensorium.models.perceiver import PerceiverConfig
    >>> from sensorium.nn import EncoderConfig
    >>> from sensorium.tasks import ClassifyConfig
    >>> model = Perceiver(PerceiverConfig(
    ...     inputs=ImageConfig(size=(8, 8), patch=(2, 2), bands=4),
    ...     encoder=EncoderConfig(num_latents=4, latent_channels=16, num_layers=1),
    ...     task=ClassifyConfig(classes=("cat", "dog")),
    ... ))
    >>> first, *others = latent_maps(model, {"image": torch.rand(3, 3, 8, 8)}, LatentMapsConfig(latents=(0, 3)))
    >>> first.maps.shape, len(others)
    (torch.Size([3, 2, 1, 1, 8, 8]), 7)
    """
    check_latent_maps(model, config)
    encoder = cast(AttentionBackbone, model.encoder)
    weights_of: Callable[[ByteArray], Iterable[Tensor]] = encoder.weights
    if config.before_softmax:
        weights_of = partial(cast(RolloutBackbone, encoder).weights, before_softmax=True)
    chosen = _chosen(config.cross_attends, len(model.cross_attends), "cross-attend")
    with evaluating(model):
        batch = model.to_device(batch)
        array = model.embed(batch)
        # A token that takes the place of an absent signal is no part of a map.
        rows = {segment.name: segment.num_rows for segment in model.inputs.embed(batch).segments}
        found = []
        for number, weights in enumerate(weights_of(array)):
            if number not in chosen:
                continue
            first = tuple(range(min(FIRST, weights.shape[2])))
            latents = first if config.latents == "first" else _chosen(config.latents, weights.shape[2], "latent")
            heads = () if config.heads == "mean" else _chosen(config.heads, weights.shape[1], "head")
            weights = weights[:, :, list(latents)]
            weights = weights[:, list(heads)] if heads else weights.mean(1, keepdim=True)
            flat = weights.transpose(1, 2).flatten(0, 2)  # (batch · latents · heads) × rows
            kept = [piece[:, : rows[name]] for name, piece in array.split(flat).items()]
            signal = model.inputs.attention_map(torch.cat(kept, dim=1), batch)
            shape = (len(weights), len(latents), weights.shape[1])
            found.append(LatentMaps(number, latents, heads, _unflattened(signal, shape)))
    return found


def check_latent_maps(model: Perceiver, config: LatentMapsConfig) -> None:
    """Refuse maps that a model does not have, before anything is computed; heads of other backbones than the Perceiver
    are known only then.

    Raises:
        InputError: as :func:`latent_maps`.
    """
    if not model.cross_attends or not isinstance(model.encoder, AttentionBackbone):
        raise InputError("this model has no attention maps: its encoder has no cross-attends")
    if config.before_softmax and not isinstance(model.encoder, RolloutBackbone):
        raise InputError(f"the backbone {model.config.encoder.kind!r} shows attention after the softmax only")
    _chosen(config.cross_attends, len(model.cross_attends), "cross-attend")
    _chosen(config.latents, cast(Backbone, model.encoder).num_latents, "latent")
    if isinstance(model.encoder, Encoder):
        _chosen(config.heads, model.encoder.config.num_cross_attention_heads, "head")


def shades(values: Tensor, *, before_softmax: bool = False) -> Tensor:
    """One map for drawing: in [0, 1], of the same shape.

    Weights and attributions: 0 is none, or less; 1 is the 99th percentile of what is there, or twice its mean if that
    is more, so that even attention is drawn at half strength. Logits: from the least to the largest one.

    >>> shades(torch.tensor([0.0, 1.0, 1.0, 4.0])), shades(torch.tensor([-1.0, 3.0]), before_softmax=True)
    (tensor([0.0000, 0.2500, 0.2500, 1.0000]), tensor([0., 1.]))
    """
    if before_softmax:
        finite = values[values.isfinite()]
        if not finite.numel():
            return torch.zeros_like(values)
        low, high = finite.min(), finite.max()
        return ((values - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    positive = values[values > 0].sort(descending=True).values
    if not positive.numel():
        return torch.zeros_like(values)
    peak = torch.maximum(positive[int(0.01 * len(positive))], LEAST_PEAK * positive.mean())
    return (values / peak).clamp(0, 1)


def _chosen(wanted: tuple[int, ...] | str, count: int, noun: str) -> tuple[int, ...]:
    """The numbers that are wanted; where that is a word, all of ``count``."""
    if isinstance(wanted, str):
        return tuple(range(count))
    for number in wanted:
        if not 0 <= number < count:
            raise InputError(
                f"there is no {noun} at index {number}, which is number {number + 1}: the model has {count}"
            )
    return wanted


def _unflattened(signal: Signal, shape: tuple[int, ...]) -> Signal:
    if isinstance(signal, Mapping):
        return {name: _unflattened(values, shape) for name, values in signal.items()}
    return signal.float().cpu().unflatten(0, shape)
