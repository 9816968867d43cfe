"""Signals of which the model sees a window at a time: training draws one, evaluation takes several, evenly spread."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from .base import Batch, ConfigT, Modality
from .sequences import lengths


class Windowed(Modality[ConfigT]):
    """A kind of signal in time that may be longer than what the model sees at once.

    ``<name>.start``, batch, where a batch has it (and it is not NaN), says when the windows begin.
    """

    @property
    @abstractmethod
    def window_steps(self) -> int:
        """How many steps of the signal the model sees at once."""

    @abstractmethod
    def cut_from(self, batch: Batch, start: Tensor) -> dict[str, Tensor]:
        """The view of the windows that begin at step ``start`` (batch,), unless the batch says when they begin."""

    def whole(self, batch: Batch) -> Batch:
        """A batch in the form that is cut into windows."""
        return batch

    def spare(self, batch: Batch) -> Tensor:
        """By how many steps each signal is longer than a window: int64, (batch,)."""
        return (lengths(batch, self.name) - self.window_steps).clamp(min=0)

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """The window in the middle of longer signals."""
        batch = self.whole(batch)
        return self.cut_from(batch, self.spare(batch) // 2)

    def needs_windows(self, batch: Batch) -> bool:
        """Whether a signal is longer than a window, and the batch does not say when its window begins."""
        if self.num_views == 1:
            return False
        longer, start = self.spare(self.whole(batch)) > 0, batch.get(f"{self.name}.start")
        return bool((longer if start is None else longer & start.isnan()).any())

    def window(self, batch: Batch, share: float) -> dict[str, Tensor]:
        if not self.needs_windows(batch):
            return self.view(batch)
        batch = self.whole(batch)
        return self.cut_from(batch, (share * self.spare(batch)).round().long())
