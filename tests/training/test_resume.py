"""Going on with an interrupted run: with the data and the configuration that it began with, or not at all."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sensorium as sm
from sensorium.config import to_dict, to_yaml
from sensorium.data import identity
from sensorium.errors import InputError
from sensorium.models.recipe import RecipeConfig
from sensorium.training import run_folder
from sensorium.training.lock import is_locked, lock
from sensorium.training.optimizers import optimizers
from sensorium.training.plan import read_run_config
from sensorium.training.progress import Interrupted, Quiet
from sensorium.training.resume import check_config, check_options, reopen_unchanged
from sensorium.training.run_folder import append_history, read_history, trim_history, write_identity
from sensorium.training.run_state import RunState, Sums, reading
from sensorium.training.state_file import read_state, write_state
from small_models import IMAGE, SMALLEST_RUN, classes, signs, small_model

SMALL = (*SMALLEST_RUN, "inputs.stem=null")


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="BMP")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pictures of three classes in two splits, a table that names them, and what a run on each writes as it begins."""
    root = tmp_path_factory.mktemp("begun")
    for number, (split, name, index) in enumerate(
        (split, name, index) for split in ("train", "test") for name in "abc" for index in range(4)
    ):
        picture(root / "data" / split / name / f"{index}.bmp", number)
    for kind in ("data", "table"):
        if kind == "table":
            files = sorted((root / "data").rglob("*.bmp"))
            (root / "table").mkdir()
            for number, path in enumerate(files):
                shutil.copy(path, root / "table" / f"{number}.bmp")
            rows = [f"{number}.bmp,{path.parent.name}" for number, path in enumerate(files)]
            (root / "table" / "table.csv").write_text("\n".join(["image,label", *rows]))
        planned = sm.plan(root / kind, epochs=2, settings=SMALL)
        folder = root / f"{kind}-run"
        folder.mkdir()
        (folder / "config.yaml").write_text(to_yaml(planned.config))
        write_identity(folder, identity.identify(planned.source), config=to_dict(planned.config))
    return root, root


def rename(data: Path) -> None:
    for split in ("train", "test"):
        (data / split / "b").rename(data / split / "bird")


def swap(data: Path) -> None:
    one, other = data / "train/a/1.bmp", data / "test/a/1.bmp"
    one.rename(data / "kept")
    other.rename(one)
    (data / "kept").rename(other)


def relabel(data: Path) -> None:
    text = (data / "table.csv").read_text()
    assert "\n3.bmp,a" in text
    (data / "table.csv").write_text(text.replace("\n3.bmp,a", "\n3.bmp,b"))


CHANGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a file is removed": ("data", lambda data: (data / "train/b/1.bmp").unlink(), r"train/b/1.bmp was removed"),
    "a file is added": ("data", lambda data: picture(data / "train/b/9.bmp", 99), r"train/b/9.bmp was added"),
    "a file is replaced": ("data", lambda data: picture(data / "train/b/1.bmp", 99), r"of train/b/1.bmp is another"),
    "a file has another size": (
        "data",
        lambda data: (data / "test/c/1.bmp").write_bytes((data / "test/c/1.bmp").read_bytes() + b"\0"),
        r"of test/c/1.bmp is another",
    ),
    "a label is changed": ("table", relabel, r"the label of table.csv row \d was 'a' and is now 'b'"),
    "a row is removed": (
        "table",
        lambda data: (data / "table.csv").write_text((data / "table.csv").read_text().rpartition("\n")[0]),
        r"removed",
    ),
    "a class is added": ("data", lambda data: picture(data / "train/d/0.bmp", 99), r"'d' is not among the classes"),
    "a class is renamed": ("data", rename, r"'bird' is not among the classes"),
    "a class is removed": (
        "data",
        lambda data: [shutil.rmtree(data / split / "b") for split in ("train", "test")],
        r"the class 'b' has no examples any more: train/b/0.bmp \(one of 8\) was removed",
    ),
    "the splits are changed": (
        "data",
        lambda data: (data / "train/a/1.bmp").rename(data / "test/a/9.bmp"),
        r"test/a/9.bmp was added and train/a/1.bmp was removed",
    ),
    "two files change places": ("data", swap, r"the content of test/a/1.bmp \(one of 2\) is another"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_data_are_refused(begun: tuple[Path, Path], tmp_path: Path, change: str) -> None:
    """One line names the example or the class, and the cure; the run and the data stay as they are."""
    kind, do, expected = CHANGES[change]
    data, run = begun[0] / kind, begun[0] / f"{kind}-run"
    kept = tmp_path / kind
    shutil.copytree(data, kept)
    try:
        do(data)
        with pytest.raises(InputError, match=expected) as caught:
            reopen_unchanged(data, read_run_config(run), run)
        assert "restore the data, or train anew with another --out" in str(caught.value)
        assert "\n" not in str(caught.value)
    finally:
        shutil.rmtree(data)
        shutil.copytree(kept, data)
    assert reopen_unchanged(data, read_run_config(run), run).classes == ("a", "b", "c")


def test_the_same_data_elsewhere_are_the_same(begun: tuple[Path, Path], tmp_path: Path) -> None:
    """The folder's own place and name, and the times of files, do not matter."""
    shutil.copytree(begun[0] / "data", tmp_path / "moved", copy_function=shutil.copyfile)
    run = begun[0] / "data-run"
    assert len(reopen_unchanged(tmp_path / "moved", read_run_config(run), run).splits["train"]) == 12


def test_arrays_that_change_are_refused(tmp_path: Path) -> None:
    """A value, a label, the shape of the same numbers."""
    random = np.random.default_rng(0)
    values, labels = random.normal(size=(30, 12, 2)), np.arange(30) % 2
    path, run = tmp_path / "signs.npz", tmp_path / "run"
    run.mkdir()

    def write(values: np.ndarray, labels: np.ndarray) -> None:
        np.savez(path, x_train=values[:20], y_train=labels[:20], x_test=values[20:], y_test=labels[20:])

    write(values, labels)
    planned = sm.plan(path, epochs=1, settings=SMALL)
    write_identity(run, identity.identify(planned.source), config={})
    other_value, other_label = values.copy(), labels.copy()
    other_value[3, 4, 1] += 1e-3
    other_label[25] = 1 - other_label[25]
    for changed, expected in (
        ((other_value, labels), "the content of .* is another"),
        ((values, other_label), "the label of .* was '1' and is now '0'"),
        ((values.reshape(30, 6, 4), labels), "was series of 12 × 2 numbers and is now series of 6 × 4 numbers"),
    ):
        write(*changed)
        with pytest.raises(InputError, match=expected):
            reopen_unchanged(path, planned.config, run)
    write(values, labels)
    reopen_unchanged(path, planned.config, run)


def test_of_many_examples_the_content_of_some_is_compared(begun: tuple[Path, Path]) -> None:
    """The others count as they are counted when all are taken: their fingerprints are the same."""
    source = sm.plan(begun[0] / "data", settings=SMALL).source
    some, whole = identity.identify(source, sampled=5), identity.identify(source, sampled=None)
    assert identity.difference(some, whole) is None
    prints = some.splits["train"].fingerprints
    assert (prints != 0).sum() == 5
    assert (whole.splits["train"].fingerprints != 0).all()
    assert set(prints[prints != 0]) <= set(whole.splits["train"].fingerprints)


def test_a_run_that_took_some_is_scored_as_one_that_took_all(begun: tuple[Path, Path], tmp_path: Path) -> None:
    source = sm.plan(begun[0] / "data", settings=SMALL).source
    write_identity(tmp_path, identity.identify(source, sampled=3), config={})
    assert run_folder.read_examples(tmp_path) is None
    write_identity(tmp_path, identity.identify(source, sampled=None), config={})
    found = run_folder.read_examples(tmp_path)
    assert found is not None
    assert {split: len(part) for split, part in found.items()} == {"train": 12, "val": 0, "test": 12}


def test_a_changed_configuration_is_refused(begun: tuple[Path, Path], tmp_path: Path) -> None:
    """The place, both values and the cure; options that say what the run has anyway are welcome."""
    run = tmp_path / "run"
    shutil.copytree(begun[0] / "data-run", run)
    config = read_run_config(run)
    check_config(config, run)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("batch_size: 8", "batch_size: 4"))
    with pytest.raises(InputError, match=r"recipe.batch_size was 8 when the run began and is now 4; change it back"):
        check_config(read_run_config(run), run)
    check_options(config, run, settings=SMALL, options={"epochs": 2.0, "seed": 0, "preset": "auto", "fold": None})
    for settings, options, expected in (
        (["recipe.batch_size=4"], {}, "--set recipe.batch_size=4: the run in .* has another value"),
        (["encoder.num_latents=5"], {}, "--set model.encoder.num_latents=5"),
        ([], {"epochs": 3}, "--epochs 3: the run in .* has 2"),
        ([], {"seed": 4}, "--seed 4: the run in .* has 0"),
    ):
        with pytest.raises(InputError, match=expected):
            check_options(config, run, settings=settings, options=options)


