"""What every kind of signal does; the kinds never import each other.

A modality knows one kind of signal: how an example becomes arrays, what its rows are, how rows become the signal again,
how training varies it, and how it is drawn. It knows nothing of models, tasks or data sets, and leaves the decoding of
files to ``codecs``.

A *batch* is a dict of tensors, batch first, whose keys start with the modality's name: ``image``, or ``series``,
``series.mask`` (True = present) and ``series.times``. A *sample* is one example, as numpy arrays without the batch
axis. Fields whose first axis varies between examples are padded by ``data.collate``, which then adds the mask.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codecs import arrays
from ..codecs.raw import Raw
from ..errors import InputError
from ..nn.byte_array import ByteArray, Layout, Segment
from ..nn.positions import Spacing

T = TypeVar("T")

Sample: TypeAlias = dict[str, np.ndarray]
Batch: TypeAlias = Mapping[str, Tensor]
Signal: TypeAlias = Any  # a tensor; of several modalities, a dict of tensors by name


class SignalConfig(Protocol):
    """What the configuration of every kind of signal states: the sizes of its rows."""

    @property
    def kind(self) -> str:
        """The name of the kind of signal."""

    @property
    def num_rows(self) -> int:
        """The number of rows of an example of the configured size (of the largest one where sizes vary)."""

    @property
    def row_channels(self) -> int:
        """The channels of a row of ``embed``: its values and its position encoding."""

    @property
    def position_channels(self) -> int:
        """The channels of a row's position encoding; 0: rows have none."""

    @property
    def value_channels(self) -> int:
        """How many numbers predict what a row holds: as many as it holds, or one for each class."""

    @property
    def elements_per_row(self) -> int:
        """How many elements of the signal one row covers: the volume of a patch, 1 where there are no patches."""


ConfigT = TypeVar("ConfigT", bound=SignalConfig)


@dataclass(frozen=True)
class Soundtrack:
    """Sound that goes into the file of another signal.

    Attributes:
        wave: samples × channels, in [-1, 1].
        rate: samples a second.
    """

    wave: Tensor
    rate: int


