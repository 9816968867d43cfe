"""Is a change of settings worth keeping? A against B over several data sets.

    python benchmarks/ablate.py no-flip --a "model.inputs.flip=0" --b "" --sets cifar10 imagenette224 --seeds 0 1
    python benchmarks/ablate.py NAME --a … --b … --epochs 10 --parallel 8 --threads 4     # a machine with many cores

A and B are settings as ``sensorium train --set`` takes them, with spaces between several; none: ``auto`` as it is. Both
sides get the same seed, split and budget; they take turns, A first, then B first. Each run is a process of its own, and
its figures are a line of OUT/NAME.jsonl: the same command goes on where it was stopped, and more seeds or sets add to
what was found.

Choices are not made on test splits, so these are neither decoded nor scored. Where the data have no validation split, a
fifth of the training examples becomes one (a tenth of large sets); the seed draws it. What counts is the score of
the last weights: the best of twenty validations is biased upwards, and is shown beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from ablation_table import Row, Side, summarise, table
from sensorium.config import to_yaml
from sensorium.data import load_samples
from sensorium.errors import InputError
from sensorium.files import replace_file
from sensorium.inference.environment import cores, processor_name
from sensorium.models.perceiver import Perceiver
from sensorium.training.plan import plan
from sensorium.training.progress import Quiet
from sensorium.training.run_folder import read_history

ROOT = Path(__file__).parents[1]
MINUTES = 4.0
VALIDATION = 0.2  # share of the training examples
# What else a set needs, as arguments of plan(), and its folder where that has another name. Clips of one recording of
# esc10 stay in one split; of sets with folds the last one is the test split.
SETS: dict[str, dict[str, Any]] = {
    "cifar10": {"val": 0.1},
    "fsdd": {},
    "uci_har": {},
    "modelnet40": {"val": 0.1},
    "movie_reviews": {},
    "esc10": {"group": "freesound_id"},
    "grid_av-pictures": {"folder": "grid_av", "kind": ["video"]},
    "grid_av-sound": {"folder": "grid_av", "kind": ["audio"]},
    "imagenette224": {},
    "japanesevowels": {},
    "basicmotions": {},
}
DEFAULT_SETS = ("cifar10", "fsdd", "uci_har")


@dataclass(frozen=True)
class Job:
    """One run: everything its figures depend on but the source and the machine."""

    set: str
    side: Side
    seed: int
    settings: tuple[str, ...]
    minutes: float | None
    epochs: float | None
    threads: int
    parallel: int
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> str:
        """What tells finished runs apart."""
        return json.dumps(asdict(self), sort_keys=True)


def jobs(options: argparse.Namespace) -> Iterator[Job]:
    """All runs in their order: every set with the first seed, then with the next, A and B in turns.

    Raises:
        InputError: a setting is not quoted properly.
    """
    settings: dict[Side, tuple[str, ...]] = {"A": _settings(options.a), "B": _settings(options.b)}
    orders: tuple[tuple[Side, Side], ...] = (("A", "B"), ("B", "A"))
    for number, seed in enumerate(options.seeds):
        for name in options.sets:
            for side in orders[number % 2]:
                yield Job(
                    set=name,
                    side=side,
                    seed=seed,
                    settings=settings[side],
                    minutes=None if options.epochs is not None else options.minutes,
                    epochs=options.epochs,
                    threads=options.threads,
                    parallel=options.parallel,
                    options={"val": VALIDATION} | SETS.get(Path(name).name, {}),
                )


def _settings(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InputError(f"{text!r}: these are no settings ({error}); quote values with spaces") from None


# -- finished runs


def read_rows(path: Path) -> list[Row]:
    """The rows of a results file; a line that was not written to its end is left out."""
    rows = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def append_row(path: Path, row: Row) -> None:
    """Add a row to a results file; it is on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text("utf-8") if path.exists() else ""
    torn = before != "" and not before.endswith("\n")  # the machine stopped while a row was written
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * torn + json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


# -- in a process of its own


