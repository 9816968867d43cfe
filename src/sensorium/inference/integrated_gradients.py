"""Integrated gradients: attributions whose sum is known (Sundararajan et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..modalities import Batch, Modality
from ..modalities.elementwise import Elementwise
from ..models.perceiver import Perceiver, evaluating
from ..nn.byte_array import ByteArray, Segment
from .attribution_record import Attribution, by_name_or_alone, check_classes, predicted_classes, repeated

STEPS = 32  # points on the path from the baseline to the input
KEPT = 2**29  # bytes that are kept for the backward pass: as many points of the path at a time


@dataclass(frozen=True)
class IntegratedGradients(Attribution):
    """Attributions whose sum is known.

    Attributes:
        difference: float32, (batch,): log p(x) - log p(baseline) of the class, in nats. The sum of an example's
            ``rows`` is this, but for the error of the integration.
    """

    difference: Tensor


def integrated_gradients(
    model: Perceiver, batch: Batch, classes: Tensor | None = None, *, steps: int = STEPS
) -> IntegratedGradients:
    """Integrated gradients of the logarithm of a class's probability (Sundararajan et al. 2017): the gradient's mean on
    the straight path from a baseline to the input, times their difference.

    Of pictures, video, volumes, sound and series the input is the signal, and the baseline the mean signal of the
    training data. A text's bytes, a table's columns and a cloud's points cannot be varied by small amounts, or the
    model's stem has no gradient to where they are; of those the input is the rows of the byte array, and the baseline
    their mean, in which every row says the same. The attribution of a row is then spread evenly over its elements.

    Args:
        batch: as the modality's ``view`` gives it.
        classes: int64, (batch,): which class of each example; None: the likeliest.
        steps: points at which the path is integrated.

    Returns:
        in the signal's own shape, with its channels; positive where the signal speaks for the class.

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
    >>> found = integrated_gradients(model, {"image": torch.rand(3, 3, 8, 8)})
    >>> found.signal.shape, found.rows.shape, found.difference.shape
    (torch.Size([3, 3, 8, 8]), torch.Size([3, 16]), torch.Size([3]))
    """
    classes = predicted_classes(model, batch) if classes is None else classes
    check_classes(model)
    with _gradients(model):
        path = _Path.of(model, batch)
        classes = classes.to(path.array.segments[0].values.device)
        shares, weights = _quadrature(steps)
        sums = {name: torch.zeros_like(end) for name, end in path.ends.items()}
        size = max(1, KEPT // max(1, path.bytes_kept(classes)))
        for start in range(0, steps, size):
            part = slice(start, start + size)
            for name, gradient in path.gradients(classes, shares[part], weights[part]).items():
                sums[name] += gradient
        with torch.no_grad():
            found = {name: ((path.ends[name] - path.starts[name]) * sums[name]).nan_to_num() for name in sums}
            both = [path.log_probability(path.at(share), path.batch, classes) for share in (1.0, 0.0)]
    return path.attribution(found, (both[0] - both[1]).float().cpu())


def _quadrature(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of an integral from 0 to 1, by Gauss and Legendre, in the cube root of the share of the way: a
    layer norm makes the prediction change most near the baseline.

    >>> shares, weights = _quadrature(8)
    >>> round(float((weights * shares**2).sum()), 6)
    0.333333
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    roots = (nodes + 1) / 2
    return roots**3, 1.5 * weights * roots**2


@contextmanager
def _gradients(model: Perceiver) -> Iterator[None]:
    """Evaluation mode with gradients."""
    with evaluating(model), torch.inference_mode(False), torch.enable_grad():
        yield


@dataclass(frozen=True)
class _Path:
    """The way from the baseline to the input of a batch.

    Attributes:
        model: the model.
        batch: the batch, on its device.
        array: what the model reads of it.
        starts: the baseline of each modality that the batch has, by name.
        ends: its input: the signal, or the rows.
    """

    model: Perceiver
    batch: dict[str, Tensor]
    array: ByteArray
    starts: dict[str, Tensor]
    ends: dict[str, Tensor]

    @classmethod
    def of(cls, model: Perceiver, batch: Batch) -> _Path:
        with torch.no_grad():
            batch = {name: tensor.clone() for name, tensor in model.to_device(batch).items()}
            array = model.embed(batch)
            segments = {segment.name: segment for segment in array.segments}
            starts, ends = {}, {}
            for modality in _present(model, batch):
                name = modality.name
                if _varies(modality):
                    ends[name] = batch[name].float()
                    starts[name] = modality.restore(torch.zeros_like(modality.targets(batch)), batch)
                else:
                    ends[name] = segments[name].dense()
                    starts[name] = _mean_row(ends[name], segments[name].mask).expand_as(ends[name])
        return cls(model, batch, array, starts, ends)

    def at(self, share: float) -> dict[str, Tensor]:
        """The input at ``share`` of the way."""
        return {name: torch.lerp(self.starts[name], end, share) for name, end in self.ends.items()}

    def bytes_kept(self, classes: Tensor) -> int:
        """What a forward pass of one point keeps for the backward pass, beside the weights."""
        weights = {weight.untyped_storage().data_ptr() for weight in self.model.parameters()}
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        leaves = {name: point.requires_grad_() for name, point in self.at(1.0).items()}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            _ = self.log_probability(leaves, self.batch, classes)
        return sum(kept.values())

    def gradients(self, classes: Tensor, shares: np.ndarray, weights: np.ndarray) -> dict[str, Tensor]:
        """The weighted sum of the gradients at some ``shares`` of the way, by modality."""
        points = [self.at(share) for share in shares.tolist()]
        count = len(points)
        leaves = {name: torch.cat([point[name] for point in points]).requires_grad_() for name in self.ends}
        total = self.log_probability(leaves, repeated(self.batch, count), classes.repeat(count)).sum()
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        scale = torch.as_tensor(weights).to(total)
        return {
            name: torch.tensordot(scale.to(gradient), gradient.unflatten(0, (count, -1)), dims=1)
            for name, gradient in zip(leaves, found, strict=True)
            if gradient is not None  # that of a modality to which nothing attends
        }

    def log_probability(self, inputs: dict[str, Tensor], batch: Batch, classes: Tensor) -> Tensor:
        """log p of each example's class, (batch,)."""
        signals = {m.name: inputs[m.name] for m in self.model.inputs.modalities if m.name in inputs and _varies(m)}
        array = self.model.embed({**batch, **signals})
        segments = [
            Segment(segment.name, inputs[segment.name], mask=segment.mask)
            if segment.name in inputs and segment.name not in signals
            else segment
            for segment in array.segments
        ]
        array = ByteArray(tuple(segments))
        scores = self.model.decode(self.model.encode(array), self.model.queries(batch, array=array)).scores
        probability: Tensor = scores.gather(1, classes[:, None])[:, 0]
        return probability.clamp_min(torch.finfo(probability.dtype).tiny).log()

    def attribution(self, found: dict[str, Tensor], difference: Tensor) -> IntegratedGradients:
        """The attributions of each modality's input as those of rows, signal and elements."""
        rows: list[Tensor] = []
        signals: dict[str, Tensor] = {}
        elements: dict[str, Tensor] = {}
        by_name = {modality.name: modality for modality in _present(self.model, self.batch)}
        for segment in self.array.segments:
            if segment.name not in found:
                rows.append(segment.values.new_zeros(segment.values.shape[:2]))
                continue
            modality, values = by_name[segment.name], found[segment.name]
            if _varies(modality):
                patches = modality.patchify(values).unflatten(-1, (modality.elements_per_row, -1)).sum(-1)
                rows.append(patches.sum(-1))
                signals[segment.name] = values
                elements[segment.name] = modality.unpatchify(patches, self.batch)
            else:
                rows.append(values.sum(-1))
                evenly = modality.attention_map(rows[-1] / modality.elements_per_row, self.batch)
                signals[segment.name] = elements[segment.name] = evenly
        total = torch.cat([part.detach() for part in rows], dim=1).float().cpu()
        return IntegratedGradients(
            total, by_name_or_alone(self.model, signals), by_name_or_alone(self.model, elements), difference
        )


def _varies(modality: Modality) -> bool:
    """Whether a signal can be varied by small amounts, and the model has a gradient to it."""
    return not isinstance(modality, Elementwise)


def _present(model: Perceiver, batch: Batch) -> list[Modality]:
    """The modalities that the batch has."""
    return [modality for modality in model.inputs.modalities if modality.name in batch]


def _mean_row(rows: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of the present rows of each example: batch × 1 × channels."""
    if mask is None:
        return rows.mean(1, keepdim=True)
    present = mask[..., None]
    return torch.where(present, rows, 0.0).sum(1, keepdim=True) / present.sum(1, keepdim=True).clamp(min=1)
