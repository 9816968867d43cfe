"""How long cross-attention and the whole model take here by each attention path, and in how much memory.

``sensorium bench`` measures every contender in a process of its own. Contenders take turns over several rounds, so that
a busy spell of the machine slows all of them; the result is the median. benchmarks/peers.py measures other libraries in
the same way.
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
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..modalities import Modality, build_modality
from ..models import presets
from ..models.perceiver import Perceiver, PerceiverConfig
from ..nn import AttentionPath, Encoder, EncoderConfig, attention_path
from .costs import Cost, encoder_cost
from .environment import free_memory, processor_name, product_rate, structured_attention, versions

Stage = Literal["forward", "step"]
PATHS: dict[str, tuple[AttentionPath, ...]] = {
    "attention": ("projected", "absorbed", "structured"),
    "model": ("projected", "auto"),
}
MIN_SECONDS = 5.0  # of repetitions in one process
MAX_REPETITIONS = 20
MEMORY_SHARE = 0.8  # of the free memory that a job may be expected to fill
LIMIT_SECONDS = 300.0  # that one measurement may take
WARM_UP_SIZE = 16  # side of the picture that warms up: a large one makes nothing warmer
PICTURES = "image"  # the kind of modality that is measured


@dataclass(frozen=True)
class Job:
    """One thing to measure.

    Attributes:
        what: ``attention`` (one cross-attend without its MLP and without latent transformer) or ``model``.
        contender: an attention path, or the name of another library.
        size: side of the picture in pixels.
        stage: ``forward``, or ``step``: forward and backward pass, without the optimizer.
        batch: pictures at a time.
        model: a preset's name, or the path of a YAML file with a model's configuration.
    """

    what: str
    contender: str
    size: int
    stage: Stage
    batch: int = 1
    model: str = "perceiver-imagenet"

    @property
    def title(self) -> str:
        """What all contenders have in common, in words."""
        batch = f"{self.batch} of " if self.batch > 1 else ""
        return f"{self.what}, {batch}{self.size} × {self.size}, {self.stage}"


@dataclass(frozen=True)
class Work:
    """What the process of a job runs: ``warm_up`` once, ``run`` repeatedly, and at the end ``check``: the relative
    difference of the output from an expected one (None: nothing to compare)."""

    run: Callable[[], object]
    warm_up: Callable[[], object]
    check: Callable[[], float] | None = None


@dataclass(frozen=True)
class Measurement:
    """Median seconds of one run, peak bytes of the process, how many of them came after the warm-up (``growth``), and
    the relative difference of the output, if it was compared."""

    seconds: float
    peak: int
    growth: int
    difference: float | None = None


@dataclass(frozen=True)
class Result:
    """A job with its medians over all rounds, or with the reason why there are none."""

    job: Job
    measured: Measurement | None
    reason: str = ""


def compare(
    sizes: Sequence[int],
    *,
    rounds: int = 2,
    batch: int = 1,
    what: Sequence[str] = tuple(PATHS),
    model: str = "perceiver-imagenet",
    tell: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Time one cross-attend at each size and the whole model at the largest one, by every path.

    Args:
        sizes: sides of the picture in pixels.
        rounds: turns of each path.
        batch: pictures at a time.
        what: ``attention``, ``model`` or both.
        model: a preset's name, or the path of a YAML file with a model's configuration.
        tell: receives the progress, a line at a time.

    Raises:
        InputError: a size, batch, number of rounds or model that cannot be measured.
    """
    check_options(sizes, rounds=rounds)
    if not what or not set(what) <= set(PATHS):
        raise InputError(f"--what {','.join(what)}: use {' or '.join(PATHS)} or both, with a comma between them")
    if batch < 1:
        raise InputError(f"--batch {batch}: use at least 1")
    settings = [("attention", size) for size in sizes] + [("model", max(sizes))]
    groups = [
        [Job(name, path, size, stage, batch, model) for path in PATHS[name]]
        for name, size in settings
        if name in what
        for stage in get_args(Stage)
    ]
    results: list[Result] = []
    for number, group in enumerate(groups, 1):
        tell(f"{number} of {len(groups)}: {group[0].title}")
        results += race(
            group, rounds=rounds, measured_by=measure_apart, refused=lambda job: refusal(cost(job)), tell=tell
        )
    return results


