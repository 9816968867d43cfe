"""Every layout: what is understood is as expected and can be said again; what is refused is refused in one line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layout_case import Case

from layouts import CASES, CHAPTERS
from sensorium.cli import main
from sensorium.config import to_yaml
from sensorium.data import Source, load_samples
from sensorium.errors import InputError
from sensorium.modalities import build_modality
from sensorium.modalities.series import SeriesConfig
from sensorium.training.measuring import measure
from sensorium.training.plan import recognise

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

import make_layouts

UNDERSTOOD = [case for case in CASES if not case.refused]
REFUSED = [case for case in CASES if case.refused]
COMMAND_LINE = (
    *("accelerometer-array", "cloud-array", "long-format-with-subjects", "sound-with-metadata", "competition"),
    *(
        "class-folders",
        "noise-by-axes",
        "sound-with-a-named-column",
        "table-without-target",
        "zip-file",
        "mixed-kinds",
        "empty-folder",
    ),
)


def parametrised(cases: list[Case]) -> Any:
    """One test for each case."""
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def read_all(path: Path, options: Mapping[str, Any]) -> Source:
    """The data, after every example was measured and decoded as for training."""
    source = recognise(path, **options)
    modality = build_modality(measure(source))
    for examples in source.splits.values():
        load_samples(examples.for_modality(modality), [modality])
    return source


@parametrised(UNDERSTOOD)
def test_what_is_understood(case: Case, tmp_path: Path) -> None:
    source = read_all(case.write(tmp_path), case.options)
    assert source.kinds == case.kinds
    assert (source.task, len(source.classes)) == (case.task, case.classes)
    assert {split: len(part) for split, part in source.splits.items()} == case.splits
    said = [f"{one.topic}: {one.text} {one.flag}" for one in source.assumptions]
    assert case.drawn == any("test" in line and "drawn here" in line for line in said), said
    for part in case.said:
        assert any(part in line for line in said), (part, said)
    for part in case.warned:
        assert any(part in line for line in source.warnings), (part, source.warnings)
    assert len(source.warnings) == len(case.warned), source.warnings
    assert source.description.group == case.group
    inputs = (source.description.inputs or {}).values()
    if case.axes:
        assert next(config.axes for config in inputs if config.axes) == case.axes
    for column in case.left_out:
        assert any(line.startswith("left out:") and column in line for line in said), (column, said)
        assert not any(column == config.column or column in (config.column or ()) for config in inputs)
    if case.channels:
        measured = measure(source)
        assert isinstance(measured, SeriesConfig)
        assert sorted(measured.channel_names) == sorted(case.channels)


@parametrised(UNDERSTOOD)
def test_what_was_understood_can_be_written_down(case: Case, tmp_path: Path) -> None:
    """The inferred dataset.yaml, without any option, gives the same examples with the same targets."""
    path = case.write(tmp_path)
    source = recognise(path, **case.options)
    (path if path.is_dir() else path.parent).joinpath("dataset.yaml").write_text(to_yaml(source.description), "utf-8")
    again = recognise(path)
    assert again.description == source.description
    assert (again.kinds, again.task, again.classes) == (source.kinds, source.task, source.classes)
    assert list(again.splits) == list(source.splits)
    for split, examples in source.splits.items():
        other = again.splits[split]
        assert list(other.names) == list(examples.names)
        np.testing.assert_array_equal(other.targets, examples.targets)  # type: ignore[arg-type]


@parametrised(UNDERSTOOD)
def test_each_guess_has_the_option_that_says_otherwise(case: Case, tmp_path: Path) -> None:
    """Only a split as it is on disk, or kept together by groups whose column has its own line, needs none."""
    for guess in recognise(case.write(tmp_path), **case.options).assumptions:
        assert guess.topic
        assert "\n" not in guess.text
        if not guess.flag:
            assert guess.topic == "split", guess
            assert "as on disk" in guess.text or "groups" in guess.text


@parametrised(REFUSED)
def test_what_is_refused(case: Case, tmp_path: Path) -> None:
    """One line that names the place and the cure."""
    path = case.write(tmp_path)
    with pytest.raises(InputError) as caught:
        read_all(path, case.options)
    line = str(caught.value)
    assert "\n" not in line
    assert case.name in line or any(name in line for name in ("csv", "npz")), line
    for part in case.refused:
        assert part in line, line


@pytest.mark.parametrize("name", COMMAND_LINE)
def test_the_command_line_says_it(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``inspect`` prints each guess with its option, and each warning; or the one line, and ends with an error."""
    case = next(case for case in CASES if case.name == name)
    path = case.write(tmp_path)
    flags = [
        word
        for option, value in case.options.items()
        for one in ((value,) if isinstance(value, str) else value)
        for word in (f"--{option}", one)
    ]
    if not case.refused:
        main(["inspect", str(path), *flags])
        printed = " ".join(capsys.readouterr().out.split())
        for part in (*case.kinds, *case.left_out, *(case.group or "").split(), "say otherwise with"):
            assert part in printed
        return
    with pytest.raises(SystemExit) as caught:
        main(["inspect", str(path)])
    assert caught.value.code not in (0, None)
    told = capsys.readouterr()
    assert "Traceback" not in told.out + told.err
    assert all(part in told.err + told.out for part in case.refused)


def test_there_are_fifty_or_more() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 50


def test_the_page_is_made_of_the_table() -> None:
    """``python docs/make_layouts.py`` would change nothing."""
    assert make_layouts.PAGE.read_text("utf-8") == make_layouts.page(CHAPTERS)
