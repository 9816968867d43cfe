"""The stem of pairs of frames: which pixels are compared, and what a row depends on."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from sensorium.config import from_dict, to_dict
from sensorium.errors import InputError
from sensorium.nn.stems import MatchStem, MatchStemConfig
from sensorium.nn.stems.matches import matches_of

CONFIG = MatchStemConfig(channels=6, features=4, reach=2, blocks=1)


def frames(*, height: int = 5, width: int = 7) -> Tensor:
    return torch.randn(3, 2, height, width, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


def built() -> MatchStem:
    """A stem in float64 whose every weight is random, so that its blocks do something."""
    torch.manual_seed(0)
    stem = MatchStem(CONFIG).double()
    for parameter in stem.parameters():
        nn.init.normal_(parameter, std=0.5)
    return stem


@pytest.mark.parametrize(("height", "width", "reach"), [(5, 7, 2), (1, 6, 3), (4, 4, 1)])
def test_matches_are_products_with_the_pixels_around(height: int, width: int, reach: int) -> None:
    first, second = torch.randn(2, 3, height, width, 4, dtype=torch.float64).unbind()
    around = range(-reach, reach + 1)
    expected = torch.zeros(3, height, width, len(around) ** 2, dtype=torch.float64)
    for down, across in product(range(height), range(width)):
        for number, (step_down, step_across) in enumerate(product(around, around)):
            there = down + step_down, across + step_across
            if 0 <= there[0] < height and 0 <= there[1] < width:
                products = (first[:, down, across] * second[:, there[0], there[1]]).sum(-1)
                expected[:, down, across, number] = products / 4**0.5
    torch.testing.assert_close(matches_of(first, second, reach=reach), expected)


def test_the_displacement_of_a_sharp_match_is_expected() -> None:
    """Where features match at one place only, the softmax points there."""
    stem = built()
    shares = torch.full((25,), -100.0)
    shares[5 * (2 + 1) + (2 - 2)] = 100.0  # one pixel down, two to the left
    assert torch.equal(shares.softmax(-1) @ stem.displacements.float(), torch.tensor([0.5, -1.0]))


def test_a_row_for_each_pixel_that_depends_on_its_own_example() -> None:
    stem, both = built(), frames()
    rows = stem(both)
    assert rows.shape == (3, 35, 6)
    torch.testing.assert_close(stem(both[1:2]), rows[1:2])
    other = both.clone()
    other[0] += 1
    torch.testing.assert_close(stem(other)[1:], rows[1:])


def test_rows_depend_on_both_frames_within_reach() -> None:
    """Two convolutions of 3 × 3 over a frame, a reach of 2, and two convolutions over the matches: 6 pixels."""
    stem, both = built(), frames(height=1, width=20).requires_grad_()
    stem(both)[0, 0].sum().backward()
    assert both.grad is not None
    touched = both.grad[0].abs().sum((1, 3)) > 0
    assert touched[0].nonzero().max() == 4
    assert touched[1].nonzero().max() == 6


def test_gradients() -> None:
    stem, both = built(), frames(height=2, width=3)
    names, values = zip(*stem.named_parameters(), strict=True)
    assert torch.autograd.gradcheck(
        lambda both, *values: torch.func.functional_call(stem, dict(zip(names, values, strict=True)), (both,)),
        (both[:1].requires_grad_(), *values),
        fast_mode=True,
    )
    stem(both).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in stem.parameters())


def test_configuration() -> None:
    assert from_dict(MatchStemConfig, to_dict(CONFIG)) == CONFIG
    for name in ("channels", "features", "reach"):
        with pytest.raises(InputError, match=r"^stem: .*positive"):
            MatchStem(from_dict(MatchStemConfig, {name: 0}))
