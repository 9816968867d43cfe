"""Rows of a table: numbers and categories, with gaps; every column is a row of the byte array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codecs.raw import Raw
from ..config import record
from ..errors import InputError, did_you_mean
from ..nn.byte_array import ByteArray, Segment
from ..nn.initialisation import truncated_normal
from ..nn.positions import LearnedPositions
from .base import Batch, Elementwise, Sample, at_least_float32, surprise
from .sequences import uniform

GAPS = frozenset({"", "?", "-", "na", "n/a", "nan", "null", "none"})
SHOWN = 16  # columns in a drawing
LABEL = 36  # letters of a column and its value beside a bar


@record
class Column:
    """A column of numbers (with their mean and std) or of categories (in order: the number of one is its place)."""

    name: str
    kind: Literal["number", "category"] = "number"
    mean: float = 0.0
    std: float = 1.0
    categories: tuple[str, ...] = ()


@record
class TableConfig:
    """What the columns are.

    Attributes:
        columns: in order.
        channels: the width of a value's embedding, and of its column's code.
        jitter: training adds noise of this standard deviation to standardised numbers.
        blank: training leaves out this share of the values.
    """

    kind: Literal["table"] = "table"
    columns: tuple[Column, ...]
    channels: int = 64
    jitter: float = 0.05
    blank: float = 0.1


class Table(Elementwise):
    """A line of a table: a row per column. Gaps are not read.

    Batch keys: ``table``, float, batch × columns: the number as it is, or the place of the category; NaN is a gap.

    >>> columns = (Column(name="age", mean=40.0, std=10.0), Column(name="city", kind="category", categories=("Rome",)))
    >>> table = Table(TableConfig(columns=columns, channels=8))
    >>> table.load({"age": "31", "city": "Rome"})["table"]
    array([31.,  0.], dtype=float32)
    >>> table.embed({"table": torch.tensor([[31.0, 0.0]])}).dense().shape
    torch.Size([1, 2, 16])
    """

    kind: ClassVar[str] = "table"
    config: TableConfig
    numeric: Tensor
    mean: Tensor
    std: Tensor
    first: Tensor

    def __init__(self, config: TableConfig, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        columns = config.columns
        sizes = [len(column.categories) for column in columns]
        for key, values in {
            "numeric": torch.tensor([column.kind == "number" for column in columns]),
            "mean": torch.tensor([column.mean for column in columns]),
            "std": torch.tensor([column.std for column in columns]),
            "first": torch.tensor([0, *sizes[:-1]]).cumsum(0),  # where each column's categories begin in the embedding
        }.items():
            self.register_buffer(key, values, persistent=False)
        # A number stretches its column's own direction; a category is a direction. Without that, numbers of different
        # columns would reach a latent as one sum.
        self.directions = nn.Parameter(truncated_normal(torch.empty(len(columns), config.channels), 1.0))
        self.categories = nn.Embedding(max(1, sum(sizes)), config.channels)
        truncated_normal(self.categories.weight, 1.0)
        self.positions = LearnedPositions(len(columns), config.channels)

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> TableConfig:
        """Columns of numbers where every value is one, else of the categories seen. Columns of gaps only stay, unread.

        Raises:
            InputError: lines differ in their columns, or a value is infinite.
        """
        names: dict[str, None] = {}
        lines = [_line(raw) for raw in raws]
        for line in lines:
            names.update(dict.fromkeys(line))
        columns = []
        for name in names:
            values = [line[name] for line in lines if name in line and not _is_gap(line[name])]
            if any(_number(value) is None for value in values):
                categories = tuple(sorted({str(value).strip() for value in values}))
                columns.append(Column(name=name, kind="category", categories=categories))
                continue
            numbers = np.array([_finite(name, value) for value in values] or [0.0])
            std = float(f"{numbers.std():.6g}") or 1.0
            columns.append(Column(name=name, mean=float(f"{numbers.mean():.6g}"), std=std))
        return TableConfig(columns=tuple(columns))

    def load(self, raw: Raw) -> Sample:
        """One line: values in the order of the columns, or by name; names that are missing are gaps, as are None, NaN,
        empty texts and categories never seen before.

        Returns:
            float32, (columns,).

        Raises:
            InputError: another number of values, an unknown name, an infinite value, a text in a column of numbers.
        """
        line = _line(raw)
        columns = self.config.columns
        if isinstance(raw, Mapping):
            names = [column.name for column in columns]
            for name in line:
                if name not in names:
                    raise InputError(f"no column is called {name!r}; {did_you_mean(name, names)}")
            cells = [line.get(name) for name in names]
        elif len(line) != len(columns):
            raise InputError(f"{len(line)} values, the model reads {len(columns)} columns; give as many")
        else:
            cells = list(line.values())
        pairs = zip(columns, cells, strict=True)
        return {self.name: np.array([_encode(column, cell) for column, cell in pairs], dtype=np.float32)}

    # -- from batches -------------------------------------------------------------------------------------------

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Noise on numbers, and gaps."""
        table = batch[self.name].float()
        noise = torch.randn(table.shape, generator=generator, device=generator.device).to(table.device)
        table = table + self.config.jitter * self.std * self.numeric * noise
        gaps = uniform(table, tuple(table.shape), 0, 1, generator) < self.config.blank
        return {**batch, self.name: table.masked_fill(gaps, nan)}

    def embed(self, batch: Batch) -> ByteArray:
        """A row per column, masked where it is a gap."""
        table = batch[self.name].float()
        present = ~table.isnan()
        table = table.masked_fill(~present, 0.0)
        numbers = ((table - self.mean) / self.std)[..., None] * self.directions
        places = torch.where(self.numeric, 0, table.long() + self.first)
        values = torch.where(self.numeric[:, None], numbers, self.categories(places))
        values = values * present[..., None]
        return ByteArray((Segment(self.name, values, self.positions(), mask=present),))

    # -- rows and signal ----------------------------------------------------------------------------------------

    @property
    def channels(self) -> int:
        return 2 * self.config.channels

    @property
    def num_rows(self) -> int:
        return len(self.config.columns)

    # -- as an answer -------------------------------------------------------------------------------------------

    @property
    def position_channels(self) -> int:
        return self.config.channels

    @property
    def value_channels(self) -> int:
        """A number, and every category of every column."""
        return 1 + len(self.categories.weight)

    def targets(self, batch: Batch) -> Tensor:
        """batch × columns: standardised numbers, and the places of categories; gaps are NaN."""
        table = batch[self.name].float()
        return torch.where(self.numeric, (table - self.mean) / self.std, table)

    def distance(self, rows: Tensor, targets: Tensor) -> Tensor:
        """The absolute difference of numbers, in standard deviations; the cross-entropy of a column's categories."""
        known = ~targets.isnan()
        numbers = (at_least_float32(rows)[..., 0] - targets.nan_to_num()).abs() * known
        places = (targets.nan_to_num(-1) + self.first).long().masked_fill(~known | self.numeric, -1)
        return torch.where(self.numeric, numbers, surprise(self._of_columns(rows), places))

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × columns, as in the batch."""
        categories = self._of_columns(rows).argmax(-1) - self.first
        return torch.where(self.numeric, rows[..., 0] * self.std + self.mean, categories.to(rows.dtype))

    def _of_columns(self, rows: Tensor) -> Tensor:
        """The scores of each column's own categories; those of the others are out of the prepared."""
        column = torch.arange(len(self.first), device=rows.device)
        of = torch.bucketize(torch.arange(rows.shape[-1] - 1, device=rows.device), self.first, right=True)
        others = F.one_hot(of - 1, len(column)).T == 0
        return rows[..., 1:].masked_fill(others & ~self.numeric[:, None], -torch.inf)

    # -- for people ---------------------------------------------------------------------------------------------

    def draw(self, axes: Any, batch: Batch, index: int, heat: Tensor | None = None) -> None:
        """Each column's name and value; bars are the heat, or the standardised numbers. Of many columns those that were
        read most, or the first."""
        values = batch[self.name][index].float().cpu()
        if heat is None:
            bars = torch.where(self.numeric.cpu(), (values - self.mean.cpu()) / self.std.cpu(), 0.0).nan_to_num()
            shown = torch.arange(len(bars))[:SHOWN]
            told, which = "standard deviations", "first"
        else:
            bars = heat.reshape(-1).float().cpu()
            shown = bars.topk(min(len(bars), SHOWN)).indices.sort().values
            axes.set_xlim(0, 1)
            told, which = "heat", "most read"
        if len(bars) > SHOWN:
            told += f", the {SHOWN} {which} of {len(bars):,} columns"
        labels = [_label(self.config.columns[place], float(values[place])) for place in shown.tolist()]
        axes.barh(np.arange(len(labels)), bars[shown], color="0.6" if heat is None else "firebrick")
        axes.set_yticks(np.arange(len(labels)), labels, parse_math=False)
        axes.invert_yaxis()
        axes.set_xlabel(told)


