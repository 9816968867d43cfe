"""A model: inputs, backbone, decoder and task, built from one configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from ..config import record
from ..errors import InputError
from ..modalities import Batch, Modality, ModalityConfig, build_modality
from ..nn import Decoder, DecoderConfig, LinearDecoder, MeanDecoder
from ..nn.byte_array import ByteArray
from ..nn.decoder import CHUNK
from ..nn.queries import Queries
from ..processes import is_sharded
from ..tasks import AnyPrediction, Prepared, Task, TaskConfig, build_task
from .backbones import AttentionBackbone, Backbone, BackboneConfig, build_backbone
from .pretrained import Pretrained


@record
class PerceiverConfig:
    """The configuration of a whole model.

    Attributes:
        inputs: the modality that it reads.
        encoder: the backbone, from byte array to latents.
        decoder: from latents and queries to output; None: the first paper's mean of the latents and a linear layer;
            ``linear``: a linear layer on all latents side by side.
        task: what it predicts.
    """

    inputs: ModalityConfig
    encoder: BackboneConfig
    decoder: DecoderConfig | Literal["linear"] | None = None
    task: TaskConfig


class Perceiver(Pretrained):
    """A Perceiver: from a batch of any signal to the task's prediction.

    The model binds its inputs and its task. It has two public halves, to encode once and decode many queries:
    ``model.decode(model.encode(batch), model.queries(batch, indices))``.

    Args:
        config: the model's configuration, kept as ``model.config``.

    Raises:
        InputError: parts that do not fit together.

    >>> from sensorium.modalities import ImageConfig
    >>> from sensorium.nn import EncoderConfig
    >>> from sensorium.tasks import ClassifyConfig
    >>> model = Perceiver(PerceiverConfig(
    ...     inputs=ImageConfig(size=(8, 8), bands=4),
    ...     encoder=EncoderConfig(num_latents=4, latent_channels=16, num_layers=1),
    ...     task=ClassifyConfig(classes=("cat", "dog")),
    ... ))
    >>> model({"image": torch.rand(3, 3, 8, 8)}).scores.shape
    torch.Size([3, 2])
    """

    config_type = PerceiverConfig

    def __init__(self, config: PerceiverConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs: Modality = build_modality(config.inputs)
        names = [modality.name for modality in self.inputs.modalities]
        self.encoder = build_backbone(config.encoder, channels=self.inputs.channels, names=names)
        backbone = cast(Backbone, self.encoder)
        latent_channels = backbone.latent_channels
        with_queries = config.decoder if isinstance(config.decoder, DecoderConfig) else None
        learned = None if with_queries is None else with_queries.query_channels or latent_channels
        self.task: Task[Any, Any] = build_task(config.task, inputs=self.inputs, query_channels=learned)
        channels, outputs = self.task.query_channels, self.task.output_channels
        self.decoder: Decoder | LinearDecoder | MeanDecoder
        if with_queries is None:
            if channels is not None or outputs is None:
                raise InputError(f"the task {config.task.kind!r} has queries; give the model a decoder")
            if config.decoder == "linear":
                self.decoder = LinearDecoder(
                    backbone.num_latents, latent_channels=latent_channels, output_channels=outputs
                )
            else:
                self.decoder = MeanDecoder(latent_channels, output_channels=outputs)
        else:
            assert channels is not None  # a task with a decoder has queries
            self.decoder = Decoder(
                with_queries,
                latent_channels=latent_channels,
                query_channels=channels,
                output_channels=outputs,
                output_init=self.task.output_init,
            )

    # -- from batch to prediction

    def embed(self, batch: Batch, *, drop_rows: float = 0.0, generator: torch.Generator | None = None) -> ByteArray:
        """A batch as the byte array that the encoder reads, without the rows that the task hides.

        Args:
            batch: as the modality's ``view`` gives it.
            drop_rows: share of the rows to leave out, in training.
            generator: chooses the rows to leave out.
        """
        if drop_rows and self.task.per_example:  # what is hidden from other tasks counts all rows
            return self.inputs.embed_part(batch, drop_rows, generator=generator)
        return self.task.mask_inputs(self.inputs.embed(batch), batch).drop_rows(drop_rows, generator=generator)

    def encode(
        self,
        inputs: Batch | ByteArray,
        *,
        drop_rows: float = 0.0,
        generator: torch.Generator | None = None,
        checkpointing: bool = False,
    ) -> Tensor:
        """A batch to latents: batch × latents × latent channels.

        Args:
            inputs: a batch as the modality's ``view`` gives it, or what ``embed`` made of it.
            drop_rows: share of the input rows to leave out, in training.
            generator: chooses the rows to leave out.
            checkpointing: whether to keep less for the backward pass and compute it anew.
        """
        if isinstance(inputs, ByteArray):
            array = inputs.drop_rows(drop_rows, generator=generator)
        else:
            array = self.embed(inputs, drop_rows=drop_rows, generator=generator)
        return self.encoder(array, checkpointing=checkpointing)

    def queries(self, batch: Batch, indices: Tensor | None = None, *, array: ByteArray | None = None) -> Queries | None:
        """The task's queries for a batch; None: there are none, and the decoder takes the mean of the latents.

        Args:
            batch: as the modality's ``view`` gives it.
            indices: int64, (queries,): the output rows to compute; None: all of them.
            array: what ``embed`` made of the batch, where that is known: some tasks' queries are rows of the input.

        Raises:
            InputError: indices of rows that the task does not have.
        """
        return self.task.queries(batch, indices, array=array)

    def decode(self, latents: Tensor, queries: Queries | None = None) -> AnyPrediction:
        """Latents to the task's prediction, a dataclass with at least ``output`` and ``scores``. Where no gradients are
        kept, many queries are answered part by part, so that decoding takes the same memory for any number of them.

        Args:
            latents: batch × latents × latent channels.
            queries: from ``model.queries(batch)``; None for a model without a decoder.

        Raises:
            InputError: the model has a decoder, and there are no queries.
        """
        if queries is None and isinstance(self.decoder, Decoder):
            raise InputError("decode: this model needs queries; give it those of model.queries(batch)")
        if queries is None or queries.count <= CHUNK or torch.is_grad_enabled():
            return self.task.predict(self.decoder(latents, queries), queries)
        parts = ((self.decoder(latents, part), part) for part in queries.chunks(CHUNK))
        return self.task.predict_parts(parts, queries)

    def forward(self, batch: Batch, indices: Tensor | None = None) -> AnyPrediction:
        """A batch to the task's prediction; arguments as of ``queries``."""
        array = self.embed(batch)
        return self.decode(self.encode(array), self.queries(batch, indices, array=array))

    @property
    def num_queries(self) -> int:
        """How many output rows an example of the configured size has."""
        return self.task.num_queries

    # -- training, evaluation, prediction

    def prepare(self, view: Batch, generator: torch.Generator | None = None) -> Prepared:
        """The inputs, the targets and the query indices of a batch, for training and evaluation.

        Args:
            view: as the modality's ``view`` or ``augment`` gives it; with the key ``target`` where labels are known.
            generator: of random choices, in training; None, in evaluation: choices depend on each example alone.
        """
        return self.task.prepare(view, generator)

    def loss(self, output: Any, targets: Any, *, label_smoothing: float = 0.0) -> Tensor:
        """The mean loss of a batch, a scalar.

        Args:
            output: ``output`` of a prediction.
            targets: from ``model.prepare``.
            label_smoothing: share of each target that is spread over all classes.
        """
        return self.task.loss(output, targets, label_smoothing=label_smoothing)

    def predict(self, batch: Batch) -> AnyPrediction:
        """The prediction for a batch of examples, in evaluation mode and without gradients. Where a prediction is one
        row of scores an example, it is the mean over the modality's views.

        Args:
            batch: of signals as ``Modality.load`` gives them, or tensors that ``view`` takes.
        """
        with evaluating(self):
            batch = self.to_device(batch)
            views = self.inputs.views(batch) if self.task.per_example else iter([self.inputs.view(batch)])
            return self.task.average(list(map(self, views)))  # no view outlives its turn

    def predict_view(self, view: Batch) -> AnyPrediction:
        """As ``forward``, in evaluation mode and without gradients."""
        with evaluating(self):
            return self(self.to_device(view))

    def to_device(self, batch: Batch) -> dict[str, Tensor]:
        """A batch on the device of the model's parameters."""
        device = next(self.parameters()).device
        return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}

    # -- for people

    @property
    def cross_attends(self) -> tuple[int, ...]:
        """For each attention map, in order, the number of the weights it comes from: same number, same weights. Empty:
        the backbone has no attention maps."""
        return tuple(self.encoder.cross_attends) if isinstance(self.encoder, AttentionBackbone) else ()

    def attention(self, batch: Batch) -> Tensor:
        """How much each cross-attend attends to each row: batch × cross-attends × rows, the mean over heads and
        latents. Each cross-attend sums to 1; to 0 where there were no rows to attend to.

        Args:
            batch: as the modality's ``view`` gives it.

        Raises:
            InputError: the model has no attention maps.
        """
        if not self.cross_attends or not isinstance(self.encoder, AttentionBackbone):
            raise InputError("this model has no attention maps: its encoder has no cross-attends")
        return torch.stack([weights.mean((1, 2)) for weights in self.encoder.weights(self.embed(batch))], dim=1)

    def parameter_count(self) -> int:
        """The number of parameters; shared weights count once."""
        return sum(parameter.numel() for parameter in self.parameters())


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, without gradients; afterwards every module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        # What is gathered of a sharded model in inference mode could not be trained afterwards.
        with torch.no_grad() if is_sharded(model) else torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training
