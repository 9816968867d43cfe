"""Which examples are in which batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch


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
