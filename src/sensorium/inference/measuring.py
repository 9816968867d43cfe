"""Measuring contenders in turn, each time in a process of its own.

They take turns over several rounds, so that a machine that is busy for a while is busy for all of them; what is told is
the median. A process builds, warms up and measures; its memory is counted from there.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from .environment import free_memory, product_rate

Stage = Literal["forward", "step"]
Precision = Literal["float32", "bfloat16"]
ENOUGH = 5.0  # seconds of repetitions in one process
SHARE = 0.8  # of the free memory that an estimate may fill
LIMIT = 300.0  # seconds that one measurement may take


@dataclass(frozen=True)
class Job:
    """One thing to measure; its process is given it as JSON.

    Attributes:
        what: what is computed, ``read`` or ``model``; contenders of one ``what`` compute the same.
        contender: how, or by whom: a path of :func:`sensorium.nn.num_rows.reading`, or a peer's name.
        size: the side of the picture, in pixels.
        stage: ``forward``, or ``step``: forward and backward of the loss.
        batch: examples at a time.
        precision: of the arithmetic.
        checkpointing: whether a training step keeps less and computes it anew.
        model: a preset's name, or the path of a YAML file with a model's configuration.
    """

    what: str
    contender: str
    size: int
    stage: Stage
    batch: int = 1
    precision: Precision = "float32"
    checkpointing: bool = False
    model: str = "perceiver-imagenet"

    @property
    def title(self) -> str:
        """What all contenders have in common, in words."""
        batch = f"{self.batch} of " if self.batch > 1 else ""
        return f"{self.what}, {batch}{self.size} × {self.size}, {self.stage}"

    @property
    def name(self) -> str:
        """The contender, in words."""
        parts = [self.contender, "" if self.precision == "float32" else self.precision]
        return ", ".join(part for part in (*parts, "checkpointing" if self.checkpointing else "") if part)


@dataclass(frozen=True)
class Work:
    """What the process of a job runs.

    Attributes:
        run: what is measured.
        warm_up: what runs once before.
        products: bare matrix products to be measured in turn with it, or None.
        check: how far the answer is from that of ``auto``, relative to its largest number; None: nothing to compare.
    """

    run: Callable[[], object]
    warm_up: Callable[[], object]
    products: Callable[[], object] | None = None
    check: Callable[[], float] | None = None


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes:
        seconds: of one run, the median.
        peak: bytes of the process at its highest, Python, torch and weights included.
        growth: bytes of that which came after building and warming up.
        products: seconds of the bare matrix products, the median.
        difference: of the answer from ``auto``'s, relative.
    """

    seconds: float
    peak: int
    growth: int
    products: float | None = None
    difference: float | None = None


@dataclass(frozen=True)
class Result:
    """A job with its medians over all rounds, or with the reason why there are none."""

    job: Job
    measured: Measurement | None
    reason: str = ""


@dataclass(frozen=True)
class Cost:
    """What a job is expected to need: bytes of memory, and floating point operations."""

    memory: float
    flop: float


def race(
    jobs: Sequence[Job],
    *,
    rounds: int,
    measured_by: Callable[[Job], Measurement | str],
    refused: Callable[[Job], str | None],
    tell: Callable[[str], None],
) -> list[Result]:
    """Measure contenders in turn, several rounds; what is refused or fails once has no further turn.

    Args:
        measured_by: a measurement, or the reason why there is none.
        refused: the reason why a job is not even tried, or None.
    """
    reasons = {job: reason for job in jobs if (reason := refused(job))}
    for job, reason in reasons.items():
        tell(f"  {job.name}: not run, {reason}")
    found: dict[Job, list[Measurement]] = {job: [] for job in jobs}
    for turn in range(rounds):
        for job in jobs:
            if job in reasons:
                continue
            outcome = measured_by(job)
            if isinstance(outcome, str):
                reasons[job] = outcome
                tell(f"  {job.name}: given up, {outcome}")
            else:
                found[job].append(outcome)
                tell(f"  {job.name}, round {turn + 1} of {rounds}: {outcome.seconds:.4g} s")
    return [
        Result(job, None, reasons[job]) if job in reasons else Result(job, _middle(measurements))
        for job, measurements in found.items()
    ]


