"""Which data are a run's own, and which of some data a run has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data import EVERYTHING, Examples, Known, Source, count_seen, find_description, fingerprints, read_description
from ..errors import InputError, did_you_mean
from ..models.auto import parts_of
from ..models.perceiver import Perceiver
from ..tasks import TASKS
from .plan import RunConfig, reopen


def own_data(
    data: Path,
    model: Perceiver,
    config: RunConfig,
    seen: Mapping[str, np.ndarray] | None,
    previous: Mapping[str, Any],
    fold: str | int | None,
) -> Source | None:
    """The data as a run's, with the run's splits; None: they are others.

    Args:
        seen: the fingerprints of the run's examples; None: they are not known. Then data with as many scored examples
            as the ``previous`` report are taken as the run's.
        fold: the fold to test on instead of the run's.
    """
    try:
        source = reopen(data, config if fold is None else replace(config, fold=str(fold)))
    except InputError:
        return None
    if source.classes != model.task.classes:
        return None
    if fold is not None:
        return source
    examples = source.splits[scored_split(source)]
    if seen is None:
        return source if len(examples) == previous.get("samples") else None
    return source if is_same(fingerprints(examples), seen["test"]) else None


def known_of(data: Path, model: Perceiver, config: RunConfig, *, dataset: str | Path | None, imported: bool) -> Known:
    """What is known of a model, and how the data are described: as the run's were, where they may be laid out alike."""
    task = TASKS[config.model.task.kind]
    # Targets that are neither labels nor the signal lie in the data: a model of flow that was trained on single
    # pictures may be evaluated on pairs of frames.
    own_layout = task.label_type is None and not task.self_supervised
    if dataset is not None:
        description = read_description(Path(dataset))
    else:
        description = find_description(data) if imported or own_layout else config.data
    return Known(
        reads={name: part.kind for name, part in parts_of(config.model.inputs).items()},
        task="none" if task.self_supervised else config.model.task.kind,
        classes=model.task.classes,
        description=description,
        by_number=imported,
    )


def scored_split(source: Source) -> str:
    """The split that a run is scored on."""
    return next(name for name in ("test", "val", "train") if name in source.splits)


def split_of(source: Source, split: str) -> Examples:
    """The examples of a split, or of all of them."""
    parts = {EVERYTHING: Examples.joined(list(source.splits.values())), **source.splits}
    if split not in parts:
        raise InputError(f"--split {split}: there is none; {did_you_mean(split, parts)}")
    return parts[split]


def is_same(prints: np.ndarray, known: np.ndarray) -> bool:
    """Whether two sets of examples have the same fingerprints, in any order."""
    return np.array_equal(np.sort(prints), np.sort(known))


def count_seen_by(prints: np.ndarray, seen: Mapping[str, np.ndarray] | None) -> int | None:
    """How many examples were seen in training or chose the checkpoint. The run's own test examples were not, even where
    others are like them."""
    if seen is None:
        return None
    return 0 if is_same(prints, seen["test"]) else count_seen(prints, np.concatenate([seen["train"], seen["val"]]))
