"""The stem of numbers: a continuous function with a bend at each quantile."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from sensorium.config import from_dict, to_yaml
from sensorium.errors import InputError
from sensorium.nn.stems.numbers import NumberStem, NumberStemConfig

QUANTILES = [(-2.0, -0.5, 0.0, 0.25, 3.0), (0.0, 1.0, 1.0, 1.0, 2.0), ()]


def _stem(bins: int = 4) -> NumberStem:
    torch.manual_seed(0)
    return NumberStem(NumberStemConfig(bins=bins), quantiles=QUANTILES, channels=5).double()


def test_the_stem_is_its_reference() -> None:
    """Bins up to the number's count as a whole, its own in part: Gorishniy et al. 2022, equation 1."""
    stem = _stem()
    for number in (-9.0, -2.0, -1.0, -0.1, 0.0, 0.2, 1.0, 1.5, 2.9, 40.0):
        rows = stem(torch.full((1, 3), number, dtype=torch.float64))
        for column, edges in enumerate((*QUANTILES[:2], (-2.0, -1.0, 0.0, 1.0, 2.0))):
            expected = torch.zeros(5, dtype=torch.float64)
            for at, (low, high) in enumerate(pairwise(edges)):
                if number >= high and number > low:
                    expected += stem.weight[column, at]
                elif number > low:
                    expected += stem.weight[column, at] * (number - low) / (high - low)
            assert torch.allclose(rows[0, column], expected, atol=1e-9)


@pytest.mark.parametrize("bins", [1, 2, 8])
def test_any_number_of_bins_is_between_the_same_ends(bins: int) -> None:
    stem = _stem(bins)
    assert stem.edges.shape == (3, bins + 1)
    assert torch.equal(stem.edges[:, [0, -1]].float(), torch.tensor([[-2.0, 3.0], [0.0, 2.0], [-2.0, 2.0]]))
    if bins % 2 == 0:
        assert torch.equal(stem.edges[:2, bins // 2].float(), torch.tensor([0.0, 1.0]))


def test_it_can_be_described_without_memory() -> None:
    """As sizes and costs are, before a model is trained."""
    with torch.device("meta"):
        assert _stem().weight.is_meta


def test_gradients() -> None:
    stem = _stem()
    numbers = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)

    def called(numbers: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.func.functional_call(stem, {"weight": weight}, (numbers,))
        return result

    assert torch.autograd.gradcheck(called, (numbers, stem.weight))
    stem(torch.full((1, 3), 9.0, dtype=torch.float64)).sum().backward()
    assert stem.weight.grad is not None
    assert (stem.weight.grad != 0).all()


def test_configuration() -> None:
    import yaml

    config = NumberStemConfig(bins=7)
    assert from_dict(NumberStemConfig, yaml.safe_load(to_yaml(config))) == config
    with pytest.raises(InputError, match=r"^stem: give numbers a bin"):
        NumberStem(NumberStemConfig(bins=0), quantiles=QUANTILES, channels=2)
    with pytest.raises(InputError, match=r"^stem: quantiles .* must not fall"):
        NumberStem(config, quantiles=[(1.0, 0.0)], channels=2)
