"""What a file unpacks to is compared with a stated bound before it is unpacked, and no file leads to another one.

Each bomb here is small, and unpacks to more than the 16 MB that remain of a memory of 64 MB: where a check is missing
the test fails, and the machine bears it.
"""

from __future__ import annotations

import io
import json
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet
import pytest
import soundfile
import tifffile
from PIL import Image as Pillow
from scipy.io import savemat
from small_files import POINTS, hdf5, mesh, npy, saved, small_file

from builders import dicom_slice
from sensorium.codecs import arrays, bounds, flow, pictures, points, recordings, series, sound, tables, volumes
from sensorium.config import MOST_YAML, override
from sensorium.data.description import read_description
from sensorium.errors import InputError
from sensorium.modalities import KINDS

MEMORY = 64 << 20
SMALL = 1 << 20  # bytes of the largest bomb
ZEROS = np.zeros(8 << 20, np.float32)  # 32 MB
TOO_MUCH = "takes .* GB of memory, and a (compressed )?file may take 0.0168 GB"


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "memory", lambda: MEMORY)


def npy_header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(64)


def hdf5_of(make: Callable[[Any], Any]) -> bytes:
    def save(file: io.BytesIO) -> None:
        with h5py.File(file, "w") as container:
            make(container)

    return saved(save)


def long_word() -> pa.DictionaryArray:
    """A word of a million letters, a thousand times."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), pa.array(["a" * (1 << 20)]))


def parquet(column: Any, **options: Any) -> bytes:
    return saved(lambda file: pa.parquet.write_table(pa.table({"x": column}), file, compression="zstd", **options))


def arrow(column: Any) -> bytes:
    def save(file: io.BytesIO) -> None:
        content = pa.table({"x": column})
        with pa.ipc.new_stream(file, content.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(content)

    return saved(save)


def workbook(column: str) -> bytes:
    book = openpyxl.Workbook()
    book.active[column] = 1
    return saved(book.save)


def with_member(content: bytes, name: str, size: int) -> bytes:
    """A zip archive with one more member, of zeros."""
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(size))
    return file.getvalue()


def png(width: int, height: int) -> bytes:
    """Black and white, without a pixel that is not black."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(bytes((width + 7) // 8 + 1) * height, 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def kitti_header() -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 16, 2, 0, 0, 0) + bytes(90)


def las(points_announced: int) -> bytes:
    content = bytearray(small_file("a.las"))
    struct.pack_into("<I", content, 107, points_announced)
    return bytes(content)


def wav(rate: int) -> bytes:
    content = bytearray(small_file("a.wav"))
    struct.pack_into("<I", content, 24, rate)
    return bytes(content)


def glb() -> bytes:
    """A box in a thousand places at once is no bomb; in a million it is."""
    content = mesh("glb")()
    (size,) = struct.unpack_from("<I", content, 12)
    scene = json.loads(content[20 : 20 + size])
    scene["nodes"] += [{"mesh": 0}] * 100_000
    text = json.dumps(scene, separators=(",", ":")).encode()
    return content[:12] + struct.pack("<I", len(text)) + b"JSON" + text + content[20 + size :]


