"""The prediction and the targets of a task that reconstructs signals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..modalities import Batch, Modality
from .predictions import SignalQueries

LEAST_ERROR = 1e-10  # of a squared peak: smaller errors count as this one, which is 100 dB


@dataclass(frozen=True)
class Reconstruction:
    """The signals that a model predicts for a batch.

    Attributes:
        output: by modality, batch × queries × values in the model's units; of classes, logits.
        modalities: by name, the modality whose rows are predicted.
        queries: the rows that the output is for.
        inputs: the modality that the model reads.
    """

    output: dict[str, Tensor]
    modalities: Mapping[str, Modality]
    queries: SignalQueries
    inputs: Modality

    @property
    def signals(self) -> dict[str, Tensor]:
        """By modality, the predicted signal in its own units and shape.

        Raises:
            InputError: the output is for some of the rows only.
        """
        if self.queries.indices is not None:
            raise InputError("reconstruct: a signal needs all of its rows; predict without query indices")
        return {name: self.modalities[name].restore(rows, self.queries.view) for name, rows in self.output.items()}

    @property
    def scores(self) -> dict[str, Tensor]:
        """The signals."""
        return self.signals

    @property
    def completed(self) -> dict[str, Tensor]:
        """By modality, the input signal with its hidden parts replaced by the prediction; where nothing was hidden, the
        whole prediction."""
        view, completed = self.queries.view, self.signals
        for modality in self.inputs.modalities:
            hidden = view.get(f"{modality.name}.hidden")
            if hidden is not None and modality.name in completed:
                predicted = completed[modality.name]
                inside = modality.attention_map(hidden.float(), view) > 0
                inside = inside[..., 0] if inside.ndim > predicted.ndim else inside
                completed[modality.name] = torch.where(inside, predicted, view[modality.name].to(predicted))
        return completed


@dataclass(frozen=True)
class ReconstructionTarget:
    """The targets of one modality.

    Attributes:
        modality: whose rows are predicted.
        values: batch × queries × values, as ``modality.targets`` gives them.
        counts: batch × queries, bool: which of them count in loss and metrics.
        view: the batch with nothing hidden.
    """

    modality: Modality
    values: Tensor
    counts: Tensor
    view: Batch

    def peak_signal_to_noise(self, signal: Tensor) -> Tensor:
        """The peak signal-to-noise ratio of each example in decibels, over the rows that count: (batch,).

        Args:
            signal: the predicted signal, in its own shape.
        """
        modality, peak = self.modality, self.modality.value_range
        assert peak is not None
        true_signal = self.view[modality.name].to(signal)
        weight = modality.attention_map(self.counts.to(signal), self.view).expand_as(signal)
        squares = (signal - true_signal).square() * weight
        error = squares.flatten(1).sum(1) / weight.flatten(1).sum(1).clamp(min=1)
        return -10 * (error / peak**2).clamp(min=LEAST_ERROR).log10()


def metric_names(prefix: str, modality: Modality) -> tuple[str, ...]:
    """The names of a modality's metrics, first the one that is larger where it is better."""
    names: tuple[str, ...]
    if modality.value_range is not None:
        names = ("psnr",)
    elif modality.categorical:
        names = ("accuracy",)
    else:
        names = ("explained", "mae")
    return tuple(f"{prefix}_{name}" if prefix else name for name in names)
