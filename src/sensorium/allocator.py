"""What the C library does with the memory that tensors free."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


@cache
def keep_freed_memory() -> None:
    """Let this process keep the memory of freed tensors for the next ones; without glibc, do nothing.

    By itself, glibc asks the system for each block above 32 MB and returns it as soon as it is freed. The tensors of
    every training step then come page by page again, which took a third of the time of video and of point clouds
    (docs/decisions/0018).
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)  # never
