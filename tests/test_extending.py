"""A modality, a task and a backbone, each a page of docs/extending made into one file with one registration, go through
train, evaluate, predict, explain and report; nothing in the source knows their names."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import sensorium as sm
from pages import check_sensorium, shell_commands
from sensorium.cli import main
from sensorium.modalities import KINDS
from sensorium.models import backbones
from sensorium.tasks import TASKS

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "extending"
TOYS = {"modality": ("thermometer", KINDS), "task": ("trend", TASKS), "backbone": ("pooled", backbones.BACKBONES)}
SMALL = (
    "model.encoder.num_latents=4",
    "model.encoder.latent_channels=16",
    "model.encoder.num_self_attention_heads=2",
    "model.encoder.num_layers=1",
)
RECIPE = ("recipe.precision=float32", "recipe.batch_size=8")


@pytest.fixture(params=sorted(TOYS))
def toy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What a page adds, imported from one file; afterwards its table is as it was."""
    page, (name, table) = request.param, TOYS[request.param]
    blocks = re.findall(r"^```python\n(.*?)^```", (PAGES / f"{page}.md").read_text("utf-8"), flags=re.S | re.M)
    file = tmp_path / f"{name}.py"
    file.write_text("\n".join(blocks), "utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # records find the names in their annotations there
    before = dict(table)
    try:
        spec.loader.exec_module(module)
        assert table.keys() - before.keys() == {name}, "a page registers one thing, under its name"
        yield page
    finally:
        table.clear()
        table.update(before)
        del sys.modules[name]


def _write_weather(folder: Path) -> Path:
    """Folders of lists of temperatures, cold or mild; the path of one."""
    random = np.random.default_rng(0)
    for number in range(40):
        for name, mean in (("cold", -5.0), ("mild", 15.0)):
            path = folder / name / f"{number}.days"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(f"{day:.1f}" for day in random.normal(mean, 3.0, 14)))
    return path


def _write_series(folder: Path) -> Path:
    """Folders of series that rise or fall; the path of one."""
    random = np.random.default_rng(0)
    for number in range(40):
        for name, slope in (("falling", -1.0), ("rising", 1.0)):
            path = folder / name / f"{number}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savetxt(path, slope * np.linspace(-2, 2, 12) + random.normal(0, 0.3, 12))
    return path


def test_one_file_and_one_registration_are_enough(
    toy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train, report, load, evaluate, predict and explain, on data that a toy can learn within seconds."""
    monkeypatch.chdir(tmp_path)
    name = TOYS[toy][0]
    data, run = tmp_path / "data", tmp_path / "run"
    file = _write_weather(data) if toy == "modality" else _write_series(data)
    settings = {
        "modality": SMALL,
        "task": (*SMALL, "model.task={kind: trend, classes: [falling, rising]}"),
        "backbone": ("model.encoder={kind: pooled, latent_channels: 32}",),
    }[toy]
    result = sm.train(data, out=run, epochs=20, settings=(*settings, *RECIPE))
    assert result["metrics"]["accuracy"] > 0.9
    assert f"kind: {name}" in (run / "config.yaml").read_text("utf-8")
    report = json.loads((run / "report.json").read_text("utf-8"))
    assert report["metrics"]["accuracy"] == result["metrics"]["accuracy"]
    assert len((run / "report.html").read_text("utf-8")) > 10_000

    model = sm.load(run)
    assert model.parameter_count() == report["parameters"]
    again = sm.evaluate(run, data)
    assert again["metrics"] == report["metrics"]
    (baseline,) = again["baselines"]  # of a kind of signal that nothing is known of, too
    assert baseline["metrics"]["accuracy"] > report["majority"]["metrics"]["accuracy"] == 0.5
    assert again["baselines"] == report["baselines"]

    main(["predict", str(run), str(file), "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["answer"] == file.parent.name

    main(["explain", str(run), str(file), "--out", str(tmp_path / "explained")])
    assert (tmp_path / "explained" / "explanation.html").stat().st_size > 5_000
    maps = np.load(tmp_path / "explained" / "maps.npz")
    assert all(np.isfinite(maps[key]).all() for key in maps.files if maps[key].dtype.kind == "f")


@pytest.mark.parametrize("toy", ["modality"], indirect=True)
def test_a_new_modality_is_reconstructed_too(toy: str, tmp_path: Path) -> None:
    """Its hidden rows are learned without labels, and predictions are saved as files: no task knows kinds by name."""
    data, run = tmp_path / "data", tmp_path / "run"
    file = _write_weather(data)
    settings = (*SMALL, "model.encoder.qk_channels=16", "model.encoder.value_channels=16", *RECIPE)
    sm.train(data, out=run, task="reconstruct", epochs=3, settings=settings)
    sm.predict(run, [file], out=tmp_path / "predicted")
    (written,) = (tmp_path / "predicted").iterdir()
    assert np.load(written)["thermometer"].shape[-1] == 14


def test_the_commands_of_the_page_are_right(toy: str, tmp_path: Path) -> None:
    """They parse, and what trains is planned."""
    data = tmp_path / "data"
    (_write_weather if toy == "modality" else _write_series)(data)
    commands = shell_commands(PAGES / f"{toy}.md")
    assert commands
    for words in commands:
        check_sensorium(words, lambda _: data)


@pytest.mark.parametrize("page", sorted(TOYS))
def test_the_source_does_not_know_the_toys(page: str) -> None:
    """No file of the source contains a toy's name."""
    name = TOYS[page][0]
    holders = [path for path in (ROOT / "src").rglob("*.py") if name in path.read_text("utf-8").lower()]
    assert not holders
