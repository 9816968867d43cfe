"""The state of a run on disk: what a resumed run goes on with, and how damage to it is noticed. Never a pickle.

A checkpoint is one safetensors file. Its tensors are numbered; a note in its header is JSON that says where in the
state each of them stands and holds everything that is no tensor, and another note is a checksum of all of it. The
checkpoint before the last one is kept.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..files import replace_file
from ..models.tensor_files import TensorReader, TensorWriter, tensor_bytes
from ..processes import as_in_main, decided_by_main, gathered, is_dtensor, is_main

LAST = Path("checkpoints", "last.safetensors")  # what a resumed run goes on with
PREVIOUS = Path("checkpoints", "previous.safetensors")  # the one before, for when the last one is damaged
SHARE = 0.01  # of the time of training that writing may take in its place
CONTENT, CHECKSUM = "state", "blake2b"  # the notes in the header
_DAMAGE = (InputError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a checkpoint, which is read when it is needed.

    Attributes:
        name: in the file.
        dtype, shape: of the tensor.
        file: the checkpoint; None: this is not the main process, which alone reads it.
    """

    name: str
    dtype: torch.dtype
    shape: torch.Size
    file: TensorReader | None

    def read(self) -> Tensor:
        """The tensor on the CPU, with memory of its own, in every process. All of them must call this."""
        tensor = torch.empty(self.shape, dtype=self.dtype) if self.file is None else self.file.read(self.name)
        as_in_main([tensor.reshape(-1).view(torch.uint8)])
        return tensor


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all; the one before it is kept. All processes must call this; the main one
    writes, and gathers one sharded tensor at a time.

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
    ...     state = read_state(Path(folder))
    ...     state["step"], state["moments"][0].read(), state["moments"][1]
    (3, tensor([1., 1.]), [None, inf])
    """
    _write(folder, *_parts(state))


class StateWriter:
    """Writes the checkpoints of a run, as :func:`write_state` does. Where that takes more than 1 % of the time of
    training, a copy of the state is written while the training goes on; but sharded tensors, which the processes gather
    together, are never written meanwhile.

    Args:
        folder: the run folder.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, StateWriter(Path(folder)) as writer:
    ...     writer.write({"step": 1}, seconds=300.0)
    ...     read_state(Path(folder))
    {'step': 1}
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._taken = folder, 0.0  # seconds that writing took
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def __enter__(self) -> StateWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def write(self, state: Mapping[str, Any], *, seconds: float, is_last: bool = False) -> None:
        """Write a checkpoint when the one before is written.

        Args:
            state: of the run.
            seconds: of training since the one before.
            is_last: whether to wait until it is written.

        Raises:
            InputError: this or the one before cannot be written.
        """
        if self._writing is not None:
            self._writing.result()
        content, tensors = _parts(state)
        if is_last or self._taken <= SHARE * seconds or any(map(is_dtensor, tensors)) or not is_main():
            self._writing = None
            self._timed(lambda: write_state(self._folder, state))
        else:
            copies = [_copy(tensor) for tensor in tensors]
            self._writing = self._thread.submit(self._timed, lambda: _write(self._folder, content, copies))

    def _timed(self, write: Callable[[], None]) -> None:
        began = time.monotonic()
        write()
        self._taken = time.monotonic() - began


def _parts(state: Mapping[str, Any]) -> tuple[str, list[Tensor]]:
    """A state as JSON and its tensors."""
    tensors: list[Tensor] = []
    return json.dumps(_described(state, tensors)), tensors


def _copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU."""
    return torch.empty_like(tensor, device="cpu").copy_(tensor)


def _write(folder: Path, content: str, tensors: list[Tensor]) -> None:
    """Write the parts of a state."""
    named = {str(number): tensor for number, tensor in enumerate(tensors)}

    def write(path: Path) -> None:
        checksum = _Checksum(content)
        with TensorWriter(path, named, {CONTENT: content, CHECKSUM: checksum.text()}) as file:
            for name in sorted(named):
                tensor = gathered(named[name])
                checksum.add(name, tensor)
                file.write(name, tensor)
            file.change_note(CHECKSUM, checksum.text())

    if is_main():
        replace_file(folder / LAST, write, previous=folder / PREVIOUS)
    else:
        for name in sorted(named):
            if is_dtensor(named[name]):
                gathered(named[name])


def read_state(folder: Path) -> dict[str, Any] | None:
    """The state in a run's last checkpoint. If that is damaged, it is removed, and the one before it is taken; a line
    in the log says so. All processes must call this; the main one reads.

    Args:
        folder: the run folder.

    Returns:
        the state, with a :class:`StoredTensor` for each tensor; None: there is no checkpoint.

    Raises:
        InputError: there are checkpoints, and all of them are damaged.
    """
    found = decided_by_main(lambda: _undamaged(folder))
    if found is None:
        return None
    path, content, kinds = found
    file = TensorReader(path) if is_main() else None
    state: dict[str, Any] = _restored(json.loads(content), lambda name: StoredTensor(name, *kinds[name], file))
    return state


_Kinds = dict[str, tuple[torch.dtype, torch.Size]]  # of tensors, by name


def _undamaged(folder: Path) -> tuple[Path, str, _Kinds] | None:
    """The checkpoint to go on from, its description, and what its tensors are like."""
    damaged: list[Path] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            content, kinds = _checked(path)
        except _DAMAGE:
            damaged.append(path)
            continue
        for other in damaged:  # it must not become the previous one when the next is written
            logging.getLogger(__name__).warning("%s: damaged, and removed; the run goes on from %s", other, path.name)
            with suppress(OSError):
                other.unlink()
        return path, content, kinds
    if damaged:
        raise InputError(
            f"{damaged[0]}: damaged, and there is no older checkpoint; remove the folder {damaged[0].parent} and the "
            "run begins anew with --resume"
        )
    return None


def _checked(path: Path) -> tuple[str, _Kinds]:
    """The description in a checkpoint, and what its tensors are like, if the whole of it is undamaged.

    Raises:
        InputError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError: it is damaged.
    """
    file = TensorReader(path)
    content, kinds = file.notes[CONTENT], {}
    checksum = _Checksum(content)
    for name in sorted(file.names):
        tensor = file.read(name)
        checksum.add(name, tensor)
        kinds[name] = (tensor.dtype, tensor.shape)
    if file.notes[CHECKSUM] != checksum.text():
        raise ValueError("the checksum is of another content")
    _restored(json.loads(content), kinds.__getitem__)
    return content, kinds


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


def _restored(value: Any, tensor: Callable[[str], Any]) -> Any:
    """What :func:`_described` described, with what ``tensor`` gives for the name of each tensor."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensor(str(content))
    if kind == "dict":
        return {key: _restored(item, tensor) for key, item in content}
    items = [_restored(item, tensor) for item in content]
    return tuple(items) if kind == "tuple" else items


class _Checksum:
    """Of a state: of its JSON, and of each tensor's name, dtype, shape and bytes.

    Args:
        content: the JSON.
    """

    def __init__(self, content: str) -> None:
        self._digest = blake2b(content.encode(), digest_size=32)

    def add(self, name: str, tensor: Tensor) -> None:
        """Go on with a tensor, in the order of the names."""
        self._digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        self._digest.update(tensor_bytes(tensor))

    def text(self) -> str:
        """Of all so far."""
        return self._digest.hexdigest()
