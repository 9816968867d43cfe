"""A class as a signal among others: one row that says which it is (Perceiver IO §4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..codecs.raw import Raw
from ..config import record
from ..errors import InputError, did_you_mean
from ..nn.byte_array import ByteArray, Segment
from .base import Batch, Elementwise, Sample


@record
class LabelConfig:
    """Which classes there are.

    Attributes:
        classes: how many.
        names: of the classes, in order; none: they are numbers, from 0.
    """

    kind: Literal["label"] = "label"
    classes: int
    names: tuple[str, ...] = ()


class Label(Elementwise):
    """A class: ``label`` is batch × 1, int64; negative where it is not known.

    >>> label = Label(LabelConfig(classes=2, names=("cat", "dog")))
    >>> label.load("dog")["label"]
    array([1])
    >>> label.embed({"label": torch.tensor([[1]])}).dense()
    tensor([[[0., 1.]]])
    """

    kind: ClassVar[str] = "label"
    categorical: ClassVar[bool] = True
    measured_on: ClassVar[Literal["train", "all"]] = "all"
    from_labels: ClassVar[bool] = True
    config: LabelConfig

    def __init__(self, config: LabelConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if config.names and len(config.names) != config.classes:
            raise InputError(f"{self.name}: {len(config.names)} names for {config.classes} classes; give one each")

    @property
    def classes(self) -> tuple[str, ...]:
        """What the classes are called: their numbers, where they have no names."""
        return self.config.names or tuple(map(str, range(self.config.classes)))

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> LabelConfig:
        """The classes seen, in alphabetical order."""
        names = tuple(sorted({str(raw) for raw in raws}))
        return LabelConfig(classes=len(names), names=names)

    def load(self, raw: Raw) -> Sample:
        """int64, (1,): the place of a class, by its name, or its number where classes have no names.

        Raises:
            InputError: there is no such class.
        """
        if str(raw) not in self.classes:
            raise InputError(f"no class is called {str(raw)!r}; {did_you_mean(str(raw), self.classes)}")
        return {self.name: np.array([self.classes.index(str(raw))])}

    # -- from batches -------------------------------------------------------------------------------------------

    def embed(self, batch: Batch) -> ByteArray:
        """One row, 1 at the class and 0 at the others."""
        label = batch[self.name].long()
        known = (label >= 0)[..., None]
        values = F.one_hot(label.clamp(min=0), self.config.classes) * known
        return ByteArray((Segment(self.name, values.to(torch.get_default_dtype())),))

    # -- rows and signal ----------------------------------------------------------------------------------------

    @property
    def channels(self) -> int:
        return self.config.classes

    @property
    def num_rows(self) -> int:
        return 1

    # -- as an answer -------------------------------------------------------------------------------------------

    @property
    def position_channels(self) -> int:
        return 0

    def targets(self, batch: Batch) -> Tensor:
        """batch × 1: the class."""
        return batch[self.name].long()

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × 1: the likeliest class."""
        return rows.argmax(-1)

    # -- for people ---------------------------------------------------------------------------------------------

    def draw(self, axes: Any, batch: Batch, index: int, heat: Tensor | None = None) -> None:
        """Its name, on the colour of its heat."""
        place = int(batch[self.name][index])
        warmth = 0.0 if heat is None else float(heat.reshape(-1)[0])
        axes.imshow([[warmth]], cmap="Reds", vmin=0, vmax=1, alpha=0.7, aspect="auto")
        told = self.classes[place] if place >= 0 else "unknown"
        axes.text(0, 0, told, ha="center", va="center", parse_math=False)
        axes.set_axis_off()
