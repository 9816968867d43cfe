"""Hidden words of a text, byte by byte (Perceiver IO §4.1)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from math import log
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import record
from ..errors import InputError
from ..modalities import Modality
from ..modalities.text import MASK, SPECIALS, VOCABULARY, Text
from ..nn.queries import LearnedQueries, Queries
from .base import Prediction, Prepared, Task

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


IGNORED = -100  # in a target: what stands there is not asked
SPACES = tuple(SPECIALS + byte for byte in b" \t\n\r\f\v")


@record
class MLMConfig:
    """The words that are hidden in a text, byte by byte (Perceiver IO §4.1).

    Attributes:
        share: of the words that are hidden.
        scale: of the logits, which meet embeddings of variance 1: the authors' is 1, with which a small model begins
            by being very sure and wrong.
    """

    kind: Literal["mlm"] = "mlm"
    share: float = 0.15
    scale: float = 1.0


class MLM(Task):
    """Whole words hidden byte by byte; cross-entropy of the hidden bytes (Perceiver IO §4.1, App. F).

    A learned query for every place; what the decoder makes of it meets the embedding of every byte once more.

    Raises:
        InputError: the model does not read text.
    """

    primary_metric = "accuracy"
    per_example = False
    config: MLMConfig

    def __init__(self, config: MLMConfig, *, inputs: Modality, channels: int | None = None) -> None:
        super().__init__(config, inputs=inputs, channels=channels)
        if not isinstance(inputs, Text):
            raise InputError(f"fill: only bytes of text can be filled in; the model reads {inputs.kind}")
        positions = inputs.positions if inputs.config.positions == "fourier" else None
        self.learned_queries = LearnedQueries(inputs.config.length, inputs.config.channels, positions=positions)
        self.bias = nn.Parameter(torch.zeros(VOCABULARY))

    @property
    def query_channels(self) -> int:
        return self.learned_queries.table.shape[1]

    @property
    def outputs(self) -> None:
        return None

    def num_queries(self, inputs: Modality) -> int:
        return len(self.learned_queries.table)

    def queries(self, inputs: Modality, batch: Mapping[str, Tensor], where: Tensor | None = None) -> Queries:
        return self.learned_queries(batch[inputs.name].shape[1], indices=where, mask=batch.get(f"{inputs.name}.mask"))

    def predict(self, inputs: Modality, rows: Tensor, queries: Queries | None) -> Prediction:
        assert isinstance(inputs, Text)
        scaled = self.config.scale * rows
        output = F.linear(scaled, inputs.byte_embedding.weight.to(rows.dtype), self.bias.to(rows.dtype))
        return Prediction(output, output.float().softmax(-1))

    def prepare(
        self, inputs: Modality, view: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Prepared:
        numbers, present = view[inputs.name].long(), view.get(f"{inputs.name}.mask")
        hidden = _hidden(numbers, present, self.config.share, generator)
        target = numbers.masked_fill(~hidden, IGNORED)
        return Prepared({**view, inputs.name: numbers.masked_fill(hidden, MASK)}, target)

    def loss(self, output: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        return F.cross_entropy(
            output.float().mT, target, ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum"
        ) / (target != IGNORED).sum().clamp(min=1)

    def training_accuracy(self, output: Tensor, target: Tensor) -> float:
        hidden = target != IGNORED
        return (output.argmax(-1) == target)[hidden].float().mean().item()

    def metrics(self) -> MetricCollection:
        from torchmetrics import MeanMetric, MetricCollection
        from torchmetrics.classification import MulticlassAccuracy

        metrics: dict[str, Any] = {
            "accuracy": MulticlassAccuracy(VOCABULARY, average="micro"),
            "bits_per_byte": MeanMetric(),
        }
        return MetricCollection(metrics, compute_groups=False)

    def score(self, metrics: MetricCollection, answer: Prediction, target: Tensor) -> None:
        hidden = target != IGNORED
        output, wanted = answer.output[hidden].float(), target[hidden]
        metrics["accuracy"].update(output, wanted)
        metrics["bits_per_byte"].update(F.cross_entropy(output, wanted, reduction="none") / log(2))


def _hidden(numbers: Tensor, present: Tensor | None, share: float, generator: torch.Generator | None) -> Tensor:
    """The places of whole words, chosen at random, at least one of an example: bool, batch × bytes.

    Args:
        numbers: batch × bytes.
        present: batch × bytes, True = present; None: all are.
        generator: None: which words of an example are hidden depends on its bytes alone.
    """
    inside = (numbers >= SPECIALS) & ~torch.isin(numbers, torch.tensor(SPACES, device=numbers.device))
    if present is not None:
        inside &= present
    begins = inside & ~F.pad(inside, (1, 0))[:, :-1]
    word = begins.cumsum(1)  # counted from 1; what is before the first one or between them is not inside
    counts = begins.sum(1).tolist()
    draw = torch.full((len(numbers), 1 + max(counts, default=0)), 2.0)
    for place, count in enumerate(counts):
        own = generator
        if own is None:
            content = numbers[place][inside[place]].cpu().numpy().tobytes()
            own = torch.Generator().manual_seed(zlib.crc32(content))
        draw[place, 1 : 1 + count] = torch.rand(count, generator=own)
    chosen = (draw < share) | (draw == draw.amin(1, keepdim=True))
    return inside & chosen.to(numbers.device).gather(1, word)
