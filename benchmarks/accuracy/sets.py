"""What is measured: every set, its minutes, its commands, and what is asked of it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (sys.executable, "-c", "from sensorium.cli import main; main()")

Section = Literal["classes", "films", "tables", "text", "flow", "autoencoding"]


@dataclass(frozen=True)
class Set:
    """One row of the results.

    Attributes:
        name: of the row, and of its run folders.
        signal: what the model reads, in a few words.
        minutes: of one training.
        section: the table of docs/results.md that it is in.
        bar, aim: what the figure must exceed, and what is hoped for; None: nothing is asked.
        folds, seeds: a run for each of them; folds are tested one after the other with the first seed.
        commands: after one another in a run; the words in braces are filled in. The first one trains.
        bars_of_pairs: of single pairs of frames, the end-point error in pixels that must not be reached.
        plain: the settings of a run without a stem before the attention; none: ``auto`` has none there.
    """

    name: str
    signal: str
    minutes: float
    section: Section = "classes"
    bar: float | None = None
    aim: float | None = None
    folds: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    commands: tuple[str, ...] = ("sensorium train {data}/{name} --minutes {minutes}",)
    bars_of_pairs: dict[str, float] = field(default_factory=dict)
    plain: tuple[str, ...] = ("model.inputs.stem=null",)


@dataclass(frozen=True)
class Run:
    """One training: a set with one of its folds or seeds.

    Attributes:
        plain: whether it is the one without a stem.
        minutes: of the training.
    """

    set: Set
    fold: str | None
    seed: int
    plain: bool
    minutes: float

    @property
    def name(self) -> str:
        """Of the run folder.

        >>> wine = Set("wine", "table", 1.0, seeds=(0, 1))
        >>> [run.name for run in runs_of(wine)]
        ['wine-seed-0', 'wine-seed-1']
        """
        parts = [self.set.name]
        parts += [] if self.fold is None else [f"fold-{self.fold}"]
        parts += [f"seed-{self.seed}"] if len(self.set.seeds) > 1 else []
        return "-".join([*parts, *(["plain"] if self.plain else [])])

    def commands(self, *, data: str, made: str, out: str) -> list[list[str]]:
        """The words of each command.

        Args:
            data: the folder of the data sets.
            made: the folder of the tables that are made here.
            out: the folder of the runs.
        """
        filled = {
            "data": data,
            "made": made,
            "name": self.set.name,
            "minutes": f"{self.minutes:g}",
            "seed": self.seed,
            "run": f"{out}/{self.name}",
        }
        commands = [[word.format(**filled) for word in shlex.split(command)] for command in self.set.commands]
        commands[0] += [] if self.fold is None else ["--fold", self.fold]
        commands[0] += ["--seed", str(self.seed)] if len(self.set.seeds) > 1 else []
        for setting in self.set.plain if self.plain else ():
            commands[0] += ["--set", setting]
        commands[0] += ["--out", f"{out}/{self.name}"]
        return commands

    def shown(self) -> list[str]:
        """The commands as a reader would type them in the folder of the data sets."""
        commands = self.commands(data=".", made=".", out="runs")
        return [shlex.join(word.removeprefix("./") for word in command) for command in commands]


def executable(command: Sequence[str]) -> list[str]:
    """The words of a process: this Python with this checkout's program or benchmark."""
    program, *words = command
    if program == "sensorium":
        return [*PROGRAM, *words]
    script, *words = words
    return [sys.executable, str(ROOT / script), *words]


def runs_of(wanted: Set, *, plain: bool = False, most_minutes: float | None = None) -> Iterator[Run]:
    """The runs of a set, one for each fold and seed."""
    minutes = wanted.minutes if most_minutes is None else min(wanted.minutes, most_minutes)
    for fold in wanted.folds or (None,):
        for seed in wanted.seeds:
            yield Run(wanted, fold, seed, plain, minutes)


