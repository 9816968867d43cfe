"""A run folder from data to report: train a model, and evaluate one on some data."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch

from .. import report
from ..config import to_dict, to_yaml
from ..data import (
    EVERYTHING,
    Assumption,
    Corrections,
    Examples,
    Samples,
    fingerprints,
    load_samples,
    open_for,
)
from ..data.identity import identify
from ..files import replace_file
from ..inference.baselines import Beside, compute_baselines, only_majority, stored_baselines
from ..inference.devices import chosen_device
from ..inference.evaluate import Evaluation, evaluate_model
from ..inference.remarks import count_remarks
from ..models import checkpoints
from ..models.perceiver import Perceiver
from ..models.recipe import RecipeConfig
from ..processes import Launch, Strategy, decided_by_main, from_main, is_main, is_sharded, only_main, was_restarted
from .lock import lock
from .logs import check_log
from .plan import ClassWeights, Plan, RunConfig, plan, read_run_config, reopen
from .progress import Listener, Quiet
from .resume import resumed
from .run_data import count_seen_by, is_same, known_of, own_data, scored_split, split_of
from .run_folder import (
    CONFIG,
    EVALUATIONS,
    has_checkpoint,
    interrupted_folder,
    new_folder,
    read_examples,
    read_history,
    read_report,
    trim_history,
    write_identity,
)

if TYPE_CHECKING:
    from .engine import Fabric


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
    steps: int | None = None,
    settings: Sequence[str] = (),
    class_weights: ClassWeights | None = None,
    permute: bool = False,
    seed: int = 0,
    resume: bool = False,
    devices: int = 1,
    nodes: int = 1,
    strategy: Strategy = "auto",
    checkpoint_minutes: float = 5.0,
    log: Sequence[str] = (),
    listener: Listener | None = None,
    **corrections: Unpack[Corrections],
) -> dict[str, Any]:
    """Train on the data and write a run folder; returns what ``report.json`` holds.

    Args:
        out: the run folder; ``runs/<name of the data>`` by default, numbered if that is taken.
        resume: go on with the interrupted run in ``out``, on the same data, with its own configuration; other values of
            ``preset``, ``fold``, ``minutes``, ``epochs``, ``steps``, ``settings``, ``permute`` and ``seed`` are
            refused.
        start: a run whose inputs and encoder, with their weights, this one takes over.
        devices, nodes, strategy: how many processes train, as of :class:`sensorium.processes.Launch`. With more than
            one, each runs the whole program as far as here, and only the main one returns; the others end. Processes
            that torchrun or another launcher has started are used without these; if it starts them anew after one has
            died, the run in ``out`` goes on.
        checkpoint_minutes: between two checkpoints, besides those after each validation pass.
        log: programs that get the figures, too: ``tensorboard`` and ``wandb`` (Weights & Biases).
        listener: receives the progress.
        data, preset, task, dataset, fold, minutes, epochs, steps, settings, class_weights, permute, seed, corrections:
            as for :func:`plan`.

    Raises:
        InputError: an argument or the data cannot be used, another process trains into the folder, or, with ``resume``,
            the data or the configuration have changed.
        Interrupted: stopped by Ctrl-C or SIGTERM, after saving.
    """
    check_log(log)
    data, out = Path(data), None if out is None else Path(out)
    options: dict[str, Any] = {"preset": preset, "fold": fold, "permute": permute, "seed": seed}
    options |= {"minutes": minutes, "epochs": epochs, "steps": steps}
    described: dict[str, Any] = {"task": task, "start": start, "dataset": dataset, "class_weights": class_weights}
    fabric, listener = _start(Launch(devices=devices, nodes=nodes, strategy=strategy), listener or Quiet())
    listener.stage("opening the data")
    planned: Plan | None = None

    def decide() -> tuple[Path, RunConfig]:
        """The run folder and what is trained in it."""
        nonlocal planned
        if resume or (was_restarted() and out is not None and (out / CONFIG).exists()):
            folder = interrupted_folder(data, out)
            planned = resumed(data, folder, settings=settings, options=options)
            return folder, planned.config
        planned = plan(data, settings=settings, **options, **described, **corrections)
        return new_folder(data, out), planned.config

    folder, config = decided_by_main(decide)
    planned = planned or Plan(reopen(data, config), config)
    return run_plan(planned, folder, listener=listener, fabric=fabric, checkpoint_minutes=checkpoint_minutes, log=log)


def _start(launch: Launch, listener: Listener) -> tuple[Fabric | None, Listener]:
    """The processes that train, and the listener of this one; None: there is one process."""
    launch = launch.as_started()
    if launch.processes == 1:
        return None, listener
    listener.stage("starting processes")
    from .engine import start

    fabric = start(launch)
    return fabric, listener if is_main() else Quiet()


def run_plan(
    planned: Plan,
    folder: Path,
    *,
    listener: Listener,
    fabric: Fabric | None = None,
    checkpoint_minutes: float = 5.0,
    log: Sequence[str] = (),
) -> dict[str, Any]:
    """Train what was planned, and report on the best weights; returns what ``report.json`` holds. A run that has a
    checkpoint goes on from it.

    Args:
        planned: the examples and the configuration.
        folder: the run folder.
        listener: receives the progress.
        fabric, checkpoint_minutes, log: as of :func:`sensorium.training.loop.fit`.

    Raises:
        InputError: the data cannot be read, the loss is not finite, or another process trains into the folder.
        Interrupted: stopped by Ctrl-C or SIGTERM, after saving.
    """
    with lock(folder):
        return _run_plan(planned, folder, listener, fabric=fabric, checkpoint_minutes=checkpoint_minutes, log=log)


def _run_plan(planned: Plan, folder: Path, listener: Listener, **options: Any) -> dict[str, Any]:
    """As :func:`run_plan`, in a folder that is locked."""
    source, config = planned.source, planned.config
    fresh = from_main(not has_checkpoint(folder))
    torch.manual_seed(config.seed)
    model = Perceiver(config.model)
    if config.start is not None and fresh:
        checkpoints.start_from(model, config.start)
    listener.planned(planned)
    samples = {split: _load(examples, model, split, listener) for split, examples in source.splits.items()}
    if is_main() and fresh:
        trim_history(folder, step=-1)
        write_identity(folder, identify(source), config=to_dict(config))
        replace_file(folder / CONFIG, lambda path: path.write_text(to_yaml(config), encoding="utf-8"))
    listener.stage("loading the engine")
    from .loop import fit  # takes a second, and nothing else needs the engine
    from .sharding import load_weights

    seconds = fit(
        model,
        samples["train"],
        samples.get("val"),
        config=config,
        folder=folder,
        listener=listener,
        **options,
    )
    gc.collect()  # optimizers and averages refer to themselves
    split = scored_split(source)
    load_weights(model.eval(), folder)  # those that were kept, in the place of the last ones
    evaluation = _evaluated(model, samples[split], split, listener, device="auto")
    sharded = is_sharded(model)
    only_main()
    if sharded:
        del model
        gc.collect()
        model = checkpoints.load(folder)
    if read_examples(folder) is None:  # of so many that only some were taken at the start
        write_identity(folder, identify(source, sampled=None), config=to_dict(config))
    listener.stage("fitting a baseline")
    beside = compute_baselines(model, samples["train"], samples[split], train_seconds=seconds, seed=config.seed)
    return _report(
        folder,
        model,
        samples[split],
        evaluation,
        config=config,
        seconds=seconds,
        warnings=[*source.warnings, *beside.problems],
        assumptions=source.assumptions,
        beside=beside,
        set_aside=[line for name, part in samples.items() if name != split for line in part.set_aside],
        listener=listener,
    )


def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    without: Sequence[str] = (),
    dataset: str | Path | None = None,
    fold: str | int | None = None,
    device: str = "auto",
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Score a finished run on a split of some data and write a report; returns what ``report.json`` holds.

    The figure of the run's own test split goes into the run's report, any other into a folder in ``evaluations``.

    Args:
        run: a run folder, or imported weights. The classes of the data may have other names than those of imported
            weights, as folders of ImageNet have, if their number is the same.
        data: what the run was trained on, or other data of its kind, whatever their layout: the model's inputs and
            classes are looked for in them.
        split: ``train``, ``val`` or ``test``; or ``all``: every example. None: the test split, or, in other data
            without one, every example.
        without: names of signals to mask in every example, which shows what the model makes of the others.
        dataset, fold, listener: as for :func:`train`.
        device: where it is computed: cpu, cuda, cuda:1, …; auto: a GPU where there is one.

    Raises:
        InputError: no model in ``run``, no such split or signal, no labels, or a class that the model does not know.
    """
    listener, folder, data = listener or Quiet(), Path(run), Path(data)
    model = checkpoints.load(folder)
    imported = not (folder / CONFIG).exists()
    config = RunConfig(model=model.config, recipe=RecipeConfig()) if imported else read_run_config(folder)
    previous, seen = read_report(folder), read_examples(folder)
    listener.stage("opening the data")
    own = None if imported or dataset is not None else own_data(data, model, config, seen, previous, fold)
    if own is None:
        source = open_for(known_of(data, model, config, dataset=dataset, imported=imported), data)
        chosen = split or ("test" if "test" in source.splits else EVERYTHING)
    else:
        source, chosen = own, split or scored_split(own)
    examples = split_of(source, chosen)
    prints = fingerprints(examples)
    is_own = own is not None and not without and chosen == "test" and seen is not None and is_same(prints, seen["test"])
    said = [f"evaluated without {name}" for name in without]
    samples = _load(examples.without(without), model, chosen, listener)
    evaluation = _evaluated(model, samples, chosen, listener, device=device)
    whole = _whole_metrics(model, examples, listener, device=device)
    return _report(
        folder if is_own else folder / EVALUATIONS / "-".join([_name(data), chosen, *_parts("without", without)]),
        model,
        samples,
        replace(evaluation, metrics=evaluation.metrics | whole),
        config=config,
        seconds=previous.get("train_seconds", 0.0),
        warnings=[*source.warnings, *said, *count_remarks(examples, model.inputs)],
        assumptions=source.assumptions,
        beside=stored_baselines(previous, split=chosen, samples=len(samples)) if is_own else None,
        set_aside=[line for line in previous.get("set_aside", ()) if is_own and line not in samples.set_aside],
        seen=count_seen_by(prints, seen),
        listener=listener,
        history_of=folder,
    )


