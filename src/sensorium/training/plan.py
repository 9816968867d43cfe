"""What would be trained on some data: every value of a run, settled before anything is decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from ..config import from_dict, override, record, to_dict
from ..data import (
    DataConfig,
    Examples,
    InputConfig,
    Source,
    TargetConfig,
    find_description,
    open_source,
    read_description,
)
from ..errors import InputError
from ..modalities import KINDS, FusionConfig, build_modality
from ..models import presets
from ..models.checkpoints import FORMAT, read_config
from ..models.perceiver import PerceiverConfig
from ..models.recipe import RecipeConfig
from ..nn import DecoderConfig
from ..tasks import TASKS, ClassifyConfig, RegressConfig, TagConfig, TaskConfig

Labelled: TypeAlias = Literal["classify", "tag", "regress", "flow"]
SelfSupervised: TypeAlias = Literal["reconstruct", "mlm"]

MEASURED = 400  # training files that sizes and statistics are measured on; of values in memory, all are


@record
class RunConfig:
    """Everything a run depends on but the data's bytes: written to ``config.yaml``.

    Attributes:
        start: the run whose inputs and encoder this one went on with, as they were; None: it started anew.
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
    """What would be trained on some data, and on which examples."""

    source: Source
    config: RunConfig


def plan(
    data: str | Path,
    *,
    preset: str = "auto",
    task: Labelled | SelfSupervised | None = None,
    start: str | Path | None = None,
    dataset: str | Path | None = None,
    fold: str | int | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    settings: Sequence[str] = (),
    seed: int = 0,
) -> Plan:
    """Recognise the data and settle every value of the run.

    Args:
        data: the folder or file.
        preset: ``auto``, or a paper's model.
        task: what is learned: of the labels, of motion (``flow``), or of the signal itself (``reconstruct``, ``fill``);
            None: what the data say.
        start: a run whose inputs and encoder are taken over, as they were configured.
        dataset: a ``dataset.yaml`` that describes the data; the one beside it by default.
        fold: the fold to test on, where the data has folds.
        minutes, epochs: limits; the preset's own when both are None.
        settings: overrides such as ``recipe.learning_rate=1e-3``.

    Raises:
        InputError: the data, the preset or a setting cannot be used.
    """
    description = None if dataset is None else read_description(Path(dataset))
    if task is not None:
        description = description or find_description(Path(data))
        if task == "reconstruct" or task == "mlm":
            target = TargetConfig(task="none")
        else:
            target = replace(description.target, task=task)
        description = replace(description, target=target)
    source = open_source(Path(data), description=description, fold=fold, seed=seed)
    if task == "reconstruct" and presets.reads_labels(preset):
        source = _labelled(source, fold=fold, seed=seed)
    source = source.only(presets.wanted(preset, source.kinds))
    train = source.splits["train"]
    configs = {name: _measured(kind, source.splits, name) for name, kind in source.kinds.items()}
    measured = FusionConfig(modalities=configs) if len(configs) > 1 else next(iter(configs.values()))
    limits = {"minutes": minutes, "epochs": epochs} if (minutes, epochs) != (None, None) else None
    learned = task if task == "reconstruct" or task == "mlm" else "flow" if source.task == "flow" else None
    inputs, encoder, decoder, recipe = presets.choose(
        preset, measured, examples=len(train), minutes=minutes, everywhere=learned
    )
    if limits is not None and preset == "auto" and epochs is None:
        recipe = replace(recipe, minutes=minutes)
    elif limits is not None:
        recipe = replace(recipe, minutes=minutes, epochs=epochs)
    if start is not None:
        began = read_config(Path(start))
        _check_kinds(Path(start), began.inputs, source.kinds)
        inputs, encoder = began.inputs, began.encoder
    asked = _task(source) if learned is None else presets.choose_task(preset, learned, inputs)
    if not TASKS[asked.kind].per_example:
        decoder = decoder or DecoderConfig()
    config = RunConfig(
        model=PerceiverConfig(inputs=inputs, encoder=encoder, decoder=decoder, task=asked),
        recipe=recipe,
        data=source.description,
        fold=None if fold is None else str(fold),
        preset=preset,
        start=None if start is None else str(start),
        seed=seed,
    )
    if settings:
        config = from_dict(RunConfig, override(to_dict(config), settings), where="--set")
    return Plan(source, config)


