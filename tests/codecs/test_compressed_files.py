"""Whatever is read may be compressed by gzip: it is the same signal, by path and by content."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.codecs import arrays, film, flow, pictures, points, series, sound, text
from sensorium.codecs.raw import file_bytes
from sensorium.errors import InputError
from sensorium.files import ending, without_ending

RANDOM = np.random.default_rng(0)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def written(encode: Callable[[Path], None], suffix: str) -> Callable[[Path], bytes]:
    def content(folder: Path) -> bytes:
        encode(folder / f"plain{suffix}")
        return (folder / f"plain{suffix}").read_bytes()

    return content


def given(content: bytes) -> Callable[[Path], bytes]:
    return lambda folder: content


PIXELS = RANDOM.integers(0, 256, (16, 16, 3), np.uint8)
FILES: dict[str, tuple[Callable[[Path], bytes], Callable[[Any], Any]]] = {
    "a.npy": (given(npy(RANDOM.normal(size=(5, 3)))), series.decode),
    "a.csv": (given(b"a,b\n1,2\n3,4\n"), series.decode),
    "a.txt": (given(b"some words"), text.decode),
    "a.png": (written(lambda path: pictures.encode_file(PIXELS, path), ".png"), pictures.decode),
    "a.wav": (
        written(lambda path: sound.encode_file(np.zeros(80, np.float32), path, rate=8000), ".wav"),
        lambda raw: sound.decode(raw, rate=8000),
    ),
    "a.mp4": (
        written(lambda path: film.encode_file(PIXELS[None].repeat(4, 0), path, rate=8), ".mp4"),
        lambda raw: film.decode(raw, rate=8, size=(16, 16), channels=3, most=9),
    ),
    "a.flo": (written(lambda path: flow.encode_file(np.ones((2, 3, 4)), path), ".flo"), flow.decode),
}
POINTS: dict[str, bytes] = {
    "a.xyz": b"0 0 1\n2 3 4\n",
    "a.npy": npy(RANDOM.normal(size=(5, 3))),
    "a.off": b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n",
    "a.ply": b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
    b"end_header\n0 0 1\n2 3 4\n",
}


@pytest.mark.parametrize("name", FILES)
def test_signals(tmp_path: Path, name: str) -> None:
    encode, decode = FILES[name]
    content = encode(tmp_path)
    (tmp_path / name).write_bytes(content)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    plain = plain_values(decode(tmp_path / name))
    np.testing.assert_equal(plain_values(decode(tmp_path / f"{name}.gz")), plain)
    if decode is not text.decode:  # bytes in memory are the text
        np.testing.assert_equal(plain_values(decode(gzip.compress(content))), plain)


def plain_values(decoded: Any) -> Any:
    """What can be compared: the fields of a recording."""
    return vars(decoded) if isinstance(decoded, series.Recording) else decoded


@pytest.mark.parametrize("name", POINTS)
def test_points(tmp_path: Path, name: str) -> None:
    """By path only: the ending says which format it is."""
    (tmp_path / name).write_bytes(POINTS[name])
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(POINTS[name]))
    np.testing.assert_equal(points.decode(tmp_path / f"{name}.gz"), points.decode(tmp_path / name))


def test_files_of_many_examples(tmp_path: Path) -> None:
    (tmp_path / "a.ts.gz").write_bytes(gzip.compress(b"@data\n1,2,3:a\n4,5,6:b\n"))
    assert series.decode_ts(tmp_path / "a.ts.gz").labels == ["a", "b"]
    arrays.encode_file({"x": np.arange(3)}, tmp_path / "a.npz")
    (tmp_path / "a.npz.gz").write_bytes(gzip.compress((tmp_path / "a.npz").read_bytes()))
    (tmp_path / "x.npy.gz").write_bytes(gzip.compress(npy(np.arange(3))))
    for name in ("a.npz.gz", "x.npy.gz"):
        ((key, array),) = arrays.decode(tmp_path / name).items()
        assert (key, array.tolist()) == ("x", [0, 1, 2])


def test_damage_is_said() -> None:
    with pytest.raises(InputError, match="gzip compression is damaged"):
        file_bytes(gzip.compress(b"some words" * 99)[:-12])
    with pytest.raises(InputError, match="the file is empty"):
        file_bytes(gzip.compress(b""))


@pytest.mark.parametrize(
    ("name", "suffix", "stem"),
    [("a/b.Csv", ".csv", "a/b"), ("b.nii.GZ", ".nii", "b"), ("a-idx1-ubyte.gz", ".idx", "a"), ("README", "", "README")],
)
def test_endings(name: str, suffix: str, stem: str) -> None:
    assert (ending(name), without_ending(Path(name)).as_posix()) == (suffix, stem)
