"""Small signals for the layouts: every one differs with its number, and its class can be learned."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

AXES = ("ax", "ay", "az")
PLACES = ("walk", "run")


def write(path: Path, content: str | bytes) -> Path:
    """A file in a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def motion(number: int, steps: int = 100, channels: int = 3) -> np.ndarray:
    """float32, steps × channels: what an accelerometer measures; odd ones are faster."""
    random = np.random.default_rng(number)
    time = np.arange(steps)[:, None]
    period = (12 if number % 2 else 30) + random.normal(size=channels)
    waves = np.sin(2 * np.pi * time / period + random.uniform(0, 6, channels)) + np.arange(channels)
    return (waves + 0.05 * random.normal(size=waves.shape)).astype(np.float32)


def motions(count: int, steps: int = 100, channels: int = 3) -> np.ndarray:
    """float32, examples × steps × channels."""
    return np.stack([motion(number, steps, channels) for number in range(count)])


def cloud(number: int, points: int = 1024) -> np.ndarray:
    """float32, points × 3, without an order: a sphere, or a cube where the number is odd."""
    random = np.random.default_rng(number)
    values = random.normal(size=(points, 3))
    size = np.abs(values).max(1) if number % 2 else np.linalg.norm(values, axis=1)
    return (values / size[:, None]).astype(np.float32)


def picture(number: int, size: int = 8) -> bytes:
    """A .png; odd ones are bright."""
    random = np.random.default_rng(number)
    values = random.integers(0, 128, (size, size, 3)) + 127 * (number % 2)
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def tone(number: int, suffix: str = "wav") -> bytes:
    """A twentieth of a second of 8 kHz; odd ones are high."""
    wave = np.sin(np.arange(400) * (0.6 if number % 2 else 0.2) + number)
    file = io.BytesIO()
    soundfile.write(file, 0.5 * wave, 8000, format=suffix.upper())
    return file.getvalue()


def sentence(number: int) -> str:
    """A few words; odd ones are kind."""
    word = ("a dreadful", "a wonderful")[number % 2]
    return f"This was {word} film and I saw it {number} times with all of my friends"


def steps_of(
    number: int,
    *,
    columns: Sequence[str] = AXES,
    time: str | None = None,
    steps: int = 50,
    separator: str = ",",
    channels: int = 3,
) -> str:
    """A recording as lines of text under the names of its columns, which are among ax, ay, az and others.

    Args:
        columns: in the order in which they are written; one that is no axis holds noise.
        time: the name of the first column, with a time every hundredth of a second.
    """
    values = motion(number, steps, channels)
    noise = np.random.default_rng(number + 1000).normal(size=steps)
    named = {name: values[:, index] for index, name in enumerate(AXES[:channels])}
    lines = [separator.join([*([time] if time else []), *columns])]
    for step in range(steps):
        cells = [f"{step / 100:.2f}"] if time else []
        cells += [f"{named.get(name, noise)[step]:.4f}" for name in columns]
        lines.append(separator.join(cells))
    return "\n".join(lines) + "\n"


def class_folders(root: Path, count: int, names: Sequence[str], file: Any, suffix: str) -> None:
    """``file(number)`` for each number, in the folder of its class."""
    for number in range(count):
        write(root / names[number % len(names)] / f"{number}{suffix}", file(number))


def csv(path: Path, columns: Mapping[str, Sequence[Any]], separator: str = ",") -> Path:
    """A table as text; cells with a separator in them are quoted."""

    def cell(value: Any) -> str:
        text = f"{value:.4f}" if isinstance(value, float) else str(value)
        return f'"{text}"' if separator in text else text

    lines = [separator.join(columns)]
    lines += [separator.join(map(cell, row)) for row in zip(*columns.values(), strict=True)]
    return write(path, "\n".join(lines) + "\n")


def long_rows(recordings: int, steps: int = 20, *, label: bool = True) -> dict[str, list[Any]]:
    """The columns of recordings below each other, a row for each step."""
    columns: dict[str, list[Any]] = {"recording": [], "time": [], "ax": [], "ay": [], "az": []}
    for number in range(recordings):
        values = motion(number, steps)
        columns["recording"] += [f"r{number:02}"] * steps
        columns["time"] += [step / 50 for step in range(steps)]
        for index, name in enumerate(AXES):
            columns[name] += [float(value) for value in values[:, index]]
    if label:
        columns["label"] = [PLACES[number % 2] for number in range(recordings) for _ in range(steps)]
    return columns


def split_numbers(**counts: int) -> Iterator[tuple[str, int]]:
    """The split and the number of each example; no two have the same number."""
    number = 0
    for split, count in counts.items():
        for _ in range(count):
            yield split, number
            number += 1


# A model that trains in a second.
SMALL = (
    "model.encoder.num_latents=4",
    "model.encoder.latent_channels=8",
    "model.encoder.num_self_attention_heads=2",
    "model.encoder.num_layers=1",
    "model.encoder.cross_attention=[0,1]",
    "model.encoder.latent_transformer=[0,1]",
    "recipe.precision=float32",
    "recipe.batch_size=8",
)
