"""The names of files, and files written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import InputError

_IDX = re.compile(r"[-.]idx\d-[a-z0-9]+(\.gz)?$", re.IGNORECASE)


def replace_file(path: Path, write: Callable[[Path], Any], *, previous: Path | None = None) -> None:
    """Write a file under a temporary name, then rename it: a reader sees the old file or the new one, never a half,
    even after a power failure, for the file and its folder are synchronised with the disk. The file has the
    permissions that any new file of the user has.

    Args:
        path: the file; its folder is made where there is none.
        write: is given the temporary name, where an empty file is, and writes to it.
        previous: in the same folder: the name that the old file is kept under.

    Raises:
        InputError: the folder cannot be written to (read-only, full). The old file is as it was.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for text in ("first", "second"):
    ...         replace_file(Path(folder, "a"), lambda path: path.write_text(text), previous=Path(folder, "b"))
    ...     Path(folder, "a").read_text(), Path(folder, "b").read_text()
    ('second', 'first')
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(b"")
        permissions = temporary.stat().st_mode
        write(temporary)
        temporary.chmod(permissions)  # some libraries replace the file by one that only its owner may read
        _synchronise(temporary)
        if previous is not None and path.exists():
            path.replace(previous)
        temporary.replace(path)
        _synchronise(path.parent)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another --out"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _synchronise(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network drives cannot synchronise
            raise
    finally:
        os.close(descriptor)


def remove_parts(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder and in the folders directly below it; those of
    processes that live are kept."""
    for path in (*folder.glob(".*.part"), *folder.glob("*/.*.part")):
        number = path.name.split(".")[-2]
        if number.isdigit() and (int(number) == os.getpid() or not _lives(int(number))):
            with suppress(OSError):
                path.unlink()


def _lives(number: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's, or no number of a process
        return True
    return True


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
