"""Muon's products at once are torch's one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sensorium.training import muon
from sensorium.training.muon import Muon, orthogonalised, shared_out

SHAPES = ((12, 12), (8, 20), (12, 12), (20, 8), (12, 5), (3, 32), (12, 12))


def matrices(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def test_steps_are_those_of_torch() -> None:
    """Weights and state after five steps, as far as bfloat16 tells; a matrix without a gradient stays as it is."""
    ours, theirs = ([nn.Parameter(matrix) for matrix in matrices()] for _ in range(2))
    one = Muon(ours, lr=0.02, weight_decay=0.1)
    other = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(5):
        for parameter, same, gradient in zip(ours[:-1], theirs[:-1], matrices(step + 1)[:-1], strict=True):
            parameter.grad, same.grad = gradient, gradient.clone()
        one.step()
        other.step()
    for parameter, same in zip(ours, theirs, strict=True):
        torch.testing.assert_close(parameter, same, rtol=0, atol=0.02 * 0.05)  # a step changes weights by about 0.02
    assert torch.equal(ours[-1], matrices()[-1])
    state = other.state_dict()
    for number, values in one.state_dict()["state"].items():
        torch.testing.assert_close(values["momentum_buffer"], state["state"][number]["momentum_buffer"])
    one.load_state_dict(state)


def test_singular_values_become_one_and_vectors_stay() -> None:
    """Up to what five iterations in bfloat16 leave."""
    for matrix, result in zip(matrices(), orthogonalised(matrices()), strict=True):
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        turned = u.mT @ result @ v.mT
        assert ((turned.diagonal() - 1).abs() < 0.5).all()
        assert (turned - turned.diagonal().diag()).abs().max() < 0.05


@pytest.mark.parametrize("count", [2, 3])
def test_shares_of_processes_make_the_whole(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each matrix is computed by one process, and the sum over them is what one process has."""
    shares: list[Tensor] = []
    monkeypatch.setattr(muon, "world_size", lambda: count)
    monkeypatch.setattr(muon, "total", lambda flat: shares.append(flat) or flat)
    for number in range(count):
        monkeypatch.setattr(muon, "rank", lambda number=number: number)
        shared_out(matrices())
    computed = torch.stack(shares) != 0
    assert computed.sum(0).max() == 1
    whole = torch.cat([result.flatten() for result in orthogonalised(matrices())])
    torch.testing.assert_close(torch.stack(shares).sum(0), whole, rtol=0.02, atol=0.02)
