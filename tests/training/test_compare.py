"""``sensorium compare``: several models on the same data, seeds and minutes."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sensorium as sm
from sensorium.cli import main
from sensorium.data import load_samples
from sensorium.errors import InputError
from sensorium.inference.costs import gigaflop
from sensorium.modalities import ImageConfig, build_modality
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.models.recipe import RecipeConfig
from sensorium.nn import EncoderConfig
from sensorium.tasks import ClassifyConfig
from sensorium.training import compare as comparing
from sensorium.training import sizes, step_costs
from sensorium.training.contenders import CONTENDERS, SHARES, Candidate, Offer, without_stems
from sensorium.training.plan import RunConfig
from sensorium.training.progress import Interrupted, Quiet
from sensorium.training.run_folder import has_checkpoint
from sensorium.training.sizes import Budget, choose_size
from sensorium.training.step_costs import StepCost, forward_flop, measure, measure_apart, write_batch
from small_models import SMALL_RUN, signs

QUICK: dict[str, Any] = {"minutes": 0.01, "settings": SMALL_RUN}


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Two kinds of short series that differ in sign; no split is drawn beforehand."""
    values, labels = signs(60)
    folder = tmp_path / "signs"
    folder.mkdir()
    np.savez(folder / "signs.npz", x=values, y=labels)
    return folder


def test_several_processes_are_refused(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under torchrun, in one line of the first of them, before anything is written."""
    command = ["compare", str(series), "--out", str(tmp_path / "out")]
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="2"):
        main(command)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "sensorium: compare runs in one process, and 2 were started; start it without torchrun"
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit, match="2"):
        main(command)
    assert not capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are not measured: every contender takes its narrowest size. (A process takes seconds to start.)"""

    def instead(configs: Sequence[RunConfig], batch: Path, *, enough: float) -> tuple[list[StepCost], str]:
        parameters = Perceiver(configs[0].model).parameter_count()
        return [StepCost(seconds=2 * enough, peak=1, flop=1.0, parameters=parameters)], ""

    monkeypatch.setattr(sizes, "measure_apart", instead)


def by_name(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in result["contenders"]}


def image_config(**recipe: Any) -> RunConfig:
    """The run of a small model of grey pictures."""
    model = PerceiverConfig(
        inputs=ImageConfig(size=(8, 8), channels=1, patch=(2, 2), bands=2, mean=(0.5,), std=(0.5,)),
        encoder=EncoderConfig(
            num_latents=4,
            latent_channels=16,
            cross_attention=(0, 1),
            latent_transformer=(0, 1),
            num_layers=1,
            num_self_attention_heads=2,
        ),
        task=ClassifyConfig(classes=("cat", "dog")),
    )
    return RunConfig(model=model, recipe=RecipeConfig(batch_size=4, precision="float32", **recipe))


def image_batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"image": torch.rand(4, 1, 8, 8, generator=generator), "target": torch.tensor([0, 1, 1, 0])}


def candidates(name: str, config: RunConfig, batch: dict[str, torch.Tensor]) -> list[Candidate]:
    """The sizes of a contender."""
    return CONTENDERS[name].candidates(Offer(config, without_stems(config), batch))


# -- the whole


def test_all_that_can_read_the_data_are_trained_on_the_same_examples(
    series: Path, tmp_path: Path, in_process: None
) -> None:
    """Each in a run folder of its own, that every command takes; the table, the picture and the record hold them."""
    out = tmp_path / "comparison"
    result = sm.compare(series, out=out, **QUICK)
    entries = by_name(result)
    assert list(entries) == [*CONTENDERS, "classical", "majority"]
    trained = [name for name in CONTENDERS if entries[name]["scores"]]
    assert set(trained) >= {"sensorium", "resnet", "vit", "transformer", "lucidrains"}
    prints = [np.load(out / name / "examples.npz") for name in trained]
    for other in prints[1:]:
        assert all(np.array_equal(prints[0][split], other[split]) for split in ("train", "test"))
    for name in trained:
        report = json.loads((out / name / "report.json").read_text())
        assert entries[name]["scores"] == [report["metrics"]["accuracy"]]
        assert entries[name]["interval"] == report["accuracy_interval"]
        assert entries[name]["parameters"] == report["parameters"] == sm.load(out / name).parameter_count()
        assert report["config"]["seed"] == 0
        assert report["config"]["recipe"]["minutes"] == QUICK["minutes"]
    assert entries["classical"]["scores"] == [1.0]
    assert "of the width" in entries["resnet"]["note"]
    page = (out / "comparison.html").read_text()
    assert all(entry["title"] in page for entry in entries.values())
    assert json.loads((out / "comparison.json").read_text())["contenders"] == result["contenders"]
    assert sm.evaluate(out / "resnet", series)["metrics"]["accuracy"] == entries["resnet"]["scores"][0]
    assert not sm.load(out / "vit").cross_attends  # reports leave attention maps out


