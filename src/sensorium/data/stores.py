"""Where decoded samples are: all in memory, or decoded when a batch first needs them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from ..errors import InputError
from ..modalities.base import Modality, Sample
from ..processes import cores
from ..threads import thread_pool
from .examples import Examples

BAD_SHARE = 0.01  # of the examples that were met, that may be unreadable
FEWEST_MET = 1000  # as many are taken for met from the beginning on: the first of a million may be unreadable


class Store(Protocol):
    """Decoded samples by index."""

    def gather(self, indices: Sequence[int], *, replace: bool = False) -> tuple[list[int], dict[str, Tensor]]:
        """The samples at ``indices`` as one batch, and their indices. A sample that cannot be read is left out, or,
        with ``replace``, the next one that can be read is in its place. A batch of no samples is an empty dict."""


@dataclass(frozen=True)
class Loader:
    """Decodes examples by index; of an example that cannot be decoded it says why.

    Attributes:
        examples: of a split.
        modalities: one for each of their raws, by name.
        is_quick: whether an example takes less time than handing it to a thread is worth.
    """

    examples: Examples
    modalities: tuple[Modality, ...]
    is_quick: bool = False

    def load_one(self, index: int) -> Sample | str:
        """The sample, or a line that says what is wrong with the example."""
        sample: Sample = {}
        try:
            for modality in self.modalities:
                raw = self.examples.raws[modality.name][index]
                if raw is None:
                    raise InputError(f"it has no {modality.name}; fill it in or remove the example")
                sample.update(modality.load(raw))
        except (InputError, OSError) as error:
            return f"{self.examples.names[index]}: {error}"
        return sample

    def load_many(self, indices: Sequence[int]) -> Iterator[Sample | str]:
        """The result of ``load_one`` for each index, in order. A thread takes several indices at a time, because each
        transfer costs time."""
        if self.is_quick:
            yield from map(self.load_one, indices)
            return
        threads = cores()
        size = max(1, len(indices) // (4 * threads))
        pieces = [indices[start : start + size] for start in range(0, len(indices), size)]
        load = _pool(os.getpid(), threads).map if threads > 1 else map
        for outcomes in load(lambda piece: [self.load_one(index) for index in piece], pieces):
            yield from outcomes


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """The threads of this process that decode. A process that was forked has none of those of its parent, so each
    process has its own."""
    return thread_pool(threads)


class Memory:
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

    def gather(self, indices: Sequence[int], *, replace: bool = False) -> tuple[list[int], dict[str, Tensor]]:
        chosen = np.asarray(indices, dtype=np.int64)
        batch = {field: values[chosen] for field, values in self._even.items()}
        for field, values in self._flat.items():
            batch[field] = self._padded(values, self._lengths[_owner(field)], chosen)
        for name, lengths in self._lengths.items():
            batch[f"{name}.mask"] = np.arange(max(1, lengths[chosen].max())) < lengths[chosen][:, None]
        return list(indices), {field: torch.from_numpy(values) for field, values in batch.items()}

    def _padded(self, values: np.ndarray, lengths: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The chosen samples of a ragged field, padded with zeros: batch × length × the rest of their shape."""
        ends = lengths.cumsum()[chosen]
        padded = np.zeros((len(chosen), max(1, lengths[chosen].max()), *values.shape[1:]), dtype=values.dtype)
        for number, (end, length) in enumerate(zip(ends.tolist(), lengths[chosen].tolist(), strict=True)):
            padded[number, :length] = values[end - length : end]
        return padded


