"""When the function behind an operator of ``torch.library`` may be called without the operator."""

from __future__ import annotations

import torch
from torch import Tensor


def runs_eagerly(tensor: Tensor) -> bool:
    """Whether nothing needs the operator: no gradients, no autocast, nothing that traces or only tracks shapes.

    The first call of an operator defined with ``torch.library.custom_op`` imports ``torch._dynamo``, which takes longer
    than everything else that ``sensorium predict`` does for one picture.
    """
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and not tensor.is_meta  # for which torch knows no autocast
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled(tensor.device.type)
        and not torch.compiler.is_compiling()
    )
