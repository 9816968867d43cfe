"""What would be trained on some data. Four steps, each taken once: recognise, measure, choose, override."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Literal, TypeAlias, Unpack

import numpy as np
import torch

from ..config import from_dict, override, read_yaml, record, to_dict
from ..data import (
    Assumption,
    Corrections,
    DataConfig,
    Source,
    TargetConfig,
    corrected,
    find_description,
    open_source,
    read_description,
)
from ..data.recognition.axes import CONFUSABLE
from ..errors import InputError, did_you_mean
from ..inference.costs import training_cost
from ..inference.devices import device_memory
from ..modalities import KINDS, FusionConfig, ImageConfig, ModalityConfig, SingleConfig
from ..models import presets
from ..models.auto import Auto, Facts, parts_of
from ..models.checkpoints import FORMAT, check_format, read_config
from ..models.perceiver import PerceiverConfig
from ..models.presets import Preset
from ..models.recipe import RecipeConfig
from ..processes import world_size
from ..tasks import TASKS, MLMConfig, TaskConfig
from ..tasks.classify import ClassifyConfig, balanced_weights
from .measuring import measure, with_statistics
from .run_folder import CONFIG

ClassWeights: TypeAlias = Literal["balanced"]

SIZES = ("size", "frames", "seconds", "length", "samples", "rate", "points", "patch")  # fields of kinds of signal
MODEL_FIELDS = ("inputs", "encoder", "decoder", "task")  # a setting may leave out that they are the model's
PLAIN = "model.inputs.stem=null"  # chooses the plain Perceiver, whichever signals it reads


@record
class RunConfig:
    """Everything a run depends on but the data's bytes: written to ``config.yaml``.

    Attributes:
        format: the version of this record; a file of another version is refused.
        start: the run whose inputs and encoder this one took over; None: it began with fresh weights.
    """

    format: int = FORMAT
    model: PerceiverConfig
    recipe: RecipeConfig
    data: DataConfig = DataConfig()
    fold: str | None = None
    preset: str = "auto"
    start: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """The examples and the configuration of a run."""

    source: Source
    config: RunConfig


def plan(
    data: str | Path,
    *,
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
    **corrections: Unpack[Corrections],
) -> Plan:
    """Recognise the data and settle every value of the run.

    Args:
        data: the folder or file.
        preset: ``auto``, or the name of a paper's model.
        task: a name in ``TASKS``; None: what the data say.
        start: a run whose inputs and encoder are taken over as they are.
        dataset: a ``dataset.yaml`` that describes the data; None: the one beside the data, if there is one.
        fold: the fold to test on, where the data has folds.
        minutes, epochs, steps: limits of the training; the preset's own when all are None.
        settings: overrides such as ``recipe.learning_rate=1e-3``. ``inputs.stem=null`` makes ``auto`` choose a model
            without stems, whichever signals it reads.
        class_weights: ``balanced``: rare classes count as much in the loss as frequent ones.
        permute: whether the pixels of pictures are permuted, all pictures alike; ``seed`` draws the permutation.
        seed: of everything random, the splits that are drawn here included.
        corrections: what the user says of the data instead of what would be guessed; see :func:`data.corrected`.

    Raises:
        InputError: the data, the preset or a setting cannot be used.
    """
    chooser, settings = presets.find(preset), in_model(settings)
    if not isinstance(chooser, Auto) and corrections.get("val") is None:
        corrections["val"] = 0.0  # as the papers, which train on all of a published training split
    source = recognise(Path(data), task=task, reads=chooser.kinds, dataset=dataset, fold=fold, seed=seed, **corrections)
    return plan_source(
        source,
        preset=preset,
        task=task,
        start=start,
        fold=fold,
        minutes=minutes,
        epochs=epochs,
        steps=steps,
        settings=settings,
        class_weights=class_weights,
        permute=permute,
        seed=seed,
    )


def plan_source(
    source: Source,
    *,
    preset: str = "auto",
    task: str | None = None,
    start: str | Path | None = None,
    fold: str | int | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    settings: Sequence[str] = (),
    class_weights: ClassWeights | None = None,
    permute: bool = False,
    seed: int = 0,
) -> Plan:
    """As :func:`plan`, of examples that are found already.

    Args:
        source: the examples in splits, with the signals that the model reads.
        preset, task, start, fold, minutes, epochs, steps, settings, class_weights, permute, seed: as for :func:`plan`.

    Raises:
        InputError: the preset or a setting cannot be used.
    """
    chooser = presets.find(preset)
    settings = in_model(settings)
    measured = measure(source)
    facts = Facts(
        task=task if task is not None and TASKS[task].self_supervised else source.task,
        examples=len(source.splits["train"]),
        minutes=minutes,
        epochs=epochs,
        steps=steps,
        stems=PLAIN not in settings,
    )
    model, recipe = choose(source, measured, facts, chooser=chooser, start=None if start is None else Path(start))
    if class_weights is not None:
        model = replace(model, task=_weighted(model.task, source.splits["train"].targets))
    if permute:
        model = replace(model, inputs=permuted(model.inputs, seed))
    config = RunConfig(
        model=model,
        recipe=recipe,
        data=source.description,
        fold=None if fold is None else str(fold),
        preset=preset,
        start=None if start is None else str(start),
        seed=seed,
    )
    if settings:
        others = [setting for setting in settings if setting != PLAIN or preset != "auto"]
        config = from_dict(RunConfig, override(to_dict(config), others), where="--set")
    cut: tuple[Assumption, ...] = ()
    if not any(setting.startswith("recipe.accumulate=") for setting in settings):
        config, cut = _in_parts(config, facts.examples)
    return Plan(replace(source, assumptions=(*source.assumptions, *_sizes(config.model.inputs), *cut)), config)


def _in_parts(config: RunConfig, examples: int) -> tuple[RunConfig, tuple[Assumption, ...]]:
    """The configuration with as many parts of a batch as the memory asks for, and what there is to say about it.

    **The rule.** Half of the memory of the device (shared by the processes, where that is the machine's) holds the
    weights, their gradients, moments and average, and what one part of a batch keeps for its backward pass. The parts
    are as large as fits; the batch, and with it every step of the optimizers, stays as it is.
    """
    batch_size = min(config.recipe.batch_size, examples)
    cost = training_cost(config.model, checkpointing=config.recipe.checkpointing)
    room = device_memory() / world_size() if not torch.cuda.is_available() else device_memory()
    largest = max(1, int((room / 2 - cost.state) / cost.example))
    parts = max(1, min(ceil(batch_size / world_size() / largest), batch_size // world_size()))
    if parts == 1:
        return config, ()
    text = f"a batch of {batch_size:,} is computed in {parts:,} parts, one after the other, for want of memory"
    if config.recipe.mixup or config.recipe.cutmix:
        text += "; examples are mixed with others of their part"
    if isinstance(config.model.task, MLMConfig) and config.model.task.documents > 1:
        text += "; texts are joined with others of their part"
    said = Assumption("batch", text, "--set recipe.accumulate=PARTS")
    return replace(config, recipe=replace(config.recipe, accumulate=parts)), (said,)


def in_model(settings: Sequence[str]) -> list[str]:
    """Settings with the whole path of what they set.

    >>> in_model(["encoder.num_latents=4", "decoder=null", "recipe.epochs=3"])
    ['model.encoder.num_latents=4', 'model.decoder=null', 'recipe.epochs=3']
    """
    names = [setting.partition("=")[0].partition(".")[0] for setting in settings]
    return [
        f"model.{setting}" if name in MODEL_FIELDS else setting for name, setting in zip(names, settings, strict=True)
    ]


def _sizes(inputs: ModalityConfig) -> tuple[Assumption, ...]:
    """How large the signals are that the model sees: longer or larger ones are cut or resized."""
    parts = parts_of(inputs)
    assumptions = []
    for name, part in parts.items():
        sizes = {field: getattr(part, field) for field in SIZES if getattr(part, field, None) is not None}
        if getattr(part, "stem", None) is not None and "patch" in sizes:
            sizes["patch"] = part.area
        if sizes:
            text = ", ".join(f"{field} {_in_words(size)}" for field, size in sizes.items())
            where = f"modalities.{name}." if len(parts) > 1 else ""
            flag = f"--set model.inputs.{where}{next(iter(sizes))}=VALUE"
            assumptions.append(Assumption(name, f"the model sees {text}; what is larger is cut or resized", flag))
    return tuple(assumptions)


def _in_words(size: float | Sequence[int]) -> str:
    """A number, or several with crosses between them.

    >>> _in_words((224, 224)), _in_words(16000)
    ('224 × 224', '16,000')
    """
    return " × ".join(f"{side:,}" for side in size) if isinstance(size, Sequence) else f"{size:,}"


def recognise(
    data: Path,
    *,
    task: str | None = None,
    reads: Mapping[str, str] | None = None,
    dataset: str | Path | None = None,
    fold: str | int | None = None,
    seed: int = 0,
    **corrections: Unpack[Corrections],
) -> Source:
    """Open the data, with the signals that the model reads.

    Args:
        reads: the kind of each signal that the model reads; None: it reads all.
        data, task, dataset, fold, seed, corrections: as for :func:`plan`.

    Raises:
        InputError: the data cannot be used, there is no such task, or there are no labels and no task is given.
    """
    description = find_description(data) if dataset is None else read_description(Path(dataset))
    description = corrected(description, **corrections)
    labels_as_signal = False
    if task is not None:
        if task not in TASKS:
            raise InputError(f"--task {task}: there is no such task; {did_you_mean(task, TASKS)}")
        if TASKS[task].self_supervised:
            description = replace(description, target=TargetConfig(task="none"))
            labels_as_signal = any(KINDS[kind].from_labels for kind in (reads or {}).values())
        else:
            description = replace(description, target=replace(description.target, task=task))
    opened = partial(open_source, data, fold=fold, seed=seed, labels_as_signal=labels_as_signal)
    source = opened(description=description)
    wanted = {*(reads or {}).values()}
    found = {*source.kinds.values()}
    if len(wanted) == len(found) == 1 and wanted != found and wanted | found == CONFUSABLE and not description.inputs:
        # A preset that reads points says that an array is one of points, although it looks like a series.
        with suppress(InputError):
            source = opened(description=corrected(description, kind=tuple(wanted)))
    if source.task == "none" and task is None:
        raise InputError(f"{data}: there are no labels to train on; use sensorium pretrain")
    return source.only(presets.select_signals(reads, source.kinds))


def choose(
    source: Source, measured: ModalityConfig, facts: Facts, *, chooser: Auto | Preset, start: Path | None = None
) -> tuple[PerceiverConfig, RecipeConfig]:
    """The model and the recipe.

    Args:
        source: the data, for the classes and targets of its labels.
        measured: as :func:`measure` gives it.
        facts: what the rules of ``auto`` depend on besides.
        chooser: a paper's preset, or ``auto``.
        start: a run whose inputs and encoder are taken over.

    Raises:
        InputError: the preset or ``start`` does not read such data.
    """
    taken_over = None
    if start is not None:
        taken_over = read_config(start)
        _check_kinds(start, parts_of(taken_over.inputs), source.kinds)
    choice = chooser.choose(measured, facts, start=taken_over)
    inputs = choice.inputs
    if isinstance(chooser, Preset) and taken_over is None:
        inputs = with_statistics(inputs, source.splits)
    targets = source.splits["train"].targets
    task = choice.task or TASKS[facts.task].configure(classes=source.classes, targets=targets)
    model = PerceiverConfig(inputs=inputs, encoder=choice.encoder, decoder=choice.decoder, task=task)
    return model, choice.recipe


def _weighted(task: TaskConfig, targets: np.ndarray | None) -> TaskConfig:
    """A classification with classes of the same weight.

    Raises:
        InputError: it is no classification.
    """
    if not isinstance(task, ClassifyConfig) or targets is None:
        raise InputError(f"--class-weights: {task.kind} has no classes to weigh; leave it out")
    return replace(task, class_weights=balanced_weights(targets, len(task.classes)))


def permuted(inputs: ModalityConfig, seed: int | None) -> ModalityConfig:
    """The inputs with permuted pictures (Perceiver Table 2).

    Raises:
        InputError: there are no pictures.
    """
    parts = parts_of(inputs)
    changed = {name: replace(part, permute=seed) for name, part in parts.items() if isinstance(part, ImageConfig)}
    if not changed:
        kinds = " and ".join(sorted({part.kind for part in parts.values()}))
        raise InputError(f"--permute: it permutes the pixels of pictures, and the model reads {kinds}; leave it out")
    if isinstance(inputs, FusionConfig):
        return replace(inputs, modalities={**inputs.modalities, **changed})
    return next(iter(changed.values()))


def is_permuted(inputs: ModalityConfig) -> bool:
    """Whether the model reads permuted pictures."""
    return any(getattr(part, "permute", None) is not None for part in parts_of(inputs).values())


def read_run_config(folder: Path) -> RunConfig:
    """The configuration in a run folder.

    Raises:
        InputError: there is none, it cannot be read, or it is of another format.
    """
    path = folder / CONFIG
    return from_dict(RunConfig, check_format(read_yaml(path), where=path), where=str(path))


def reopen(data: Path, config: RunConfig) -> Source:
    """The data of a run with the splits and the signals that it was planned with; nothing is measured.

    Raises:
        InputError: the data is not there, or has not the signals that the model reads.
    """
    source = open_source(data, description=config.data, fold=config.fold, seed=config.seed)
    reads = {name: part.kind for name, part in parts_of(config.model.inputs).items()}
    source = source.only(presets.select_signals(reads, source.kinds))
    _check_kinds(data, parts_of(config.model.inputs), source.kinds)
    return source


def _check_kinds(run: Path, parts: Mapping[str, SingleConfig], kinds: Mapping[str, str]) -> None:
    """Refuse data without the signals that a run reads: of the same names, where it reads several. Data may then lack
    some of them, as examples may."""
    reads = {name: part.kind for name, part in parts.items()}
    alike = kinds.items() <= reads.items() if len(reads) > 1 else list(kinds.values()) == list(reads.values())
    if not alike:
        wanted, found = (
            " and ".join(sorted(kind if kind == name else f"{kind} ({name})" for name, kind in signals.items()))
            for signals in (reads, kinds)
        )
        raise InputError(f"{run}: it reads {wanted}, the data is {found}; start from a run on such data")
