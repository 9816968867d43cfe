"""Files of series: text, arrays, times, ``.ts``."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.codecs.series import decode, decode_ts
from sensorium.errors import InputError


@pytest.mark.parametrize("header", ["", "a,b\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_text(tmp_path: Path, header: str, delimiter: str) -> None:
    """With or without a line of names; an empty cell is a gap."""
    path = tmp_path / "one.csv"
    path.write_text((header + "1,2\n3,\n5,6\n").replace(",", delimiter))
    series = decode(path)
    assert (series.values.dtype, series.times) == (np.float32, None)
    assert series.channels == (("a", "b") if header else ())
    np.testing.assert_array_equal(series.values, [[1, 2], [3, np.nan], [5, 6]])


TIMED = "time,ax,ay\n10.0,1,2\n10.5,3,4\n11.0,5,6\n"


@pytest.mark.parametrize(
    "text",
    [
        TIMED.replace("time", "Timestamp (s)"),
        "ay,time,ax\n2,10,1\n4,10.5,3\n6,11,5\n",
        "time,ax,ay,label\n2026-01-01T00:00:00,1,2,walk\n2026-01-01T00:00:00.5,3,4,walk\n2026-01-01T00:00:01,5,6,walk\n",
        "index,t,ax,ay\n0,10,1,2\n1,10.5,3,4\n2,11,5,6\n",
        "time;ax;ay\n10,0;1;2\n10,5;3;4\n11,0;5;6\n",
    ],
    ids=[
        "named otherwise",
        "another order",
        "dates and a label",
        "a column that counts",
        "decimal commas",
    ],
)
def test_a_column_of_times_is_no_channel(text: str) -> None:
    """However the file is written, its channels and its times are the same."""
    series, plain = decode(text.encode()), decode(TIMED.encode())
    assert series.times is not None
    np.testing.assert_allclose(series.times - series.times[0], [0, 0.5, 1])
    order = [series.channels.index(name) for name in ("ax", "ay")]
    assert set(series.channels) == set(plain.channels) == {"ax", "ay"}
    np.testing.assert_array_equal(series.values[:, order], plain.values)


def test_clock_times_are_seconds() -> None:
    series = decode(b"time,a\n12:59:58,1\n12:59:59,2\n13:00:01,3\n")
    assert series.times is not None
    assert (series.times - series.times[0]).tolist() == [0.0, 1.0, 3.0]


def test_a_t_that_falls_is_a_channel() -> None:
    """It may be a temperature."""
    assert decode(b"t,p\n20,1\n19,2\n18,3\n").channels == ("t", "p")


def test_arrays_and_times() -> None:
    """An array of one axis is one channel; times may repeat."""
    file = io.BytesIO()
    np.save(file, np.arange(6.0).reshape(3, 2))
    np.testing.assert_array_equal(decode(file.getvalue()).values, [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(decode(np.arange(3)).values, [[0], [1], [2]])
    series = decode((np.zeros((3, 2)), 1.7e9 + np.array([0.0, 0.5, 0.5])))
    assert series.values.shape == (3, 2)
    assert series.times is not None
    assert (series.times - 1.7e9).tolist() == [0.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.zeros((0, 2)), "no steps"),
        (np.array([[1.0, np.inf]]), "infinite"),
        (np.full((3, 2), np.nan), "nothing but NaN"),
        (np.zeros((2, 2, 2)), "is not a series"),
        (b"", "empty"),
        (b"1,2\n3\n", "not a table of numbers"),
        (b"\x93NUMPYgarbage", "cannot be read"),
        (Path("/nowhere/at/all.csv"), "cannot be read"),
        ((np.zeros((3, 2)), [0.0, 2.0, 1.0]), "never fall"),
        ((np.zeros((3, 2)), [0.0, 1.0]), "one number a step"),
        (["a", "b"], "something else"),
    ],
)
def test_bad_input(raw: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode(raw)


def ts(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "it.ts"
    path.write_text(text)
    return path


def test_ts(tmp_path: Path) -> None:
    """Channels between colons, the label last; comments and the header are no series; padding is cut off."""
    file = decode_ts(ts(tmp_path, "# words\n@problemName it\n@data\n1,2,?:3,4,?:walk\n\n5,6:?,8: run\n"))
    assert (file.labels, file.has_numeric_labels) == (["walk", "run"], False)
    np.testing.assert_array_equal(file.series[0], [[1, 3], [2, 4]])
    np.testing.assert_array_equal(file.series[1], [[5, np.nan], [6, 8]])
    assert file.series[0].dtype == np.float32
    assert decode_ts(ts(tmp_path, "@targetlabel true\n@data\n1,2:0.5\n")).has_numeric_labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@data\n", "no series"),
        ("1,2:a\n1,2:3,4:a\n", r"it.ts:2: 2 channels where the first series has 1"),
        ("1,b:a\n", r"it.ts:1: a value is not a number"),
        ("1,2\n", r"it.ts:1: there is no label"),
        ("(0,1),(1,2):a\n", r"it.ts:1: series with time stamps"),
    ],
)
def test_bad_ts(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode_ts(ts(tmp_path, text))
