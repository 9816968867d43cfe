"""Data laid out in any way -> the signals that a trained model reads, and its own classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError, did_you_mean
from .description import NO_LABELS, DataConfig, InputConfig, SplitName, TargetConfig, TaskName, in_split_order
from .examples import Examples, Listing
from .layouts.find import layout_of, list_path
from .layouts.folders import list_folders, relative
from .layouts.windows import cut_into_windows
from .recognition.recognise import SPLIT_WORDS, VALUES, has_one_class, needs_labels, visible_folders
from .recognition.target_column import named_target
from .source import Source, read_as
from .targets import encode

EVERYTHING = "all"  # the name of all splits together


@dataclass(frozen=True)
class Known:
    """What a trained model knows.

    Attributes:
        reads: the kind of each signal that it reads, by name.
        task: what it was trained to do.
        classes: the names of its classes (regress: of its numbers), in order.
        description: of the data that it was trained on.
        by_number: whether classes of other names are taken in order, if they are as many.
    """

    reads: Mapping[str, str]
    task: TaskName
    classes: tuple[str, ...]
    description: DataConfig
    by_number: bool = False


def open_for(known: Known, path: Path) -> Source:
    """The examples in some data for a trained model. Its inputs and classes are looked for in whatever layout there is;
    columns and keys that it does not read do not matter.

    Returns:
        a source with the splits that are on disk, under our names, and all examples as ``all``; nothing is drawn.

    Raises:
        InputError: an input is missing, there are no labels, or a class that the model does not know.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    labelled = needs_labels(known.task)
    listing = _listing(path, known) if labelled else _unlabelled(path, known)
    if not len(listing.names):
        raise InputError(f"{path}: there are no examples in it")
    listing, warnings = _with_inputs(listing, known.reads, path)
    targets = None
    if labelled:
        try:
            targets, said = _encoded(listing, known)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        warnings += said
    everything = Examples(listing.raws, targets, listing.names)
    names = listing.split_names
    found = {} if names is None else {split: np.flatnonzero(names == split) for split in ("train", "val", "test")}
    return Source(
        path=path,
        kinds=listing.kinds,
        task=known.task,
        classes=known.classes,
        splits={
            **{split: everything.select(chosen) for split, chosen in found.items() if len(chosen)},
            EVERYTHING: everything,
        },
        description=listing.description,
        warnings=(*listing.warnings, *warnings),
        assumptions=listing.assumptions,
    )


def _unlabelled(path: Path, known: Known) -> Listing:
    """What data hold for a task that needs no labels."""
    described = replace(known.description, splits=None, split=None, fold=None, group=None, layout=None)
    target = replace(described.target, task=known.task)
    attempts = [replace(described, target=target), DataConfig(target=TargetConfig(task=known.task))]
    return _first(path, attempts, known)


def _listing(path: Path, known: Known) -> Listing:
    """What labelled data hold: as they were described in training, or as their own names say."""
    described = known.description
    files = {name: config for name, config in (described.inputs or {}).items() if config.files}
    if known.by_number:
        splits = described.splits or _split_folders(path)
        return list_path(path, replace(described, splits=splits, target=replace(described.target, task=known.task)))
    layout = layout_of(path, DataConfig(inputs=files or None, target=TargetConfig(task=known.task)))
    if layout == "folders":
        return _class_folders(path, known)
    plain = replace(described, layout=layout, splits=None, split=None, fold=None, group=None)
    without = replace(plain, target=replace(described.target, column=None))
    attempts = [plain, without, replace(plain, inputs=None), replace(without, inputs=None)]
    return _first(path, attempts, known)


