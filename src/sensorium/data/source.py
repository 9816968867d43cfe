"""What lies on disk -> examples in splits, with everything that was inferred on the way."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..tasks import TASKS
from .assumptions import Assumption
from .description import NO_LABELS, DataConfig, InputConfig, TargetConfig, TaskName, find_description
from .examples import Examples, Listing
from .layouts.find import list_path
from .leaks import find_leaks
from .recognition.recognise import VALUES, check_task, class_names, has_one_class, needs_labels, read_names
from .remarks import remarks_on
from .splits import assign
from .targets import encode

_MOST_NAMED = 5  # classes in a summary
LABEL = "label"  # the kind and the name of the signal that labels become
TASK_OF_PAIRS = "flow"  # where the data are frames and flow


@dataclass(frozen=True)
class Source:
    """A data set, opened but not decoded.

    Attributes:
        path: the folder or file.
        kinds: the kind of signal of each modality name.
        task: ``classify``, ``tag``, ``regress``, ``flow`` or ``none``.
        classes: the names of the classes (regress: of the numbers), in the order of the targets.
        splits: the examples of ``train``, ``test`` and, if there are enough, ``val``.
        description: everything inferred, as a ``dataset.yaml`` that would say the same.
        warnings: what people should know before they trust a score.
        assumptions: what was guessed and could be otherwise.
    """

    path: Path
    kinds: dict[str, str]
    task: TaskName
    classes: tuple[str, ...]
    splits: dict[str, Examples]
    description: DataConfig
    warnings: tuple[str, ...]
    assumptions: tuple[Assumption, ...] = ()

    def only(self, names: Collection[str]) -> Source:
        """The same data with only the signals of these names."""
        if set(names) == set(self.kinds):
            return self
        inputs = {name: config for name, config in (self.description.inputs or {}).items() if name in names}
        splits = {
            split: replace(part, raws={name: raws for name, raws in part.raws.items() if name in names})
            for split, part in self.splits.items()
        }
        kinds = {name: kind for name, kind in self.kinds.items() if name in names}
        return replace(self, kinds=kinds, splits=splits, description=replace(self.description, inputs=inputs))


def open_source(
    path: Path,
    *,
    description: DataConfig | None = None,
    fold: int | str | None = None,
    seed: int = 0,
    labels_as_signal: bool = False,
) -> Source:
    """Find the examples of a data set: class folders, tables, arrays, ``.ts`` series or pairs of frames; nothing is
    decoded.

    Args:
        path: a folder, or one table, array or ``.ts`` file.
        description: what cannot be guessed; None: the ``dataset.yaml`` in the folder, if there is one.
        fold: the fold to test on, for data with folds.
        seed: of the splits that are drawn here.
        labels_as_signal: whether the labels become one more signal of each example, where the data has any.

    Raises:
        InputError: there is nothing to learn from, with the place and the cure.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    root = path if path.is_dir() else path.parent
    description = description or find_description(path)
    listing = list_path(path, description)
    if not len(listing.names):
        raise InputError(f"{path}: there are no examples in it")
    listing, renamed = _test_from_val(listing, description)
    try:
        task, classes, targets = _targets(root, listing, description.target)
        listing = read_as(listing, task)
        splits = assign(
            len(listing.names),
            on_disk=listing.split_names,
            strata=targets if has_one_class(task) else None,
            groups=listing.groups,
            folds=listing.folds,
            fold=fold,
            val=description.val,
            seed=seed,
        )
        remarks = remarks_on(listing, task, classes, targets, splits.indices)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    leaks = find_leaks(_parts(listing, targets, splits.indices)) if set(listing.kinds.values()) != {VALUES} else ()
    listing = _with_labels(listing) if labels_as_signal else listing
    found = listing.description
    return Source(
        path=path,
        kinds=listing.kinds,
        task=task,
        classes=classes,
        splits=_parts(listing, targets, splits.indices),
        description=replace(found, target=replace(found.target, task=task, classes=classes or None)),
        warnings=(*listing.warnings, *renamed, *splits.warnings, *remarks, *leaks),
        assumptions=(*listing.assumptions, *_assumed_task(task, classes, description, found), *splits.assumptions),
    )


