"""The state of a run on disk: what a resumed run goes on with, and how damage to it is noticed. Never a pickle.

A checkpoint is one safetensors file. Its tensors are numbered; a note in its header is JSON that says where in the
state each of them stands and holds everything that is no tensor, and another note is a checksum of all of it. The
checkpoint before the last one is kept.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..files import replace_file
from ..models.checkpoints import read_tensors, write_tensors

LAST = Path("checkpoints", "last.safetensors")  # what a resumed run goes on with
PREVIOUS = Path("checkpoints", "previous.safetensors")  # the one before, for when the last one is damaged
CONTENT, CHECKSUM = "state", "blake2b"  # the notes in the header
_DAMAGE = (InputError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError)


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all; the one before it is kept.

    Args:
        folder: the run folder.
        state: dicts (of keys that are strings or integers), lists and tuples of tensors, numbers, strings, booleans and
            None, nested as one likes. Tensors may share memory, may be on any device and are of any dtype that
            safetensors knows; they are written as they are in memory, bit for bit.

    Raises:
        InputError: the disk is full or cannot be written to. The checkpoints are as they were.
        TypeError: something else is in the state.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_state(Path(folder), {"step": 3, "moments": {0: torch.ones(2), 1: [None, float("inf")]}})
    ...     read_state(Path(folder))
    {'step': 3, 'moments': {0: tensor([1., 1.]), 1: [None, inf]}}
    """
    tensors: list[Tensor] = []
    content = json.dumps(_described(state, tensors))
    named = {str(number): tensor for number, tensor in enumerate(_apart(tensors))}
    notes = {CONTENT: content, CHECKSUM: _checksum(content, named)}
    replace_file(folder / LAST, lambda path: write_tensors(path, named, notes), previous=folder / PREVIOUS)


def read_state(folder: Path) -> dict[str, Any] | None:
    """The state in a run's last checkpoint. If that is damaged, it is removed, and the one before it is taken; a line
    in the log says so.

    Args:
        folder: the run folder.

    Returns:
        the state, its tensors on the CPU and each with memory of its own; None: there is no checkpoint.

    Raises:
        InputError: there are checkpoints, and all of them are damaged.
    """
    damaged: list[Path] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            state = _state_in(path)
        except _DAMAGE:
            damaged.append(path)
            continue
        for other in damaged:  # it must not become the previous one when the next is written
            logging.getLogger(__name__).warning("%s: damaged, and removed; the run goes on from %s", other, path.name)
            with suppress(OSError):
                other.unlink()
        return state
    if damaged:
        raise InputError(
            f"{damaged[0]}: damaged, and there is no older checkpoint; remove the folder {damaged[0].parent} and the "
            "run begins anew with --resume"
        )
    return None


def _state_in(path: Path) -> dict[str, Any]:
    """The state in one checkpoint.

    Raises:
        InputError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError: it is damaged.
    """
    named, notes = read_tensors(path)
    if notes[CHECKSUM] != _checksum(notes[CONTENT], named):
        raise ValueError("the checksum is of another content")
    return _restored(json.loads(notes[CONTENT]), named)


def _described(value: Any, tensors: list[Tensor]) -> Any:
    """A value in JSON; its tensors are put into the list, and their numbers in their places."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return {"tensor": len(tensors) - 1}
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(f"a state cannot have the key {key!r}: only strings and integers")
        return {"dict": [[key, _described(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_described(item, tensors) for item in value]}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"a state cannot hold {type(value).__name__}: only tensors, numbers, strings, lists and dicts")


def _restored(value: Any, named: Mapping[str, Tensor]) -> Any:
    """What :func:`_described` described."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return named[str(content)]
    if kind == "dict":
        return {key: _restored(item, named) for key, item in content}
    items = [_restored(item, named) for item in content]
    return tuple(items) if kind == "tuple" else items


def _apart(tensors: list[Tensor]) -> list[Tensor]:
    """The tensors on the CPU, contiguous, no two of them with the same memory."""
    taken: set[int] = set()
    apart = []
    for tensor in tensors:
        tensor = tensor.detach().cpu().contiguous()
        if tensor.untyped_storage().data_ptr() in taken:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        apart.append(tensor)
    return apart


def _checksum(content: str, named: Mapping[str, Tensor]) -> str:
    """Of a state: of its JSON, and of each tensor's dtype, shape and bytes."""
    digest = blake2b(content.encode(), digest_size=32)
    for name in sorted(named):
        tensor = named[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
