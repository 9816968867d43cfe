"""The summary says how large the signals are that the model sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import film

import sensorium as sm
from sensorium.codecs.pictures import encode_file
from sensorium.modalities import KINDS
from sensorium.models import presets
from sensorium.models.auto import Facts, choose_encoder


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
