"""What is said of data before any of it is decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sensorium.data import open_source
from sensorium.errors import InputError


def warnings(path: Path, x: np.ndarray, y: np.ndarray) -> tuple[str, ...]:
    np.savez(path / "data.npz", x=x, y=y)
    return open_source(path / "data.npz").warnings


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


HALVES = np.arange(40) % 2


def test_nothing_is_said_of_nothing_odd(tmp_path: Path) -> None:
    assert warnings(tmp_path, noise(40, 9, 2), HALVES) == ()


def test_gaps_in_arrays_are_counted(tmp_path: Path) -> None:
    """In series and in rows of numbers they are gaps."""
    x = noise(40, 9, 2)
    x[3:5, 0, 1] = np.nan
    assert warnings(tmp_path, x, HALVES) == ("2 of 720 numbers in 'series' are NaN; they are taken as gaps",)
    assert warnings(tmp_path, x[:, 0], HALVES) == ("2 of 80 numbers in 'table' are NaN; they are taken as gaps",)


def test_gaps_in_pictures_are_an_error(tmp_path: Path) -> None:
    x = noise(40, 8, 8, 3).astype(np.float32)
    x[0, 0, 0] = np.nan
    np.savez(tmp_path / "data.npz", x=x, y=HALVES)
    (tmp_path / "dataset.yaml").write_text("inputs: {image: {kind: image, column: x}}")
    with pytest.raises(InputError, match=r"3 of 7,680 numbers in 'image' are NaN, and pictures have no gaps"):
        open_source(tmp_path)


def test_channels_and_columns_that_never_change_are_named(tmp_path: Path) -> None:
    x = noise(40, 9, 4)
    x[..., 1] = 7
    x[0, 0, 1] = np.nan
    said = warnings(tmp_path, x, HALVES)
    assert said[1] == "1 channels of 'series' hold the same value in every example and say nothing: number 2"
    rows = [f"{number},{number % 2},5,{'ab'[number % 2]}" for number in range(40)]
    (tmp_path / "table.csv").write_text("\n".join(["size,odd,fixed,label", *rows]))
    said = open_source(tmp_path / "table.csv").warnings
    assert "1 columns of 'table' hold the same value in every example and say nothing: fixed" in said


def test_classes_of_one_example_and_of_very_different_size_are_said(tmp_path: Path) -> None:
    x = noise(80, 9, 2)
    assert warnings(tmp_path, x, np.array([0] * 70 + [1] * 10)) == ()
    said = warnings(tmp_path, x, np.array([0] * 74 + [1] * 5 + [2]))
    assert said[0] == "1 classes have a single example, so they are learned but never tested: 2"
    assert said[1].startswith("the classes differ much in size: 59 training examples of '0', 1 of '2'; --class-weights")