@pytest.mark.slow
def test_a_comparison_is_resumed_where_it_was_interrupted(
    series: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is finished is not trained again, what was interrupted goes on, and the options are those of the start."""
    out = tmp_path / "comparison"
    names = ("sensorium", "resnet", "transformer")

    class Stopper(Quiet):
        """Stops the second training."""

        title = ""

        def stage(self, text: str) -> None:
            self.title = text

        def progress(self, share: float, figures: dict[str, float]) -> None:
            if self.title.startswith("resnet") and self.title.endswith("training"):
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted) as interrupted:
        sm.compare(series, out=out, only=names, seed=3, listener=Stopper(), **QUICK)
    assert interrupted.value.out == out
    with pytest.raises(InputError, match="--resume"):
        sm.compare(series, out=out, only=names)
    before = (out / "sensorium" / "report.json").stat().st_mtime_ns
    started: list[tuple[str, bool]] = []
    original = comparing.run.run_plan

    def counted(planned: Any, folder: Path, *, listener: Any) -> Any:
        started.append((folder.name, not has_checkpoint(folder)))
        return original(planned, folder, listener=listener)

    monkeypatch.setattr(comparing.run, "run_plan", counted)
    result = sm.compare(series, out=out, only=names, resume=True)
    assert started == [("resnet", False), ("transformer", True)]
    assert (out / "sensorium" / "report.json").stat().st_mtime_ns == before
    assert all(by_name(result)[name]["scores"] for name in names)
    assert result["seeds"] == [3]
    assert result["options"]["minutes"] == QUICK["minutes"]
    sm.compare(series, out=out, only=names, resume=True)
    assert len(started) == 2
    grown = sm.compare(series, out=out, only=["sensorium"], seeds=2, resume=True)
    assert started[2:] == [("sensorium-seed-4", True)]
    entry = by_name(grown)["sensorium"]
    assert len(entry["scores"]) == 2
    assert entry["interval"] == [min(entry["scores"]), max(entry["scores"])]
    assert by_name(grown)["resnet"]["scores"], "those that were not named now are still in the table"


def test_one_that_fails_does_not_cost_the_others(
    series: Path, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(offer: Offer) -> list[Candidate]:
        raise RuntimeError("a defect\nof two lines")

    monkeypatch.setitem(CONTENDERS, "sensorium", replace(CONTENDERS["sensorium"], candidates=broken))
    result = by_name(sm.compare(series, out=tmp_path / "out", only=("sensorium", "transformer"), **QUICK))
    assert result["sensorium"]["note"] == "failed: RuntimeError: a defect of two lines"
    assert result["sensorium"]["scores"] == []
    assert result["transformer"]["scores"]


@pytest.mark.slow
def test_the_command_prints_the_table(series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With steps measured as they are for users, in another process."""
    out = tmp_path / "out"
    settings = [word for setting in SMALL_RUN for word in ("--set", setting)]
    named = ["--only", "perceiver", "--only", "sensorium"]
    main(["compare", str(series), "--out", str(out), "--minutes", "0.01", *named, *settings])
    printed = capsys.readouterr().out
    assert re.search(
        r"^sensorium +\d\.\d{3} +\d\.\d{3} to \d\.\d{3} +0\.0 +[\d.]+ +[\d,.]+( M)? +\d", printed, flags=re.M
    )
    assert f"comparison: {out / 'comparison.html'}" in printed
    assert "ResNet" not in printed
    (entry, *_) = json.loads((out / "comparison.json").read_text())["contenders"]
    assert entry["flop"] > 0
    assert entry["peak"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["resnest"]}, "did you mean 'resnet'"),
        ({"seeds": 0}, "--seeds 0"),
        ({"resume": True}, "nothing to resume"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    series: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        sm.compare(series, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


# -- who takes part


def test_networks_read_what_the_paper_fed_them() -> None:
    """Pixels and Fourier features on their grid; the recipe is the run's."""
    config, batch = image_config(minutes=1.0, learning_rate=0.02), image_batch()
    for name, grid in (("resnet", True), ("vit", True), ("transformer", False), ("lucidrains", False)):
        for candidate in candidates(name, config, batch):
            assert candidate.config.recipe == config.recipe
            assert candidate.config.model.inputs.patch == ((1, 1) if grid else (2, 2))
            model = Perceiver(candidate.config.model)
            assert model(batch).scores.shape == (4, 2)
    shares = [candidate.share for candidate in candidates("resnet", config, batch)]
    assert tuple(shares) == SHARES
    encoders = [candidate.config.model.encoder for candidate in candidates("resnet", config, batch)]
    assert [encoder.width for encoder in encoders] == [8, 16, 32, 64]
    assert encoders[0].stem == "plain"
    large = replace(config.model.inputs, size=(224, 224))
    huge = replace(config, model=replace(config.model, inputs=large))
    pixels = {**batch, "image": torch.rand(4, 1, 224, 224)}
    assert candidates("resnet", huge, pixels)[-1].config.model.encoder.stem == "strided"
    assert candidates("vit", huge, pixels)[-1].config.model.encoder.patch == (16, 16)
    coarse = replace(huge, recipe=replace(config.recipe, batch_size=10_000))
    assert candidates("resnet", coarse, pixels)[0].config.model.inputs.patch == (2, 2)


def test_what_is_no_grid_is_said(tmp_path: Path) -> None:
    """Points, tables and several signals: ResNet and ViT say why they do not take part, the others do."""
    random = np.random.default_rng(0)
    np.savez(tmp_path / "clouds.npz", points=random.normal(size=(20, 30, 3)), y=np.arange(20) % 2)
    lines = "\n".join(f"{random.normal():.3f},{random.normal():.3f},{'ab'[i % 2]}" for i in range(40))
    (tmp_path / "rows.csv").write_text(f"width,height,label\n{lines}\n")
    cases = ((tmp_path / "clouds.npz", {"kind": ("points",)}, "lie on none"), (tmp_path / "rows.csv", {}, "no order"))
    for data, corrections, reason in cases:
        planned = sm.plan(data, **corrections, settings=("inputs.stem=null",))
        modality = build_modality(planned.config.model.inputs)
        batch = load_samples(planned.source.splits["train"].for_modality(modality), [modality]).batch(range(8))
        for name in ("resnet", "vit"):
            with pytest.raises(InputError, match=reason):
                candidates(name, planned.config, batch)
        for name in ("transformer", "lucidrains"):
            model = Perceiver(candidates(name, planned.config, batch)[0].config.model)
            assert model.predict(batch).scores.isfinite().all()


def test_a_perceiver_without_stems_takes_part_where_there_are_stems() -> None:
    """Otherwise it would be the same run twice."""
    from sensorium.nn.stems import PointwiseConfig

    config, batch = image_config(), image_batch()
    with pytest.raises(InputError, match="no signal has a stem"):
        candidates("perceiver", config, batch)
    inputs = replace(config.model.inputs, stem=PointwiseConfig(channels=4))
    stemmed = replace(config, model=replace(config.model, inputs=inputs))
    (plain,) = candidates("perceiver", stemmed, batch)
    assert plain.config == config


# -- the rule of sizes


@pytest.mark.parametrize(
    ("seconds", "index", "note"),
    [
        ((0.1, 0.2, 0.3, 0.4), 3, "1 of the width"),
        ((0.1, 0.2, 0.6), 1, "1/4 of the width"),
        ((2.0,), 0, "1/8 of the width; time for about 7.5 passes instead of 30"),
    ],
)
def test_the_widest_that_the_time_allows_is_taken(
    monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, ...], index: int, note: str
) -> None:
    config = image_config(minutes=1.0)
    budget = Budget.of(config, examples=16)  # 30 passes of 4 steps in a minute
    assert budget.enough == pytest.approx(0.5)
    costs = [StepCost(seconds=each, peak=1, flop=1.0, parameters=1) for each in seconds]
    monkeypatch.setattr(sizes, "measure_apart", lambda configs, batch, *, enough: (costs, ""))
    size = choose_size(candidates("resnet", config, image_batch()), image_batch(), budget)
    assert (size.index, size.cost, size.note) == (index, costs[index], note)


def test_fewer_passes_are_enough_where_the_recipe_asks_for_fewer() -> None:
    config = image_config(minutes=1.0, epochs=3.0)
    assert Budget.of(config, examples=16) == Budget(passes=3.0, enough=5.0)


@pytest.mark.slow
def test_measuring_in_another_process_stops_at_the_first_that_is_too_slow(tmp_path: Path) -> None:
    """And what fails in it is a reason, not an error."""
    batch = tmp_path / "batch.pt"
    write_batch(image_batch(), batch)
    config = image_config()
    costs, reason = measure_apart([config, config], batch, enough=0.0)
    assert len(costs) == 1
    assert not reason
    assert costs[0].parameters == Perceiver(config.model).parameter_count()
    broken = replace(config, model=replace(config.model, inputs=replace(config.model.inputs, channels=3)))
    costs, reason = measure_apart([broken], batch, enough=0.0)
    assert not costs
    assert "mean and std" in reason


def test_what_is_counted_is_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations as of ``sensorium presets``; a convolution's and a linear layer's by hand."""
    config = image_config()
    with torch.device("meta"):
        expected = gigaflop(Perceiver(config.model)) * 1e9
    assert forward_flop(Perceiver(config.model), image_batch()) == expected
    candidate = candidates("transformer", config, image_batch())[0]
    rows, inputs, channels, outputs = 16, Perceiver(config.model).inputs.channels, 96, 2
    linear = 2 * rows * (inputs * channels + 12 * 12 * channels**2) + 2 * channels * outputs
    attention = 12 * 2 * 2 * rows**2 * channels
    assert forward_flop(Perceiver(candidate.config.model), image_batch()) == linear + attention


def test_a_measured_step_is_a_training_step() -> None:
    cost = measure(image_config(ema_decay=0.9), image_batch())
    assert cost.seconds > 0
    assert cost.peak > 0
    assert step_costs.STEPS >= 1
