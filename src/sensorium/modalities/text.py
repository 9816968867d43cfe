"""Text as UTF-8 bytes, a row for each byte, without a tokeniser (Perceiver IO §4.1)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..codecs.raw import Raw
from ..codecs.text import decode
from ..config import record
from ..nn.byte_array import ByteArray, GridPositions, PointPositions, Segment, kept_rows
from ..nn.initialisation import truncated_normal
from ..nn.positions import LearnedPositions, Spacing, fourier_channels, fourier_grid
from ..nn.stems import NGramStem, NGramStemConfig
from .base import Batch, Sample
from .elementwise import Elementwise
from .sequences import cut, lengths, uniform, whole_rows
from .windows import Windowed

PAD, BOS, EOS, MASK, CLS, SEP = range(6)
SPECIALS = 6
VOCABULARY = SPECIALS + 256
LONGEST = 8192  # bytes of a text that a model is to see at once, at most
HOLE = b"[MASK]"  # how people write a byte that the model is to fill in


@record
class TextConfig:
    """How text becomes rows.

    Attributes:
        length: the number of bytes that the model sees at once.
        channels: of the embedding of a byte.
        positions: ``learned`` positions are added to the embedding, as in the paper; ``fourier`` features are
            concatenated to it.
        bands: number of Fourier frequencies.
        stem: what is added to the embedding of a byte, from the bytes before it; None: nothing, as in the paper.
        passages: evaluation averages the predictions of this many passages of a text longer than ``length``.
        blank: training masks this share of the bytes.
    """

    kind: Literal["text"] = "text"
    length: int = 2048
    channels: int = 128
    positions: Literal["learned", "fourier"] = "learned"
    bands: int = 64
    stem: NGramStemConfig | None = None
    passages: int = 1
    blank: float = 0.05

    @property
    def num_rows(self) -> int:
        return self.length

    @property
    def elements_per_row(self) -> int:
        return 1

    @property
    def position_channels(self) -> int:
        return self.channels if self.positions == "learned" else fourier_channels(1, self.bands)

    @property
    def value_channels(self) -> int:
        return VOCABULARY

    @property
    def row_channels(self) -> int:
        """Learned positions are added to the embedding and take no channels of their own."""
        return self.channels + (0 if self.positions == "learned" else self.position_channels)


class Text(Elementwise[TextConfig], Windowed[TextConfig]):
    """Text: the byte ``b`` is the number ``b + 6``; the numbers below are PAD 0, BOS 1, EOS 2, MASK 3, CLS 4, SEP 5.

    Batch keys: ``text``, integers, batch × bytes; ``text.mask``, batch × bytes, where texts differ in length.

    >>> text = Text(TextConfig(length=8, channels=16))
    >>> text.load("Hé")["text"]
    array([ 78, 201, 175], dtype=int16)
    >>> text.embed({"text": torch.tensor([[78, 201, 175]])}).dense().shape
    torch.Size([1, 3, 16])
    """

    kind: ClassVar[str] = "text"
    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".md")
    ragged: ClassVar[bool] = True
    categorical: ClassVar[bool] = True
    positions: Tensor

    def __init__(self, config: TextConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self.byte_embedding = nn.Embedding(VOCABULARY, config.channels)
        truncated_normal(self.byte_embedding.weight, 1.0)
        self.stem = None if config.stem is None else NGramStem(config.stem, channels=config.channels)
        if config.positions == "learned":
            self.position_embedding = LearnedPositions(config.length, config.channels)
        else:
            positions = fourier_grid((config.length,), bands=config.bands)
            self.register_buffer("positions", positions.tables[0], persistent=False)

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> TextConfig:
        """The length that holds 95 % of the texts as a whole, up to 8,192 bytes.

        Raises:
            InputError: a text cannot be read, or is empty.
        """
        length = np.quantile([len(decode(raw)) for raw in raws], 0.95)
        return TextConfig(length=min(LONGEST, int(np.ceil(length))))

    def load(self, raw: Raw) -> Sample:
        """One whole text; bytes that are not UTF-8 stay what they are.

        Args:
            raw: a text (``str``), its bytes, or the path of a file (``Path``).

        Returns:
            int16, (bytes,).

        Raises:
            InputError: the file cannot be read, or the text is empty.
        """
        return {self.name: decode(raw).astype(np.int16) + SPECIALS}

    # -- from batches -------------------------------------------------------------------------------------------

    def view(self, batch: Batch) -> dict[str, Tensor]:
        """The beginning of longer texts."""
        return self.cut_from(batch, torch.zeros_like(lengths(batch, self.name)))

    @property
    def num_views(self) -> int:
        return self.config.passages

    @property
    def view_lengths(self) -> range:
        return whole_rows(self.config.length, 1)

    @property
    def window_steps(self) -> int:
        return self.config.length

    def cut_from(self, batch: Batch, start: Tensor) -> dict[str, Tensor]:
        return cut(batch, self.name, start, self.config.length)

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """A random passage of longer texts, with a share of its bytes masked."""
        text = batch[self.name]
        spare = self.spare(batch)
        start = (uniform(text, spare.shape, 0, 1, generator) * (spare + 1)).long()
        result = cut(batch, self.name, start, self.config.length)
        hidden = uniform(text, tuple(result[self.name].shape), 0, 1, generator) < self.config.blank
        return {**result, self.name: result[self.name].masked_fill(hidden, MASK)}

    def embed(self, batch: Batch) -> ByteArray:
        """A row for each byte: its embedding, with its position. A stem adds what the bytes before it are; bytes that
        are masked, or hidden by the task, it does not see."""
        return self._rows(batch, None)

    def embed_part(self, batch: Batch, dropped: float, *, generator: torch.Generator | None = None) -> ByteArray:
        """Rows that are left out are not made, unless others see them through convolutions."""
        if self.stem is not None and self.stem.blocks:
            return super().embed_part(batch, dropped, generator=generator)
        numbers = batch[self.name]
        count, length = numbers.shape
        return self._rows(batch, kept_rows(count, length, dropped, generator=generator, device=numbers.device))

    def _rows(self, batch: Batch, kept: Tensor | None) -> ByteArray:
        """The rows of some bytes, batch × kept, int64; None: of all."""
        numbers, mask = batch[self.name].long(), batch.get(f"{self.name}.mask")
        values = self.byte_embedding(numbers if kept is None else numbers.gather(1, kept))
        if self.stem is not None:
            seen = self.seen(batch, tuple(numbers.shape))
            # What the task masks byte by byte is [MASK] to convolutions; n-grams with such a byte are left out.
            known = numbers >= SPECIALS
            values = self.stem(values, numbers, known if seen is None else known & seen, seen, kept=kept)
        if mask is not None and kept is not None:
            mask = mask.gather(1, kept)
        grid = self._grid(numbers.shape[1])
        positions = grid if kept is None else PointPositions(grid.at(kept))
        if self.config.positions == "learned":
            return ByteArray((Segment(self.name, values + positions.dense(), mask=mask),))
        return ByteArray((Segment(self.name, values, positions, mask=mask),))

    def _grid(self, count: int) -> GridPositions:
        """The positions of the first bytes."""
        if self.config.positions == "learned":
            return self.position_embedding(count)
        return GridPositions((self.positions[:count],))

    # -- predicted ----------------------------------------------------------------------------------------------

    def query_segment(self, batch: Batch, *, spacing: Spacing = "linspace") -> Segment:
        count, length = batch[self.name].shape
        no_values = self.byte_embedding.weight.new_zeros(count, length, 0)
        return Segment(self.name, no_values, self._grid(length), mask=batch.get(f"{self.name}.mask"))

    def targets(self, batch: Batch) -> Tensor:
        """The number of each byte; unknown (-1) where the byte is masked in the batch."""
        numbers = batch[self.name].long()
        return numbers.masked_fill(numbers < SPECIALS, -1)

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × bytes, numbers as in the batch."""
        return rows.argmax(-1)

    # -- for people ---------------------------------------------------------------------------------------------

    def draw(self, axes: Any, batch: Batch, index: int, attention: Tensor | None = None) -> None:
        """The text, wrapped, each character on the colour of its attention."""
        length = int(lengths(batch, self.name)[index])
        shown = text_of(batch[self.name][index, :length])
        starts = np.cumsum([0] + [len(letter.encode(errors="surrogateescape")) for letter in shown])
        attended = np.zeros(length) if attention is None else attention[:length].reshape(-1).float().cpu().numpy()
        columns = max(24, round((2 * len(shown)) ** 0.5))  # a square of characters twice as tall as wide
        lines = textwrap.wrap(shown, columns, expand_tabs=False, replace_whitespace=False, drop_whitespace=False)
        box, points = axes.bbox, 72 / axes.figure.dpi
        style = {
            "ha": "center",
            "va": "center",
            "family": "monospace",
            "fontsize": 1.5 * points * min(box.width / columns, box.height / len(lines) / 2),
        }
        colours, position = np.zeros((len(lines), columns)), 0
        for row, line in enumerate(lines):
            for column, letter in enumerate(line):
                colours[row, column] = attended[starts[position]]
                axes.text(column, row, letter if letter.isprintable() else "·", **style)
                position += 1
        axes.imshow(colours, aspect=2, cmap="Reds", vmin=0, vmax=1, alpha=0.7)
        axes.set_axis_off()


def text_of(numbers: Tensor) -> str:
    """The text of the numbers of one example (bytes,): specials become ``_``, bytes that are not UTF-8 surrogates.

    >>> text_of(torch.tensor([78, 3, 201, 175]))
    'H_é'
    """
    values = torch.where(numbers < SPECIALS, ord("_"), numbers - SPECIALS)
    return bytes(values.tolist()).decode("utf-8", errors="surrogateescape")


def with_holes(numbers: Tensor) -> Tensor:
    """The numbers of one example (bytes,), in which each ``[MASK]`` of the text becomes one masked byte: int64.

    >>> text_of(with_holes(torch.tensor(list(b"c[MASK]t")) + SPECIALS))
    'c_t'
    """
    pieces = bytes((numbers - SPECIALS).clamp(min=0).tolist()).split(HOLE)
    filled = [SPECIALS + byte for byte in pieces[0]]
    for piece in pieces[1:]:
        filled += [MASK, *(SPECIALS + byte for byte in piece)]
    return torch.tensor(filled, dtype=torch.int64)