def check_options(sizes: Sequence[int], *, rounds: int) -> None:
    """Refuse what cannot be measured."""
    if not sizes or min(sizes) < 1:
        raise InputError(f"--sizes {','.join(map(str, sizes))}: name sides of pictures in pixels, such as 64,224")
    if rounds < 1:
        raise InputError(f"--rounds {rounds}: use at least 1")


def parse_sizes(text: str) -> tuple[int, ...]:
    """The sizes in a text, smallest first.

    >>> parse_sizes("224, 64")
    (64, 224)
    """
    if not re.fullmatch(r"\s*[1-9]\d{0,4}\s*(,\s*[1-9]\d{0,4}\s*)*", text):
        raise InputError(f"--sizes {text}: name sides of pictures in pixels, with commas between them, such as 64,224")
    return tuple(sorted({int(size) for size in text.split(",")}))


def environment() -> dict[str, str]:
    """What times depend on besides the code."""
    return {
        "processor": processor_name(),
        "threads": str(torch.get_num_threads()),
        "structured attention": structured_attention(),
        **versions(),
    }


def race(
    jobs: Sequence[Job],
    *,
    rounds: int,
    measured_by: Callable[[Job], Measurement | str],
    refused: Callable[[Job], str | None],
    tell: Callable[[str], None],
) -> list[Result]:
    """Measure jobs in turn over several rounds. A job that is refused or fails gets no further turn.

    Args:
        measured_by: returns a measurement, or the reason why there is none.
        refused: returns the reason why a job is not tried at all, or None.
    """
    reasons = {job: reason for job in jobs if (reason := refused(job))}
    for job, reason in reasons.items():
        tell(f"  {job.contender}: not run, {reason}")
    found: dict[Job, list[Measurement]] = {job: [] for job in jobs}
    for turn in range(rounds):
        for job in jobs:
            if job in reasons:
                continue
            outcome = measured_by(job)
            if isinstance(outcome, str):
                reasons[job] = outcome
                tell(f"  {job.contender}: given up, {outcome}")
            else:
                found[job].append(outcome)
                tell(f"  {job.contender}, round {turn + 1} of {rounds}: {outcome.seconds:.4g} s")
    return [
        Result(job, None, reasons[job]) if job in reasons else Result(job, _median(measurements))
        for job, measurements in found.items()
    ]


def ratios(results: Sequence[Result]) -> list[float | None]:
    """How many times faster than ``projected`` each result is; None: one of both was not measured."""
    projected = {result.job.title: result.measured for result in results if result.job.contender == "projected"}
    pairs = [(projected.get(result.job.title), result.measured) for result in results]
    return [slow.seconds / fast.seconds if slow and fast else None for slow, fast in pairs]


# -- what a job costs -------------------------------------------------------------------------------------------------


def cost(job: Job) -> Cost:
    """What one of this project's jobs is expected to need."""
    config = model_config(job)
    return encoder_cost(
        encoder_config(config, job.what),
        config.inputs,
        path=job.contender,  # type: ignore[arg-type]
        training=job.stage == "step",
        batch=job.batch,
    )


def refusal(expected: Cost, *, limit: float = LIMIT_SECONDS) -> str | None:
    """Why a job of that cost is not tried here, or None.

    >>> refusal(Cost(memory=0, flop=1e30), limit=60)[:16]
    'would take about'
    """
    free, seconds = free_memory(), expected.flop / product_rate(torch.float32)
    if free is not None and expected.memory > MEMORY_SHARE * free:
        return f"needs about {expected.memory / 1e9:.0f} GB of memory, {free / 1e9:.0f} GB are free"
    if seconds > limit:
        return f"would take about {seconds / 60:.0f} minutes, the limit is {limit / 60:.0f}"
    return None


# -- in a process of its own ------------------------------------------------------------------------------------------


