"""Who takes part in a comparison, and in which sizes.

All contenders have the same examples, seeds, minutes and recipe (that of ``auto``, or of the preset that is named).
Each is the planned run, or that of the plain Perceiver, with another encoder and with inputs that this encoder reads:

============ =====================================================================================================
sensorium    the run as it is planned
perceiver    the run that is planned without stems, ``--set inputs.stem=null``: the plain Perceiver
resnet       ResNet-50 on the grid of elements (pixels, samples, voxels) and their Fourier features
vit          ViT-B on patches of the same grid, as many as leaves at most 196 of them
transformer  self-attention over the rows that ``perceiver`` reads, with the sizes of ViT-B
lucidrains   perceiver-pytorch's Perceiver on the rows that ``perceiver`` reads, with the sizes of its encoder
============ =====================================================================================================

A ResNet keeps ImageNet's strided first layers where an axis of the grid has more than 64 elements; smaller grids get
the usual convolution of 3 × 3 without stride. Where a batch of elements would take more than a gigabyte, ResNet and ViT
read the rows of ``perceiver`` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..modalities import FusionConfig, ModalityConfig, SingleConfig, build_modality
from ..models.auto import parts_of
from ..models.baselines.lucidrains import LucidrainsConfig
from ..models.baselines.resnet import ResNetConfig
from ..models.baselines.rows import grid_layout
from ..models.baselines.transformer import TransformerConfig
from ..models.baselines.vit import ViTConfig
from ..nn import EncoderConfig
from ..tasks import TASKS
from .plan import RunConfig

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)  # of the paper's widths
MOST_PATCHES = 196  # of ViT-B/16 in a picture of 224 × 224
SMALL_GRID = 64  # elements along an axis, up to which a ResNet begins without stride
MOST_BYTES = 1e9  # of a batch of rows
UNORDERED = ("table", "label")  # kinds of signal whose rows have no neighbours, though they have positions

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Offer:
    """What contenders are made of.

    Attributes:
        planned: the run as it is planned.
        plain: the run that is planned without stems.
        batch: of training examples, for the shapes of signals.
    """

    planned: RunConfig
    plain: RunConfig
    batch: Batch


@dataclass(frozen=True)
class Candidate:
    """A contender in one size.

    Attributes:
        config: of the whole run.
        share: of the paper's width; None: the contender has one size.
    """

    config: RunConfig
    share: float | None = None


@dataclass(frozen=True)
class Contender:
    """One who takes part.

    Attributes:
        name: as ``--only`` takes it, and of the run folder.
        title: in words, for tables.
        candidates: its sizes, the smallest first. Raises an InputError that says why it cannot take part.
    """

    name: str
    title: str
    candidates: Callable[[Offer], list[Candidate]]


def _sensorium(offer: Offer) -> list[Candidate]:
    return [Candidate(offer.planned)]


def _perceiver(offer: Offer) -> list[Candidate]:
    if offer.plain.model == offer.planned.model:
        raise InputError("no signal has a stem here, so it would be sensorium itself")
    return [Candidate(offer.plain)]


def _resnet(offer: Offer) -> list[Candidate]:
    inputs, shape = _grid_inputs(offer)
    full = ResNetConfig(axes=len(shape), stem="strided" if max(shape) > SMALL_GRID else "plain")
    return list(_scaled(offer, inputs, lambda share: replace(full, width=round(full.width * share))))


def _vit(offer: Offer) -> list[Candidate]:
    inputs, shape = _grid_inputs(offer)
    patch = next(extent for extent in range(1, max(shape) + 1) if _num_patches(shape, extent) <= MOST_PATCHES)
    full = ViTConfig(patch=(patch,) * len(shape))
    return list(_scaled(offer, inputs, lambda share: _narrowed(full, share)))


def _transformer(offer: Offer) -> list[Candidate]:
    return list(_scaled(offer, offer.plain.model.inputs, lambda share: _narrowed(TransformerConfig(), share)))


def _lucidrains(offer: Offer) -> list[Candidate]:
    encoder = offer.plain.model.encoder
    if not isinstance(encoder, EncoderConfig):
        raise InputError("it takes the sizes of a Perceiver's encoder, and the planned run has none")
    same = LucidrainsConfig(
        num_latents=encoder.num_latents,
        latent_channels=encoder.latent_channels,
        cross_attends=sum(number is not None for number in encoder.cross_attention),
        num_layers=encoder.num_layers,
        num_heads=encoder.num_self_attention_heads,
    )
    return [Candidate(_with_encoder(offer.plain, offer.plain.model.inputs, same))]


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("sensorium", "sensorium", _sensorium),
        Contender("perceiver", "Perceiver without stem", _perceiver),
        Contender("resnet", "ResNet-50 (FF)", _resnet),
        Contender("vit", "ViT-B (FF)", _vit),
        Contender("transformer", "Transformer", _transformer),
        Contender("lucidrains", "perceiver-pytorch", _lucidrains),
    )
}


# -- parts of a configuration -----------------------------------------------------------------------------------------


def _with_encoder(config: RunConfig, inputs: ModalityConfig, encoder: Any) -> RunConfig:
    """The run with another encoder.

    Raises:
        InputError: the task has an answer for each row.
    """
    if not TASKS[config.model.task.kind].per_example:
        raise InputError(f"it has one answer for each example, {config.model.task.kind} has one for each row")
    model = replace(config.model, inputs=inputs, encoder=encoder, decoder=None)
    return replace(config, model=model, recipe=replace(config.recipe, attention_init="default"))


def _scaled(offer: Offer, inputs: ModalityConfig, encoder: Callable[[float], Any]) -> Iterator[Candidate]:
    """The run without stems, with an encoder in every share of the paper's width."""
    for share in SHARES:
        yield Candidate(_with_encoder(offer.plain, inputs, encoder(share)), share)


