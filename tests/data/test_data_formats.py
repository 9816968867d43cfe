"""Data sets in the containers that others publish: MNIST's idx, MATLAB, compressed files of every layout."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from sensorium.data import Source, open_source

RANDOM = np.random.default_rng(0)


def sizes(source: Source) -> dict[str, int]:
    return {split: len(part) for split, part in source.splits.items()}


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.mark.parametrize("pattern", ["{}-{}-idx{}-ubyte.gz", "{}-{}-idx{}-ubyte", "{}-{}.idx{}-ubyte"])
@pytest.mark.parametrize("prefix", ["", "emnist-letters-"])
def test_mnist(tmp_path: Path, pattern: str, prefix: str) -> None:
    """Four files, compressed or not: grey pictures in the given splits."""
    for split, count in (("train", 40), ("t10k" if not prefix else "test", 10)):
        for what, array in (
            ("images", RANDOM.integers(0, 256, (count, 8, 8), np.uint8)),
            ("labels", np.arange(count, dtype=np.uint8) % 4),
        ):
            path = tmp_path / (prefix + pattern.format(split, what, array.ndim))
            path.write_bytes(gzip.compress(idx(array)) if path.suffix == ".gz" else idx(array))
    source = open_source(tmp_path)
    assert (source.kinds, source.task, len(source.classes)) == ({"image": "image"}, "classify", 4)
    assert sizes(source)["test"] == 10
    assert sum(sizes(source).values()) == 50


def test_matlab_pictures_with_examples_last(tmp_path: Path) -> None:
    """As SVHN is published: height × width × channels × examples, labels as a column."""
    for split, count in (("train", 20), ("test", 8)):
        pictures = RANDOM.integers(0, 256, (6, 7, 3, count), np.uint8)
        savemat(tmp_path / f"{split}_32x32.mat", {"X": pictures, "y": (np.arange(count) % 2)[:, None]})
    source = open_source(tmp_path)
    assert (source.kinds, source.task) == ({"image": "image"}, "classify")
    assert sizes(source)["test"] == 8
    assert source.splits["test"].raws["image"][0].shape == (6, 7, 3)


def test_compressed_files_of_every_layout(tmp_path: Path) -> None:
    """Class folders, a table of paths, a table, series and arrays, each with ``.gz`` behind its name."""
    for name, count in (("up", 12), ("down", 12)):
        (tmp_path / "folders" / name).mkdir(parents=True)
        for number in range(count):
            lines = "".join(f"{number + step},{step}\n" for step in range(5))
            (tmp_path / "folders" / name / f"{number}.csv.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "ts").mkdir()
    text = "@data\n" + "".join(f"{n},{n + 1},3:{'ab'[n % 2]}\n" for n in range(20))
    (tmp_path / "ts" / "it_TRAIN.ts.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "table").mkdir()
    rows = "x;y;label\n" + "".join(f"{n},5;{(n * 7) % 5};{'ab'[n % 2]}\n" for n in range(20))
    (tmp_path / "table" / "it.csv.gz").write_bytes(gzip.compress(rows.encode("latin-1")))
    expected = {"folders": "series", "ts": "series", "table": "table"}
    for layout, kind in expected.items():
        source = open_source(tmp_path / layout)
        assert (list(source.kinds.values()), source.task) == ([kind], "classify"), layout
        assert sum(sizes(source).values()) in (20, 24)
