"""The demo: three kinds of signal, one and the same ``auto``, nothing to download.

Handwritten digits are real (from scikit-learn); solids and tones are made here, with enough variation that a model has
to look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..codecs import arrays, pictures, sound
from ..data import open_source
from . import run
from .plan import Plan
from .progress import Listener
from .run_folder import free_folder

SOLIDS, TONES = 800, 600  # examples in all
RATE = 8000


@dataclass(frozen=True)
class Row:
    """One line of the demo's table."""

    data: str
    signal: str
    trained_on: int
    tested_on: int
    accuracy: float
    parameters: int
    seconds: float
    report: Path

    def cells(self) -> tuple[str, ...]:
        """As printed."""
        return (
            self.data,
            self.signal,
            f"{self.trained_on:,}",
            f"{self.tested_on:,}",
            f"{self.accuracy:.1%}",
            f"{self.parameters:,}",
            f"{self.seconds:.0f}",
        )


def demo(out: Path, *, minutes: float, listener: Listener) -> list[Row]:
    """Make the data under ``out/data``, train on each with no option but the time, and return the table.

    Raises:
        InputError: ``out`` cannot be written to.
    """
    rows = []
    for name, signal, make in (
        ("digits", "pictures", write_digits),
        ("solids", "points", write_solids),
        ("tones", "sound", write_tones),
    ):
        data = out / "data" / name
        make(data)
        folder = free_folder(out / name)
        result = run.train(data, out=folder, minutes=minutes, listener=_Named(name, listener))
        rows.append(
            Row(
                data=name,
                signal=signal,
                trained_on=len(open_source(data).splits["train"]),
                tested_on=result["samples"],
                accuracy=result["metrics"]["accuracy"],
                parameters=result["parameters"],
                seconds=result["train_seconds"],
                report=folder / "report.html",
            )
        )
    return rows


def write_digits(folder: Path) -> None:
    """1,797 handwritten digits of 8 × 8 pixels as class folders of PNG files."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04}.png"
        if not path.exists():
            pictures.encode_file((pixels * 255 / 16).astype(np.uint8), path)


def write_solids(folder: Path, *, seed: int = 0) -> None:
    """Points on five solids, turned about z, stretched and noisy, as one array file."""
    random = np.random.default_rng(seed)
    makers: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
        "box": _box,
        "cone": _cone,
        "cylinder": _cylinder,
        "sphere": _sphere,
        "torus": _torus,
    }
    clouds, labels = [], []
    for number in range(SOLIDS):
        label = number % len(makers)
        cloud = list(makers.values())[label](random) * random.uniform(0.7, 1.3, 3)
        angle = random.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        clouds.append(cloud @ turn + random.normal(0, 0.03, cloud.shape))
        labels.append(label)
    path = folder / "solids.npz"
    if not path.exists():
        values = {"x": np.stack(clouds).astype(np.float32), "y": np.array(labels), "classes": np.array(list(makers))}
        arrays.encode_file(values, path)


def write_tones(folder: Path, *, seed: int = 0) -> None:
    """Half a second of six kinds of tone at any pitch, in noise, as class folders of WAV files."""
    random = np.random.default_rng(seed)
    time = np.arange(RATE // 2) / RATE
    makers: dict[str, Callable[[float], np.ndarray]] = {
        "pure": lambda f: np.sin(2 * np.pi * f * time),
        "square": lambda f: np.sign(np.sin(2 * np.pi * f * time)),
        "rising": lambda f: np.sin(2 * np.pi * f * time * (1 + time)),
        "falling": lambda f: np.sin(2 * np.pi * f * time * (1.6 - 0.8 * time)),
        "trembling": lambda f: np.sin(2 * np.pi * f * time) * (1 + np.sin(2 * np.pi * 12 * time)) / 2,
        "plucked": lambda f: np.sin(2 * np.pi * f * time) * np.exp(-8 * time),
    }
    for number in range(TONES):
        name = list(makers)[number % len(makers)]
        wave = makers[name](random.uniform(200, 900)) * random.uniform(0.2, 0.8)
        wave = (wave + random.normal(0, 0.05, len(time))).clip(-1, 1)
        path = folder / name / f"{number:03}.wav"
        if not path.exists():
            sound.encode_file(wave, path, rate=RATE)


class _Named:
    """Puts the data set's name before each stage."""

    def __init__(self, name: str, listener: Listener) -> None:
        self.name, self.listener = name, listener

    def stage(self, text: str) -> None:
        self.listener.stage(f"{self.name}: {text}")

    def progress(self, share: float, figures: dict[str, float]) -> None:
        self.listener.progress(share, figures)

    def planned(self, planned: Plan) -> None:
        """Say nothing: the demo made its data itself."""


def _sphere(random: np.random.Generator) -> np.ndarray:
    points = random.normal(size=(512, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _box(random: np.random.Generator) -> np.ndarray:
    points = random.uniform(-1, 1, (512, 3))
    points[np.arange(512), random.integers(0, 3, 512)] = random.choice([-1.0, 1.0], 512)
    return points


def _round(angle: np.ndarray, radius: np.ndarray, height: np.ndarray) -> np.ndarray:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)


def _cylinder(random: np.random.Generator) -> np.ndarray:
    angle, height = random.uniform(0, 2 * np.pi, 512), random.uniform(-1, 1, 512)
    lid = random.random(512) < 0.33
    radius = np.where(lid, np.sqrt(random.random(512)), 1.0)
    return _round(angle, radius, np.where(lid, np.sign(height), height))


def _cone(random: np.random.Generator) -> np.ndarray:
    radius = np.sqrt(random.random(512))
    lid = random.random(512) < 0.3
    return _round(random.uniform(0, 2 * np.pi, 512), radius, np.where(lid, -1.0, 1 - 2 * radius))


def _torus(random: np.random.Generator) -> np.ndarray:
    around, tube = random.uniform(0, 2 * np.pi, (2, 512))
    return _round(around, 0.75 + 0.3 * np.cos(tube), 0.3 * np.sin(tube))
