"""A small sound file of every format that the program reads, made here: what the mutations start from."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import laspy
import nibabel
import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pyedflib
import soundfile
import tifffile
import trimesh
from PIL import Image as Pillow
from pypcd4 import PointCloud
from scipy.io import savemat

from builders import dicom_slice, write_film
from sensorium.codecs import film, flow

SIDE = 12
_RANDOM = np.random.default_rng(0)
PIXELS = _RANDOM.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
GRID = _RANDOM.normal(100, 20, (4, 6, 5)).astype(np.float32)
POINTS = _RANDOM.normal(size=(30, 3))
WAVE = _RANDOM.normal(0, 0.1, 2400).astype(np.float32)


def written(write: Callable[[Path], Any], name: str) -> bytes:
    """The content of a file that ``write`` makes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        write(path)
        return path.read_bytes()


def saved(save: Callable[[io.BytesIO], Any]) -> bytes:
    """What ``save`` writes into a file."""
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def picture(form: str, *, mode: str = "RGB", **options: Any) -> Callable[[], bytes]:
    return lambda: saved(lambda file: Pillow.fromarray(PIXELS).convert(mode).save(file, form, **options))


def sound(form: str, subtype: str | None = None) -> Callable[[], bytes]:
    return lambda: saved(lambda file: soundfile.write(file, WAVE, 8000, format=form, subtype=subtype))


def lossless_film(name: str) -> bytes:
    pixels = _RANDOM.integers(0, 256, (4, 16, 16, 3), np.uint8)
    wave = (WAVE * 9000).astype(np.int16)
    return written(lambda path: write_film(path, pixels, rate=10, wave=wave, sound_rate=8000), name)


def mp4() -> bytes:
    frames = np.repeat(_RANDOM.integers(0, 256, (4, 32, 32, 3), np.uint8), 2, 0)
    return written(lambda path: film.encode_file(frames, path, rate=8, sound=(WAVE, 8000)), "a.mp4")


