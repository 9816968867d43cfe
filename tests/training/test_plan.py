"""The summary says how large the signals are that the model sees."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import sensorium as sm
import stand_ins
from builders import film
from sensorium.codecs.pictures import encode_file
from sensorium.inference.costs import training_cost
from sensorium.modalities import KINDS, ImageConfig
from sensorium.models import presets
from sensorium.models.auto import Facts, choose_encoder
from sensorium.models.baselines.resnet import ResNetConfig
from sensorium.models.baselines.transformer import TransformerConfig
from sensorium.models.baselines.vit import ViTConfig
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.models.presets import load
from sensorium.nn import ByteArray, EncoderConfig, Segment
from sensorium.nn.byte_array import Layout
from sensorium.tasks import ClassifyConfig
from sensorium.training import plan as planning
from sensorium.training.run_state import Counters
from sensorium.training.schedule import learning_rate
from sensorium.training.state_file import read_state
from small_models import SMALLEST_RUN, signs


def test_sizes_are_said_as_they_are_set(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", accel=random.normal(size=(20, 50, 3)), y=np.arange(20) % 2)
    (said,) = [guess for guess in sm.plan(tmp_path).source.assumptions if "sees" in guess.text]
    assert said.text.startswith("the model sees length 50, patch 1;")
    assert said.flag == "--set model.inputs.length=VALUE"
    planned = sm.plan(tmp_path, settings=["model.inputs.length=20"])
    assert any("length 20" in guess.text for guess in planned.source.assumptions)


def test_a_preset_says_what_could_be_several_kinds(tmp_path: Path) -> None:
    """Points in the order of a scan look like a series, but not to a model of points."""
    scans = np.random.default_rng(0).normal(size=(12, 2048, 3)).cumsum(1)
    np.savez(tmp_path / "a.npz", x=scans, y=np.arange(12) % 2)
    assert sm.plan(tmp_path).source.kinds == {"series": "series"}
    assert sm.plan(tmp_path, preset="perceiver-modelnet40").source.kinds == {"points": "points"}


def test_one_setting_leaves_out_every_stem(tmp_path: Path) -> None:
    """Of several signals, too; and the model behind is the one that is chosen for rows without stems."""
    random = np.random.default_rng(0)
    arrays = {"accel": random.normal(size=(20, 50, 3)), "note": random.normal(size=(20, 80, 1))}
    np.savez(tmp_path / "a.npz", **arrays, y=np.arange(20) % 2)
    with_stems = sm.plan(tmp_path).config.model
    assert all(part.stem is not None for part in with_stems.inputs.modalities.values())
    plain = sm.plan(tmp_path, settings=["inputs.stem=null"]).config.model
    assert all(part.stem is None for part in plain.inputs.modalities.values())
    facts = Facts(task="classify", examples=20, stems=False)
    assert plain.encoder == choose_encoder(plain.inputs, facts)


def test_a_setting_may_leave_out_that_it_is_the_models(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).normal(size=(20, 50, 3)), y=np.arange(20) % 2)
    settings = ["inputs.stem=null", "encoder.num_layers=3"]
    short, long = (sm.plan(tmp_path, settings=[prefix + one for one in settings]) for prefix in ("", "model."))
    assert short.config == long.config
    assert short.config.model.encoder.num_layers == 3
    assert short.config.model.inputs.stem is None


@pytest.mark.parametrize(
    "preset", ["perceiver-audioset-mel", "perceiver-audioset-audio", "perceiver-audioset-av-mel", "perceiver-imagenet"]
)
def test_a_preset_takes_from_the_data_what_its_paper_does_not_state(preset: str, tmp_path: Path) -> None:
    """The mean and the deviation of log-mel spectra, as the preset's own spectra have them; nothing else."""
    _write_examples(tmp_path, presets.load(preset).kinds)
    source, config = (planned := sm.plan(tmp_path, preset=preset)).source, planned.config
    inputs, paper = config.model.inputs, presets.load(preset).inputs
    parts, papers = (getattr(each, "modalities", {each.kind: each}) for each in (inputs, paper))
    for (name, part), stated in zip(parts.items(), papers.values(), strict=True):
        if getattr(part, "representation", None) != "mel":
            assert part == stated
            continue
        assert replace(part, mean=stated.mean, std=stated.std) == stated
        modality = KINDS["audio"](part, name=name)
        spectra = np.concatenate([modality.load(raw)[name].ravel() for raw in source.splits["train"].raws[name]])
        normalised = (spectra.astype(np.float64) - part.mean) / part.std
        assert (normalised.mean(), normalised.std()) == pytest.approx((0, 1), abs=1e-3)


