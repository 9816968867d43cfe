"""Small runs of each kind of signal with files for them, and clients of a server: for the tests of ``serve``."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image

from builders import write_film
from sensorium.config import to_dict
from sensorium.data import DataConfig, InputConfig, TargetConfig
from sensorium.modalities import (
    AudioConfig,
    FusionConfig,
    ImageConfig,
    PointsConfig,
    SeriesConfig,
    TableConfig,
    TextConfig,
    VideoConfig,
    VolumeConfig,
)
from sensorium.modalities.table import Column
from sensorium.models import checkpoints
from sensorium.serve.app import create_app
from sensorium.serve.limits import Limits
from sensorium.tasks import ClassifyConfig, RegressConfig
from small_models import small_model

# Numbers, because they differ between examples where the probabilities of a model of random weights are all 0 and 1.
NUMBERS = RegressConfig(classes=("a", "b", "c"), mean=(0.0,) * 3, std=(1.0,) * 3)
CLASSES = ClassifyConfig(classes=("bird", "cat", "dog", "fish"))
COLUMNS = (
    Column(name="age", mean=40.0, std=10.0, low=20.0, high=60.0),
    Column(name="city", kind="category", categories=("Oslo", "Rome")),
    Column(name="height", mean=1.7, std=0.1, low=1.5, high=2.0),
)
_RANDOM = np.random.default_rng(0)
VIDEO = VideoConfig(frames=4, size=(8, 8), rate=10.0, patch=(2, 4, 4), bands=3, mean=(0.5,) * 3, std=(0.3,) * 3)
AUDIO = AudioConfig(rate=8000, samples=800, window=200, hop=80, patch=(2, 64))


@dataclass(frozen=True)
class Kind:
    """A kind of signal: the configuration, and the files of some examples by their name."""

    config: Any
    files: dict[str, bytes]
    description: DataConfig | None = None
    values: list[Any] = field(default_factory=list)  # the same examples as JSON has them, where that is exact


def png(number: int, size: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def wav(number: int) -> bytes:
    file = io.BytesIO()
    wave = np.random.default_rng(number).normal(0, 0.1, 800)
    soundfile.write(file, wave, 8000, format="WAV", subtype="FLOAT")
    return file.getvalue()


def scan(number: int) -> bytes:
    """A TIFF of six slices."""
    file = io.BytesIO()
    slices = [Image.fromarray(voxels) for voxels in np.random.default_rng(number).integers(0, 256, (6, 8, 8), np.uint8)]
    slices[0].save(file, "TIFF", save_all=True, append_images=slices[1:])
    return file.getvalue()


@cache
def film(number: int) -> bytes:
    import tempfile

    random = np.random.default_rng(number)
    frames = random.integers(0, 256, (6, 16, 16, 3), np.uint8)
    wave = random.integers(-9000, 9000, 4800).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        return write_film(Path(folder, "a.mkv"), frames, rate=10, wave=wave, sound_rate=8000).read_bytes()


def lines(values: np.ndarray, *, header: str = "") -> bytes:
    file = io.BytesIO()
    np.savetxt(file, values, delimiter=",", fmt="%.6g", header=header, comments="")
    return file.getvalue()


_CLOUDS = [np.random.default_rng(number).normal(size=(12, 3)).round(3) for number in range(3)]
_SERIES = [np.random.default_rng(number).normal(size=(12, 2)).round(3) for number in range(3)]
ROWS = [{"age": 30, "city": "Rome", "height": 1.8}, {"age": 51, "city": "Oslo", "height": 1.6}, {"age": 44}]
TEXTS = ["a good film", "bad", "größer"]
_TABLE = DataConfig(
    layout="table",
    inputs={"table": InputConfig(kind="table", column=("age", "city", "height"))},
    target=TargetConfig(column="mood"),
)

KINDS: dict[str, Kind] = {
    "image": Kind(
        ImageConfig(size=(8, 8), patch=(2, 2), bands=3, mean=(0.5,) * 3, std=(0.3,) * 3),
        {f"{number}.png": png(number) for number in range(3)},
        values=[np.asarray(Image.open(io.BytesIO(png(number)))).tolist() for number in range(3)],
    ),
    "audio": Kind(AUDIO, {f"{number}.wav": wav(number) for number in range(3)}),
    "video": Kind(VIDEO, {f"{number}.mkv": film(number) for number in range(2)}),
    "volume": Kind(
        VolumeConfig(size=(6, 8, 8), patch=(2, 2, 2), bands=3, ranges=((0.0, 255.0),)),
        {f"{number}.tif": scan(number) for number in range(2)},
    ),
    "points": Kind(
        PointsConfig(points=12, bands=3, resolution=8.0),
        {f"{number}.xyz": lines(cloud).replace(b",", b" ") for number, cloud in enumerate(_CLOUDS)},
        values=[cloud.tolist() for cloud in _CLOUDS],
    ),
    "series": Kind(
        SeriesConfig(channels=2, length=12, mean=(0.0,) * 2, std=(1.0,) * 2),
        {f"{number}.csv": lines(series, header="a,b") for number, series in enumerate(_SERIES)},
        values=[series.tolist() for series in _SERIES],
    ),
    "text": Kind(
        TextConfig(length=20, channels=8),
        {f"{number}.txt": text.encode() for number, text in enumerate(TEXTS)},
        values=TEXTS,
    ),
    "table": Kind(
        TableConfig(columns=COLUMNS, channels=8),
        {"rows.csv": b"age,city,height\n30,Rome,1.8\n51,Oslo,1.6\n44,,\n"},
        _TABLE,
        values=ROWS,
    ),
    "fusion": Kind(
        FusionConfig(modalities={"video": VIDEO, "audio": AUDIO, "text": TextConfig(length=20, channels=8)}),
        {"0.mkv": film(0), "0.wav": wav(0), "0.txt": b"a good film"},
    ),
}


def run_of(kind: str, folder: Path, *, task: Any = NUMBERS) -> Path:
    """A run folder with a small model of random weights."""
    content = KINDS[kind]
    checkpoints.save(small_model(content.config, task), folder)
    if content.description is not None:
        values = {"format": checkpoints.FORMAT, "data": to_dict(content.description)}
        (folder / "config.yaml").write_text(json.dumps(values))
    return folder


@contextmanager
def client(run: Path, *, token: str = "", **limits: Any) -> Iterator[TestClient]:
    """A client of a server of the run."""
    app = create_app(run, limits=Limits(**limits), token=token)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as started:
        yield started


def form(files: dict[str, bytes], name: str = "file") -> list[tuple[str, tuple[str, bytes]]]:
    """Files as the parts of a form."""
    return [(name, (called, content)) for called, content in files.items()]


def numbers(answers: list[Any]) -> np.ndarray:
    """The scores of answers of JSON, or of ``sensorium.predict``: examples × outputs."""
    scores: Callable[[Any], dict[str, float]] = lambda each: each["scores"] if isinstance(each, dict) else each.scores  # noqa: E731
    return np.array([list(scores(each).values()) for each in answers])


@contextmanager
def listening(run: Any, *, token: str = "", **limits: Any) -> Iterator[str]:
    """The address of a server of the run, in a thread of this process."""
    with running(create_app(run, limits=Limits(**limits), token=token)) as address:
        yield address


@contextmanager
def running(application: Any) -> Iterator[str]:
    """The address of a server of an application, in a thread of this process."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_level="error", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
