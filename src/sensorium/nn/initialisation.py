"""Initial weights (Perceiver App. C and the authors' code)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import sqrt
from typing import TypeVar

from torch import Tensor, nn

M = TypeVar("M", nn.Linear, nn.Conv2d)

# A normal truncated at two standard deviations has 0.8796 of the untruncated standard deviation.
TRUNCATION = 0.87962566103423978

_LEFT_EMPTY = ContextVar("_LEFT_EMPTY", default=False)  # set by empty_weights alone


@contextmanager
def empty_weights() -> Iterator[None]:
    """Inside, modules are built with weights of no defined value, in a fraction of the time: for weights that are
    loaded right after."""
    token = _LEFT_EMPTY.set(True)
    try:
        yield
    finally:
        _LEFT_EMPTY.reset(token)


def truncated_normal(tensor: Tensor, std: float) -> Tensor:
    """Fill the tensor in place from a normal of ``std``, truncated at two standard deviations; returns it."""
    if _LEFT_EMPTY.get():
        return tensor
    return nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)


def fan_in(linear: nn.Linear) -> nn.Linear:
    """Variance scaling: a standard deviation of sqrt(1 / inputs) after the truncation; biases are zero."""
    truncated_normal(linear.weight, sqrt(1 / linear.in_features) / TRUNCATION)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
    return linear


def lecun(linear: M) -> M:
    """For linear layers and convolutions outside attention and MLP: as :func:`fan_in`, but without the correction for
    the truncation."""
    truncated_normal(linear.weight, sqrt(1 / linear.weight[0].numel()))
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
    return linear
