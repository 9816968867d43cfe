"""The signal itself: autoencoding, plain or masked, of any signal and of several at once (Perceiver IO §4.3)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn

from ..config import record
from ..errors import InputError, did_you_mean
from ..modalities import Batch, Modality
from ..nn.byte_array import ByteArray, Segment
from ..nn.initialisation import lecun, truncated_normal
from ..nn.positions import Spacing
from ..nn.queries import LearnedQueries, Queries
from .base import Places, Prepared, Task

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

LOOKED_AT = 64  # numbers of a signal, to tell examples apart
LEAST_ERROR = 1e-10  # of a squared peak: what is off by less is off by nothing, 100 dB


@record
class ReconstructConfig:
    """A signal is asked for at its own places.

    Attributes:
        mask_ratio: the share of a signal's rows that the model does not see and is asked for, one for all signals or by
            name (0 of those not named); 0: it sees everything, and is asked for everything. In training the count is
            rounded at random, up or down, and up in evaluation: a single row with 0.5 is hidden half the time, and then
            always.
        mask_tokens: whether a learned token stands for each row that is hidden, and one for a signal that is lacking.
        elementwise: signals that are asked for element by element (pixel by pixel), not row by row (patch by patch).
        num_queries: how many places of a signal training asks for at a time, by name; all of those not named.
        loss_weights: of the signals' losses, by name; 1 of those not named.
        modality_channels: the least channels of the learned position that tells a signal's queries from those of the
            others.
        spacing: of the queries' grids; the authors' is ``published``.
        output_channels: channels of the decoder's answers, before each signal's own linear layer; None: those of the
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


@dataclass(frozen=True)
class Reconstruction:
    """What a model says a batch was.

    Attributes:
        output: by modality, batch × places × values: as the model sees them, or logits of classes; of the places asked.
        modalities: by name, what each modality's places are rows of.
        queries: what was asked.
        inputs: what the model reads.
    """

    output: dict[str, Tensor]
    modalities: Mapping[str, Modality]
    queries: Places
    inputs: Modality

    @property
    def signals(self) -> dict[str, Tensor]:
        """By modality, in its own units and shape.

        Raises:
            InputError: only some places were asked.
        """
        if self.queries.indices is not None:
            raise InputError("reconstruct: a signal needs all of its places; ask without where")
        return {name: self.modalities[name].restore(rows, self.queries.view) for name, rows in self.output.items()}

    @property
    def scores(self) -> dict[str, Tensor]:
        """The signals: what is for people."""
        return self.signals

    @property
    def completed(self) -> dict[str, Tensor]:
        """By modality, its signal where it was hidden, and as it was elsewhere; all of it where nothing was."""
        view, completed = self.queries.view, self.signals
        for modality in self.inputs.modalities:
            hidden = view.get(f"{modality.name}.hidden")
            if hidden is not None and modality.name in completed:
                place = modality.attention_map(hidden.float(), view) > 0
                found = completed[modality.name]
                place = place[..., 0] if place.ndim > found.ndim else place
                completed[modality.name] = torch.where(place, found, view[modality.name].to(found))
        return completed


@dataclass(frozen=True)
class Wanted:
    """What would be right of one modality.

    Attributes:
        modality: whose rows the places are.
        values: at the places asked, as ``modality.targets`` gives them.
        counts: batch × places asked, bool: whether it matters there.
        view: the batch, with the signal whole.
    """

    modality: Modality
    values: Tensor
    counts: Tensor
    view: Batch


