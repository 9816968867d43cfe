"""Tables: columns found, gaps, unknown categories, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from sensorium.config import from_dict, to_yaml
from sensorium.errors import InputError
from sensorium.modalities.table import Column, Table, TableConfig
from sensorium.nn.stems.numbers import NumberStemConfig

LINES = [
    {"age": "30", "city": "Rome", "empty": None},
    {"age": 50.0, "city": "Oslo", "empty": ""},
    {"age": "n/a", "city": None, "empty": float("nan")},
]


def table() -> Table:
    return Table(Table.measure(LINES))


def test_measure() -> None:
    age, city, empty = table().config.columns
    quantiles = tuple(30 + 1.25 * number for number in range(17))
    assert age == Column(name="age", mean=40.0, std=10.0, low=30.0, high=50.0, quantiles=quantiles)
    assert (city.kind, city.categories) == ("category", ("Oslo", "Rome"))
    assert empty == Column(name="empty")


def test_read() -> None:
    read = table().load
    assert np.array_equal(read(LINES[1])["table"], np.array([50, 0, np.nan], np.float32), equal_nan=True)
    assert np.array_equal(read(["30", "Rome", None])["table"], read(LINES[0])["table"], equal_nan=True)
    assert np.isnan(read({"age": 1.0, "city": "Atlantis"})["table"]).tolist() == [False, True, True]


def test_rows_are_columns_and_gaps_are_masked() -> None:
    both = table()
    batch = {"table": torch.from_numpy(np.stack([both.load(line)["table"] for line in LINES]))}
    segment = both.embed(batch).segments[0]
    assert segment.mask is not None
    assert segment.mask.tolist() == [[True, True, False], [True, True, False], [False, False, False]]
    assert torch.equal(segment.values[0, 0], -both.directions[0])
    assert torch.equal(segment.values[0, 1], both.categories.weight[1])
    assert segment.values[2].abs().sum() == 0


def test_categories_of_two_columns_do_not_mix() -> None:
    columns = tuple(Column(name=name, kind="category", categories=("yes", "no")) for name in "ab")
    both = Table(TableConfig(columns=columns, channels=4))
    values = both.embed({"table": torch.zeros(1, 2)}).segments[0].values
    assert torch.equal(values[0], both.categories.weight[[0, 2]])


def test_augment_leaves_categories_whole() -> None:
    both = table()
    batch = {"table": torch.tensor([[30.0, 1.0, 0.0]]).repeat(500, 1)}
    varied = both.augment(batch, torch.Generator().manual_seed(0))["table"]
    assert set(varied[:, 1].nan_to_num(-1).tolist()) == {-1.0, 1.0}
    assert 0.05 < varied.isnan().float().mean() < 0.15
    assert varied[:, 0].nan_to_num(30).std() > 0.1


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ([1.0], "1 values, the model reads 3"),
        ({"agee": 1.0}, "did you mean 'age'"),
        ({"age": "old"}, "age = 'old' is not a finite number"),
        ({"age": "inf"}, "not a finite number"),
        ("30,Rome", "not str"),
        (3.0, "not float"),
    ],
)
def test_bad_input(raw: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        table().load(raw)  # type: ignore[arg-type]


def test_examples_of_training_have_no_remarks() -> None:
    """Neither gaps nor the least and the largest number are odd."""
    numbers = np.random.default_rng(0).normal(size=(50, 2))
    lines = [{"a": float(a), "b": float(b), "c": "xy"[int(a > 0)], "d": 7} for a, b in numbers]
    lines[3]["c"] = None  # type: ignore[assignment]
    both = Table(Table.measure(lines))
    assert not any(both.remarks(line) for line in lines)
    assert not any(both.remarks(list(line.values())) for line in lines)
    least, largest = numbers[:, 0].min(), numbers[:, 0].max()
    width = largest - least
    for outside, is_odd in ((0.9, False), (1.1, True)):
        assert [
            bool(both.remarks([number, 0, "x", 7])) for number in (least - outside * width, largest + outside * width)
        ] == [is_odd] * 2


def test_a_configuration_without_ranges_has_no_remarks_on_numbers() -> None:
    """Those of older runs."""
    old = from_dict(TableConfig, {"columns": [{"name": "age", "mean": 40, "std": 10}]})
    assert Table(old).remarks({"age": 1e9}) == ()


@pytest.mark.parametrize(("shape", "is_example"), [((3,), True), ((2,), False), ((3, 3), False), ((1, 3), False)])
def test_shapes_of_examples(shape: tuple[int, ...], is_example: bool) -> None:
    assert table().is_example(shape) == is_example


def test_a_stem_adds_to_numbers_and_to_nothing_else() -> None:
    """Categories, gaps, sizes, positions and targets are as without it; so are numbers, once its weights are zero."""
    torch.manual_seed(0)
    plain = table()
    stemmed = Table(replace(plain.config, stem=NumberStemConfig(bins=4)))
    assert from_dict(TableConfig, yaml.safe_load(to_yaml(stemmed.config))) == stemmed.config
    assert stemmed.stem is not None
    stemmed.load_state_dict({**plain.state_dict(), "stem.weight": stemmed.stem.weight})
    batch = {"table": torch.tensor([[35.0, 1.0, torch.nan], [torch.nan, 0.0, 3.0], [50.0, torch.nan, torch.nan]])}
    one, other = (modality.embed(batch).segments[0] for modality in (plain, stemmed))
    added = other.values - one.values
    expected = stemmed.stem.weight[0].detach()
    assert torch.allclose(added[0, 0], expected[0], atol=1e-6), "35 is the first of three quartiles"
    assert torch.allclose(added[2, 0], expected.sum(0), atol=1e-6), "50 is the largest"
    assert added[1, 2].any()
    assert not added[:, 1].any()
    assert not added[batch["table"].isnan()].any()
    assert one.mask is not None
    assert other.mask is not None
    assert torch.equal(one.mask, other.mask)
    assert torch.equal(plain.targets(batch).nan_to_num(-7), stemmed.targets(batch).nan_to_num(-7))
    assert (stemmed.channels, stemmed.value_channels) == (plain.channels, plain.value_channels)
    assert torch.equal(plain.query_segment(batch).dense(), stemmed.query_segment(batch).dense())
    alone = stemmed.embed({"table": batch["table"][:1]}).dense()
    assert torch.allclose(alone[0], stemmed.embed(batch).dense()[0], atol=1e-6)
    torch.nn.init.zeros_(stemmed.stem.weight)
    assert torch.equal(stemmed.embed(batch).dense(), plain.embed(batch).dense())
