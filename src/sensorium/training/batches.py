"""Which examples are in which batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from ..data import Samples
from ..errors import InputError

# What a worker adds to a batch: how many samples it met for it, and those that it could not read so far, by index.
MET, UNREADABLE = "met", "unreadable"


class Drawn(torch.utils.data.Dataset[dict[str, Tensor]]):
    """What the loader takes batches from: examples that cannot be read are replaced by the next ones that can."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples.drawn_from

    def __getitem__(self, indices: list[int]) -> dict[str, Tensor]:
        if get_worker_info() is None:
            return self.samples.drawn(indices)
        try:
            batch = self.samples.drawn(indices)
        except InputError:  # too many of them; the process that trains meets the same ones, and says so
            batch = {}
        return {**batch, MET: torch.tensor(len(indices)), UNREADABLE: torch.tensor(self.samples.unreadable)}

    def learn(self, batch: dict[str, Tensor]) -> None:
        """Take what a worker could not read out of its batch, and note it in this process.

        Raises:
            InputError: more than 1 % of the samples that were met cannot be read.
        """
        if MET not in batch:  # of this process, which knows what it met
            return
        self.samples.count_met(int(batch.pop(MET)))
        known = set(self.samples.unreadable)
        met = [index for index in batch.pop(UNREADABLE).tolist() if index not in known]
        if met:
            self.samples.batch(met)


class EpochBatches:
    """Which examples are in which batch: that depends on nothing but the seed and the step.

    Each epoch is a new permutation; a last batch that would be short is left out of it.

    >>> batches = EpochBatches(10, 3, seed=0)
    >>> len(batches), len(batches.of_step(0))
    (3, 3)
    >>> batches.of_step(2) == batches.of_step(5)  # the last one of the first epoch, and of the second
    False
    """

    def __init__(self, examples: int, batch_size: int, *, seed: int) -> None:
        self.examples, self.batch_size, self.seed = examples, min(batch_size, examples), seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        """The batches of an epoch."""
        return self.examples // self.batch_size

    def of_step(self, step: int) -> list[int]:
        """The indices of the examples in the batch of a step, which counts from 0 over all epochs."""
        epoch, number = divmod(step, len(self))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng((self.seed, epoch)).permutation(self.examples)
        return self._order[number * self.batch_size : (number + 1) * self.batch_size].tolist()


class Parts(torch.utils.data.Sampler[list[int]]):
    """The parts of every batch that one process takes, without end: for each step ``accumulate`` of them.

    A batch has ``processes · accumulate`` parts of about one size, in order; process r takes those from
    ``r · accumulate`` on. So two processes take the very parts that one process takes with twice ``accumulate``.

    Args:
        batches: of all processes together.
        step: the first one.
        accumulate: parts of a batch that each process takes.
        process, processes: the number of this process, and how many there are.

    Raises:
        InputError: a batch has fewer examples than parts.

    >>> parts = iter(Parts(EpochBatches(8, 4, seed=0), step=1, accumulate=2))
    >>> [*next(parts), *next(parts)] == EpochBatches(8, 4, seed=0).of_step(1)
    True
    """

    def __init__(
        self, batches: EpochBatches, *, step: int = 0, accumulate: int = 1, process: int = 0, processes: int = 1
    ) -> None:
        self.batches, self.step, self.accumulate, self.process = batches, step, accumulate, process
        self.number = accumulate * processes
        if self.number > batches.batch_size:
            raise InputError(
                f"a batch of {batches.batch_size} examples cannot have {self.number} parts (processes × "
                "recipe.accumulate); raise it with --set recipe.batch_size, or lower these"
            )

    def __iter__(self) -> Iterator[list[int]]:
        for step in count(self.step):
            parts = np.array_split(self.batches.of_step(step), self.number)
            for part in parts[self.process * self.accumulate : (self.process + 1) * self.accumulate]:
                yield part.tolist()
