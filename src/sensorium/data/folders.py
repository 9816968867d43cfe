"""A folder per class, in folders per split or not: ``train/dog/a.jpg``, ``dog/a.jpg``, ``dog/train/a.jpg``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import numpy as np

from ..errors import InputError
from .description import DataConfig, InputConfig, in_split_order
from .examples import Listing
from .recognise import (
    SPLIT_WORDS,
    check_kind,
    is_hidden,
    kind_of_suffix,
    visible_folders,
)


def has_class_folders(root: Path) -> bool:
    """Whether at least two folders of one level hold files of a known kind."""
    folders = visible_folders(root)
    splits = [name for name in folders if name.casefold() in SPLIT_WORDS]
    levels = [[root / name for name in folders if name not in splits]]
    levels += [[root / split / name for name in visible_folders(root / split)] for split in splits]
    return any(sum(map(_holds_signals, level)) > 1 for level in levels)


def list_folders(root: Path, description: DataConfig) -> Listing:
    """Every file in a class folder, labelled with the name of the folder.

    Raises:
        InputError: no class folders, or files of several kinds in them.
    """
    columns = [role for role in ("split", "fold", "group") if getattr(description, role) is not None]
    if columns or len(description.inputs or {}) > 1:
        what = f"columns, so `{columns[0]}` means" if columns else "columns, so several `inputs` mean"
        raise InputError(f"{root}: class folders have no {what} nothing; list the files in a table beside them")
    splits = description.splits or in_split_order(_split_folders(root))
    folders = {str(split): folder for split, folder in splits.items()} if splits else {"": "."}
    found = [
        (split, label, path)
        for split, folder in folders.items()
        for label, path in _labelled_files(root, _existing(root / folder), split)
    ]
    if not splits and found and all(_second_word(root, path) for _, _, path in found):
        found = [(_second_word(root, path), label, path) for _, label, path in found]  # dog/train/a.jpg
    name, given = next(iter((description.inputs or {}).items()), (None, InputConfig()))
    kind, kept, warnings = _of_one_kind(root, [path for _, _, path in found], given)
    found = [one for one in found if one[2].suffix.lower() in kept and fnmatch(one[2].name, given.files or "*")]
    paths = [path for _, _, path in found]
    split_of_each = np.array([split for split, _, _ in found])
    return Listing(
        kinds={name or kind: kind},
        raws={name or kind: paths},
        names=[str(path.relative_to(root).as_posix()) for path in paths],
        labels=np.array([label for _, label, _ in found], dtype=object),
        given=split_of_each if split_of_each.any() else None,
        description=replace(
            description,
            layout="folders",
            inputs={name or kind: replace(given, kind=kind)},
            splits=splits,
        ),
        warnings=warnings,
    )


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; correct `splits` in the description")
    return folder


def _split_folders(root: Path) -> dict[str, str]:
    """Our name of each split folder, if there is one with training examples."""
    found = {SPLIT_WORDS[name.casefold()]: name for name in visible_folders(root) if name.casefold() in SPLIT_WORDS}
    return found if "train" in found else {}


def _second_word(root: Path, path: Path) -> str:
    parts = path.relative_to(root).parts
    return SPLIT_WORDS.get(parts[1].casefold(), "") if len(parts) > 2 else ""


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(files):
            if not is_hidden(name):
                yield Path(place, name)


def _holds_signals(folder: Path) -> bool:
    return any(kind_of_suffix(path.suffix) is not None for path in _walk(folder))


def _labelled_files(root: Path, folder: Path, split: str) -> Iterator[tuple[str, Path]]:
    labels = visible_folders(folder)
    if not labels:
        what = f"the split {split!r} has" if split else "there are"
        raise InputError(
            f"{folder}: {what} no class folders; make one folder per class, or describe it in dataset.yaml"
        )
    return ((label, path) for label in labels for path in _walk(folder / label))


def _of_one_kind(root: Path, paths: list[Path], given: InputConfig) -> tuple[str, set[str], tuple[str, ...]]:
    """The kind of the files, the suffixes that count, and warnings about the files that do not."""
    if given.files is not None:
        paths = [path for path in paths if fnmatch(path.name, given.files)]
    first = {path.suffix.lower(): path for path in reversed(paths)}
    counts = Counter(path.suffix.lower() for path in paths)
    kind: str | None
    if given.kind is not None:
        kind = check_kind(given.kind)
        # A glob is the user's word that the files can be read as this kind, whatever they are called.
        known = {suffix for suffix in counts if given.files is not None or kind_of_suffix(suffix) == kind}
    else:
        kinds = {suffix: kind for suffix in first if (kind := kind_of_suffix(suffix)) is not None}
        if len(set(kinds.values())) > 1:
            examples = ", ".join(
                f"{first[suffix].relative_to(root)} ({kind})" for suffix, kind in sorted(kinds.items())
            )
            raise InputError(
                f"{root}: the class folders mix kinds of files: {examples}; "
                "say which to use in dataset.yaml, as in `inputs: {image: {kind: image, files: '*.png'}}`"
            )
        kind, known = next(iter(kinds.values()), None), set(kinds)
    if kind is None or not known:
        seen = ", ".join(sorted(counts)) or "no files"
        raise InputError(f"{root}: the class folders hold nothing that can be read (found {seen})")
    unknown = sorted(set(counts) - known)
    ignored = sum(counts[suffix] for suffix in unknown)
    if not ignored:
        return kind, known, ()
    example = PurePosixPath(first[unknown[0]].relative_to(root))
    return kind, known, (f"{ignored} files are not of the kind {kind!r} and were left out, for example {example}",)
