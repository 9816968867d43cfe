"""What to say of files and folders that hold no data set that is understood."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..codecs import arrays, tables
from ..errors import InputError
from ..files import ending
from ..modalities import KINDS
from .description import FILE_NAME
from .folders import walk
from .recognise import kind_of_suffix, visible_folders

_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz")
_MOST_NAMED = 3  # endings of a kind in a line, and unknown endings


def no_data_set(file: Path, endings: Sequence[str]) -> InputError:
    """A file that is no data set.

    Args:
        endings: of the files that are.
    """
    if ending(file) in _ARCHIVES:
        return InputError(f"{file}: this is an archive; unpack it, and give the folder")
    return InputError(
        f"{file}: cannot be read as a data set; give a folder, or a file that ends in {', '.join(endings)}"
    )


def check_holds_signals(folder: Path, *, labelled: bool) -> None:
    """Refuse a folder without a file that can be read, and files without labels.

    Args:
        labelled: whether there must be labels.

    Raises:
        InputError: the folder is empty, holds unknown files or archives only, or files that lie loose in it.
    """
    if not any(folder.iterdir()):
        raise InputError(f"{folder}: the folder is empty; give the folder that holds the data")
    files = [path for path in walk(folder) if path.name != FILE_NAME]
    if not any(kind_of_suffix(ending(path)) is not None for path in files):
        raise _unknown(folder, files)
    if labelled and not visible_folders(folder):
        raise InputError(
            f"{folder}: there are no class folders; make one folder per class, list the files in a table with a column "
            "of labels, or learn without labels: sensorium pretrain"
        )


def _unknown(folder: Path, files: Sequence[Path]) -> InputError:
    archive = next((path for path in files if ending(path) in _ARCHIVES), None)
    if archive is not None:
        return InputError(f"{folder}: it holds nothing but the archive {archive.name}; unpack it, and give the folder")
    found = sorted({ending(path) or path.name for path in files})
    named = ", ".join(found[:_MOST_NAMED]) + (", …" if len(found) > _MOST_NAMED else "") or "no files"
    readable = {kind: modality.suffixes for kind, modality in KINDS.items() if modality.suffixes}
    readable |= {"tables": tables.SUFFIXES, "arrays": arrays.SUFFIXES}
    kinds = "; ".join(f"{kind} {', '.join(suffixes[:_MOST_NAMED])}" for kind, suffixes in readable.items())
    return InputError(f"{folder}: it holds nothing that can be read (found {named}); what can be: {kinds}")
