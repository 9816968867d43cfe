"""Training a model: one loop, from the first step or a checkpoint to the last step.

Several processes run this file side by side, each with its parts of every batch. What depends on the clock or on a
signal is decided by the main process for all of them.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..allocator import keep_freed_memory
from ..data import Samples
from ..errors import InputError
from ..models.perceiver import Perceiver
from ..models.recipe import RecipeConfig
from ..nn import Encoder
from ..processes import Launch, cores, end_unless_main, from_main, is_main, rank, total, world_size
from ..threads import thread_pool
from .aligned import align
from .batches import Drawn, EpochBatches, Parts
from .ema import Ema
from .engine import Curves, Fabric, distribute, quiet_engine, start
from .optimizers import optimizers
from .plan import RunConfig
from .precision import faster_precision
from .progress import Interrupted, Listener, Quiet
from .run_folder import append_history, trim_history
from .run_state import RunState, Sums, reading
from .schedule import augmentation_strength, learning_rate
from .state_file import StateWriter, read_state
from .step import TrainingStep, part_generator, update
from .validation import is_due, validate

ALIGNED_ON = 8  # examples that the aligned initialisation measures
WORKERS = 4  # processes that decode batches ahead
SHOWN_EVERY = 1.0  # seconds between two looks at the loss, for which the device must be waited for


def fit(
    model: Perceiver,
    train: Samples,
    val: Samples | None,
    *,
    config: RunConfig,
    folder: Path,
    listener: Listener,
    fabric: Fabric | None = None,
    checkpoint_minutes: float = 5.0,
    log: Sequence[str] = (),
) -> float:
    """Train a model and return the seconds it took. The best weights are written to ``folder`` as they are found.

    The run continues from its checkpoint where there is one. Without a validation split the last weights are kept.

    Args:
        model: freshly initialised, or with weights taken over from another run.
        train, val: the decoded splits; ``val`` None: there is no validation split.
        config: the run's configuration; its recipe and seed are used.
        folder: the run folder.
        listener: receives the progress.
        fabric: the processes that train, from :func:`sensorium.training.engine.start`; None: this one.
        checkpoint_minutes: between two checkpoints, besides those after each validation pass.
        log: names in :data:`sensorium.training.logs.LOGS`, which get the figures, too.

    Raises:
        Interrupted: stopped by a signal, after saving.
        InputError: the loss is not finite, a program of ``log`` does not start, or another version wrote the
            checkpoint.
    """
    keep_freed_memory()
    fabric = fabric or start(Launch())
    listener = listener if is_main() else Quiet()
    saved = read_state(folder)
    batches = EpochBatches(train.drawn_from, config.recipe.batch_size, seed=config.seed)
    drawn = Drawn(train)
    parts = Parts(batches, accumulate=config.recipe.accumulate, process=rank(), processes=world_size())
    recipe = config.recipe
    if recipe.attention_init == "aligned" and config.start is None and saved is None:
        _align(model, train.drawn(list(range(min(ALIGNED_ON, len(drawn))))), config.seed)
    with quiet_engine():
        distribute(fabric, model)
        if saved is not None:
            with reading(folder):
                recipe = replace(recipe, precision=RunState.precision_of(saved))
        elif recipe.precision == "auto":
            listener.stage("measuring which precision is faster")
            part = train.drawn(next(iter(parts)))
            measured = from_main(faster_precision(model, part, checkpointing=recipe.checkpointing))
            recipe = replace(recipe, precision=measured)
        run = begin(model, recipe, fabric, seed=config.seed, steps_per_epoch=len(batches), folder=folder)
        if saved is not None:
            with reading(folder):
                run.state.load(saved)
            if is_main():
                trim_history(folder, step=run.state.counters.steps)
        parts.step = run.state.counters.steps
        decoded = _decoded(drawn, parts, device=fabric.device)
        listener.stage("training")
        curves = Curves(folder if is_main() else None, log)
        return _loop(run, decoded, val, listener, curves, checkpoint_minutes)


@dataclass(frozen=True)
class Run:
    """What a run consists of, as its loop needs it.

    Attributes:
        fabric: the engine.
        step: the model with its loss.
        averaged: the same, but that the engine takes the mean of gradients over the processes.
        state: what changes.
        recipe: with the precision that was chosen.
        seed, folder: of the run.
        steps_per_epoch: of all processes together.
    """

    fabric: Fabric
    step: TrainingStep
    averaged: Any
    state: RunState
    recipe: RecipeConfig
    seed: int
    steps_per_epoch: int
    folder: Path

    @property
    def share_done(self) -> float:
        """The share of the run that is done."""
        return self.state.counters.share_done(self.recipe, self.steps_per_epoch)


def begin(model: Perceiver, recipe: RecipeConfig, fabric: Fabric, **facts: Any) -> Run:
    """A run before its first step: its model shared or sharded among the processes, with optimizers and average."""
    ema = Ema(model, decay=recipe.ema_decay) if recipe.ema_decay else None
    step = TrainingStep(model, recipe)
    averaged = fabric.setup_module(step)
    sums = Sums.zero(fabric.device)
    state = RunState(model, ema, optimizers(recipe, model), recipe.precision, sums)
    return Run(fabric, step, averaged, state, recipe, **facts)


def _decoded(drawn: Drawn, parts: Parts, *, device: torch.device) -> Iterator[dict[str, Tensor]]:
    """The decoded parts of the batches that this process takes, without end. Examples that stay in memory are decoded
    once, one part ahead of the steps; others by other processes, some parts ahead."""
    samples = drawn.samples
    loader = DataLoader(
        drawn,
        sampler=parts,
        batch_size=None,
        num_workers=0 if samples.in_memory else min(WORKERS, cores()),
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # so that it draws nothing from the global one
    )
    batches = iter(loader)

    def following() -> dict[str, Tensor]:
        batch = next(batches)
        drawn.learn(batch)
        return batch

    if not samples.in_memory or samples.are_decoded:
        while True:
            yield following()
    with thread_pool(1) as thread:
        coming = thread.submit(following)
        while True:
            batch = coming.result()
            coming = thread.submit(following)
            yield batch


def _loop(
    run: Run,
    parts: Iterator[dict[str, Tensor]],
    val: Samples | None,
    listener: Listener,
    curves: Curves,
    checkpoint_minutes: float,
) -> float:
    """Step after step, with a look at the clock, the signals and the validation split before each; returns the
    seconds."""
    state, recipe = run.state, run.recipe
    counters = state.counters
    began, figures = time.monotonic() - counters.seconds, _Figures(state)
    with _signals(listener) as signalled, StateWriter(run.folder) as writer:
        while True:
            counters.seconds, stopping, broken = _agreed(time.monotonic() - began, signalled(), figures.broken)
            share = run.share_done
            validated = counters.validated or (0 if val is None else len(val))
            due = is_due(counters, share, batch_size=recipe.batch_size, validated=validated) and not stopping
            save = due or stopping or counters.seconds - counters.saved_at >= 60 * checkpoint_minutes
            loss = _mean_loss(run) if save or broken else math.nan
            if due:
                row = validate(
                    state, val, recipe=recipe, steps_per_epoch=run.steps_per_epoch, loss=loss, folder=run.folder
                )
                if is_main():
                    append_history(run.folder, row)
                    curves.add(row)
                counters.seconds = _agreed(time.monotonic() - began)[0]
            if save:
                seconds, counters.saved_at = counters.seconds - counters.saved_at, counters.seconds
                writer.write(state.to_dict(), seconds=seconds, is_last=stopping or share >= 1)
            if stopping:
                from_main(None)  # the others wait for the checkpoint: where one has ended, a launcher may end them all
                end_unless_main(0)
                raise Interrupted(run.folder)
            if share >= 1 and counters.steps:  # a run of no time takes one step
                curves.close()
                return counters.seconds
            take_step(run, parts)
            listener.progress(run.share_done, figures.latest())


def take_step(run: Run, parts: Iterator[dict[str, Tensor]]) -> None:
    """One step of the optimizers with this process's parts of the batch. It does not wait for the device."""
    state, recipe = run.state, run.recipe
    counters, task = state.counters, state.model.task
    first = rank() * recipe.accumulate
    generators = [part_generator(run.seed, counters.steps, first + number) for number in range(recipe.accumulate)]
    strength = augmentation_strength(recipe, run.share_done)
    prepared = [run.step.prepare(next(parts), generator, strength=strength) for generator in generators]
    counts = [task.term_counts(part.targets) for part in prepared]
    whole_batch = total(torch.stack(counts).sum(0)).clamp(min=1)
    for number, (part, count, generator) in enumerate(zip(prepared, counts, generators, strict=True), 1):
        with run.fabric.no_backward_sync(run.averaged, enabled=number < recipe.accumulate):
            loss, training_accuracy = run.averaged(part, count / whole_batch, generator)
            run.fabric.backward(loss * world_size())  # the engine takes the mean over processes
        state.sums.loss += loss.detach()
        state.sums.training_accuracy += training_accuracy
    rate = learning_rate(recipe, run.share_done)
    try:
        update(state.model, state.optimizers, learning_rate=rate, clip=recipe.gradient_clip)
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        _end_diverged(run, math.inf)  # an optimizer's own factor on the rate is more than float32 can hold
    if state.ema is not None:
        state.ema.update(state.model)
    counters.steps += 1
    state.sums.steps += 1


