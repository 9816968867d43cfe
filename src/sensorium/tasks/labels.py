"""A number for each of some names, for a whole example: what classes, tags and regression share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..modalities import Modality
from ..nn.queries import LearnedQueries, Queries
from .base import Prediction, Prepared, Task


class LabelTask(Task):
    """A number for each of some names, for a whole example: one query, or the mean of the latents."""

    def __init__(self, config: Any, *, inputs: Modality, channels: int | None = None) -> None:
        super().__init__(config, inputs=inputs, channels=channels)
        self.learned_queries = None if channels is None else LearnedQueries(1, channels)

    @property
    def query_channels(self) -> int | None:
        return None if self.learned_queries is None else self.learned_queries.table.shape[1]

    @property
    def outputs(self) -> int:
        return len(self.config.classes)

    def num_queries(self, inputs: Modality) -> int:
        return 1

    def queries(self, inputs: Modality, batch: Mapping[str, Tensor], where: Tensor | None = None) -> Queries | None:
        return None if self.learned_queries is None else self.learned_queries(indices=where)

    def predict(self, inputs: Modality, rows: Tensor, queries: Queries | None) -> Prediction:
        return self.read(rows.squeeze(1))

    def prepare(
        self, inputs: Modality, view: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Prepared:
        view = dict(view)
        target = view.pop("target", None)
        return Prepared(view, None if target is None else self.spell_out(target))

    @abstractmethod
    def read(self, output: Tensor) -> Prediction:
        """batch × outputs, as the decoder gives it, read."""

    @abstractmethod
    def spell_out(self, target: Tensor) -> Tensor:
        """Targets of the data as batch × outputs floats, which may be mixed (mixup)."""