class Modality(nn.Module, ABC, Generic[ConfigT]):
    """One kind of signal. Subclasses take their configuration record first and ``name=`` (default: the kind).

    Attributes:
        kind: the name of this kind of signal, as in configurations.
        suffixes: lower-case file name endings that mean this kind (empty: never guessed from a name).
        also_reads: endings of files that can be read as this kind too, where somebody says so.
        ragged: whether the first axis of the signal may differ between examples (then batches carry a mask).
        categorical: whether a row holds one of several classes, rather than numbers.
        leads_in_time: whether a view of it chooses a moment (``<name>.start``, in seconds) that other signals of the
            same example follow.
        follows_in_time: whether its view begins at ``<name>.start``, where a batch has that field.
        drawn_square: whether it is drawn as a square picture, rather than as a wide curve or lines of text.
        measured_on: on which examples ``measure`` is called: those of the training split, or all there are.
        has_files: whether ``save`` writes a file.
        from_labels: whether the signal is what the data's labels say, which examples may lack.
        array_axes: the most axes that an array has which is one example.
        augments_on_host: whether ``augment`` computes on the CPU, so that batches go to the model's device after it.
        config: the configuration record.
        name: the key of the signal in samples and batches.
    """

    kind: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    also_reads: ClassVar[tuple[str, ...]] = ()
    ragged: ClassVar[bool] = False
    categorical: ClassVar[bool] = False
    leads_in_time: ClassVar[bool] = False
    follows_in_time: ClassVar[bool] = False
    drawn_square: ClassVar[bool] = False
    measured_on: ClassVar[Literal["train", "all"]] = "train"
    from_labels: ClassVar[bool] = False
    has_files: ClassVar[bool] = True
    array_axes: ClassVar[int] = 2
    augments_on_host: bool = False
    config: ConfigT

    def __init__(self, config: ConfigT, *, name: str | None = None) -> None:
        super().__init__()
        self.config = config
        self.name = name or self.kind

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The single kinds of signal in it: itself, or the parts of a fusion. Each has its own keys in a batch."""
        return (self,)

    def present_modalities(self, batch: Batch, index: int) -> tuple[Modality, ...]:
        """Those of ``modalities`` that example ``index`` of a batch has."""
        return self.modalities

    # -- sizes --------------------------------------------------------------------------------------------------

    @property
    def num_rows(self) -> int:
        """The number of rows of an example of the configured size (of the largest one where sizes vary)."""
        return self.config.num_rows

    @property
    def channels(self) -> int:
        """The channels of a row of ``embed``: its values and its position encoding."""
        return self.config.row_channels

    @property
    def position_channels(self) -> int:
        """The channels of a row's position encoding; 0: rows have none."""
        return self.config.position_channels

    @property
    def value_channels(self) -> int:
        """How many numbers predict what a row holds: as many as it holds, or one for each class."""
        return self.config.value_channels

    @property
    def elements_per_row(self) -> int:
        """How many elements of the signal one row covers: the volume of a patch, 1 where there are no patches."""
        return self.config.elements_per_row

    @property
    def view_lengths(self) -> range | None:
        """The sizes that the first axis of a view may have: whole rows; None: it has one."""
        return None

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def measure(cls, raws: Sequence[Raw]) -> ConfigT:
        """The configuration that fits these examples: sizes, channels, rates and statistics; the rest at defaults.

        It must not be slow: it is called once, on at most some hundred examples where they are files.

        Raises:
            InputError: an example cannot be decoded, or examples that must agree do not.
        """

    @classmethod
    def with_statistics(cls, config: ConfigT, raws: Sequence[Raw]) -> ConfigT:
        """A paper's configuration with those statistics of these examples that the paper does not state."""
        return config

    @classmethod
    def reads_files(cls, raw: Raw) -> bool:
        """Whether to measure or load this example means to decode a file, which takes time."""
        return isinstance(raw, Path | bytes)

    @abstractmethod
    def load(self, raw: Raw) -> Sample:
        """One example as arrays: deterministic, and small enough to be kept in memory (uint8 stays uint8).

        Args:
            raw: a path, the bytes of a file, or values already in memory.

        Raises:
            InputError: unreadable, empty, NaN or infinite values, wrong channel count: what is wrong and the cure,
                without the file's name (the caller knows it and adds it).
        """

    def is_example(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape is one example that the model reads, rather than many."""
        if not 0 < len(shape) <= self.array_axes:
            return False
        try:
            self.load(np.broadcast_to(np.float32(0), shape))
        except InputError:
            return False
        return True

    def remarks(self, raw: Raw) -> tuple[str, ...]:
        """What is odd about an example that can be read, compared with those of training, a line for each: a missing
        column, an unknown category, a value far outside the range. Most kinds of signal have nothing to say."""
        return ()

    # -- from batches -------------------------------------------------------------------------------------------

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """The deterministic view of a batch for evaluation (centre crop, first points, …): what ``embed`` takes."""
        return dict(batch)

    def views(self, batch: Batch) -> Iterator[dict[str, Tensor]]:
        """The views over which evaluation averages its predictions, each made when it is asked for: ``num_views``
        windows, evenly spread from the beginning of each signal to its end (Perceiver §4.2), or ``view`` alone."""
        if not self.needs_windows(batch):
            yield self.view(batch)
            return
        for share in torch.linspace(0, 1, self.num_views, dtype=torch.float64).tolist():
            yield self.window(batch, share)

    @property
    def num_views(self) -> int:
        """How many ``views`` there are of signals of which training takes windows; 1: training takes all of a signal,
        or evaluation is content with ``view``."""
        return 1

    def needs_windows(self, batch: Batch) -> bool:
        """Whether evaluation sees the signals of a batch in several ``views``: some are longer than what the model sees
        at once."""
        return False

    def window(self, batch: Batch, share: float) -> dict[str, Tensor]:
        """The view of the window that begins at a share (0 to 1) of the way from the first one to the last one; where
        no windows are needed, ``view``."""
        return self.view(batch)

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """A random view of a batch for training, of the same shapes as ``view``; each example is varied by itself."""
        return self.view(batch)

    def augment_at(self, strength: float, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """As ``augment``, while augmentation grows at the beginning of a run (``recipe.growing``): at a share of its
        strength. Here: at all of it."""
        return self.augment(batch, generator)

    def around_boxes(self, batch: Batch, share: Tensor, generator: torch.Generator) -> Tensor:
        """The mask of CutMix: 0 in a random box of each example's signal, where another example's signal comes in, and
        1 around it; in a shape that broadcasts to the signal's.

        Args:
            batch: as ``augment`` gives it.
            share: (batch,), in [0, 1]: about how much of an example is around its box.
            generator: of the random numbers.

        Raises:
            InputError: the signal is not made of pixels.
        """
        raise InputError(f"cutmix cuts boxes out of pictures, and {self.name} is none; set recipe.cutmix=0")

    def layout(self) -> Layout | None:
        """Where the rows of an example of the configured size stand on a grid, if their positions do not say it."""
        return None

    @abstractmethod
    def embed(self, batch: Batch) -> ByteArray:
        """A batch (as ``view`` or ``augment`` give it) as a byte array of one segment named ``self.name``."""

    def embed_part(self, batch: Batch, dropped: float, *, generator: torch.Generator | None = None) -> ByteArray:
        """``embed(batch)`` without a random share ``dropped`` of its rows, as ``ByteArray.drop_rows`` chooses them."""
        return self.embed(batch).drop_rows(dropped, generator=generator)

    # -- rows and signal ----------------------------------------------------------------------------------------

    @abstractmethod
    def patchify(self, signal: Signal) -> Signal:
        """The signal (batch × its own shape) cut into rows: batch × rows × (elements · channels of the signal)."""

    @abstractmethod
    def unpatchify(self, rows: Signal, batch: Batch) -> Signal:
        """Rows (batch × rows × (elements · k)) put back into the shape that the signal has in ``batch``, with k
        channels: ``unpatchify(patchify(x), batch) == x`` for any k."""

    def attention_map(self, weights: Tensor, batch: Batch) -> Signal:
        """One number for each row (batch × rows), repeated for every element of the row: a map in the signal's shape
        with one channel."""
        return self.unpatchify(weights[..., None].expand(-1, -1, self.elements_per_row), batch)

    def seen(self, batch: Batch, shape: tuple[int, ...]) -> Tensor | None:
        """Which elements a stem may see, those that are present and that no task hides: bool, ``shape``, which is the
        batch and the signal's axes without its channels. None: all."""
        mask, hidden = batch.get(f"{self.name}.mask"), batch.get(f"{self.name}.hidden")
        seen = None if mask is None else mask.view(*mask.shape, *[1] * (len(shape) - 2)).expand(shape)
        if hidden is None:
            return seen
        visible = (self.attention_map((~hidden).float(), batch) > 0).reshape(shape)
        return visible if seen is None else seen & visible

    # -- predicted ----------------------------------------------------------------------------------------------

    @property
    def value_range(self) -> float | None:
        """The largest possible value of the signal minus the least one; None: it has no fixed range."""
        return None

    def elementwise(self) -> Modality:
        """The same signal with a row for each element, so that elements can be queried one by one."""
        return self

    def query_segment(self, batch: Batch, *, spacing: Spacing = "linspace") -> Segment:
        """The positions and the mask of a batch's rows without their values, to query them.

        Args:
            spacing: of the positions of a grid; learned positions and coordinates do not depend on it.
        """
        (segment,) = self.embed(batch).segments
        return replace(segment, values=segment.values[..., :0])

    def targets(self, batch: Batch) -> Tensor:
        """What the rows of a batch hold, normalised: batch × rows × values, NaN where nothing was measured. Where rows
        hold classes: int64, batch × rows, negative where the class is unknown."""
        return self.embed(batch).segments[0].values

    def distance(self, rows: Tensor, targets: Tensor) -> Tensor:
        """How far predicted rows (batch × rows × values) are from ``targets``: batch × rows, the mean absolute
        difference, or the cross-entropy of classes in nats."""
        if self.categorical:
            return surprise(rows, targets)
        known = ~targets.isnan()
        off = (at_least_float32(rows) - targets.nan_to_num()).abs() * known
        return off.sum(-1) / known.sum(-1).clamp(min=1)

    @abstractmethod
    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """Predicted rows (batch × rows × values) as the signal: in its own units, and in its shape in ``batch``."""

    def save(self, signal: Signal, stem: Path) -> list[Path]:
        """Write one example of the signal, as ``restore`` gives it, in a format that people can open; a kind of signal
        without such a format is written as a ``.npz`` array.

        Args:
            signal: without the batch axis.
            stem: the path without its ending.

        Returns:
            the files that were written.

        Raises:
            InputError: a file cannot be written.
        """
        path = stem.with_name(f"{stem.name}.npz")
        arrays.encode_file({self.name: signal.cpu().numpy()}, path)
        return [path]

    def save_with(self, signal: Signal, stem: Path, soundtrack: Soundtrack) -> list[Path]:
        """As ``save``, with sound in the same file where the format can hold both."""
        return self.save(signal, stem)

    def soundtrack(self, signal: Signal) -> Soundtrack | None:
        """One example of the signal as sound that fits into a film; None: it is not such sound."""
        return None

    def label_scores(self, rows: Signal, top: int) -> dict[str, float]:
        """The likeliest classes of one example and their probabilities, the likeliest first; empty where the signal is
        not a label and has none among its modalities.

        Args:
            rows: the predicted rows of one example, rows × values; of several modalities, a dict of rows by name.
            top: how many classes.
        """
        return {}

    # -- for people ---------------------------------------------------------------------------------------------

    @abstractmethod
    def draw(self, axes: Any, batch: Batch, index: int, attention: Signal | None = None) -> None:
        """Draw example ``index`` of a viewed batch onto a matplotlib ``axes``.

        Args:
            attention: the ``attention_map`` of this example (no batch axis), values in [0, 1]; drawn over the signal.
        """

    def extra_repr(self) -> str:
        return f"name={self.name!r}, rows={self.num_rows}, channels={self.channels}"


def at_least_float32(rows: Tensor) -> Tensor:
    """Rows in a precision in which losses can be summed."""
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def surprise(rows: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of predicted classes, batch × rows: 0 where the target is negative, which means unknown.

    >>> surprise(torch.zeros(1, 2, 4), torch.tensor([[3, -1]]))
    tensor([[1.3863, 0.0000]])
    """
    return F.cross_entropy(at_least_float32(rows).mT, targets.clamp(min=-1), ignore_index=-1, reduction="none")
