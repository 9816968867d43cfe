"""A queue in front of the model: examples of several requests that wait at the same time are answered together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class _Waiting(Generic[JobT]):
    key: Hashable
    job: JobT
    future: Future[Any]
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[JobT, ResultT]):
    """Answers jobs in one thread of its own, several at a time.

    Args:
        answer: (key, jobs) -> a result for each job, in order. Jobs of one key can be answered together.
        most: jobs at a time.
        latency: seconds that a job may wait for others before it is answered.

    >>> batcher = Batcher(lambda key, jobs: [job * key for job in jobs], most=8, latency=0.0)
    >>> futures = [batcher.submit(2, job) for job in (1, 2, 3)]
    >>> [future.result() for future in futures]
    [2, 4, 6]
    >>> batcher.close()
    """

    def __init__(self, answer: Callable[[Any, list[JobT]], Sequence[ResultT]], *, most: int, latency: float) -> None:
        self._answer, self._most, self._latency = answer, most, latency
        self._waiting: deque[_Waiting[JobT]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """The jobs that wait."""
        return len(self._waiting)

    def submit(self, key: Hashable, job: JobT) -> Future[ResultT]:
        """Wait in the queue. A future that is cancelled is not answered.

        Raises:
            RuntimeError: it is closed.
        """
        waiting = _Waiting(key, job, Future())
        with self._changed:
            if self._closed:
                raise RuntimeError("the queue is closed")
            self._waiting.append(waiting)
            self._changed.notify()
        return waiting.future

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            batch = [waiting for waiting in batch if waiting.future.set_running_or_notify_cancel()]
            if not batch:
                continue
            try:
                results = self._answer(batch[0].key, [waiting.job for waiting in batch])
                for waiting, result in zip(batch, results, strict=True):
                    waiting.future.set_result(result)
            except BaseException as error:  # whoever waits learns of it, and the thread goes on
                for waiting in batch:
                    if not waiting.future.done():
                        waiting.future.set_exception(error)
            batch = []  # frees the examples before the thread waits again

    def _next(self) -> list[_Waiting[JobT]]:
        """The next jobs, all of the first one's key; empty: it is closed, and nothing waits."""
        with self._changed:
            while True:
                if not self._waiting:
                    if self._closed:
                        return []
                    self._changed.wait()
                    continue
                first = self._waiting[0]
                alike = [waiting for waiting in self._waiting if waiting.key == first.key][: self._most]
                left = first.since + self._latency - time.monotonic()
                if len(alike) == self._most or left <= 0 or self._closed:
                    taken = set(map(id, alike))
                    self._waiting = deque(waiting for waiting in self._waiting if id(waiting) not in taken)
                    return alike
                self._changed.wait(left)
