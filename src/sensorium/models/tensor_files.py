"""Safetensors files, one tensor at a time, so that what is written or read is never in memory as a whole. Never
pickles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError


class TensorWriter:
    """A safetensors file while it is written. (The library itself writes only what is all in memory.)

    Args:
        path: the file.
        like: tensors of the dtypes and shapes that will be written, by name; they may be on any device, or sharded.
        notes: texts that are kept in the file's header.

    Raises:
        OSError: it cannot be written: a full disk, a folder that is not there.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.safetensors")
    ...     with TensorWriter(path, {"a": torch.empty(2, device="meta")}, {"seal": "?"}) as file:
    ...         file.write("a", torch.ones(2))
    ...         file.change_note("seal", "!")
    ...     read_tensors(path), TensorReader(path).notes
    ({'a': tensor([1., 1.])}, {'seal': '!'})
    """

    def __init__(self, path: Path, like: Mapping[str, Tensor], notes: Mapping[str, str] | None = None) -> None:
        from safetensors import TensorSpec

        self._tensors: dict[str, dict[str, Any]] = {}
        end = 0
        for name in sorted(like, key=lambda name: (-like[name].dtype.itemsize, name)):  # so each is aligned
            tensor = like[name]
            start, end = end, end + tensor.numel() * tensor.dtype.itemsize
            dtype = str(tensor.dtype).removeprefix("torch.")
            spec = TensorSpec(dtype=dtype, shape=tensor.shape, data_ptr=0, data_len=end - start)
            self._tensors[name] = {"dtype": spec.dtype, "shape": spec.shape, "data_offsets": [start, end]}
        self._notes = dict(notes or {})
        self._file = path.open("wb")
        self._begin = self._write_header()

    def __enter__(self) -> TensorWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, name: str, tensor: Tensor) -> None:
        """Write a tensor that is on the CPU."""
        self._file.seek(self._begin + self._tensors[name]["data_offsets"][0])
        self._file.write(tensor_bytes(tensor))

    def change_note(self, name: str, text: str) -> None:
        """Put another text of the same length into a note."""
        assert len(text) == len(self._notes[name])
        self._notes[name] = text
        self._write_header()

    def _write_header(self) -> int:
        """Returns where it ends."""
        header = {"__metadata__": self._notes, **self._tensors} if self._notes else self._tensors
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._file.seek(0)
        return self._file.write(len(text).to_bytes(8, "little") + text)


class TensorReader:
    """A safetensors file that is open, of which nothing but the header is in memory.

    Args:
        path: the file.

    Attributes:
        names: of the tensors.
        notes: the texts in the header.

    Raises:
        InputError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self._path, self._errors = path, (OSError, SafetensorError)
        try:
            self._file: Any = safe_open(str(path), framework="pt", backend="pread")
        except self._errors as error:
            raise self._damaged(error) from None
        self.names: list[str] = list(self._file.keys())
        self.notes: dict[str, str] = dict(self._file.metadata() or {})

    def read(self, name: str) -> Tensor:
        """A tensor, with memory of its own.

        Raises:
            InputError: it cannot be read.
        """
        try:
            tensor: Tensor = self._file.get_tensor(name)
        except self._errors as error:
            raise self._damaged(error) from None
        return tensor

    def _damaged(self, error: Exception) -> InputError:
        return InputError(f"{self._path}: the weights are damaged ({error}); copy or train them again")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file, by name.

    Raises:
        InputError: it cannot be read.
    """
    file = TensorReader(path)
    return {name: file.read(name) for name in file.names}


def tensor_bytes(tensor: Tensor) -> memoryview:
    """The content of a tensor on the CPU as it is in memory, row after row."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data