def measure_apart(
    job: Job, *, command: Sequence[str] = ("-m", "sensorium.inference.bench"), limit: float = LIMIT_SECONDS
) -> Measurement | str:
    """Measure a job in a fresh Python, or say why there is no measurement.

    Args:
        command: arguments of a Python that calls :func:`serve` with the last one.
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
        return (child.stderr.strip().splitlines() or ["failed without a message"])[-1]
    return Measurement(**json.loads(child.stdout.splitlines()[-1]))


def serve(prepare: Callable[[Job], Work], text: str) -> None:
    """The other side of :func:`measure_apart`: measure the job and print the measurement."""
    print(json.dumps(asdict(measure(prepare(Job(**json.loads(text)))))))


def measure(work: Work) -> Measurement:
    """Warm up, then run again and again until it took long enough."""
    work.warm_up()
    with suppress(OSError):  # where the system allows it, count the peak anew
        Path("/proc/self/clear_refs").write_text("5", "utf-8")
    before, times = peak_memory(), list[float]()
    while not times or (sum(times) < MIN_SECONDS and len(times) < MAX_REPETITIONS):
        start = time.perf_counter()
        work.run()
        times.append(time.perf_counter() - start)
    peak = peak_memory()
    return Measurement(statistics.median(times), peak, max(0, peak - before), work.check and work.check())


def peak_memory() -> int:
    """Bytes of this process at its highest.

    On Linux from /proc: what getrusage reports there is inherited from the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text("utf-8"))[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def prepare(job: Job) -> Work:
    """The work of one of this project's paths."""
    torch.manual_seed(0)
    config = model_config(job)
    inputs = build_modality(config.inputs)
    batch = pictures(inputs, job.size, batch=job.batch)
    if job.what == "attention":
        encoder, array = Encoder(encoder_config(config, "attention"), channels=inputs.channels), inputs.embed(batch)
        for cross_attention in encoder.cross_attention.values():
            cross_attention.mlp = (
                nn.Sequential()
            )  # which takes as long on every path, and nearly as long as the fastest
        run = runner(job, encoder, lambda: encoder(array), path=job.contender)
        return Work(run, warm_up=run)
    model = Perceiver(config).eval()
    for parameter in model.decoder.parameters():
        nn.init.normal_(parameter, std=0.02)  # a head that starts at zero sends no gradient back
    small = pictures(inputs, min(WARM_UP_SIZE, job.size), batch=job.batch)
    run = runner(job, model, lambda: model.decoder(model.encode(batch), model.queries(batch)), path=job.contender)
    warm_up = runner(replace(job, stage="forward"), model, lambda: model.encode(small), path=job.contender)
    return Work(run, warm_up)


def model_config(job: Job) -> PerceiverConfig:
    """The configuration of the job's model, for pictures of the job's size.

    Raises:
        InputError: no such model, or one whose inputs are no pictures.
    """
    with torch.device("meta"):
        config = presets.build(job.model).config
    if config.inputs.kind != PICTURES:
        raise InputError(f"{job.model}: its inputs are {config.inputs.kind}; name a model of pictures")
    return replace(config, inputs=replace(config.inputs, size=(job.size, job.size)))


def encoder_config(model: PerceiverConfig, what: str) -> EncoderConfig:
    """The model's encoder, or one cross-attend of it."""
    if what == "model":
        return model.encoder
    return replace(model.encoder, cross_attention=(0,), latent_transformer=(None,), attends_to=None)


def pictures(inputs: Modality, size: int, *, batch: int = 1) -> dict[str, Tensor]:
    """A batch of random pixels."""
    return {inputs.name: torch.rand(batch, inputs.config.channels, size, size)}


def runner(job: Job, module: nn.Module, forward: Callable[[], Tensor], *, path: str) -> Callable[[], None]:
    """A forward pass, or one with the backward pass of a mean square, as the job says."""

    def run() -> None:
        training = job.stage == "step"
        with attention_path(module, path), torch.set_grad_enabled(training):  # type: ignore[arg-type]
            output = forward()
        if training:
            output.square().mean().backward()
            module.zero_grad()

    return run


def _median(measurements: list[Measurement]) -> Measurement:
    """The median of each figure over the rounds."""
    return Measurement(
        seconds=statistics.median(each.seconds for each in measurements),
        peak=round(statistics.median(each.peak for each in measurements)),
        growth=round(statistics.median(each.growth for each in measurements)),
        difference=measurements[0].difference,
    )


if __name__ == "__main__":
    serve(prepare, sys.argv[1])
