"""Where each pixel of a frame is in the next one: optical flow (Perceiver IO §4.2, App. H)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ..config import record
from ..errors import InputError
from ..modalities import Modality
from ..modalities.base import at_least_float32
from ..modalities.pair import Pair
from ..modalities.pixels import floats
from ..nn.queries import Queries
from .base import Places, Prepared, Task
from .warps import WarpConfig, make

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

LEAST_MOTION = 1e-6  # pixels: of what moves by less nothing is to be explained


@record
class FlowConfig:
    """The motion of each pixel of the first frame.

    Attributes:
        scale: pixels that the decoder's 1 stands for. The authors divide by 100 in the decoder and multiply by 20
            after it.
        num_queries: how many pixels of an example training asks for at a time; None: all. The paper does not say.
        warps: the motion that single pictures are given; None: the data are pairs.
        pyramid_levels: sizes at which whole frames are answered, each half the next one: motion too large for the
            model is found in smaller frames, and what is left of it in larger ones. 1: only as they are, as in the
            paper.
    """

    kind: Literal["flow"] = "flow"
    scale: float = 0.2
    num_queries: int | None = None
    warps: WarpConfig | None = None
    pyramid_levels: int = 1


@dataclass(frozen=True)
class FlowPrediction:
    """What a model says moves.

    Attributes:
        output: batch × pixels asked × 2: to the right and downwards, in pixels; float32 at least.
        queries: what was asked.
        inputs: what the model reads.
    """

    output: Tensor
    queries: Places
    inputs: Modality

    @property
    def flow(self) -> Tensor:
        """batch × 2 × height × width: to the right and downwards, in pixels.

        Raises:
            InputError: only some pixels were asked.
        """
        if self.queries.indices is not None:
            raise InputError("flow: a field of motion needs all of its pixels; ask without where")
        return self.inputs.unpatchify(self.output, self.queries.view).squeeze(2)

    @property
    def scores(self) -> Tensor:
        """The flow: what is for people."""
        return self.flow


class Flow(Task):
    """The input's own rows are the queries, one for each pixel; the loss is the mean end-point error, the distance in
    pixels between the motion that is answered and the true one, of the pixels whose motion is known. (The paper does
    not state its loss.)

    Raises:
        InputError: the model does not read pairs, or a scale or count that is none.

    >>> from sensorium.modalities import PairConfig, build_modality
    >>> pair = build_modality(PairConfig(size=(4, 6), bands=2))
    >>> task = Flow(FlowConfig(num_queries=5), inputs=pair)
    >>> view = {"pair": torch.rand(3, 2, 3, 4, 6), "pair.flow": torch.zeros(3, 2, 4, 6)}
    >>> task.queries(pair, view).count, task.prepare(pair, view, torch.Generator()).targets.shape
    (24, torch.Size([3, 5, 2]))
    """

    primary_metric = "explained"
    per_example = False
    start: ClassVar[Literal["lecun", "zeros"]] = "zeros"
    config: FlowConfig

    def __init__(self, config: FlowConfig, *, inputs: Modality, channels: int | None = None) -> None:
        super().__init__(config, inputs=inputs, channels=channels)
        if not isinstance(inputs, Pair):
            raise InputError(f"flow: only pairs of frames show motion; the model reads {inputs.kind}")
        if (
            not config.scale > 0
            or config.pyramid_levels < 1
            or (config.num_queries is not None and config.num_queries < 1)
        ):
            raise InputError("flow: scale, asked and levels must be positive")
        self.width = inputs.channels

    @property
    def query_channels(self) -> int:
        return self.width

    @property
    def outputs(self) -> int:
        return 2

    def num_queries(self, inputs: Modality) -> int:
        return inputs.num_rows

    # -- asking

    def queries(self, inputs: Modality, batch: Mapping[str, Tensor], where: Tensor | None = None) -> Places:
        """A pixel's query is the row that the encoder reads of it."""
        return Places(inputs.embed(batch), where, batch)

    def predict(self, inputs: Modality, rows: Tensor, queries: Queries | None) -> FlowPrediction:
        assert isinstance(queries, Places)
        return FlowPrediction(at_least_float32(rows) * self.config.scale, queries, inputs)

    # -- being right

    def prepare(
        self, inputs: Modality, view: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Prepared:
        """The target is batch × pixels asked × 2, NaN where the motion is unknown. Training asks for some pixels, the
        same ones of all examples; evaluation for all. Single pictures become pairs: other ones each time in training,
        in evaluation those that depend on the picture alone.

        Raises:
            InputError: single pictures, and ``warps`` is None.
        """
        view = {key: value for key, value in view.items() if key != "target"}
        flow = view.pop(f"{inputs.name}.flow", None)
        if view[inputs.name].shape[1] == 1:
            if self.config.warps is None:
                raise InputError("flow: single pictures show no motion; give pairs, or set task.warps")
            made = make(floats(view[inputs.name][:, 0]), inputs.config.size, self.config.warps, generator=generator)
            view[inputs.name], flow = made.frames, made.flow
        target = None if flow is None else flow.flatten(2).mT
        pixels = view[inputs.name].shape[-2:].numel()
        fewer = self.config.num_queries
        if generator is None or fewer is None or fewer >= pixels:
            return Prepared(view, target)
        where = torch.randperm(pixels, generator=generator)[:fewer].sort().values.to(view[inputs.name].device)
        return Prepared(view, None if target is None else target[:, where], where)

    def loss(self, output: Tensor, target: Tensor, *, smoothing: float = 0.0) -> Tensor:
        known, error = _errors(output, target)
        return error.sum() / known.sum().clamp(min=1)

    def metrics(self) -> MetricCollection:
        """``explained``: 1 less the share that the error has of that of answering no motion; ``epe``, the mean
        end-point error in pixels; ``still``, that of no motion: how much moves at all."""
        from torchmetrics import MeanMetric, MetricCollection

        return MetricCollection({name: MeanMetric() for name in ("explained", "epe", "still")}, compute_groups=False)

    def score(self, metrics: MetricCollection, answer: FlowPrediction, target: Tensor) -> None:
        known, error = _errors(answer.output, target)
        count = known.sum()
        if not count:
            return
        error, still = (each.sum() / count for each in (error, _errors(torch.zeros_like(target), target)[1]))
        moving = still.clamp(min=LEAST_MOTION)
        metrics["explained"].update(1 - error / moving, weight=moving * count)
        metrics["epe"].update(error, weight=count)
        metrics["still"].update(still, weight=count)


def _errors(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Which motions are known, and the end-point error of each, 0 where it is not: batch × pixels."""
    known = ~target.isnan().any(-1)
    # A norm of exactly 0 has a gradient of 0 in torch, not of NaN.
    return known, torch.linalg.vector_norm((output - target).where(known[..., None], 0.0), dim=-1)
