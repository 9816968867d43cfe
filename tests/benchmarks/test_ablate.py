"""benchmarks/ablate.py: the order of its runs, what it does not run again, and when it calls a change good."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Row = dict[str, Any]


@pytest.fixture
def ablate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import ablate

    return ablate


@pytest.fixture
def arithmetic(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import ablation_table

    return ablation_table


def row(name: str, side: str, seed: int, last: float, **changes: object) -> Row:
    """A finished run; sets whose names begin alike are of one kind."""
    figures = {"best": last + 1, "steps": 10, "seconds": 60.0, "epochs": 1.0, "resolution": 0.01, "metric": "accuracy"}
    source = {"machine": "here", "revision": "abc", "config": side, "kind": name[0]}
    return {"set": name, "side": side, "seed": seed, "last": last, **figures, **source, **changes}


def rows(differences: dict[str, list[float]]) -> list[Row]:
    """Runs of which A has so much more than B, for each set and seed."""
    return [
        row(name, side, seed, 50 + difference * (side == "A"))
        for name, found in differences.items()
        for seed, difference in enumerate(found)
        for side in "AB"
    ]


def parsed(ablate: ModuleType, tmp_path: Path, *arguments: str) -> argparse.Namespace:
    return ablate.parse(["name", "--out", str(tmp_path / "out"), "--data", str(tmp_path), *arguments])


class TestVerdict:
    """The rule: three sets of two kinds, better on average, none worse by more than noise."""

    @pytest.mark.parametrize(
        ("differences", "expected"),
        [
            ({"a1": [2, 2.1], "a2": [1, 1.1], "b": [1.5, 1.4]}, "A is kept"),
            ({"a1": [2, 2.1], "a2": [2, 2.1], "b": [-2, -2.1]}, "A is not kept: it hurts b by more than noise"),
            ({"a1": [0, 0.1], "a2": [0, -0.1], "b": [0.1, -0.1]}, "A is not kept: its mean difference"),
            ({"a1": [9, -7], "a2": [9, -7], "b": [9, -7]}, "A is not kept: its mean difference"),
            ({"a1": [9, 9.1], "a2": [0, 0.1], "b": [-0.05, 0.02]}, "A is kept"),
            ({"a1": [2, 2.1], "a2": [1, 1.1], "a3": [1.5, 1.4]}, "not decided: 3 sets, kinds of signal: 1"),
            ({"a1": [2, 2.1], "b": [1.5, 1.4]}, "not decided: 2 sets"),
            ({"a1": [2], "a2": [1], "b": [1.5]}, "not decided: noise is not known"),
            ({}, "not decided: 0 sets"),
        ],
        ids=["helps", "hurts one", "nothing", "noise", "helps one", "one kind", "two sets", "one seed", "no runs"],
    )
    def test_verdict(self, arithmetic: ModuleType, differences: dict[str, list[float]], expected: str) -> None:
        summary = arithmetic.summarise(rows(differences))
        assert arithmetic.verdict(summary).startswith(expected)
        assert expected in arithmetic.table(summary)

    def test_sides_exchanged_negate_the_difference(self, arithmetic: ModuleType) -> None:
        found = rows({"a1": [2, 3], "a2": [-1, 1], "b": [0.5, 0.7]})
        exchanged = [each | {"side": "B" if each["side"] == "A" else "A"} for each in found]
        summary, opposite = arithmetic.summarise(found), arithmetic.summarise(exchanged)
        assert opposite.difference == pytest.approx(-summary.difference)
        assert (opposite.error, opposite.noise) == pytest.approx((summary.error, summary.noise))

    def test_the_order_of_rows_is_free(self, arithmetic: ModuleType) -> None:
        found = rows({"a": [2, 3], "b": [-1, 1]})
        exact, reversed_ = arithmetic.summarise(found), arithmetic.summarise(found[::-1])
        assert reversed_.difference == exact.difference
        assert {each.name: each.noise for each in reversed_.sets} == {each.name: each.noise for each in exact.sets}

    def test_by_hand(self, arithmetic: ModuleType) -> None:
        """Squares 2 of the first set and 0 of the second; pooled variance 1; the first one's is 3 / 2."""
        summary = arithmetic.summarise(rows({"a": [1, 3], "b": [4, 4]}))
        assert [each.difference for each in summary.sets] == [2, 4]
        assert [each.noise for each in summary.sets] == pytest.approx([(1.5 / 2) ** 0.5, (0.5 / 2) ** 0.5])
        assert (summary.difference, summary.error, summary.noise) == pytest.approx((3, 1, 0.5))

    def test_noise_is_at_least_one_validation_example(self, arithmetic: ModuleType) -> None:
        """A set of eight examples is not hurt by a single one of them."""
        found = rows({"a": [1, 1], "b": [1, 1], "c": [-12.5, -12.5]})
        assert arithmetic.summarise(found).sets[2].is_hurt
        coarse = [each | {"resolution": 12.5} if each["set"] == "c" else each for each in found]
        assert not arithmetic.summarise(coarse).sets[2].is_hurt


