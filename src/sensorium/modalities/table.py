"""Lines of a table: numbers and categories, with gaps; every column is a row of the byte array."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, nan
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codecs.raw import Raw
from ..config import record
from ..errors import InputError
from ..nn.byte_array import ByteArray, Segment
from ..nn.initialisation import truncated_normal
from ..nn.positions import LearnedPositions
from ..nn.stems import NumberStem, NumberStemConfig
from .base import Batch, Sample, at_least_float32, surprise
from .elementwise import Elementwise
from .sequences import uniform

GAPS = frozenset({"", "?", "-", "na", "n/a", "nan", "null", "none"})
QUANTILES = 17  # of a column, the least and the largest number among them
SHOWN = 16  # columns in a drawing
SHOWN_NAMES = 5  # columns in an error
LABEL = 36  # letters that fit beside a bar


@record
class Column:
    """A column of a table.

    Attributes:
        name: of the column.
        kind: whether it holds numbers or categories.
        mean: of the numbers, for normalisation.
        std: of the numbers.
        categories: in order; a batch holds the index of a category in this list.
        low, high: the least and the largest number in training; None: not known.
        quantiles: of the numbers in training, evenly spaced from the least to the largest; empty: not known.
    """

    name: str
    kind: Literal["number", "category"] = "number"
    mean: float = 0.0
    std: float = 1.0
    categories: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    quantiles: tuple[float, ...] = ()


@record
class TableConfig:
    """What the columns are.

    Attributes:
        columns: of the table, in order.
        channels: of the embedding of a value, and of the learned position of its column.
        stem: what is added to the row of a number, by where it lies among those of training; None: nothing.
        jitter: training adds noise of this standard deviation to normalised numbers.
        blank: training turns this share of the values into gaps.
    """

    kind: Literal["table"] = "table"
    columns: tuple[Column, ...]
    channels: int = 64
    stem: NumberStemConfig | None = None
    jitter: float = 0.05
    blank: float = 0.1

    @property
    def num_rows(self) -> int:
        return len(self.columns)

    @property
    def elements_per_row(self) -> int:
        return 1

    @property
    def position_channels(self) -> int:
        return self.channels

    @property
    def num_categories(self) -> int:
        """The categories of all columns; at least 1."""
        return max(1, sum(len(column.categories) for column in self.columns))

    @property
    def value_channels(self) -> int:
        """A number, and every category of every column."""
        return 1 + self.num_categories

    @property
    def row_channels(self) -> int:
        return 2 * self.channels


class Table(Elementwise[TableConfig]):
    """A line of a table: a row for each column. The rows of gaps are masked.

    Batch keys: ``table``, float, batch × columns: the number as it is, or the index of the category; NaN is a gap.

    >>> columns = (Column(name="age", mean=40.0, std=10.0), Column(name="city", kind="category", categories=("Rome",)))
    >>> table = Table(TableConfig(columns=columns, channels=8))
    >>> table.load({"age": "31", "city": "Rome"})["table"]
    array([31.,  0.], dtype=float32)
    >>> table.embed({"table": torch.tensor([[31.0, 0.0]])}).dense().shape
    torch.Size([1, 2, 16])
    """

    kind: ClassVar[str] = "table"
    array_axes: ClassVar[int] = 1
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
        # A number scales a learned vector of its column; a category is a vector. With one vector for all columns,
        # numbers of different columns would reach a latent as one sum.
        self.directions = nn.Parameter(truncated_normal(torch.empty(len(columns), config.channels), 1.0))
        self.categories = nn.Embedding(config.num_categories, config.channels)
        truncated_normal(self.categories.weight, 1.0)
        self.positions = LearnedPositions(len(columns), config.channels)
        self.stem: NumberStem | None = None
        if config.stem is not None:
            quantiles = [[(value - column.mean) / column.std for value in column.quantiles] for column in columns]
            self.stem = NumberStem(config.stem, quantiles=quantiles, channels=config.channels)

    # -- from files ---------------------------------------------------------------------------------------------

    @classmethod
    def measure(cls, raws: Sequence[Raw]) -> TableConfig:
        """The columns: of numbers where every value is a number, and else of the categories that occur. A column that
        has only gaps counts as one of numbers.

        Raises:
            InputError: a line is not a line of a table, or a value is infinite.
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
            low, high = (float(numbers.min()), float(numbers.max())) if values else (None, None)
            mean = float(f"{numbers.mean():.6g}")
            quantiles = np.quantile(numbers, np.linspace(0, 1, QUANTILES)) if values else ()
            rounded = tuple(float(f"{value:.9g}") for value in quantiles)
            columns.append(Column(name=name, mean=mean, std=std, low=low, high=high, quantiles=rounded))
        return TableConfig(columns=tuple(columns))

    def load(self, raw: Raw) -> Sample:
        """One line.

        Args:
            raw: values in the order of the columns, or by name. Names that are missing are gaps, and so are None, NaN,
                empty texts and categories that ``measure`` has not seen; other names are left out.

        Returns:
            float32, (columns,).

        Raises:
            InputError: another number of values, no name that is known, an infinite value, or text in a column of
                numbers.
        """
        line = _line(raw)
        columns = self.config.columns
        if isinstance(raw, Mapping):
            names = [column.name for column in columns]
            if not any(name in names for name in line):
                close = difflib.get_close_matches(next(iter(line), ""), names, n=1)
                wanted = ", ".join(names[:SHOWN_NAMES]) + (", …" if len(names) > SHOWN_NAMES else "")
                cure = f"did you mean {close[0]!r}?" if close else "rename them"
                raise InputError(f"none of its columns is one that the model reads ({wanted}); {cure}")
            cells = [line.get(name) for name in names]
        elif len(line) != len(columns):
            raise InputError(f"{len(line)} values, the model reads {len(columns)} columns; give as many")
        else:
            cells = list(line.values())
        pairs = zip(columns, cells, strict=True)
        return {self.name: np.array([_encode(column, cell) for column, cell in pairs], dtype=np.float32)}

    def is_example(self, shape: tuple[int, ...]) -> bool:
        return shape == (len(self.config.columns),)

    def remarks(self, raw: Raw) -> tuple[str, ...]:
        """Columns that are missing, categories that never occurred in training, and numbers further outside the
        training's range than it is wide.

        >>> table = Table(TableConfig(columns=(Column(name="age", low=20.0, high=60.0),), channels=8))
        >>> table.remarks({"Age": 31}), table.remarks({"age": 90})
        (("column 'age' is missing and was taken as a gap; there is 'Age'",), ())
        >>> table.remarks({"age": 310})
        ("column 'age': 310 is far outside of 20 to 60, the range in training",)
        """
        columns = self.config.columns
        if not isinstance(raw, Mapping):
            return tuple(filter(None, map(_remark, columns, _line(raw).values())))
        line = _line(raw)
        extra = set(line) - {column.name for column in columns}
        found = [
            _remark(column, line[column.name]) if column.name in line else _missing(column.name, extra)
            for column in columns
        ]
        return tuple(filter(None, found))

    # -- from batches -------------------------------------------------------------------------------------------

    def augment(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Noise on numbers, and gaps."""
        table = batch[self.name].float()
        noise = torch.randn(table.shape, generator=generator, device=generator.device).to(
            table.device, non_blocking=True
        )
        table = table + self.config.jitter * self.std * self.numeric * noise
        gaps = uniform(table, tuple(table.shape), 0, 1, generator) < self.config.blank
        return {**batch, self.name: table.masked_fill(gaps, nan)}

    def embed(self, batch: Batch) -> ByteArray:
        """A row for each column, masked where it is a gap."""
        table = batch[self.name].float()
        present = ~table.isnan()
        table = table.masked_fill(~present, 0.0)
        normalised = (table - self.mean) / self.std
        numbers = normalised[..., None] * self.directions
        if self.stem is not None:
            numbers = numbers + self.stem(normalised)
        categories = torch.where(self.numeric, 0, table.long() + self.first)
        values = torch.where(self.numeric[:, None], numbers, self.categories(categories))
        values = values * present[..., None]
        return ByteArray((Segment(self.name, values, self.positions(), mask=present),))

    # -- predicted ----------------------------------------------------------------------------------------------

    def targets(self, batch: Batch) -> Tensor:
        """batch × columns: normalised numbers and the indices of categories; gaps are NaN."""
        table = batch[self.name].float()
        return torch.where(self.numeric, (table - self.mean) / self.std, table)

    def distance(self, rows: Tensor, targets: Tensor) -> Tensor:
        """The absolute difference of numbers, in standard deviations; the cross-entropy of a column's categories."""
        known = ~targets.isnan()
        numbers = (at_least_float32(rows)[..., 0] - targets.nan_to_num()).abs() * known
        categories = (targets.nan_to_num(-1) + self.first).long().masked_fill(~known | self.numeric, -1)
        return torch.where(self.numeric, numbers, surprise(self._of_columns(rows), categories))

    def restore(self, rows: Tensor, batch: Batch) -> Tensor:
        """batch × columns, as in the batch."""
        categories = self._of_columns(rows).argmax(-1) - self.first
        return torch.where(self.numeric, rows[..., 0] * self.std + self.mean, categories.to(rows.dtype))

    def _of_columns(self, rows: Tensor) -> Tensor:
        """The scores of each column's own categories; those of other columns' categories are -inf."""
        column = torch.arange(len(self.first), device=rows.device)
        of = torch.bucketize(torch.arange(rows.shape[-1] - 1, device=rows.device), self.first, right=True)
        others = F.one_hot(of - 1, len(column)).T == 0
        return rows[..., 1:].masked_fill(others & ~self.numeric[:, None], -torch.inf)

    # -- for people ---------------------------------------------------------------------------------------------

    def draw(self, axes: Any, batch: Batch, index: int, attention: Tensor | None = None) -> None:
        """The name and value of each column; bars are the attention, or the normalised numbers. Of many columns, the
        most attended or the first ones."""
        values = batch[self.name][index].float().cpu()
        if attention is None:
            bars = torch.where(self.numeric.cpu(), (values - self.mean.cpu()) / self.std.cpu(), 0.0).nan_to_num()
            shown = torch.arange(len(bars))[:SHOWN]
            caption, which = "standard deviations", "first"
        else:
            bars = attention.reshape(-1).float().cpu()
            shown = bars.topk(min(len(bars), SHOWN)).indices.sort().values
            axes.set_xlim(0, 1)
            caption, which = "attention", "most attended"
        if len(bars) > SHOWN:
            caption += f", the {SHOWN} {which} of {len(bars):,} columns"
        labels = [_label(self.config.columns[index], float(values[index])) for index in shown.tolist()]
        axes.barh(np.arange(len(labels)), bars[shown], color="0.6" if attention is None else "firebrick")
        axes.set_yticks(np.arange(len(labels)), labels, parse_math=False)
        axes.invert_yaxis()
        axes.set_xlabel(caption)


def _label(column: Column, value: float) -> str:
    """A column and its value, as a line that fits beside a bar."""
    if value != value:
        text = "–"
    elif column.kind == "number":
        text = f"{value:.4g}" if abs(value) < 1000 else f"{value:,.6g}"
    else:
        text = column.categories[int(value)]
    label = f"{column.name} = {text}"
    return label if len(label) <= LABEL else label[: LABEL - 1] + "…"


def _line(raw: Any) -> dict[str, Any]:
    """A line's values by name; values without names are numbered from 1."""
    if isinstance(raw, Mapping):
        return {str(name): value for name, value in raw.items()}
    if isinstance(raw, str | bytes) or not hasattr(raw, "__iter__"):
        raise InputError(f"a line of a table is values in order or by name, not {type(raw).__name__}")
    return {f"column {number}": value for number, value in enumerate(raw, start=1)}


def _is_gap(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and value.strip().lower() in GAPS)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):  # an integer of 400 digits
        return None


