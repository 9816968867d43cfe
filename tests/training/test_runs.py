"""A run folder from data to report: training, resuming, evaluating, predicting."""

from __future__ import annotations

import copy
import json
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import sensorium as sm
from sensorium.errors import InputError
from sensorium.modalities import ImageConfig
from sensorium.models.perceiver import PerceiverConfig
from sensorium.nn import EncoderConfig
from sensorium.nn.stems.published import ConvolutionConfig
from sensorium.tasks import ClassifyConfig
from sensorium.training.batches import EpochBatches, Parts
from sensorium.training.plan import read_run_config, reopen
from sensorium.training.precision import faster_precision
from sensorium.training.progress import Interrupted, Quiet
from sensorium.training.run_folder import free_folder, read_history
from sensorium.training.state_file import read_state
from small_models import SMALL_RUN, SMALLEST_RUN, signs


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Two kinds of short series that differ in sign, as an array file."""
    values, labels = signs(64)
    folder = tmp_path / "signs"
    folder.mkdir()
    np.savez(folder / "signs.npz", x_train=values[:48], y_train=labels[:48], x_test=values[48:], y_test=labels[48:])
    return folder


class Listening(Quiet):
    """Counts steps, and does something at one of them."""

    def __init__(self, *, at: int = -1, do: Callable[[], None] = lambda: None) -> None:
        self.steps, self.at, self.do = 0, at, do
        self.stages: list[str] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def progress(self, share: float, figures: dict[str, float]) -> None:
        if self.stages[-1] == "training":
            self.steps += 1
            if self.steps == self.at:
                self.do()


def test_a_run_folder_holds_all_that_is_promised(series: Path, tmp_path: Path) -> None:
    """Training learns, and leaves configuration, weights, curves and reports; the API reads them back."""
    out = tmp_path / "run"
    result = sm.train(series, out=out, epochs=20, settings=SMALL_RUN)
    names = {path.name for path in out.iterdir()}
    promised = {"config.yaml", "config.json", "model.safetensors", "metrics.csv", "report.json", "report.html"}
    assert promised | {"README.md", "report.png"} <= names
    assert not [name for name in names if name.endswith(".part")]
    written = json.loads((out / "report.json").read_text())
    assert written["metrics"]["accuracy"] == result["metrics"]["accuracy"] == 1.0
    assert written["samples"] == 16
    assert written["split"] == "test"
    model = sm.load(out)
    assert model.parameter_count() == written["parameters"]
    again = sm.evaluate(out, series)
    assert again["metrics"]["accuracy"] == 1.0
    assert again["train_seconds"] == written["train_seconds"]
    assert sm.evaluate(out, series, split="all")["samples"] == 48 + 16


def test_interrupted_and_resumed_equals_uninterrupted(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is stopped by a signal and resumed ends with the very same weights and history: stopped in the middle
    of an epoch, at its end, before the first step of all that is validated, and after the last one. The precision that
    was measured first stays, whatever would be measured later."""
    measured = iter(["bfloat16", "bfloat16"])  # once a run
    monkeypatch.setattr("sensorium.training.loop.faster_precision", lambda *_, **__: next(measured))
    settings = (*SMALL_RUN, "recipe.ema_decay=0.9", "recipe.accumulate=2", "recipe.precision=auto")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    sm.train(series, out=whole, epochs=3, settings=settings)
    options: dict[str, Any] = {"epochs": 3, "settings": settings}
    for stop in (4, 6, 11, 18):
        stopper = Listening(at=stop, do=lambda: os.kill(os.getpid(), signal.SIGINT))
        stopper.steps = (read_state(parts) or {"counters": {"steps": 0}})["counters"]["steps"]
        with pytest.raises(Interrupted):
            sm.train(series, out=parts, listener=stopper, **options)
        assert stopper.steps == stop
        options = {"resume": True}
    rest = Listening()
    sm.train(series, out=parts, resume=True, listener=rest)
    assert rest.steps == 0
    for name, tensor in sm.load(whole).state_dict().items():
        assert torch.equal(tensor, sm.load(parts).state_dict()[name]), name
    first, second = ([{**row, "seconds": 0} for row in read_history(run)] for run in (whole, parts))
    assert first == second


