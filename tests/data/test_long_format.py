"""Tables with a row for each step: recordings, their windows and their groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data import DataConfig, corrected, open_source, open_values
from sensorium.data.layouts.windows import windows_of
from sensorium.data.recognition.groups import keeps_groups
from sensorium.errors import InputError
from sensorium.modalities import SeriesConfig
from sensorium.modalities.series import Series


def lines(recordings: int = 10, steps: int = 12, *, subject: bool = False, changing: bool = False) -> list[str]:
    random = np.random.default_rng(0)
    rows = []
    for recording in range(recordings):
        for step in range(steps):
            label = "ab"[(recording + (changing and step >= steps // 2)) % 2]
            whose = f"p{recording // 2}," if subject else ""
            rows.append(f"r{recording},{whose}{step / 10},{random.normal():.3f},{random.normal():.3f},{label}")
    return [f"recording,{'subject,' if subject else ''}time,ax,ay,label", *rows]


def written(folder: Path, rows: list[str]) -> Path:
    path = folder / "steps.csv"
    path.write_text("\n".join(rows))
    return path


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.integers(1, 12),
    st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_windows_stay_within_their_stretch(lengths: list[int], window: int, hop: int) -> None:
    """None crosses from one stretch into another, none is longer than asked for, and each stretch has one."""
    ends = np.cumsum(lengths)
    starts = ends - lengths
    begins, stops = windows_of(starts, ends, window, hop)
    owner = np.searchsorted(ends, begins, side="right")
    assert set(owner.tolist()) == set(range(len(lengths)))
    assert (begins >= starts[owner]).all()
    assert (stops <= ends[owner]).all()
    assert ((stops - begins == window) | (stops - begins == np.array(lengths)[owner])).all()


def test_mixed_rows_are_put_in_order_by_time(tmp_path: Path) -> None:
    """Whatever the order of the rows, each recording is the same."""
    head, *rows = lines()
    ordered = open_source(written(tmp_path, [head, *rows]))
    shuffled = [rows[index] for index in np.random.default_rng(1).permutation(len(rows))]
    mixed = open_source(written(tmp_path, [head, *shuffled]))
    for source in (ordered, mixed):
        assert source.kinds == {"series": "series"}
    series = [
        {
            name: raw.values
            for part in source.splits.values()
            for name, raw in zip(part.names, part.raws["series"], strict=True)
        }
        for source in (ordered, mixed)
    ]
    assert series[0].keys() == series[1].keys() == {f"r{number}" for number in range(10)}
    for name in series[0]:
        np.testing.assert_array_equal(series[0][name], series[1][name])


def test_windows_of_one_recording_stay_in_one_split(tmp_path: Path) -> None:
    source = open_source(written(tmp_path, lines(steps=40, changing=True)))
    owners = {split: {name.split(" ")[0] for name in part.names} for split, part in source.splits.items()}
    assert not owners["train"] & owners["test"]
    for part in source.splits.values():
        assert all(len(raw) == 20 for raw in part.raws["series"])  # no window holds two labels
    assert any(guess.topic == "windows" and "labels change" in guess.text for guess in source.assumptions)


def test_people_stay_in_one_split(tmp_path: Path) -> None:
    path = written(tmp_path, lines(subject=True))
    source = open_source(path)
    assert source.description.group == "subject"
    people = [{int(name[1:]) // 2 for name in part.names} for part in source.splits.values()]
    assert not people[0] & people[1]
    assert open_source(path, description=corrected(DataConfig(), group="none")).description.group == "none"


def test_each_row_is_an_example_where_time_is_ignored(tmp_path: Path) -> None:
    source = open_source(written(tmp_path, lines()), description=corrected(DataConfig(), ignore=["time"]))
    assert source.kinds == {"table": "table"}
    assert sum(map(len, source.splits.values())) == 120


def test_rows_whose_labels_change_all_the_time_are_no_recordings(tmp_path: Path) -> None:
    head, *rows = lines()
    changing = [f"{row[:-1]}{'ab'[number % 2]}" for number, row in enumerate(rows)]
    assert open_source(written(tmp_path, [head, *changing])).kinds == {"table": "table"}
    with pytest.raises(InputError, match=r"every few rows; sort the rows by recording and time, or say --ignore time"):
        open_source(tmp_path / "steps.csv", description=corrected(DataConfig(), window=4))


def test_groups() -> None:
    groups = np.array(["a", "a", "b", "b"])
    assert keeps_groups(groups, None)
    assert keeps_groups(groups, np.array(["train", "train", "test", "test"]))
    assert not keeps_groups(groups, np.array(["train", "test", "train", "test"]))
    assert not keeps_groups(np.array(["a", "b", "c", "d"]), None)
    assert not keeps_groups(np.array(["a"] * 4), None)


def test_a_trained_model_is_asked_window_by_window(tmp_path: Path) -> None:
    """As it was trained; what cannot be read stays one example, and what is named twice is answered twice."""
    series = Series(SeriesConfig(channels=2, length=8, mean=(0.0, 0.0), std=(1.0, 1.0)))
    np.savetxt(tmp_path / "long.csv", np.arange(40).reshape(20, 2), delimiter=",", header="a,b", comments="")
    (tmp_path / "bad.csv").write_text("no numbers")
    files = [tmp_path / "long.csv", tmp_path / "bad.csv", tmp_path / "long.csv"]
    found = open_values(files, series, description=DataConfig(window=8, hop=6)).examples
    ends = [f"{files[0]} steps {start}–{start + 7}" for start in (1, 7, 13)]
    assert list(found.names) == [*ends, str(files[1]), *ends]
    assert found.raws["series"][1].values[0].tolist() == [12.0, 13.0]


def test_rows_that_name_files_are_no_steps(tmp_path: Path) -> None:
    """Even where they have times and windows are asked for: the windows are those of the files."""
    rows = ["file,session,time,label"]
    for number in range(10):
        np.savetxt(tmp_path / f"{number}.csv", np.arange(24).reshape(12, 2), delimiter=",", header="a,b", comments="")
        rows.append(f"{number}.csv,s{number // 5},{number},{'ab'[number % 2]}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    source = open_source(tmp_path / "list.csv", description=corrected(DataConfig(), window=6, hop=6, group="none"))
    assert source.kinds == {"series": "series"}
    assert sum(map(len, source.splits.values())) == 20


def test_a_missing_date_makes_no_recordings(tmp_path: Path) -> None:
    rows = [
        "shop,date,size,label",
        *(f"s{row // 10},2026-01-{row % 10 + 1:02},{row},{'ab'[row % 2]}" for row in range(40)),
    ]
    rows[3] = "s0,,2,a"
    (tmp_path / "sales.csv").write_text("\n".join(rows))
    assert open_source(tmp_path / "sales.csv").kinds == {"table": "table"}
