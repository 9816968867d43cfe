"""Structured attention compiled from C: ``grid_attention.c`` called through ctypes, in float32 on the CPU.

pip builds it where there is a C compiler. Without one, and for other processors and precisions, the fallback in PyTorch
gives the same result.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MOST_AXES = 8
POINTERS = (
    *("query", "tables", "values", "scale", "mask", "sums", "marginals", "log_sum"),
    *("grad_sums", "grad_marginals", "grad_log_sum", "grad_query", "grad_tables", "grad_values", "grad_scale"),
)


class Problem(ctypes.Structure):
    """Mirrors ``Problem`` in grid_attention.c, field by field."""

    _fields_ = (
        *((name, c_int64) for name in ("batch", "heads", "latents", "channels", "rows", "axes")),
        ("shape", c_int64 * MOST_AXES),
        *((name, c_int64) for name in ("query_stride", "tables_stride")),
        *((name, c_void_p) for name in POINTERS),
    )


def _open() -> ctypes.CDLL | None:
    for path in sorted(Path(__file__).parent.glob("_grid_attention*")):
        try:
            library = ctypes.CDLL(str(path))
            library.sensorium_target_name.argtypes, library.sensorium_target_name.restype = [c_int], c_char_p
            for name in ("sensorium_grid_attention", "sensorium_grid_attention_backward"):
                function = getattr(library, name)
                function.argtypes, function.restype = [POINTER(Problem), c_int, c_int], c_int
        except (OSError, AttributeError):  # built for another machine, or an older source
            continue
        team = _team()
        if team is not None:
            library.sensorium_use_team(team)
        return library
    return None


def _team() -> Any:
    """The function of libgomp that runs work on torch's own threads, where torch has loaded libgomp (Linux)."""
    try:
        return ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW).GOMP_parallel
    except (OSError, AttributeError):
        return None


library = _open()
target = library.sensorium_targets() - 1 if library is not None else None


def name() -> str | None:
    """The vector instructions that the compiled pass uses here, such as ``AVX-512``; None: it is not built."""
    return None if library is None else library.sensorium_target_name(target).decode()


def supports(tensor: Tensor, axes: int) -> bool:
    """Whether the compiled pass computes grids of so many axes for tensors of this device and dtype."""
    return library is not None and tensor.device.type == "cpu" and tensor.dtype == torch.float32 and axes <= MOST_AXES


def forward(
    query: Tensor, tables: Tensor, values: Tensor, scale: Tensor, mask: Tensor | None, shape: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`sensorium.nn.ops.grid_attention`."""
    arguments = _arguments(query, tables, values, scale, mask)
    results = {
        "sums": query.new_empty(query.shape),
        "marginals": tables.new_empty(tables.shape),
        "log_sum": query.new_empty(query.shape[:-1]),
    }
    _call("sensorium_grid_attention", arguments | results, shape)
    return results["sums"], results["marginals"], results["log_sum"]


def backward(
    gradients: tuple[Tensor, Tensor, Tensor],
    query: Tensor,
    tables: Tensor,
    values: Tensor,
    scale: Tensor,
    mask: Tensor | None,
    log_sum: Tensor,
    shape: list[int],
    needs_rows: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As :func:`sensorium.nn.ops.fallback.backward`."""
    arguments = _arguments(query, tables, values, scale, mask) | {
        "log_sum": log_sum.contiguous(),
        "grad_sums": gradients[0].contiguous(),
        "grad_marginals": gradients[1].contiguous(),
        "grad_log_sum": gradients[2].contiguous(),
    }
    results = {
        "grad_query": query.new_empty(query.shape),
        "grad_tables": tables.new_empty(tables.shape),
        "grad_values": values.new_empty(values.shape if needs_rows else (0,)),
        "grad_scale": scale.new_empty(scale.shape if needs_rows else (0,)),
    }
    needed = {name: tensor for name, tensor in results.items() if tensor.numel()}
    _call("sensorium_grid_attention_backward", arguments | needed, shape)
    return results["grad_query"], results["grad_tables"], results["grad_values"], results["grad_scale"]


def _arguments(query: Tensor, tables: Tensor, values: Tensor, scale: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    tensors = {
        "query": _shared(query),
        "tables": _shared(tables),
        "values": values.contiguous(),
        "scale": scale.contiguous(),
    }
    return tensors if mask is None else tensors | {"mask": mask.contiguous()}


def _shared(tensor: Tensor) -> Tensor:
    """Contiguous, but for the first dimension, which may repeat one example with a stride of 0."""
    if tensor.stride(0) == 0 and tensor[0].is_contiguous():
        return tensor
    return tensor.contiguous()


def _call(function: str, tensors: dict[str, Tensor], shape: list[int]) -> None:
    """Call a function of the library. It gets addresses only, so ``tensors`` must stay alive until it returns."""
    batch, heads, latents, channels = tensors["query"].shape
    problem = Problem(
        batch=batch,
        heads=heads,
        latents=latents,
        channels=channels,
        rows=tensors["values"].shape[2],
        axes=len(shape),
        shape=(c_int64 * MOST_AXES)(*shape),
        query_stride=tensors["query"].stride(0),
        tables_stride=tensors["tables"].stride(0),
        **{name: tensor.data_ptr() for name, tensor in tensors.items()},
    )
    if getattr(library, function)(problem, target, torch.get_num_threads()):
        raise MemoryError("no memory for structured attention")