def _assumed_task(
    task: TaskName, classes: tuple[str, ...], described: DataConfig, found: DataConfig
) -> tuple[Assumption, ...]:
    """The task, where nobody says it."""
    if described.target.task is not None or not classes:
        return ()
    named = f", {', '.join(classes[:_MOST_NAMED])}{', …' if len(classes) > _MOST_NAMED else ''}"
    where = " (the names of the folders)" if found.layout == "folders" else ""
    text = f"{task}: {len(classes):,} {TASKS[task].outputs_noun}{named}{where}"
    return (Assumption("task", text, "--task classify, tag or regress"),)


def _parts(listing: Listing, targets: np.ndarray | None, indices: dict[str, np.ndarray]) -> dict[str, Examples]:
    """The examples of each split."""
    everything = Examples(listing.raws, targets, listing.names)
    return {split: everything.select(chosen) for split, chosen in indices.items()}


def _test_from_val(listing: Listing, description: DataConfig) -> tuple[Listing, tuple[str, ...]]:
    """Where only ``train`` and ``val`` were found, ``val`` is what scores are reported on: our ``test``."""
    names = listing.split_names
    if description.splits is not None or names is None or set(names.tolist()) - {""} != {"train", "val"}:
        return listing, ()
    splits = listing.description.splits
    if splits is not None:
        splits = {"test" if split == "val" else split: where for split, where in splits.items()}
    renamed = replace(
        listing,
        split_names=np.where(names == "val", "test", names),
        description=replace(listing.description, splits=splits),
    )
    return renamed, ("there is no test split: the given val split is the test split",)


def _targets(root: Path, listing: Listing, target: TargetConfig) -> tuple[TaskName, tuple[str, ...], np.ndarray | None]:
    """The task, the classes and the targets. A task that needs no labels has no classes and no targets."""
    pairs = listing.description.layout == "pairs"
    task = check_task(target.task) if target.task else TASK_OF_PAIRS if pairs else None
    if task is not None and not needs_labels(task):
        return task, (), None
    if pairs:
        raise InputError(f"frames and flow have nothing to {task}; leave the task out")
    column = listing.description.target.column
    columns = (column,) if isinstance(column, str) else column or ()
    return encode(listing.labels, listing.names, task=task, classes=_classes(root, listing, target), columns=columns)


def read_as(listing: Listing, task: TaskName) -> Listing:
    """The signals as the task reads them, such as pictures as frames; one that is read as another kind is named
    after it."""
    if task == NO_LABELS:
        return listing
    kinds = TASKS[task].input_kinds(listing.kinds)
    names = {name: name if kinds[name] == kind else kinds[name] for name, kind in listing.kinds.items()}
    return replace(
        listing,
        kinds={names[name]: kind for name, kind in kinds.items()},
        raws={names[name]: raws for name, raws in listing.raws.items()},
    )


def _with_labels(listing: Listing) -> Listing:
    """The labels as one more signal, where there are any and none of the signals is the label: the name of a film's
    class folder, or what stands in the column of a table that would be the target otherwise."""
    described = listing.description
    column = described.target.column
    has_labels = described.layout == "folders" or (described.layout == "table" and isinstance(column, str))
    labels = [label if label is not None and label != "" else None for label in listing.labels.tolist()]
    if not has_labels or LABEL in listing.kinds.values() or all(label is None for label in labels):
        return listing
    inputs = {**(described.inputs or {}), LABEL: InputConfig(kind=LABEL, column=column)}
    return replace(
        listing,
        kinds={**listing.kinds, LABEL: LABEL},
        raws={**listing.raws, LABEL: labels},
        description=replace(described, inputs=inputs),
    )


def _classes(root: Path, listing: Listing, target: TargetConfig) -> tuple[str, ...] | None:
    """The class names: as described, as the data say, or from a text file beside integer labels."""
    if isinstance(target.classes, str):
        return read_names(root / target.classes)
    if target.classes is not None:
        return target.classes
    if listing.classes is not None:
        return listing.classes
    numbers = listing.labels.ndim == 1 and listing.labels.dtype.kind in "iu"
    names = class_names(root) if numbers else None
    return names if names and int(listing.labels.max()) <= len(names) else None
