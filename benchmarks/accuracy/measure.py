"""The runs, one after the other, each in processes of its own; and the figures of their folders."""

from __future__ import annotations

import json
import resource
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sensorium.files import replace_file
from sensorium.inference.environment import cores, processor_name, structured_attention, versions
from sensorium.training.run_folder import CONFIG, EVALUATIONS, LAST, REPORT, read_history

from .sets import ROOT, Run, executable
from .tables import TABLES, boosted, write_csv

STARTED, FINISHED = "started.json", "finished.json"  # what a run began with, and its figures: the last file written
FIGURES = "figures.json"  # that a benchmark's script writes into the folder of its run
USED = "cores used:"  # a line of a log

Figures = dict[str, Any]


@dataclass(frozen=True)
class Folders:
    """Where the data sets are, where tables are made, and where runs go."""

    data: Path
    out: Path

    @property
    def made(self) -> Path:
        """The folder of the tables that are made here."""
        return self.out / "tables"


class Failed(Exception):
    """A command of a run ended with an error; the message is its last line and where the others are."""


def measure(run: Run, folders: Folders, *, tell: Callable[[str], None] = print) -> Figures | None:
    """Train, evaluate, and gather the figures, unless the run's folder has them. An interrupted training goes on.

    Returns:
        what ``finished.json`` of the run holds; None: the folder is of a run with other commands, which is left alone.

    Raises:
        Failed: a command ended with an error.
    """
    folder = folders.out / run.name
    begun = _read(folder / STARTED)
    if begun and begun["commands"] != run.shown():
        tell(f"{run.name}: measured by other commands before, and left alone; --again measures it")
        return None
    finished = _read(folder / FINISHED)
    if finished:
        return finished
    _make_table(run, folders)
    if begun and not _goes_on(folder):
        shutil.rmtree(folder)
        begun = {}
    started = _note_start(run, folder, begun)
    commands = run.commands(data=str(folders.data), made=str(folders.made), out=str(folders.out))
    for number, command in enumerate(commands):
        if number == 0 and (folder / REPORT).exists():
            continue
        if number == 0 and (folder / LAST).exists():
            command = [*command[:3], "--resume", "--out", str(folder)]
        call(command, folder.with_suffix(".log"))
    figures = {**started, **usage(folder), **gather(folder), **_beside(run)}
    _write(folder / FINISHED, figures)
    return figures


def _goes_on(folder: Path) -> bool:
    """Whether an unfinished run can be continued where it was interrupted."""
    return (folder / CONFIG).exists() and ((folder / REPORT).exists() or (folder / LAST).exists())


def _make_table(run: Run, folders: Folders) -> None:
    if run.set.section == "tables":
        write_csv(TABLES[run.set.name](), run.seed, folders.made / f"{run.set.name}-{run.seed}.csv")


def _beside(run: Run) -> Figures:
    if run.set.section != "tables":
        return {}
    return {"boosting": boosted(TABLES[run.set.name](), run.seed)}


def _note_start(run: Run, folder: Path, begun: Figures) -> Figures:
    """Write down by what the run is made, before it is; of one that goes on, by which commits."""
    started = begun or {
        "run": run.name,
        "commands": run.shown(),
        "minutes": run.minutes,
        "machine": machine(),
        "versions": versions(),
        "commits": [],
    }
    started["commits"] = list(dict.fromkeys([*started["commits"], commit()]))
    _write(folder / STARTED, started)
    return started


def machine() -> str:
    """The processor, and how much of it is used.

    >>> machine().count(", ") >= 3
    True
    """
    parts = (processor_name(), f"{cores()} cores", f"{torch.get_num_threads()} threads", structured_attention())
    return ", ".join(parts)


def commit() -> str:
    """The commit of this checkout; with a plus sign where the source has changes that are not committed."""

    def asked(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = asked("status", "--porcelain", "--untracked-files=no", "--", "src", "benchmarks/*.py")
    return (asked("rev-parse", "--short=7", "HEAD") or "unknown") + ("+" if changed else "")


def call(command: Sequence[str], log: Path) -> None:
    """Run a command; what it prints goes to ``log``.

    Raises:
        Failed: its exit status is not 0.
    """
    began, before = time.monotonic(), _child_seconds()
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {shlex.join(command)}\n")
        file.flush()
        process = subprocess.Popen(executable(command), stdout=file, stderr=subprocess.STDOUT)
        try:
            status = process.wait()
        except KeyboardInterrupt:  # which the training has received, too: it saves and ends
            process.wait()
            raise
        except BaseException:
            process.terminate()
            process.wait()
            raise
    wall = max(time.monotonic() - began, 1e-9)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{USED} {(_child_seconds() - before) / wall:.2f}\n")
    if status:
        lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
        raise Failed(f"{lines[-2] if len(lines) > 1 else 'no message'} (status {status}; {log})")


def _child_seconds() -> float:
    """Seconds of the processor that finished children of this process took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def usage(folder: Path) -> Figures:
    """How many cores the training had on the mean: fewer than threads, where it shared them with other work."""
    lines = folder.with_suffix(".log").read_text("utf-8", errors="replace").splitlines()
    used = [float(line.removeprefix(USED)) for line in lines if line.startswith(USED)]
    return {"cores_used": used[0]} if used else {}


def gather(folder: Path) -> Figures:
    """The figures of a finished run.

    Args:
        folder: with ``report.json``, or with ``figures.json`` of a benchmark's script, or with both.
    """
    report = _read(folder / REPORT)
    figures: Figures = {"figures": _read(folder / FIGURES)}
    history = read_history(folder)
    if history:
        figures |= {"epochs": history[-1]["epoch"], "steps": int(history[-1]["step"])}
    if not report:
        return figures
    config, metric = report["config"], report.get("primary_metric", "loss")
    encoder = config["model"]["encoder"]
    figures |= {
        "samples": report["samples"],
        "metric": metric,
        "score": report["metrics"][metric],
        "metrics": report["metrics"],
        "parameters": report["parameters"],
        "seconds": report["train_seconds"],
        "latents": f"{encoder['num_latents']} × {encoder['latent_channels']}" if "num_latents" in encoder else "",
        "most_epochs": config["recipe"]["epochs"],
        "baselines": [
            {"name": each["name"], "score": each["metrics"].get(metric), "scored_on": each["scored_on"]}
            for each in report.get("baselines", ())
        ],
    }
    evaluations = sorted((folder / EVALUATIONS).glob("*-without-*/report.json"))
    figures["without"] = {
        path.parent.name.rpartition("-without-")[2]: _read(path)["metrics"][metric] for path in evaluations
    }
    return figures


def _read(path: Path) -> Figures:
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _write(path: Path, values: Figures) -> None:
    text = json.dumps(values, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def remove(run: Run, folders: Folders) -> None:
    """Remove the folder of a run, if it is one that was made here."""
    folder = folders.out / run.name
    if (folder / STARTED).exists():
        shutil.rmtree(folder)
        folder.with_suffix(".log").unlink(missing_ok=True)
