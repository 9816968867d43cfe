"""What the server counts, as text for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from .limits import memory_used

_SIZES = (1, 2, 4, 8, 16, 32, 64)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of one server.

    >>> metrics = Metrics()
    >>> metrics.count("/v1/predict", 200, 0.1)
    >>> 'sensorium_requests_total{path="/v1/predict",status="200"} 1.0' in metrics.text().decode()
    True
    """

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter("sensorium_requests", "Requests", ["path", "status"], registry=registry)
        self._seconds = Histogram(
            "sensorium_request_seconds", "Time of a request", ["path"], buckets=_SECONDS, registry=registry
        )
        self._batches = Histogram(
            "sensorium_batch_examples", "Examples that are answered together", buckets=_SIZES, registry=registry
        )
        self._model = Counter("sensorium_model_seconds", "Time that the model computed", registry=registry)
        self._decoders = Counter("sensorium_decoding_seconds", "Time that files were decoded", registry=registry)
        self._waiting = Gauge("sensorium_waiting_examples", "Examples that wait for the model", registry=registry)
        self._taken = Gauge("sensorium_open_requests", "Requests that are being answered", registry=registry)
        memory = Gauge("sensorium_memory_bytes", "Memory of the process", registry=registry)
        memory.set_function(memory_used)

    def text(self) -> bytes:
        """All of them, in Prometheus' format."""
        return generate_latest(self._registry)

    def observe_queue(self, length: Callable[[], int]) -> None:
        """``length`` says how many examples wait."""
        self._waiting.set_function(length)

    def observe_requests(self, count: Callable[[], int]) -> None:
        """``count`` says how many requests are being answered."""
        self._taken.set_function(count)

    def count(self, path: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    @contextmanager
    def computing(self, examples: int) -> Iterator[None]:
        """The model answers so many examples."""
        self._batches.observe(examples)
        with _timed(self._model):
            yield

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Files are decoded."""
        with _timed(self._decoders):
            yield


@contextmanager
def _timed(counter: Counter) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        counter.inc(time.monotonic() - began)