def ratios(results: Sequence[Result]) -> list[float | None]:
    """How many times faster than ``projected`` in float32 each result is; None: either was not measured."""
    slow = {_group(result.job): result.measured for result in results if result.job.name == "projected"}
    answers: list[float | None] = []
    for result in results:
        reference = slow.get(_group(result.job))
        answers.append(reference.seconds / result.measured.seconds if reference and result.measured else None)
    return answers


def refusal(cost: Cost, *, limit: float = LIMIT) -> str | None:
    """Why something of that cost is not tried here, or None.

    >>> refusal(Cost(memory=0, flop=1e30), limit=60)[:16]
    'would take about'
    """
    free, seconds = free_memory(), cost.flop / product_rate(torch.float32)
    if free is not None and cost.memory > SHARE * free:
        return f"needs about {cost.memory / 1e9:.0f} GB of memory, {free / 1e9:.0f} GB are free"
    if seconds > limit:
        return f"would take about {seconds / 60:.0f} minutes, the limit is {limit / 60:.0f}"
    return None


def measured_apart(
    job: Job, *, command: Sequence[str] = ("-m", "sensorium.inference.bench"), limit: float = LIMIT
) -> Measurement | str:
    """Measure a job in a fresh Python, or say why there is no measurement.

    Args:
        command: the arguments of a Python that runs :func:`serve`.
        limit: seconds after which it is given up.
    """
    try:
        child = subprocess.run(
            [sys.executable, *command, json.dumps(asdict(job))],
            capture_output=True,
            text=True,
            timeout=limit + 60,  # importing and building are not counted
        )
    except subprocess.TimeoutExpired:
        return f"took more than {limit / 60:.0f} minutes"
    if child.returncode < 0:
        return f"killed by signal {-child.returncode}, most likely for want of memory"
    if child.returncode:
        return (child.stderr.strip().splitlines() or ["failed without a word"])[-1]
    return Measurement(**json.loads(child.stdout.splitlines()[-1]))


def serve(prepare: Callable[[Job], Work], text: str) -> None:
    """The other side of :func:`measured_apart`: measure the job and print the measurement."""
    print(json.dumps(asdict(measure(prepare(Job(**json.loads(text)))))))


def measure(work: Work) -> Measurement:
    """Warm up, then run again and again until it was long enough.

    >>> measure(Work(run=lambda: None, warm_up=lambda: None)).products is None
    True
    """
    work.warm_up()
    before = _forget_peak()
    times: list[float] = []
    products: list[float] = []
    while not times or (sum(times) < ENOUGH and len(times) < 20):
        times.append(_seconds(work.run))
        if work.products is not None:
            products.append(_seconds(work.products))
    peak = peak_memory()
    return Measurement(
        seconds=statistics.median(times),
        peak=peak,
        growth=max(0, peak - before),
        products=statistics.median(products) if products else None,
        difference=None if work.check is None else work.check(),
    )


def peak_memory() -> int:
    """Bytes of this process at its highest.

    Linux is asked for it by /proc: what getrusage says there is inherited from the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text("utf-8"))[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _forget_peak() -> int:
    """Start counting memory anew, where the system lets a process do so; the bytes to count from."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "utf-8")
    return peak_memory()


def _middle(measurements: list[Measurement]) -> Measurement:
    """The median of each figure over the rounds."""

    def middle(name: str) -> Any:
        values = [value for each in measurements if (value := getattr(each, name)) is not None]
        return statistics.median(values) if values else None

    return Measurement(
        seconds=middle("seconds"),
        peak=round(middle("peak")),
        growth=round(middle("growth")),
        products=middle("products"),
        difference=middle("difference"),
    )


def _group(job: Job) -> Job:
    return replace(job, contender="", precision="float32", checkpointing=False)
