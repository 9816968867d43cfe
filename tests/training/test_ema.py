"""The moving average of the weights."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sensorium.training.ema import Ema


def after(steps: int, *, decay: float) -> tuple[nn.Linear, Ema]:
    """Weights of all ones, and an average of all zeros after so many steps: the next one is the step to look at."""
    model = nn.Linear(3, 2, dtype=torch.float64)
    ema = Ema(model, decay=decay)
    for parameter in ema.module.parameters():
        nn.init.zeros_(parameter)
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    ema.updates = steps - 1
    return model, ema


@given(decay=st.floats(0, 1), steps=st.integers(1, 10**6))
def test_a_step_moves_by_the_share_of_the_formula(decay: float, steps: int) -> None:
    """ema <- ema + (1 - d)(weights - ema) with d = min(decay, n / (n + 9)); the weights stay."""
    model, ema = after(steps, decay=decay)
    ema.update(model)
    share = 1 - min(decay, steps / (steps + 9))
    assert ema.module.weight.equal(torch.zeros_like(model.weight).lerp(model.weight, share))
    assert (model.weight == 1).all()


def test_many_steps_are_bit_for_bit_the_sum_written_out() -> None:
    """In float32, from the very first step, with weights that change all the time; buffers are copied."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))
    ema = Ema(model, decay=0.9)
    expected = [parameter.detach().clone() for parameter in model.parameters()]
    for step in range(200):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
            for average, parameter in zip(expected, model.parameters(), strict=True):
                average.lerp_(parameter, 1 - min(0.9, (1 + step) / (10 + step)))
        model(torch.randn(6, 5))
        ema.update(model)
    for average, parameter in zip(expected, ema.module.parameters(), strict=True):
        assert average.equal(parameter)
    for ours, theirs in zip(ema.module.buffers(), model.buffers(), strict=True):
        assert ours.equal(theirs)


def test_the_limits_of_averaging() -> None:
    """No decay copies the weights; the initial weights are soon forgotten."""
    model, ema = after(10**6, decay=0.0)
    ema.update(model)
    assert ema.module.weight.equal(model.weight)
    model, ema = after(1, decay=0.9999)
    for _ in range(50):
        ema.update(model)
    torch.testing.assert_close(ema.module.weight, model.weight, atol=1e-3, rtol=0)


def test_averages_do_not_learn() -> None:
    """Nothing of the average has a gradient, and the weights still have theirs."""
    model, ema = after(100, decay=0.5)
    ema.update(model)
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
