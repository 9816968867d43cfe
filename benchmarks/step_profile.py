"""Where the time of a training step goes, and which matrix products are in it; for benchmarks/utilisation.py."""

from __future__ import annotations

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

PHASES = ("data", "stem", "encoder", "decoder", "optimizer", "ema", "other")
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward")
SPELL = 0.01  # seconds for which each product is repeated in a round
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class Timer:
    """Which seconds are counted: of the wall clock, or those that the processor worked for this process."""

    seconds: Callable[[], float] = time.perf_counter


TIMER = Timer()


def now() -> float:
    """Seconds, after the device has done all it was given."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return TIMER.seconds()


class Clock:
    """The seconds of a step by phase; a phase within a phase is not counted twice."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.stack = ["other"]
        self.began = now()

    @property
    def phase(self) -> str:
        """What the step is at."""
        return self.stack[-1]

    def count(self) -> None:
        """Count the time so far to the phase that it was spent in."""
        moment = now()
        self.seconds[self.phase] += moment - self.began
        self.began = moment

    def switch(self, phase: str) -> None:
        """The phase ends, and another one begins in its stead."""
        self.count()
        self.stack[-1] = phase

    @contextmanager
    def within(self, phase: str) -> Iterator[None]:
        """A phase, after which the one before goes on."""
        self.count()
        self.stack.append(phase)
        yield
        self.count()
        self.stack.pop()

    def watch(self, owner: Any, name: str, phase: str) -> None:
        """Count a method of an object to a phase."""
        method = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            with self.within(phase):
                return method(*arguments, **options)

        setattr(owner, name, watched)

    def take(self) -> dict[str, float]:
        """The seconds since the last call."""
        self.count()
        seconds, self.seconds = self.seconds, defaultdict(float)
        return seconds


@dataclass
class Product:
    """An operator with its arguments, and how often it runs in each phase of one step."""

    operator: Callable[..., object]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    phases: Counter[str]

    @property
    def title(self) -> str:
        """The operator, its dtype and the shapes of its tensors."""
        tensors = [each for each in self.arguments if isinstance(each, Tensor)]
        shapes = ", ".join("×".join(map(str, tensor.shape)) for tensor in tensors)
        dtype = str(tensors[0].dtype).removeprefix("torch.")
        return f"{str(self.operator).removesuffix('.default')} {dtype} ({shapes})"

    def seconds(self) -> float:
        """The median of a few runs, warm."""
        times: list[float] = []
        with torch.no_grad():
            self.operator(*self.arguments, **self.options)
            while not times or (sum(times) < SPELL and len(times) < 20):
                began = now()
                self.operator(*self.arguments, **self.options)
                times.append(now() - began)
        return statistics.median(times)


class Recorder(TorchDispatchMode):
    """Records the products of what runs within it: those of torch, and the project's own attention operators.

    Plain products are kept with random numbers of the same shapes, strides and dtypes; attention with what it was
    given, because its masks and sums must belong together.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.products: dict[str, Product] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        is_attention = func.namespace == "sensorium" or "scaled_dot_product" in name
        if is_attention or name in PRODUCTS:
            key = repr((str(func), tree_map_only(Tensor, _layout, (args, kwargs))))
            if key not in self.products:
                arguments, options = tree_map_only(Tensor, torch.clone if is_attention else random_like, (args, kwargs))
                self.products[key] = Product(func, arguments, options, Counter())
            self.products[key].phases[self.clock.phase] += 1
        return func(*args, **kwargs)


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype


def random_like(tensor: Tensor) -> Tensor:
    """Random numbers in the shape, strides and dtype of a tensor of floats."""
    extent = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    numbers = torch.randn(max(1, extent), device=tensor.device).to(tensor.dtype)
    return numbers.as_strided(tensor.shape, tensor.stride())
