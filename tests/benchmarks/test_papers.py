"""docs/papers.md: the rows, their counts, their commands on stand-ins of their data, and a run of one of them."""

from __future__ import annotations

import doctest
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

import stand_ins
from sensorium.cli import app
from sensorium.cli.options import PlanOptions
from sensorium.models import presets
from sensorium.training.plan import plan

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import papers
from paper_tables import DATA_SETS, TABLES, distinct_rows, page
from paper_tables.rows import Row, Table, config_of, count
from small_models import SMALLEST_RUN

ROWS = distinct_rows()
COMMANDS = {f"{row.name} {words[1]} {words[2]}": (row, words) for row in ROWS.values() for words in row.commands()}
TRAININGS = {line: known for line, known in COMMANDS.items() if known[1][1] in ("train", "pretrain")}
FILES = ("picture.jpg", "film.mp4", "text.txt", "frame_0001.png", "frame_0002.png")
# What our counts of parameters are, where the paper states them: off by less than this.
NEAR = 0.02
# Stated otherwise by the paper: 16 layers of flow, AudioSet's large model, one cross-attend without its head, the
# same byte models with other positions, and models that have a mean instead of a decoder.
FAR = {
    "perceiver-io-flow": 0.5,
    "imagenet-1-cross-attend": 0.03,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A small data set by its name, made when it is needed."""
    root = tmp_path_factory.mktemp("data")

    def made(name: str) -> Path:
        if not (root / name).exists():
            getattr(stand_ins, name)(root / name)
        return root / name

    return made


def parsed(words: list[str]) -> dict[str, Any]:
    """The arguments of a command as the real program understands it."""
    bound = app.parse_args(words[1:], print_error=False, exit_on_error=False)[1]
    bound.apply_defaults()
    return bound.arguments


@pytest.mark.parametrize("module", [papers, page])
def test_examples_of_docstrings_run(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


def test_every_row_is_run_or_says_why_not() -> None:
    """Cited, or with the paper's figures, data and a preset; rows that share a name share their commands."""
    for table in TABLES:
        assert table.rows, table.number
        for row in table.rows:
            assert len(row.figures) <= len(table.columns), row.title
            assert row.name or row.note, row.title
            if row.name:
                assert row.commands() == ROWS[row.name].commands(), row.name
                assert (row.data in DATA_SETS and row.preset) or row.of in ROWS, row.name


def test_every_preset_is_in_a_row() -> None:
    assert {row.preset for row in ROWS.values()} - {""} >= set(presets.names())


@pytest.mark.parametrize("name", TRAININGS)
def test_every_training_parses_and_plans(name: str, data: Callable[[str], Path]) -> None:
    """As ``sensorium inspect`` plans it, on a small stand-in of its data; with the model that is counted."""
    row, words = TRAININGS[name]
    found = parsed(words)
    options = {name.name: getattr(found["options"], name.name) for name in fields(PlanOptions)}
    planned = plan(data(words[2]), task=found.get("task"), **options).config
    assert planned.preset == row.preset
    if not found.get("start"):  # whose inputs and encoder would be taken over
        assert planned.model.encoder == config_of(row).encoder
        assert planned.model.decoder == config_of(row).decoder


def test_the_meshes_of_modelnet40_are_read_as_its_clouds_are(data: Callable[[str], Path]) -> None:
    """The zip of meshes has the same classes and splits as that of points."""
    clouds, meshes = (plan(data(name), preset="perceiver-modelnet40") for name in ("modelnet40", "modelnet40_meshes"))
    assert clouds.config.model == meshes.config.model
    assert clouds.source.splits.keys() == meshes.source.splits.keys()


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - TRAININGS.keys()))
def test_every_other_command_parses(name: str, data: Callable[[str], Path]) -> None:
    """Its run is one that a row makes, and its data are ours or a file's name."""
    row, words = COMMANDS[name]
    found = parsed(words)
    assert str(found["run"]) in {other.run for other in ROWS.values() if not other.of}
    if words[1] == "evaluate":
        assert plan(data(str(found["data"])), preset=row.preset).source.kinds
    else:
        assert {str(file) for file in found["files"]} <= set(FILES)


def test_published_weights_are_scored_by_commands_that_parse() -> None:
    for row in ROWS.values():
        for words in row.published_commands():
            assert parsed(words)


def test_the_page_is_what_the_script_writes() -> None:
    """``python benchmarks/papers.py`` would change nothing; every model that there is was counted."""
    figures = papers.read(papers.FIGURES)
    assert papers.PAGE.read_text("utf-8") == papers.page_of(figures)
    assert figures["counts"].keys() == {row.model for table in TABLES for row in table.rows} - {""}


@pytest.mark.slow
def test_the_counts_are_those_of_the_code() -> None:
    assert {model: asdict(counts) for model, counts in papers.counted().items()} == papers.read(papers.FIGURES)[
        "counts"
    ]


def test_a_count_is_that_of_the_code() -> None:
    """Of one model; the slow test counts all."""
    row = ROWS["perceiver-modelnet40"]
    assert asdict(count(row)) == papers.read(papers.FIGURES)["counts"][row.model]


