"""Several processes compute what one computes: gloo on the CPU, two processes, under torchrun as users start them."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from two_processes import TARGETS

import sensorium as sm
from sensorium import cli
from sensorium.data import load_samples
from sensorium.errors import InputError
from sensorium.inference.evaluate import evaluate_model
from sensorium.models.perceiver import Perceiver
from sensorium.processes import Launch
from sensorium.training.loop import fit
from sensorium.training.progress import Quiet
from sensorium.training.run_folder import read_history
from sensorium.training.state_file import StoredTensor, read_state
from small_models import IMAGE, SMALL_RUN, pictures, signs, small_model

ROOT = Path(__file__).parents[2]
SCRIPT = str(Path(__file__).parent / "two_processes.py")
SMALL = (*SMALL_RUN, "recipe.ema_decay=0.9")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Two kinds of short series that differ in sign, with a split for validation."""
    values, labels = signs(64)
    parts = {"train": slice(32), "val": slice(32, 43), "test": slice(43, 64)}
    arrays = {
        f"{name}_{split}": array[part]
        for split, part in parts.items()
        for name, array in (("x", values), ("y", labels))
    }
    folder = tmp_path / "signs"
    folder.mkdir()
    np.savez(folder / "signs.npz", **arrays)
    return folder


def in_two_processes(*program: str, environment: dict[str, str] | None = None) -> str:
    """Run a program under torchrun, which finds a free port; returns what it printed."""
    done = run_program([*TORCHRUN, *program], environment or {})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run_program(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A program of these tests, to its end."""
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(sm.__file__).parents[1])}
    return subprocess.run(
        command, env={**os.environ, **own, **environment}, capture_output=True, text=True, timeout=600, cwd=ROOT
    )


def assert_same_state(first: Path, second: Path, *, tolerance: float) -> None:
    """The weights, their average and the optimizers of two runs."""

    def tensors(value: Any, name: str = "") -> dict[str, torch.Tensor]:
        if isinstance(value, StoredTensor):
            return {name: value.read()}
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return {key: leaf for part, item in items for key, leaf in tensors(item, f"{name}.{part}").items()}

    ours, theirs = (
        tensors({key: state[key] for key in ("model", "ema", "optimizers")})
        for state in map(read_state, (first, second))
    )
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(
            tensor, theirs[name], rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


def assert_same_curves(first: Path, second: Path) -> None:
    """The rows of two histories."""
    curves = [read_history(folder) for folder in (first, second)]
    assert len(curves[0]) == len(curves[1]) > 0
    for ours, theirs in zip(*curves, strict=True):
        assert ours.keys() == theirs.keys()
        assert {**ours, "seconds": 0} == pytest.approx({**theirs, "seconds": 0}, rel=1e-4)


def test_two_processes_train_as_one(series: Path, tmp_path: Path) -> None:
    """From data to report: the same weights, average, optimizers and curves as one process with batches in two parts,
    augmentation and all; though one of the two is killed, and torchrun starts both anew. One writes and prints."""
    sm.train(series, out=tmp_path / "one", epochs=3, settings=(*SMALL, "recipe.accumulate=2"))
    settings = [word for setting in SMALL for word in ("--set", setting)]
    printed = in_two_processes(
        *("--max-restarts", "1", SCRIPT, "train", str(series), "--out", str(tmp_path / "two"), "--epochs", "3"),
        *settings,
    )
    assert printed.count("report:") == 1
    assert_same_state(tmp_path / "one", tmp_path / "two", tolerance=1e-5)
    assert_same_curves(tmp_path / "one", tmp_path / "two")
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two")]
    assert reports[0]["metrics"] == pytest.approx(reports[1]["metrics"], rel=1e-4)


@pytest.mark.slow
def test_two_processes_evaluate_and_shard_as_one(series: Path, tmp_path: Path) -> None:
    """Metrics are exact, whatever the shares of the processes; FSDP ends with the weights of one process, validates
    them as one does, and its checkpoint is one of whole tensors."""
    config = sm.plan(series, epochs=1, settings=(*SMALL, "recipe.optimizer=lamb", "recipe.accumulate=2")).config
    torch.manual_seed(0)
    model = Perceiver(config.model)
    examples = sm.plan(series).source.splits["train"].for_modality(model.inputs)
    train = load_samples(examples, [model.inputs])
    fit(model, train, train, config=config, folder=tmp_path / "whole", listener=Quiet())
    halved = sm.plan(series, epochs=1, settings=(*SMALL, "recipe.optimizer=lamb")).config
    torch.save({"config": halved, "train": train}, tmp_path / "run.pt")
    in_two_processes(SCRIPT, str(tmp_path))
    assert_same_state(tmp_path / "whole", tmp_path / "sharded", tolerance=1e-5)
    assert_same_curves(tmp_path / "whole", tmp_path / "sharded")
    weights = [sm.load(tmp_path / name).state_dict() for name in ("whole", "sharded")]
    torch.testing.assert_close(*weights, rtol=1e-5, atol=1e-5)
    found = json.loads((tmp_path / "found.json").read_text())
    for name, (task, targets) in TARGETS.items():
        model = small_model(IMAGE, task)
        for count in (7, 2):
            samples = pictures(targets[:count].float() if name == "tag" else targets[:count], count=count)
            alone, shared = evaluate_model(model, samples, batch_size=3), found[f"{name} {count}"]
            np.testing.assert_allclose(shared.pop("scores"), alone.scores, rtol=1e-6, atol=1e-7)
            assert shared == pytest.approx(alone.metrics, rel=1e-6, nan_ok=True)


LARGE = (
    *("recipe.optimizer=adamw", "recipe.ema_decay=0.9", "recipe.precision=float32", "recipe.batch_size=8"),
    *("model.encoder.num_latents=4", "model.encoder.latent_channels=256", "model.encoder.num_layers=30"),
    *("model.encoder.num_self_attention_heads=2", "inputs.stem=null"),
)
WEIGHTS = 96  # megabytes: 24 million parameters


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's own memory against a limit")
def test_two_processes_train_what_one_cannot_hold(series: Path, tmp_path: Path) -> None:
    """Weights, two moments and a moving average are four times the weights; each process may have less, besides its
    libraries. Two train, stop, go on from the checkpoint, validate, and end with a report; one process fails."""
    limited = [str(Path(__file__).parent / "limited_memory.py"), str(4 * WEIGHTS - 14)]
    train = ["train", str(series), "--strategy", "fsdp", "--out"]
    settings = ["--epochs", "1", *(word for setting in LARGE for word in ("--set", setting))]
    environment = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back to the system, and is not counted
    alone = run_program([sys.executable, *limited, "0", *train, str(tmp_path / "one"), *settings], environment)
    assert alone.returncode == 2
    assert "sensorium: there is not enough memory" in alone.stderr
    two = str(tmp_path / "two")
    stopped = run_program([*TORCHRUN, *limited, "2", *train, two, *settings], environment)
    assert "stopped and saved" in stopped.stderr
    assert read_state(tmp_path / "two")["counters"]["steps"] == 2
    in_two_processes(*limited, "0", *train, two, "--resume", environment=environment)
    report = json.loads((tmp_path / "two" / "report.json").read_text())
    assert report["parameters"] * 4 > WEIGHTS * 1_000_000
    assert read_history(tmp_path / "two")[-1]["step"] == 4


def test_the_module_is_the_command() -> None:
    """``torchrun -m sensorium`` is ``sensorium``."""
    assert importlib.import_module("sensorium.__main__").main is cli.main


def test_what_a_launcher_has_started_is_used() -> None:
    """And a number of processes that contradicts it is refused."""
    environment = {"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
    assert Launch(strategy="fsdp").as_started(environment) == Launch(devices=4, nodes=2, strategy="fsdp")
    assert Launch(devices=4, nodes=2).as_started(environment).processes == 8
    assert Launch(devices=3).as_started({}) == Launch(devices=3)
    with pytest.raises(InputError, match=r"--devices 3 --nodes 1: 8 processes were started"):
        Launch(devices=3).as_started(environment)
    with pytest.raises(InputError, match=r"--nodes 0: use at least 1"):
        Launch(nodes=0)
