"""Reading the authors' pickles: only arrays in mappings, and no code in them is run."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError

_ARRAY = object()  # in place of numpy.ndarray, which a pickle may name but not call


def _empty(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """An array for a pickle to fill: its ``__setstate__`` takes shape, dtype and bytes."""
    return np.empty(0, np.uint8)


def _jax_array(make: Any, arguments: Any, state: Any, jax_state: Any) -> np.ndarray:
    """A jax array, which is pickled as a numpy array and more, which is left out."""
    array = _empty(*arguments)
    array.__setstate__(state)
    return array


def _from_bytes(
    data: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Any, axes: tuple[int, ...] | None = None
) -> np.ndarray:
    """An array from its bytes; with ``axes``, a transposed array in the order in which numpy keeps it (order K)."""
    array = np.frombuffer(data, dtype)
    return array.reshape(shape, order=order) if axes is None else array.reshape(shape).transpose(axes)


def _scalar(dtype: np.dtype, data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(())


# All names that a pickle may use, and what stands for them. numpy 2 has moved some of them.
ALLOWED: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "numpy.ndarray": _ARRAY,
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray._reconstruct": _empty,
    "numpy._core.multiarray._reconstruct": _empty,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_bytes,
    "numpy._core.numeric._frombuffer": _from_bytes,
    "jax._src.array._reconstruct_array": _jax_array,
    "jax._src.device_array.reconstruct_device_array": _jax_array,
    "jax.interpreters.xla.reconstruct_device_array": _jax_array,
    "haiku._src.data_structures.FlatMapping": dict,
    "haiku._src.data_structures.FlatMap": dict,
    "haiku._src.data_structures.frozendict": dict,
}


class _Unpickler(pickle.Unpickler):
    """Arrays in plain containers. Any other name in a pickle is refused before anything is built from it."""

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{module}.{name}"
        if full_name not in ALLOWED:
            raise InputError(
                f"the pickle asks for {full_name}, which is no array; no code was run, do not trust the file"
            )
        return ALLOWED[full_name]


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The arrays of one of the authors' pickles, by haiku's names: ``params``, and ``state`` where it has one.

    Raises:
        InputError: it is damaged, or holds anything but arrays of numbers.
    """
    try:
        with path.open("rb") as file:
            content = _Unpickler(file).load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(f"{path}: not a whole pickle ({type(error).__name__}); get it again") from None
    content = content if isinstance(content, Mapping) else {}
    parts = (content["params"], content.get("state") or {}) if "params" in content else (content,)
    arrays: dict[str, Tensor] = {}
    for part in parts:
        for name, values in _leaves(part):
            if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
                raise InputError(f"{path}: {name or 'it'} is no array of numbers; give the file of a checkpoint")
            arrays[name] = torch.from_numpy(values.astype(np.float32 if values.dtype.kind == "f" else np.int64))
    return arrays


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested mappings, with the path to each."""
    if not isinstance(tree, Mapping):
        yield name, tree
        return
    for key, branch in tree.items():
        yield from _leaves(branch, f"{name}/{key}" if name else str(key))
