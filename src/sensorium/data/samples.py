"""Examples become decoded samples, and samples batches. Samples are decoded once and kept in memory if they fit."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..modalities.base import Modality, Sample
from .examples import Examples

_BLOCK = 256  # examples decoded between two calls of progress
_PROBED = 32  # examples whose size is measured before deciding whether all of them fit
_BAD_SHARE = 0.01


class _Store(Protocol):
    def gather(self, indices: Tensor) -> dict[str, Tensor]: ...


class Samples:
    """Decoded examples. ``samples.batch(indices)`` and ``samples[indices]`` are a batch, ``target`` included.

    Works with ``DataLoader(samples, sampler=BatchSampler(...), batch_size=None)``.

    Attributes:
        names: what to call each sample.
        targets: int64, n, or float32, n × k; None: unlabelled.
        set_aside: one line per file that could not be read and is not among the samples.
    """

    def __init__(
        self, store: _Store, names: Sequence[str], targets: Tensor | None, *, set_aside: tuple[str, ...] = ()
    ) -> None:
        self._store = store
        self.names = names
        self.targets = targets
        self.set_aside = set_aside

    @property
    def in_memory(self) -> bool:
        """Whether samples are kept decoded; otherwise each batch is decoded when it is needed."""
        return isinstance(self._store, _Memory)

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The samples at ``indices`` as tensors, batch first; ragged ones padded with zeros, with their masks."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        batch = self._store.gather(index)
        if self.targets is not None:
            batch["target"] = self.targets[index]
        return batch

    __getitem__ = batch


def load_samples(
    examples: Examples,
    modalities: Sequence[Modality],
    *,
    progress: Callable[[int, int], None] | None = None,
    budget: int | None = None,
) -> Samples:
    """Decode every example once, with a pool of threads.

    Files that cannot be read are set aside and listed, unless they are more than 1 % of the examples.

    Args:
        examples: one split of a source.
        modalities: one for each of ``examples.raws``, by name.
        progress: called with (done, total).
        budget: bytes that decoded samples may take; larger ones are decoded again for each batch. None: a third of
            RAM.

    Raises:
        InputError: too many files cannot be read: the first one and why.
    """
    total = len(examples)
    if not total:
        raise InputError("there are no examples to decode")
    loader = _Loader(examples, tuple(modalities))
    ragged = tuple(modality.name for modality in modalities for modality in modality.modalities if modality.ragged)
    budget = memory() // 3 if budget is None else budget
    probed = [outcome for outcome in loader.load_many(_evenly(total, _PROBED)) if not isinstance(outcome, str)]
    keep = _bytes(probed) / max(1, len(probed)) * total <= budget
    samples: list[Sample] = []
    readable: list[int] = []
    problems: list[str] = []
    for start in range(0, total, _BLOCK):
        block = range(start, min(start + _BLOCK, total))
        for index, outcome in zip(block, loader.load_many(block), strict=True):
            if isinstance(outcome, str):
                problems.append(outcome)
                continue
            readable.append(index)
            if keep:
                samples.append(outcome)
        if progress is not None:
            progress(block.stop, total)
    if len(problems) > _BAD_SHARE * total:
        more = f" ({len(problems)} of {total} examples cannot be read)" if len(problems) > 1 else ""
        raise InputError(problems[0] + more)
    kept = examples.select(readable) if problems else examples
    store: _Store = _Memory(samples, ragged) if keep else _Lazy(_Loader(kept, tuple(modalities)), ragged)
    targets = None if kept.targets is None else torch.from_numpy(kept.targets)
    return Samples(store, kept.names, targets, set_aside=tuple(problems))


def collate(samples: Sequence[Sample], *, ragged: Collection[str]) -> dict[str, Tensor]:
    """Samples as one batch.

    Args:
        samples: arrays by field; the fields of a modality start with its name.
        ragged: the names of the modalities whose first axis may differ. Their fields are padded with zeros, and
            ``<name>.mask`` (batch × length, bool, True = present) is added.

    A field that only some of the samples have is zeros in the others (of length 0 where it is ragged). A field that no
    sample has is not in the batch.

    >>> batch = collate([{"series": np.ones((2, 1))}, {"series": np.ones((3, 1))}], ragged=["series"])
    >>> batch["series"].shape, batch["series.mask"].tolist()
    (torch.Size([2, 3, 1]), [[True, True, False], [True, True, True]])
    """
    return _Memory(list(samples), ragged).gather(torch.arange(len(samples)))


def memory() -> int:
    """The memory this process may use, in bytes: the machine's, or less where a container has less."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):  # no such call on Windows
        total = 8 << 30
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return min(total, int(text)) if text.isdigit() else total


