"""Scenes of films beside a table with groups and metadata train on the films alone, split by group, without options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from layout_folders import films_with_metadata
from layout_signals import SMALL

from sensorium.cli import main
from sensorium.training.plan import read_run_config, reopen


def test_films_train_on_the_films_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    films, out = tmp_path / "films", tmp_path / "run"
    films.mkdir()
    films_with_metadata(films)
    settings = [word for setting in SMALL for word in ("--set", setting)]
    main(["train", str(films), "--out", str(out), "--epochs", "1", *settings])
    told = capsys.readouterr()
    said = " ".join((told.out + told.err).split())
    for part in ("left out", "frames, bytes, camera", "'source_group' (10 values)", "--group COLUMN or none"):
        assert part in said, part
    config = read_run_config(out)
    assert config.model.inputs.kind == "video"
    assert config.data.group == "source_group"
    assert [split.column for split in (config.data.inputs or {}).values()] == ["file"]
    source = reopen(films, config)
    groups = {
        split: {(int(Path(raw).stem)) // 2 for raw in examples.raws["video"]}
        for split, examples in source.splits.items()
    }
    assert groups["train"] | groups["test"] == set(range(10))
    assert not groups["train"] & groups["test"]
    report = json.loads((out / "report.json").read_text("utf-8"))
    assert "frames, bytes, camera" in json.dumps(report["assumptions"])
