"""What to say of files and folders that hold no data set that is understood."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from ...files import ending
from ..description import FILE_NAME
from ..recognition.readable import cure
from ..recognition.recognise import kind_of_suffix, visible_folders
from .folders import has_class_folders, walk

_MOST_NAMED = 3  # unknown endings in a line


def no_data_set(file: Path) -> InputError:
    """A file that is no data set: one example, or nothing that is read."""
    if kind_of_suffix(ending(file)) is not None:
        return InputError(f"{file}: cannot be read as a data set: it is one example; give a folder of them")
    return InputError(f"{file}: cannot be read as a data set; {cure([ending(file)])}")


def check_holds_signals(folder: Path, *, labelled: bool) -> None:
    """Refuse a folder without a file that can be read, and files without labels.

    Args:
        labelled: whether there must be labels.

    Raises:
        InputError: the folder is empty, holds unknown files only, or files that lie loose in it.
    """
    if not any(folder.iterdir()):
        raise InputError(f"{folder}: the folder is empty; give the folder that holds the data")
    files = [path for path in walk(folder) if path.name != FILE_NAME]
    endings = {ending(path) for path in files}
    if not any(map(kind_of_suffix, endings)):
        found = sorted(filter(None, endings))
        named = ", ".join(found[:_MOST_NAMED]) + ", …" * (len(found) > _MOST_NAMED) or "no files"
        raise InputError(f"{folder}: it holds nothing that can be read (found {named}); {cure(endings)}")
    if labelled and not visible_folders(folder):
        raise InputError(
            f"{folder}: there are no class folders; make one folder per class, list the files in a table with a column "
            "of labels, or, without labels, use sensorium pretrain or predict"
        )


def check_depth(folder: Path) -> None:
    """Refuse class folders that lie in the only folder of the one that is given.

    Raises:
        InputError: they do.
    """
    folders = [folder / name for name in visible_folders(folder)]
    if len(folders) == 1 and not has_class_folders(folder) and has_class_folders(folders[0]):
        raise InputError(f"{folder}: the class folders are one folder deeper; give {folders[0]}")