@dataclass(frozen=True)
class _Loader:
    """Decodes examples by index; of an example that cannot be decoded it says why."""

    examples: Examples
    modalities: tuple[Modality, ...]

    def load_one(self, index: int) -> Sample | str:
        """The sample, or a line that says what is wrong with the example."""
        sample: Sample = {}
        try:
            for modality in self.modalities:
                sample.update(modality.load(self.examples.raws[modality.name][index]))
        except (InputError, OSError) as error:
            return f"{self.examples.names[index]}: {error}"
        return sample

    def load_many(self, indices: Sequence[int]) -> Iterator[Sample | str]:
        """The result of ``load_one`` for each index, in order. A thread takes several indices at a time, because each
        transfer costs time."""
        workers = min(len(indices), os.cpu_count() or 1)
        size = max(1, len(indices) // (4 * workers))
        with ThreadPoolExecutor(workers) as pool:
            pieces = [indices[start : start + size] for start in range(0, len(indices), size)]
            for outcomes in pool.map(lambda piece: [self.load_one(index) for index in piece], pieces):
                yield from outcomes


class _Lazy:
    """Samples that are decoded again for each batch."""

    def __init__(self, loader: _Loader, ragged: Collection[str]) -> None:
        self._loader = loader
        self._ragged = ragged

    def gather(self, indices: Tensor) -> dict[str, Tensor]:
        samples = []
        for outcome in self._loader.load_many(indices.tolist()):
            if isinstance(outcome, str):
                raise InputError(outcome)
            samples.append(outcome)
        return collate(samples, ragged=self._ragged)


class _Memory:
    """Samples kept in memory: one array for each field; those of ragged fields are concatenated along their first axis.

    Batches are copied with numpy: a copy is limited by memory bandwidth, and torch's threads would slow it down.
    """

    def __init__(self, samples: list[Sample], ragged: Collection[str]) -> None:
        self._even: dict[str, np.ndarray] = {}
        self._flat: dict[str, np.ndarray] = {}
        fields = {field: sample[field] for sample in samples for field in sample}  # with an example of each
        self._lengths = {
            name: np.array([len(sample[name]) if name in sample else 0 for sample in samples])
            for name in ragged
            if name in fields
        }
        for field, like in fields.items():
            lengths = self._lengths.get(_owner(field))
            having = [number for number, sample in enumerate(samples) if field in sample]
            # A ragged modality may have fields that are not along its first axis (a rate, a size).
            along = lengths is not None and all(
                _is_along(samples[number][field], int(lengths[number])) for number in having
            )
            absent = np.zeros((0, *like.shape[1:]) if along else like.shape, like.dtype)
            arrays = [sample.get(field, absent) for sample in samples]
            if along and len(set(map(len, arrays))) > 1:
                self._flat[field] = np.concatenate(arrays)
            else:
                self._even[field] = np.stack(arrays)

    def gather(self, indices: Tensor) -> dict[str, Tensor]:
        chosen = indices.numpy()
        batch = {field: values[chosen] for field, values in self._even.items()}
        for field, values in self._flat.items():
            batch[field] = self._padded(values, self._lengths[_owner(field)], chosen)
        for name, lengths in self._lengths.items():
            batch[f"{name}.mask"] = np.arange(max(1, lengths[chosen].max())) < lengths[chosen][:, None]
        return {field: torch.from_numpy(values) for field, values in batch.items()}

    def _padded(self, values: np.ndarray, lengths: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The chosen samples of a ragged field, padded with zeros: batch × length × the rest of their shape."""
        ends = lengths.cumsum()[chosen]
        padded = np.zeros((len(chosen), max(1, lengths[chosen].max()), *values.shape[1:]), dtype=values.dtype)
        for number, (end, length) in enumerate(zip(ends.tolist(), lengths[chosen].tolist(), strict=True)):
            padded[number, :length] = values[end - length : end]
        return padded


def _owner(field: str) -> str:
    """The modality a field belongs to."""
    return field.partition(".")[0]


def _is_along(array: np.ndarray, length: int) -> bool:
    """Whether the first axis of an array has this length."""
    return array.ndim > 0 and len(array) == length


def _bytes(samples: Sequence[Sample]) -> int:
    return sum(array.nbytes for sample in samples for array in sample.values())


def _evenly(total: int, count: int) -> list[int]:
    return np.unique(np.linspace(0, total - 1, min(total, count)).astype(int)).tolist()
