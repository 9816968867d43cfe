"""LAMB against the optax chain of the authors' training code, in numpy."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from builders import normal
from reference import OptaxLamb
from sensorium.models.presets import build
from sensorium.models.recipe import RecipeConfig
from sensorium.training.lamb import Lamb
from sensorium.training.optimizers import optimizers, undecayed


def parameters(seed: int = 0) -> list[nn.Parameter]:
    """A matrix, a bias and one that starts at zero, as a head does."""
    return [
        nn.Parameter(normal(3, 4, seed=seed)),
        nn.Parameter(10 * normal(5, seed=seed + 1)),
        nn.Parameter(torch.zeros(2, 2, dtype=torch.float64)),
    ]


def give_gradients(params: list[nn.Parameter], step: int) -> None:
    for place, parameter in enumerate(params):
        parameter.grad = normal(*parameter.shape, seed=100 * step + place)


@given(
    rate=st.floats(1e-4, 0.3),
    decay=st.sampled_from([0.0, 0.01, 0.1]),
    betas=st.sampled_from([(0.9, 0.999), (0.9, 0.95), (0.0, 0.5)]),
    seed=st.integers(0, 99),
)
def test_five_steps_are_optaxs(rate: float, decay: float, betas: tuple[float, float], seed: int) -> None:
    """Bias-corrected Adam, then decay, then an unbounded trust ratio for every tensor, then the rate."""
    params = parameters(seed)
    expected = [parameter.detach().numpy().copy() for parameter in params]
    ours = Lamb(params, lr=rate, betas=betas, weight_decay=decay)
    theirs = [OptaxLamb(rate=rate, decay=decay, b1=betas[0], b2=betas[1]) for _ in params]
    for step in range(5):
        give_gradients(params, step)
        ours.step()
        for place, (parameter, chain) in enumerate(zip(params, theirs, strict=True)):
            assert parameter.grad is not None
            expected[place] = chain.step(expected[place], parameter.grad.numpy())
            np.testing.assert_allclose(parameter.detach().numpy(), expected[place], rtol=1e-10, atol=1e-12)


def test_the_trust_ratio_is_the_size_of_the_parameter() -> None:
    """Without decay a step moves a tensor by rate × its own norm, however long it is (no bound at 10)."""
    parameter = nn.Parameter(1000 * normal(8, 8))
    before = parameter.detach().clone()
    parameter.grad = normal(8, 8, seed=2)
    Lamb([parameter], lr=0.01).step()
    assert float((parameter - before).norm()) == pytest.approx(0.01 * float(before.norm()))


def test_zero_parameters_leave_zero() -> None:
    """A ratio of 1 where the norm is 0: a head that starts at zero learns."""
    parameter = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    parameter.grad = torch.tensor([1.0, -1.0, 2.0, -3.0], dtype=torch.float64)
    Lamb([parameter], lr=0.01).step()
    torch.testing.assert_close(parameter.data, -0.01 * parameter.grad.sign(), rtol=1e-5, atol=0)


def test_a_parameter_without_a_gradient_stays() -> None:
    """Nothing happens to it, decay neither, and the others move as they would without it."""
    moved, alone, idle = nn.Parameter(normal(3)), nn.Parameter(normal(3)), nn.Parameter(normal(4, seed=5))
    before = idle.detach().clone()
    both, one = Lamb([moved, idle], weight_decay=0.1), Lamb([alone], weight_decay=0.1)
    for step in range(3):
        moved.grad, alone.grad = normal(3, seed=step + 9), normal(3, seed=step + 9)
        both.step()
        one.step()
    assert idle.equal(before)
    assert moved.equal(alone)
    assert not Lamb([idle]).state
    Lamb([idle]).step()
    assert idle.equal(before)


def test_a_saved_state_goes_on_identically() -> None:
    """Three steps, save, load into fresh ones, two more: the same bits as five in a row. Learning rates come along."""
    straight, paused = parameters(), parameters()

    def groups(params: list[nn.Parameter]) -> list[dict[str, object]]:
        return [{"params": params[:1], "weight_decay": 0.1}, {"params": params[1:]}]

    one, two = Lamb(groups(straight), lr=0.05), Lamb(groups(paused), lr=0.05)
    for step in range(5):
        if step == 3:
            saved = copy.deepcopy(two.state_dict())
            two = Lamb(groups(paused), lr=9.0)
            two.load_state_dict(saved)
        for params, optimizer in ((straight, one), (paused, two)):
            give_gradients(params, step)
            optimizer.step()
    for first, second in zip(straight, paused, strict=True):
        assert first.equal(second)


def test_groups_have_their_own_values() -> None:
    """A group's rate and decay are its own: two groups are two optimizers."""
    together, apart = parameters(), parameters()
    one = Lamb([{"params": together[:1], "lr": 0.1, "weight_decay": 0.3}, {"params": together[1:]}], lr=0.01)
    two = [Lamb(apart[:1], lr=0.1, weight_decay=0.3), Lamb(apart[1:], lr=0.01)]
    for step in range(3):
        give_gradients(together, step)
        give_gradients(apart, step)
        one.step()
        for optimizer in two:
            optimizer.step()
    for first, second in zip(together, apart, strict=True):
        assert first.equal(second)


def test_a_closure_is_called_with_gradients_and_its_loss_returned() -> None:
    parameter = nn.Parameter(normal(3))
    optimizer = Lamb([parameter], lr=0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return float(loss)

    losses = [optimizer.step(closure) for _ in range(5)]
    assert None not in losses
    assert losses == sorted(losses, reverse=True)  # type: ignore[type-var]
    assert len(set(losses)) == 5


def test_only_biases_and_norms_do_not_decay() -> None:
    """As in the authors' ``train/experiment.py``: latents, positions, modality embeddings and mask tokens decay."""
    with torch.device("meta"):
        models = [build(name) for name in ("perceiver-io-kinetics", "perceiver-audioset-av", "perceiver-io-bytes")]
    for model in models:
        kept = undecayed(model)
        assert all(name.endswith(".bias") or "norm" in name for name in kept - {"bias"})
        assert not any(
            "norm" in name or name.endswith("bias") for name, _ in model.named_parameters() if name not in kept
        )
        (optimizer,) = optimizers(RecipeConfig(optimizer="lamb", weight_decay=0.1), model)
        decay = {id(tensor): group["weight_decay"] for group in optimizer.param_groups for tensor in group["params"]}
        assert {name for name, tensor in model.named_parameters() if not decay[id(tensor)]} == kept
        for part in ("latents", "modality_embeddings", "mask_tokens", "position_embedding"):
            assert not any(part in name for name in kept)
