"""The demo's data, and that it ends with reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sensorium.training.demonstration import demo, write_digits, write_solids, write_tones
from sensorium.training.plan import plan
from sensorium.training.progress import Quiet


@pytest.mark.parametrize(
    ("write", "kind", "examples", "classes"),
    [(write_digits, "image", 1797, 10), (write_solids, "points", 800, 5), (write_tones, "audio", 600, 6)],
    ids=["digits", "solids", "tones"],
)
def test_the_data_are_what_the_table_says(
    write: object, kind: str, examples: int, classes: int, tmp_path: Path
) -> None:
    """Recognised from the folder alone, all in some split, a class as likely as another; made anew, the same."""
    assert callable(write)
    write(tmp_path / "data")
    source = plan(tmp_path / "data").source
    assert source.kinds == {kind: kind}
    assert len(source.classes) == classes
    assert sum(map(len, source.splits.values())) == examples
    counts = np.unique(
        np.concatenate([np.asarray(part.targets) for part in source.splits.values()]), return_counts=True
    )
    assert counts[1].min() > 0.9 * counts[1].max()
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    write(tmp_path / "again")
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").rglob("*") if path.is_file()} == {
        path.name: text for path, text in before.items()
    }


@pytest.mark.slow
def test_the_demo_ends_with_three_reports(tmp_path: Path) -> None:
    """However little time it has."""
    rows = demo(tmp_path, minutes=1e-9, listener=Quiet())
    assert [row.data for row in rows] == ["digits", "solids", "tones"]
    for row in rows:
        assert row.report.exists()
        assert 0 <= row.accuracy <= 1
        assert row.cells()[0] == row.data