def _agreed(seconds: float, stopping: bool = False, broken: bool = False) -> tuple[float, bool, bool]:
    """What all processes go by: the main one's seconds, and whether any of them was told to stop, or has a loss that is
    not finite."""
    if world_size() == 1:
        return seconds, stopping, broken
    values = total(torch.tensor([seconds * is_main(), stopping, broken], dtype=torch.float64)).tolist()
    return values[0], values[1] > 0, values[2] > 0


def _mean_loss(run: Run) -> float:
    """The mean over the steps since the last validation pass; NaN where there were none.

    Raises:
        InputError: it is not finite.
    """
    sums = run.state.sums
    if not sums.steps:
        return math.nan
    mean = total(sums.loss).item() / sums.steps
    if not math.isfinite(mean):
        _end_diverged(run, mean)
    return mean


def _end_diverged(run: Run, loss: float) -> NoReturn:
    """End a run whose loss is not finite.

    Raises:
        InputError: in the main process.
    """
    end_unless_main(2)
    raise InputError(
        f"the loss is {loss} at step {run.state.counters.steps}; lower it with "
        f"--set recipe.learning_rate={run.recipe.learning_rate / 3:.1e}"
    )


class _Figures:
    """The figures to show while training, which are read from the device now and then.

    Attributes:
        broken: whether the loss of this process was not finite when it was read.
    """

    def __init__(self, state: RunState) -> None:
        self.state, self.broken, self.read_at = state, False, -math.inf
        self.figures: dict[str, float] = {}

    def latest(self) -> dict[str, float]:
        """The means over the steps since the last validation pass, by name; at most so many seconds old."""
        now, sums = time.monotonic(), self.state.sums
        if now - self.read_at >= SHOWN_EVERY and sums.steps:
            self.read_at = now
            # Of this process's parts, which are as good as the whole for a look.
            factor = world_size() / sums.steps
            best = self.state.counters.best_metric
            values = {
                "loss": sums.loss.item() * factor,
                "training accuracy": sums.training_accuracy.item() * factor,
                f"best {self.state.model.task.primary_metric}": best,
            }
            self.broken = not math.isfinite(values["loss"])
            self.figures = {name: value for name, value in values.items() if math.isfinite(value)}
        return self.figures


@contextmanager
def _signals(listener: Listener) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM has asked the run to stop. Afterwards they do what they did before."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        listener.stage("stopping after this step")

    if threading.current_thread() is not threading.main_thread():  # only there can they be received
        yield lambda: False
        return
    handlers = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _align(model: Perceiver, batch: dict[str, Tensor], seed: int) -> None:
    """Initialise attention so that it starts where positions agree."""
    if not isinstance(model.encoder, Encoder):
        raise InputError("recipe.attention_init=aligned needs a Perceiver encoder; set it to default")
    generator = torch.Generator().manual_seed(seed)
    prepared = model.prepare(model.inputs.augment(model.to_device(batch), generator), generator)
    with torch.no_grad():
        array = model.embed(prepared.inputs)
        align(model.encoder, model.decoder, array, model.queries(prepared.inputs, array=array))