def _finite(name: str, value: Any) -> float:
    number = _number(value)
    if number is None or not isfinite(np.float32(number)):
        raise InputError(f"{name} = {value!r} is not a finite number; correct it, or leave it empty")
    return number


def _missing(name: str, extra: Iterable[str]) -> str:
    """The remark on a column that is missing, with the one that may be meant."""
    alike = {other.casefold(): other for other in extra}
    close = difflib.get_close_matches(name.casefold(), alike, n=1)
    return f"column {name!r} is missing and was taken as a gap" + (f"; there is {alike[close[0]]!r}" if close else "")


def _remark(column: Column, value: Any) -> str:
    """The remark on a value unlike those of training; empty: there is none."""
    if _is_gap(value):
        return ""
    if column.kind == "category":
        text = str(value).strip()
        if text in column.categories:
            return ""
        return f"column {column.name!r}: {text!r} did not occur in training and was taken as a gap"
    number = _number(value)
    if number is None or column.low is None or column.high is None:
        return ""
    width = column.high - column.low
    if column.low - width <= number <= column.high + width:
        return ""
    return (
        f"column {column.name!r}: {number:.6g} is far outside of {column.low:.6g} to {column.high:.6g}, "
        "the range in training"
    )


def _encode(column: Column, value: Any) -> float:
    if _is_gap(value):
        return nan
    if column.kind == "number":
        return _finite(column.name, value)
    try:
        return float(column.categories.index(str(value).strip()))
    except ValueError:
        return nan
