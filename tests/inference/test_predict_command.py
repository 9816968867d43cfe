"""``sensorium predict``: what it prints, what it writes, and with which status it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.cli import main
from sensorium.modalities import TableConfig
from sensorium.modalities.table import Column
from sensorium.models import checkpoints
from sensorium.tasks import RegressConfig
from small_models import IMAGE, classes, small_model

TABLE = TableConfig(columns=(Column(name="age", low=20.0, high=60.0), Column(name="height")), channels=8)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A model of pictures of noise."""
    checkpoints.save(small_model(IMAGE, classes(4)), tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, of which one is damaged."""
    (tmp_path / "data").mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (6, 6), np.uint8)
        Image.fromarray(noise).save(tmp_path / "data" / f"{number}.png")
    (tmp_path / "data" / "1.png").write_bytes(b"\x89PNG")
    return tmp_path / "data"


def test_what_cannot_be_read_is_named_and_set_aside(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["predict", str(run), str(folder)])
    printed, told = capsys.readouterr()
    heading, first, second, third = printed.splitlines()
    assert heading.split() == ["file", "answer", "remarks"]
    assert first.startswith("0.png  class")
    assert "not a picture that can be decoded" in second
    assert third.startswith("2.png  class")
    assert told.startswith("set aside: 1.png: ")
    main(["predict", str(run), str(folder), "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("answer") is None for line in lines] == [False, True, False]


@pytest.mark.parametrize("arguments", [["--strict"], ["--strict", "--json"], ["--strict", "-o", "answers.csv"]])
def test_strict_prints_and_writes_nothing(
    arguments: list[str],
    run: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(run), str(folder), *arguments])
    assert ended.value.code == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert told.count("\n") == 1
    assert told.startswith("sensorium: 1.png: ")
    assert not list(tmp_path.glob("answers*"))


def test_nothing_that_can_be_read_is_an_error(run: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "0.png").write_bytes(b"")
    (folder / "2.png").unlink()
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(run), str(folder), "--json"])
    assert ended.value.code == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert "0.png: the file is empty" in told
    assert "none of 2 examples can be read" in told
    with pytest.raises(SystemExit):
        main(["predict", str(run), str(folder.parent / "run" / "config.json")])
    (folder / "0.png").unlink()
    (folder / "1.png").rename(folder / "1.wav")
    with pytest.raises(SystemExit):
        main(["predict", str(run), str(folder)])
    assert "the model reads image, below this folder is no such file (found .wav)" in capsys.readouterr().err


def test_a_file_of_answers_is_announced(run: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "a.csv"
    main(["predict", str(run), str(folder), "-o", str(out), "--top", "1"])
    assert capsys.readouterr().out == f"{out}: 3 answers\n"
    assert len(out.read_text().splitlines()) == 4


def test_numbers_stand_below_the_name_of_their_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = RegressConfig(classes=("value 1",), mean=(1.0,), std=(2.0,))
    checkpoints.save(small_model(TABLE, task), tmp_path / "run")
    description = {"format": checkpoints.FORMAT, "data": {"target": {"column": "price"}}}
    (tmp_path / "run" / "config.yaml").write_text(json.dumps(description))
    (tmp_path / "a.csv").write_text("age,Height\n30,1.8\n900,1.7\n")
    main(["predict", str(tmp_path / "run"), str(tmp_path / "a.csv")])
    printed, told = capsys.readouterr()
    heading, first, second = printed.splitlines()
    assert heading.split() == ["file", "price", "remarks"]
    assert "there is 'Height'" in first
    assert "900 is far outside of 20 to 60" in second
    assert "2 answers have remarks; --strict makes them errors" in told
    main(["predict", str(tmp_path / "run"), str(tmp_path / "a.csv"), "--json"])
    line = json.loads(capsys.readouterr().out.splitlines()[0])
    assert line["target"] == "price"
    assert line["answer"] == line["scores"] == {"price": pytest.approx(float(first.split()[3]), rel=1e-4)}
