"""A folder per class, in folders per split or not: ``train/dog/a.jpg``, ``dog/a.jpg``, ``dog/train/a.jpg``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatch
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from ...errors import InputError
from ...files import ending, without_ending
from ...modalities import KINDS
from ..assumptions import Assumption
from ..description import DataConfig, InputConfig, SplitName, TaskName, in_split_order
from ..examples import Listing
from ..recognition.axes import AXES
from ..recognition.file_kinds import AMBIGUOUS, assumed_files, other_axes, raws_of_files, read_files
from ..recognition.readable import cure
from ..recognition.recognise import (
    HOLDS,
    SPLIT_WORDS,
    VOLUME,
    any_sound,
    can_be,
    check_kind,
    is_hidden,
    kind_of_suffix,
    needs_labels,
    visible_folders,
)
from .dicom_folders import join_slices


def has_class_folders(root: Path) -> bool:
    """Whether at least two folders of one level hold files of a known kind."""
    folders = visible_folders(root)
    splits = [name for name in folders if name.casefold() in SPLIT_WORDS]
    levels = [[root / name for name in folders if name not in splits]]
    levels += [[root / split / name for name in visible_folders(root / split)] for split in splits]
    return any(sum(map(_holds_signals, level)) > 1 for level in levels)


def list_folders(root: Path, description: DataConfig) -> Listing:
    """Every example in class folders, labelled with the name of its folder. An example is a file; where it has several
    signals, it is the files of one name (``a.png`` and ``a.wav``), or a film with its sound. An input of the kind
    ``label`` is the name of the folder, too; files outside of class folders lack it.

    Raises:
        InputError: no class folders, or files of several kinds in them that do not belong together.
    """
    check_no_columns(root, description, "class folders")
    splits, unlabelled = _splits(root, description)
    folders = {str(split): folder for split, folder in splits.items()} if splits else {"": "."}
    found = [
        (split, label, path)
        for split, folder in folders.items()
        for label, path in _labelled_files(root, existing(root / folder), split, description.target.task)
    ]
    if not splits and found and all(_second_word(root, path) for _, _, path in found):
        found = [(_second_word(root, path), label, path) for _, label, path in found]  # dog/train/a.jpg
    described_inputs = description.inputs or {}
    found, joined = join_slices(root, found, {config.kind for config in described_inputs.values()})
    labels = {name: config for name, config in described_inputs.items() if _from_labels(config)}
    inputs = {name: config for name, config in described_inputs.items() if name not in labels}
    inputs = inputs or _together([path for _, _, path in found])
    several = len(inputs) > 1
    if several:
        inputs, examples, warnings = _several(root, [path for _, _, path in found], inputs)
    else:
        name, described = next(iter(inputs.items()), (None, InputConfig()))
        described = replace(described, kind=VOLUME) if joined else described
        kind, kept, warnings = _of_one_kind(root, [path for _, _, path in found], described)
        paths = [path for _, _, path in found if ending(path) in kept]
        reading = read_files(paths, described, root.name)
        kind = kind if reading is None else reading.kind
        inputs = {name or kind: replace(described, kind=kind, axes=other_axes(reading))}
        examples = {
            path: {name or kind: path}
            for _, _, path in found
            if (described.files is None or fnmatch(path.name, described.files)) and ending(path) in kept
        }
    inputs = {**inputs, **labels}
    labelled = {without_ending(path) if several else path: (split, label) for split, label, path in found}
    split_of_each = np.array([labelled[key][0] for key in examples])
    return Listing(
        kinds={name: str(config.kind) for name, config in inputs.items()},
        raws={
            name: [labelled[key][1] or None for key in examples]
            if name in labels
            else raws_of_files([signals.get(name) for signals in examples.values()], None if several else reading)
            for name in inputs
        },
        names=[_called(root, key, signals) for key, signals in examples.items()],
        labels=np.array([labelled[key][1] for key in examples], dtype=object),
        split_names=split_of_each if split_of_each.any() else None,
        description=replace(description, layout="folders", inputs=inputs, splits=splits),
        warnings=(*unlabelled, *warnings),
        assumptions=(*joined, *(_assumed_together(inputs) if several else assumed_files(next(iter(inputs)), reading))),
    )


def _splits(root: Path, description: DataConfig) -> tuple[dict[SplitName, str] | None, tuple[str, ...]]:
    """The folder of each split; and, unless they are described, a warning for each without class folders, left out."""
    splits = description.splits or in_split_order(split_folders(root))
    if splits is None or description.splits is not None or not needs_labels(description.target.task):
        return splits, ()
    kept = {name: folder for name, folder in splits.items() if name == "train" or visible_folders(root / folder)}
    warnings = [
        f"{folder} has no class folders and was left out; `sensorium predict` answers for its files"
        for name, folder in splits.items()
        if name not in kept
    ]
    return kept, tuple(warnings)


def _assumed_together(inputs: Mapping[str, InputConfig]) -> tuple[Assumption, ...]:
    """That an example has several signals."""
    text = f"{' and '.join(inputs)} of one name are one example, or a film and its sound"
    return (Assumption("signals", text, "--kind KIND"),)


def _from_labels(config: InputConfig) -> bool:
    return config.kind in KINDS and KINDS[config.kind].from_labels


def check_no_columns(root: Path, description: DataConfig, what: str) -> None:
    """Refuse a description that names columns, for a layout of files."""
    columns = [role for role in ("split", "fold", "group") if getattr(description, role) is not None]
    if columns:
        raise InputError(
            f"{root}: {what} have no columns, so `{columns[0]}` means nothing; list the files in a table beside them"
        )


def by_stem(paths: Iterable[Path], inputs: Mapping[str, InputConfig]) -> tuple[dict[Path, dict[str, Path]], list[Path]]:
    """The files of each example, by the path they share without its ending, and those that belong to no input.

    Args:
        inputs: with kinds, and globs where they have any; sound may be that of a film.
    """
    examples: dict[Path, dict[str, Path]] = {}
    best: dict[tuple[Path, str], int] = {}
    used: set[Path] = set()
    paths = list(paths)
    for path in paths:
        stem = without_ending(path)
        for name, config in inputs.items():
            fit = suits(path, config)
            if fit > best.get((stem, name), 0):
                best[stem, name] = fit
                examples.setdefault(stem, {})[name] = path
    for signals in examples.values():
        used.update(signals.values())
    return examples, [path for path in paths if path not in used]


def suits(path: Path, config: InputConfig) -> int:
    """How well a file fits an input: 2 as it is, 1 if it is a film whose sound is asked for, 0 not at all."""
    if config.files is not None:
        return 2 * fnmatch(path.name, config.files)
    kind = kind_of_suffix(ending(path))
    if kind is None:
        return 0
    if config.kind in KINDS and can_be(ending(path), config.kind):
        return 2
    return int(config.kind is not None and HOLDS.get(kind) == config.kind)


def _together(paths: list[Path]) -> dict[str, InputConfig]:
    """The inputs where examples have several signals: files of one name in half of the cases or more, or films with
    sound. Nothing where each file is an example by itself."""
    kinds: dict[str, set[str]] = {}
    kind_of = cache(kind_of_suffix)
    for path in paths:
        if (kind := kind_of(suffix := ending(path))) is not None:
            word = str(path)
            word = word if suffix == ".idx" else word.removesuffix(".gz")[: -len(suffix)]  # as without_ending
            kinds.setdefault(word, set()).add(kind)
    several = [of_stem for of_stem in kinds.values() if len(of_stem) > 1]
    counts = Counter(kind for of_stem in several for kind in of_stem)
    usual = [kind for kind, count in counts.items() if 2 * count >= len(several)]
    if several and 2 * len(several) >= len(kinds):
        return {kind: InputConfig(kind=kind) for kind in sorted(usual)}
    found: set[str] = set().union(*kinds.values())
    if len(found) == 1 and found <= HOLDS.keys():
        (film,) = found
        if any_sound([path for path in paths if kind_of_suffix(ending(path)) == film]):
            return {kind: InputConfig(kind=kind) for kind in (HOLDS[film], film)}
    return {}


def _several(
    root: Path, paths: list[Path], described: Mapping[str, InputConfig]
) -> tuple[dict[str, InputConfig], dict[Path, dict[str, Path]], tuple[str, ...]]:
    """Inputs with their kinds, the files of each example, and warnings about those that are left out."""
    inputs = {}
    for name, config in described.items():
        kinds = {kind_of_suffix(ending(path)) for path in paths if config.files and fnmatch(path.name, config.files)}
        guess = name if config.files is None else kinds.pop() if len(kinds) == 1 else None
        if config.kind is None and guess not in KINDS:
            raise InputError(f"{root}: what the input {name!r} is cannot be guessed; say its kind in dataset.yaml")
        inputs[name] = replace(config, kind=check_kind(config.kind or str(guess)))
    examples, others = by_stem(paths, inputs)
    for name, config in inputs.items():
        if not any(name in signals for signals in examples.values()):
            what = f"files {config.files!r}" if config.files else f"files of the kind {config.kind!r}"
            raise InputError(f"{root}: the class folders hold no {what}; correct `inputs` in dataset.yaml")
    if not others:
        return inputs, examples, ()
    return (
        inputs,
        examples,
        (f"{len(others)} files belong to no input and were left out, for example {relative(root, others[0])}",),
    )


def _called(root: Path, key: Path, signals: Mapping[str, Path]) -> str:
    """The name of an example: its file, or the stem that its files share."""
    paths = set(signals.values())
    return relative(root, paths.pop() if len(paths) == 1 else key)


def relative(root: Path, path: Path) -> str:
    """A path relative to the root, as the name of an example; the root itself has its own name."""
    prefix = f"{root.as_posix()}/"  # by words: a path's own way takes seconds for a hundred thousand
    word = path.as_posix()
    if prefix != "./" and word.startswith(prefix):
        return word[len(prefix) :]
    return root.name if path == root else path.relative_to(root).as_posix()


def existing(folder: Path) -> Path:
    """The folder, if it exists.

    Raises:
        InputError: it does not.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; correct `splits` in the description")
    return folder