def _table(name: str, columns: str, *, minutes: float = 1.0) -> Set:
    """A table that accuracy/tables.py makes, one file for each seed, which is also that of its split."""
    command = "sensorium train {made}/{name}-{seed}.csv --minutes {minutes}"
    return Set(name, columns, minutes, "tables", seeds=(0, 1, 2), commands=(command,))


def _names(count: int, *, first: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(first, first + count))


GRID = "sensorium train {data}/grid_av --minutes {minutes}"
AUDIO = "model.inputs.modalities.audio"

# Shares of 1 are accuracies; bits, shares of no motion and pixels are better where they are smaller; decibels are those
# above silence. No set takes more than 30 minutes.
SETS = (
    Set("basicmotions", "series", 0.5, bar=1.0, aim=1.0, seeds=(0, 1, 2)),
    Set("japanesevowels", "series", 1, bar=0.975, aim=0.99, seeds=(0, 1, 2)),
    Set("fsdd", "sound", 4, bar=0.99, aim=1.0),
    Set("uci_har", "series", 6, bar=0.93, aim=0.96),
    Set("modelnet40", "points", 20, bar=0.885, aim=0.91),
    Set("cifar10", "pictures", 24, bar=0.74, aim=0.82),
    Set("imagenette224", "pictures", 12, bar=0.72, aim=0.80),
    Set("esc10", "sound", 3, bar=0.84, aim=0.92, folds=_names(5, first=1)),
    Set("movie_reviews", "text", 3, bar=0.84, aim=0.88, folds=_names(10, first=0)),
    Set(
        "grid_av",
        "sound and pictures",
        30,
        "films",
        bar=0.97,
        aim=0.99,
        commands=(
            GRID,
            "sensorium evaluate {run} {data}/grid_av --without video",
            "sensorium evaluate {run} {data}/grid_av --without audio",
        ),
    ),
    Set("grid_av-pictures", "pictures alone", 12, "films", bar=0.25, aim=0.50, commands=(f"{GRID} --kind video",)),
    Set("grid_av-sound", "sound alone", 10, "films", commands=(f"{GRID} --kind audio",)),
    Set(
        "grid_av-autoencoded",
        "sound and pictures",
        30,
        "autoencoding",
        bar=3.0,
        aim=8.0,
        commands=(
            "sensorium pretrain {data}/grid_av --minutes {minutes} --set model.task.mask_ratio=0"
            f" --set {AUDIO}.representation=raw --set '{AUDIO}.patch=[256,1]' --set {AUDIO}.bands=128"
            f" --set 'model.inputs.dropout={{{{}}}}'"
            " --set model.task.loss_weights.audio=16"
            " --set model.encoder.num_latents=128 --set recipe.batch_size=8",
            "python benchmarks/films.py {run} {data}/grid_av",
        ),
        plain=(),
    ),
    Set(
        "hidden-words",
        "text",
        15,
        "text",
        bar=3.3,
        aim=3.11,
        commands=(
            "python benchmarks/mlm.py {data}/tinyshakespeare/train.txt {data}/movie_reviews/reviews.parquet"
            " --test {data}/tinyshakespeare/test.txt --minutes {minutes}",
        ),
        plain=(),
    ),
    Set(
        "flow",
        "pairs of frames",
        20,
        "flow",
        bar=0.35,
        bars_of_pairs={"flyingchairs_01": 1.3, "flyingchairs_03": 1.3},
        commands=(
            "sensorium train {data}/imagenette224 --task flow --minutes {minutes}",
            "python benchmarks/flow.py {data}/imagenette224 --run {run} --pairs {data}/optical_flow",
        ),
        plain=(),
    ),
    _table("breast_cancer", "30 numbers"),
    _table("wine", "13 numbers"),
    _table("diabetes", "10 numbers"),
    _table("digits", "64 numbers", minutes=2),
    _table("friedman1", "10 numbers, 5 of which say nothing"),
    _table("clusters", "20 numbers, 12 of which say nothing"),
    _table("houses", "6 numbers with gaps, 2 words", minutes=2),
    _table("rings", "2 numbers"),
)