def test_parameters_are_those_of_the_paper() -> None:
    """To the digits that it states, but for what is explained on the page."""
    counts = papers.read(papers.FIGURES)["counts"]
    compared = 0
    for table in TABLES:
        for row in table.rows:
            if row.parameters and row.model in counts:
                stated = float(row.parameters.removesuffix("M")) * 1e6
                share = counts[row.model]["parameters"] / stated - 1
                assert abs(share) < FAR.get(row.name, NEAR), (table.number, row.title, share)
                compared += 1
    assert compared > 25


TINY = Row(
    title="tiny",
    figures=("99",),
    name="tiny",
    preset="perceiver-imagenet",
    settings=("inputs.size=[8,8]", "encoder.cross_attention=[0]", "encoder.latent_transformer=[0]"),
    data="imagenet",
    then=("sensorium evaluate {run} imagenet --split train",),
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only row."""
    monkeypatch.setattr(papers, "distinct_rows", lambda: {"tiny": TINY})
    table = Table(paper="Perceiver", number="Table 0", title="tiny", columns=("top-1",), rows=(TINY,))
    monkeypatch.setattr(papers, "TABLES", (table,))


@pytest.mark.usefixtures("tiny")
def test_figures_of_a_row_stand_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without training: what the commands write is made up. Another run of the same takes its place."""
    scores, calls = [0.75, 0.25], []

    def write(words: list[str], log: Path) -> None:
        calls.append(words)
        folder = Path(words[-1] if "--out" not in words else words[words.index("--out") + 1])
        score = scores.pop() if words[1] == "train" else 1.0
        report = {"samples": 5, "metrics": {"accuracy": score}, "primary_metric": "accuracy", "parameters": 1}
        report |= {"train_seconds": 90.0, "config": {"model": {"encoder": {}}, "recipe": {"epochs": 3}}}
        if words[1] == "train":
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "report.json").write_text(json.dumps(report))
        else:
            other = Path(words[2], "evaluations", "imagenet-train")
            other.mkdir(parents=True, exist_ok=True)
            (other / "report.json").write_text(json.dumps({"metrics": {"accuracy": 1.0}}))

    monkeypatch.setattr(papers, "call", write)
    monkeypatch.setattr(papers, "machine", lambda: "a processor")
    while scores:
        papers.main(["tiny", "--minutes", "1.5", "--data", f"imagenet={tmp_path}/cats", "--out", str(tmp_path)])
        (tmp_path / "runs" / "papers" / "tiny" / "report.json").unlink()
    assert [words[1] for words in calls] == ["train", "evaluate"] * 2
    assert str(tmp_path / "cats") in calls[0]
    (run,) = json.loads((tmp_path / "benchmarks" / "papers.json").read_text())["runs"]
    assert (run["row"], run["data"], run["minutes"], run["evaluations"]) == (
        *("tiny", "cats", 1.5),
        {"imagenet-train": {"accuracy": 1.0}},
    )
    written = (tmp_path / "docs" / "papers.md").read_text("utf-8")
    assert (
        "**accuracy 0.750** on `cats`, 5 examples; `imagenet-train`: **accuracy 1.000**; 1.5 min, 0 steps, a processor"
        in written
    )
    assert "0.250" not in written


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_a_row_runs_from_command_to_page(
    data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained and evaluated in processes of their own; what is finished is not trained again."""
    settings = [word for setting in (*SMALLEST_RUN, "recipe.batch_size=4") for word in ("--set", setting)]
    arguments = ["tiny", "--minutes", "0.01", "--data", f"imagenet={data('imagenet')}", "--out", str(tmp_path)]
    papers.main([*arguments, *settings])
    (run,) = json.loads((tmp_path / "benchmarks" / "papers.json").read_text())["runs"]
    assert (run["row"], run["data"], run["samples"]) == ("tiny", "imagenet", 4)
    assert set(run["evaluations"]) == {"imagenet-train"}
    assert 0 <= run["metrics"]["accuracy"] <= 1
    written = (tmp_path / "docs" / "papers.md").read_text("utf-8")
    assert f"**accuracy {run['metrics']['accuracy']:.3f}** on `imagenet`, 4 examples" in written
    calls: list[list[str]] = []
    monkeypatch.setattr(papers, "call", lambda words, log: calls.append(words))
    papers.main([*arguments, *settings])
    assert [words[1] for words in calls] == ["evaluate"]


def test_what_cannot_be_run_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="trained on modelnet40: say --data modelnet40=DIR"):
        papers.main(["perceiver-modelnet40", "--out", str(tmp_path)])
    for arguments, expected in (
        (["--data", "modelnet40"], "write it as NAME=DIR"),
        (["--data", "mnist=."], "--data mnist: there is none"),
        (["no-such-row"], "no-such-row"),
    ):
        with pytest.raises(SystemExit):
            papers.main(arguments)
        assert expected in capsys.readouterr().err
