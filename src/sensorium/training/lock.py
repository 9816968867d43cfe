"""One run at a time trains into a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError
from ..files import remove_parts
from ..processes import is_main

LOCK = ".lock"  # the file; what counts is that a process holds it, not that it exists


def is_locked(folder: Path) -> bool:
    """Whether a process of another run trains into a folder now."""
    if not is_main():
        return False
    try:
        with _locked(folder):
            return False
    except BlockingIOError:
        return True
    except OSError:  # there is no such folder
        return False


def check_unlocked(folder: Path) -> None:
    """Refuse a folder that another process trains into.

    Raises:
        InputError: one does.
    """
    if is_locked(folder):
        raise _refusal(folder)


def _refusal(folder: Path) -> InputError:
    return InputError(f"{folder}: another process trains into it now; wait, or choose another --out")


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Let no other process train into a folder, and remove what killed ones left half written in it. The system
    releases the lock when the process ends, however it ends. Of several processes that train together (``torchrun``),
    only the first takes it, for all of them.

    Args:
        folder: the run folder; it is made where there is none.

    Raises:
        InputError: another process trains into it.
    """
    if not is_main():
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            remove_parts(folder)
            yield
    except BlockingIOError:
        raise _refusal(folder) from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """With the lock of a folder.

    Raises:
        BlockingIOError: another has it.
        OSError: there is no such folder, or it cannot be written to.
    """
    if os.name == "nt":  # no such locks there
        yield
        return
    import fcntl

    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    _HELD.add(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        _HELD.discard(descriptor)
        os.close(descriptor)  # which ends the lock, if no other process has the same open file


def _leave_locks() -> None:
    """In a process that was forked, such as one that decodes: it may outlive the one that holds the lock."""
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()


_HELD: set[int] = set()  # the open files of the locks that this process has
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_locks)
