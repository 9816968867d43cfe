"""Autoencoding, plain or masked, of any signal and of several at once (Perceiver IO §4.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from itertools import accumulate, starmap
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..config import record
from ..errors import InputError, did_you_mean
from ..modalities import Batch, Modality
from ..nn.byte_array import ByteArray, Segment
from ..nn.initialisation import lecun, truncated_normal
from ..nn.positions import Spacing
from ..nn.queries import LearnedQueries, Queries
from .answers import Answer, OpenedExamples, Predict
from .base import Task
from .masking import counting_rows, draw_hidden_rows, draw_queries
from .predictions import Prepared, SignalQueries
from .presentation import Illustration
from .reconstruction import Reconstruction, ReconstructionTarget, metric_names

if TYPE_CHECKING:
    from torchmetrics import MetricCollection


@record
class ReconstructConfig:
    """The signal is its own target.

    Attributes:
        mask_ratio: the share of a signal's rows that the model does not see and has to predict: one for all signals, or
            by name (0 for signals that are not named). 0: it sees everything and predicts everything. In training the
            count is rounded up or down at random, in evaluation up: the single row of a label with 0.5 is hidden half
            the time in training, and always in evaluation.
        mask_tokens: whether a learned token takes the place of each hidden row, and of a signal that is absent.
        elementwise: names of signals that are predicted element by element (pixel by pixel), not row by row (patch by
            patch).
        num_queries: how many rows of a signal each training step predicts, by name; all of signals that are not named.
        loss_weights: of the signals' losses, by name; 1 for signals that are not named.
        modality_channels: the least channels of the learned vectors that tell the queries of different signals apart.
        spacing: of the queries' grid positions; the authors' is ``published``.
        output_channels: channels of the decoder's output, before each signal's own linear layer; None: those of the
            queries.
    """

    kind: Literal["reconstruct"] = "reconstruct"
    mask_ratio: float | dict[str, float] = 0.0
    mask_tokens: bool = False
    elementwise: tuple[str, ...] = ()
    num_queries: dict[str, int] = field(default_factory=dict)
    loss_weights: dict[str, float] = field(default_factory=dict)
    modality_channels: int = 4
    spacing: Spacing = "linspace"
    output_channels: int | None = None


class Reconstruct(Task[ReconstructConfig, Reconstruction]):
    """Prediction of each signal's own rows (Perceiver IO §4.3, App. I).

    The query of a row is its position (a learned vector, where a signal has no positions) and a learned vector of its
    modality, which also pads queries to the common number of channels. One decoder takes all queries; each modality has
    a linear layer of its own after it.

    Hidden rows (``<name>.hidden`` in the batch: batch × rows, bool) are taken out of the byte array, or a token takes
    their place. Losses and metrics are then of the hidden rows alone.

    Raises:
        InputError: the configuration names a signal that the model does not read, or a signal has nothing to predict.

    >>> from sensorium.modalities import ImageConfig, build_modality
    >>> image = build_modality(ImageConfig(size=(8, 8), patch=(4, 4), bands=2))
    >>> task = Reconstruct(ReconstructConfig(mask_ratio=0.75), inputs=image, query_channels=16)
    >>> view = {"image": torch.rand(3, 3, 8, 8)}
    >>> task.queries(view).dense().shape, task.prepare(view).inputs["image.hidden"].sum(1)
    (torch.Size([3, 4, 14]), tensor([3, 3, 3]))
    """

    per_example = False
    self_supervised = True
    answers_folder: ClassVar[str] = "reconstructed"

    def __init__(self, config: ReconstructConfig, *, inputs: Modality, query_channels: int | None = None) -> None:
        super().__init__(config, inputs=inputs, query_channels=query_channels)
        _check(config, inputs)
        self.elementwise = nn.ModuleDict(
            {
                f"of_{modality.name}": modality.elementwise()
                for modality in inputs.modalities
                if modality.name in config.elementwise
            }
        )
        modalities = self.output_modalities
        learned_channels = query_channels or inputs.channels
        self.learned_queries = nn.ModuleDict(
            {
                f"of_{name}": LearnedQueries(modality.num_rows, learned_channels, name=name)
                for name, modality in modalities.items()
                if not modality.position_channels
            }
        )
        channels = {name: modality.position_channels or learned_channels for name, modality in modalities.items()}
        self._query_channels = max(channels.values()) + config.modality_channels
        self.modality_embeddings = nn.ParameterDict(
            {
                f"of_{name}": nn.Parameter(truncated_normal(torch.empty(self._query_channels - count), 0.02))
                for name, count in channels.items()
            }
        )
        self.mask_tokens = nn.ParameterDict(
            {
                f"of_{name}": nn.Parameter(truncated_normal(torch.empty(inputs.channels), 0.02))
                for name in (modalities if config.mask_tokens else ())
            }
        )
        output_channels = config.output_channels or self._query_channels
        self.heads = nn.ModuleDict(
            {
                f"of_{name}": lecun(nn.Linear(output_channels, modality.value_channels))
                for name, modality in modalities.items()
            }
        )
        self.metric_names = {
            name: metric_names(name if len(modalities) > 1 else "", modality) for name, modality in modalities.items()
        }
        self.primary_metric = next(iter(self.metric_names.values()))[0]

    @property
    def query_channels(self) -> int:
        return self._query_channels

    @property
    def output_channels(self) -> int | None:
        return self.config.output_channels

    @property
    def num_queries(self) -> int:
        return sum(modality.num_rows for modality in self.output_modalities.values())

    @property
    def num_trained_queries(self) -> int:
        rows = {name: modality.num_rows for name, modality in self.output_modalities.items()}
        return sum(min(count, self.config.num_queries.get(name, count)) for name, count in rows.items())

    @property
    def output_modalities(self) -> dict[str, Modality]:
        """By name, the modality whose rows are predicted: that of the input, or its ``elementwise()``."""
        elementwise = dict(self.elementwise)
        return {
            modality.name: cast(Modality, elementwise.get(f"of_{modality.name}", modality))
            for modality in self.inputs.modalities
        }

    # -- inputs and queries

    def queries(self, batch: Batch, indices: Tensor | None = None, *, array: ByteArray | None = None) -> SignalQueries:
        """Queries for the rows of every signal that is in the batch. Signals without positions have learned queries,
        which can be used for examples without that signal."""
        count = next(batch[modality.name] for modality in self.inputs.modalities if modality.name in batch).shape[0]
        segments = []
        for name, modality in self.output_modalities.items():
            modality_embedding = self.modality_embeddings[f"of_{name}"]
            if f"of_{name}" in self.learned_queries:
                (segment,) = self.learned_queries[f"of_{name}"]().array.segments
            elif name in batch:
                segment = modality.query_segment(batch, spacing=self.config.spacing)
                present = batch.get(f"{name}.present")
                if present is not None:
                    present = present[:, None].expand(count, segment.num_rows)
                    segment = replace(segment, mask=present if segment.mask is None else present & segment.mask)
            else:
                continue
            segments.append(
                replace(
                    segment,
                    name=name,
                    values=modality_embedding.new_zeros(count, segment.num_rows, 0),
                    modality_embedding=modality_embedding,
                )
            )
        return SignalQueries(ByteArray(tuple(segments)), indices, batch)

    def mask_inputs(self, array: ByteArray, batch: Batch) -> ByteArray:
        """The byte array without its hidden rows; with ``mask_tokens``, a token in place of each of them, and one in
        place of a signal that is absent."""
        return ByteArray(tuple(self._mask_segment(segment, array.batch, batch) for segment in array.segments))

    def _mask_segment(self, segment: Segment, count: int, batch: Batch) -> Segment:
        hidden = batch.get(f"{segment.name}.hidden")
        if not self.config.mask_tokens:
            if hidden is None:
                return segment
            return replace(segment, mask=~hidden if segment.mask is None else segment.mask & ~hidden)
        token = self.mask_tokens[f"of_{segment.name}"]
        present = batch.get(f"{segment.name}.present")
        if segment.name not in batch:
            return Segment(segment.name, token.expand(count, 1, -1))
        if present is not None:  # one token, as where no example of the batch has the signal
            absent = ~present[:, None] & (torch.arange(segment.num_rows, device=present.device) == 0)
            hidden = absent if hidden is None else hidden | absent
        if hidden is None:
            return segment
        values = torch.where(hidden[..., None], token, segment.dense())
        return Segment(segment.name, values, mask=None if segment.mask is None else segment.mask | hidden)

    def predict(self, output: Tensor, queries: Queries | None) -> Reconstruction:
        assert isinstance(queries, SignalQueries)
        return Reconstruction(self._values(output, queries), self.output_modalities, queries, self.inputs)

    def predict_parts(self, parts: Iterable[tuple[Tensor, Queries]], queries: Queries) -> Reconstruction:
        """Of each part only the values are kept: a pixel has three, and its output may have 512 channels."""
        assert isinstance(queries, SignalQueries)
        pieces = list(starmap(self._values, parts))
        values = {name: torch.cat([piece[name] for piece in pieces], dim=1) for name in pieces[0]}
        return Reconstruction(values, self.output_modalities, queries, self.inputs)

    def _values(self, output: Tensor, queries: Queries) -> dict[str, Tensor]:
        """By modality, the values of the rows that were asked for."""
        return {name: self.heads[f"of_{name}"](rows) for name, rows in queries.split(output).items()}

    # -- training and evaluation

    def prepare(self, view: Batch, generator: torch.Generator | None = None) -> Prepared:
        """The targets are a :class:`ReconstructionTarget` for each modality of the batch, by name. Evaluation predicts
        all rows."""
        view = {key: value for key, value in view.items() if key != "target"}
        present = [modality for modality in self.inputs.modalities if modality.name in view]
        hidden = {
            modality.name: draw_hidden_rows(modality, view, self._mask_ratio(modality.name), generator)
            for modality in present
            if self._mask_ratio(modality.name)
        }
        segments = self.queries(view).array.segments
        rows = draw_queries(segments, self.config.num_queries, generator)
        targets = {}
        for modality in present:
            output_modality = self.output_modalities[modality.name]
            counts = counting_rows(modality, output_modality, view, hidden.get(modality.name))
            index = rows[modality.name].to(counts.device, non_blocking=True)
            values = output_modality.targets(view)[:, index]
            targets[modality.name] = ReconstructionTarget(output_modality, values, counts[:, index], view)
        starts = accumulate((segment.num_rows for segment in segments), initial=0)
        indices = None
        if sum(map(len, rows.values())) < sum(segment.num_rows for segment in segments):
            indices = torch.cat([rows[segment.name] + start for segment, start in zip(segments, starts, strict=False)])
            indices = indices.to(segments[0].values.device, non_blocking=True)
        return Prepared(view | {f"{name}.hidden": mask for name, mask in hidden.items()}, targets, indices)

    def _mask_ratio(self, name: str) -> float:
        ratio = self.config.mask_ratio
        return ratio.get(name, 0.0) if isinstance(ratio, dict) else ratio

    def loss(
        self, output: dict[str, Tensor], targets: dict[str, ReconstructionTarget], *, label_smoothing: float = 0.0
    ) -> Tensor:
        """The weighted sum over modalities of the mean distance of the rows that count."""
        return self.loss_terms(output, targets).sum()

    def loss_terms(
        self, output: dict[str, Tensor], targets: dict[str, ReconstructionTarget], *, label_smoothing: float = 0.0
    ) -> Tensor:
        """One for each modality; 0 of one that the batch lacks."""
        terms = dict.fromkeys(self.output_modalities, torch.zeros((), device=next(iter(output.values())).device))
        for name, target in targets.items():
            distance = target.modality.distance(output[name], target.values).where(target.counts, 0.0)
            terms[name] = self.config.loss_weights.get(name, 1.0) * distance.sum() / target.counts.sum().clamp(min=1)
        return torch.stack(list(terms.values()))

    def term_counts(self, targets: dict[str, ReconstructionTarget]) -> Tensor:
        """The rows that count, of each modality."""
        device = next(iter(targets.values())).counts.device
        counts = dict.fromkeys(self.output_modalities, torch.zeros((), device=device))
        counts |= {name: target.counts.sum().float() for name, target in targets.items()}
        return torch.stack(list(counts.values()))

    def metrics(self) -> MetricCollection:
        """Of each modality: where the signal has a range, the mean over examples of the peak signal-to-noise ratio in
        decibels; where rows are classes, the accuracy; else the mean absolute error in the model's units, and
        ``explained``, 1 - error / error of predicting the mean.

        The peak is the range: 1 of pixels from 0 to 1, 2 of samples from -1 to 1. The paper does not state its peaks;
        with a peak of 1 a figure of sound would be 6.02 dB less."""
        from torchmetrics import MeanMetric, MetricCollection

        names = [name for names in self.metric_names.values() for name in names]
        return MetricCollection({name: MeanMetric() for name in names}, compute_groups=False)

    def selection_score(self, metrics: Mapping[str, float]) -> float:
        """Of several modalities the negative loss, which weighs them as training does: their metrics have different
        units."""
        return super().selection_score(metrics) if len(self.metric_names) == 1 else -metrics["loss"]

    def update_metrics(
        self, metrics: MetricCollection, prediction: Reconstruction, targets: dict[str, ReconstructionTarget]
    ) -> None:
        with_range = any(target.modality.value_range is not None for target in targets.values())
        signals = prediction.signals if with_range else {}
        for name, target in targets.items():
            primary_metric, *others = self.metric_names[name]
            rows, counts = prediction.output[name], target.counts
            if target.modality.value_range is not None:
                present = counts.any(1)
                metrics[primary_metric].update(target.peak_signal_to_noise(signals[name])[present])
            elif target.modality.categorical:
                known = counts & (target.values >= 0)
                metrics[primary_metric].update((rows.argmax(-1) == target.values)[known].float())
            else:
                error, error_of_mean = (
                    target.modality.distance(values, target.values)[counts].mean()
                    for values in (rows, torch.zeros_like(rows))
                )
                count = counts.sum()
                metrics[primary_metric].update(1 - error / error_of_mean, weight=error_of_mean * count)
                metrics[others[0]].update(error, weight=count)

    # -- for people

    outputs_noun: ClassVar[str] = "queries"
    metric_titles: ClassVar[dict[str, str]] = {
        "accuracy": "Accuracy",
        "explained": "Share of the error of the mean that predictions remove",
        "mae": "Mean absolute error",
        "psnr": "Peak signal-to-noise ratio, dB",
    }
    percent_metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    illustration_legend: ClassVar[str] = (
        "A reconstruction shows the prediction where the signal was hidden from the model, and the signal elsewhere."
        " Where nothing was hidden, all of it is the prediction."
    )

    def metric_title(self, name: str) -> str:
        """Titles of signal-to-noise ratios say what the peak is."""
        title = super().metric_title(name)
        named = (self.output_modalities[signal] for signal, names in self.metric_names.items() if name in names)
        peak = next((modality.value_range for modality in named), None)
        return title if peak is None else f"{title} (peak {peak:g})"

    def illustrate(self, prepared: Prepared, prediction: Reconstruction) -> list[Illustration]:
        """The signal, and the same with the prediction wherever it was hidden."""
        view = prepared.inputs
        completed = {
            name: signal.to(view[name].device) for name, signal in prediction.completed.items() if name in view
        }
        return [Illustration("Signal", view), Illustration("Reconstruction", {**view, **completed})]

    def answers(
        self,
        predict: Predict[Reconstruction],
        examples: OpenedExamples,
        *,
        top: int = 3,
        batch_size: int = 1,
        folder: Path | None = None,
    ) -> list[Answer]:
        """Each example as the model predicts it, written to ``folder``: films (with their sound) as .mp4, pictures as
        .png, sound as .wav, anything else as .npz; and the likeliest classes of its label. Without a folder, nothing
        is predicted."""
        if folder is None:
            return super().answers(predict, examples)
        folder.mkdir(parents=True, exist_ok=True)
        answers = []
        for index in range(len(examples)) if len(examples) > 1 else ():
            examples.batch([index])  # all are read before the first one is written
        for index, file in enumerate(examples.names):
            inputs = self.answer_inputs(examples.batch([index]))
            prediction = predict(inputs)
            present = [modality.name for modality in self.inputs.present_modalities(inputs, 0)]
            signals = {name: signal[0].cpu() for name, signal in prediction.completed.items() if name in present}
            output = {name: rows[0] for name, rows in prediction.output.items()}
            several = len(self.inputs.modalities) > 1
            only = self.inputs.name
            stem = folder / f"{examples.numbers[index]:04}-{Path(file).stem}"
            paths = self.inputs.save(signals if several else signals[only], stem)
            label = self.inputs.label_scores(output if several else output[only], top)
            answers.append(Answer(file, [str(path) for path in paths], label=label or None))
        return answers

    @classmethod
    def configure(cls, *, classes: tuple[str, ...] = (), targets: np.ndarray | None = None) -> ReconstructConfig:
        return ReconstructConfig()


def _check(config: ReconstructConfig, inputs: Modality) -> None:
    names = [modality.name for modality in inputs.modalities]
    ratios = config.mask_ratio if isinstance(config.mask_ratio, dict) else dict.fromkeys(names, config.mask_ratio)
    for name in (*ratios, *config.elementwise, *config.num_queries, *config.loss_weights):
        if name not in names:
            raise InputError(f"reconstruct: the model reads no signal {name!r}; {did_you_mean(name, names)}")
    for name, ratio in ratios.items():
        if not 0 <= ratio <= 1:
            raise InputError(f"reconstruct: mask_ratio of {name} is {ratio}; give a share from 0 to 1")
    for modality in inputs.modalities:
        if not modality.value_channels:
            raise InputError(f"reconstruct: {modality.name} has positions but no values to predict; leave it out")
