"""What every method of attribution gives, and the class that it is about."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..errors import InputError
from ..modalities import Batch, Signal
from ..models.perceiver import Perceiver


@dataclass(frozen=True)
class Attribution:
    """What a method says of each part of a batch, on the CPU.

    Attributes:
        rows: float32, batch × rows of the byte array: the larger, the more a row matters.
        signal: the same in the signal's shape, batch first; of several modalities a dict by name.
        elements: ``signal`` with one channel, the sum over its channels: what a drawing shows.
    """

    rows: Tensor
    signal: Signal
    elements: Signal


def predicted_classes(model: Perceiver, batch: Batch) -> Tensor:
    """The likeliest class, or tag, of each example of a view: int64, (batch,), on the CPU.

    Raises:
        InputError: the model does not predict classes or tags.
    """
    check_classes(model)
    return model.predict_view(batch).scores.argmax(1).cpu()


def check_classes(model: Perceiver) -> None:
    """Refuse a model that predicts neither classes nor tags: attributions are to a probability."""
    if not explains_classes(model):
        raise InputError(f"attributions are to a class or tag, and the task {model.task.config.kind!r} has none")


def explains_classes(model: Perceiver) -> bool:
    """Whether the model predicts classes or tags."""
    return model.task.label_type in ("class", "tags")


def repeated(batch: Batch, count: int) -> dict[str, Tensor]:
    """A batch ``count`` times, one after the other."""
    return {name: tensor.repeat(count, *[1] * (tensor.ndim - 1)) for name, tensor in batch.items()}


def by_name_or_alone(model: Perceiver, signals: dict[str, Tensor]) -> Signal:
    """Signals by name, on the CPU; of a model of one modality the signal alone."""
    signals = {name: signal.detach().float().cpu() for name, signal in signals.items()}
    return signals if len(model.inputs.modalities) > 1 else signals[model.inputs.name]
