"""Shards: any data set, written as WebDataset shards and opened again, is the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from layout_case import Case

from layouts import CASES
from sensorium.data import EVERYTHING, Examples, Known, open_files, open_for
from sensorium.data.shard_writer import write_shards
from sensorium.modalities import build_modality
from sensorium.training.measuring import measure
from sensorium.training.plan import recognise

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


@pytest.mark.parametrize("name", ["shards", "shards-with-captions", "one-shard-with-words", "shards-of-arrays"])
def test_a_trained_model_reads_shards(name: str, tmp_path: Path) -> None:
    """One tar as examples without labels, to be answered; and all of them with labels, to be scored."""
    path = next(case for case in CASES if case.name == name).write(tmp_path)
    source = recognise(path)
    modality = build_modality(measure(source))
    tars = [path] if path.is_file() else sorted(path.glob("*.tar"))
    opened = open_files(tars, modality, description=source.description).examples
    known = Known(source.kinds, source.task, source.classes, source.description)
    scored = open_for(known, path).splits[EVERYTHING]
    everything = Examples.joined(list(source.splits.values())).for_modality(modality)
    expected = dict(zip(everything.names, everything.raws[modality.name], strict=True))
    assert len(opened) == len(scored) == len(expected)
    for word, raw in zip(opened.names, opened.raws[modality.name], strict=True):
        own = modality.load(expected[f"{Path(word.split()[0]).name} {word.split()[1]}"])
        for field, values in modality.load(raw).items():
            np.testing.assert_array_equal(values, own[field])
    labels = dict(zip(everything.names, Examples.joined(list(source.splits.values())).targets.tolist(), strict=True))  # type: ignore[union-attr]
    assert scored.targets is not None
    assert dict(zip(scored.names, scored.targets.tolist(), strict=True)) == labels
