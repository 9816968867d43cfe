"""The contract every kind of signal fulfils; siblings never import each other.

A modality knows one kind of signal: how to read it from a file, what its rows are, how rows become the signal again,
how it may be varied in training, and how to draw it. It knows nothing of models, tasks or data sets.

A *batch* is a dict of tensors, batch first, whose keys start with the modality's name: ``image``, or ``series``,
``series.mask`` (True = present) and ``series.times``. A *sample* is one example of it, as numpy arrays, without the
batch axis. Fields whose first axis varies between examples are padded by ``data.collate``, which then adds the mask.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codecs.raw import Raw
from ..errors import Absent, InputError
from ..nn.byte_array import ByteArray, Segment
from ..nn.positions import Spacing

T = TypeVar("T")

Sample: TypeAlias = dict[str, np.ndarray]
Batch: TypeAlias = Mapping[str, Tensor]
Signal: TypeAlias = Any  # a tensor; of several modalities, a dict of them by name


class Modality(nn.Module, ABC):
    """One kind of signal. Subclasses take their configuration record first and ``name=`` (default: the kind).

    Attributes:
        kind: the name of this kind of signal, as in configurations.
        suffixes: lower-case file name endings that mean this kind (empty: never guessed from a name).
        ragged: whether the first axis of the signal may differ between examples (then batches carry a mask).
        categorical: whether a row holds one of some classes, rather than numbers.
        measured_on: the examples that ``measure`` sees: those of the training split, or all of them.
        from_labels: whether the signal is what the data's labels say, which examples may lack.
        name: the key of the signal in samples and batches.
    """

    kind: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    ragged: ClassVar[bool] = False
    categorical: ClassVar[bool] = False
    measured_on: ClassVar[Literal["train", "all"]] = "train"
    from_labels: ClassVar[bool] = False

    def __init__(self, config: Any, *, name: str | None = None) -> None:
        super().__init__()
        self.config = config
        self.name = name or self.kind

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The kinds of signal in it, one by one: itself, or the parts of a fusion. Each has its own keys in a batch."""
        return (self,)

    def present_modalities(self, batch: Batch, index: int) -> tuple[Modality, ...]:
        """Those of the modalities that example ``index`` of a batch has."""
        return self.modalities

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def reads_files(cls, raw: Raw) -> bool:
        """Whether ``load`` opens a file to decode ``raw``, rather than taking values that are in memory."""
        return isinstance(raw, Path | bytes)

    @classmethod
    @abstractmethod
    def measure(cls, raws: Sequence[Raw]) -> Any:
        """The configuration that fits these examples: sizes, channels, rates and statistics, the rest at defaults.

        Called once on training examples only (at most some hundred, drawn evenly); it must not be slow.

        Raises:
            InputError: an example cannot be read, or examples that must agree do not.
        """

    @abstractmethod
    def load(self, raw: Raw) -> Sample:
        """One example, decoded: deterministic, and small enough to be kept in memory (uint8 stays uint8).

        Args:
            raw: a path, the bytes of a file, or values already in memory.

        Raises:
            InputError: unreadable, empty, NaN or infinite values, wrong channel count: what is wrong and the cure,
                without the file's name (the caller knows it and adds it).
        """

    # -- from batches -------------------------------------------------------------------------------------------

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """The deterministic view of a batch for evaluation (centre crop, first points, …): what ``embed`` takes."""
        return dict(batch)

    def views(self, batch: Batch) -> Iterator[dict[str, Tensor]]:
        """The views whose answers evaluation averages: ``view`` alone, unless the model sees only a part at a time."""
        yield self.view(batch)

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """A random view of a batch for training, the same shapes as ``view``; varies every example by itself."""
        return self.view(batch)

    def around_boxes(self, batch: Batch, share: Tensor, generator: torch.Generator) -> Tensor:
        """Where another example's signal stays out (CutMix): 0 in a random box of each example's signal, 1 around it;
        in a shape that broadcasts to the signal's.

        Args:
            batch: as ``augment`` gives it.
            share: (batch,), in [0, 1]: of an example, about, around its box.
            generator: what is random comes from it.

        Raises:
            InputError: the signal has no boxes.
        """
        raise InputError(f"cutmix cuts boxes out of pictures, and {self.name} is none; set recipe.cutmix=0")

    @abstractmethod
    def embed(self, batch: Batch) -> ByteArray:
        """A batch (as ``view`` or ``augment`` give it) as a byte array of one segment named ``self.name``."""

    # -- rows and signal ----------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def channels(self) -> int:
        """The channels of a row of ``embed``: values and code."""

    @property
    @abstractmethod
    def num_rows(self) -> int:
        """The number of rows of an example of the configured size (the largest one where it varies)."""

    @property
    @abstractmethod
    def elements_per_row(self) -> int:
        """How many places of the signal one row covers: the volume of a patch, 1 where there are none."""

    @abstractmethod
    def patchify(self, signal: Signal) -> Signal:
        """The signal (batch × its own shape) cut into rows: batch × rows × (elements · channels of the signal)."""

    @abstractmethod
    def unpatchify(self, rows: Signal, batch: Batch) -> Signal:
        """Rows (batch × rows × (elements · k)) put back into the shape the signal has in ``batch``, with k channels.

        ``fold(patchify(x)) == x``: it undoes the unfolding for any k.
        """

    def attention_map(self, weights: Tensor, batch: Batch) -> Signal:
        """One number per row (batch × rows) spread over the places each row covers: a map in the signal's shape."""
        return self.unpatchify(weights[..., None].expand(-1, -1, self.elements_per_row), batch)

    # -- as an answer -------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def position_channels(self) -> int:
        """The channels of a row's position encoding; 0: its rows have none."""

    @property
    def value_channels(self) -> int:
        """How many numbers answer what a row holds: as many as it has, or one for each class."""
        return self.channels - self.position_channels

    @property
    def value_range(self) -> float | None:
        """The range of the signal, from its least value to its largest; None: it has no fixed one."""
        return None

    def elementwise(self) -> Modality:
        """The same signal, a row for each of its elements: to ask for each by itself."""
        return self

    def query_segment(self, batch: Batch, *, spacing: Spacing = "linspace") -> Segment:
        """Where the rows of a batch are, to ask for them: their positions and their mask, without values.

        Args:
            spacing: of the positions of a grid; learned positions and those of coordinates are what they are.
        """
        (segment,) = self.embed(batch).segments
        return replace(segment, values=segment.values[..., :0])

    def targets(self, batch: Batch) -> Tensor:
        """What the rows of a batch hold, as the model sees it: batch × rows × values, NaN where nothing was measured;
        where rows hold classes, int64, batch × rows, negative where none is known."""
        return self.embed(batch).segments[0].values

    def distance(self, rows: Tensor, targets: Tensor) -> Tensor:
        """How far answers (batch × rows × values) are from ``targets``, row by row: the mean absolute difference, or
        the cross-entropy of classes, in nats."""
        if self.categorical:
            return surprise(rows, targets)
        known = ~targets.isnan()
        off = (at_least_float32(rows) - targets.nan_to_num()).abs() * known
        return off.sum(-1) / known.sum(-1).clamp(min=1)

    @abstractmethod
    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """Answers (batch × rows × values) as the signal: in its own units, and in the shape it has in ``batch``."""

    def save(self, signal: Tensor, stem: Path) -> Path:
        """One example of the signal, as ``restore`` gives it, as a file that people can open, else as a .npz array.

        Args:
            stem: the path of the file but for its ending.
        """
        path = stem.with_name(f"{stem.name}.npz")
        arrays: dict[str, Any] = {self.name: signal.cpu().numpy()}
        np.savez(path, **arrays)
        return path

    # -- for people ---------------------------------------------------------------------------------------------

    @abstractmethod
    def draw(self, axes: Any, batch: Batch, index: int, heat: Signal | None = None) -> None:
        """Draw example ``index`` of a viewed batch onto a matplotlib ``axes``.

        Args:
            heat: one example of ``spread``'s map (no batch axis), values in [0, 1]; drawn over the signal.
        """

    def extra_repr(self) -> str:
        return f"name={self.name!r}, rows={self.num_rows}, channels={self.channels}"


class Elementwise(Modality):
    """A kind of signal whose rows are its elements: a text's bytes, a table's columns, a cloud's points."""

    @property
    def elements_per_row(self) -> int:
        return 1

    def patchify(self, signal: Tensor) -> Tensor:
        """batch × elements [× k], as it is."""
        return signal if signal.ndim == 3 else signal[..., None]

    def unpatchify(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × elements × k, as it is."""
        return rows


def at_least_float32(rows: Tensor) -> Tensor:
    """Answers in a precision in which losses can be summed."""
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def surprise(rows: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of classes (batch × rows, int64), 0 where they are negative: nothing is known there.

    >>> surprise(torch.zeros(1, 2, 4), torch.tensor([[3, -1]]))
    tensor([[1.3863, 0.0000]])
    """
    return F.cross_entropy(at_least_float32(rows).mT, targets.clamp(min=-1), ignore_index=-1, reduction="none")


def of_present(look: Callable[[Any], T], raws: Iterable[Any]) -> list[T]:
    """``look`` of every raw that has the signal at all.

    Raises:
        Absent: none has.
    """
    results = []
    absent = None
    for raw in raws:
        try:
            results.append(look(raw))
        except Absent as error:
            absent = error
    if absent is not None and not results:
        raise absent
    return results
