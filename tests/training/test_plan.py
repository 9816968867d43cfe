"""The summary says how large the signals are that the model sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import sensorium as sm
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
