"""Streams in training: every example once an epoch, whichever processes and workers decode it, and after a resume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from torch.utils.data import DataLoader

from sensorium.codecs.tars import TarWriter
from sensorium.data import Samples, load_samples, open_source
from sensorium.data.description import DataConfig, TargetConfig
from sensorium.errors import InputError
from sensorium.modalities.base import Modality, Sample
from sensorium.training.batches import Drawn, EpochBatches

RANKS, WORKERS, BATCH, EPOCHS = 2, 2, 8, 2


class Number:
    """A modality whose signal is a number, written as text; a text without one cannot be read."""

    name, ragged = "text", False
    modalities: tuple[Any, ...] = ()

    def load(self, raw: bytes) -> Sample:
        if not raw.isdigit():
            raise InputError("there is no number in it")
        return {self.name: np.array(int(raw))}


def shards(folder: Path, count: int, *, unreadable: tuple[int, ...] = ()) -> Samples:
    """Numbers in three shards, decoded when they are needed and kept nowhere."""
    for first in range(3):
        writer = TarWriter(folder / f"data-{first}.tar")
        for number in range(first, count, 3):
            writer.add(f"{number:04}.txt", b"none" if number in unreadable else str(number).encode())
        writer.close()
    source = open_source(folder, description=DataConfig(target=TargetConfig(task="none"), val=0.0))
    examples = source.splits["train"].joined(list(source.splits.values()))
    return load_samples(examples, [cast(Modality, Number())], up_front=-1, budget=0)


def global_batches(batches: EpochBatches) -> Iterator[list[int]]:
    """The batches of all processes together, over some epochs."""
    for epoch in range(EPOCHS):
        if hasattr(batches, "of_step"):
            yield from (batches.of_step(step) for step in range(epoch * len(batches), (epoch + 1) * len(batches)))
        else:
            batches.set_epoch(epoch)
            yield from batches


def numbers_of(rank: int, samples: Samples, batches: list[list[int]]) -> Iterator[list[int]]:
    """What one process sees of these batches, through its workers."""
    parts = [np.array_split(batch, RANKS)[rank].tolist() for batch in batches]
    drawn = Drawn(samples)
    for batch in DataLoader(drawn, sampler=parts, batch_size=None, num_workers=WORKERS):
        drawn.learn(batch)
        yield batch["text"].tolist()


@pytest.mark.parametrize("resumed_at", [0, 7])
def test_every_example_is_seen_once_an_epoch(resumed_at: int, tmp_path: Path) -> None:
    """By two processes of two workers each, over two epochs; the last batch of an epoch, if it is short, is dropped.
    A run that is stopped and resumed sees the same numbers in the same order."""
    samples = shards(tmp_path, 83)
    batches = list(global_batches(EpochBatches(83, BATCH, seed=3)))
    steps = len(batches) // EPOCHS
    seen: dict[int, list[list[int]]] = {}
    for rank in range(RANKS):
        seen[rank] = list(numbers_of(rank, samples, batches[:resumed_at]))
        seen[rank] += list(numbers_of(rank, shards(tmp_path, 83), batches[resumed_at:]))
    for epoch in range(EPOCHS):
        counts = Counter(
            number for rank in seen for part in seen[rank][epoch * steps : (epoch + 1) * steps] for number in part
        )
        assert set(counts.values()) == {1}
        assert len(counts) == 83 // BATCH * BATCH
        assert set(counts) <= set(range(83))
    expected = [samples.drawn(batch)["text"].tolist() for batch in batches]
    assert [[*first, *second] for first, second in zip(seen[0], seen[1], strict=True)] == expected


def test_workers_tell_what_they_met(tmp_path: Path) -> None:
    """Two files of 900 that cannot be read are set aside, and the process that trains knows them and how many were
    met."""
    samples = shards(tmp_path, 900, unreadable=(5, 700))
    seen = list(numbers_of(0, samples, [list(range(start, start + 90)) for start in range(0, 900, 90)]))
    seen += list(numbers_of(1, samples, [list(range(start, start + 90)) for start in range(0, 900, 90)]))
    assert sum(map(len, seen)) == 900
    assert len(samples.unreadable) == 2
    assert [line.partition(":")[2] for line in samples.set_aside] == [" there is no number in it"] * 2


def test_more_than_one_in_a_hundred_of_those_met_stops(tmp_path: Path) -> None:
    """Early, not at the end of the data."""
    samples = shards(tmp_path, 3000, unreadable=tuple(range(0, 3000, 12)))
    order = np.random.default_rng(0).permutation(3000)
    batches = [order[start : start + 50].tolist() for start in range(0, 3000, 50)]
    seen: list[list[int]] = []
    with pytest.raises(InputError, match=r"there is no number in it \(\d+ of \d+ examples cannot be read\)"):
        seen.extend(numbers_of(0, samples, batches))
    assert 0 < sum(map(len, seen)) < 1000
