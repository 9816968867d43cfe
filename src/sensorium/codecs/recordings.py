"""Recordings of bodies in EDF and BDF: electrodes and other sensors, with their names and their rate."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from . import bounds
from .raw import file_bytes, needs, plain_file

SUFFIXES = (".edf", ".bdf")
_FLOAT64 = 8  # bytes, as pyedflib reads


@dataclass(frozen=True)
class Edf:
    """A recording.

    Attributes:
        values: float32, steps × channels, in the units of the file.
        channels: the name of each channel.
        rate: steps a second.
    """

    values: np.ndarray
    channels: tuple[str, ...]
    rate: float


def decode_edf(raw: str | bytes | Path) -> Edf:
    """An EDF, EDF+ or BDF recording; its annotations are left out. Any of them may be compressed by gzip.

    Where channels differ in their rate, those of the commonest rate stay as they are, and the others are interpolated
    to it.

    Raises:
        InputError: it cannot be read, has no channels, or pyedflib is not installed.
    """
    with needs("pyedflib", to_decode="EDF and BDF recordings"):
        import pyedflib
    with _on_disk(raw) as path:
        try:
            with pyedflib.EdfReader(str(path)) as file:
                counts = [int(count) for count in file.getNSamples()]
                bounds.check_array((sum(counts),), _FLOAT64, "the recording")
                bounds.check_array((max(counts, default=0), len(counts)), _FLOAT64, "the recording")
                rates = [float(rate) for rate in file.getSampleFrequencies()]
                names = [name.strip() for name in file.getSignalLabels()]
                columns = [file.readSignal(index) for index in range(file.signals_in_file)]
        except (OSError, ValueError) as error:
            problem = str(error).removeprefix(f"{path}: ")
            raise InputError(f"the recording cannot be read ({problem}); copy it again or remove it") from None
    if not columns or not max(map(len, columns)):
        raise InputError("there are no channels in the recording; remove it")
    rate = Counter(rates).most_common(1)[0][0]
    steps = len(columns[rates.index(rate)])
    at = np.arange(steps) / rate
    values = [
        column if own == rate else np.interp(at, np.arange(len(column)) / own, column)
        for column, own in zip(columns, rates, strict=True)
    ]
    return Edf(np.stack(values, axis=1).astype(np.float32), _distinct(names), rate)


@contextmanager
def _on_disk(raw: str | bytes | Path) -> Iterator[Path]:
    """A path that pyedflib can open: it reads nothing but files."""
    plain = plain_file(raw)
    if isinstance(plain, Path):
        if not plain.is_file() or not plain.stat().st_size:
            file_bytes(plain)  # says what is wrong
        yield plain
        return
    file_bytes(plain)
    suffix = ".bdf" if plain.startswith(b"\xffBIOSEMI") else ".edf"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"recording{suffix}")
        path.write_bytes(plain)
        yield path


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Names that occur twice get a number."""
    counts: Counter[str] = Counter()
    found = []
    for name in names:
        counts[name] += 1
        found.append(name if counts[name] == 1 else f"{name} {counts[name]}")
    return tuple(found)
