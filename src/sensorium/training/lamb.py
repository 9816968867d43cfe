"""LAMB as the papers' authors composed it: Adam, then decay, then a trust ratio for every tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Lamb(torch.optim.Optimizer):
    """Layer-wise adaptive Adam (You et al. 2020) in the order of the Perceiver IO training code:

        update = adam(gradient) + weight_decay · p
        p     -= rate · (‖p‖ / ‖update‖) · update        ratio 1 where a norm is 0

    with bias-corrected moments and no bound on the ratio. (Packages on PyPI bound ‖p‖ at 10, or leave the second moment
    uncorrected.) Clip the whole gradient before calling ``step``.

    Args:
        params: tensors or groups with their own ``lr``, ``betas`` and ``weight_decay``.
    """

    def __init__(
        self,
        params: Any,
        *,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step for every parameter that has a gradient."""
        with torch.enable_grad():
            loss = closure() if closure is not None else None
        for group in self.param_groups:
            params = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not params:
                continue
            grads = [parameter.grad for parameter in params]
            for parameter in params:
                if not self.state[parameter]:
                    self.state[parameter] = {
                        "mean": torch.zeros_like(parameter),
                        "square": torch.zeros_like(parameter),
                    }
            means = [self.state[parameter]["mean"] for parameter in params]
            squares = [self.state[parameter]["square"] for parameter in params]
            group["steps"] = group.get("steps", 0) + 1
            first, second = group["betas"]
            torch._foreach_lerp_(means, grads, 1 - first)
            torch._foreach_mul_(squares, second)
            torch._foreach_addcmul_(squares, grads, grads, 1 - second)
            divisors = torch._foreach_div(squares, 1 - second ** group["steps"])
            torch._foreach_sqrt_(divisors)
            torch._foreach_add_(divisors, group["eps"])
            updates = torch._foreach_div(means, 1 - first ** group["steps"])
            torch._foreach_div_(updates, divisors)
            torch._foreach_add_(updates, params, alpha=group["weight_decay"])
            sizes, lengths = torch.stack(torch._foreach_norm(params)), torch.stack(torch._foreach_norm(updates))
            ratios = torch.where((sizes > 0) & (lengths > 0), sizes / lengths, 1.0) * -group["lr"]
            torch._foreach_mul_(updates, list(ratios.unbind()))
            torch._foreach_add_(params, updates)
        return loss