Bomb = tuple[Callable[[], bytes], Callable[[Path], Any], str]
load_sound = lambda path: sound.decode(path, rate=8000)  # noqa: E731
BOMBS: dict[str, Bomb] = {
    "zeros.npz": (lambda: saved(lambda file: np.savez_compressed(file, x=ZEROS)), arrays.decode, TOO_MUCH),
    "header.npy": (lambda: npy_header((10**13,)), arrays.decode, "takes 80,000 GB"),
    "series.npy": (lambda: npy_header((10**13,)), series.decode, "takes 80,000 GB"),
    "cloud.npy": (lambda: npy_header((10**13, 3)), points.decode, "takes 2.4e"),
    "zeros.npy.gz": (lambda: __import__("gzip").compress(npy(ZEROS)()), arrays.decode, TOO_MUCH),
    "empty.h5": (
        lambda: hdf5_of(lambda file: file.create_dataset("x", (10**9,), chunks=(99,))),
        arrays.decode,
        TOO_MUCH,
    ),
    "zeros.h5": (
        lambda: hdf5_of(lambda file: file.create_dataset("x", data=ZEROS, compression="gzip")),
        arrays.decode,
        TOO_MUCH,
    ),
    "chunk.h5": (
        lambda: hdf5_of(lambda file: file.create_dataset("x", (1,), maxshape=(None,), chunks=(10**8,))),
        arrays.decode,
        "a chunk of /x takes",
    ),
    "zeros.mat": (
        lambda: saved(lambda file: savemat(file, {"x": ZEROS}, do_compression=True)),
        arrays.decode,
        TOO_MUCH,
    ),
    "rows.parquet": (lambda: parquet(np.zeros(8 << 20, np.int64)), tables.decode, TOO_MUCH),
    "word.parquet": (lambda: parquet(long_word(), dictionary_pagesize_limit=1 << 24), tables.decode, TOO_MUCH),
    "words.parquet": (
        lambda: parquet(pa.array([["a" * (1 << 20)] * 40]), use_dictionary=True, dictionary_pagesize_limit=1 << 24),
        tables.decode,
        TOO_MUCH,
    ),
    "zeros.arrow": (lambda: arrow(ZEROS), tables.decode, TOO_MUCH),
    "word.arrow": (lambda: arrow(long_word()), tables.decode, TOO_MUCH),
    "nothing.arrow": (lambda: arrow(pa.nulls(10**9)), tables.decode, TOO_MUCH),
    "corner.xlsx": (lambda: workbook("XFD1048576"), tables.decode, "more than 50,000,000 cells"),
    "member.xlsx": (lambda: with_member(workbook("A1"), "xl/zeros", 32 << 20), tables.decode, TOO_MUCH),
    "wide.ts": (lambda: b"@data\n" + b"1," * 3000 + b"1" + b":1" * 3000 + b":a\n", series.decode_ts, TOO_MUCH),
    "large.png": (lambda: png(19_900, 19_900), pictures.decode, "the picture has more than 179 million pixels"),
    "kitti.png": (kitti_header, flow.decode, "40,000 × 40,000 pixels, and 200 million are the most"),
    "zeros.tif": (
        lambda: saved(lambda file: tifffile.imwrite(file, ZEROS.reshape(2048, -1), compression="zlib")),
        pictures.decode_bands,
        TOO_MUCH,
    ),
    "a.dcm": (
        lambda: (
            dicom_slice(np.zeros((4, 4), np.uint16))
            .replace(b"\x28\0\x10\0US\x02\0\x04\0", b"\x28\0\x10\0US\x02\0\xff\xff")
            .replace(b"\x28\0\x11\0US\x02\0\x04\0", b"\x28\0\x11\0US\x02\0\xff\xff")
        ),
        pictures.decode,
        TOO_MUCH,
    ),
    "deflated.dcm": (
        lambda: bytes(128) + b"DICM" + b"\x02\0\x10\0UI\x16\x001.2.840.10008.1.2.1.99",
        pictures.decode,
        "compressed as a whole",
    ),
    "a.nii": (
        lambda: (
            nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4))
            .to_bytes()
            .replace(struct.pack("<4h", 3, 2, 2, 2), struct.pack("<4h", 3, 9000, 9000, 9000), 1)
        ),
        volumes.decode,
        TOO_MUCH,
    ),
    "silence.flac": (
        lambda: saved(lambda file: soundfile.write(file, np.zeros(6 << 20, np.float32), 8000, format="FLAC")),
        load_sound,
        TOO_MUCH,
    ),
    "quick.wav": (
        lambda: wav(268_435_456),
        load_sound,
        "268,435,456 samples a second, and sound has 100 to 10,000,000",
    ),
    "slow.wav": (lambda: wav(3), load_sound, "3 samples a second"),
    "a.las": (lambda: las(10**9), points.decode, TOO_MUCH),
    "few.las": (lambda: las(99_999), points.decode, "99,999 points and 0 records are announced"),
    "a.ply": (
        lambda: b"ply\nformat binary_little_endian 1.0\nelement vertex 999999999999\nproperty float x\nend_header\n",
        points.decode,
        "999,999,999,999 elements are announced",
    ),
    "a.glb": (
        lambda: mesh("glb")().replace(b'"count":36', b'"count":99', 1).replace(b'"count":', b'"count":9999999', 1),
        points.decode,
        "the points cannot be read",
    ),
    "scene.glb": (glb, points.decode, TOO_MUCH),
    "a.pcd": (lambda: small_file("a.pcd").replace(b"POINTS 30", b"POINTS 999999999"), points.decode, TOO_MUCH),
    "a.edf": (
        lambda: small_file("a.edf")[:236] + b"99999999" + small_file("a.edf")[244:],
        recordings.decode_edf,
        "cannot be read|takes",
    ),
    "deep.yaml": (lambda: b"[" * 2000 + b"]" * 2000, read_description, "not valid YAML|inside each other"),
    "open.yaml": (lambda: b"{a: " * 9000, read_description, "not valid YAML"),
    "aliases.yaml": (
        lambda: (
            b"a0: &a0 [1]\n"
            + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 9))
        ),
        read_description,
        "more than 1,000,000 values",
    ),
    "circle.yaml": (lambda: b"a: &a [*a]\n", read_description, "inside each other"),
    "list.yaml": (lambda: b"[1, 2]", read_description, "list.yaml"),
    "date.yaml": (lambda: b"split: 2024-13-45\n", read_description, "not valid YAML .*month"),
    "long.yaml": (lambda: b"#" * (MOST_YAML + 1), read_description, "a configuration has at most"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    make, decode, message = BOMBS[name]
    path = tmp_path / name
    path.write_bytes(make())
    assert path.stat().st_size < 5 * SMALL
    with pytest.raises(InputError, match=message) as caught:
        decode(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["rows.parquet", "zeros.arrow", "zeros.npz", "zeros.h5", "zeros.mat", "silence.flac"])
def test_with_more_memory_it_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The bound follows the memory."""
    make, decode, _ = BOMBS[name]
    (tmp_path / name).write_bytes(make())
    monkeypatch.setattr(bounds, "memory", lambda: 20 * MEMORY)
    assert decode(tmp_path / name) is not None


def test_values_that_repeat_are_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they might be too many, but are not: in columns of words, and in lists of words."""
    words = ["a", "bb", None, "a" * 300] * 50
    for column in (pa.array(words), pa.array([[word] * 3 for word in words])):
        (tmp_path / "a.parquet").write_bytes(parquet(column))
        expected = tables.decode(tmp_path / "a.parquet")
        monkeypatch.setattr(bounds, "memory", lambda: 600_000)
        assert tables.decode(tmp_path / "a.parquet").equals(expected)
        monkeypatch.undo()


def test_words_of_varying_length_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"word {'a' * n}" for n in range(60)]
    (tmp_path / "a.h5").write_bytes(
        hdf5_of(
            lambda file: file.create_dataset(
                "x", data=np.reshape(words, (2, 30)).astype(object), dtype=h5py.string_dtype()
            )
        )
    )
    whole = arrays.decode(tmp_path / "a.h5")["x"]
    monkeypatch.setattr(bounds, "memory", lambda: 4 * 60_000)
    parts = arrays.decode(tmp_path / "a.h5")["x"]
    assert whole.tolist() == parts.tolist() == np.reshape(words, (2, 30)).tolist()