def _labelled(source: Source, *, fold: str | int | None, seed: int) -> Source:
    """The same data with what their labels say as one more signal, where they say anything: the name of a film's
    folder, or what stands in the column of a table that would be learned otherwise."""
    described = source.description
    column = described.target.column
    has_labels = described.layout == "folders" or (described.layout == "table" and isinstance(column, str))
    if not has_labels or "label" in source.kinds.values():
        return source
    inputs = {**(described.inputs or {}), "label": InputConfig(kind="label", column=column)}
    labelled = open_source(source.path, description=replace(described, inputs=inputs), fold=fold, seed=seed)
    if all(raw is None for part in labelled.splits.values() for raw in part.raws["label"]):
        return source
    return replace(labelled, warnings=tuple(dict.fromkeys((*source.warnings, *labelled.warnings))))


def _check_kinds(run: Path, inputs: Any, kinds: Mapping[str, str]) -> None:
    """The data must have the signals that a run reads, by name where they are several; some may be lacking then, as in
    examples that lack them."""
    reads = {modality.name: modality.kind for modality in build_modality(inputs).modalities}
    alike = kinds.items() <= reads.items() if len(reads) > 1 else list(kinds.values()) == list(reads.values())
    if not alike:
        told = [
            " and ".join(sorted(kind if kind == name else f"{kind} ({name})" for name, kind in each.items()))
            for each in (reads, kinds)
        ]
        raise InputError(f"{run}: it reads {told[0]}, the data is {told[1]}; start from a run on such data")


def _measured(kind: str, splits: Mapping[str, Examples], name: str) -> Any:
    """The configuration of one signal that fits the training examples; of labels all that occur."""
    if KINDS[kind].measured_on == "all":
        return KINDS[kind].measure([raw for part in splits.values() for raw in part.raws[name] if raw is not None])
    train = splits["train"]
    raws = train.raws[name]
    there = [index for index in range(len(train)) if raws[index] is not None]
    if not there:
        raise InputError(f"{name}: no training example has it; take it out of `inputs` in dataset.yaml")
    in_files = KINDS[kind].reads_files(raws[there[0]])
    every = max(1, len(there) // MEASURED) if in_files else 1
    try:
        return KINDS[kind].measure([raws[index] for index in there[::every]])
    except InputError as error:
        # One bad file must not end it here: decoding sets it aside, or names it.
        return KINDS[kind].measure(_readable(kind, train, name, there[::every], error))


def _readable(kind: str, train: Examples, name: str, some: Sequence[int], error: InputError) -> list[Any]:
    """The measured examples that can be read by themselves.

    Raises:
        InputError: none can, or they disagree.
    """
    raws = train.raws[name]
    readable = []
    for index in some:
        try:
            KINDS[kind].measure([raws[index]])
        except InputError as problem:
            error = InputError(f"{train.names[index]}: {problem}")
        else:
            readable.append(raws[index])
    if not readable:
        raise error
    return readable


def _task(source: Source) -> TaskConfig:
    if source.task == "none":
        raise InputError(f"{source.path}: there are no labels to train on; use sensorium pretrain")
    if source.task == "classify":
        return ClassifyConfig(classes=source.classes)
    if source.task == "tag":
        return TagConfig(classes=source.classes)
    targets = np.asarray(source.splits["train"].targets, np.float64)
    return RegressConfig(
        classes=source.classes,
        mean=tuple(float(value) for value in targets.mean(0)),
        std=tuple(max(float(value), 1e-9) for value in targets.std(0)),
    )