def _write_examples(folder: Path, kinds: dict[str, str]) -> None:
    """Eight examples in two classes: films with sound, quiet noise, or pictures."""
    random = np.random.default_rng(0)
    for number in range(8):
        place = folder / "ab"[number % 2] / str(number)
        place.parent.mkdir(exist_ok=True)
        if len(kinds) > 1:
            film(place.with_suffix(".mp4"), sound=True, seed=number)
        elif "audio" in kinds:
            soundfile.write(place.with_suffix(".wav"), random.normal(0, 0.01, 20_000), 48_000)
        else:
            encode_file(random.integers(0, 256, (24, 24, 3), dtype=np.uint8), place.with_suffix(".png"))


# -- splits -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Points of a published training split of 600 clouds and a test split."""
    random = np.random.default_rng(0)
    arrays = {f"x_{split}": random.normal(size=(count, 32, 3)) for split, count in (("train", 600), ("test", 20))}
    labels = {"y_train": np.arange(600) % 2, "y_test": np.arange(20) % 2}
    np.savez(tmp_path / "clouds.npz", **arrays, **labels)
    return tmp_path / "clouds.npz"


def test_a_papers_preset_trains_on_all_of_a_published_training_split(published: Path) -> None:
    """No tenth is held out, unless somebody says so; ``auto`` holds it out, unless ``--val 0`` says otherwise."""

    def sizes(**options: Any) -> dict[str, int]:
        splits = sm.plan(published, kind=["points"], **options).source.splits
        return {name: len(examples) for name, examples in splits.items()}

    assert sizes(preset="perceiver-modelnet40") == {"train": 600, "test": 20}
    assert sizes(preset="perceiver-modelnet40", val=0.1) == {"train": 540, "val": 60, "test": 20}
    assert sizes() == {"train": 540, "val": 60, "test": 20}
    assert sizes(val=0.0) == {"train": 600, "test": 20}


def test_without_a_validation_split_the_last_weights_are_kept(tmp_path: Path) -> None:
    values, labels = signs(40)
    np.savez(tmp_path / "a.npz", x=values, y=labels)
    sm.train(tmp_path / "a.npz", out=tmp_path / "run", val=0.0, steps=7, settings=[*SMALLEST_RUN, "recipe.ema_decay=0"])
    state = read_state(tmp_path / "run")
    assert state is not None
    assert state["counters"]["steps"] == 7
    kept = sm.load(tmp_path / "run").state_dict()
    assert all(torch.equal(tensor, state["model"][name].read()) for name, tensor in kept.items())


# -- limits and batches -----------------------------------------------------------------------------------------------


def test_steps_are_a_limit_like_the_others(tmp_path: Path) -> None:
    """The first one that is reached ends the run; a preset's own limits hold where none is given."""
    values, labels = signs(40)
    np.savez(tmp_path / "a.npz", x=values, y=labels)
    recipe = sm.plan(tmp_path, steps=500).config.recipe
    assert (recipe.steps, recipe.epochs, recipe.minutes) == (500, None, None)
    recipe = sm.plan(tmp_path, steps=500, minutes=2).config.recipe
    assert (recipe.steps, recipe.epochs, recipe.minutes) == (500, None, 2)
    counters = Counters(steps=100, seconds=90)
    assert counters.share_done(recipe, steps_per_epoch=4) == 0.75
    counters.steps = 450
    assert counters.share_done(recipe, steps_per_epoch=4) == 0.9


@pytest.mark.parametrize(("name", "steps"), [("perceiver-io-bytes", 500_000), ("perceiver-modelnet40", 50_000)])
def test_what_a_paper_states_in_steps_is_in_steps(name: str, steps: int) -> None:
    recipe = load(name).recipe
    assert (recipe.steps, recipe.epochs, recipe.minutes) == (steps, None, None)


@pytest.mark.parametrize("batch_size", [256, 1024, 2048])
def test_the_learning_rate_follows_the_batch_where_the_paper_says_so(batch_size: int) -> None:
    """Perceiver IO on ImageNet: 5e-4 · batch / 256. Other recipes state one rate for one batch."""
    for kind in ("fourier", "learned", "conv"):
        recipe = replace(load(f"perceiver-io-imagenet-{kind}").recipe, batch_size=batch_size)
        assert learning_rate(recipe, 0.25) == pytest.approx(5e-4 * batch_size / 256)
    recipe = load("perceiver-imagenet").recipe
    assert learning_rate(replace(recipe, batch_size=batch_size), 0) == learning_rate(recipe, 0) == 4e-3