# -- runs


@pytest.fixture
def series(tmp_path: Path) -> Path:
    values, labels = signs(32)
    np.savez(tmp_path / "signs.npz", x_train=values[:24], y_train=labels[:24], x_test=values[24:], y_test=labels[24:])
    return tmp_path / "signs.npz"


class Steps(Quiet):
    """Counts the steps of a run, and does something at one of them, or when a stage begins."""

    def __init__(self, *, at: int | str = -1, do: Callable[[], None] = lambda: None) -> None:
        self.steps, self.at, self.do = 0, at, do
        self.stages: list[str] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)
        if text == self.at:
            self.do()

    def progress(self, share: float, figures: dict[str, float]) -> None:
        if self.stages[-1] == "training":
            self.steps += 1
            if self.steps == self.at:
                self.do()


class Killed(BaseException):
    """Ends a run as a signal that cannot be handled does, as far as one process can."""


def kill() -> None:
    raise Killed


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def train(data: Path, out: Path, *, at: str = "fitting a baseline", resume: bool = False) -> int:
    """Train until a stage begins, by default that in which nothing is left but to report; returns the steps taken."""
    steps = Steps(at=at, do=kill)
    with pytest.raises(Killed):
        sm.train(data, out=out, epochs=1, settings=SMALL, listener=steps, resume=resume)
    return steps.steps


