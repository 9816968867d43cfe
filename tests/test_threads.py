"""What threads beside the one that computes do to torch's own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sensorium.data import stores
from sensorium.threads import thread_pool


@pytest.fixture
def three() -> Iterator[int]:
    """The number of threads with which torch computes in this thread and in those that begin later."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_threads_of_a_pool_compute_alone_and_nothing_else_changes(three: int) -> None:
    with thread_pool(2) as pool, ThreadPoolExecutor(1) as other:
        assert set(pool.map(lambda _: torch.get_num_threads(), range(20))) == {1}
        assert torch.get_num_threads() == three
        assert other.submit(torch.get_num_threads).result() == three


def test_a_pool_that_a_thread_of_a_pool_makes_changes_nothing_else_either(three: int) -> None:
    """As the thread that reads ahead makes the one that decodes."""

    def decode() -> int:
        with thread_pool(2) as inner:
            return sum(inner.map(lambda _: torch.get_num_threads(), range(20)))

    with thread_pool(1) as outer, ThreadPoolExecutor(1) as other:
        assert outer.submit(decode).result() == 20
        assert other.submit(torch.get_num_threads).result() == three


@pytest.mark.usefixtures("three")
def test_examples_are_decoded_by_threads_that_compute_alone() -> None:
    """Or the spectra of sound would slow down every later step of training."""
    pool = stores._pool(-1, 2)
    assert pool.submit(torch.get_num_threads).result() == 1
    pool.shutdown()
    stores._pool.cache_clear()
