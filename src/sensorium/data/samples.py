"""Examples become decoded samples, and samples batches. Samples are decoded once and kept in memory if they fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..codecs.bounds import memory
from ..errors import InputError
from ..modalities.base import Modality, Sample
from .examples import Examples, pick
from .stores import Loader, Memory, OnTheWay, Part, Store, bytes_of, check_problems, collate

__all__ = ["Samples", "collate", "load_samples", "memory"]

QUICK = 5e-4  # seconds an example, from which on threads are worth their while
UP_FRONT = 5.0  # seconds that decoding may take before training begins; what takes longer is decoded on the way,
LARGE = 1 << 28  # and so is what takes more bytes
_BLOCK = 256  # examples decoded between two calls of progress
_PROBED = 32  # examples whose size and time are measured before deciding


class Samples:
    """Decoded examples. ``samples.batch(indices)`` and ``samples[indices]`` are a batch, ``target`` included.

    Works with ``DataLoader(samples, sampler=BatchSampler(...), batch_size=None)``.

    Attributes:
        names: what to call each sample.
        targets: int64, n, or float32, n × k; None: unlabelled.
        drawn_from: how many examples there were before any was set aside: what :meth:`drawn` takes indices of.
    """

    def __init__(
        self,
        store: Store,
        names: Sequence[str],
        targets: Tensor | None,
        *,
        set_aside: tuple[str, ...] = (),
        kept: np.ndarray | None = None,
        drawn_from: int | None = None,
    ) -> None:
        self._store = store
        self._set_aside = set_aside
        self._kept = kept  # of all examples, those that are samples, ascending; None: all of them
        self.names = names
        self.targets = targets
        self.drawn_from = len(names) if drawn_from is None else drawn_from

    @property
    def set_aside(self) -> tuple[str, ...]:
        """One line per example that could not be read, as far as is known."""
        met = self._store.problems if isinstance(self._store, OnTheWay) else {}
        return (*self._set_aside, *(met[index] for index in sorted(met)))

    @property
    def unreadable(self) -> list[int]:
        """The indices of the samples that turned out to be unreadable on the way."""
        return sorted(self._store.problems) if isinstance(self._store, OnTheWay) else []

    @property
    def in_memory(self) -> bool:
        """Whether samples stay decoded; otherwise each batch is decoded when it is needed."""
        return self._store.fits if isinstance(self._store, OnTheWay) else True

    @property
    def are_decoded(self) -> bool:
        """Whether all samples are decoded already."""
        return isinstance(self._store, Memory)

    def count_met(self, number: int) -> None:
        """Count samples that a worker decoded: of those that were met, 1 % may be unreadable."""
        if isinstance(self._store, OnTheWay):
            self._store.count_met(number)

    def readable(self, set_aside: Sequence[str] = ()) -> Samples:
        """Those samples that are not known to be unreadable: the ones that an evaluation has scored, in its order.

        Args:
            set_aside: lines on examples of other splits, to be listed behind those on its own.
        """
        lines = (*self.set_aside, *set_aside)
        if not self.unreadable:
            return Samples(self._store, self.names, self.targets, set_aside=lines)
        kept = np.delete(np.arange(len(self)), self.unreadable)
        targets = None if self.targets is None else self.targets[kept]
        return Samples(Part(self._store, kept), pick(self.names, kept), targets, set_aside=lines)

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The samples at ``indices`` as tensors, batch first; ragged ones padded with zeros, with their masks. Samples
        that turn out to be unreadable are left out, so the batch may be smaller, or an empty dict."""
        chosen, batch = self._store.gather(torch.as_tensor(indices, dtype=torch.int64).tolist())
        if self.targets is not None and chosen:
            batch["target"] = self.targets[chosen]
        return batch

    __getitem__ = batch

    def drawn(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The batch for a training step: as :meth:`batch`, but of indices among all ``drawn_from`` examples, and in the
        place of each example that cannot be read is the next one that can. So a step has the same batch whether
        unreadable examples were set aside before training or are met on the way."""
        if self._kept is not None:
            indices = (np.searchsorted(self._kept, np.asarray(indices)) % len(self._kept)).tolist()
        chosen, batch = self._store.gather(list(indices), replace=True)
        if self.targets is not None:
            batch["target"] = self.targets[chosen]
        return batch


def load_samples(
    examples: Examples,
    modalities: Sequence[Modality],
    *,
    progress: Callable[[int, int], None] | None = None,
    budget: int | None = None,
    up_front: float | None = None,
) -> Samples:
    """Decode every example once, with a pool of threads: now, if that takes seconds and little memory, otherwise when a
    batch first needs it.

    Files that cannot be read are set aside and listed, unless they are more than 1 % of the examples that were met.

    Args:
        examples: one split of a source.
        modalities: one for each of ``examples.raws``, by name.
        progress: called with (done, total).
        budget: bytes that decoded samples may take; larger ones are decoded again for each batch. None: a third of
            RAM.
        up_front: seconds that decoding all of them now may take, by the measure of some; what takes longer is decoded
            on the way. None: five.

    Raises:
        InputError: too many files cannot be read: the first one and why.
    """
    total = len(examples)
    if not total:
        raise InputError("there are no examples to decode")
    loader = Loader(examples, tuple(modalities))
    ragged = tuple(modality.name for modality in modalities for modality in modality.modalities if modality.ragged)
    budget = memory() // 3 if budget is None else budget
    probed, problems, seconds = _probe(loader)
    loader = replace(loader, is_quick=seconds < QUICK * total)
    size = bytes_of(probed.values()) / max(1, len(probed)) * total
    fits = size <= budget
    if (size > LARGE or seconds > (UP_FRONT if up_front is None else up_front)) and probed:
        check_problems(problems.values(), met=len(probed) + len(problems), total=total)
        store = OnTheWay(loader, ragged, probed=probed, problems=problems, room=budget if fits else 0)
        return Samples(store, examples.names, _tensor(examples.targets))
    return _decoded(loader, ragged, fits=fits, probed=probed, progress=progress)


def _probe(loader: Loader) -> tuple[dict[int, Sample], dict[int, str], float]:
    """Some samples, evenly chosen; what is wrong with those of them that cannot be read; and how many seconds decoding
    all samples would take."""
    total = len(loader.examples)
    indices = np.unique(np.linspace(0, total - 1, min(total, _PROBED)).astype(int)).tolist()
    outcomes = [loader.load_one(indices[0])]  # the first one is not timed: it loads libraries
    began = time.perf_counter()
    outcomes += loader.load_many(indices[1:])
    seconds = (time.perf_counter() - began) / max(1, len(indices) - 1) * total
    found = dict(zip(indices, outcomes, strict=True))
    problems = {index: outcome for index, outcome in found.items() if isinstance(outcome, str)}
    return {index: outcome for index, outcome in found.items() if not isinstance(outcome, str)}, problems, seconds


def _decoded(
    loader: Loader,
    ragged: tuple[str, ...],
    *,
    fits: bool,
    probed: dict[int, Sample],
    progress: Callable[[int, int], None] | None,
) -> Samples:
    """All samples, decoded now; they are kept if they fit."""
    examples, total = loader.examples, len(loader.examples)
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
            if fits:
                samples.append(outcome)
        if progress is not None:
            progress(block.stop, total)
    check_problems(problems, met=total, total=total)
    kept = examples.select(readable) if problems else examples
    store: Store
    if fits:
        store = Memory(samples, ragged)
    else:
        store = OnTheWay(replace(loader, examples=kept), ragged, probed=probed, problems={}, room=0)
    return Samples(
        store,
        kept.names,
        _tensor(kept.targets),
        set_aside=tuple(problems),
        kept=np.array(readable, dtype=np.int64) if problems else None,
        drawn_from=total,
    )


def _tensor(targets: np.ndarray | None) -> Tensor | None:
    return None if targets is None else torch.from_numpy(targets)