def test_a_run_killed_before_its_first_checkpoint_begins_anew(series: Path, tmp_path: Path) -> None:
    """From its configuration, whatever it left behind; the result is that of an uninterrupted run."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(series, whole)
    train(series, parts, at="training")
    append_history(parts, {"step": 1, "loss": 1.0})
    with pytest.raises(InputError, match="--resume"):
        sm.train(series, out=parts, epochs=1, settings=SMALL)
    assert train(series, parts, resume=True) == 3
    assert weights(parts) == weights(whole)
    assert [row["step"] for row in read_history(parts)] == [row["step"] for row in read_history(whole)]


def test_a_run_killed_after_its_last_step_takes_no_other(series: Path, tmp_path: Path) -> None:
    """It goes straight to evaluation and report; so does one that was killed between the files of the report."""
    run = tmp_path / "run"
    train(series, run)
    before, history = weights(run), read_history(run)
    (run / "report.json").write_text("{}")
    rest = Steps()
    assert sm.train(series, out=run, resume=True, listener=rest)["metrics"]
    assert rest.steps == 0
    assert (weights(run), read_history(run)) == (before, history)
    assert (run / "report.html").exists()
    (run / "README.md").unlink()
    assert sm.train(series, out=run, resume=True)["metrics"]
    assert (run / "README.md").exists()
    with pytest.raises(InputError, match="finished"):
        sm.train(series, out=run, resume=True)


def test_a_checkpoint_of_an_older_version_is_not_overwritten(begun: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(begun[0] / "data-run", run)
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.ckpt").write_bytes(b"")
    with pytest.raises(InputError, match=r"last\.ckpt: written by an older sensorium"):
        sm.train(begun[0] / "data", out=run, resume=True)


OLDER: dict[str, Callable[[dict[str, Any]], object]] = {
    "an older format": lambda state: state.update(format=0),
    "a newer format": lambda state: state.update(format=99),
    "no precision": lambda state: state.pop("precision"),
    "a counter that is called otherwise": lambda state: renamed(state["counters"], "validated_at"),
    "a weight that is called otherwise": lambda state: renamed(state["model"], next(iter(state["model"]))),
    "moments that are called otherwise": lambda state: renamed(state["optimizers"][0], "state"),
    "fewer optimizers": lambda state: state.update(optimizers=[]),
}


def renamed(state: dict[str, Any], name: str) -> None:
    state[f"old_{name}"] = state.pop(name)


def begun_state() -> RunState:
    """Of a small model, before its first step."""
    model, recipe = small_model(IMAGE, classes(3)), RecipeConfig(precision="float32")
    return RunState(model, None, optimizers(recipe, model), recipe.precision, Sums.zero(torch.device("cpu")))


@pytest.mark.parametrize("change", OLDER)
def test_a_state_of_another_version_is_one_line(change: str, tmp_path: Path) -> None:
    """It names the file, and the cure."""
    state = begun_state().to_dict()
    OLDER[change](state)
    write_state(tmp_path, state)
    with pytest.raises(InputError, match=r"last\.safetensors: written by another version.* another --out$") as caught:
        go_on(tmp_path)
    assert "\n" not in str(caught.value)


def go_on(folder: Path) -> None:
    """Load a checkpoint as the loop does."""
    saved = read_state(folder)
    assert saved is not None
    with reading(folder):
        assert RunState.precision_of(saved) == "float32"
        begun_state().load(saved)


def test_the_first_state_said_no_format(tmp_path: Path) -> None:
    """And is loaded."""
    state = begun_state().to_dict()
    assert state.pop("format") == 1
    write_state(tmp_path, state)
    go_on(tmp_path)


def test_a_run_of_another_version_is_not_gone_on_with(series: Path, tmp_path: Path) -> None:
    """Its files stay as they are."""
    run = tmp_path / "run"
    train(series, run, at="training")
    write_state(run, {**begun_state().to_dict(), "format": 0})
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="its format is 0, here it is 1"):
        sm.train(series, out=run, resume=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_configuration_of_an_older_version_is_one_line(begun: tuple[Path, Path], tmp_path: Path) -> None:
    """So is one of a newer one."""
    for number, expected in ((1, "older sensorium.*train again"), (99, "newer sensorium; update")):
        run = tmp_path / str(number)
        shutil.copytree(begun[0] / "data-run", run)
        text = (run / "config.yaml").read_text()
        (run / "config.yaml").write_text(re.sub(r"(?m)^format: .*$", f"format: {number}", text))
        with pytest.raises(InputError, match=expected):
            sm.train(begun[0] / "data", out=run, resume=True)


def test_options_of_a_resumed_run_are_compared(series: Path, tmp_path: Path) -> None:
    stopper = Steps(at=1, do=lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        sm.train(series, out=tmp_path / "run", epochs=1, settings=SMALL, listener=stopper)
    for options in ({"epochs": 2}, {"settings": ["recipe.batch_size=2"]}, {"seed": 1}):
        with pytest.raises(InputError, match="goes on with it; leave it out"):
            sm.train(series, out=tmp_path / "run", resume=True, **options)  # type: ignore[arg-type]
    train(series, tmp_path / "run", resume=True)


# -- the lock


def test_two_processes_do_not_train_into_one_folder(series: Path, tmp_path: Path) -> None:
    """The second is refused in a line. When the first is killed, the folder is free at once, even if a process that it
    forked, to decode, is still alive."""
    out = tmp_path / "run"
    program = (
        "import os, sys, time; from pathlib import Path; from sensorium.training.lock import lock\n"
        "with lock(Path(sys.argv[1])):\n"
        "    child = os.fork()\n"
        "    if not child: print(os.getpid(), flush=True)\n"
        "    time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(out)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        with pytest.raises(InputError, match="another process trains into it now; wait, or choose another --out"):
            sm.train(series, out=out, epochs=1, settings=SMALL)
        assert run_folder.free_folder(out) == tmp_path / "run-2"
        parent.kill()
        parent.wait()
        assert not is_locked(out)
        assert run_folder.free_folder(out) == out
    finally:
        parent.kill()
        parent.stdout.close()
        os.kill(child, signal.SIGKILL)


def test_the_processes_of_one_run_share_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of them takes it."""
    with lock(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(InputError), lock(tmp_path):
            pass
        monkeypatch.setattr("sensorium.training.lock.is_main", lambda: False)
        assert not is_locked(tmp_path)
        with lock(tmp_path):
            pass
    with (tmp_path / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is free again


def test_a_lock_removes_what_killed_runs_left(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    (tmp_path / "checkpoints").mkdir()
    left = tmp_path / "checkpoints" / f".last.safetensors.{killed.pid}.part"
    left.write_bytes(b"half")
    with lock(tmp_path):
        assert not left.exists()


# -- metrics.csv

ROWS = [{"step": step, "loss": 1 / step, "val_loss": step / 7} for step in (10, 20, 30)]


def write_rows(folder: Path) -> bytes:
    (folder / "metrics.csv").unlink(missing_ok=True)
    for row in ROWS:
        append_history(folder, row)
    return (folder / "metrics.csv").read_bytes()


def test_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_history(tmp_path) == []
    write_rows(tmp_path)
    assert read_history(tmp_path) == ROWS


def test_a_torn_history_is_mended(tmp_path: Path) -> None:
    """Cut anywhere: whole rows are read, the next row is written after them, and nothing else is there."""
    whole = write_rows(tmp_path)
    for length in range(len(whole) + 1):
        (tmp_path / "metrics.csv").write_bytes(whole[:length])
        kept = max(0, whole[:length].count(b"\n") - 1)
        assert read_history(tmp_path) == ROWS[:kept], length
        append_history(tmp_path, ROWS[2])
        assert read_history(tmp_path) == [*ROWS[:kept], ROWS[2]], length


@pytest.mark.parametrize("line", ["40,0.5", "40,0.5,0.1,7", "40,half,0.1", "\0\0\0", '40,"0.5\n', ",,", "\ufffd,1,2"])
def test_a_line_that_is_no_row_is_left_out(tmp_path: Path, line: str) -> None:
    whole = write_rows(tmp_path)
    (tmp_path / "metrics.csv").write_bytes(whole + f"{line}\n".encode())
    assert read_history(tmp_path) == ROWS
    trim_history(tmp_path, step=30)
    assert (tmp_path / "metrics.csv").read_bytes() == whole


def test_rows_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    write_rows(tmp_path)
    trim_history(tmp_path, step=20)
    assert read_history(tmp_path) == ROWS[:2]
    trim_history(tmp_path, step=0)
    assert read_history(tmp_path) == []
    append_history(tmp_path, ROWS[0])
    assert read_history(tmp_path) == ROWS[:1]


def test_a_history_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "metrics.csv").mkdir()
    append_history(tmp_path, ROWS[0])
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "the training goes on without" in caplog.text


# -- what is damaged


def test_weights_that_are_not_finite_are_refused(series: Path, tmp_path: Path) -> None:
    """By everything that loads a model, in a line."""
    model = sm.Perceiver(sm.plan(series, settings=SMALL).config.model)
    for value in (float("nan"), float("inf")):
        with torch.no_grad():
            model.encoder.latents[0, 0] = value
        sm.save(model, tmp_path / "run")
        for use in (
            lambda: sm.load(tmp_path / "run"),
            lambda: sm.predict(tmp_path / "run", np.zeros((1, 12, 2))),
            lambda: sm.evaluate(tmp_path / "run", series),
        ):
            with pytest.raises(InputError, match=r"encoder\.latents is not finite; the weights are damaged"):
                use()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", "[1, 2]"),
        ("config.json", '{"format": 2'),
        ("config.json", "[" * 100_000),
        ("config.json", '{"format": 2, "model": [1]}'),
        ("config.json", '{"format": 2, "model": {"inputs": ' + '{"inputs": ' * 300 + "1" + "}" * 302),
        ("config.yaml", "- 1\n- 2"),
        ("config.yaml", "just a word"),
        ("config.yaml", "[" * 3_000),
        ("config.yaml", "format: 2\nmodel: [1]"),
        ("config.yaml", "format: 2\ndata: 3"),
        ("config.yaml", "format: 2\nstart: 2000-13-45"),
        ("config.yaml", "\0"),
        ("report.json", '{"metrics": {"accur'),
        ("report.json", "[" * 100_000),
        ("report.json", "[3]"),
        ("report.json", '{"set_aside": 3, "train_seconds": "long", "split": "test", "samples": 8, "majority": 1}'),
    ],
)
def test_what_is_damaged_is_said_in_a_line(damaged: Path, series: Path, name: str, text: str) -> None:
    """By everything that reads it; never as a defect."""
    whole = (damaged / name).read_text() if (damaged / name).exists() else None
    (damaged / name).write_text(text)
    try:
        with pytest.raises(InputError) as caught:
            sm.evaluate(damaged, series)
        if name == "config.yaml" and "model" not in text:
            with pytest.raises(InputError):
                sm.predict(damaged, np.zeros((1, 12, 2)))
        assert "\n" not in str(caught.value)
        assert name in str(caught.value) or "disagree" in str(caught.value)
        assert len(str(caught.value)) < 500
    finally:
        (damaged / name).unlink() if whole is None else (damaged / name).write_text(whole)


