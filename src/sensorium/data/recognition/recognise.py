"""What names, first bytes and shapes say about data."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ...codecs.containers import has_sound
from ...errors import InputError, did_you_mean
from ...modalities import KINDS
from ...tasks import TASKS
from ..description import NO_LABELS, DataConfig, TaskName

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "t10k": "test",
}
# What folders, columns and keys call a split -> the split: ``training_set`` too.
SPLIT_WORDS = {
    f"{word}{end}": split
    for word, split in _SPLITS.items()
    for end in ("", *(f"{mark}{what}" for mark in ("", "_", "-", " ") for what in ("set", "data", "images", "split")))
}

# The kinds of signal that are recognised by more than the ending of a file.
VALUES = "table"  # plain numbers and categories
PICTURES, CLOUDS, SERIES, TEXT, VOLUME, FILMS = "image", "points", "series", "text", "volume", "video"
HOLDS = {FILMS: "audio"}  # kinds whose files hold another kind of signal, too: a film its sound

TARGET_WORDS = (
    *("label", "labels", "target", "targets", "class", "classes", "category", "tags", "tag"),
    *("outcome", "diagnosis", "species", "sentiment", "emotion", "activity", "genre", "variety", "y"),
)

_PROBED = 16  # films whose header is searched for sound

_MAGIC = (
    (re.compile(rb"\xff\xd8\xff|\x89PNG|GIF8|BM.{4}\0\0\0\0|RIFF....WEBP|II\*\0|MM\0\*", re.DOTALL), "image"),
    (re.compile(rb"RIFF....WAVE|OggS|fLaC|ID3|\xff[\xfb\xf3\xf2]|FORM....AIF|....ftypM4[AB]", re.DOTALL), "audio"),
    (re.compile(rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI ", re.DOTALL), "video"),
    (re.compile(rb"ply\r?\n|OFF[\s\d]|solid "), "points"),
    (re.compile(rb"\x5c\x01\0\0|\0\0\x01\x5c"), "volume"),
)


def is_hidden(name: str) -> bool:
    """Whether a file or folder belongs to the system rather than to the data."""
    return name.startswith((".", "__MACOSX")) or name in ("Thumbs.db", "desktop.ini")


def visible_files(folder: Path) -> list[Path]:
    """The files that lie directly in a folder, in order."""
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if not is_hidden(entry.name) and entry.is_file())


def visible_folders(folder: Path) -> list[str]:
    """The names of the folders that lie directly in a folder, in order."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not is_hidden(entry.name) and entry.is_dir())


def split_of(name: str) -> str | None:
    """The split a file, folder or key name speaks of.

    >>> split_of("BasicMotions_TRAIN"), split_of("validation-00000-of-00001"), split_of("reviews")
    ('train', 'val', None)
    """
    words = re.split(r"[^a-z]+", name.casefold())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


def kind_of_suffix(suffix: str) -> str | None:
    """The kind of signal in files with this ending, or None."""
    return next((kind for kind, modality in KINDS.items() if suffix.lower() in modality.suffixes), None)


def can_be(suffix: str, kind: str) -> bool:
    """Whether files with this ending can be read as a kind of signal, be it not their usual one.

    >>> can_be(".dcm", "image"), can_be(".dcm", "volume"), can_be(".dcm", "audio")
    (True, True, False)
    """
    return kind_of_suffix(suffix) == kind or suffix.lower() in KINDS[kind].also_reads


def kind_of_bytes(head: bytes) -> str | None:
    """The kind of signal in a file that starts with ``head``, or None.

    >>> kind_of_bytes(b"fLaC...."), kind_of_bytes(b"\\0\\0\\0\\x20ftypM4A "), kind_of_bytes(b"\\0\\0\\0\\x20ftypisom")
    ('audio', 'audio', 'video')
    """
    return next((kind for magic, kind in _MAGIC if magic.match(head)), None)


def any_sound(films: Sequence[Path | bytes]) -> bool:
    """Whether any film has sound, judged by a few of them, evenly chosen."""
    return any(has_sound(film) for film in films[:: max(1, len(films) // _PROBED)])


def check_kind(kind: str) -> str:
    """``kind``, if there is such a kind of signal."""
    if kind not in KINDS:
        raise InputError(f"kind {kind!r}: there is no such kind of signal; {did_you_mean(kind, KINDS)}")
    return kind


def check_task(task: TaskName) -> TaskName:
    """``task``, if a description of data may name it: one that is learned of labels or of pairs, or ``none``."""
    known = [NO_LABELS, *(name for name, kind in TASKS.items() if not kind.self_supervised)]
    if task not in known:
        raise InputError(f"task {task!r}: there is no such task of labelled data; {did_you_mean(task, known)}")
    return task


def needs_labels(task: TaskName | None) -> bool:
    """Whether a task is learned of labels; None, a task that is still to be recognised, is."""
    return task is None or (task != NO_LABELS and TASKS[task].label_type is not None)


def has_one_class(task: TaskName) -> bool:
    """Whether the target of every example is one class."""
    return task != NO_LABELS and TASKS[task].label_type == "class"


def input_names(kinds: Mapping[str, str]) -> dict[str, str]:
    """Names for inputs found in columns: the kind if there is one input, otherwise the column's name."""
    if len(kinds) == 1:
        return dict(kinds)
    return {column: re.sub(r"\W+", "_", column) for column in kinds}


def class_names(folder: Path) -> tuple[str, ...] | None:
    """Class names from a text file beside the data (``classes.txt``, ``shape_names.txt``, …), one a line."""
    for path in visible_files(folder):
        stem = path.stem.casefold()
        if path.suffix == ".txt" and ("names" in stem or stem in ("classes", "labels")):
            return read_names(path)
    return None


def read_names(path: Path) -> tuple[str, ...]:
    """The non-empty lines of a text file."""
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the class names cannot be read ({error})") from None


def files_by_split(root: Path, files: Iterable[Path], description: DataConfig) -> list[tuple[str, Path]]:
    """Each file with the split it holds (empty: it does not say), as the description or its name has it."""
    files = list(files)
    if description.split is not None or description.splits is None:
        return [(split_of(path.stem) or "", path) for path in files]
    pairs: list[tuple[str, Path]] = []
    for split, pattern in description.splits.items():
        matches = sorted(root.glob(pattern))
        if not matches:
            raise InputError(f"{root / pattern}: no such file for the split {split!r}; correct it in the description")
        pairs += [(split, path) for path in matches]
    return pairs
