"""The summary says how large the signals are that the model sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import sensorium as sm


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