def kitti() -> bytes:
    """A PNG of three channels of 16 bits, which Pillow cannot write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    values = _RANDOM.integers(0, 1 << 16, (SIDE, SIDE, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def hdf5() -> bytes:
    def save(file: io.BytesIO) -> None:
        with h5py.File(file, "w") as container:
            container.create_dataset("x", data=GRID, compression="gzip", chunks=(2, 6, 5))
            container["group/y"] = np.arange(4)
            container["names"] = ["a", "bb", "c", "dd"]
            container["x"].attrs["axes"] = "time"

    return saved(save)


def matlab_7_3() -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w", userblock_size=512) as container:
        container["x"] = GRID
        container["x"].attrs["MATLAB_class"] = np.bytes_("double")
        container["word"] = np.array([[97], [98]], np.uint16)
        container["word"].attrs["MATLAB_class"] = np.bytes_("char")
    return b"MATLAB 7.3 MAT-file".ljust(512, b"\0") + content.getvalue()[512:]


def table() -> pa.Table:
    return pa.table(
        {
            "x": np.arange(20.0),
            "n": list(range(20)),
            "word": pa.array([f"w{index % 3}" for index in range(20)]).dictionary_encode(),
            "text": [f"some text {index}" for index in range(20)],
            "list": [[1.0, 2.0]] * 20,
            "label": ["a", "b"] * 10,
        }
    )


def arrow(form: Callable[..., Any], compression: str | None) -> Callable[[], bytes]:
    def save(file: io.BytesIO) -> None:
        content = table()
        with form(file, content.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(content)

    return lambda: saved(save)


def excel() -> bytes:
    book = openpyxl.Workbook()
    for row in (["x", "label"], [1.5, "a"], [2.5, "b"]):
        book.active.append(row)
    return saved(book.save)


def edf(name: str, kind: int) -> Callable[[], bytes]:
    def write(path: Path) -> None:
        with pyedflib.EdfWriter(str(path), 2, file_type=kind) as file:
            for index in range(2):
                limits = {"physical_max": 100, "physical_min": -100, "digital_max": 32767, "digital_min": -32768}
                names = {"label": f"C{index}", "dimension": "uV", "transducer": "", "prefilter": ""}
                file.setSignalHeader(index, {**names, **limits, "sample_frequency": 50})
            file.writeSamples([np.sin(np.arange(100.0)), np.cos(np.arange(100.0))])

    return lambda: written(write, name)


def las(name: str) -> Callable[[], bytes]:
    def write(path: Path) -> None:
        cloud = laspy.LasData(laspy.LasHeader(point_format=2, version="1.2"))
        cloud.x, cloud.y, cloud.z = POINTS.T
        # Not the parallel one, whose threads would be missing in the processes that read.
        cloud.write(str(path), laz_backend=laspy.LazBackend.Lazrs if name.endswith(".laz") else None)

    return lambda: written(write, name)


def mesh(form: str) -> Callable[[], bytes]:
    def content() -> bytes:
        exported = trimesh.creation.box().export(file_type=form)
        return exported if isinstance(exported, bytes) else exported.encode()

    return content


def shard(form: int) -> Callable[[], bytes]:
    """A tar of pictures with their classes, one of which has a name that is longer than a header has room for."""

    def write(path: Path) -> None:
        with tarfile.open(path, "w", format=form) as tar:
            for number in range(12):
                stem = f"{number:03}" if number or form == tarfile.USTAR_FORMAT else "long/" * 30
                for end, content in (("png", picture("PNG", mode="L")()), ("cls", b"01"[number % 2 :][:1])):
                    header = tarfile.TarInfo(f"{stem}.{end}" if stem[-1] != "/" else f"{stem}x.{end}")
                    header.size = len(content)
                    tar.addfile(header, io.BytesIO(content))

    return lambda: written(write, "a.tar")


def idx() -> bytes:
    return b"\0\0\x08\x03" + struct.pack(">III", 4, 3, 2) + bytes(range(24))


def npy(array: np.ndarray) -> Callable[[], bytes]:
    return lambda: saved(lambda file: np.save(file, array))


def text(content: str) -> Callable[[], bytes]:
    return content.encode


DESCRIPTION = """\
layout: table
inputs:
  series: {kind: series, column: [x, y], axes: [time, channels]}
