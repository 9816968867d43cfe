"""Trainings in processes that can be killed. They are forked from one that has everything imported, so each begins at
once."""

from __future__ import annotations

import inspect
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
from sensorium.training.progress import Quiet
from sensorium.training.run import train

EPOCHS = 20  # of three steps; so there is a validation pass, and a checkpoint, at the end of each epoch at most
SETTINGS = (
    "model.encoder.num_latents=4",
    "model.encoder.latent_channels=8",
    "model.encoder.num_self_attention_heads=2",
    "model.encoder.num_layers=1",
    "inputs.stem=null",
    "recipe.batch_size=8",
    "recipe.precision=float32",
)


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


def life(data: Path, out: Path, report: bool, errors: Path, limit: int | None = None) -> None:
    """Train into a folder, or go on there; as ``sensorium train`` does, with status 2 and a line for what the user can
    mend.

    Args:
        report: whether the run is evaluated and reported on, too.
        errors: the file for what is printed.
        limit: the most bytes that a file may have, as on a disk that is almost full.
    """
    torch.set_num_threads(1)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    often = {"checkpoint_minutes": 1e-6} if "checkpoint_minutes" in inspect.signature(train).parameters else {}
    try:
        sm.train(
            data,
            out=out,
            epochs=EPOCHS,
            settings=SETTINGS,
            resume=(out / "config.yaml").exists(),
            listener=None if report else WeightsDone(),
            **often,  # type: ignore[arg-type]
        )
    except sm.InputError as error:
        errors.write_text(str(error))
        sys.exit(2)


def born(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """A process that is beginning."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "sensorium.training.loop", "sensorium.report.page", "matplotlib.pyplot"])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process
