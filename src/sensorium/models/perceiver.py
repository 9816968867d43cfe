"""A configuration made into modules, and the straight way through them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..config import record
from ..errors import InputError
from ..modalities import Batch, Modality, ModalityConfig, build_modality
from ..nn import Decoder, DecoderConfig, Encoder, EncoderConfig, MeanDecoder
from ..nn.byte_array import ByteArray
from ..nn.queries import Queries
from ..tasks import Task, TaskConfig, build_task


@record
class PerceiverConfig:
    """A whole model: what it reads, how, what it is asked, and how it answers.

    Attributes:
        decoder: how queries are answered; None: the first paper's mean of the latents and a linear layer.
    """

    inputs: ModalityConfig
    encoder: EncoderConfig
    decoder: DecoderConfig | None = None
    task: TaskConfig


class Perceiver(nn.Module):
    """The Perceiver: a batch of any signal to an answer, in two public halves, ``encode`` and ``decode``.

    Encode once, ask many times: ``model.decode(latents, model.queries(batch, where))``.

    Args:
        config: the model's configuration, kept as ``model.config``.

    Raises:
        InputError: parts that do not fit together.

    >>> from sensorium.modalities import ImageConfig
    >>> from sensorium.tasks import ClassifyConfig
    >>> model = Perceiver(PerceiverConfig(
    ...     inputs=ImageConfig(size=(8, 8), bands=4),
    ...     encoder=EncoderConfig(num_latents=4, latent_channels=16, num_layers=1),
    ...     task=ClassifyConfig(classes=("cat", "dog")),
    ... ))
    >>> model({"image": torch.rand(3, 3, 8, 8)}).scores.shape
    torch.Size([3, 2])
    """

    def __init__(self, config: PerceiverConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs: Modality = build_modality(config.inputs)
        names = [modality.name for modality in self.inputs.modalities]
        self.encoder = Encoder(config.encoder, channels=self.inputs.channels, names=names)
        width, shape = config.encoder.latent_channels, config.decoder
        learned = None if shape is None else shape.query_channels or width
        self.task: Task = build_task(config.task, inputs=self.inputs, channels=learned)
        channels, outputs = self.task.query_channels, self.task.outputs
        self.decoder: Decoder | MeanDecoder
        if shape is None:
            if channels is not None or outputs is None:
                raise InputError(f"the task {config.task.kind!r} asks queries; give the model a decoder")
            self.decoder = MeanDecoder(width, output_channels=outputs)
        else:
            assert channels is not None  # a task with a decoder has queries
            self.decoder = Decoder(
                shape,
                latent_channels=width,
                query_channels=channels,
                output_channels=outputs,
                output_init=self.task.start,
            )

    def embed(self, batch: Batch) -> ByteArray:
        """A batch as the byte array that the encoder reads: without what the task hides."""
        return self.task.hide(self.inputs.embed(batch), batch)

    def encode(
        self,
        batch: Batch,
        *,
        drop_rows: float = 0.0,
        generator: torch.Generator | None = None,
        checkpointing: bool = False,
    ) -> Tensor:
        """A batch to latents, batch × latents × width.

        Args:
            batch: as the modality's ``view`` gives it.
            drop_rows: share of the input rows that is left out, in training.
            generator: of what is left out.
            checkpointing: see :meth:`Encoder.forward`.
        """
        array = self.embed(batch)
        if drop_rows:
            array = array.drop_rows(drop_rows, generator=generator)
        return self.encoder(array, checkpointing=checkpointing)

    def queries(self, batch: Batch, where: Tensor | None = None) -> Queries | None:
        """What the task wants to know of a batch; None: the mean of the latents is all that is asked.

        Args:
            batch: as the modality's ``view`` gives it.
            where: int64, (asked,): the output rows that are asked; None: all.

        Raises:
            InputError: rows that the task does not have.
        """
        return self.task.queries(self.inputs, batch, where)

    def decode(self, latents: Tensor, queries: Queries | None = None) -> Any:
        """Latents to the task's answer, a dataclass of its own.

        Args:
            latents: batch × latents × width.
            queries: what is asked: ``ask(batch)``; of a model without a decoder None.

        Raises:
            InputError: a model that answers queries was asked none.
        """
        if queries is None and isinstance(self.decoder, Decoder):
            raise InputError("decode: this model answers queries; give it those of model.queries(batch)")
        return self.task.predict(self.inputs, self.decoder(latents, queries), queries)

    def forward(self, batch: Batch, where: Tensor | None = None) -> Any:
        """A batch (as the modality's ``view`` gives it) to the task's answer, to all of it or ``where``."""
        return self.decode(self.encode(batch), self.queries(batch, where))

    def attention(self, batch: Batch) -> Tensor:
        """Where each read looked: batch × reads × rows, the mean over heads and latents, each read summing to 1 (to 0
        where there was nothing to look at)."""
        return torch.stack([weights.mean((1, 2)) for weights in self.encoder.weights(self.embed(batch))], dim=1)

    def parameter_count(self) -> int:
        """How many numbers training may change; shared weights count once."""
        return sum(parameter.numel() for parameter in self.parameters())
