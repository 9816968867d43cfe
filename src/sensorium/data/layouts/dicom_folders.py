"""DICOM slices in folders: those of one folder are one volume."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from ...codecs import dicom
from ...errors import InputError
from ...files import ending
from ..assumptions import Assumption
from ..recognition.recognise import PICTURES, VOLUME

Found = tuple[str, str, Path]  # split, label and path of an example


def join_slices(
    root: Path, found: Sequence[Found], kinds: Collection[str | None]
) -> tuple[list[Found], tuple[Assumption, ...]]:
    """One slice for each folder, where the slices of a folder are one volume; a volume is read by any of its slices.

    They are if somebody says so, or if the first two of a folder below its class folder belong to one series.

    Args:
        root: what folders are told relative to.
        found: the examples, file by file.
        kinds: what the description says they are.

    Returns:
        the examples, and what was assumed; nothing where files stay examples of their own.
    """
    folders: dict[tuple[str, str, Path], list[Path]] = {}
    for split, label, path in found:
        if ending(path) == dicom.SUFFIX:
            folders.setdefault((split, label, path.parent), []).append(path)
    several = next((key for key, paths in folders.items() if len(paths) > 1), None)
    if several is None or PICTURES in kinds or not set(kinds) <= {None, VOLUME}:
        return list(found), ()
    if VOLUME not in kinds and (several[2].name == several[1] or not _is_series(folders[several])):
        return list(found), ()
    examples = [(split, label, paths[len(paths) // 2]) for (split, label, _), paths in folders.items()]
    example = several[2].relative_to(root).as_posix()
    text = f"the DICOM slices of a folder are one volume, as in {example} ({len(folders[several])} slices)"
    return examples, (Assumption("volume", text, "--kind image"),)


def one_slice_each(paths: Sequence[Path]) -> list[Path]:
    """Files of volumes, of which the slices in one folder are one: the middle one stands for all."""
    together: dict[Path, list[Path]] = {}
    for path in paths:
        together.setdefault(path.parent if ending(path) == dicom.SUFFIX else path, []).append(path)
    return [files[len(files) // 2] for files in together.values()]


def _is_series(paths: Sequence[Path]) -> bool:
    try:
        series = [dicom.series_of(path) for path in paths[:2]]
    except InputError:
        return False
    return series[0] == series[1] != ""
