"""A disk that is full: one line, status 2, and the last checkpoint whole."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from lives import SETTINGS, born, command, write_data

from sensorium.training.state_file import LAST, read_state


class Disk:
    """Commands on a disk of which something is free."""

    def __init__(self, folder: Path, *, out: Path | None = None) -> None:
        self.printed, self.out = folder / "printed.txt", out or folder / "run"
        self.arguments = ["train", str(write_data(folder / "data")), "--out", str(self.out), "--epochs", "8"]
        self.arguments += [f"--set={setting}" for setting in SETTINGS]

    def begin(self, *more: str, free: int | None) -> BaseProcess:
        """A training."""
        return born(command, [*self.arguments, *more], self.printed, free)

    def train(self, *more: str, free: int | None) -> int | None:
        """The exit status of a training.

        Args:
            free: bytes; None: enough.
        """
        process = self.begin(*more, free=free)
        process.join(200)
        return process.exitcode

    def lines(self) -> list[str]:
        """What was said, but for the progress."""
        return [line for line in self.printed.read_text().splitlines() if line.startswith("sensorium: ")]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 600 kB, in memory: enough for the weights and one checkpoint."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None or mount(folder, "size=600k"):
        pytest.skip("disks cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def mount(folder: Path, options: str) -> int:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode


@pytest.mark.slow
def test_a_disk_that_fills_up_keeps_the_last_checkpoint(small_disk: Path, tmp_path: Path) -> None:
    """A real one: the run stops with a line, goes on from its checkpoint when the disk is larger, and ends."""
    disk = Disk(tmp_path, out=small_disk / "run")
    assert disk.train(free=None) == 2
    (line,) = disk.lines()
    assert "No space left on device" in line
    assert not list(disk.out.rglob("*.part"))
    state = read_state(disk.out)
    assert state is not None
    assert 0 < state["counters"]["steps"] < 24
    assert mount(small_disk, "remount,size=16m") == 0
    assert disk.train("--resume", free=None) == 0
    assert (disk.out / "report.json").exists()


@pytest.mark.slow
def test_a_full_disk_stops_the_run_with_a_line(disk: Disk) -> None:
    """At the first checkpoint, with nothing half written."""
    assert disk.train(free=200_000) == 2  # the weights take 96 kB, and a checkpoint, with the optimizer's moments, 307
    (line,) = disk.lines()
    assert "cannot be written" in line
    assert "free space" in line
    assert "defect" not in disk.printed.read_text()
    assert not list(disk.out.rglob("*.part"))
    assert read_state(disk.out) is None


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_checkpoint(disk: Disk) -> None:
    """The run that goes on is stopped as well, and stays where it was. With space again, it goes on and ends."""
    process = disk.begin(free=None)
    while process.is_alive() and not (disk.out / LAST).exists():
        time.sleep(0.001)
    process.kill()
    process.join()
    whole = (disk.out / LAST).read_bytes()
    assert disk.train("--resume", free=200_000) == 2
    assert len(disk.lines()) == 1
    assert (disk.out / LAST).read_bytes() == whole
    assert disk.train("--resume", free=None) == 0
