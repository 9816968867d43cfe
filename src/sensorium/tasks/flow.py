"""Optical flow: where each pixel of a frame is in the next one (Perceiver IO §4.2, App. H)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..codecs import flow as flow_files
from ..codecs import pictures
from ..config import record
from ..errors import InputError
from ..modalities import Batch, Modality
from ..modalities.base import Sample, at_least_float32
from ..modalities.pair import Pair
from ..modalities.pixels import fitted, floats
from ..nn.byte_array import ByteArray
from ..nn.queries import Queries
from .answers import Answer, OpenedExamples, Predict
from .base import Progress, Task
from .directions import in_both_directions
from .predictions import Prepared, SignalQueries
from .presentation import Illustration, format_number
from .tiles import coarse_to_fine
from .warps import WarpConfig, make_pairs
from .whole_frames import WholeFrames

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

LEAST_MOTION = 1e-6  # pixels: the least mean motion of a batch, by which errors are divided


@record
class FlowConfig:
    """Optical flow: the motion of each pixel of the first frame.

    Attributes:
        scale: factor from the decoder's output to pixels. The authors divide by 100 in the decoder and multiply by 20
            after it.
        num_queries: how many pixels of an example each training step predicts, chosen at random; None: all. The paper
            does not say.
        warps: the motion that is made up for single pictures; None: the data are pairs.
        pyramid_levels: sizes at which whole frames are predicted, each half the next one: motion that is too large for
            the model is found in smaller frames, and what is left of it in larger ones. 1: only the frames as they are,
            as in the paper.
    """

    kind: Literal["flow"] = "flow"
    scale: float = 0.2
    num_queries: int | None = None
    warps: WarpConfig | None = None
    pyramid_levels: int = 1


@dataclass(frozen=True)
class FlowPrediction:
    """The motion that a model predicts.

    Attributes:
        output: batch × queries × 2: to the right and downwards, in pixels; float32 at least.
        queries: the pixels that the output is for.
        inputs: the modality that the model reads.
    """

    output: Tensor
    queries: SignalQueries
    inputs: Modality

    @property
    def flow(self) -> Tensor:
        """batch × 2 × height × width: to the right and downwards, in pixels.

        Raises:
            InputError: the output is for some of the pixels only.
        """
        if self.queries.indices is not None:
            raise InputError("flow: a field of motion needs all of its pixels; predict without query indices")
        return self.inputs.unpatchify(self.output, self.queries.view).squeeze(2)

    @property
    def scores(self) -> Tensor:
        """The flow, in pixels."""
        return self.flow


class Flow(Task[FlowConfig, FlowPrediction]):
    """The input's rows are the queries, one for each pixel. The loss is the mean end-point error: the distance in
    pixels between the predicted and the true motion, of the pixels whose motion is known. (The paper does not state
    its loss.)

    Raises:
        InputError: the model does not read pairs, or a scale, count or number of levels that is not positive.

    >>> from sensorium.modalities import PairConfig, build_modality
    >>> pair = build_modality(PairConfig(size=(4, 6), bands=2))
    >>> task = Flow(FlowConfig(num_queries=5), inputs=pair)
    >>> view = {"pair": torch.rand(3, 2, 3, 4, 6), "pair.flow": torch.zeros(3, 2, 4, 6)}
    >>> task.queries(view).count, task.prepare(view, torch.Generator()).targets.shape
    (24, torch.Size([3, 5, 2]))
    """

    primary_metric = "explained"
    per_example = False
    answers_folder: ClassVar[str] = "flow"
    output_init: ClassVar[Literal["lecun", "zeros"]] = "zeros"

    def __init__(self, config: FlowConfig, *, inputs: Modality, query_channels: int | None = None) -> None:
        super().__init__(config, inputs=inputs, query_channels=query_channels)
        if not isinstance(inputs, Pair):
            raise InputError(f"flow: only pairs of frames show motion; the model reads {inputs.kind}")
        count = 1 if config.num_queries is None else config.num_queries
        if not config.scale > 0 or config.pyramid_levels < 1 or count < 1:
            raise InputError("flow: scale, num_queries and pyramid_levels must be positive")

    @property
    def query_channels(self) -> int:
        return self.inputs.channels

    @property
    def output_channels(self) -> int:
        return 2

    @property
    def num_queries(self) -> int:
        return self.inputs.num_rows

    @property
    def num_trained_queries(self) -> int:
        return min(self.num_queries, self.config.num_queries or self.num_queries)

    def queries(self, batch: Batch, indices: Tensor | None = None, *, array: ByteArray | None = None) -> SignalQueries:
        """The query of a pixel is its row of the input."""
        return SignalQueries(self.inputs.embed(batch) if array is None else array, indices, batch)

    def predict(self, output: Tensor, queries: Queries | None) -> FlowPrediction:
        assert isinstance(queries, SignalQueries)
        return FlowPrediction(at_least_float32(output) * self.config.scale, queries, self.inputs)

    # -- training and evaluation

    def unaugmented(self, view: Batch) -> dict[str, Tensor]:
        """Each pair in both directions (App. H): half of the batch forward and reversed. Single pictures as they
        are."""
        name, flow = self.inputs.name, f"{self.inputs.name}.flow"
        if flow not in view:
            return dict(view)
        frames, motion = in_both_directions(view[name], view[flow])
        return {**view, name: frames, flow: motion}

    def prepare(self, view: Batch, generator: torch.Generator | None = None) -> Prepared:
        """The targets are batch × queries × 2, NaN where the motion is unknown. Training takes some pixels, the same
        ones of all examples; evaluation takes all. Single pictures become pairs: in training by a random motion each
        time, in evaluation by one that depends on the picture alone.

        Raises:
            InputError: single pictures, and ``warps`` is None.
        """
        name = self.inputs.name
        inputs = {key: value for key, value in view.items() if key != "target"}
        flow = inputs.pop(f"{name}.flow", None)
        if inputs[name].shape[1] == 1:
            if self.config.warps is None:
                raise InputError("flow: single pictures show no motion; give pairs, or set task.warps")
            pictures = floats(inputs[name][:, 0])
            made = make_pairs(pictures, self.inputs.config.size, self.config.warps, generator=generator)
            inputs[name], flow = made.frames, made.flow
        targets = None if flow is None else flow.flatten(2).mT
        pixels = inputs[name].shape[-2:].numel()
        count = self.config.num_queries
        if generator is None or count is None or count >= pixels:
            return Prepared(inputs, targets)
        indices = torch.randperm(pixels, generator=generator)[:count].sort().values.to(inputs[name].device)
        return Prepared(inputs, None if targets is None else targets[:, indices], indices)

    def loss(self, output: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        known, error = _end_point_errors(output, targets)
        return error.sum() / known.sum().clamp(min=1)

    def term_counts(self, targets: Tensor) -> Tensor:
        """The known motions."""
        return (~targets.isnan().any(-1)).sum().float().reshape(1)

    def metrics(self) -> MetricCollection:
        """``explained``: 1 - error / error of predicting no motion; ``epe``: the mean end-point error in pixels;
        ``still``: that of predicting no motion, which is how much moves at all."""
        from torchmetrics import MeanMetric, MetricCollection

        return MetricCollection({name: MeanMetric() for name in ("explained", "epe", "still")}, compute_groups=False)

    def update_metrics(self, metrics: MetricCollection, prediction: FlowPrediction, targets: Tensor) -> None:
        known, errors = _end_point_errors(prediction.output, targets)
        count = known.sum()
        if not count:
            return
        error = errors.sum() / count
        still = _end_point_errors(torch.zeros_like(targets), targets)[1].sum() / count
        motion = still.clamp(min=LEAST_MOTION)
        metrics["explained"].update(1 - error / motion, weight=motion * count)
        metrics["epe"].update(error, weight=count)
        metrics["still"].update(still, weight=count)

    def whole_metrics(
        self, predict: Predict[FlowPrediction], raws: Sequence[Any], *, progress: Progress | None = None
    ) -> dict[str, float]:
        """Of whole frames, predicted as by ``answers``: see :meth:`WholeFrames.metrics`. Of frames whose motion is not
        known there are none."""
        assert isinstance(self.inputs, Pair)
        known = [raw for raw in raws if isinstance(raw, Mapping) and raw.get("flow") is not None]
        whole = WholeFrames()
        for number, raw in enumerate(known, 1):
            with suppress(InputError):  # what cannot be read is set aside where examples are decoded
                frames, true_flow = self.inputs.whole(raw)
                assert true_flow is not None
                flow = self.whole_flow(predict, torch.from_numpy(frames)).numpy()
                whole.add(flow, true_flow, render_pass=raw.get("pass"))
            if progress is not None:
                progress(number, len(known))
        return whole.metrics()

    @classmethod
    def configure(cls, *, classes: tuple[str, ...] = (), targets: np.ndarray | None = None) -> FlowConfig:
        return FlowConfig()

    @classmethod
    def input_kinds(cls, kinds: Mapping[str, str]) -> dict[str, str]:
        """Pictures are read as pairs: the task makes the second frame."""
        if len(kinds) != 1 or not set(kinds.values()) <= {"pair", "image"}:
            found = " and ".join(kinds.values())
            raise InputError(f"flow is learned of pairs of frames or of pictures, this is {found}; name another task")
        return dict.fromkeys(kinds, "pair")

    # -- for people

    outputs_noun: ClassVar[str] = "queries"
    metric_titles: ClassVar[dict[str, str]] = {
        "whole_epe": "End-point error of whole frames, pixels",
        "whole_outliers": "Outliers of whole frames (Fl-all)",
        "epe": "End-point error, pixels",
        "explained": "Share of the error of no motion that predictions remove",
        "still": "End-point error of predicting no motion, pixels",
    }
    percent_metrics: ClassVar[tuple[str, ...]] = ("whole_outliers",)
    illustration_legend: ClassVar[str] = (
        "The colour is the direction of the motion (right red, down yellow, left cyan, up violet), its strength the"
        " distance, up to the largest motion of the example; black is unknown."
    )

    def illustrate(self, prepared: Prepared, prediction: FlowPrediction) -> list[Illustration]:
        """The first frame, the motion that is predicted, and the true one where it is known, in the same colours."""
        fields = {"Prediction": prediction.flow[0].cpu().numpy()}
        if prepared.targets is not None:
            fields["Truth"] = prepared.targets[0].mT.cpu().numpy().reshape(fields["Prediction"].shape)
        largest = max(float(np.nanmax(np.hypot(*field), initial=0)) for field in fields.values())
        note = f"largest motion {format_number(largest)} px"
        return [
            Illustration("First frame", prepared.inputs, note=note),
            *(Illustration(title, flow_files.colours(field, largest=largest)) for title, field in fields.items()),
        ]

    def illustrate_answer(self, raw: Any, answer: Answer) -> list[Illustration]:
        """The whole first frame, and its motion."""
        assert isinstance(self.inputs, Pair)
        assert answer.flow is not None
        (first, _), _ = self.inputs.whole(raw)
        note = f"largest motion {format_number(float(np.hypot(*answer.flow).max()))} px"
        return [
            Illustration("First frame", first.transpose(1, 2, 0)),
            Illustration("Prediction", flow_files.colours(answer.flow), note=note),
        ]

    def unmasked(self, view: Batch) -> dict[str, Tensor]:
        """Pairs as they are; of single pictures, the pairs that an evaluation makes of them."""
        return self.prepare(view).inputs

    def whole_flow(self, predict: Predict[FlowPrediction], frames: Tensor) -> Tensor:
        """The flow between two frames of any size: 2 × height × width, in pixels.

        Args:
            predict: the model.
            frames: 2 × 3 × height × width, bytes or floats in [0, 1].
        """
        name, levels = self.inputs.name, self.config.pyramid_levels

        def predict_tiles(tiles: Tensor) -> Tensor:
            return predict({name: tiles}).flow.to(tiles.device)

        return coarse_to_fine(predict_tiles, frames, self.inputs.config.size, levels=levels)

    def answers(
        self,
        predict: Predict[FlowPrediction],
        examples: OpenedExamples,
        *,
        top: int = 3,
        batch_size: int = 1,
        folder: Path | None = None,
    ) -> list[Answer]:
        """The motion between the frames of each example: its mean in pixels and, where the true motion is known, its
        mean end-point error. Frames are answered whole, whatever their size. The motion goes to ``folder``, as .flo and
        in colours as .png; without a folder, into the answer.

        Raises:
            InputError: frames that cannot be read; all are read before the first one is predicted.
        """
        assert isinstance(self.inputs, Pair)
        files = list(zip(examples.raws[self.inputs.name], examples.names, strict=True))
        for raw, name in files:
            try:
                self.inputs.whole(raw)
            except InputError as error:
                raise InputError(f"{name}: {error}") from None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        answers = []
        for number, (raw, name) in zip(examples.numbers, files, strict=True):
            frames, true_flow = self.inputs.whole(raw)
            flow = self.whole_flow(predict, torch.from_numpy(frames)).numpy()
            scores = _flow_scores(flow, true_flow)
            if folder is None:
                answers.append(Answer(name, [], scores, flow=flow))
                continue
            stem = f"{number:04}-{Path(name.partition(' + ')[0]).stem}"
            paths = [folder / f"{stem}.flo", folder / f"{stem}.png"]
            flow_files.encode_file(flow, paths[0])
            pictures.encode_file(flow_files.colours(flow), paths[1])
            answers.append(Answer(name, [str(path) for path in paths], scores))
        return answers

    def decoded(self, raw: Any) -> tuple[Any, Sample]:
        """Both frames whole, with their flow if it is known. For the model, frames that are smaller than its own are
        continued by their last pixels."""
        assert isinstance(self.inputs, Pair)
        frames, flow = self.inputs.whole(raw)
        size = [max(sides) for sides in zip(frames.shape[-2:], self.inputs.config.size, strict=True)]
        seen = fitted(torch.from_numpy(frames), (size[0], size[1])).numpy()
        first, second = frames.transpose(0, 2, 3, 1)
        return {"frames": (first, second), "flow": flow}, self.inputs.load(tuple(seen.transpose(0, 2, 3, 1)))

    def answered_pixels(self, raw: Any) -> int:
        return prod(np.shape(raw["frames"][0])[:2])


def _flow_scores(flow: np.ndarray, true_flow: np.ndarray | None) -> dict[str, float]:
    """The mean motion and, where the true motion is known, the mean end-point error, both in pixels."""
    scores = {"mean motion": float(np.hypot(*flow).mean())}
    if true_flow is not None and not np.isnan(true_flow).all():
        scores["end-point error"] = float(np.nanmean(np.hypot(*(flow - true_flow))))
    return scores


def _end_point_errors(output: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Which motions are known, and the end-point error of each, 0 where it is unknown: batch × pixels."""
    known = ~targets.isnan().any(-1)
    # The gradient of a norm of exactly 0 is 0 in torch, not NaN.
    return known, torch.linalg.vector_norm((output - targets).where(known[..., None], 0.0), dim=-1)
