"""Masked language modelling: whole words are hidden and predicted, byte by byte (Perceiver IO §4.1)."""

from __future__ import annotations

import zlib
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import record
from ..errors import InputError
from ..modalities import Batch, Modality
from ..modalities.sequences import lengths, uniform
from ..modalities.text import MASK, PAD, SEP, SPECIALS, VOCABULARY, Text, text_of, with_holes
from ..nn.byte_array import ByteArray
from ..nn.queries import LearnedQueries, Queries
from .answers import Answer, OpenedExamples, Predict
from .base import Task
from .pointer import CopyingQueries, Pointer
from .predictions import Prediction, Prepared
from .presentation import Illustration
from .renaming import rename_words

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


IGNORED = -100  # the target of a byte that is not hidden
SPACES = tuple(SPECIALS + byte for byte in b" \t\n\r\f\v")


@record
class MLMConfig:
    """Masked language modelling, byte by byte (Perceiver IO §4.1).

    Attributes:
        share: of the words that are hidden.
        training_share: the same in training: the more are hidden, the more a step learns from, and the less each of
            them is known by its surroundings. None: ``share``, as the authors'.
        scale: factor of the logits, which are products with embeddings of variance 1. The authors' is 1, with which a
            small model starts with confident, wrong predictions.
        queries: ``learned``, one for every byte, as the authors'; or ``rows``: the input's own rows, of which those of
            hidden bytes know what lies beside them where the modality has a stem.
        documents: how many texts of a part of a batch training joins, [SEP] between them, before it takes a passage of
            the model's length: short texts would leave most of it empty. The authors join 10 (App. F; they state no
            separator). Bytes attend to all of a passage, whichever text they are of.
        renamed: of the words that a passage repeats, the share to which training gives other letters, alike wherever
            they stand: what a hidden name is can then be read elsewhere in the passage, and not learned by heart.
        pointer: channels of the keys of a pointer, which copies hidden bytes from those that are known, where it finds
            a likely one; None: there is none, as in the paper.
    """

    kind: Literal["mlm"] = "mlm"
    share: float = 0.15
    training_share: float | None = None
    scale: float = 1.0
    queries: Literal["learned", "rows"] = "learned"
    documents: int = 1
    renamed: float = 0.0
    pointer: int | None = None


