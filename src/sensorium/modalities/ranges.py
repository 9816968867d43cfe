"""The ranges of measured values, such as those of satellites and scanners, which become [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

Ranges: TypeAlias = tuple[tuple[float, float], ...]

UNUSUAL = 0.5  # by which share of their mean the spans of examples may differ before each has a range of its own
_CUT_OFF = 0.5  # percent of the values, at either end


def ranges_of(examples: Sequence[np.ndarray]) -> Ranges:
    """The range of each channel, without half a percent of the values at either end.

    Args:
        examples: each channels × …; NaN is left out.

    >>> ranges_of([np.arange(201.0).reshape(1, 201)])
    ((1.0, 199.0),)
    """
    channels = np.concatenate([example.reshape(len(example), -1) for example in examples], axis=1)
    found = []
    for values in channels:
        present = values[~np.isnan(values)]
        low, high = np.percentile(present, [_CUT_OFF, 100 - _CUT_OFF]) if len(present) else (0.0, 1.0)
        if not high > low:
            low, high = (float(present.min()), float(present.max())) if len(present) else (0.0, 1.0)
        found.append((float(f"{low:.6g}"), float(f"{high:.6g}")))
    return tuple((low, high) if high > low else (low, low + 1.0) for low, high in found)


def scaled(values: np.ndarray, ranges: Ranges | None) -> np.ndarray:
    """Values (channels × …) in [0, 1]: float32; those beyond the range are cut off, NaN is 0.

    Args:
        ranges: of each channel; None: those of these values.

    >>> scaled(np.array([[-1.0, 5.0, 20.0, np.nan]]), ((0.0, 10.0),)).tolist()
    [[0.0, 0.5, 1.0, 0.0]]
    """
    low, high = np.array(ranges or ranges_of([values]), np.float32).T.reshape(2, -1, *[1] * (values.ndim - 1))
    return np.nan_to_num(((values - low) / (high - low)).clip(0, 1).astype(np.float32), nan=0.0)


def unscaled(values: np.ndarray, ranges: Ranges | None) -> np.ndarray:
    """What :func:`scaled` made of values (channels × …) in their own units again; as they are without ranges.

    >>> unscaled(np.array([[0.0, 0.5]]), ((-1.0, 1.0),)).tolist()
    [[-1.0, 0.0]]
    """
    if ranges is None:
        return values
    low, high = np.array(ranges, np.float32).T.reshape(2, -1, *[1] * (values.ndim - 1))
    return values * (high - low) + low
