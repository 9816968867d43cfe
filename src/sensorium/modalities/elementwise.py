"""Signals whose rows are their elements."""

from __future__ import annotations

from torch import Tensor

from .base import Batch, ConfigT, Modality


class Elementwise(Modality[ConfigT]):
    """A kind of signal whose rows are its elements: a text's bytes, a table's columns, a cloud's points."""

    def patchify(self, signal: Tensor) -> Tensor:
        """batch × elements [× k], as it is."""
        return signal if signal.ndim == 3 else signal[..., None]

    def unpatchify(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × elements × k, as it is."""
        return rows
