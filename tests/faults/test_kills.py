"""A run that is killed at any moment, and resumed until it ends, ends as the run that nobody disturbed."""

from __future__ import annotations

import json
import random
import socket
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from lives import born, idle, live, write_data
from safetensors.torch import load_file

from sensorium.training.run_folder import read_history
from sensorium.training.state_file import LAST, PREVIOUS

LONGEST = 120.0  # seconds that a life may take before it is a failure


class Run:
    """A run folder with the processes that train in it: one after the other, or some at a time."""

    def __init__(self, data: Path, folder: Path, *, epochs: int, report: bool = False, processes: int = 1) -> None:
        self.data, self.folder, self.epochs, self.report, self.processes = data, folder, epochs, report, processes
        self.errors = folder.with_name(f"{folder.name}.txt")

    def live(self) -> BaseProcess:
        """Begin the run or go on with it; returns the main process."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        facts = (self.data, self.folder, self.epochs, self.report, self.errors)
        self.team = [born(live, *facts, (rank, self.processes, port)) for rank in range(self.processes)]
        return self.team[0]

    def kill(self, first: int = 0) -> None:
        """Kill all processes, as a launcher does when it has lost one of them."""
        for process in (self.team[first], *self.team):
            process.kill()
            process.join()

    def end(self) -> None:
        """Go on until the run is done."""
        self.live()
        for process in self.team:
            process.join(LONGEST)
            self.check_ended(process)

    def wait_for(self, name: Path) -> None:
        """Begin, and be killed when there is a file of that name."""
        process = self.live()
        while process.is_alive() and not (self.folder / name).exists():
            time.sleep(0.001)
        self.kill()

    def check_ended(self, process: BaseProcess) -> None:
        line = self.errors.read_text() if self.errors.exists() else ""
        assert process.exitcode == 0, f"{process.exitcode}: {line}"

    def is_finished(self) -> bool:
        """Whether the last of its files is there, so that there is nothing to go on with."""
        return self.report and (self.folder / "README.md").exists()

    def history(self) -> list[dict[str, float]]:
        """The rows of ``metrics.csv``, but for the time that they took."""
        return [{key: value for key, value in row.items() if key != "seconds"} for row in read_history(self.folder)]


def parts(folder: Path) -> list[Path]:
    """The files that are being written."""
    return [*folder.glob(".*.part"), *folder.glob("checkpoints/.*.part")]


def kill_sometime(run: Run, process: BaseProcess, dice: random.Random, seconds: float) -> bool:
    """Kill a life: at any moment, or while it writes a file. Returns whether that was before it ended.

    Args:
        seconds: that the training of the whole run takes.
    """
    began = time.monotonic()
    while process.is_alive() and not (run.folder / "config.yaml").exists():
        time.sleep(0.001)
    if dice.random() < 0.5:
        process.join(dice.uniform(0, seconds / 3))
    else:
        before, skipped = set(parts(run.folder)), dice.randrange(12)
        while process.is_alive() and time.monotonic() - began < LONGEST:
            found = set(parts(run.folder)) - before
            skipped -= bool(found)
            if found and skipped < 0:
                time.sleep(dice.choice([0.0, 0.0, 0.001]))
                break
            while found & set(parts(run.folder)) and process.is_alive():
                pass
    alive = process.is_alive()
    run.kill(first=dice.randrange(run.processes))
    return alive and process.exitcode != 0


def check_same(run: Run, whole: Run) -> None:
    """The weights, to the last bit, what else was saved, the curves and the report."""
    first, second = (load_file(one.folder / "model.safetensors") for one in (run, whole))
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name].view(torch.uint8), second[name].view(torch.uint8)), name
    assert run.history() == whole.history()
    assert not parts(run.folder)
    if run.report:
        ended, undisturbed = (json.loads((one.folder / "report.json").read_text()) for one in (run, whole))
        assert ended["metrics"] == undisturbed["metrics"]
        assert all((run.folder / name).exists() for name in ("report.html", "README.md"))


def disturb(tmp_path: Path, *, kills: int, epochs: int, report: bool, seed: int, processes: int = 1) -> int:
    """Kill so many lives, of as many runs as they last for; every run must end as the undisturbed one. Returns how many
    of the kills left a file half written."""
    data = write_data(tmp_path / "data")
    whole = Run(data, tmp_path / "whole", epochs=epochs, report=report, processes=processes)
    born(idle).join(LONGEST)
    began = time.monotonic()
    whole.end()
    seconds, dice, half_written = time.monotonic() - began, random.Random(seed), 0
    runs = [Run(data, tmp_path / "run-1", epochs=epochs, report=report, processes=processes)]
    done = 0
    while done < kills:
        run = runs[-1]
        process = run.live()
        if kill_sometime(run, process, dice, seconds):
            done += 1
            half_written += bool(parts(run.folder))
            ended = run.is_finished()
        else:
            run.check_ended(process)
            ended = True
        if ended:
            check_same(run, whole)
            runs.append(Run(data, tmp_path / f"run-{len(runs) + 1}", epochs=epochs, report=report, processes=processes))
    runs[-1].end()
    check_same(runs[-1], whole)
    return half_written


def test_two_kills_change_nothing(tmp_path: Path) -> None:
    disturb(tmp_path, kills=2, epochs=4, report=False, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_forty_kills_change_nothing(tmp_path: Path) -> None:
    """At least one of them in the middle of a file."""
    assert disturb(tmp_path, kills=40, epochs=20, report=True, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_of_a_run_of_two_processes_change_nothing(tmp_path: Path) -> None:
    """The main one or the other."""
    disturb(tmp_path, kills=8, epochs=20, report=False, seed=2, processes=2)


@pytest.mark.parametrize(
    "damage", ["flipped", *(pytest.param(damage, marks=pytest.mark.slow) for damage in ("cut", "empty", "gone"))]
)
def test_a_damaged_checkpoint_costs_a_few_steps_and_nothing_else(tmp_path: Path, damage: str) -> None:
    """The run goes on from the one before, and ends as the undisturbed one."""
    data = write_data(tmp_path / "data")
    whole, run = (Run(data, tmp_path / name, epochs=4) for name in ("whole", "run"))
    whole.end()
    run.wait_for(PREVIOUS)
    last = run.folder / LAST
    content = bytearray(last.read_bytes()) if last.exists() else bytearray()
    if damage == "flipped" and content:
        content[len(content) // 2] ^= 4
    if damage == "gone":
        last.unlink(missing_ok=True)
    else:
        last.write_bytes(content[: {"cut": len(content) // 2, "empty": 0, "flipped": None}[damage]])
    run.end()
    check_same(run, whole)
