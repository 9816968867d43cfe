"""benchmarks/deletion.py: scores are the methods', and the table says what they are."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from sensorium.inference.attributions import METHODS
from sensorium.inference.deletion import RANDOM, deletion
from small_models import POINTS, classes, clouds, small_model


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import deletion as bench

    return bench


def test_scores_are_of_every_example(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches or alone, of the class that each is predicted as."""
    monkeypatch.setattr(bench, "BATCH", 3)
    model, samples = small_model(POINTS, classes(2)), clouds(torch.arange(7) % 2)
    found = bench.scores(model, samples, 5, ["attention"])
    assert {name: len(values) for name, values in found.items()} == {"attention": 5, RANDOM: 5}
    for place, index in enumerate((0, 1, 3, 4, 6)):
        view = model.inputs.view(samples.batch([index]))
        rows = METHODS["attention"](model, view, torch.tensor([0])).rows
        assert found["attention"][place] == pytest.approx(float(deletion(model, view, rows).score), abs=1e-5)


def test_differences_are_paired(bench: ModuleType) -> None:
    """A method that is better by the same amount in every example has no interval."""
    random = np.array([0.2, 0.9, 0.4])
    better, worse, control = bench.lines("digits", {"a": random - 0.1, "b": random[::-1], RANDOM: random})
    assert better == "| digits | a | 0.400 ± 0.361 | +0.100 ± 0.000 | 100% |"
    assert worse.startswith("| digits | b | 0.500 ± 0.361 | +0.000 ± ")
    assert control == "| digits | random | 0.500 ± 0.361 | | |"
