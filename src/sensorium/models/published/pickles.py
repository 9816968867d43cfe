"""The authors' pickles, read as arrays in mappings and nothing else: nothing in them is run."""

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

_ARRAY = object()  # stands for numpy.ndarray, which a pickle may name and not call


def _empty(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """An array for a pickle to fill: its ``__setstate__`` takes shape, kind of numbers and bytes."""
    return np.empty(0, np.uint8)


def _array(make: Any, arguments: Any, state: Any, about: Any) -> np.ndarray:
    """An array of jax, which is pickled as numpy's and some words about it."""
    array = _empty(*arguments)
    array.__setstate__(state)
    return array


def _from_bytes(
    data: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Any, axes: tuple[int, ...] | None = None
) -> np.ndarray:
    """An array of numbers in a row; order K: in the order of ``axes``, as numpy keeps transposed arrays."""
    array = np.frombuffer(data, dtype)
    return array.reshape(shape, order=order) if axes is None else array.reshape(shape).transpose(axes)


def _scalar(dtype: np.dtype, data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(())


# All that a pickle may name, and what it gets. New names of old places (numpy 2) are the same things.
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
    "jax._src.array._reconstruct_array": _array,
    "jax._src.device_array.reconstruct_device_array": _array,
    "jax.interpreters.xla.reconstruct_device_array": _array,
    "haiku._src.data_structures.FlatMapping": dict,
    "haiku._src.data_structures.FlatMap": dict,
    "haiku._src.data_structures.frozendict": dict,
}


class _Unpickler(pickle.Unpickler):
    """Arrays in plain containers. Whatever else a pickle names is refused, before anything is made of it."""

    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}"
        if wanted not in ALLOWED:
            raise InputError(f"the pickle asks for {wanted}, which is no array; nothing of it was run, do not trust it")
        return ALLOWED[wanted]


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The arrays of one of the authors' pickles, by haiku's names: ``params``, and ``state`` where it has one."""
    try:
        with path.open("rb") as file:
            content = _Unpickler(file).load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # of a damaged pickle anything may come
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
    """What is in mappings of mappings, by the path to it."""
    if not isinstance(tree, Mapping):
        yield name, tree
        return
    for key, below in tree.items():
        yield from _leaves(below, f"{name}/{key}" if name else str(key))
