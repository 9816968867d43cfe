"""Shards: any data set, written as WebDataset shards and opened again, is the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from layout_case import Case

from layouts import CASES
from sensorium.data.sharding import write_shards
from sensorium.modalities import build_modality
from sensorium.training.plan import measure, recognise

UNDERSTOOD = [case for case in CASES if not case.refused]


@pytest.mark.parametrize("case", UNDERSTOOD, ids=[case.name for case in UNDERSTOOD])
def test_shards_are_the_same_data(case: Case, tmp_path: Path) -> None:
    """Signals, classes, splits, labels and every example as the model loads it."""
    source = recognise(case.write(tmp_path), **case.options)
    written = write_shards(source, tmp_path / "written", megabytes=0.01)
    again = recognise(tmp_path / "written")
    assert written.examples == case.splits
    assert (again.kinds, again.task, again.classes) == (source.kinds, source.task, source.classes)
    config = measure(source)
    assert measure(again) == config
    modality = build_modality(config)
    for split, examples in source.splits.items():
        other = again.splits[split]
        np.testing.assert_array_equal(other.targets, examples.targets)  # type: ignore[arg-type]
        pairs = zip(*(part.for_modality(modality).raws[modality.name] for part in (examples, other)), strict=True)
        for one, two in pairs:
            loaded, expected = modality.load(two), modality.load(one)
            assert loaded.keys() == expected.keys()
            for field, values in expected.items():
                np.testing.assert_array_equal(loaded[field], values)