class MLM(Task[MLMConfig, Prediction]):
    """Whole words hidden byte by byte; cross-entropy of the hidden bytes (Perceiver IO §4.1, App. F).

    There is a learned query for every byte. The logits are products of the decoder's output with the byte embeddings
    of the input; with a pointer, they are the logarithms of its probabilities.

    Raises:
        InputError: the model does not read text.
    """

    primary_metric = "accuracy"
    per_example = False
    self_supervised = True

    def __init__(self, config: MLMConfig, *, inputs: Modality, query_channels: int | None = None) -> None:
        super().__init__(config, inputs=inputs, query_channels=query_channels)
        if not isinstance(inputs, Text):
            raise InputError(f"mlm: only bytes of text can be hidden and predicted; the model reads {inputs.kind}")
        if config.documents < 1:
            raise InputError(f"mlm: documents are {config.documents}; give 1 or more")
        self.learned_queries: LearnedQueries | None = None
        positions = inputs.positions if inputs.config.positions == "fourier" else None
        if config.queries == "learned":
            self.learned_queries = LearnedQueries(inputs.config.length, inputs.config.channels, positions=positions)
        if config.pointer is not None and config.pointer < 1:
            raise InputError(f"mlm: the pointer has {config.pointer} channels; give 1 or more, or null for none")
        self._embedding_channels = inputs.config.channels
        self.bias = nn.Parameter(torch.zeros(VOCABULARY))
        self.pointer: Pointer | None = None
        if config.pointer is not None:
            outputs = self.output_channels or self.query_channels
            self.pointer = Pointer(config.pointer, query_channels=outputs, input_channels=inputs.channels)

    @property
    def query_channels(self) -> int:
        return self.inputs.channels if self.learned_queries is None else self.learned_queries.table.shape[1]

    @property
    def output_channels(self) -> int | None:
        return None if self.learned_queries is not None else self._embedding_channels

    @property
    def num_queries(self) -> int:
        return self.inputs.num_rows

    def queries(self, batch: Batch, indices: Tensor | None = None, *, array: ByteArray | None = None) -> Queries:
        """As of every task; ``indices`` may be batch × queries, other rows of each example."""
        if array is None and (self.learned_queries is None or self.pointer is not None):
            array = self.inputs.embed(batch)
        queries = self._decoded_queries(batch, indices, array)
        if array is None or self.pointer is None:
            return queries
        numbers, mask = batch[self.inputs.name].long(), batch.get(f"{self.inputs.name}.mask")
        known = numbers >= SPECIALS if mask is None else mask & (numbers >= SPECIALS)
        return CopyingQueries(queries.array, queries.indices, rows=array, symbols=numbers, known=known)

    def _decoded_queries(self, batch: Batch, indices: Tensor | None, array: ByteArray | None) -> Queries:
        """What the decoder is asked: learned queries, or rows of ``array``."""
        name = self.inputs.name
        each = indices if indices is not None and indices.ndim == 2 else None
        shared = indices if each is None else None
        if self.learned_queries is not None:
            queries = self.learned_queries(batch[name].shape[1], indices=shared, mask=batch.get(f"{name}.mask"))
        else:
            assert array is not None
            queries = Queries(array, shared)
        if each is None:
            return queries
        return Queries(ByteArray(tuple(segment.keep(each) for segment in queries.array.segments)))

    def predict(self, output: Tensor, queries: Queries | None) -> Prediction:
        assert isinstance(self.inputs, Text)
        embeddings = self.inputs.byte_embedding.weight.to(output.dtype)
        logits = F.linear(self.config.scale * output, embeddings, self.bias.to(output.dtype))
        if self.pointer is not None:
            assert isinstance(queries, CopyingQueries)
            logits = self.pointer(logits, output, queries)
        return Prediction(logits, logits.float().softmax(-1))

    def prepare(self, view: Batch, generator: torch.Generator | None = None) -> Prepared:
        """The targets are int64, batch × bytes, ``IGNORED`` where a byte is not hidden. Training asks for hidden bytes
        alone: as many of each example as the one with the most has, of which those that are not hidden are ignored."""
        name = self.inputs.name
        inputs = {key: value for key, value in view.items() if key != "target"}
        if generator is not None and self.config.documents > 1:
            inputs |= join_documents(inputs, name, self.config.documents, self.inputs.num_rows, generator)
        numbers = inputs[name].long()
        if generator is not None and self.config.renamed:
            numbers = SPECIALS + rename_words(numbers - SPECIALS, self.config.renamed, generator)
        share = self.config.share
        if generator is not None and self.config.training_share is not None:
            share = self.config.training_share
        hidden = _hidden_words(numbers, inputs.get(f"{name}.mask"), share, generator)
        targets = numbers.masked_fill(~hidden, IGNORED)
        inputs[name] = numbers.masked_fill(hidden, MASK)
        if generator is None:
            return Prepared(inputs, targets)
        most = numbers.shape[1] if hidden.is_meta else max(1, int(hidden.sum(1).max()))
        indices = hidden.int().argsort(dim=1, descending=True, stable=True)[:, :most]
        return Prepared(inputs, targets.gather(1, indices), indices)

    def loss(self, output: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        return F.cross_entropy(
            output.float().mT, targets, ignore_index=IGNORED, label_smoothing=label_smoothing, reduction="sum"
        ) / (targets != IGNORED).sum().clamp(min=1)

    def term_counts(self, targets: Tensor) -> Tensor:
        """The hidden bytes."""
        return (targets != IGNORED).sum().float().reshape(1)

    def training_accuracy(self, output: Tensor, targets: Tensor) -> Tensor:
        hidden = targets != IGNORED
        return ((output.argmax(-1) == targets) & hidden).sum() / hidden.sum().clamp(min=1)

    def metrics(self) -> MetricCollection:
        from torchmetrics import MeanMetric, MetricCollection
        from torchmetrics.classification import MulticlassAccuracy

        metrics: dict[str, Any] = {
            "accuracy": MulticlassAccuracy(VOCABULARY, average="micro"),
            "bits_per_byte": MeanMetric(),
        }
        return MetricCollection(metrics, compute_groups=False)

    def update_metrics(self, metrics: MetricCollection, prediction: Prediction, targets: Tensor) -> None:
        hidden = targets != IGNORED
        output, true_bytes = prediction.output[hidden].float(), targets[hidden]
        metrics["accuracy"].update(output, true_bytes)
        metrics["bits_per_byte"].update(F.cross_entropy(output, true_bytes, reduction="none") / log(2))

    def answer_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """One text, of its own length, with its [MASK] hidden and nothing else.

        Args:
            batch: of one example.
        """
        name = self.inputs.name
        return {name: with_holes(batch[name][0])[None]}

    def answers(
        self,
        predict: Predict[Prediction],
        examples: OpenedExamples,
        *,
        top: int = 3,
        batch_size: int = 1,
        folder: Path | None = None,
    ) -> list[Answer]:
        """Each text with the likeliest bytes in its holes, and for each hole the ``top`` likeliest bytes.

        Raises:
            InputError: a text without [MASK], or one that is longer than the model's input.
        """
        return [self._filled_in(predict, examples, index, top) for index in range(len(examples))]

    def _filled_in(self, predict: Predict[Prediction], examples: OpenedExamples, index: int, top: int) -> Answer:
        file, name, longest = examples.names[index], self.inputs.name, self.inputs.num_rows
        text = self.answer_inputs(examples.batch([index]))[name][0]
        if len(text) > longest:
            raise InputError(f"{file}: {len(text):,} bytes, the model reads {longest:,}; shorten it")
        holes = (text == MASK).nonzero()[:, 0]
        if not len(holes):
            raise InputError(f"{file}: nothing is to be filled in; write [MASK] for each byte that is")
        scores = predict({name: text[None]}).scores[0, holes, SPECIALS:]
        best = scores.topk(min(top, scores.shape[1]))
        likeliest = [
            {_printable(torch.tensor([SPECIALS + byte])): score for byte, score in zip(*hole, strict=True)}
            for hole in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
        filled_in = _printable(text.index_put((holes,), SPECIALS + best.indices[:, 0]))
        return Answer(file, filled_in, holes=likeliest)

    # -- for people

    outputs_noun: ClassVar[str] = "queries"
    metric_titles: ClassVar[dict[str, str]] = {
        "accuracy": "Accuracy of hidden bytes",
        "bits_per_byte": "Bits per hidden byte",
    }
    percent_metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    scores_are_probabilities: ClassVar[bool] = True

    def illustrate(self, prepared: Prepared, prediction: Prediction) -> list[Illustration]:
        """The text with its hidden bytes, and with the likeliest byte for each of them."""
        (name,) = (key for key in prepared.inputs if "." not in key and key != "target")
        numbers = prepared.inputs[name]
        filled = numbers.where(numbers != MASK, prediction.output.argmax(-1).to(numbers))
        return [
            Illustration("Input", prepared.inputs),
            Illustration("Filled in", {**prepared.inputs, name: filled}),
        ]

    @classmethod
    def configure(cls, *, classes: tuple[str, ...] = (), targets: np.ndarray | None = None) -> MLMConfig:
        return MLMConfig()


def join_documents(batch: Batch, name: str, count: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Passages of joined texts: the fields ``name``, int64, batch × bytes, and ``<name>.mask``.

    Args:
        batch: of texts.
        name: of the texts.
        count: how many are joined: each with others of the batch, in random order (all, if there are fewer).
        length: the most bytes of a passage, which begins anywhere in the joined texts.
        generator: of the order and of where passages begin.

    >>> texts, mask = torch.tensor([[78, 79, 80], [98, 99, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()
    >>> join_documents({"text": texts, "text.mask": mask}, "text", 2, 8, torch.Generator())["text"]
    tensor([[78, 79, 80,  5, 98, 99,  0],
            [98, 99,  5, 78, 79, 80,  0]])
    """
    numbers, size = batch[name].long(), lengths(batch, name)
    texts, device = len(numbers), numbers.device
    count = min(count, texts)
    order = torch.randperm(texts, generator=generator)
    following = (order.argsort()[:, None] + torch.arange(count)) % texts  # each text, and those after it in this order
    joined = order[following].to(device, non_blocking=True)  # batch × count
    ends = (size[joined] + 1).cumsum(1)  # where each is over, with its separator
    total = ends[:, -1:] - 1
    length = min(length, count * (numbers.shape[1] + 1) - 1)
    begin = uniform(size, (texts, 1), 0, 1, generator) * ((total - length).clamp(min=0) + 1)
    position = begin.long() + torch.arange(length, device=device)
    which = torch.searchsorted(ends, position, right=True).clamp(max=count - 1)
    text = joined.gather(1, which)
    inside = position - (ends.gather(1, which) - size[text] - 1)
    values = numbers[text, inside.clamp(max=numbers.shape[1] - 1)].where(inside < size[text], SEP)
    present = position < total
    return {name: values.masked_fill(~present, PAD), f"{name}.mask": present}


def _printable(numbers: Tensor) -> str:
    """Text to print: a byte that is no character by itself as ``\\xc3``."""
    return text_of(numbers).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _hidden_words(numbers: Tensor, present: Tensor | None, share: float, generator: torch.Generator | None) -> Tensor:
    """Which bytes are in words that are chosen at random to be hidden, at least one word of an example: bool, batch ×
    bytes.

    Args:
        numbers: batch × bytes.
        present: batch × bytes, True = present; None: all are.
        generator: None: which words of an example are hidden depends on its bytes alone.
    """
    in_word = (numbers >= SPECIALS) & ~torch.isin(numbers, torch.tensor(SPACES).to(numbers.device, non_blocking=True))
    if present is not None:
        in_word &= present
    first_byte = in_word & ~F.pad(in_word, (1, 0))[:, :-1]
    word_number = first_byte.cumsum(1)  # counted from 1; bytes that are in no word are left out at the end
    most = (numbers.shape[1] + 1) // 2  # words that fit
    if generator is None:
        contents = [line[words].cpu().numpy().tobytes() for line, words in zip(numbers, in_word, strict=True)]
        own = [torch.Generator().manual_seed(zlib.crc32(content)) for content in contents]
        # A draw for each word, so that they do not depend on the length that texts are padded to.
        counts = first_byte.sum(1).tolist()
        draws = [
            F.pad(torch.rand(count, generator=its), (0, most - count)) for count, its in zip(counts, own, strict=True)
        ]
        draw = torch.stack(draws)
    else:
        draw = torch.rand(len(numbers), most, generator=generator)
    no_word = torch.arange(1, most + 1, device=numbers.device) > first_byte.sum(1, keepdim=True)
    draw = draw.to(numbers.device, non_blocking=True).masked_fill(no_word, 2.0)
    chosen = (draw < share) | (draw == draw.amin(1, keepdim=True))
    return in_word & F.pad(chosen, (1, 0)).gather(1, word_number)  # column 0 stands for no word