class Reconstruct(Task):
    """Each modality's rows, asked for by their own position encodings (learned ones, where they have none) and a
    learned modality_embedding that fills up to the common width; one write, and a linear layer for each modality
    (Perceiver IO §4.3, App. I).

    Hidden rows (``<name>.hidden`` in a posed view: batch × rows, bool) are taken out of what the encoder reads, or a
    token stands in for them; losses and metrics are then of them alone.

    Raises:
        InputError: a name that is no signal, or a signal without anything to ask for.

    >>> from sensorium.modalities import ImageConfig, build_modality
    >>> image = build_modality(ImageConfig(size=(8, 8), patch=(4, 4), bands=2))
    >>> task = Reconstruct(ReconstructConfig(mask_ratio=0.75), inputs=image, channels=16)
    >>> view = {"image": torch.rand(3, 3, 8, 8)}
    >>> task.queries(image, view).dense().shape, task.prepare(image, view).inputs["image.hidden"].sum(1)
    (torch.Size([3, 4, 14]), tensor([3, 3, 3]))
    """

    per_example = False
    config: ReconstructConfig

    def __init__(self, config: ReconstructConfig, *, inputs: Modality, channels: int | None = None) -> None:
        super().__init__(config, inputs=inputs, channels=channels)
        _check(config, inputs)
        self.elementwise = nn.ModuleDict(
            {
                f"of_{modality.name}": modality.elementwise()
                for modality in inputs.modalities
                if modality.name in config.elementwise
            }
        )
        asked = self._modalities(inputs)
        # A modality without positions is asked by queries that are learned.
        width = channels or inputs.channels
        self.learned_queries = nn.ModuleDict(
            {
                f"of_{name}": LearnedQueries(modality.num_rows, width, name=name)
                for name, modality in asked.items()
                if not modality.position_channels
            }
        )
        positions = {name: modality.position_channels or width for name, modality in asked.items()}
        self.width = max(positions.values()) + config.modality_channels
        self.modality_embeddings = nn.ParameterDict(
            {
                f"of_{name}": nn.Parameter(truncated_normal(torch.empty(self.width - count), 0.02))
                for name, count in positions.items()
            }
        )
        self.mask_tokens = nn.ParameterDict(
            {
                f"of_{name}": nn.Parameter(truncated_normal(torch.empty(inputs.channels), 0.02))
                for name in (asked if config.mask_tokens else ())
            }
        )
        self.heads = nn.ModuleDict(
            {
                f"of_{name}": lecun(nn.Linear(config.output_channels or self.width, modality.value_channels))
                for name, modality in asked.items()
            }
        )
        self.told = {name: _told(name if len(asked) > 1 else "", modality) for name, modality in asked.items()}
        self.primary_metric = next(iter(self.told.values()))[0]

    @property
    def query_channels(self) -> int:
        return self.width

    @property
    def outputs(self) -> int | None:
        return self.config.output_channels

    def num_queries(self, inputs: Modality) -> int:
        return sum(modality.num_rows for modality in self._modalities(inputs).values())

    # -- asking

    def queries(self, inputs: Modality, batch: Mapping[str, Tensor], where: Tensor | None = None) -> Places:
        """The places of every modality that the batch has, and of those that have no positions: what they are may be
        asked of examples that lack them."""
        count = len(next(batch[modality.name] for modality in inputs.modalities if modality.name in batch))
        segments = []
        for name, modality in self._modalities(inputs).items():
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
        return Places(ByteArray(tuple(segments)), where, batch)

    def hide(self, array: ByteArray, batch: Mapping[str, Tensor]) -> ByteArray:
        """The byte array without what is hidden; with tokens in its place, and in that of modalities that are
        lacking."""
        return ByteArray(tuple(self._hide(segment, array.batch, batch) for segment in array.segments))

    def _hide(self, segment: Segment, count: int, batch: Mapping[str, Tensor]) -> Segment:
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
            lacking = ~present[:, None] & (torch.arange(segment.num_rows, device=present.device) == 0)
            hidden = lacking if hidden is None else hidden | lacking
        if hidden is None:
            return segment
        values = torch.where(hidden[..., None], token, segment.dense())
        return Segment(segment.name, values, mask=None if segment.mask is None else segment.mask | hidden)

    # -- being right

    def predict(self, inputs: Modality, rows: Tensor, queries: Queries | None) -> Reconstruction:
        assert isinstance(queries, Places)
        output = {name: self.heads[f"of_{name}"](piece) for name, piece in queries.split(rows).items()}
        return Reconstruction(output, self._modalities(inputs), queries, inputs)

    def prepare(
        self, inputs: Modality, view: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Prepared:
        """In evaluation all places are asked, and which rows of an example are hidden depends on its signal alone."""
        view = {key: value for key, value in view.items() if key != "target"}
        hidden = {
            modality.name: self._lot(modality, view, generator)
            for modality in inputs.modalities
            if modality.name in view and self._share(modality.name)
        }
        posed = view | {f"{name}.hidden": rows for name, rows in hidden.items()}
        segments = self.queries(inputs, view).array.segments
        starts = dict(zip([one.name for one in segments], _starts([one.num_rows for one in segments]), strict=True))
        where = None
        target = {}
        some: dict[str, Tensor] = {}
        for segment in segments:
            rows = segment.num_rows
            fewer = self.config.num_queries.get(segment.name, rows)
            some[segment.name] = torch.arange(rows)
            if generator is not None and fewer < rows:
                some[segment.name] = torch.randperm(rows, generator=generator)[:fewer].sort().values
        if sum(map(len, some.values())) < sum(one.num_rows for one in segments):
            where = torch.cat([index + starts[name] for name, index in some.items()])
        modalities = self._modalities(inputs)
        for modality in inputs.modalities:
            if modality.name not in view:
                continue
            asked = modalities[modality.name]
            counts = self._counts(modality, asked, view, hidden.get(modality.name))
            index = some[modality.name].to(counts.device)
            target[modality.name] = Wanted(asked, asked.targets(view)[:, index], counts[:, index], view)
        return Prepared(posed, target, None if where is None else where.to(segments[0].values.device))

    def loss(self, output: Any, target: Any, *, smoothing: float = 0.0) -> Tensor:
        """The weighted sum over modalities of the mean distance at the places that count."""
        total = torch.zeros((), device=next(iter(output.values())).device)
        for name, wanted in target.items():
            distance = wanted.modality.distance(output[name], wanted.values).where(wanted.counts, 0.0)
            total = total + self.config.loss_weights.get(name, 1.0) * distance.sum() / wanted.counts.sum().clamp(min=1)
        return total

    def metrics(self) -> MetricCollection:
        """Of each modality: the peak signal-to-noise ratio in decibels, the mean over examples, where the signal has a
        range; the accuracy of classes; else the mean absolute error as the model sees it, and ``explained``, 1 less its
        share of the error of answering the mean."""
        from torchmetrics import MeanMetric, MetricCollection

        told = [name for names in self.told.values() for name in names]
        return MetricCollection({name: MeanMetric() for name in told}, compute_groups=False)

    def selection_score(self, metrics: Mapping[str, float]) -> float:
        """Of several modalities the loss decides, which weighs them all as in training: their metrics have no mean."""
        return super().selection_score(metrics) if len(self.told) == 1 else -metrics["loss"]

    def score(self, metrics: MetricCollection, answer: Any, target: Any) -> None:
        signals = answer.signals if any(wanted.modality.value_range is not None for wanted in target.values()) else {}
        for name, wanted in target.items():
            primary_metric, *others = self.told[name]
            rows, counts = answer.output[name], wanted.counts
            if wanted.modality.value_range is not None:
                present = counts.any(1)
                metrics[primary_metric].update(_decibels(wanted, signals[name])[present])
            elif wanted.modality.categorical:
                known = counts & (wanted.values >= 0)
                metrics[primary_metric].update((rows.argmax(-1) == wanted.values)[known].float())
            else:
                error, mean = (
                    wanted.modality.distance(each, wanted.values)[counts].mean()
                    for each in (rows, torch.zeros_like(rows))
                )
                metrics[primary_metric].update(1 - error / mean, weight=mean * counts.sum())
                metrics[others[0]].update(error, weight=counts.sum())

    def _modalities(self, inputs: Modality) -> dict[str, Modality]:
        """By name, that of whose rows the places are."""
        return {
            modality.name: cast(Modality, dict(self.elementwise).get(f"of_{modality.name}", modality))
            for modality in inputs.modalities
        }

    def _share(self, name: str) -> float:
        hidden = self.config.mask_ratio
        return hidden.get(name, 0.0) if isinstance(hidden, dict) else hidden

    def _present(self, modality: Modality, view: Batch) -> Tensor:
        """batch × rows, bool."""
        segment = modality.query_segment(view)
        mask = torch.ones(segment.values.shape[:2], dtype=torch.bool, device=segment.values.device)
        mask = mask if segment.mask is None else mask & segment.mask
        present = view.get(f"{modality.name}.present")
        return mask if present is None else mask & present[:, None]

    def _lot(self, modality: Modality, view: Batch, generator: torch.Generator | None) -> Tensor:
        """The rows that are hidden, drawn among those present: batch × rows, bool. Their number is rounded at random;
        in evaluation up, and each example draws by itself."""
        present = self._present(modality, view)
        count, length = present.shape
        if generator is None:
            order = torch.stack([torch.rand(length, generator=own) for own in _generators(modality, view)])
            bias = torch.full((count, 1), 1 - 1e-6)
        else:
            order = torch.rand(count, length, generator=generator)
            bias = torch.rand(count, 1, generator=generator)
        many = (present.sum(1, keepdim=True) * self._share(modality.name) + bias.to(present.device)).floor()
        order = order.to(present.device).masked_fill(~present, 2.0)
        return (order.argsort(1).argsort(1) < many) & present

    def _counts(self, modality: Modality, asked: Modality, view: Batch, hidden: Tensor | None) -> Tensor:
        """batch × places, bool: those that are hidden, of examples of which none is all; never what is not there."""
        present = self._present(asked, view)
        if hidden is None:
            return present
        of_rows = (hidden | ~hidden.any(1, keepdim=True)).float()
        if asked is modality:
            return present & (of_rows > 0)
        return present & (asked.patchify(modality.attention_map(of_rows, view))[..., 0] > 0)


def _check(config: ReconstructConfig, inputs: Modality) -> None:
    names = [modality.name for modality in inputs.modalities]
    hidden = config.mask_ratio if isinstance(config.mask_ratio, dict) else dict.fromkeys(names, config.mask_ratio)
    for name in (*hidden, *config.elementwise, *config.num_queries, *config.loss_weights):
        if name not in names:
            raise InputError(f"reconstruct: {name!r} is no signal of the model; {did_you_mean(name, names)}")
    for name, share in hidden.items():
        if not 0 <= share <= 1:
            raise InputError(f"reconstruct: a share of {share} of {name} is hidden; give one from 0 to 1")
    for modality in inputs.modalities:
        if not modality.value_channels:
            raise InputError(f"reconstruct: {modality.name} has nothing but places, by which it is asked; leave it out")


def _told(prefix: str, modality: Modality) -> tuple[str, ...]:
    """The names of a modality's metrics, first the one that is larger where it is better."""
    names = (
        ("psnr",)
        if modality.value_range is not None
        else ("accuracy",)
        if modality.categorical
        else ("explained", "mae")
    )
    return tuple(f"{prefix}_{name}" if prefix else name for name in names)


def _starts(sizes: list[int]) -> list[int]:
    return [sum(sizes[:place]) for place in range(len(sizes))]


def _generators(modality: Modality, view: Batch) -> Iterator[torch.Generator]:
    """Of each example, one that depends on its signal alone: on a few of its numbers to two decimals, so that it is the
    same however the batch was computed."""
    signal, mask = view[modality.name], view.get(f"{modality.name}.mask")
    for place, one in enumerate(signal):
        numbers = (one if mask is None else one[mask[place]]).flatten()
        some = numbers[:: max(1, len(numbers) // LOOKED_AT)].double().nan_to_num()
        seed = zlib.crc32((100 * some).round().to(torch.int64).cpu().numpy().tobytes())
        yield torch.Generator().manual_seed(seed)


def _decibels(wanted: Wanted, found: Tensor) -> Tensor:
    """The peak signal-to-noise ratio of each example, at the places that count."""
    modality, view = wanted.modality, wanted.view
    assert modality.value_range is not None
    signal = view[modality.name].to(found)
    inside = modality.attention_map(wanted.counts.to(found), view).expand_as(found)
    error = ((found - signal).square() * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp(min=1)
    return -10 * (error / modality.value_range**2).clamp(min=LEAST_ERROR).log10()