def test_hdf5_reads_no_other_file(tmp_path: Path) -> None:
    """Neither data kept outside, nor virtual ones, nor links."""
    (tmp_path / "secret").write_bytes(bytes(range(80)))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.arange(10.0)
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("x", (10,), "f8", external=[(str(tmp_path / "secret"), 0, 80)])
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((10,), "f8")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", (10,))
        file.create_virtual_dataset("x", layout)
    for name in ("external.h5", "virtual.h5"):
        with pytest.raises(InputError, match="/x is kept in other files, which are not read"):
            arrays.decode(tmp_path / name)
    content = io.BytesIO()
    with h5py.File(content, "w", userblock_size=512) as file:
        file["own"] = np.arange(3.0)
        file["link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
    for name in ("link.h5", "link.mat"):
        (tmp_path / name).write_bytes(content.getvalue())
        assert list(arrays.decode(tmp_path / name)) == ["own"]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.mp4", "a.avi"])
def test_text_called_sound_opens_neither_files_nor_addresses(
    tmp_path: Path, listener: socket.socket, name: str
) -> None:
    """What ffmpeg would take for the description of a broadcast, a playlist, or a list of files to join."""
    port = listener.getsockname()[1]
    (tmp_path / "other.wav").write_bytes(small_file("a.wav"))
    for text in (
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:{port}/a.ts\n",
        f"#EXTM3U\n#EXTINF:9,\n{tmp_path / 'other.wav'}\n",
        f"ffconcat version 1.0\nfile {tmp_path / 'other.wav'}\n",
        f"http://127.0.0.1:{port}/a.wav\n",
    ):
        path = tmp_path / name
        path.write_text(text)
        for kind in ("audio", "video"):
            for raw in (path, path.read_bytes()):
                with pytest.raises(InputError):
                    KINDS[kind].measure([raw])
    with pytest.raises(TimeoutError):
        listener.accept()


def test_a_picture_is_never_postscript(tmp_path: Path) -> None:
    """Pillow would run Ghostscript for it, whatever it is called."""
    content = saved(lambda file: Pillow.new("RGB", (8, 8)).save(file, "EPS"))
    (tmp_path / "a.png").write_bytes(content)
    for raw in (tmp_path / "a.png", content):
        with pytest.raises(InputError, match="not a picture that can be decoded"):
            pictures.decode(raw)


def test_resampling_is_bounded() -> None:
    """By the length of its result; and its filter, where the rates have no common divisor."""
    with pytest.raises(InputError, match="its sound, resampled, takes"):
        sound.at_rate(np.zeros((10_000, 1), np.float32), 100, 1_000_000)
    wave = np.sin(np.arange(300_000, dtype=np.float32) / 2000)[:, None]
    found = sound.at_rate(wave, 9_999_991, 16_000)
    assert abs(len(found) - 481) <= 1
    assert (
        np.abs(
            found[50:-50, 0]
            - np.interp(np.arange(len(found)) * (9_999_991 / 16_000), np.arange(300_000), wave[:, 0])[50:-50]
        ).max()
        < 0.01
    )


def test_settings_are_as_bounded_as_files() -> None:
    with pytest.raises(InputError, match="not valid YAML"):
        override({}, ["a=" + "[" * 3000])


def test_the_file_itself_is_bounded(tmp_path: Path) -> None:
    """One that is larger than the bound is not even read."""
    with (tmp_path / "a.wav").open("wb") as file:
        file.truncate(MEMORY)
    with pytest.raises(InputError, match=r"the file takes 0.0671\d* GB of memory"):
        load_sound(tmp_path / "a.wav")


def test_memory_is_what_is_left_of_the_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.undo()
    bounds.memory.cache_clear()
    whole = bounds.memory()
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1 << 20, resource.RLIM_INFINITY))
    bounds.memory.cache_clear()
    assert bounds.memory() == 0 < whole
    bounds.memory.cache_clear()
    assert POINTS.size
    assert hdf5()