def _label(column: Column, value: float) -> str:
    """A column and its value, as a line that fits beside a bar."""
    if value != value:
        told = "–"
    elif column.kind == "number":
        told = f"{value:.4g}" if abs(value) < 1000 else f"{value:,.6g}"
    else:
        told = column.categories[int(value)]
    label = f"{column.name} = {told}"
    return label if len(label) <= LABEL else label[: LABEL - 1] + "…"


def _line(raw: Any) -> dict[str, Any]:
    """A line's values by name; values without names are called by their place, from 1."""
    if isinstance(raw, Mapping):
        return {str(name): value for name, value in raw.items()}
    if isinstance(raw, str | bytes) or not hasattr(raw, "__iter__"):
        raise InputError(f"a line of a table is values in order or by name, not {type(raw).__name__}")
    return {f"column {place}": value for place, value in enumerate(raw, start=1)}


def _is_gap(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and value.strip().lower() in GAPS)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _finite(name: str, value: Any) -> float:
    number = _number(value)
    if number is None or not isfinite(np.float32(number)):
        raise InputError(f"{name} = {value!r} is not a finite number; correct it, or leave it empty")
    return number


def _encode(column: Column, value: Any) -> float:
    if _is_gap(value):
        return nan
    if column.kind == "number":
        return _finite(column.name, value)
    try:
        return float(column.categories.index(str(value).strip()))
    except ValueError:
        return nan
