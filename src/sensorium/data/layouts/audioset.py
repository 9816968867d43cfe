"""AudioSet as it is published: lists of segments, and a folder of clips named by the videos they are from.

A list has three lines of comment and then a line a segment, ``YouTube id, start, end, "labels,comma separated"``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...files import ending
from ..description import DataConfig, InputConfig
from ..examples import Listing
from ..recognition.recognise import HOLDS, any_sound, check_kind, kind_of_suffix, split_of
from .folders import suits, walk

NAMES = "class_labels_indices.csv"  # index, label, name for people
_FIRST = "# Segments csv"
_ID = 11  # characters of a YouTube id


def is_segments(path: Path) -> bool:
    """Whether a file is one of AudioSet's lists."""
    if ending(path) != ".csv":
        return False
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().startswith(_FIRST)
    except (OSError, UnicodeDecodeError):
        return False


def list_audioset(root: Path, files: Iterable[Path], description: DataConfig) -> Listing:
    """Every segment whose clip is in the folder or below it, named as the video (``Y`` before it and anything after it
    are allowed); the others, which nobody has all of, are left out with a warning. ``eval_segments.csv`` is the test
    split.

    Raises:
        InputError: there are no clips, or a line that is not as published.
    """
    segments = [(path, *segment) for path in filter(is_segments, files) for segment in _segments(path)]
    videos = {video for _, video, _ in segments}
    clips: dict[str, list[Path]] = {}
    for path in walk(root):
        if kind_of_suffix(ending(path)) in (*HOLDS, *HOLDS.values()):
            called = (path.stem[:_ID], path.stem.removeprefix("Y")[:_ID])
            clips.setdefault(next((name for name in called if name in videos), ""), []).append(path)
    strays = clips.pop("", [])
    inputs = description.inputs or _inputs([path for paths in clips.values() for path in paths])
    words = _words(root / NAMES)
    names: list[str] = []
    labels: list[list[str]] = []
    split_names: list[str] = []
    raws: dict[str, list[Path | None]] = {name: [] for name in inputs}
    missing = 0
    for path, video, tags in segments:
        found = {name: _best(clips.get(video, []), config) for name, config in inputs.items()}
        if not any(found.values()):
            missing += 1
            continue
        for name, clip in found.items():
            raws[name].append(clip)
        names.append(f"{path.name} {video}")
        labels.append([words.get(tag, tag) for tag in tags])
        split_names.append("test" if path.stem.startswith("eval") else split_of(path.stem) or "")
    if not names:
        raise InputError(f"{root}: no segment has a clip here; put clips named by their YouTube ids into the folder")
    column = np.empty(len(labels), dtype=object)
    column[:] = labels
    warnings = []
    if missing:
        warnings.append(f"{missing:,} of {missing + len(names):,} segments have no clip here and were left out")
    if strays:
        warnings.append(f"{len(strays):,} clips are of no segment and were left out, for example {strays[0].name}")
    return Listing(
        kinds={name: check_kind(str(config.kind)) for name, config in inputs.items()},
        raws={name: list(column) for name, column in raws.items()},
        names=names,
        labels=column,
        classes=tuple(words.values()) or None,
        split_names=np.array(split_names) if all(split_names) else None,
        description=replace(description, layout="audioset", inputs=inputs),
        warnings=tuple(warnings),
    )


def _segments(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The video and the labels of each segment."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, line in enumerate(csv.reader(file, skipinitialspace=True), start=1):
                if not line or line[0].startswith("#"):
                    continue
                if len(line) != 4:
                    raise InputError(f'{path}:{number}: a segment is: id, start, end, "labels"; correct the line')
                yield line[0], line[3].split(",")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


def _words(path: Path) -> dict[str, str]:
    """The name of each label (``/m/09x0r``), in the order of the labels' numbers; empty where the file is missing."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    if lines and not {"mid", "display_name"} <= lines[0].keys():
        raise InputError(
            f"{path}: its columns are {list(lines[0])}, not index, mid, display_name; take the published one"
        )
    return {line["mid"]: line["display_name"] for line in lines}


def _inputs(clips: list[Path]) -> dict[str, InputConfig]:
    """Sound, where clips are sound or films have any, and pictures, where clips are films."""
    ((film, sound),) = HOLDS.items()
    films = [clip for clip in clips if kind_of_suffix(ending(clip)) == film]
    kinds = [sound] if len(films) < len(clips) or any_sound(films) else []
    return {kind: InputConfig(kind=kind) for kind in (*kinds, *([film] if films else []))}


def _best(clips: list[Path], config: InputConfig) -> Path | None:
    """The clip that fits an input best; None: none does."""
    return max((clip for clip in clips if suits(clip, config)), key=lambda clip: suits(clip, config), default=None)
