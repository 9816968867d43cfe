"""Trainings in processes that can be killed. They are forked from one that has everything imported, so each begins at
once."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import torch

import sensorium as sm
from sensorium.cli import main
from sensorium.training.progress import Quiet

SETTINGS = (
    "model.encoder.num_latents=4",
    "model.encoder.latent_channels=8",
    "model.encoder.num_self_attention_heads=2",
    "model.encoder.num_layers=1",
    "inputs.stem=null",
    "recipe.batch_size=8",
    "recipe.precision=float32",
)


PRELOADED = ["sensorium.cli", "sensorium.training.run", "sensorium.training.loop", "sensorium.report.page"]


class WeightsDone(Quiet):
    """Ends the process when nothing is left to do but the report."""

    def stage(self, text: str) -> None:
        if text == "fitting a baseline":
            os._exit(0)


def write_data(folder: Path) -> Path:
    """Short series of two classes: 24 to train on, 8 to validate and 8 to test."""
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    values = random.normal(0, 0.5, (40, 12, 2)) + np.where(labels == 1, 0.3, -0.3)[:, None, None]
    parts = {"train": slice(24), "val": slice(24, 32), "test": slice(32, 40)}
    arrays = {f"x_{split}": values[part] for split, part in parts.items()}
    labelled = {f"y_{split}": labels[part] for split, part in parts.items()}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "signs.npz", **arrays, **labelled)  # type: ignore[arg-type]
    return folder / "signs.npz"


def live(data: Path, out: Path, epochs: int, report: bool, errors: Path, team: tuple[int, int, int]) -> None:
    """Train into a folder, or go on there, with a checkpoint after each step of three an epoch.

    Args:
        report: whether the run is evaluated and reported on, too.
        errors: the file for what a user would be told.
        team: the number of this process, how many there are, and the port by which they find each other: what torchrun
            says in the environment.
    """
    torch.set_num_threads(1)
    rank, processes, port = map(str, team)
    if processes != "1":
        os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    try:
        sm.train(
            data,
            out=out,
            epochs=epochs,
            settings=SETTINGS,
            resume=(out / "config.yaml").exists(),
            checkpoint_minutes=1e-6,
            listener=None if report else WeightsDone(),
        )
    except sm.InputError as error:
        errors.write_text(str(error))
        sys.exit(2)


def command(arguments: list[str], printed: Path, limit: int | None) -> None:
    """A command of ``sensorium``.

    Args:
        printed: the file for what it writes to stderr.
        limit: the most bytes that a file may have, as on a disk that is almost full.
    """
    torch.set_num_threads(1)
    with printed.open("w") as sys.stderr:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        main(arguments)


def idle() -> None:
    """Nothing: the first process waits until everything is imported."""


def born(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """A process that is beginning."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=target, args=arguments)
    process.start()
    return process
