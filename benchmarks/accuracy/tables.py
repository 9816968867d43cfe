"""Tables of values, written as CSV with a column of splits, and what gradient boosting makes of them.

Four come with scikit-learn, the others are made by a formula; nothing is downloaded.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split

from sensorium.files import replace_file

TEST = 0.25  # of the rows
PLACES = ("coast", "hills", "plain", "town")
HEATINGS = ("gas", "none", "oil")


@dataclass(frozen=True)
class Table:
    """A table and what is predicted of its rows.

    Attributes:
        values: rows × columns; NaN: a gap; a number in ``words`` stands for each of them.
        names: of the columns.
        target: a class, which is an integer, or a number for each row.
        words: by column, what its numbers 0, 1, … are called, where it holds words.
    """

    values: np.ndarray
    names: tuple[str, ...]
    target: np.ndarray
    words: dict[str, tuple[str, ...]]

    @property
    def of_classes(self) -> bool:
        """Whether a class is predicted, not a number."""
        return np.issubdtype(self.target.dtype, np.integer)


def split_rows(table: Table, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the rows to train on and to test on; classes keep their shares."""
    labels = table.target if table.of_classes else None
    train, test = train_test_split(np.arange(len(table.target)), test_size=TEST, random_state=seed, stratify=labels)
    return np.sort(train), np.sort(test)


def write_csv(table: Table, seed: int, path: Path) -> None:
    """Write the table with the columns ``target`` and ``split``; a gap is an empty cell."""
    _, test = split_rows(table, seed)
    splits = np.full(len(table.target), "train")
    splits[test] = "test"
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*table.names, "target", "split"])
    for row, target, split in zip(table.values, table.target, splits, strict=True):
        cells = [_cell(value, table.words.get(name)) for name, value in zip(table.names, row, strict=True)]
        writer.writerow([*cells, f"class {target}" if table.of_classes else f"{target:.6g}", split])
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8"))


def _cell(value: float, words: tuple[str, ...] | None) -> str:
    if np.isnan(value):
        return ""
    return f"{value:.6g}" if words is None else words[int(value)]


def boosted(table: Table, seed: int) -> float:
    """What scikit-learn's gradient boosting, with its own defaults, scores on the test rows after training on all
    others: accuracy, or R² of numbers."""
    train, test = split_rows(table, seed)
    kind = HistGradientBoostingClassifier if table.of_classes else HistGradientBoostingRegressor
    categorical = np.array([name in table.words for name in table.names])
    model = kind(categorical_features=categorical, random_state=seed)
    return float(model.fit(table.values[train], table.target[train]).score(table.values[test], table.target[test]))


def _packed(loaded: tuple[np.ndarray, np.ndarray], prefix: str) -> Table:
    """Columns of numbers without names."""
    values, target = loaded
    return Table(values, tuple(f"{prefix}{number}" for number in range(values.shape[1])), target, {})


def _named(bunch: datasets._base.Bunch) -> Table:  # type: ignore[name-defined]
    return Table(bunch.data, tuple(name.replace(" ", "_") for name in bunch.feature_names), bunch.target, {})


def houses(count: int = 3000) -> Table:
    """Made prices of houses, as tables of them are: places that matter in steps, skewed numbers, gaps, words, noise."""
    random = np.random.default_rng(0)
    place, heating = random.integers(0, len(PLACES), count), random.integers(0, len(HEATINGS), count)
    income, age = random.lognormal(1.2, 0.4, count), random.uniform(0, 60, count)
    north, east = random.uniform(-1, 1, (2, count))
    rooms = random.poisson(4, count) + 1
    area = 22 * rooms * random.lognormal(0, 0.2, count)
    worth = 0.35 * income + 0.01 * area + np.array([1.6, 0.6, 0.0, 0.9])[place] - 0.012 * age * (heating == 1)
    worth += np.exp(-4 * ((north - 0.4) ** 2 + (east + 0.3) ** 2)) + np.where(age > 45, 0.4, 0.0)
    price = np.exp(0.3 * worth + random.normal(0, 0.08, count))
    numbers = np.stack([income, age, north, east, rooms, area], axis=1)
    numbers[random.random(numbers.shape) < 0.04] = np.nan
    names = ("income", "age", "north", "east", "rooms", "area", "place", "heating")
    words = {"place": PLACES, "heating": HEATINGS}
    return Table(np.column_stack([numbers, place, heating]), names, price, words)


TABLES: dict[str, Callable[[], Table]] = {
    "breast_cancer": lambda: _named(datasets.load_breast_cancer()),
    "wine": lambda: _named(datasets.load_wine()),
    "diabetes": lambda: _named(datasets.load_diabetes()),
    "digits": lambda: _packed(datasets.load_digits(return_X_y=True), "dot_"),
    "friedman1": lambda: _packed(datasets.make_friedman1(2000, noise=1.0, random_state=0), "x"),
    "clusters": lambda: _packed(
        datasets.make_classification(
            2000, 20, n_informative=8, n_redundant=0, n_classes=4, class_sep=1.2, random_state=0
        ),
        "x",
    ),
    "houses": houses,
    "rings": lambda: _packed(datasets.make_circles(1000, noise=0.1, factor=0.6, random_state=0), "x"),
}
