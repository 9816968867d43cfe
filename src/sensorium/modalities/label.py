"""A class as a signal among others: one row, which holds the class (Perceiver IO §4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..codecs.raw import Raw
from ..config import record
from ..errors import InputError, did_you_mean
from ..nn.byte_array import ByteArray, Segment
from .base import Batch, Sample
from .elementwise import Elementwise


@record
class LabelConfig:
    """Which classes there are.

    Attributes:
        classes: the number of classes.
        names: of the classes, in order; none: classes are numbers, from 0.
    """

    kind: Literal["label"] = "label"
    classes: int
    names: tuple[str, ...] = ()

    @property
    def num_rows(self) -> int:
        return 1

    @property
    def elements_per_row(self) -> int:
        return 1

    @property
    def position_channels(self) -> int:
        return 0

    @property
    def value_channels(self) -> int:
        return self.classes

    @property
    def row_channels(self) -> int:
        return self.classes


class Label(Elementwise[LabelConfig]):
    """A class: ``label`` is batch × 1, int64; negative where the class is unknown.

    >>> label = Label(LabelConfig(classes=2, names=("cat", "dog")))
    >>> label.load("dog")["label"]
    array([1])
    >>> label.embed({"label": torch.tensor([[1]])}).dense()
    tensor([[[0., 1.]]])
    """

    kind: ClassVar[str] = "label"
    categorical: ClassVar[bool] = True
    measured_on: ClassVar[Literal["train", "all"]] = "all"
    has_files: ClassVar[bool] = False
    from_labels: ClassVar[bool] = True

    def __init__(self, config: LabelConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        if config.names and len(config.names) != config.classes:
            raise InputError(f"{self.name}: {len(config.names)} names for {config.classes} classes; give one each")

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; their numbers, where they have no names."""
        return self.config.names or tuple(map(str, range(self.config.classes)))

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> LabelConfig:
        """The classes that occur, in alphabetical order."""
        names = tuple(sorted({str(raw) for raw in raws}))
        return LabelConfig(classes=len(names), names=names)

    def load(self, raw: Raw) -> Sample:
        """The number of a class: int64, (1,).

        Args:
            raw: the name of the class, or its number where classes have no names.

        Raises:
            InputError: there is no such class.
        """
        if str(raw) not in self.classes:
            raise InputError(f"no class is called {str(raw)!r}; {did_you_mean(str(raw), self.classes)}")
        return {self.name: np.array([self.classes.index(str(raw))])}

    # -- from batches -------------------------------------------------------------------------------------------

    def embed(self, batch: Batch) -> ByteArray:
        """One row, 1 at the class and 0 elsewhere."""
        label = batch[self.name].long()
        known = (label >= 0)[..., None]
        values = F.one_hot(label.clamp(min=0), self.config.classes) * known
        return ByteArray((Segment(self.name, values.to(torch.get_default_dtype())),))

    # -- predicted ----------------------------------------------------------------------------------------------

    def targets(self, batch: Batch) -> Tensor:
        """batch × 1: the class."""
        return batch[self.name].long()

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × 1: the likeliest class."""
        return rows.argmax(-1)

    def save(self, signal: Tensor, stem: Path) -> list[Path]:
        """Writes nothing: ``label_scores`` says what the class is."""
        return []

    def label_scores(self, rows: Tensor, top: int) -> dict[str, float]:
        best = rows[0].softmax(-1).topk(min(top, self.config.classes))
        return {
            self.classes[number]: score
            for number, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        }

    # -- for people ---------------------------------------------------------------------------------------------

    def draw(self, axes: Any, batch: Batch, index: int, attention: Tensor | None = None) -> None:
        """The name of the class, on the colour of its attention."""
        number = int(batch[self.name][index])
        attended = 0.0 if attention is None else float(attention.reshape(-1)[0])
        axes.imshow([[attended]], cmap="Reds", vmin=0, vmax=1, alpha=0.7, aspect="auto")
        name = self.classes[number] if number >= 0 else "unknown"
        axes.text(0, 0, name, ha="center", va="center", parse_math=False)
        axes.set_axis_off()