def _name(data: Path) -> str:
    """What a folder for a report on some data is called."""
    return data.resolve().name if data.is_dir() else data.resolve().stem


def _parts(word: str, names: Sequence[str]) -> list[str]:
    return [word, *names] if names else []


def _evaluated(model: Perceiver, samples: Samples, split: str, listener: Listener, *, device: str) -> Evaluation:
    """The evaluation of a model on a device; afterwards it is on the CPU. One that is sharded stays where it is. The
    processes share the work."""
    listener.stage(f"evaluating on {split}")
    sharded = is_sharded(model)
    evaluation = evaluate_model(
        model if sharded else model.to(chosen_device(device)),
        samples,
        split=split,
        shared=True,
        progress=lambda done, total: listener.progress(done / total, {}),
    )
    if not sharded:
        model.cpu()
    return evaluation


def _whole_metrics(model: Perceiver, examples: Examples, listener: Listener, *, device: str) -> dict[str, float]:
    """Metrics of whole signals, where the model sees only a part of each at a time; afterwards it is on the CPU."""
    model.to(chosen_device(device))

    def progress(done: int, total: int) -> None:
        if done == 1:
            listener.stage("evaluating whole signals")
        listener.progress(done / total, {})

    raws = examples.for_modality(model.inputs).raws[model.inputs.name]
    metrics = model.task.whole_metrics(model.predict_view, raws, progress=progress)
    model.cpu()
    return metrics


