"""Which precision trains faster here."""

from __future__ import annotations

import copy
import math
import time
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ..models.perceiver import Perceiver

Precision: TypeAlias = Literal["float32", "bfloat16"]

REPEATS = 3
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def faster_precision(model: Perceiver, batch: dict[str, Tensor]) -> Precision:
    """The precision in which a forward and backward pass takes less time: the best of three each. The model is left as
    it was."""
    model = copy.deepcopy(model)  # because a batch norm would count these passes
    # Prepared as in training: an evaluation may ask for more outputs than gradients have room for.
    prepared = model.prepare(model.inputs.view(batch), torch.Generator().manual_seed(0))
    times = dict.fromkeys(DTYPES, math.inf)
    for precision, dtype in DTYPES.items():
        for _ in range(REPEATS):
            start = time.perf_counter()
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                output = model(prepared.inputs, prepared.query_indices).output
                loss = model.loss(output, prepared.targets)
            loss.backward()
            times[precision] = min(times[precision], time.perf_counter() - start)
        model.zero_grad(set_to_none=True)
    return min(times, key=lambda precision: times[precision])
