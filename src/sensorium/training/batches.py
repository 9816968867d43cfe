"""Which examples are in which batch."""

from __future__ import annotations

from collections.abc import Iterator

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


class EpochBatches(torch.utils.data.Sampler[list[int]]):
    """Lists of example indices, in an order that depends on nothing but the seed and the epoch.

    Each epoch is a new permutation; a last batch that would be short is left out of it.
    """

    def __init__(self, examples: int, batch_size: int, *, seed: int) -> None:
        self.examples, self.batch_size, self.seed, self.epoch = examples, min(batch_size, examples), seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the engine at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.examples // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.examples)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield order[start : start + self.batch_size].tolist()
