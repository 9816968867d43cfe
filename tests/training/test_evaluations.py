"""A finished run on its own data and on others: what is scored, what is said, and where the report goes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sensorium as sm
from sensorium.cli.display import print_result
from sensorium.errors import InputError
from small_models import SMALLEST_RUN

CLASSES = ("cat", "dog", "owl")


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """Pictures of three classes in train and test, a run on them, and its result."""
    root = tmp_path_factory.mktemp("animals")
    for number in range(36):
        picture(root / "data" / ("train" if number < 24 else "test") / CLASSES[number % 3] / f"{number}.png", number)
    return root / "data", root / "run", sm.train(root / "data", out=root / "run", epochs=1, settings=SMALLEST_RUN)


def table(test: Path, to: Path, column: str = "file") -> Path:
    """The test pictures beside a table of their paths and classes."""
    files = sorted(test.rglob("*.png"))
    lines = [f"note,{column},label"]
    for number, file in enumerate(files):
        (to / "pictures").mkdir(parents=True, exist_ok=True)
        shutil.copy(file, to / "pictures" / f"{number}.png")
        lines.append(f"{number / 7},pictures/{number}.png,{file.parent.name}")
    (to / "list.csv").write_text("\n".join(lines))
    return to


def copied(place: str) -> Callable[[Path, Path], Path]:
    def layout(test: Path, to: Path) -> Path:
        shutil.copytree(test, to / place)
        return to

    return layout


def with_another_split(test: Path, to: Path) -> Path:
    """Test pictures under another name, beside a class that is known in other letters."""
    shutil.copytree(test, to / "Testing")
    (to / "Testing" / "cat").rename(to / "Testing" / "Cat")
    shutil.copytree(test, to / "elsewhere")
    return to


LAYOUTS = {
    "class folders": copied("."),
    "test alone": copied("test"),
    "a split of another name": copied("holdout"),
    "deeper": copied("2024/site a/holdout"),
    "a table of paths": table,
    "a table of paths in another column": lambda test, to: table(test, to, "photograph"),
    "other words for the split": with_another_split,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_of_the_test_split_in_any_layout_gives_its_figure(
    animals: tuple[Path, Path, dict[str, Any]], layout: str, tmp_path: Path
) -> None:
    """And the report of the run stays as it is."""
    data, run, result = animals
    before = (run / "report.json").read_bytes()
    (tmp_path / "copy").mkdir()
    if layout == "class folders":
        (tmp_path / "copy").rmdir()
        shutil.copytree(data / "test", tmp_path / "copy")
        other = tmp_path / "copy"
    else:
        other = LAYOUTS[layout](data / "test", tmp_path / "copy")
    found = sm.evaluate(run, other)
    assert found["metrics"] == pytest.approx(result["metrics"])
    assert found["samples"] == 12
    assert found["seen_in_training"] == 0
    split = "test" if layout in ("test alone", "other words for the split") else "all"
    assert (found["split"], Path(found["folder"])) == (split, run / "evaluations" / f"copy-{split}")
    assert json.loads((run / "evaluations" / f"copy-{split}" / "report.json").read_text())["samples"] == 12
    assert (run / "report.json").read_bytes() == before


def test_the_run_s_own_test_split_is_its_report(animals: tuple[Path, Path, dict[str, Any]]) -> None:
    """Twice the same, byte for byte but for what was measured in training."""
    data, run, result = animals
    texts = []
    for _ in range(2):
        found = sm.evaluate(run, data)
        assert Path(found["folder"]) == run
        texts.append(((run / "report.json").read_text(), (run / "report.html").read_text()))
    assert texts[0] == texts[1]
    assert found["metrics"] == pytest.approx(result["metrics"])
    assert (found["split"], found["seen_in_training"], result["seen_in_training"]) == ("test", 0, 0)


def test_what_was_seen_in_training_is_said_in_the_figure(
    animals: tuple[Path, Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run, _ = animals
    before = (run / "report.json").read_bytes()
    found = sm.evaluate(run, data, split="all")
    assert (found["samples"], found["seen_in_training"]) == (36, 24)
    assert Path(found["folder"]) == run / "evaluations" / "data-all"
    print_result(found)
    assert capsys.readouterr().out.startswith("all (36 examples, 24 seen in training): accuracy")
    assert "24 seen in training" in (run / "evaluations" / "data-all" / "report.html").read_text()
    assert sm.evaluate(run, data, split="train")["seen_in_training"] == 24
    shutil.copytree(data / "train" / "owl", tmp_path / "birds" / "owl")  # one class, another place
    picture(tmp_path / "birds" / "owl" / "new.png", 1000)
    assert sm.evaluate(run, tmp_path / "birds")["seen_in_training"] == 8
    assert (run / "report.json").read_bytes() == before
    with pytest.raises(InputError, match="--split val: there is none"):
        sm.evaluate(run, data, split="val")


def test_a_run_that_kept_no_fingerprints_is_evaluated(
    animals: tuple[Path, Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run, result = animals
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("evaluations", "examples.npz"))
    found = sm.evaluate(tmp_path / "run", data)
    assert found["metrics"] == pytest.approx(result["metrics"])
    assert (found["split"], found["seen_in_training"]) == ("test", None)
    assert Path(found["folder"]) == tmp_path / "run" / "evaluations" / "data-test"
    print_result(found)
    assert "seen" not in capsys.readouterr().out
    (tmp_path / "run" / "examples.npz").write_bytes(b"PK damaged")
    with pytest.raises(InputError, match=r"examples\.npz: cannot be read"):
        sm.evaluate(tmp_path / "run", data)


def test_data_that_do_not_fit_are_refused_in_a_line(animals: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    _, run, _ = animals
    picture(tmp_path / "wolves" / "wolf" / "1.png", 1)
    picture(tmp_path / "loose" / "1.png", 1)
    (tmp_path / "texts" / "cat").mkdir(parents=True)
    (tmp_path / "texts" / "cat" / "a.txt").write_text("meow")
    picture(tmp_path / "unlabelled" / "1.png", 1)
    (tmp_path / "unlabelled" / "list.csv").write_text("file,width\n1.png,6\n1.png,7\n")
    for name, message in (
        ("wolves", r"wolf/1\.png: 'wolf' is not a class that the model knows"),
        ("loose", "no class folders.*without labels, use sensorium pretrain or predict"),
        ("texts", "hold nothing that can be read|holds text|hold no"),
        ("unlabelled", "no labels to compare answers with; use sensorium predict"),
        ("nowhere", "there is no such file"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            sm.evaluate(run, tmp_path / name)
        assert "\n" not in str(caught.value)


def rows(seed: int, count: int) -> list[list[str]]:
    random = np.random.default_rng(seed)
    return [[f"{random.normal():.4f}", f"{random.normal():.4f}", "xyz"[row % 3]] for row in range(count)]


def test_a_table_needs_the_columns_that_the_model_reads_and_no_others(tmp_path: Path) -> None:
    def write(path: Path, header: str, lines: list[list[str]]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([header, *map(",".join, lines)]))
        return path

    train, test = rows(0, 60), rows(1, 12)
    write(tmp_path / "data" / "train.csv", "width,height,species", train)
    write(tmp_path / "data" / "test.csv", "width,height,species", test)
    (tmp_path / "data" / "dataset.yaml").write_text("target: {column: species}")
    result = sm.train(tmp_path / "data", out=tmp_path / "run", epochs=1, settings=SMALLEST_RUN)
    more = [[*row[::-1], "17", f"{number}"] for number, row in enumerate(test)]
    other = write(tmp_path / "other.csv", "species,height,width,colour,id", more)
    found = sm.evaluate(tmp_path / "run", other)
    assert found["metrics"] == pytest.approx(result["metrics"])
    assert found["split"] == "all"
    other = write(tmp_path / "one.csv", "species,height,width", [row[::-1] for row in test[:1]])
    assert sm.evaluate(tmp_path / "run", other)["samples"] == 1
    assert sm.evaluate(tmp_path / "run", tmp_path / "data", split="all")["seen_in_training"] == 60
    for header, message in (
        ("width,tallness,species", "no column is called 'height'"),
        ("width,height,kind", "no labels to compare answers with; use sensorium predict"),
    ):
        with pytest.raises(InputError, match=message):
            sm.evaluate(tmp_path / "run", write(tmp_path / "odd.csv", header, test))
    unknown = write(tmp_path / "unknown.csv", "width,height,species", [*test, ["1", "2", "w"]])
    with pytest.raises(InputError, match=r"unknown\.csv row 13: 'w' is not a class that the model knows"):
        sm.evaluate(tmp_path / "run", unknown)


def test_arrays_under_other_keys_and_of_fewer_classes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(48, 10, 2)), np.arange(48) % 3
    data = tmp_path / "waves.npz"
    np.savez(data, x_train=x[:36], y_train=y[:36], x_test=x[36:], y_test=y[36:], classes=np.array(["a", "b", "c"]))
    result = sm.train(data, out=tmp_path / "run", epochs=1, settings=SMALLEST_RUN)
    np.savez(tmp_path / "other.npz", signals=x[36:].astype(np.float32), labels=y[36:])
    found = sm.evaluate(tmp_path / "run", tmp_path / "other.npz")
    assert found["metrics"] == pytest.approx(result["metrics"])
    assert any("taken as the numbers of the model's classes" in warning for warning in found["warnings"])
    np.savez(tmp_path / "named.npz", signals=x[36:], labels=np.array(["a", "b", "c"])[y[36:]])
    assert sm.evaluate(tmp_path / "run", tmp_path / "named.npz")["metrics"] == pytest.approx(result["metrics"])
    np.savez(tmp_path / "seen.npz", signals=x[y == 1].astype(np.float32), labels=y[y == 1])
    found = sm.evaluate(tmp_path / "run", tmp_path / "seen.npz")
    assert (found["samples"], found["seen_in_training"]) == (16, 12)


def test_a_number_is_regressed_and_signals_without_labels_are_scored(tmp_path: Path) -> None:
    """Other tasks find their inputs in other data, too."""
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3))
    lines = [f"{a:.3f},{b:.3f},{c:.3f}" for a, b, c in x]
    (tmp_path / "house.csv").write_text("\n".join(["size,rooms,price", *lines]))
    (tmp_path / "dataset.yaml").write_text("target: {column: price, task: regress}")
    sm.train(tmp_path / "house.csv", out=tmp_path / "run", epochs=1, settings=SMALLEST_RUN)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "list.csv").write_text("\n".join(["rooms,size,price", *lines[:1]]))
    assert sm.evaluate(tmp_path / "run", tmp_path / "new")["samples"] == 1
