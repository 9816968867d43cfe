"""Threads that work beside the one that computes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock, Thread

import torch

_SETTING = Lock()  # one thread of a pool after the other


def thread_pool(threads: int, name: str = "") -> ThreadPoolExecutor:
    """Threads in each of which torch computes alone: there are as many as should work at a time.

    By itself, torch (OpenMP) keeps a team of threads for every thread in which it computes. Once all teams together
    have more threads than there are cores, they wait for their next piece of work asleep and no longer awake, until the
    process ends: a training step of sound took 1.6 times as long after a pool had made the spectra
    (docs/decisions/0021).

    Args:
        threads: how many.
        name: what the names of the threads begin with.

    >>> with thread_pool(2) as pool:
    ...     pool.submit(torch.get_num_threads).result()
    1
    """
    return ThreadPoolExecutor(threads, name, initializer=_compute_alone)


def _compute_alone() -> None:
    """Let torch compute in the calling thread, which is new, alone; threads that begin later compute with as many as
    before. Torch can only set both at once, so another thread sets the second number again."""
    with _SETTING:
        others = torch.get_num_threads()  # of a new thread; the maker of a pool may itself compute alone
        torch.set_num_threads(1)
        restoring = Thread(target=torch.set_num_threads, args=(others,))
        restoring.start()
        restoring.join()