class TestPairs:
    def test_half_a_pair_does_not_count(self, arithmetic: ModuleType) -> None:
        found = [*rows({"a": [1, 2]}), row("a", "A", 2, 99), row("b", "B", 0, 99)]
        assert {name: len(pairs) for name, pairs in arithmetic.pair_up(found).items()} == {"a": 2}

    def test_remarks(self, arithmetic: ModuleType) -> None:
        """What makes a pair unlike is said; pairs that are alike are not mentioned."""
        found = [row("a", "A", 0, 1), row("a", "B", 0, 1, revision="def"), row("b", "A", 0, 1, config="B", metric="r2")]
        text = arithmetic.table(arithmetic.summarise([*found, row("b", "B", 0, 1)]))
        assert "different revisions of the source: a 0." in text
        assert "the same configuration: b." in text
        assert "mixes metrics: accuracy, r2" in text
        assert "different" not in arithmetic.table(arithmetic.summarise(rows({"a": [1]})))


class TestRuns:
    @pytest.fixture
    def trained(self, ablate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
        """What was trained, in order, where training takes no time and fails on the set ``bad``."""
        done = []

        def train(self: object, job: Any) -> Row | str:
            done.append((job.set, job.side, job.seed))
            return "no such thing" if job.set == "bad" else row(Path(job.set).name, job.side, job.seed, 1.0)

        monkeypatch.setattr(ablate.Apart, "train", train)
        return done

    def test_sides_take_turns(self, ablate: ModuleType, tmp_path: Path) -> None:
        options = parsed(ablate, tmp_path, "--a", "x.y=1 z='a b'", "--sets", "p", "q", "--seeds", "3", "5")
        jobs = list(ablate.jobs(options))
        assert [(job.set, job.side, job.seed) for job in jobs] == [
            *(("p", "A", 3), ("p", "B", 3), ("q", "A", 3), ("q", "B", 3)),
            *(("p", "B", 5), ("p", "A", 5), ("q", "B", 5), ("q", "A", 5)),
        ]
        assert {job.settings for job in jobs if job.side == "A"} == {("x.y=1", "z=a b")}
        assert {job.settings for job in jobs if job.side == "B"} == {()}
        assert all(job.options["val"] for job in jobs)

    def test_finished_runs_are_not_run_again(
        self, ablate: ModuleType, tmp_path: Path, trained: list[tuple[str, str, int]]
    ) -> None:
        options = parsed(ablate, tmp_path, "--sets", "p", "--seeds", "0")
        assert ablate.run(options) == []
        assert ablate.run(options) == []
        assert trained == [("p", "A", 0), ("p", "B", 0)]
        ablate.run(parsed(ablate, tmp_path, "--sets", "p", "--seeds", "0", "1"))
        assert trained[2:] == [("p", "B", 1), ("p", "A", 1)]
        for changed in (["--minutes", "9"], ["--epochs", "2"], ["--b", "x=1"], ["--threads", "77"]):
            before = len(trained)
            ablate.run(parsed(ablate, tmp_path, "--sets", "p", "--seeds", "0", *changed))
            assert len(trained) == before + (1 if changed[0] == "--b" else 2), changed

    def test_a_torn_line_is_run_again(
        self, ablate: ModuleType, tmp_path: Path, trained: list[tuple[str, str, int]]
    ) -> None:
        options = parsed(ablate, tmp_path, "--sets", "p", "--seeds", "0")
        ablate.run(options)
        path = ablate.results_path(options)
        path.write_text(path.read_text()[:-20])
        ablate.run(options)
        assert trained == [("p", "A", 0), ("p", "B", 0), ("p", "B", 0)]
        assert [each["side"] for each in ablate.read_rows(path)] == ["A", "B"]

    def test_a_failed_run_is_named_and_tried_again(
        self,
        ablate: ModuleType,
        tmp_path: Path,
        trained: list[tuple[str, str, int]],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        arguments = ["name", "--out", str(tmp_path), "--sets", "bad", "p", "--seeds", "0"]
        for _ in range(2):
            with pytest.raises(SystemExit, match="bad, B, seed 0: no such thing"):
                ablate.main(arguments)
            assert "| p | p |" in capsys.readouterr().out
        assert len(trained) == 6

    def test_the_table_is_appended(
        self, ablate: ModuleType, tmp_path: Path, trained: list[tuple[str, str, int]]
    ) -> None:
        """What was in the file stays, and the command has no folder of this machine."""
        page = tmp_path / "page.md"
        page.write_text("# Title\n")
        parts = ["--a", "x=1", "--sets", str(tmp_path / "p"), "--data", str(tmp_path), "--append", str(page)]
        ablate.main(["name", "--out", str(tmp_path / "out"), *parts])
        text = page.read_text()
        assert text.startswith(
            "# Title\n\n`python benchmarks/ablate.py name --a x=1 --b '' --sets p --minutes 4 --seeds"
        )
        assert str(tmp_path) not in text.replace("| " + str(tmp_path / "p"), "")

    def test_settings_that_are_not_quoted(self, ablate: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(SystemExit, match=r"ablate\.py: .*quote values"):
            ablate.main(["name", "--out", str(tmp_path), "--a", "x='1"])


def pictures(folder: Path, *, count: int) -> None:
    """Dark and bright pictures to train on; test pictures that nobody can read."""
    random = np.random.default_rng(0)
    for name, brightness in (("dark", 0), ("bright", 150)):
        (folder / "train" / name).mkdir(parents=True)
        (folder / "test" / name).mkdir(parents=True)
        for number in range(count):
            pixels = (brightness + random.integers(0, 100, (8, 8, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "train" / name / f"{number}.png")
            (folder / "test" / name / f"{number}.png").write_bytes(b"not a picture %d" % number)


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True], ids=["here", "in a process of its own"])
def test_a_run_has_a_validation_score_and_never_decodes_the_test_split(
    ablate: ModuleType, tmp_path: Path, apart: bool
) -> None:
    pictures(tmp_path / "pictures", count=20)
    options = parsed(ablate, tmp_path, "--sets", "pictures", "--epochs", "2", "--seeds", "0", "--threads", "1")
    job = next(ablate.jobs(options))
    train: Callable[[], Row | str] = lambda: ablate.train(job, tmp_path, tmp_path / "scratch")  # noqa: E731
    (tmp_path / "scratch").mkdir()
    if apart:
        with ablate.Apart(tmp_path, tmp_path / "scratch") as processes:
            found = processes.train(job)
        assert not list((tmp_path / "scratch").iterdir())
    else:
        found = train()
    assert isinstance(found, dict), found
    assert found["val_examples"] == 8
    assert found["resolution"] == 12.5
    assert found["last"] == found["scores"][-1]
    assert found["best"] == max(found["scores"])
    assert (found["steps"], found["epochs"], found["kind"], found["metric"]) == (4, 2.0, "image", "accuracy")
    json.dumps(found)


@pytest.mark.slow
def test_a_problem_is_one_line(ablate: ModuleType, tmp_path: Path) -> None:
    pictures(tmp_path / "pictures", count=5)
    options = parsed(ablate, tmp_path, "--sets", "pictures", "--a", "recipe.no=1", "--threads", "1")
    with ablate.Apart(tmp_path, tmp_path) as processes:
        found = processes.train(next(ablate.jobs(options)))
    assert isinstance(found, str)
    assert "recipe.no" in found
