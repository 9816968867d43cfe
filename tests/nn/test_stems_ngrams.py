"""The stem of byte sequences: which n-grams are in a row, and which never are."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from sensorium.config import from_dict, to_yaml
from sensorium.errors import InputError
from sensorium.nn.stems.ngrams import NGramStem, NGramStemConfig, ngram_buckets

CONFIG = NGramStemConfig(shortest=2, longest=4, buckets=997, channels=6)
WHOLE = 2**64


def _hash(ngram: list[int]) -> int:
    """As the module's docstring says, in Python's own integers."""
    base, first, second = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
    key = sum((number + 1) * base**back for back, number in enumerate(reversed(ngram))) + len(ngram) * first
    key %= WHOLE
    key = (key ^ key >> 30) * first % WHOLE
    key = (key ^ key >> 27) * second % WHOLE
    return (key ^ key >> 31) % (WHOLE // 2)


def _reference(config: NGramStemConfig, numbers: Tensor, present: Tensor) -> Tensor:
    buckets = torch.zeros(*numbers.shape, config.longest - config.shortest + 1, dtype=torch.int64)
    for example in range(len(numbers)):
        for last in range(numbers.shape[1]):
            for at, length in enumerate(range(config.shortest, config.longest + 1)):
                first = last - length + 1
                if first >= 0 and present[example, first : last + 1].all():
                    ngram = numbers[example, first : last + 1].tolist()
                    buckets[example, last, at] = 1 + _hash(ngram) % (config.buckets - 1)
    return buckets


def _inputs(length: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randint(262, (3, length), generator=generator)
    return numbers, torch.rand(3, length, generator=generator) < 0.8


def _with_random_blocks(stem: NGramStem) -> NGramStem:
    """The second convolution of a block starts at zero, so that it would do nothing."""
    for name, parameter in stem.blocks.named_parameters():
        if name.endswith("project.weight"):
            nn.init.normal_(parameter)
    return stem


@pytest.mark.parametrize("length", [1, 2, 3, 12])
def test_buckets_are_those_of_whole_ngrams(length: int) -> None:
    numbers, present = _inputs(length)
    buckets = ngram_buckets(numbers, present, CONFIG)
    assert torch.equal(buckets, _reference(CONFIG, numbers, present))
    assert buckets.any() == (length > 1)


@pytest.mark.parametrize("length", [1, 3, 12])
def test_buckets_of_some_bytes_are_those_of_all(length: int) -> None:
    numbers, present = _inputs(length)
    kept = torch.randint(length, (len(numbers), 5))
    found = ngram_buckets(numbers, present, CONFIG)
    chosen = torch.take_along_dim(found, kept[..., None], 1)
    assert torch.equal(ngram_buckets(numbers, present, CONFIG, kept=kept), chosen)


def test_hashes_spread_over_the_table() -> None:
    """As many buckets are in use as if every n-gram's were drawn at random; length and order make another n-gram."""
    config = NGramStemConfig(shortest=3, longest=3, buckets=4097)
    bytes_ = torch.arange(262 * 16)
    numbers = torch.stack([bytes_ % 262, bytes_ // 262, torch.full_like(bytes_, 9)], dim=1)
    used = ngram_buckets(numbers, torch.ones_like(numbers, dtype=torch.bool), config)[:, 2].unique()
    assert abs(len(used) / 4096 - (1 - (1 - 1 / 4096) ** len(numbers))) < 0.03
    same = torch.full((1, 6), 70)
    lengths = NGramStemConfig(shortest=1, longest=6)
    assert len(ngram_buckets(same, torch.ones_like(same, dtype=torch.bool), lengths)[0, 5].unique()) == 6


@pytest.mark.parametrize("dilations", [(), (1, 2)])
def test_the_stem_is_its_reference(dilations: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    config = NGramStemConfig(shortest=2, longest=4, buckets=97, channels=6, dilations=dilations, kernel=3)
    stem = NGramStem(config, channels=8).double()
    numbers, present = _inputs()
    rows = torch.randn(3, 12, 8, dtype=torch.float64)
    expected = rows.clone()
    for example, last in torch.cartesian_prod(torch.arange(3), torch.arange(12)).tolist():
        found = _reference(config, numbers, present)[example, last]
        for bucket in found[found > 0].tolist():
            expected[example, last] += 10 * stem.projection.weight @ stem.table[bucket] / sqrt(3)
    mask = torch.arange(12) < torch.tensor([[12], [7], [2]])
    for block in _with_random_blocks(stem).blocks:  # compared with loops over places in test_grid_stem.py
        expected = block(expected, mask)
    assert torch.allclose(stem(rows, numbers, present, mask), expected, atol=1e-12)


def test_gradients_reach_what_was_used_and_nothing_else() -> None:
    torch.manual_seed(0)
    config = NGramStemConfig(shortest=2, longest=3, buckets=50, channels=3, dilations=(1,), kernel=3)
    stem = _with_random_blocks(NGramStem(config, channels=4)).double()
    numbers, present = _inputs(6)
    rows = torch.randn(3, 6, 4, dtype=torch.float64, requires_grad=True)
    names, values = zip(*stem.named_parameters(), strict=True)
    assert torch.autograd.gradcheck(
        lambda rows, *values: torch.func.functional_call(
            stem, dict(zip(names, values, strict=True)), (rows, numbers, present, present)
        ),
        (rows, *values),
    )
    stem(rows, numbers, present, present).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in stem.parameters())
    used = ngram_buckets(numbers, present, config).unique()
    assert torch.equal(stem.table.grad.any(1).nonzero()[:, 0], used[used > 0])  # type: ignore[union-attr]


@pytest.mark.parametrize("dilations", [(), (1, 2)])
def test_absent_bytes_are_never_seen(dilations: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    stem = _with_random_blocks(NGramStem(NGramStemConfig(buckets=500, dilations=dilations), channels=8))
    numbers, present = _inputs()
    rows = torch.randn(3, 12, 8)
    absent = ~present
    other = stem(rows.masked_fill(absent[..., None], 9.0), numbers.masked_fill(absent, 5), present, present)
    assert torch.equal(stem(rows, numbers, present, present)[present], other[present])


@pytest.mark.parametrize("dilations", [(), (1, 2)])
def test_an_example_is_alone(dilations: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    stem = _with_random_blocks(NGramStem(NGramStemConfig(buckets=500, dilations=dilations), channels=8))
    numbers, _ = _inputs()
    present = torch.arange(12) < torch.tensor([[12], [7], [2]])
    rows = torch.randn(3, 12, 8)
    together = stem(rows, numbers, present, present)
    for example, length in enumerate((12, 7, 2)):
        part = (slice(example, example + 1), slice(length))
        assert torch.allclose(stem(rows[part], numbers[part], present[part], present[part]), together[part], atol=1e-6)


@pytest.mark.parametrize("dilations", [(), (1, 2)])
def test_dropout_is_in_training_alone(dilations: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    numbers, present = _inputs()
    rows = torch.randn(3, 12, 8)
    config = NGramStemConfig(buckets=500, dilations=dilations, dropout=0.25)
    stem = _with_random_blocks(NGramStem(config, channels=8))
    without = _with_random_blocks(NGramStem(replace(config, dropout=0.0), channels=8))
    without.load_state_dict(stem.state_dict())
    expected = without(rows, numbers, present, present)
    assert torch.equal(stem.eval()(rows, numbers, present, present), expected)
    first, second = (stem.train()(rows, numbers, present, present) for _ in range(2))
    assert not torch.equal(first, second)
    if not dilations:  # a channel that was left out is zero
        assert 0.1 < (first == 0).float().mean() < 0.4


def test_configuration() -> None:
    import yaml

    assert from_dict(NGramStemConfig, yaml.safe_load(to_yaml(CONFIG))) == CONFIG
    for wrong in ({"shortest": 0}, {"shortest": 4, "longest": 3}, {"buckets": 1}, {"kernel": 4}, {"dropout": 1.0}):
        with pytest.raises(InputError, match=r"^stem: .*give"):
            NGramStem(from_dict(NGramStemConfig, wrong), channels=8)