target: {column: label, task: classify, classes: [a, b]}
splits: {train: a.csv, test: b.csv}
kinds: {x: table}
window: 128
val: 0.2
"""
CONFIG = {
    "format": 2,
    "model": {
        "inputs": {"kind": "series", "channels": 3, "length": 16, "mean": [0.0] * 3, "std": [1.0] * 3},
        "task": {"kind": "classify", "classes": ["a", "b"]},
        "encoder": {"num_latents": 4, "latent_channels": 8},
    },
}

SMALL_FILES: dict[str, Callable[[], bytes]] = {
    "a.png": picture("PNG"),
    "grey.png": picture("PNG", mode="L"),
    "palette.png": picture("PNG", mode="P"),
    "a.jpg": picture("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
    "a.gif": picture("GIF"),
    "a.bmp": picture("BMP"),
    "a.webp": picture("WEBP"),
    "a.ppm": picture("PPM"),
    "lzw.tif": picture("TIFF", compression="tiff_lzw"),
    "bands.tif": lambda: saved(lambda file: tifffile.imwrite(file, _RANDOM.normal(size=(6, SIDE, SIDE)))),
    "deflated.tif": lambda: saved(
        lambda file: tifffile.imwrite(file, GRID, photometric="minisblack", compression="zlib")
    ),
    "a.dcm": lambda: dicom_slice(PIXELS[..., 0].astype(np.uint16), window=(100, 80)),
    "frames.dcm": lambda: dicom_slice(np.stack([PIXELS[..., 0]] * 3)),
    "a.nii": lambda: nibabel.Nifti1Image(GRID, np.eye(4)).to_bytes(),
    "a.nii.gz": lambda: gzip.compress(nibabel.Nifti1Image(GRID, np.eye(4)).to_bytes(), mtime=0),
    "two.nii": lambda: nibabel.Nifti2Image(GRID, np.eye(4)).to_bytes(),
    "a.wav": sound("WAV"),
    "floats.wav": sound("WAV", "FLOAT"),
    "a.flac": sound("FLAC"),
    "a.ogg": sound("OGG"),
    "a.mp3": sound("MP3"),
    "a.aiff": sound("AIFF"),
    "a.au": sound("AU"),
    "a.m4a": mp4,
    "a.mp4": mp4,
    "a.mkv": lambda: lossless_film("a.mkv"),
    "a.avi": lambda: lossless_film("a.avi"),
    "a.mov": mp4,
    "kitti.png": kitti,
    "a.flo": lambda: written(lambda path: flow.encode_file(np.ones((2, 6, 5)), path), "a.flo"),
    "a.npy": npy(POINTS),
    "grid.npy": npy(GRID),
    "a.npz": lambda: saved(lambda file: np.savez_compressed(file, x=GRID, label=np.arange(4))),
    "stored.npz": lambda: saved(lambda file: np.savez(file, x=GRID, label=np.arange(4))),
    "a.h5": hdf5,
    "a.mat": lambda: saved(
        lambda file: savemat(file, {"x": GRID, "words": np.array(["a", "b"], object)}, do_compression=True)
    ),
    "plain.mat": lambda: saved(lambda file: savemat(file, {"x": GRID, "word": "abc", "s": {"y": 1.0}})),
    "four.mat": lambda: saved(lambda file: savemat(file, {"x": GRID[0], "word": "abc"}, format="4")),
    "hdf.mat": matlab_7_3,
    "a-idx3-ubyte": idx,
    "a.csv": text("time,x,y,label\n" + "".join(f"{step},{step / 3:.3f},{step % 5},a\n" for step in range(20))),
    "a.tsv": text("x\ty\n1,5\t2\n3,5\t4\n"),
    "a.jsonl": text("".join(json.dumps({"x": n, "t": "a", "l": [1.5, n], "d": {"k": n}}) + "\n" for n in range(5))),
    "a.parquet": lambda: saved(lambda file: pa.parquet.write_table(table(), file)),
    "zstd.parquet": lambda: saved(lambda file: pa.parquet.write_table(table(), file, compression="zstd")),
    "a.arrow": arrow(pa.ipc.new_stream, None),
    "file.arrow": arrow(pa.ipc.new_file, "zstd"),
    "a.feather": lambda: saved(lambda file: pa.feather.write_feather(table(), file)),
    "a.xlsx": excel,
    "a.ts": text("@targetlabel true\n@data\n1,2,3:4,5,6:a\n4,5:6,?:b\n"),
    "a.tar": shard(tarfile.USTAR_FORMAT),
    "gnu.tar": shard(tarfile.GNU_FORMAT),
    "pax.tar": shard(tarfile.PAX_FORMAT),
    "a.edf": edf("a.edf", pyedflib.FILETYPE_EDFPLUS),
    "a.bdf": edf("a.bdf", pyedflib.FILETYPE_BDFPLUS),
    "a.ply": mesh("ply"),
    "text.ply": text(
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
        "end_header\n0 0 1\n2 3 4\n"
    ),
    "a.off": mesh("off"),
    "a.obj": mesh("obj"),
    "a.stl": mesh("stl"),
    "a.glb": mesh("glb"),
    "a.xyz": text("0 0 1\n2 3 4\n5 6 7.5\n"),
    "a.las": las("a.las"),
    "a.laz": las("a.laz"),
    "a.pcd": lambda: written(
        lambda path: PointCloud.from_xyzi_points(np.hstack([POINTS, POINTS[:, :1]]).astype(np.float32)).save(path),
        "a.pcd",
    ),
    "a.txt": text("Some words, and größe.\n"),
    "a.csv.gz": lambda: gzip.compress(b"a,b\n1,2\n3,4\n", mtime=0),
    "dataset.yaml": text(DESCRIPTION),
    "config.json": text(json.dumps(CONFIG)),
}


@cache
def small_file(name: str) -> bytes:
    """The content of one of :data:`SMALL_FILES`, made once."""
    return SMALL_FILES[name]()
