"""The names of files, and files written whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import InputError

_IDX = re.compile(r"[-.]idx\d-[a-z0-9]+(\.gz)?$", re.IGNORECASE)


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file under a temporary name, then rename it: a reader sees the old file or the new one, never a half.

    Raises:
        InputError: the folder cannot be written to (read-only, full).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another --out"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def ending(path: str | Path) -> str:
    """The ending of a file's name in lower case, without the ``.gz`` of a compressed file. The arrays of MNIST
    (``-idx3-ubyte``) end in ``.idx``.

    >>> ending("a/Shapes.CSV"), ending("train-images.npy.gz"), ending("scan.nii.gz"), ending("README")
    ('.csv', '.npy', '.nii', '')
    >>> ending("train-images-idx3-ubyte.gz"), ending("t10k-labels.idx1-ubyte")
    ('.idx', '.idx')
    """
    name = (path.name if isinstance(path, Path) else path.rpartition("/")[2]).lower()
    if "idx" in name and _IDX.search(name):
        return ".idx"
    stem, suffix = _in_two(name)
    return (_in_two(stem)[1] or suffix) if suffix == ".gz" else suffix


def _in_two(name: str) -> tuple[str, str]:
    """A file's name and its ending; quicker than a path's own, for folders of a hundred thousand files."""
    stem, dot, word = name.rpartition(".")
    return (stem, dot + word) if stem.strip(".") and word else (name, "")


def without_ending(path: Path) -> Path:
    """The path without its ending, and without the ``.gz`` of a compressed file.

    >>> without_ending(Path("a/scan.nii.gz")).as_posix()
    'a/scan'
    """
    if _IDX.search(path.name):
        return path.with_name(_IDX.sub("", path.name))
    path = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return path.with_suffix("")
