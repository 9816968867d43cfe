"""Decoding and batching, with a modality made for it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from sensorium.data import Examples, Samples, collate, load_samples
from sensorium.data.examples import Selection
from sensorium.errors import InputError
from sensorium.modalities.base import Modality, Sample


class Fake:
    """A modality as far as decoding knows one: raw numbers; a negative one cannot be read."""

    def __init__(self, name: str, *, ragged: bool) -> None:
        self.name = name
        self.ragged = ragged
        self.modalities = (self,)

    def load(self, raw: Any) -> Sample:
        if raw < 0:
            raise InputError("the number is negative; take its absolute value")
        length = raw + 1 if self.ragged else 3
        values = np.full((length, 2), raw + 1, dtype=np.float32)
        return {self.name: values, f"{self.name}.size": np.array(raw)} | (
            {f"{self.name}.times": np.arange(length) + 1} if self.ragged else {}
        )


SHAPE, TRACK = (cast(Modality, Fake("shape", ragged=False)), cast(Modality, Fake("track", ragged=True)))


def examples(numbers: list[int]) -> Examples:
    return Examples(
        {"shape": numbers, "track": numbers},
        np.arange(len(numbers)),
        [f"file {number}" for number in numbers],
    )


@pytest.fixture(params=["memory", "lazy"])
def samples(request: pytest.FixtureRequest) -> Samples:
    budget = None if request.param == "memory" else 0
    decoded = load_samples(examples([4, 0, 2, 1]), [SHAPE, TRACK], budget=budget)
    assert decoded.in_memory is (request.param == "memory")
    return decoded


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("indices", [[0], [1, 3], [3, 2, 1, 0], [2, 2]])
def test_a_batch_is_the_collated_samples(samples: Samples, indices: list[int]) -> None:
    numbers = [[4, 0, 2, 1][index] for index in indices]
    single = [{**SHAPE.load(number), **TRACK.load(number)} for number in numbers]
    expected = {**collate(single, ragged=["track"]), "target": torch.tensor(indices)}
    assert equal(samples.batch(indices), expected)
    assert equal(samples[indices], expected)


def test_padding_is_masked_and_zero(samples: Samples) -> None:
    batch = samples.batch([1, 2])
    assert batch["track.mask"].tolist() == [[True, False, False], [True, True, True]]
    assert batch["track"].shape == (2, 3, 2)
    assert not batch["track"][~batch["track.mask"]].any()
    assert batch["track.times"].tolist() == [[1, 0, 0], [1, 2, 3]]
    assert batch["track.size"].tolist() == [0, 2]
    assert "shape.mask" not in batch


def test_a_data_loader_takes_them(samples: Samples) -> None:
    loader = DataLoader(samples, sampler=BatchSampler(SequentialSampler(samples), 3, drop_last=False), batch_size=None)
    assert [batch["target"].tolist() for batch in loader] == [[0, 1, 2], [3]]


def test_samples_can_be_sent_to_a_worker() -> None:
    decoded = load_samples(Examples({"shape": Selection([[1, 2]])}, None, ["a", "b"]), [SHAPE])
    again = pickle.loads(pickle.dumps(decoded))
    assert equal(again.batch([1]), decoded.batch([1]))
    assert "target" not in again.batch([0])


@pytest.mark.parametrize("budget", [None, 0])
def test_few_unreadable_files_are_set_aside(budget: int | None) -> None:
    numbers = [0] * 199 + [-1, 3]
    decoded = load_samples(examples(numbers), [SHAPE, TRACK], budget=budget)
    assert len(decoded) == len(decoded.names) == 200
    assert decoded.set_aside == ("file -1: the number is negative; take its absolute value",)
    assert decoded.batch([199])["target"].tolist() == [200]
    assert decoded.batch([199])["track"].shape == (1, 4, 2)


def test_many_unreadable_files_are_an_error() -> None:
    with pytest.raises(InputError, match=r"^file -1: the number is negative.*\(2 of 102 examples cannot be read\)$"):
        load_samples(examples([1] * 100 + [-1, -2]), [SHAPE])
    with pytest.raises(InputError, match=r"^file -5: "):
        load_samples(examples([1, -5]), [SHAPE])
    with pytest.raises(InputError, match="no examples"):
        load_samples(examples([]), [SHAPE])


def test_progress_ends_with_everything() -> None:
    calls: list[tuple[int, int]] = []
    load_samples(examples([1] * 300), [SHAPE], progress=lambda done, total: calls.append((done, total)))
    assert calls == [(256, 300), (300, 300)]


def test_rows_are_picked_without_copying() -> None:
    rows = Selection([[1, 2], np.array([3, 4]), ["five"]]).select([4, 2, 0, 2])
    assert list(rows) == ["five", 3, 1, 3]
    assert list(rows[1:3]) == [3, 1]
    assert list(rows.select([3, 0])) == [3, "five"]
    assert rows[-1] == 3


def test_examples_are_picked() -> None:
    chosen = examples([4, 0, 2]).select([2, 0])
    assert (list(chosen.names), list(chosen.raws["track"])) == (["file 2", "file 4"], [2, 4])
    assert chosen.targets is not None
    assert chosen.targets.tolist() == [2, 0]
    assert len(chosen.select([])) == 0


def test_a_missing_file_is_set_aside_too() -> None:
    class Disk(Fake):
        def load(self, raw: Path) -> Sample:
            return {"shape": np.frombuffer(raw.read_bytes(), np.uint8)}

    one = Examples({"shape": [Path("does not exist")]}, None, ["a.bin"])
    with pytest.raises(InputError, match=r"^a\.bin: .*No such file"):
        load_samples(one, [cast(Modality, Disk("shape", ragged=False))])