@pytest.mark.parametrize(
    ("preset", "gigabytes"),
    [
        *(("perceiver-modelnet40", gigabytes) for gigabytes in (0.5, 3, 24, 1e6)),
        *((name, 24) for name in ("resnet50-modelnet40", "vit-b2-modelnet40", "transformer-modelnet40")),
    ],
)
def test_a_published_batch_is_cut_into_parts_that_fit(
    published: Path, preset: str, gigabytes: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As few parts as fit into half of the memory, at least one example each; the batch stays what it is, and so do the
    steps of the optimizers."""
    monkeypatch.setattr(planning, "device_memory", lambda: int(gigabytes * 1e9))
    planned = sm.plan(published, preset=preset, kind=["points"])
    recipe, cost = planned.config.recipe, training_cost(planned.config.model)
    assert recipe.batch_size == 512

    def fits(parts: int) -> bool:
        return ceil(512 / parts) * cost.example <= gigabytes * 1e9 / 2 - cost.state

    assert fits(recipe.accumulate) or recipe.accumulate == 512
    assert recipe.accumulate == 1 or not fits(recipe.accumulate - 1)
    said = [guess.text for guess in planned.source.assumptions if guess.topic == "batch"]
    assert bool(said) == (recipe.accumulate > 1)
    settings = ["recipe.accumulate=3"]
    assert sm.plan(published, preset=preset, kind=["points"], settings=settings).config.recipe.accumulate == 3


def test_what_is_mixed_and_joined_within_a_part_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Partners of Mixup, and texts of a passage, are of the part; which examples a batch has does not depend on it."""
    monkeypatch.setattr(planning, "device_memory", lambda: 10**6)
    stand_ins.imagenet(tmp_path / "imagenet")
    stand_ins.texts(tmp_path / "texts")
    for data, preset, task, said in (
        ("imagenet", "perceiver-io-imagenet-conv", None, "mixed with others of their part"),
        ("imagenet", "perceiver-imagenet", None, "for want of memory"),
        ("texts", "perceiver-io-bytes", "mlm", "joined with others of their part"),
    ):
        planned = sm.plan(tmp_path / data, preset=preset, task=task)
        (text,) = [guess.text for guess in planned.source.assumptions if guess.topic == "batch"]
        assert text.endswith(said)
        assert planned.config.recipe.accumulate == 8


def test_no_process_has_a_part_without_examples(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "device_memory", lambda: 10**6)
    monkeypatch.setattr(planning, "world_size", lambda: 3)
    recipe = sm.plan(published, preset="perceiver-modelnet40", kind=["points"]).config.recipe
    assert recipe.accumulate == 512 // 3


def test_what_training_keeps_grows_with_what_it_computes() -> None:
    """Checkpointing keeps less; more rows, latents and layers keep more."""
    model = load("perceiver-modelnet40").model()
    cost = training_cost(model)
    assert training_cost(model, checkpointing=True).example < cost.example / 4
    for name, value in (("num_latents", 1024), ("num_layers", 12)):
        larger = replace(model, encoder=replace(model.encoder, **{name: value}))
        assert 1.5 < training_cost(larger).example / cost.example < 3
    assert training_cost(replace(model, inputs=replace(model.inputs, points=8192))).example > cost.example


SMALL = {"channels": 16, "num_layers": 2, "num_heads": 4}
BACKBONES = {
    "perceiver": EncoderConfig(num_latents=8, latent_channels=16, num_layers=2, num_self_attention_heads=4),
    "resnet": ResNetConfig(width=8, blocks=(1, 1)),
    "vit": ViTConfig(**SMALL, patch=(2, 2)),
    "transformer": TransformerConfig(**SMALL),
}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_what_is_counted_is_what_a_step_keeps(backbone: str) -> None:
    """Of every backbone: the tensors for the backward pass, of two examples, and half as much again for the pass."""
    image = ImageConfig(size=(16, 24), bands=2)
    config = PerceiverConfig(inputs=image, encoder=BACKBONES[backbone], task=ClassifyConfig(classes=("a", "b")))
    model = Perceiver(config)
    array, kept = model.embed({"image": torch.rand(2, 3, 16, 24)}).dense().detach(), dict[int, torch.Tensor]()

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    rows = ByteArray((Segment("image", array, layout=Layout((16, 24))),))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = model.decoder(model.encoder(rows), None)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    measured = sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in weights)
    assert output.shape == (2, 1, 2)
    assert training_cost(config).example == pytest.approx(1.5 * (measured + array.nbytes) / 2, rel=0.02)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_what_is_kept_grows_no_faster_than_the_rows(backbone: str) -> None:
    """Attention over all of them keeps no weights of rows by rows."""
    few, many = (
        training_cost(
            PerceiverConfig(
                inputs=ImageConfig(size=(side, 32), bands=2),
                encoder=BACKBONES[backbone],
                task=ClassifyConfig(classes=("a", "b")),
            )
        ).example
        for side in (32, 64)
    )
    assert 1.05 < many / few < 2.05
