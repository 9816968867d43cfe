"""The count of examples that are unlike those of training."""

from __future__ import annotations

from pathlib import Path

from sensorium.data import Examples
from sensorium.inference.remarks import count_remarks
from sensorium.modalities import FusionConfig, ImageConfig, TableConfig, build_modality
from sensorium.modalities.table import Column

TABLE = TableConfig(columns=(Column(name="age", low=20.0, high=60.0),), channels=8)
ROWS = [{"age": 30}, {"age": 300}, {"age": 50}, {"ages": 3}]
NAMES = [f"row {number}" for number in range(1, 5)]
WARNING = (
    "2 of 4 examples are unlike those of training, for example row 2: "
    "column 'age': 300 is far outside of 20 to 60, the range in training"
)


def test_examples_are_counted_and_the_first_is_shown() -> None:
    modality = build_modality(TABLE)
    assert count_remarks(Examples({"table": ROWS}, None, NAMES), modality) == (WARNING,)
    assert count_remarks(Examples({"table": ROWS[:1]}, None, NAMES[:1]), modality) == ()


def test_signals_in_files_are_not_decoded_for_it() -> None:
    modality = build_modality(FusionConfig(modalities={"photo": ImageConfig(), "facts": TABLE}))
    raws = {"photo": [Path("nowhere.png")] * 4, "facts": [*ROWS[:3], None]}
    (warning,) = count_remarks(Examples(raws, None, NAMES), modality)
    assert warning.startswith("1 of 4 examples are unlike those of training, for example row 2: ")
