"""A run folder from data to report: train a model, and evaluate one on some data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import torch

from .. import report
from ..config import to_dict, to_yaml
from ..data import (
    Assumption,
    Corrections,
    DataConfig,
    Examples,
    Samples,
    Source,
    TargetConfig,
    find_description,
    load_samples,
    open_source,
    read_description,
)
from ..errors import InputError, did_you_mean
from ..files import replace_file
from ..inference.baselines import Beside, compute_baselines, only_majority, stored_baselines
from ..inference.evaluate import evaluate_model
from ..inference.remarks import count_remarks
from ..models import checkpoints
from ..models.perceiver import Perceiver
from ..models.recipe import RecipeConfig
from ..tasks import TASKS
from .plan import ClassWeights, Plan, RunConfig, plan, read_run_config, reopen
from .progress import Listener, Quiet
from .run_folder import CONFIG, REPORT, interrupted_folder, new_folder, read_history

ALL = "all"  # the name of all splits together


def train(
    data: str | Path,
    *,
    out: str | Path | None = None,
    preset: str = "auto",
    task: str | None = None,
    start: str | Path | None = None,
    dataset: str | Path | None = None,
    fold: str | int | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    settings: Sequence[str] = (),
    class_weights: ClassWeights | None = None,
    seed: int = 0,
    resume: bool = False,
    listener: Listener | None = None,
    **corrections: Unpack[Corrections],
) -> dict[str, Any]:
    """Train on the data and write a run folder; returns what ``report.json`` holds.

    Args:
        out: the run folder; ``runs/<name of the data>`` by default, numbered if that is taken.
        resume: go on with the interrupted run in ``out``. Its own configuration is used; only ``data``, ``out`` and
            ``listener`` matter then.
        start: a run whose inputs and encoder, with their weights, this one takes over.
        listener: receives the progress.
        data, preset, task, dataset, fold, minutes, epochs, settings, class_weights, seed, corrections: as for
            :func:`plan`.

    Raises:
        InputError: an argument or the data cannot be used.
        Interrupted: stopped by Ctrl-C or SIGTERM, after saving.
    """
    data, out = Path(data), None if out is None else Path(out)
    listener = listener or Quiet()
    listener.stage("opening the data")
    if resume:
        folder = interrupted_folder(data, out)
        config = read_run_config(folder)
        planned = Plan(reopen(data, config), config)
    else:
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
            class_weights=class_weights,
            seed=seed,
            **corrections,
        )
        folder = new_folder(data, out)
    return _run(planned, folder, fresh=not resume, listener=listener)


def _run(planned: Plan, folder: Path, *, fresh: bool, listener: Listener) -> dict[str, Any]:
    """Train what was planned, and report on the best weights.

    Args:
        fresh: whether the run begins here, rather than going on from its checkpoint.
    """
    source, config = planned.source, planned.config
    torch.manual_seed(config.seed)
    model = Perceiver(config.model)
    if config.start is not None and fresh:
        checkpoints.start_from(model, config.start)
    listener.planned(planned)
    samples = {split: _load(examples, model, split, listener) for split, examples in source.splits.items()}
    replace_file(folder / CONFIG, lambda path: path.write_text(to_yaml(config), encoding="utf-8"))
    listener.stage("loading the engine")
    from .loop import fit  # takes a second, and nothing else needs the engine

    seconds = fit(model, samples["train"], samples.get("val"), config=config, folder=folder, listener=listener)
    split = next(name for name in ("test", "val", "train") if name in samples)
    model = checkpoints.load(folder)
    listener.stage("fitting a baseline")
    beside = compute_baselines(model, samples["train"], samples[split], train_seconds=seconds, seed=config.seed)
    return _report(
        folder,
        model,
        samples[split],
        split,
        config=config,
        seconds=seconds,
        warnings=[*source.warnings, *beside.problems],
        assumptions=source.assumptions,
        beside=beside,
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
        run: a run folder, or imported weights. The classes of the data may have other names than those of imported
            weights, as folders of ImageNet have, if their number is the same.
        split: ``train``, ``val`` or ``test``; or ``all``: every example, for data that the model was not trained on.
        without: names of signals to mask in every example, which shows what the model makes of the others; the report
            then goes into the folder ``without-NAME`` in the run's.
        data, dataset, fold, listener: as for :func:`train`.

    Raises:
        InputError: no model in ``run``, no such split or signal, or other classes than the model has.
    """
    listener, folder, data = listener or Quiet(), Path(run), Path(data)
    model = checkpoints.load(folder)
    imported = not (folder / CONFIG).exists()
    # Imported weights were trained elsewhere, by a recipe that is not known here.
    config = RunConfig(model=model.config, recipe=RecipeConfig()) if imported else read_run_config(folder)
    listener.stage("opening the data")
    source = open_source(
        data,
        description=_description(data, config, dataset=dataset, imported=imported),
        fold=config.fold if fold is None else fold,
        seed=config.seed,
    )
    warnings = [*source.warnings, *(f"evaluated without {name}" for name in without)]
    if source.classes != model.task.classes:
        if not imported or len(source.classes) != len(model.task.classes):
            raise InputError(f"{data}: its classes are not those the model was trained on")
        warnings.append("the data's classes have other names than the model's; they are taken in order")
    examples = _split(source, split).without(without)
    warnings += count_remarks(examples, model.inputs)
    samples = _load(examples, model, split, listener)
    previous = json.loads((folder / REPORT).read_text()) if (folder / REPORT).exists() else {}
    return _report(
        folder / "-".join(["without", *without]) if without else folder,
        model,
        samples,
        split,
        config=config,
        seconds=previous.get("train_seconds", 0.0),
        warnings=warnings,
        assumptions=source.assumptions,
        beside=stored_baselines(previous, split=split, samples=len(samples)),
        listener=listener,
        history_of=folder,
    )


