"""A configuration made into modules, and the straight way through them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import record
from .core.perceiver import Encoder, EncoderConfig, MeanDecoder
from .modalities import Batch, Modality, ModalityConfig, modality
from .tasks import Answer, Task, TaskConfig, task


@record
class ModelConfig:
    """A whole model: what it reads, how, and what it is asked."""

    inputs: ModalityConfig
    encoder: EncoderConfig
    task: TaskConfig


class Model(nn.Module):
    """The Perceiver: a batch of any signal to an answer, in two public halves, ``encode`` and ``decode``.

    Args:
        config: the model's configuration, kept as ``model.config``.

    >>> from sensorium.modalities import ImageConfig
    >>> from sensorium.tasks import ClassifyConfig
    >>> model = Model(ModelConfig(
    ...     inputs=ImageConfig(size=(8, 8), bands=4),
    ...     encoder=EncoderConfig(latents=4, width=16, reads=(0,), processes=(0,), layers=1),
    ...     task=ClassifyConfig(classes=("cat", "dog")),
    ... ))
    >>> model({"image": torch.rand(3, 3, 8, 8)}).scores.shape
    torch.Size([3, 2])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs: Modality = modality(config.inputs)
        names = [sense.name for sense in self.inputs.senses]
        self.encoder = Encoder(config.encoder, channels=self.inputs.channels, names=names)
        self.task: Task = task(config.task)
        self.decoder = MeanDecoder(config.encoder.width, outputs=self.task.outputs)

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
        array = self.inputs.embed(batch)
        if drop_rows:
            array = array.drop_rows(drop_rows, generator=generator)
        return self.encoder(array, checkpointing=checkpointing)

    def decode(self, latents: Tensor) -> Answer:
        """Latents to the task's answer."""
        return self.task.answer(self.decoder(latents))

    def forward(self, batch: Batch) -> Answer:
        """A batch (as the modality's ``view`` gives it) to the task's answer."""
        return self.decode(self.encode(batch))

    def attention(self, batch: Batch) -> Tensor:
        """Where each read looked: batch × reads × rows, the mean over heads and latents, each read summing to 1 (to 0
        where there was nothing to look at)."""
        return torch.stack([weights.mean((1, 2)) for weights in self.encoder.weights(self.inputs.embed(batch))], dim=1)

    def parameter_count(self) -> int:
        """How many numbers training may change; shared weights count once."""
        return sum(parameter.numel() for parameter in self.parameters())