def train(job: Job, data: Path, scratch: Path) -> Row:
    """Train once and return the figures of the run.

    Args:
        data: the folder of the sets.
        scratch: a folder for what training writes.

    Raises:
        InputError: the data or a setting cannot be used.
    """
    from sensorium.training.loop import fit

    torch.set_num_threads(job.threads)
    options = dict(job.options)
    folder = data / options.pop("folder", job.set)
    planned = plan(folder, settings=job.settings, seed=job.seed, minutes=job.minutes, epochs=job.epochs, **options)
    config, splits = planned.config, planned.source.splits
    if "val" not in splits:
        raise InputError(f"{job.set}: there is no validation split")
    torch.manual_seed(config.seed)
    model = Perceiver(config.model)
    train_samples, val_samples = (
        load_samples(splits[name].for_modality(model.inputs), [model.inputs]) for name in ("train", "val")
    )
    seconds = fit(model, train_samples, val_samples, config=config, folder=scratch, listener=Quiet())
    history, task = read_history(scratch), model.task
    scale = 100.0 if task.is_percent(task.primary_metric) else 1.0
    scores = [
        scale * task.selection_score({name.removeprefix("val_"): value for name, value in row.items()})
        for row in history
    ]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else processor_name()
    beside = f", {job.parallel} runs at once" if job.parallel > 1 else ""
    return {
        "set": Path(job.set).name,
        "side": job.side,
        "seed": job.seed,
        "kind": config.model.inputs.kind,
        "metric": task.primary_metric,
        "last": scores[-1],
        "best": max(scores),
        "scores": [round(score, 4) for score in scores],
        "resolution": scale / len(val_samples),
        "val_examples": len(val_samples),
        "steps": int(history[-1]["step"]),
        "epochs": history[-1]["epoch"],
        "seconds": round(seconds, 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "config": hashlib.sha256(to_yaml(config).encode()).hexdigest()[:16],
        "machine": f"{device}, {job.threads} threads{beside}, torch {torch.__version__}",
        "revision": revision(),
    }


def revision() -> str:
    """The commit of the source, with a ``+`` where it was changed since; empty outside of a checkout."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
        return done.stdout.strip() if not done.returncode else ""

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "src") else "")


def serve(text: str) -> None:
    """The other side of :func:`train_apart`: train, and print the row as the last line."""
    request = json.loads(text)
    job = Job(**{**request["job"], "settings": tuple(request["job"]["settings"])})
    try:
        with tempfile.TemporaryDirectory(dir=request["scratch"]) as folder:
            print("\n" + json.dumps(train(job, Path(request["data"]), Path(folder))), flush=True)
    except InputError as error:
        sys.exit(str(error))


class Apart:
    """Runs jobs in processes of their own, and ends those that are left when it is left."""

    def __init__(self, data: Path, scratch: Path) -> None:
        self.data, self.scratch = data, scratch
        self.children: set[subprocess.Popen[str]] = set()

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        for child in list(self.children):
            child.terminate()

    def train(self, job: Job) -> Row | str:
        """The row of a run, or the reason why there is none."""
        request = json.dumps({"job": asdict(job), "data": str(self.data), "scratch": str(self.scratch)})
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, "--job", request],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(job.threads)},
        )
        self.children.add(child)
        output, problems = child.communicate()
        self.children.discard(child)
        if child.returncode:
            return (problems.strip().splitlines() or [f"ended with status {child.returncode}"])[-1]
        row: Row = json.loads(output.splitlines()[-1])
        return row


# -- all of them


def run(options: argparse.Namespace) -> list[str]:
    """Run what is not finished; returns the problems, a line each."""
    results, problems = results_path(options), []
    finished = {row["key"] for row in read_rows(results)}
    waiting = [job for job in jobs(options) if job.key not in finished]
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=options.out) as scratch,
        Apart(options.data, Path(scratch)) as apart,
        ThreadPoolExecutor(options.parallel) as pool,
    ):
        started = {pool.submit(apart.train, job): job for job in waiting}
        try:
            for number, future in enumerate(as_completed(started), 1):
                job, outcome = started[future], future.result()
                title = f"{number} of {len(waiting)}: {job.set}, {job.side}, seed {job.seed}"
                if isinstance(outcome, str):
                    problems.append(f"{job.set}, {job.side}, seed {job.seed}: {outcome}")
                    print(f"{title}: {outcome}", file=sys.stderr, flush=True)
                    continue
                append_row(results, {"key": job.key, **outcome})
                figures = f"{outcome['metric']} {outcome['last']:.2f}, best {outcome['best']:.2f}"
                minutes = f"{outcome['steps']} steps, {outcome['seconds'] / 60:.1f} minutes"
                print(f"{title}: {figures}, {minutes}", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            apart.__exit__()
            raise
    return problems


def results_path(options: argparse.Namespace) -> Path:
    """The file of the finished runs."""
    path: Path = options.out / f"{options.name}.jsonl"
    return path


def section(options: argparse.Namespace) -> str:
    """The command, without the folders of this machine, and the table of the runs that it asks for."""
    words = [options.name, "--a", options.a, "--b", options.b, "--sets", *(Path(name).name for name in options.sets)]
    words += (
        ["--epochs", f"{options.epochs:g}"] if options.epochs is not None else ["--minutes", f"{options.minutes:g}"]
    )
    words += ["--seeds", *map(str, options.seeds)]
    wanted = {job.key for job in jobs(options)}
    rows = [row for row in read_rows(results_path(options)) if row["key"] in wanted]
    settings = {side: text or "auto as it is" for side, text in (("A", options.a), ("B", options.b))}
    what = "; ".join(f"{side}: `{text}`" for side, text in settings.items())
    return f"`python benchmarks/ablate.py {shlex.join(words)}`\n\n{what}\n\n{table(summarise(rows))}\n"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the ablation, and of its file")
    parser.add_argument("--a", default="", help="settings of A, the change")
    parser.add_argument("--b", default="", help="settings of B, what it is compared with")
    parser.add_argument("--sets", nargs="+", default=DEFAULT_SETS, help=f"names in --data: {', '.join(SETS)}; or paths")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=MINUTES, help="of each run")
    budget.add_argument("--epochs", type=float, help="of each run, instead of minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--parallel", type=int, default=1, help="runs at once")
    parser.add_argument("--threads", type=int, help="of each run; the cores, shared by the runs at once")
    parser.add_argument("--append", type=Path, help="a decision file that the table is appended to")
    options = parser.parse_args(arguments)
    options.data, options.out = options.data.resolve(), options.out.resolve()
    options.threads = options.threads or max(1, cores() // options.parallel)
    return options


def stop(number: int, frame: FrameType | None) -> None:
    """Called by SIGTERM: the runs are ended, too."""
    raise SystemExit(128 + number)


def main(arguments: Sequence[str]) -> None:
    """Run, print the table, append it where that is asked for; status 1 where runs failed."""
    options = parse(arguments)
    try:
        problems = run(options)
        text = section(options)
        print(text)
        if options.append is not None:
            before = options.append.read_text("utf-8").rstrip() + "\n\n" if options.append.exists() else ""
            replace_file(options.append, lambda path: path.write_text(before + text, "utf-8"))
    except InputError as error:
        sys.exit(f"ablate.py: {error}")
    if problems:
        sys.exit("\n".join(["Not in the table:", *problems]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        serve(sys.argv[2])
    else:
        signal.signal(signal.SIGTERM, stop)
        main(sys.argv[1:])