def split_folders(root: Path) -> dict[str, str]:
    """Our name of each split folder, if there is one with training examples."""
    found = {SPLIT_WORDS[name.casefold()]: name for name in visible_folders(root) if name.casefold() in SPLIT_WORDS}
    return found if "train" in found else {}


def _second_word(root: Path, path: Path) -> str:
    parts = path.relative_to(root).parts
    return SPLIT_WORDS.get(parts[1].casefold(), "") if len(parts) > 2 else ""


def walk(folder: Path) -> Iterator[Path]:
    """Every file in a folder and below it that is not hidden, in order."""
    return (Path(parent, name) for parent, name in walk_names(folder))


def walk_names(folder: Path) -> Iterator[tuple[str, str]]:
    """The folder and the name of each file of :func:`walk`: quicker, where there are many."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(names):
            if not is_hidden(name):
                yield parent, name


def _holds_signals(folder: Path) -> bool:
    return any(kind_of_suffix(ending(name)) is not None for _, name in walk_names(folder))


def _labelled_files(root: Path, folder: Path, split: str, task: TaskName | None) -> Iterator[tuple[str, Path]]:
    if not needs_labels(task):  # files may lie in class folders, or not
        return ((next(iter(path.relative_to(folder).parts[:-1]), ""), path) for path in walk(folder))
    labels = visible_folders(folder)
    if not labels:
        what = f"the split {split!r} has" if split else "there are"
        raise InputError(
            f"{folder}: {what} no class folders; make one folder per class, or describe it in dataset.yaml"
        )
    return ((label, path) for label in labels for path in walk(folder / label))


def _of_one_kind(root: Path, paths: list[Path], described: InputConfig) -> tuple[str, set[str], tuple[str, ...]]:
    """The kind of the files, the suffixes that count, and warnings about the files that do not."""
    if described.files is not None:
        paths = [path for path in paths if fnmatch(path.name, described.files)]
    first = {ending(path): path for path in reversed(paths)}
    counts = Counter(ending(path) for path in paths)
    kind: str | None
    if described.kind is not None:
        kind = check_kind(described.kind)
        # A glob is the user's word that the files can be read as this kind, whatever they are called.
        known = {suffix for suffix in counts if described.files is not None or can_be(suffix, kind)}
        if kind in AXES:
            known |= counts.keys() & set(AMBIGUOUS)
        if not known:  # it may be the sound of films
            known = {suffix for suffix in counts if HOLDS.get(kind_of_suffix(suffix) or "") == kind}
    else:
        kinds = {suffix: kind for suffix in first if (kind := kind_of_suffix(suffix)) is not None}
        if len(set(kinds.values())) > 1:
            examples = ", ".join(
                f"{first[suffix].relative_to(root)} ({kind})" for suffix, kind in sorted(kinds.items())
            )
            raise InputError(
                f"{root}: the class folders mix kinds of files: {examples}; "
                "say which with --kind KIND, or in dataset.yaml, as in `inputs: {image: {kind: image, files: '*.png'}}`"
            )
        kind, known = next(iter(kinds.values()), None), set(kinds)
    if kind is None or not known:
        seen = ", ".join(sorted(counts)) or "no files"
        raise InputError(f"{root}: the class folders hold nothing that can be read (found {seen}); {cure(counts)}")
    unknown = sorted(set(counts) - known)
    ignored = sum(counts[suffix] for suffix in unknown)
    if not ignored:
        return kind, known, ()
    example = PurePosixPath(first[unknown[0]].relative_to(root))
    return kind, known, (f"{ignored} files are not of the kind {kind!r} and were left out, for example {example}",)
