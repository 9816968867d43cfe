"""``make results``: its arithmetic on made figures, its page, and a tiny set from training to page."""

from __future__ import annotations

import doctest
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import results
from accuracy import figures, measure, page, sets, tables
from accuracy.sets import ROOT, SETS, Run, Set, executable, runs_of

FOLDS = Set("rain", "sound", 2, bar=0.7, aim=0.9, folds=("a", "b"))
SEEDS = Set("waves", "series", 1, seeds=(0, 1, 2))


def entry(name: str, score: float, samples: int = 100, **changes: Any) -> dict[str, Any]:
    """The figures of a run as ``finished.json`` has them."""
    return {
        "run": name,
        "commands": [f"sensorium train data --out runs/{name}"],
        "commits": ["abc1234"],
        "machine": "a processor",
        "versions": {"torch": "2"},
        "minutes": 2.0,
        "metric": "accuracy",
        "score": score,
        "samples": samples,
        "seconds": 60.0,
        "epochs": 3.0,
        "most_epochs": 30.0,
        "steps": 12,
        "parameters": 1234,
        "latents": "32 × 128",
        "baselines": [{"name": "a forest", "score": score - 0.1, "scored_on": samples}],
        "figures": {},
        **changes,
    }


def entries(*values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {value["run"]: value for value in values}


def template() -> str:
    """A page with an empty place for each section."""
    return "# Page\n" + "".join(f"\n<!-- begin {name} -->\n<!-- end {name} -->\n" for name in page.WRITERS)


@pytest.mark.parametrize("module", [figures, measure, sets])
def test_examples_of_docstrings_run(module: Any) -> None:
    assert doctest.testmod(module).failed == 0 < doctest.testmod(module).attempted


class TestArithmetic:
    @pytest.mark.parametrize(("right", "count"), [(0, 5), (3, 5), (5, 5), (612, 1000)])
    def test_the_interval_is_wilson_s(self, right: int, count: int) -> None:
        expected = binomtest(right, count).proportion_ci(method="wilson")
        assert figures.wilson(right / count, count) == pytest.approx((expected.low, expected.high), abs=1e-6)

    def test_folds_count_by_their_examples(self) -> None:
        """The mean over folds is the share of all examples that were right, and the interval is of all of them."""
        summary = figures.summarise(FOLDS, [entry("rain-fold-a", 0.5, 30), entry("rain-fold-b", 0.9, 10)])
        assert summary.score == pytest.approx((15 + 9) / 40)
        assert summary.tested == 40
        assert summary.spread == pytest.approx(np.std([0.5, 0.9], ddof=1))
        assert summary.interval == figures.wilson(summary.score, 40)

    def test_seeds_share_their_examples(self) -> None:
        """More seeds make the mean surer, but not the test split larger; what is missing is said."""
        summary = figures.summarise(SEEDS, [entry("waves-seed-0", 0.5), entry("waves-seed-1", 0.7)])
        assert (summary.score, summary.tested, summary.trained) == (pytest.approx(0.6), 100, (2, 3))

    @pytest.mark.parametrize(
        ("figure", "smaller", "expected"),
        [
            (0.69, False, "below the bar"),
            (0.7, False, "below the bar"),  # it must be exceeded
            (0.71, False, "bar passed"),
            (0.9, False, "aim reached"),
            (0.69, True, "aim reached"),
            (None, False, ""),
        ],
    )
    def test_a_bar_must_be_exceeded_and_an_aim_reached(
        self, figure: float | None, smaller: bool, expected: str
    ) -> None:
        assert figures.verdict(figure, FOLDS, smaller=smaller) == expected

    def test_smaller_is_better_where_it_is_said(self) -> None:
        bits = Set("bits", "text", 1, bar=3.3, aim=3.11)
        verdicts = [figures.verdict(value, bits, smaller=True) for value in (3.4, 3.3, 3.2, 3.11)]
        assert verdicts == ["below the bar", "below the bar", "bar passed", "aim reached"]


class TestSets:
    def test_no_set_takes_more_than_half_an_hour(self) -> None:
        for wanted in SETS:
            assert sum(run.minutes for run in runs_of(wanted)) <= 30, wanted.name

    def test_runs_have_names_of_their_own(self) -> None:
        names = [run.name for wanted in SETS for plain in (False, True) for run in runs_of(wanted, plain=plain)]
        assert len(names) == len(set(names))

    def test_commands_name_the_run_once_and_hold_no_folder_of_the_machine(self) -> None:
        for wanted in SETS:
            for run in runs_of(wanted):
                first, *_ = run.commands(data="/somewhere", made="/made", out="/out")
                assert first[-2:] == ["--out", f"/out/{run.name}"]
                for command in run.shown():
                    assert "./" not in command
                    assert "{" not in command.replace("{}", "")

    def test_every_script_is_there(self) -> None:
        scripts = {command.split()[1] for wanted in SETS for command in wanted.commands if command.startswith("python")}
        assert scripts
        for script in scripts:
            assert (ROOT / script).is_file()
            assert executable(["python", script, "x"])[1:] == [str(ROOT / script), "x"]

    def test_every_made_table_is_a_set_and_the_other_way_round(self) -> None:
        assert {wanted.name for wanted in SETS if wanted.section == "tables"} == set(tables.TABLES)


class TestTables:
    @pytest.mark.parametrize("name", tables.TABLES)
    def test_a_file_says_what_the_table_holds(self, name: str, tmp_path: Path) -> None:
        """Every row is there, three quarters to train on; the same seed writes the same file, another one another."""
        table = tables.TABLES[name]()
        for seed, file in ((0, "a.csv"), (0, "b.csv"), (1, "c.csv")):
            tables.write_csv(table, seed, tmp_path / file)
        first, again, other = ((tmp_path / file).read_text("utf-8") for file in ("a.csv", "b.csv", "c.csv"))
        assert first == again != other
        header, *rows = first.splitlines()
        assert header == ",".join([*table.names, "target", "split"])
        assert len(rows) == len(table.values) == len(table.target)
        assert sum(row.endswith(",test") for row in rows) == pytest.approx(len(rows) / 4, abs=1)

    def test_words_and_gaps_are_written_as_such(self, tmp_path: Path) -> None:
        tables.write_csv(tables.houses(200), 0, tmp_path / "houses.csv")
        text = (tmp_path / "houses.csv").read_text("utf-8")
        assert "coast" in text
        assert ",," in text
        assert "nan" not in text

    def test_boosting_is_scored_on_rows_that_it_was_not_trained_on(self) -> None:
        """Targets that have nothing to do with the columns are not learned."""
        random = np.random.default_rng(0)
        noise = tables.Table(random.normal(size=(200, 3)), ("a", "b", "c"), random.normal(size=200), {})
        known = tables.Table(noise.values, noise.names, (noise.values[:, 0] > 0).astype(int), {})
        assert tables.boosted(noise, 0) < 0.3
        assert tables.boosted(known, 0) > 0.9


class TestPage:
    def test_what_people_wrote_stays_and_a_second_time_changes_nothing(self) -> None:
        text = f"{template()}\nRemarks of *people*.\n"
        measured = entries(entry("rain-fold-a", 0.8), entry("rain-fold-b", 0.9))
        once = page.fill(text, measured, (FOLDS,))
        assert page.fill(once, measured, (FOLDS,)) == once
        assert once.endswith("Remarks of *people*.\n")

    def test_a_row_says_mean_interval_spread_baseline_and_bar(self) -> None:
        measured = entries(entry("rain-fold-a", 0.8), entry("rain-fold-b", 0.9), entry("rain-fold-a-plain", 0.6))
        (row,) = (line for line in page.fill(template(), measured, (FOLDS,)).splitlines() if "**" in line)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        low, high = figures.wilson(0.85, 200)
        assert cells == [
            *("`rain`", "sound", "200", "**85.0%**", f"{low:.1%} to {high:.1%}", "2, ± 7.1"),
            *("75.0%, a forest", "60.0%", "70 / 90", "bar passed"),
        ]

    def test_a_part_of_the_runs_is_said_to_be_one_and_other_sets_not_to_be_measured(self) -> None:
        text = page.fill(template(), entries(entry("rain-fold-b", 0.9)), (FOLDS, SEEDS))
        assert "| 1 of 2 |" in text
        assert "Not measured yet: `waves`." in text
        assert "abc1234" in text
        assert "a processor" in text

    def test_figures_of_other_sections(self) -> None:
        """Films, tables, hidden words, flow and autoencoded sound, each with what is asked of it."""
        chosen = (
            Set("both", "films", 1, "films"),
            Set("wine", "3 numbers", 1, "tables"),
            Set("words", "text", 1, "text", bar=3.3, aim=3.11),
            Set("pairs", "pairs", 1, "flow", bar=0.35, bars_of_pairs={"chairs": 1.3}),
            Set("sound", "films", 1, "autoencoding", bar=3.0, aim=8.0),
        )
        words = {"accuracy": 0.4, "bits": 3.2, "grams": [{"name": "a 5-gram", "accuracy": 0.4, "bits": 3.11}]}
        decibels = {"video": 21.0, "audio": 31.0, "mean_picture": 18.0, "silence": 22.5}
        pairs = [{"name": "made", "still": 2.0, "error": 1.0}, {"name": "chairs", "still": 4.0, "error": 1.2}]
        measured = entries(
            entry("both", 0.9, without={"audio": 0.3}),
            entry("wine", 0.8, metric="r2", boosting=0.75),
            entry("wine-plain", 0.65, metric="r2", boosting=0.75),
            {**entry("words", 0.0), "figures": {**words, "parameters": 5, "seconds": 3.0}},
            {**entry("pairs", 0.0), "figures": {"pairs": pairs}},
            {**entry("sound", 0.0), "figures": decibels},
        )
        text = page.fill(template(), measured, chosen)
        for line in (
            "`both`, evaluated without its audio: 30.0%.",
            "| R² | **0.800** | 0.750 | 0.700 | 0.650 | 1 of 1 |",
            "3.20 bits; bar 3.3 bits, aim 3.11 bits: bar passed.",
            "0.50 of no motion on made pairs; bar 0.35 of no motion: below the bar.",
            "`chairs`: 1.20 pixels; bar 1.3 pixels: bar passed.",
            "Sound 8.5 dB above silence; bar 3 dB, aim 8 dB: aim reached.",
        ):
            assert line in text

    def test_a_page_without_a_place_is_refused(self) -> None:
        with pytest.raises(ValueError, match="places"):
            page.fill("# Page\n", {}, ())

    def test_the_page_of_the_repository_is_what_its_figures_give(self) -> None:
        """docs/results.md was written from benchmarks/accuracy.json."""
        text = results.PAGE.read_text("utf-8")
        assert page.fill(text, results.read_figures(results.FIGURES)) == text


class TestEndToEnd:
    @pytest.fixture
    def sets(self, tmp_path: Path) -> tuple[Set, ...]:
        """A tiny set of pulses, four of each of two classes."""
        random = np.random.default_rng(0)
        for split in ("train", "test"):
            for number, label in enumerate(("high", "low")):
                folder = tmp_path / "data" / "pulses" / split / label
                folder.mkdir(parents=True)
                for index in range(4):
                    series = random.normal(size=(8, 2)) + 3 * number
                    rows = "\n".join(f"{first:.3f},{second:.3f}" for first, second in series)
                    (folder / f"{index}.csv").write_text(f"x,y\n{rows}\n")
        command = "sensorium train {data}/{name} --epochs 1 --set model.encoder.num_latents=4"
        return (Set("pulses", "series", 1.0, commands=(command,), seeds=(0, 1), plain=()),)

    def run(self, tmp_path: Path, sets: tuple[Set, ...], *options: str) -> int:
        words = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "runs"), "--minutes", "1", *options]
        with pytest.raises(SystemExit) as ended:
            results.main(words, sets)
        return int(ended.value.code or 0)

    @pytest.mark.slow
    def test_from_a_set_to_the_page_and_no_run_twice(
        self, tmp_path: Path, sets: tuple[Set, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert self.run(tmp_path, sets) == 0
        assert "[2 of 2]" in capsys.readouterr().out
        report = json.loads((tmp_path / "runs" / "pulses-seed-1" / "report.json").read_text("utf-8"))
        (first, second) = json.loads((tmp_path / "runs" / "accuracy.json").read_text("utf-8"))
        assert second["score"] == report["metrics"]["accuracy"]
        assert second["samples"] == report["samples"] == 8
        assert (first["steps"], first["epochs"]) == (1, 1.0)
        text = (tmp_path / "runs" / "results.md").read_text("utf-8")
        assert re.search(r"^\| `pulses` \| series \| 8 \|", text, flags=re.M)
        assert str(tmp_path) not in text + (tmp_path / "runs" / "accuracy.json").read_text("utf-8")
        calls: list[object] = []
        monkeypatch.setattr(measure, "call", lambda *words: calls.append(words))
        assert self.run(tmp_path, sets) == 0
        assert not calls

    def test_a_run_that_fails_is_told_and_the_others_are_made(
        self, tmp_path: Path, sets: tuple[Set, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def call(command: list[str], log: Path) -> None:
            if "pulses-seed-0" in command[-1]:
                raise measure.Failed("no memory")
            (Path(command[-1]) / "figures.json").write_text('{"bits": 2.0}')

        monkeypatch.setattr(measure, "call", call)
        monkeypatch.setattr(measure, "usage", lambda _: {})
        monkeypatch.setattr(results, "write", lambda *_: None)
        assert self.run(tmp_path, sets) == 1
        out = capsys.readouterr().out
        assert "failed: no memory" in out
        assert "bits 2.000" in out
        assert not (tmp_path / "runs" / "pulses-seed-0" / "finished.json").exists()

    def test_figures_of_a_command_beside_this_one_are_kept(
        self, tmp_path: Path, sets: tuple[Set, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Which writes to the same file while a run of this one takes its time."""
        written = tmp_path / "runs" / "accuracy.json"

        def beside(run: Run, folders: measure.Folders) -> dict[str, Any]:
            if run.seed == 0:
                written.write_text(json.dumps([entry("other", 0.5)]), encoding="utf-8")
            return entry(run.name, 0.8)

        monkeypatch.setattr(results, "measure", beside)
        assert self.run(tmp_path, sets) == 0
        names = [each["run"] for each in json.loads(written.read_text("utf-8"))]
        assert names == ["other", "pulses-seed-0", "pulses-seed-1"]

    def test_an_interrupted_run_goes_on_and_one_of_other_commands_is_left_alone(
        self, tmp_path: Path, sets: tuple[Set, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run, *_ = runs_of(sets[0])
        folders = measure.Folders(tmp_path / "data", tmp_path / "runs")
        folder = folders.out / run.name
        (folder / "checkpoints").mkdir(parents=True)
        for file in ("config.yaml", "checkpoints/last.safetensors"):
            (folder / file).touch()
        (folder / "started.json").write_text(json.dumps({"commands": run.shown(), "commits": ["old"], "run": run.name}))
        calls: list[list[str]] = []
        monkeypatch.setattr(measure, "call", lambda command, log: calls.append(command))
        monkeypatch.setattr(measure, "usage", lambda _: {})
        figures = measure.measure(run, folders)
        assert figures is not None
        assert calls == [["sensorium", "train", f"{folders.data}/pulses", "--resume", "--out", str(folder)]]
        assert figures["commits"][0] == "old"
        assert len(figures["commits"]) == 2
        (folder / "started.json").write_text(json.dumps({"commands": ["other"], "run": run.name}))
        assert measure.measure(run, folders, tell=lambda _: None) is None
        measure.remove(run, folders)
        assert not folder.exists()

    def test_a_name_that_is_no_set_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            results.parse(["--only", "nothing"])
        assert "--only nothing: there is none; known are" in capsys.readouterr().err