def test_a_resumed_run_is_not_planned_again(series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens the data that its own configuration describes, with the splits of its own seed, and measures nothing."""
    (series / "signs.npz").rename(series / "all.npz")
    values = np.load(series / "all.npz")
    np.savez(series / "signs.npz", x=values["x_train"], y=values["y_train"])  # the splits are drawn
    (series / "all.npz").unlink()
    out = tmp_path / "run"
    stopper = Listening(at=2, do=lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        sm.train(series, out=out, epochs=4, settings=SMALL_RUN, seed=5, listener=stopper)
    config = read_run_config(out)
    planned = sm.plan(series, epochs=4, settings=SMALL_RUN, seed=5)
    for split, examples in reopen(series, config).splits.items():
        assert list(examples.names) == list(planned.source.splits[split].names)
    for function in ("plan.plan", "plan.measure", "plan.choose", "run.plan"):
        monkeypatch.delattr(f"sensorium.training.{function}")
    assert sm.train(series, out=out, resume=True)["seed"] == 5


def test_only_training_loads_the_engine() -> None:
    """Planning and evaluating do not wait for it."""
    program = "import sys, sensorium as sm; sm.plan; sm.train; sm.evaluate; assert 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_run_of_the_old_format_is_refused_in_a_line(series: Path, tmp_path: Path) -> None:
    """A configuration without a format number, or with another one, says what to do."""
    out = tmp_path / "run"
    sm.train(series, out=out, epochs=1, settings=SMALL_RUN)
    text = (out / "config.yaml").read_text()
    assert text.startswith("format: 2\n")
    for old in (text.removeprefix("format: 2\n"), text.replace("format: 2", "format: 1", 1)):
        (out / "config.yaml").write_text(old)
        with pytest.raises(InputError, match="older sensorium"):
            sm.evaluate(out, series)
    (out / "config.yaml").write_text(text.replace("format: 2", "format: 3", 1))
    with pytest.raises(InputError, match="newer sensorium"):
        sm.evaluate(out, series)


def test_a_run_leaves_logging_warnings_and_signals_as_they_were(series: Path, tmp_path: Path) -> None:
    """Other libraries are silenced while the engine runs and no longer, even where a run fails."""

    def state() -> tuple[object, ...]:
        levels = [logging.getLogger(name).level for name in engine.LOGGERS]
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        return levels, handlers, list(warnings.filters)

    from sensorium.training import engine  # it changes filters when it is first imported

    before = state()
    with engine.quiet_engine():
        assert state()[0] != before[0]
        assert state()[2] != before[2]
    assert state() == before
    with pytest.raises(ZeroDivisionError), engine.quiet_engine():
        raise ZeroDivisionError
    assert state() == before
    sm.train(series, out=tmp_path / "run", epochs=1, settings=SMALL_RUN)
    assert state() == before
    with pytest.raises(InputError, match="loss is"):
        sm.train(series, out=tmp_path / "failed", epochs=9, settings=(*SMALL_RUN, "recipe.learning_rate=1e30"))
    assert state() == before


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "lamb"])
def test_a_rate_that_no_optimizer_can_hold_ends_in_the_line_of_a_run_that_diverges(
    optimizer: str, series: Path, tmp_path: Path
) -> None:
    """Muon's own factor makes more than float32 can hold of it."""
    settings = (*SMALLEST_RUN, f"recipe.optimizer={optimizer}", "recipe.learning_rate=1e38")
    with pytest.raises(InputError, match=r"the loss is .* lower it with --set recipe\.learning_rate=3\.3e\+37"):
        sm.train(series, out=tmp_path / "run", epochs=3, settings=settings)


def test_same_seed_same_weights(series: Path, tmp_path: Path) -> None:
    """Two runs with one seed agree bit for bit; another seed does not."""
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for out, seed in ((first, 1), (second, 1), (third, 2)):
        sm.train(series, out=out, epochs=1, settings=SMALL_RUN, seed=seed)
    weights = [(out / "model.safetensors").read_bytes() for out in (first, second, third)]
    assert weights[0] == weights[1] != weights[2]


def test_minutes_end_the_run(series: Path, tmp_path: Path) -> None:
    """A run of no minutes takes one step, and still leaves a whole run folder."""
    listener = Listening()
    result = sm.train(series, out=tmp_path / "run", minutes=1e-9, settings=SMALL_RUN, listener=listener)
    assert listener.steps == 1
    assert result["samples"] == 16


@pytest.mark.slow
def test_every_optimizer_learns(series: Path, tmp_path: Path) -> None:
    """AdamW, Muon and LAMB all separate two signs."""
    for optimizer in ("adamw", "muon", "lamb"):
        settings = (*SMALL_RUN, f"recipe.optimizer={optimizer}", "recipe.learning_rate=1e-2")
        assert sm.train(series, out=tmp_path / optimizer, epochs=15, settings=settings)["metrics"]["accuracy"] >= 0.9


def test_a_finished_run_is_not_overwritten(series: Path, tmp_path: Path) -> None:
    """Training into a run folder again, or resuming a finished run, is refused with the cure."""
    out = tmp_path / "run"
    sm.train(series, out=out, epochs=1, settings=SMALL_RUN)
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="--resume or choose another --out"):
        sm.train(series, out=out, epochs=1, settings=SMALL_RUN)
    with pytest.raises(InputError, match="finished"):
        sm.train(series, out=out, resume=True)
    with pytest.raises(InputError, match="nothing to resume"):
        sm.train(series, out=tmp_path / "empty", resume=True)
    assert (out / "model.safetensors").read_bytes() == before
    assert free_folder(out) == tmp_path / "run-2"