def _first(path: Path, attempts: Sequence[DataConfig], known: Known) -> Listing:
    """What the first of the descriptions finds that fits the data and the model.

    Raises:
        InputError: none does; what was wrong with the model's inputs, or else with the labels.
    """
    errors: list[InputError] = []
    for described in attempts:
        try:
            listing = read_as(list_path(path, described), known.task)
            _with_inputs(listing, known.reads, path, columns=known.description.inputs)
            _check_target(listing, known, path)
        except InputError as error:
            errors.append(error)
        else:
            return listing
    problem = str(errors[min(1, len(errors) - 1)])
    if any(word in problem for word in ("label", "target")):
        problem = f"{path}: there are no labels to compare answers with; use sensorium predict"
    raise InputError(problem)


def _check_target(listing: Listing, known: Known, path: Path) -> None:
    """Refuse a column that is the target only because it was the last one."""
    column, wanted = listing.description.target.column, known.description.target.column
    if listing.description.layout != "table" or not needs_labels(known.task):
        return
    if column is None or (column != wanted and (isinstance(column, tuple) or named_target([column]) is None)):
        raise InputError(f"{path}: there are no labels")


def _with_inputs(
    listing: Listing,
    reads: Mapping[str, str],
    path: Path,
    *,
    columns: Mapping[str, InputConfig] | None = None,
) -> tuple[Listing, tuple[str, ...]]:
    """The signals that the model reads, under its own names, and what to say: a signal is found by its name, or else as
    the only one of its kind.

    Args:
        columns: the inputs that the model was trained on; a table of values must have all of their columns.

    Raises:
        InputError: none of the signals is there.
    """
    chosen: dict[str, str] = {}
    for name, kind in reads.items():
        alike = [other for other, found in listing.kinds.items() if found == kind]
        if name in alike or len(alike) == 1:
            chosen[name] = name if name in alike else alike[0]
    missing = [name if name == kind else f"{name} ({kind})" for name, kind in reads.items() if name not in chosen]
    if not chosen:
        found = ", ".join(listing.kinds.values())
        raise InputError(f"{path}: it holds {found}, the model reads {', '.join(missing)}; name other data")
    inputs = listing.description.inputs or {}
    for name, other in chosen.items():
        if columns and name in columns and reads[name] == VALUES and other in inputs:
            present, wanted = (_columns(config[key]) for config, key in ((inputs, other), (columns, name)))
            absent = [column for column in wanted if column not in present]
            if absent and listing.description.layout == "table":
                raise InputError(f"{path}: no column is called {absent[0]!r}; {did_you_mean(absent[0], present)}")
    said = (f"there is no {', '.join(missing)}: the model answers without it",) if missing else ()
    matched = replace(
        listing,
        kinds={name: reads[name] for name in chosen},
        raws={name: listing.raws[other] for name, other in chosen.items()},
    )
    return matched, said


def _columns(config: InputConfig) -> tuple[str, ...]:
    return (config.column,) if isinstance(config.column, str) else config.column or ()


def _split_folders(path: Path) -> dict[SplitName, str] | None:
    """The folders that are called like a split, where there are any."""
    names = visible_folders(path) if path.is_dir() else []
    return in_split_order({SPLIT_WORDS[name.casefold()]: name for name in names if name.casefold() in SPLIT_WORDS})


def _class_folders(path: Path, known: Known) -> Listing:
    """Files in class folders at any depth: the label of a file is the last folder on its way that is called like one of
    the model's classes, its split the first that is called like a split."""
    described = known.description.inputs or {}
    inputs = {
        name: replace(described.get(name, InputConfig()), kind=kind, column=None) for name, kind in known.reads.items()
    }
    config = DataConfig(layout="folders", inputs=inputs, splits={"test": "."}, target=TargetConfig(task=NO_LABELS))
    listing = list_folders(path, config)
    labels, splits = [], []
    for index, name in enumerate(listing.names):
        file = next(raws[index] for raws in listing.raws.values() if raws[index] is not None)
        folders = Path(relative(path, file)).parts[:-1]
        label = _label(folders or (path.resolve().name,), known.classes)
        if label is None:
            others = [folder for folder in folders if folder.casefold() not in SPLIT_WORDS]
            if not others or not has_one_class(known.task):
                raise InputError(f"{path}: {name} is in no class folder, so it has no label; use sensorium predict")
            cure = did_you_mean(others[-1], known.classes)
            raise InputError(f"{path}: {name}: {others[-1]!r} is not a class that the model knows; {cure}")
        words = [
            SPLIT_WORDS[word] for folder in folders if folder != label and (word := folder.casefold()) in SPLIT_WORDS
        ]
        labels.append(label)
        splits.append(words[0] if words else "")
    description = replace(
        listing.description,
        splits=None,
        target=known.description.target,
        window=known.description.window,
        hop=known.description.hop,
    )
    return cut_into_windows(
        replace(
            listing,
            labels=np.array(labels, dtype=object),
            split_names=np.array(splits) if any(splits) else None,
            description=description,
        )
    )


