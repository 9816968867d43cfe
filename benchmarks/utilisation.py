"""How much of a training step is matrix products, and where the rest goes.

    python benchmarks/utilisation.py [KIND...] [--examples 6000] [--rounds 5] [--threads 2] [--top 5] [--cpu-time]
    python benchmarks/utilisation.py --data ../shared/data/cifar10 ../shared/data/fsdd

For the model that ``auto`` chooses for each kind of signal, on made data unless ``--data`` names some. The step is that
of training itself (``training/step.py``) with the gathering of its batch, but without the engine around it. Every
matrix product, convolution and attention in one step is recorded with its shapes and dtypes and then timed alone, warm:
their sum over the step's time is the utilisation. The kinds take turns over several rounds, so that a busy spell of the
machine slows all of them; figures are medians.

*Evaluation* is the share of a run of ``--minutes`` that its validation passes take, and the writing of the weights
after each.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sensorium.inference.bench import environment
from sensorium.inference.evaluate import evaluate_model
from sensorium.models import checkpoints
from sensorium.models.perceiver import Perceiver
from sensorium.models.recipe import RecipeConfig
from sensorium.training.batches import Drawn
from sensorium.training.ema import Ema
from sensorium.training.optimizers import optimizers
from sensorium.training.precision import faster_precision
from sensorium.training.step import TrainingStep, part_generator, update
from sensorium.training.validation import VALIDATIONS
from step_profile import DEVICE, PHASES, TIMER, Clock, Recorder, now
from utilisation_data import KINDS_MADE, Subject, made, opened

STEPS = 2  # timed in each round, after one that warms up


class Bench:
    """One model in training: its steps, its products, its evaluation."""

    def __init__(self, subject: Subject) -> None:
        torch.manual_seed(0)
        self.subject = subject
        self.model = Perceiver(subject.model)
        self.indices = [index % subject.samples.drawn_from for index in range(subject.recipe.batch_size)]
        precision = subject.recipe.precision
        if precision == "auto":
            precision = faster_precision(self.model, subject.samples.drawn(self.indices))
        self.precision = precision
        self.drawn = Drawn(subject.samples)
        recipe = replace(subject.recipe, precision=precision)
        self.training_step = TrainingStep(self.model.to(DEVICE), recipe)
        self.optimizers = optimizers(recipe, self.model)
        self.ema = Ema(self.model, decay=recipe.ema_decay) if recipe.ema_decay else None
        self.count = 0
        self.clock = Clock()
        self._watch()
        self.phases: defaultdict[str, list[float]] = defaultdict(list)
        self.steps: list[float] = []
        self.evaluations: list[float] = []
        self.step()  # warms up, and the optimizers get their states
        recorder = Recorder(self.clock)
        with recorder:
            self.step()
        self.products = list(recorder.products.values())
        self.times: list[list[float]] = [[] for _ in self.products]
        self.clock.take()

    @property
    def steps_per_epoch(self) -> int:
        """Batches of the training examples."""
        return max(1, self.subject.examples // self.subject.recipe.batch_size)

    def _watch(self) -> None:
        """Let the clock know what belongs to which phase."""
        clock, model = self.clock, self.model
        embed, encode = model.embed, model.encode

        def with_stem(batch: dict[str, Tensor], **options: Any) -> Any:
            with clock.within("stem"):
                array = embed(batch, **options)
            learned = [segment.values for segment in array.segments if segment.values.requires_grad]
            waiting = [len(learned)]

            def reached(_: Tensor) -> None:
                waiting[0] -= 1
                if not waiting[0]:
                    clock.switch("stem")

            if torch.is_grad_enabled():
                for values in learned:
                    values.register_hook(reached)
            return array

        def with_encoder(*arguments: Any, **options: Any) -> Tensor:
            with clock.within("encoder"):
                latents = encode(*arguments, **options)
            if latents.requires_grad:
                latents.register_hook(lambda _: clock.switch("encoder"))
            return latents

        model.embed, model.encode = with_stem, with_encoder  # type: ignore[method-assign, assignment]
        clock.watch(self.drawn, "__getitem__", "data")
        clock.watch(self.training_step, "prepare", "data")
        for name in ("queries", "decode", "loss"):
            clock.watch(model, name, "decoder")

    def step(self) -> None:
        """One step of training, with its batch."""
        recipe, generator = self.training_step.recipe, part_generator(0, self.count, 0)
        self.count += 1
        prepared = self.training_step.prepare(self.drawn.__getitem__(self.indices), generator)
        whole_batch = torch.ones_like(self.model.task.term_counts(prepared.targets))
        loss, _ = self.training_step(prepared, whole_batch, generator)
        with self.clock.within("decoder"):  # until the gradient reaches the latents
            loss.backward()
        with self.clock.within("optimizer"):
            update(self.model, self.optimizers, learning_rate=recipe.learning_rate, clip=recipe.gradient_clip)
        if self.ema is not None:
            with self.clock.within("ema"):
                self.ema.update(self.model)

    def round(self) -> None:
        """A turn: some steps, every product, a validation pass."""
        self.step()
        for _ in range(STEPS):
            self.clock.take()
            self.step()
            seconds = self.clock.take()
            self.steps.append(sum(seconds.values()))
            for phase in PHASES:
                self.phases[phase].append(seconds.get(phase, 0.0))
        for product, times in zip(self.products, self.times, strict=True):
            times.append(product.seconds())
        self.evaluations.append(self._evaluate())

    def _evaluate(self) -> float:
        """Seconds of a validation pass."""
        began = now()
        kept = self.model if self.ema is None else self.ema.module
        evaluate_model(kept, self.subject.samples, split="val")
        examples = now() - began
        with tempfile.TemporaryDirectory() as folder:
            began = now()
            checkpoints.save(kept, Path(folder))
            saving = now() - began
        return examples / len(self.subject.samples) * self.subject.validated + saving

    def products_of(self, phase: str) -> float:
        """Seconds of the products of a phase."""
        times = zip(self.products, self.times, strict=True)
        return sum(product.phases[phase] * statistics.median(found) for product, found in times)

    def evaluation_share(self) -> float:
        """The share of a run that validation takes; without a validation split there is none."""
        if not self.subject.validated:
            return 0.0
        recipe: RecipeConfig = self.subject.recipe
        spent = VALIDATIONS * statistics.median(self.evaluations)
        run = float("inf")
        if recipe.epochs is not None:
            run = recipe.epochs * self.steps_per_epoch * statistics.median(self.steps) + spent
        return spent / min(run, float("inf") if recipe.minutes is None else 60 * recipe.minutes)

    def line(self) -> str:
        """The line of the table: milliseconds, and in brackets those of the products alone."""
        encoder, step = self.subject.model.encoder, statistics.median(self.steps)
        products = sum(map(self.products_of, PHASES))
        phases = []
        for phase in PHASES:
            whole, alone = 1000 * statistics.median(self.phases[phase]), 1000 * self.products_of(phase)
            phases.append(f"{whole:.1f}" + (f" ({alone:.1f})" if alone else ""))
        cells = (
            self.subject.name,
            f"{self.subject.recipe.batch_size} × {self.model.inputs.num_rows:,} × {self.model.inputs.channels}",
            f"{encoder.num_latents} × {encoder.latent_channels}, {self.precision}",
            f"{1000 * step:.1f}",
            f"{1000 * products:.1f}",
            f"**{products / step:.0%}**",
            *phases,
            f"**{self.evaluation_share():.1%}**",
        )
        return f"| {' | '.join(cells)} |"

    def slowest(self, count: int) -> list[str]:
        """The products that take most of the step: operator, shapes, times a step, milliseconds."""
        totals = [
            (1000 * product.phases.total() * statistics.median(times), product)
            for product, times in zip(self.products, self.times, strict=True)
        ]
        ranked = sorted(totals, key=lambda pair: -pair[0])[:count]
        return [
            f"| {self.subject.name} | `{product.title}` | {', '.join(product.phases)} | {product.phases.total()} "
            f"| {spent:.1f} |"
            for spent, product in ranked
        ]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=[], help=f"of made data: {', '.join(KINDS_MADE)}; all by default")
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="data sets, instead of made data")
    parser.add_argument("--examples", type=int, default=6000, help="that auto takes the made data to have")
    parser.add_argument("--minutes", type=float, default=20.0, help="of a run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--cpu-time", action="store_true", help="count the processor's time, for a busy machine; use --threads 1"
    )
    parser.add_argument("--top", type=int, default=0, help="also list so many of the slowest products of each kind")
    options = parser.parse_args(arguments)
    if unknown := set(options.kinds) - set(KINDS_MADE):
        parser.error(f"{', '.join(sorted(unknown))}: data are made of {', '.join(KINDS_MADE)}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure in turns, and print the table."""
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.cpu_time:
        TIMER.seconds = time.process_time
    subjects = [opened(path, minutes=options.minutes) for path in options.data]
    if options.kinds or not subjects:
        kinds = options.kinds or KINDS_MADE
        subjects += [made(kind, examples=options.examples, minutes=options.minutes) for kind in kinds]
    benches = [Bench(subject) for subject in subjects]
    for _ in range(options.rounds):
        for bench in benches:
            bench.round()
    device = {"device": torch.cuda.get_device_name()} if DEVICE.type == "cuda" else {}
    facts = "; ".join(f"{name} {value}" for name, value in (environment() | device).items())
    clock = "processor time" if options.cpu_time else "wall clock"
    print(f"{facts}; medians of {options.rounds * STEPS} steps, milliseconds of {clock} (products alone)\n")
    titles = ("signal", "batch × rows × channels", "latents, precision", "step", "products", "utilisation")
    print(f"| {' | '.join((*titles, *PHASES, 'evaluation'))} |")
    print("|---" * (len(titles) + len(PHASES) + 1) + "|")
    for bench in benches:
        print(bench.line())
    if options.top:
        print("\n| signal | product | phases | times a step | ms |\n|---|---|---|---|---|")
        print("\n".join(line for bench in benches for line in bench.slowest(options.top)))


if __name__ == "__main__":
    main()