def test_a_loss_that_is_not_finite_ends_the_run_with_the_cure(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN never reaches the kept weights."""
    monkeypatch.setattr(
        "sensorium.tasks.Classify.loss", lambda self, output, targets, label_smoothing=0.0: output.sum() * torch.nan
    )
    with pytest.raises(InputError, match=r"recipe\.learning_rate"):
        sm.train(series, out=tmp_path / "run", epochs=1, settings=SMALL_RUN)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_an_output_folder_that_cannot_be_written_is_said_before_training(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only or full disk costs no training time."""

    def full(self: Path, *_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    listener = Listening()
    with pytest.raises(InputError, match="No space left on device"):
        sm.train(series, out=tmp_path / "run", epochs=1, settings=SMALL_RUN, listener=listener)
    assert "training" not in listener.stages


@pytest.mark.slow
def test_data_larger_than_memory_trains_the_same(series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples decoded batch by batch, in other processes, give the very weights that samples in memory give."""
    sm.train(series, out=tmp_path / "memory", epochs=2, settings=SMALL_RUN)
    monkeypatch.setattr("sensorium.data.samples.memory", lambda: 0)
    sm.train(series, out=tmp_path / "lazy", epochs=2, settings=SMALL_RUN)
    names = ("memory", "lazy")
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in names)
    assert first == second


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Pictures of two classes; two of the 202 for training and one for validation are none."""
    random = np.random.default_rng(0)
    for split, count in (("train", 202), ("val", 101), ("test", 8)):
        for number in range(count):
            file = tmp_path / "data" / split / "ab"[number % 2] / f"{number:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 120, (4, 4, 3), dtype=np.uint8) + 120 * (number % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(file)
    for name in ("train/a/100.png", "train/b/201.png", "val/a/006.png"):
        (tmp_path / "data" / name).write_bytes(b"no picture")
    return tmp_path / "data"


@pytest.mark.slow
def test_what_cannot_be_read_changes_nothing_about_when_it_is_met(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoded before training, on the way, on the way by other processes, or on the way and, after an interruption,
    before training: the very same weights, and every bad file in the report."""
    monkeypatch.setattr("sensorium.training.measuring.MEASURED", 8)
    weights = []
    for name, up_front, room in (("early", 1e9, 1 << 40), ("late", -1.0, 1 << 40), ("workers", -1.0, 0)):
        monkeypatch.setattr("sensorium.data.samples.UP_FRONT", up_front)
        monkeypatch.setattr("sensorium.data.samples.memory", lambda room=room: room)
        report = sm.train(damaged, out=tmp_path / name, epochs=2, settings=SMALL_RUN)
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
        assert sorted(Path(line.split(": ")[0]).name for line in report["set_aside"]) == [
            *("006.png", "100.png", "201.png")
        ]
    stopper = Listening(at=7, do=lambda: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.setattr("sensorium.data.samples.memory", lambda: 1 << 40)
    with pytest.raises(Interrupted):
        sm.train(damaged, out=tmp_path / "parts", epochs=2, settings=SMALL_RUN, listener=stopper)
    monkeypatch.setattr("sensorium.data.samples.UP_FRONT", 1e9)
    sm.train(damaged, out=tmp_path / "parts", resume=True)
    weights.append((tmp_path / "parts" / "model.safetensors").read_bytes())
    assert len(set(weights)) == 1


def test_too_many_bad_files_met_by_workers_are_an_error_of_one_line(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (50, 60, 70):
        (damaged / "train" / "a" / f"{number:03}.png").write_bytes(b"no picture")
    monkeypatch.setattr("sensorium.data.samples.UP_FRONT", -1.0)
    monkeypatch.setattr("sensorium.data.samples.memory", lambda: 0)
    with pytest.raises(InputError, match=r"\(3 of \d+ examples cannot be read\)$") as caught:
        sm.train(damaged, out=tmp_path / "run", epochs=2, settings=SMALL_RUN)
    assert "\n" not in str(caught.value)


def test_epoch_batches_are_a_partition_that_depends_on_seed_and_epoch_only() -> None:
    """Every example is drawn at most once an epoch, all but a short rest are."""
    batches = EpochBatches(10, 3, seed=1)
    assert len(batches) == 3
    first, second = ([batches.of_step(step) for step in epoch] for epoch in (range(3), range(3, 6)))
    assert len({index for batch in first for index in batch}) == 9
    assert first != second
    assert EpochBatches(10, 3, seed=1).of_step(4) == second[1]
    assert EpochBatches(10, 3, seed=2).of_step(4) != second[1]


@given(
    examples=st.integers(6, 40),
    batch_size=st.integers(6, 40),
    accumulate=st.integers(1, 3),
    processes=st.integers(1, 2),
    step=st.integers(0, 9),
)
def test_the_parts_of_all_processes_are_the_batch(
    examples: int, batch_size: int, accumulate: int, processes: int, step: int
) -> None:
    """In order, whatever the first step is; and what several processes take, one takes with more parts."""
    batches = EpochBatches(examples, batch_size, seed=3)

    def parts(*, begin: int, accumulate: int, process: int = 0, processes: int = 1) -> list[list[int]]:
        taken = Parts(batches, step=begin, accumulate=accumulate, process=process, processes=processes)
        return list(islice(taken, (step + 1 - begin) * accumulate))[-accumulate:]

    shared = [
        part
        for process in range(processes)
        for part in parts(begin=step, accumulate=accumulate, process=process, processes=processes)
    ]
    assert [index for part in shared for index in part] == batches.of_step(step)
    assert shared == parts(begin=max(0, step - 2), accumulate=accumulate * processes)


def test_a_batch_of_fewer_examples_than_parts_is_refused() -> None:
    with pytest.raises(InputError, match=r"a batch of 3 examples cannot have 4 parts"):
        Parts(EpochBatches(3, 8, seed=0), accumulate=2, processes=2)


def test_faster_precision_is_one_of_the_two(series: Path) -> None:
    """It measures, leaves no gradients, and names a precision."""
    planned = sm.plan(series, settings=SMALL_RUN)
    model = sm.Perceiver(planned.config.model)
    batch = {"series": torch.rand(4, 12, 2), "series.mask": torch.ones(4, 12, dtype=torch.bool)}
    precision = faster_precision(model, {**batch, "target": torch.zeros(4)})
    assert precision in ("float32", "bfloat16")
    assert all(parameter.grad is None for parameter in model.parameters())


def test_measuring_precision_leaves_the_model_as_it_was() -> None:
    """Its batch norms, too, which move with every pass in training."""
    stem = ConvolutionConfig(channels=4)
    encoder = EncoderConfig(
        num_latents=2,
        latent_channels=8,
        cross_attention=(0,),
        latent_transformer=(0,),
        num_layers=1,
        num_self_attention_heads=2,
    )
    inputs = ImageConfig(size=(8, 8), bands=2, stem=stem)
    model = sm.Perceiver(PerceiverConfig(inputs=inputs, encoder=encoder, task=ClassifyConfig(classes=("a", "b"))))
    before = copy.deepcopy(model.state_dict())
    batch = {"image": torch.rand(4, 3, 8, 8), "target": torch.tensor([0, 1, 0, 1])}
    faster_precision(model, batch)
    assert model.training
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    model(batch)
    assert not all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_a_paper_preset_keeps_its_recipe_and_takes_the_data_s_classes(series: Path, tmp_path: Path) -> None:
    """A preset of another kind of signal is refused; one of the same keeps its values but for what is said."""
    with pytest.raises(InputError, match="reads image, the data is series"):
        sm.plan(series, preset="perceiver-imagenet")
    np.savez(tmp_path / "clouds.npz", x=np.random.default_rng(0).normal(size=(20, 30, 3)), y=np.arange(20) % 2)
    planned = sm.plan(tmp_path / "clouds.npz", preset="perceiver-modelnet40", epochs=1)
    assert planned.config.recipe.optimizer == "lamb"
    assert planned.config.recipe.epochs == 1
    assert len(planned.config.model.task.classes) == 2