def _label(folders: Sequence[str], classes: Collection[str]) -> str | None:
    """The last of the folders that is called like a class, or else like one but for upper and lower case."""
    names = {name.casefold() for name in classes}
    same = [folder for folder in folders if folder in classes]
    alike = [folder for folder in folders if folder.casefold() in names]
    return next(reversed(same or alike), None)


def _encoded(listing: Listing, known: Known) -> tuple[np.ndarray, tuple[str, ...]]:
    """The targets in the numbers of the model's classes, and what to say.

    Raises:
        InputError: a label is missing, or is not a class that the model knows.
    """
    labels = listing.labels
    if has_one_class(known.task):
        return _class_numbers(labels, listing, known)
    _, classes, targets = encode(labels, listing.names, task=known.task, classes=known.classes)
    if targets.shape[1] != len(known.classes) or (known.by_number and len(classes) != len(known.classes)):
        raise InputError(f"{targets.shape[1]} numbers a label, but the model answers with {len(known.classes)}")
    return targets, ()


def _class_numbers(labels: np.ndarray, listing: Listing, known: Known) -> tuple[np.ndarray, tuple[str, ...]]:
    """For each label the number of its class."""
    missing = [index for index, label in enumerate(labels.tolist()) if label is None or label == "" or label != label]
    if missing:
        cure = "use sensorium predict" if len(missing) == len(labels) else "fill it in or remove the row"
        raise InputError(f"{listing.names[missing[0]]}: the label is missing; {cure}")
    if labels.ndim == 2:
        labels = labels.argmax(axis=1)
    if labels.dtype.kind == "f" and (labels == np.floor(labels)).all():
        labels = labels.astype(np.int64)
    numbered = labels.dtype.kind in "iub"
    if numbered and listing.classes is not None and int(labels.max()) < len(listing.classes):
        labels, numbered = np.array(listing.classes, dtype=object)[labels.astype(np.int64)], False
    names, positions, numbers = np.unique(labels.astype(str), return_index=True, return_inverse=True)
    classes = {name: number for number, name in enumerate(known.classes)}
    if known.by_number and not set(names.tolist()) <= set(classes) and len(names) == len(classes):
        _, _, targets = encode(labels, listing.names, task=known.task)
        return targets, ("the data's classes have other names than the model's; they are taken in order",)
    if numbered and not set(names.tolist()) & set(classes) and labels.min() >= 0 and labels.max() < len(classes):
        return labels.astype(np.int64), ("the labels are taken as the numbers of the model's classes, from 0",)
    alike = {name.casefold(): number for name, number in classes.items()}
    renamed = [name for name in names.tolist() if name not in classes and name.casefold() in alike]
    for name, position in zip(names.tolist(), positions.tolist(), strict=True):
        if name not in classes and name not in renamed:
            cure = did_you_mean(name, known.classes)
            raise InputError(f"{listing.names[position]}: {name!r} is not a class that the model knows; {cure}")
    found = np.array([classes.get(name, alike.get(name.casefold(), -1)) for name in names.tolist()], dtype=np.int64)
    others = {name: known.classes[alike[name.casefold()]] for name in renamed}
    said = tuple(f"{name!r} is taken as the model's class {other!r}" for name, other in others.items())
    return found[numbers], said