def _description(data: Path, config: RunConfig, *, dataset: str | Path | None, imported: bool) -> DataConfig:
    """How the data to be evaluated are described: as the run's were, where they may be laid out alike."""
    task = TASKS[config.model.task.kind]
    # Targets that are neither labels nor the signal lie in the data: a model of flow that was trained on single
    # pictures may be evaluated on pairs of frames.
    own_layout = task.label_type is None and not task.self_supervised
    if dataset is not None:
        description = read_description(Path(dataset))
    elif imported or own_layout:
        description = find_description(data)
    else:
        description = config.data
    if own_layout:
        return replace(description, target=TargetConfig(task=config.model.task.kind))
    if task.self_supervised:
        return replace(description, target=replace(description.target, task="none"))
    return description


def _split(source: Source, split: str) -> Examples:
    """The examples of a split, or of all of them."""
    parts = {**source.splits, ALL: Examples.joined(list(source.splits.values()))}
    if split not in parts:
        raise InputError(f"--split {split}: there is none; {did_you_mean(split, parts)}")
    return parts[split]


def _load(examples: Examples, model: Perceiver, split: str, listener: Listener) -> Samples:
    """The decoded examples of a split."""
    listener.stage(f"decoding {split}")
    examples = examples.for_modality(model.inputs)
    return load_samples(examples, [model.inputs], progress=lambda done, total: listener.progress(done / total, {}))


def _report(
    folder: Path,
    model: Perceiver,
    samples: Samples,
    split: str,
    *,
    config: RunConfig,
    seconds: float,
    warnings: Sequence[str],
    assumptions: Sequence[Assumption],
    beside: Beside | None,
    listener: Listener,
    history_of: Path | None = None,
) -> dict[str, Any]:
    """Evaluate a model and write its report.

    Args:
        folder: where the report goes.
        assumptions: what was guessed of the data.
        beside: what stands beside the score; None: the most frequent class of these examples.
        history_of: the run folder whose history it shows; None: ``folder``.
    """
    listener.stage(f"evaluating on {split}")
    evaluation = evaluate_model(
        model,
        samples,
        split=split,
        progress=lambda done, total: listener.progress(done / total, {}),
    )
    if beside is None and evaluation.targets is not None:
        beside = only_majority(model.task, evaluation.targets)
    listener.stage("writing the report")
    result = report.write_report(
        folder,
        model=model,
        samples=samples,
        evaluation=evaluation,
        config=to_dict(config),
        train_seconds=seconds,
        seed=config.seed,
        history=read_history(history_of or folder),
        warnings=warnings,
        assumptions=assumptions,
        beside=beside,
    )
    return {**result, "folder": str(folder)}
