"""A run folder from data to report: train, evaluate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from .. import report
from ..config import from_dict, read_yaml, to_dict, to_yaml
from ..data import Examples, Samples, TargetConfig, decode, find_description, open_source, read_description
from ..errors import InputError, did_you_mean
from ..files import replace_file
from ..inference.evaluate import evaluate_model
from ..models import checkpoints
from ..models.perceiver import Perceiver
from ..models.recipe import RecipeConfig
from .loop import LAST, Listener, Quiet, fit, read_history
from .plan import Labelled, RunConfig, SelfSupervised, plan

EVERY = "all"  # the name of all splits together


def train(
    data: str | Path,
    *,
    out: str | Path | None = None,
    preset: str = "auto",
    task: Labelled | SelfSupervised | None = None,
    start: str | Path | None = None,
    dataset: str | Path | None = None,
    fold: str | int | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    settings: Sequence[str] = (),
    seed: int = 0,
    resume: bool = False,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Train on the data and write a run folder; returns what ``report.json`` holds.

    Args:
        out: the run folder; ``runs/<name of the data>`` by default, numbered if that is taken.
        resume: go on with an interrupted run in ``out`` (its own configuration is used).
        start: a run whose inputs and encoder this one goes on with.
        listener: is told how it goes.
        data, preset, task, dataset, fold, minutes, epochs, settings, seed: as for :func:`plan`.

    Raises:
        InputError: something handed in cannot be used.
        Interrupted: stopped by Ctrl-C or SIGTERM, after saving.
    """
    listener = listener or Quiet()
    listener.stage("looking at the data")
    planned = plan(
        data,
        preset=preset,
        task=task,
        start=start,
        dataset=dataset,
        fold=fold,
        minutes=minutes,
        epochs=epochs,
        settings=settings,
        seed=seed,
    )
    folder = _run_folder(Path(data), out, resume=resume)
    if resume:
        values = read_yaml(folder / "config.yaml")
        checkpoints.check_format(values.get("format"), where=folder / "config.yaml")
        planned = replace(planned, config=from_dict(RunConfig, values, where=str(folder / "config.yaml")))
        if (folder / "report.json").exists():
            raise InputError(f"{folder}: this run is finished; train a new one with another --out")
    config = planned.config
    torch.manual_seed(config.seed)
    model = Perceiver(config.model)
    if config.start is not None and not resume:
        checkpoints.start_from(model, config.start)
    samples = {split: _decode(examples, model, split, listener) for split, examples in planned.source.splits.items()}
    replace_file(folder / "config.yaml", lambda path: path.write_text(to_yaml(config), encoding="utf-8"))
    seconds = fit(model, samples["train"], samples.get("val"), config=config, folder=folder, listener=listener)
    best = checkpoints.load(folder)
    split = "test" if "test" in samples else "val" if "val" in samples else "train"
    return _report(
        folder,
        best,
        samples[split],
        split,
        config=config,
        seconds=seconds,
        history=read_history(folder),
        warned=planned.source.warnings,
        listener=listener,
    )


def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    split: str = "test",
    without: Sequence[str] = (),
    dataset: str | Path | None = None,
    fold: str | int | None = None,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Score a finished run on a split of some data and write its report anew; returns what ``report.json`` holds.

    Args:
        run: a run folder, or imported weights; the classes of data may have other names than those of imported
            weights, as folders of ImageNet have, if there are as many.
        without: signals to take away from every example, by name, to see what the model makes of the others; the report
            then goes into a folder of its own in the run's, ``without-NAME``.
        split: ``train``, ``val``, ``test``, or ``all`` of the data, where none of them was trained on.
        data, dataset, fold, listener: as for :func:`train`.

    Raises:
        InputError: no model in ``run``, no such split or signal, or other classes than the model has.
    """
    listener = listener or Quiet()
    folder = Path(run)
    model = checkpoints.load(folder)
    config = RunConfig(model=model.config, recipe=RecipeConfig())  # of imported weights: trained elsewhere
    imported = not (folder / "config.yaml").exists()
    if not imported:
        values = read_yaml(folder / "config.yaml")
        checkpoints.check_format(values.get("format"), where=folder / "config.yaml")
        config = from_dict(RunConfig, values, where=str(folder / "config.yaml"))
    listener.stage("looking at the data")
    flows = model.config.task.kind == "flow"  # learned of pictures, it may be judged by frames
    if dataset is not None:
        description = read_description(Path(dataset))
    else:
        description = find_description(Path(data)) if imported or flows else config.data
    if flows:
        description = replace(description, target=TargetConfig(task="flow"))
    elif imported and not model.task.classes:  # the signal itself was learned
        description = replace(description, target=replace(description.target, task="none"))
    source = open_source(
        Path(data), description=description, fold=config.fold if fold is None else fold, seed=config.seed
    )
    parts = {**source.splits, EVERY: Examples.joined(list(source.splits.values()))}
    if split not in parts:
        raise InputError(f"--split {split}: there is none; {did_you_mean(split, parts)}")
    renamed = source.classes != model.task.classes
    if renamed and not (imported and len(source.classes) == len(model.task.classes)):
        raise InputError(f"{data}: its classes are not those the model was trained on")
    previous = json.loads((folder / "report.json").read_text()) if (folder / "report.json").exists() else {}
    samples = _decode(parts[split].without(without), model, split, listener)
    return _report(
        folder.joinpath(*(["-".join(["without", *without])] if without else [])),
        model,
        samples,
        split,
        config=config,
        seconds=previous.get("train_seconds", 0.0),
        history=read_history(folder),
        warned=[
            *source.warnings,
            *(f"evaluated without {name}" for name in without),
            *(["the data's classes have other names than the model's; they are taken in order"] if renamed else []),
        ],
        listener=listener,
    )


def _report(
    folder: Path,
    model: Perceiver,
    samples: Samples,
    split: str,
    *,
    config: RunConfig,
    seconds: float,
    history: Sequence[dict[str, float]],
    warned: Sequence[str],
    listener: Listener,
) -> dict[str, Any]:
    listener.stage(f"evaluating on {split}")
    evaluation = evaluate_model(
        model,
        samples,
        split=split,
        progress=lambda done, total: listener.progress(done / total, {}),
    )
    listener.stage("writing the report")
    result = report.write_report(
        folder,
        model=model,
        samples=samples,
        evaluation=evaluation,
        config=to_dict(config),
        train_seconds=seconds,
        seed=config.seed,
        history=history,
        warnings=warned,
    )
    return {**result, "folder": str(folder)}


def _decode(examples: Examples, model: Perceiver, split: str, listener: Listener) -> Samples:
    listener.stage(f"reading {split}")
    examples = examples.given_to(model.inputs)
    return decode(examples, [model.inputs], progress=lambda done, total: listener.progress(done / total, {}))


def free_folder(folder: Path) -> Path:
    """The folder itself, or the first of ``folder-2``, ``folder-3``, … that holds no run yet."""
    number = 1
    free = folder
    while (free / "config.yaml").exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _run_folder(data: Path, out: str | Path | None, *, resume: bool) -> Path:
    wanted = Path("runs", data.resolve().stem) if out is None else Path(out)
    folder = free_folder(wanted) if out is None and not resume else wanted
    taken = (folder / "config.yaml").exists()
    if resume and not (folder / LAST).exists():
        raise InputError(f"{folder}: there is nothing to resume; train without --resume")
    if out is not None and taken and not resume:
        raise InputError(f"{folder}: a run is here already; go on with --resume or choose another --out")
    replace_file(folder / ".writable", lambda path: path.write_text(""))
    (folder / ".writable").unlink()
    return folder