class OnTheWay:
    """Samples that are decoded when a batch first needs them, and kept while there is room. Once all are there, they
    become a :class:`Memory`.

    Args:
        loader: decodes them.
        ragged: as for :func:`collate`.
        probed: some decoded samples by index; they show which fields there are.
        problems: why some samples cannot be read, by index.
        room: the bytes that kept samples may take; 0: none is kept.

    Attributes:
        fits: whether samples are kept.
        problems: why some samples cannot be read, by index, as far as is known.
    """

    def __init__(
        self,
        loader: Loader,
        ragged: Collection[str],
        *,
        probed: dict[int, Sample],
        problems: dict[int, str],
        room: int,
    ) -> None:
        self.problems, self.fits = dict(problems), room > 0
        self._loader, self._ragged, self._room = loader, ragged, room
        self._kept: dict[int, Sample] = {}
        self._keep(probed)
        with_field = {field: sample for sample in probed.values() for field in sample}
        self._prototypes = list({id(sample): sample for sample in with_field.values()}.values())
        self._memory: tuple[Memory, np.ndarray] | None = None
        self._met = len(probed) + len(problems)
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=Lock())

    def gather(self, indices: Sequence[int], *, replace: bool = False) -> tuple[list[int], dict[str, Tensor]]:
        chosen = list(indices)
        total = len(self._loader.examples)
        found = self._load(chosen)
        if replace:
            while bad := [index for index in chosen if index in self.problems]:
                following = {index: (index + 1) % total for index in bad}
                chosen = [following.get(index, index) for index in chosen]
                found |= self._load(list(following.values()))
        chosen = [index for index in chosen if index not in self.problems]
        if not chosen:
            return chosen, {}
        if self._memory is not None:
            memory, positions = self._memory
            return chosen, memory.gather(positions[chosen].tolist())[1]
        return chosen, self._collated([found[index] for index in chosen])

    def count_met(self, number: int) -> None:
        """Count samples that another process met."""
        self._met += number

    def _load(self, indices: Sequence[int]) -> dict[int, Sample]:
        """The samples at those of ``indices`` that can be read; nothing where all samples are in memory.

        Raises:
            InputError: more than 1 % of the samples that were met cannot be read.
        """
        kept = self._kept
        if self._memory is not None:
            return {}
        found = {index: kept[index] for index in indices if index in kept}
        wanted = [index for index in dict.fromkeys(indices) if index not in found and index not in self.problems]
        if not wanted:
            return found
        for index, outcome in zip(wanted, self._loader.load_many(wanted), strict=True):
            if isinstance(outcome, str):
                self.problems[index] = outcome
            else:
                found[index] = outcome
        total = len(self._loader.examples)
        self._met += len(wanted)
        # A worker does not know what others met; the process that it works for does, and stops in time.
        met = self._met if get_worker_info() is None else total
        check_problems(self.problems.values(), met=met, total=total)
        with self._lock:
            if self._memory is not None:
                return found
            self._keep(found)
            if self._kept and len(self._kept) + len(self.problems) == total:
                order = sorted(self._kept)
                positions = np.zeros(total, np.int64)
                positions[order] = np.arange(len(order))
                self._memory = Memory([self._kept[index] for index in order], self._ragged), positions
                self._kept = {}
        return found

    def _keep(self, samples: Mapping[int, Sample]) -> None:
        for index, sample in samples.items():
            size = 0 if index in self._kept else bytes_of([sample])
            if size <= self._room:
                self._kept[index] = sample
                self._room -= size

    def _collated(self, samples: list[Sample]) -> dict[str, Tensor]:
        """A batch with all fields that the probed samples have."""
        fields = {field for sample in samples for field in sample}
        models = [sample for sample in self._prototypes if not fields.issuperset(sample)]
        return Memory([*samples, *models], self._ragged).gather(range(len(samples)))[1]


@dataclass(frozen=True)
class Part:
    """Those samples of another store that are at ``indices``."""

    store: Store
    indices: np.ndarray

    def gather(self, indices: Sequence[int], *, replace: bool = False) -> tuple[list[int], dict[str, Tensor]]:
        return list(indices), self.store.gather(self.indices[np.asarray(indices)].tolist(), replace=replace)[1]


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
    return Memory(list(samples), ragged).gather(range(len(samples)))[1]


def check_problems(problems: Collection[str], *, met: int, total: int) -> None:
    """Refuse data of which more than 1 % cannot be read, of those examples that were met so far.

    Args:
        problems: a line on each example that cannot be read.
        met: how many examples were met; those that are met again count again.
        total: how many there are.

    Raises:
        InputError: the first of the problems.
    """
    if len(problems) > BAD_SHARE * min(total, max(met, FEWEST_MET)):
        more = f" ({len(problems)} of {min(met, total)} examples cannot be read)" if len(problems) > 1 else ""
        raise InputError(next(iter(problems)) + more)


def _owner(field: str) -> str:
    """The modality a field belongs to."""
    return field.partition(".")[0]


def _is_along(array: np.ndarray, length: int) -> bool:
    """Whether the first axis of an array has this length."""
    return array.ndim > 0 and len(array) == length


def bytes_of(samples: Iterable[Sample]) -> int:
    """The memory that samples take."""
    return sum(array.nbytes for sample in samples for array in sample.values())
