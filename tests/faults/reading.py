"""Reads a file in every way in which the program does, in a process of limited memory and time."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import resource
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, Literal

import torch
from mutations import mutate
from small_files import CONFIG, SMALL_FILES, small_file

import sensorium
from sensorium.codecs import arrays, bounds, flow, series, tables
from sensorium.config import from_dict, read_yaml
from sensorium.data.description import read_description
from sensorium.data.unlabelled.single_files import open_files
from sensorium.errors import InputError
from sensorium.files import ending
from sensorium.modalities import KINDS, Modality
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.training.measuring import measure
from sensorium.training.plan import recognise

MEMORY = 3 << 30  # bytes that files may take, besides what the process has already
SECONDS = 20.0  # for one file in all ways, on a machine that has other work

Outcome = Literal["value", "refused", "defect", "crash", "hang"]


@dataclass(frozen=True)
class Reading:
    """What became of a file.

    Attributes:
        name: the small file that was damaged.
        seed: of the damage.
        outcome: a ``value`` or the ``refused`` of an InputError is right, all else is not.
        detail: the error and where it was raised, or the line of the InputError.
    """

    name: str
    seed: int
    outcome: Outcome
    detail: str = ""

    @property
    def is_right(self) -> bool:
        return self.outcome in ("value", "refused")


def damaged(name: str, seed: int) -> bytes:
    """The content of a small file with the damage of a seed; seed 0: without."""
    if not seed:
        return small_file(name)
    return mutate(small_file(name), Random(f"{name} {seed}"), [small_file(other) for other in SMALL_FILES])


def kinds_of(name: str) -> list[str]:
    """The kinds of signal that files with this ending are read as."""
    kinds = [kind for kind, cls in KINDS.items() if ending(name) in (*cls.suffixes, *cls.also_reads)]
    more = {".npy": ["points"], ".csv": ["points"], ".mp4": ["audio"], ".mkv": ["audio"], ".avi": ["audio"]}
    return kinds + more.get(ending(name), [])


@cache
def modality_for(name: str, kind: str) -> Modality | None:
    """The modality that reads the sound file, as a trained model would; None: it is none of this kind."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(small_file(name))
        try:
            return KINDS[kind](KINDS[kind].measure([path]))
        except InputError:
            return None


def ways(path: Path) -> Iterator[Callable[[], Any]]:
    """Everything that the program may do with a file of this name."""
    suffix = ending(path)
    for kind in kinds_of(path.name):
        yield lambda kind=kind: KINDS[kind](KINDS[kind].measure([path])).load(path)
        model = modality_for(path.name, kind)
        if model is not None:
            yield lambda model=model: model.load(path)
            yield lambda model=model: [model.load(raw) for raw in open_files([path], model).examples.raws[model.name]]
            if kind in ("image", "audio", "video", "volume"):
                yield lambda model=model: model.load(path.read_bytes())
    if suffix in arrays.SUFFIXES:
        yield lambda: (arrays.decode(path), arrays.attributes(path))
    if suffix in tables.SUFFIXES:
        yield lambda: tables.decode(path).to_pylist()
    if suffix == ".ts":
        yield lambda: series.decode_ts(path)
    if path.name in ("kitti.png", "a.flo"):
        yield lambda: flow.decode(path)
    if path.name == "dataset.yaml":
        yield lambda: read_description(path)
        yield lambda: from_dict(PerceiverConfig, read_yaml(path))
    elif path.name in ("config.json", "model.safetensors"):
        yield lambda: sensorium.load(path.parent)
    else:
        yield lambda: measure(recognise(path if suffix in MANY else path.parents[1]))


MANY = (*arrays.SUFFIXES, *tables.SUFFIXES, ".ts")


def read(path: Path) -> tuple[Outcome, str]:
    """Read a file in every way; the first defect ends it."""
    outcome, detail = "refused", ""
    for way in ways(path):
        try:
            way()
            outcome = "value"
        except InputError as error:
            detail = str(error)
            if "\n" in detail.strip() or not detail:
                return "defect", f"not one line: {detail!r}"
        except BaseException as error:  # whatever it is, it is what we look for
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "sensorium" in frame.filename]
            where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
            last = traceback.extract_tb(error.__traceback__)[-1]
            line = " ".join(str(error).split())[:100]
            return "defect", f"{type(error).__name__} at {where} ({Path(last.filename).name}:{last.lineno}): {line}"
    return outcome, detail


def _prepare(folder: Path, name: str, content: bytes) -> Path:
    """The file among what belongs to it: a sound file of another class, or the weights of a model."""
    if name in ("config.json", "model.safetensors"):
        for other, own in model_files().items():
            (folder / other).write_bytes(own)
        path = folder / name
    else:
        for part in ("a", "b"):
            (folder / part).mkdir(exist_ok=True)
        path = folder / "a" / name
        (folder / "b" / name).write_bytes(small_file(name))
    path.write_bytes(content)
    return path


@cache
def model_files() -> dict[str, bytes]:
    """The files of a small model."""
    from sensorium.models import checkpoints

    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        checkpoints.save(Perceiver(from_dict(PerceiverConfig, CONFIG["model"])), Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _work(connection: Connection, memory: int) -> None:
    """Read one file after the other, as they are asked for by name and seed."""
    memory += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    bounds.memory.cache_clear()  # there is less now
    faulthandler.disable()
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # decoders in C complain there
        os.dup2(null, stream)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    sys.setrecursionlimit(1000)
    while True:
        name, content = connection.recv()
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
            connection.send(read(_prepare(Path(folder), name, content)))


class Reader:
    """Reads files in another process, which is started anew where a file has ended it.

    Args:
        memory: bytes of addresses that the process may take.
        seconds: for one file.
    """

    def __init__(self, *, memory: int = MEMORY, seconds: float = SECONDS) -> None:
        self.memory, self.seconds = memory, seconds
        self._context = multiprocessing.get_context("fork")
        self._process: Any = None

    def read(self, name: str, content: bytes) -> tuple[Outcome, str]:
        """What becomes of a file of this name with this content."""
        if self._process is None:
            for small in SMALL_FILES:  # once for all processes
                small_file(small)
            model_files()
            self._connection, other = self._context.Pipe()
            self._process = self._context.Process(target=_work, args=(other, self.memory), daemon=True)
            self._process.start()
            other.close()
        try:
            self._connection.send((name, content))
            if self._connection.poll(self.seconds):
                return self._connection.recv()
            outcome: tuple[Outcome, str] = "hang", f"longer than {self.seconds} s"
        except (EOFError, OSError):
            self._process.join()
            outcome = "crash", f"exit code {self._process.exitcode}"
        self.close()
        return outcome

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None


@contextmanager
def reader(**limits: Any) -> Iterator[Reader]:
    """A :class:`Reader` that is closed at the end."""
    started = Reader(**limits)
    try:
        yield started
    finally:
        started.close()