def _narrowed(full: Any, share: float) -> Any:
    """A Transformer with a share of the channels and of the heads."""
    return replace(full, channels=round(full.channels * share), num_heads=ceil(full.num_heads * share))


def _num_patches(shape: tuple[int, ...], extent: int) -> int:
    return prod(ceil(side / extent) for side in shape)


def without_stems(config: RunConfig) -> RunConfig:
    """The run with the same signals without stems."""
    return replace(config, model=replace(config.model, inputs=_plain(config.model.inputs)))


def _plain(inputs: Any) -> Any:
    if isinstance(inputs, FusionConfig):
        return replace(inputs, modalities={name: _plain(part) for name, part in inputs.modalities.items()})
    return inputs if getattr(inputs, "stem", None) is None else replace(inputs, stem=None)


def _grid_inputs(offer: Offer) -> tuple[SingleConfig, tuple[int, ...]]:
    """The inputs as a grid of elements, or of rows where that is too large, and the size of each of its axes.

    Raises:
        InputError: the data are several signals, or their rows do not lie on a grid.
    """
    config = offer.plain
    parts = parts_of(config.model.inputs)
    if len(parts) > 1:
        raise InputError(f"it reads one grid, the data have {len(parts)} signals")
    ((name, part),) = parts.items()
    if part.kind in UNORDERED:
        raise InputError(f"it reads grids, and the rows of a {part.kind} have no order")
    elements = build_modality(part).elementwise()
    size = 4 * elements.num_rows * elements.channels * config.recipe.batch_size
    inputs = elements.config if size <= MOST_BYTES else part
    modality = build_modality(inputs)
    with torch.no_grad():
        layout = grid_layout(modality.embed(modality.view({key: tensor[:1] for key, tensor in offer.batch.items()})))
    if layout is None:
        raise InputError(f"it reads grids, and the rows of {name} lie on none")
    return inputs, layout.shape
