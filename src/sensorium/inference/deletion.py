"""The deletion score, which judges attributions: take away what a method calls important, and watch the probability.

A map is good if the probability of the class falls quickly (Petsiuk et al. 2018, §4.1). What is taken away is absent
rather than grey: its row is masked, which is never read, and a stem does not see its elements (``<name>.hidden``), so
that the rows beside it do not tell of it either. Only Perceiver IO's convolution of pictures has no mask: there the
rows beside still hold what they saw of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..modalities import Batch
from ..models.perceiver import Perceiver, evaluating
from ..nn.byte_array import ByteArray
from .attribution_record import Attribution, check_classes, predicted_classes, repeated
from .attributions import METHODS
from .evaluate import examples_at_a_time

STEPS = 10
ORDERS = 3  # random orders whose mean is the control
RANDOM = "random"  # what the control is called


@dataclass(frozen=True)
class Deletion:
    """How a class's probability falls as rows are taken away; on the CPU.

    Attributes:
        probabilities: float32, batch × (steps + 1): of the class, from the whole example to none of it.
        score: float32, (batch,): the area under that curve over the share of rows taken away; lower is better.
    """

    probabilities: Tensor
    score: Tensor


def deletion(
    model: Perceiver, batch: Batch, importance: Tensor, classes: Tensor | None = None, *, steps: int = STEPS
) -> Deletion:
    """Take away the rows of each example, the most important first, in equal steps until none is left.

    Args:
        batch: as the modality's ``view`` gives it.
        importance: batch × rows of the byte array, such as ``Attribution.rows``. Rows that an example does not have
            are not counted.
        classes: int64, (batch,): whose probability; None: the likeliest of the whole example.
        steps: in how many equal parts the rows are taken away.

    Raises:
        InputError: the model does not predict classes or tags.

    >>> from sensorium.modalities import ImageConfig
    >>> from sensorium.models.perceiver import PerceiverConfig
    >>> from sensorium.nn import EncoderConfig
    >>> from sensorium.tasks import ClassifyConfig
    >>> model = Perceiver(PerceiverConfig(
    ...     inputs=ImageConfig(size=(8, 8), patch=(2, 2), bands=4),
    ...     encoder=EncoderConfig(num_latents=4, latent_channels=16, num_layers=1),
    ...     task=ClassifyConfig(classes=("cat", "dog")),
    ... ))
    >>> found = deletion(model, {"image": torch.rand(3, 3, 8, 8)}, torch.rand(3, 16), steps=5)
    >>> found.probabilities.shape, found.score  # this model has not learned anything
    (torch.Size([3, 6]), tensor([0.5000, 0.5000, 0.5000]))
    """
    classes = predicted_classes(model, batch) if classes is None else classes
    check_classes(model)
    with evaluating(model):
        batch = model.to_device(batch)
        mask = model.inputs.embed(batch).mask
        order = importance.to(next(iter(batch.values())).device).float()
        if mask is not None:
            order = order.masked_fill(~mask, -torch.inf)
        rank = order.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        count = torch.full_like(rank[:, :1], rank.shape[1]) if mask is None else mask.sum(1, keepdim=True)
        shares = torch.linspace(0, 1, steps + 1, dtype=torch.float64).tolist()
        size = max(1, examples_at_a_time(model) // len(classes))
        found = []
        for start in range(0, len(shares), size):
            part = shares[start : start + size]
            removed = torch.cat([rank < (share * count).round() for share in part])
            scores = _scores(model, repeated(batch, len(part)), removed)
            chosen = scores.gather(1, classes.to(scores.device).repeat(len(part))[:, None])
            found.append(chosen.view(len(part), -1).float().cpu())
    probabilities = torch.cat(found).T
    return Deletion(probabilities, torch.trapezoid(probabilities, dx=1 / steps))


@dataclass(frozen=True)
class Judged:
    """What some methods say of one example, and how good that is.

    Attributes:
        name: the class that the attributions are to.
        attributions: by method.
        scores: the deletion score of each method, and of random orders, by name.
    """

    name: str
    attributions: dict[str, Attribution]
    scores: dict[str, float]


def judge(model: Perceiver, view: Batch, methods: Sequence[str], number: int) -> Judged:
    """The attributions of one example to a class, and their deletion scores.

    Args:
        view: a batch of one example, as the modality's ``view`` gives it.
        methods: names in :data:`sensorium.inference.attributions.METHODS`.
        number: the class, in the order of the task's classes.
    """
    classes = torch.tensor([number])
    attributions = {method: METHODS[method](model, view, classes) for method in methods}
    scores = {
        method: float(deletion(model, view, attribution.rows, classes).score)
        for method, attribution in attributions.items()
    }
    scores[RANDOM] = float(random_deletion(model, view, classes))
    return Judged(model.task.classes[number], attributions, scores)


def random_deletion(model: Perceiver, batch: Batch, classes: Tensor | None = None, *, seed: int = 0) -> Tensor:
    """The mean deletion score of a few random orders, with which every method is to be compared: (batch,).

    Args:
        batch, classes: as of :func:`deletion`.
        seed: of the orders.
    """
    generator = torch.Generator().manual_seed(seed)
    with evaluating(model):
        array = model.inputs.embed(model.to_device(batch))
    orders = [torch.rand(array.batch, array.num_rows, generator=generator) for _ in range(ORDERS)]
    return torch.stack([deletion(model, batch, order, classes).score for order in orders]).mean(0)


def without(model: Perceiver, batch: Batch, removed: Tensor) -> ByteArray:
    """What the model reads of a batch without some of its rows.

    Args:
        batch: as the modality's ``view`` gives it.
        removed: bool, batch × rows of the byte array.
    """
    pieces = model.inputs.embed(batch).split(removed)
    present = {modality.name for modality in model.inputs.modalities if modality.name in batch}
    array = model.embed({**batch, **{f"{name}.hidden": pieces[name] for name in present}})
    segments = [
        replace(segment, mask=~pieces[segment.name] if segment.mask is None else segment.mask & ~pieces[segment.name])
        for segment in array.segments
    ]
    return ByteArray(tuple(segments))


def _scores(model: Perceiver, batch: Batch, removed: Tensor) -> Tensor:
    array = without(model, batch, removed)
    scores: Tensor = model.decode(model.encode(array), model.queries(batch, array=array)).scores
    return scores