@pytest.mark.parametrize(
    "change",
    [
        ("encoder", "num_latents", 10**12),
        ("encoder", "num_latents", 10**30),
        ("encoder", "num_latents", -3),
        ("encoder", "latent_channels", 10**9),
        ("encoder", "num_layers", 10**9),
        ("encoder", "num_self_attention_heads", 0),
        ("inputs", "length", 10**15),
        ("inputs", "bands", 10**10),
    ],
)
def test_absurd_sizes_in_a_configuration_take_no_memory(damaged: Path, change: tuple[str, str, int]) -> None:
    """They cannot fit the weights, and a line says so."""
    part, name, value = change
    content = json.loads((damaged / "config.json").read_text())
    content["model"][part][name] = value
    kept = (damaged / "config.json").read_text()
    (damaged / "config.json").write_text(json.dumps(content))
    try:
        with pytest.raises(InputError) as caught:
            sm.load(damaged)
        assert "\n" not in str(caught.value)
    finally:
        (damaged / "config.json").write_text(kept)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run on short series leaves, as far as it is read again."""
    root = tmp_path_factory.mktemp("damaged")
    values, labels = np.random.default_rng(0).normal(size=(32, 12, 2)), np.arange(32) % 2
    np.savez(root / "signs.npz", x_train=values[:24], y_train=labels[:24], x_test=values[24:], y_test=labels[24:])
    planned = sm.plan(root / "signs.npz", settings=SMALL)
    sm.save(sm.Perceiver(planned.config.model), root)
    (root / "config.yaml").write_text(to_yaml(planned.config))
    write_identity(root, identity.identify(planned.source), config=to_dict(planned.config))
    return root
