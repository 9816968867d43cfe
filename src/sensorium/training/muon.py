"""Muon for many small matrices: those of one shape are orthogonalised together, and processes share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from ..processes import is_dtensor, rank, total, world_size

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic polynomial (Jordan et al. 2024), as torch's
ITERATIONS = 5
LEAST_NORM = 1e-7


class Muon(torch.optim.Muon):
    """What ``torch.optim.Muon`` computes (Jordan et al. 2024), with its state, in fewer and larger products.

    Products of small matrices one by one cost more than the same products at once. Each of several processes
    orthogonalises its share of the matrices. The rate of a matrix is in proportion to the root of its longer side, so
    that AdamW's fits (Liu et al. 2025).

    Matrices that are sharded go torch's way, one by one, over the shards.

    Args:
        params: matrices.
        lr: learning rate.
        weight_decay: decoupled, as AdamW's.
    """

    def __init__(self, params: Any, *, lr: float, weight_decay: float) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step for every matrix that has a gradient."""
        if any(is_dtensor(parameter) for group in self.param_groups for parameter in group["params"]):
            return super().step(closure)
        with torch.enable_grad():
            loss = closure() if closure is not None else None
        for group in self.param_groups:
            params = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not params:
                continue
            gradients = [parameter.grad for parameter in params]
            for parameter in params:
                if not self.state[parameter]:
                    self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            averages = [self.state[parameter]["momentum_buffer"] for parameter in params]
            torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
            updates = shared_out(torch._foreach_lerp(gradients, averages, group["momentum"]))
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_mul_(updates, [-group["lr"] * 0.2 * sqrt(max(update.shape)) for update in updates])
            torch._foreach_add_(params, updates)
        return loss


def shared_out(matrices: Sequence[Tensor]) -> list[Tensor]:
    """:func:`orthogonalised` matrices, each computed by one of the processes; the same in all of them."""
    count = world_size()
    if count == 1:
        return orthogonalised(matrices)
    # Neighbours in this order have one shape: every process gets about the same number of each.
    order = sorted(range(len(matrices)), key=lambda index: sorted(matrices[index].shape))
    own = order[rank() :: count]
    results = [torch.zeros_like(matrix) for matrix in matrices]
    for index, result in zip(own, orthogonalised([matrices[index] for index in own]), strict=True):
        results[index] = result
    flat = total(torch.cat([result.flatten() for result in results]))  # one of the terms is not zero
    parts = flat.split([matrix.numel() for matrix in matrices])
    return [part.view_as(matrix) for part, matrix in zip(parts, matrices, strict=True)]


def orthogonalised(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Matrices whose singular vectors are those of ``matrices`` and whose singular values are all about 1, by five
    iterations of Newton and Schulz in bfloat16.

    >>> (result,) = orthogonalised([torch.diag(torch.tensor([1.0, 0.5, 0.2]))])
    >>> bool((result.diagonal() - 1).abs().max() < 0.4)
    True
    """
    results: list[Tensor] = list(matrices)
    shapes = {tuple(sorted(matrix.shape)) for matrix in matrices}
    for shape in sorted(shapes):
        members = [index for index, matrix in enumerate(matrices) if tuple(sorted(matrix.shape)) == shape]
        wide = torch.stack([_wide(matrices[index]) for index in members]).bfloat16()
        wide /= torch.linalg.matrix_norm(wide, keepdim=True).clamp(min=LEAST_NORM)  # singular values of at most 1
        first, second, third = COEFFICIENTS
        for _ in range(ITERATIONS):
            gram = wide @ wide.mT
            wide = torch.baddbmm(wide, torch.baddbmm(gram, gram, gram, beta=second, alpha=third), wide, beta=first)
        for index, result in zip(members, wide.unbind(), strict=True):
            matrix = matrices[index]
            results[index] = (result if matrix.shape == result.shape else result.mT).to(matrix.dtype)
    return results


def _wide(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
