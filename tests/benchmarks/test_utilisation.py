"""benchmarks/utilisation.py: every second of a step has one phase, every product of a step is counted."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from sensorium.modalities import KINDS
from sensorium.nn.ops.rows import row_attention

NOT_MADE = {"pair", "label"}  # pairs have a task and a model of their own; labels are no signal


@pytest.fixture
def profile(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import step_profile

    return step_profile


@pytest.fixture
def utilisation(profile: ModuleType) -> ModuleType:
    import utilisation

    return utilisation


class TestClock:
    @pytest.fixture
    def clock(self, profile: ModuleType, monkeypatch: pytest.MonkeyPatch) -> object:
        """A clock on which a second passes whenever somebody asks for the time."""
        monkeypatch.setattr(profile.TIMER, "seconds", itertools.count(0.0).__next__)
        return profile.Clock()

    def test_a_phase_within_a_phase_is_not_counted_twice(self, clock: object) -> None:
        with clock.within("optimizer"), clock.within("decoder"):  # type: ignore[attr-defined]
            clock.switch("encoder")  # type: ignore[attr-defined]
        expected = {"other": 2.0, "optimizer": 2.0, "decoder": 1.0, "encoder": 1.0}
        assert clock.take() == expected  # type: ignore[attr-defined]
        assert clock.take() == {"other": 1.0}  # type: ignore[attr-defined]

    def test_a_watched_method_does_what_it_did(self, clock: object) -> None:
        class Adder:
            def add(self, left: int, *, right: int) -> int:
                return left + right

        adder = Adder()
        clock.watch(adder, "add", "data")  # type: ignore[attr-defined]
        assert adder.add(1, right=2) == 3
        assert clock.take() == {"other": 2.0, "data": 1.0}  # type: ignore[attr-defined]


class TestRecorder:
    def counts(self, profile: ModuleType, *layers: int) -> Counter[str]:
        """The products of a linear network's step, by operator."""
        network = nn.Sequential(*(nn.Linear(*pair) for pair in itertools.pairwise(layers)))
        recorder = profile.Recorder(profile.Clock())
        with recorder:
            network(torch.rand(7, layers[0])).sum().backward()
        found: Counter[str] = Counter()
        for product in recorder.products.values():
            found[str(product.operator)] += product.phases.total()
        return found

    def test_forward_and_backward_products_are_counted(self, profile: ModuleType) -> None:
        """A layer has one product forward and two backward; the first one has no gradient of its input."""
        assert self.counts(profile, 3, 4) == {"aten.addmm.default": 1, "aten.mm.default": 1}
        assert self.counts(profile, 3, 3, 3, 3) == {"aten.addmm.default": 3, "aten.mm.default": 5}

    def test_attention_is_one_operator_each_way(self, profile: ModuleType) -> None:
        query, rows = torch.rand(2, 3, 4, requires_grad=True), torch.rand(2, 5, 4, requires_grad=True)
        recorder = profile.Recorder(profile.Clock())
        with recorder:
            row_attention(query, rows, None).sums.sum().backward()
        names = [str(product.operator) for product in recorder.products.values()]
        assert names == ["sensorium.row_attention.default", "sensorium.row_attention_backward.default"]
        assert all(product.seconds() > 0 for product in recorder.products.values())

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("layout", ["transposed part", "expanded", "empty"])
    def test_random_numbers_have_the_layout_of_the_tensor(
        self, profile: ModuleType, layout: str, dtype: torch.dtype
    ) -> None:
        whole = torch.rand(4, 6, dtype=dtype)
        tensor = {"transposed part": whole.T[1:, ::2], "expanded": whole[:1].expand(5, 6), "empty": whole[:0]}[layout]
        numbers = profile.random_like(tensor)
        assert (numbers.shape, numbers.stride(), numbers.dtype) == (tensor.shape, tensor.stride(), dtype)


def test_every_kind_of_signal_is_measured(utilisation: ModuleType) -> None:
    assert {*utilisation.KINDS_MADE} == {*KINDS} - NOT_MADE


def test_the_phases_are_the_step(utilisation: ModuleType) -> None:
    """Of a small model: the phases add up to the step, and each product belongs to a phase."""
    bench = utilisation.Bench(utilisation.made("table", examples=100, minutes=20.0))
    bench.round()
    assert len(bench.steps) == utilisation.STEPS
    for number, seconds in enumerate(bench.steps):
        assert sum(bench.phases[phase][number] for phase in utilisation.PHASES) == pytest.approx(seconds)
    found = Counter(phase for product in bench.products for phase in product.phases)
    assert {"encoder", "decoder", "optimizer"} <= set(found) <= set(utilisation.PHASES)
    assert bench.evaluation_share() == 0.0
    assert bench.line().count("|") == 7 + len(utilisation.PHASES) + 1
    assert len(bench.slowest(3)) == 3


def test_the_table(utilisation: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole command, for a set with a validation split."""
    utilisation.main(["table", "--examples", "600", "--rounds", "1", "--threads", "1", "--top", "1"])
    header, *_, line = capsys.readouterr().out.split("\n\n")[1].strip().splitlines()
    assert header.count("|") == line.count("|")
    assert line.startswith("| table | 32 × 20 × ")


def test_an_unknown_kind_is_refused(utilisation: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        utilisation.parse(["smell"])
    assert "smell: data are made of image" in capsys.readouterr().err