def _load(examples: Examples, model: Perceiver, split: str, listener: Listener) -> Samples:
    """The decoded examples of a split."""
    listener.stage(f"decoding {split}")
    examples = examples.for_modality(model.inputs)
    return load_samples(examples, [model.inputs], progress=lambda done, total: listener.progress(done / total, {}))


def _report(
    folder: Path,
    model: Perceiver,
    samples: Samples,
    evaluation: Evaluation,
    *,
    config: RunConfig,
    seconds: float,
    warnings: Sequence[str],
    assumptions: Sequence[Assumption],
    beside: Beside | None,
    set_aside: Sequence[str],
    listener: Listener,
    seen: int | None = 0,
    history_of: Path | None = None,
) -> dict[str, Any]:
    """Write the report of an evaluation.

    Args:
        folder: where the report goes.
        assumptions: what was guessed of the data.
        beside: what stands beside the score; None: the most frequent class of these examples.
        set_aside: lines on unreadable examples of other splits.
        seen: how many of the examples were seen in training; None: it is not known.
        history_of: the run folder whose history it shows; None: ``folder``.
    """
    if beside is None and evaluation.targets is not None:
        beside = only_majority(model.task, evaluation.targets)
    listener.stage("writing the report")
    run, history = history_of or folder, read_history(history_of or folder)
    result = report.write_report(
        folder,
        model=model,
        samples=samples.readable(set_aside),
        evaluation=replace(evaluation, seen_in_training=seen),
        config=to_dict(config),
        train_seconds=seconds,
        seed=config.seed,
        history=history,
        warnings=warnings,
        assumptions=assumptions,
        beside=beside,
    )
    if run == folder:
        report.write_card(folder, result, model=model, history=history)
    return {**result, "folder": str(folder)}
