"""Where a model computes."""

from __future__ import annotations

import torch

from ..codecs.bounds import memory
from ..errors import InputError


def chosen_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: as torch has it: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto``: a CUDA GPU where there is one, else the
            CPU.

    Raises:
        InputError: there is no such device here.

    >>> chosen_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise InputError(f"--device {name}: there is no such device here; use cpu or auto") from None
    return device


def device_memory() -> int:
    """The memory of the device that trains, in bytes: that of a GPU where there is one, else that this process may
    use."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    return memory()
