"""Decoding and batching, with a modality made for it."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
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


def both(numbers: list[int], *, budget: int | None = None) -> tuple[Samples, Samples]:
    """The same examples decoded before training, and on the way."""
    early = load_samples(examples(numbers), [SHAPE, TRACK])
    late = load_samples(examples(numbers), [SHAPE, TRACK], up_front=-1, budget=budget)
    return early, late


@pytest.mark.parametrize("budget", [None, 0])
def test_samples_decoded_on_the_way_give_the_batches_of_those_in_memory(budget: int | None) -> None:
    """In any order, before and after all of them have been met, and in threads at once."""
    numbers = [4, 0, 2, 1, 7, 3] * 20
    early, late = both(numbers, budget=budget)
    assert late.in_memory is (budget is None)
    random = np.random.default_rng(0)
    draws = [random.integers(0, len(numbers), 5).tolist() for _ in range(200)]
    with ThreadPoolExecutor(4) as pool:
        for indices, batch in zip(draws, pool.map(late.batch, draws), strict=True):
            assert equal(batch, early.batch(indices))
    for indices in draws[:20]:
        assert equal(late.drawn(indices), early.drawn(indices))
        assert equal(pickle.loads(pickle.dumps(late)).batch(indices), early.batch(indices))


def test_samples_met_on_the_way_are_decoded_once() -> None:
    """The second pass decodes nothing."""
    decoded: list[Any] = []

    class Counting(Fake):
        def load(self, raw: Any) -> Sample:
            decoded.append(raw)
            return super().load(raw)

    modality = cast(Modality, Counting("shape", ragged=False))
    late = load_samples(examples(list(range(100))), [modality], up_front=-1)
    assert len(decoded) < 40
    for _ in range(3):
        for start in range(0, 100, 10):
            late.batch(range(start, start + 10))
    assert sorted(decoded) == list(range(100))


def test_only_as_many_samples_are_kept_as_there_is_room_for() -> None:
    """A probe that saw the small ones only does not fill the memory."""
    _, late = both([1] * 400 + [3000], budget=100_000)
    few = load_samples(examples([*[5] * 99, 3000]), [SHAPE, TRACK], up_front=-1, budget=300_000)
    for samples in (late, few):
        for _ in range(2):
            for index in range(len(samples)):
                samples.batch([index])
        held = sum(array.nbytes for sample in samples._store._kept.values() for array in sample.values())  # type: ignore[attr-defined]
        assert held <= 300_000


@pytest.mark.parametrize("budget", [None, 0])
def test_unreadable_samples_met_on_the_way_are_replaced_in_training_and_left_out_of_evaluation(
    budget: int | None,
) -> None:
    """The batch of a step does not depend on when an unreadable example is met."""
    numbers = [*range(150), -1, -1, *range(148), -1]
    early, late = both(numbers, budget=budget)
    assert (early.drawn_from, len(early), late.drawn_from, len(late)) == (301, 298, 301, 301)
    for indices in ([150], [149, 150, 151, 152], [0, 300], [300, 300], [151, 7]):
        assert equal(early.drawn(indices), late.drawn(indices))
        assert late.drawn(indices)["target"].shape == (len(indices),)
    assert late.drawn([149, 150, 151])["target"].tolist() == [149, 152, 152]
    assert late.drawn([300])["target"].tolist() == [0]
    assert late.batch([150, 151]) == {}
    assert late.batch([149, 150, 152])["target"].tolist() == [149, 152]
    for start in range(0, 301, 50):
        late.batch(range(start, min(start + 50, 301)))
    assert late.set_aside == early.set_aside
    assert list(late.readable().names) == list(early.names)
    assert late.readable().set_aside == early.set_aside
    for indices in ([0, 150, 297], [296]):
        assert equal(late.readable().batch(indices), early.batch(indices))
    assert early.readable(["another"]).set_aside == (*early.set_aside, "another")


def test_too_many_unreadable_samples_are_an_error_when_they_are_met() -> None:
    late = load_samples(examples([0] * 150 + [-1] * 5 + [0] * 148), [SHAPE], up_front=-1)
    late.batch([150])
    late.batch(range(3))
    with pytest.raises(InputError, match=r"the number is negative.*\(5 of 52 examples cannot be read\)$"):
        late.drawn(range(140, 160))
