"""Training a model: the only file that knows the engine (Lightning)."""

from __future__ import annotations

import copy
import csv
import logging
import math
import os
import signal
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from ..data import Samples
from ..errors import InputError
from ..files import replace_file
from ..inference.evaluate import evaluate_model
from ..models import checkpoints
from ..models.perceiver import Perceiver
from ..models.recipe import RecipeConfig
from ..nn import Encoder
from .aligned import align
from .plan import RunConfig
from .recipe import average, mix, optimizers, rate

if TYPE_CHECKING:
    pass

LOOKS = 20  # evaluations on the validation split over a run
PLACED = 8  # examples by which attention is placed
WORKERS = 4  # processes that decode batches ahead
LAST = Path("checkpoints", "last.ckpt")


class Listener(Protocol):
    """Who is told how a run goes; the command line draws it."""

    def stage(self, text: str) -> None:
        """A new stage begins."""

    def progress(self, share: float, figures: dict[str, float]) -> None:
        """``share`` of the stage is done; the latest figures."""


class Quiet:
    """A listener that says nothing."""

    def stage(self, text: str) -> None: ...

    def progress(self, share: float, figures: dict[str, float]) -> None: ...


class Interrupted(Exception):
    """The run was stopped by Ctrl-C or SIGTERM and saved; ``out`` can be resumed."""

    def __init__(self, out: Path) -> None:
        super().__init__(str(out))
        self.out = out


def fit(
    model: Perceiver,
    train: Samples,
    val: Samples | None,
    *,
    config: RunConfig,
    folder: Path,
    listener: Listener,
) -> float:
    """Train a model; the best averaged weights go to ``folder`` as they are found. Returns the seconds it took.

    Goes on from ``checkpoints/last.ckpt`` where there is one. Without a validation split the last weights are kept.

    Raises:
        Interrupted: stopped by a signal, after saving.
    """
    listener.stage("loading the engine")
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import Logger, TensorBoardLogger
    from torchdata.stateful_dataloader import StatefulDataLoader

    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)  # adverts
    warnings.filterwarnings("ignore", module="lightning|torchdata")
    recipe = config.recipe
    batches = EpochBatches(len(train), recipe.batch_size, seed=config.seed)
    if len(train) and recipe.precision == "auto":
        listener.stage("measuring which precision is faster")
        recipe = replace(recipe, precision=faster_precision(model, train.batch(next(iter(batches)))))
    if recipe.attention_init == "aligned" and config.start is None and not (folder / LAST).exists():
        _place(model, train.batch(list(range(min(PLACED, len(train))))), config.seed)
    loggers: list[Logger] = []
    if _installed("tensorboard"):
        loggers.append(TensorBoardLogger(save_dir=folder, name="", version="tensorboard"))
    trainer = Trainer(
        accelerator="auto",
        devices=1,
        max_epochs=-1,
        precision="bf16-mixed" if recipe.precision == "bfloat16" else "32-true",
        logger=loggers or False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    module = _module(model, recipe, len(batches), val, folder, config.seed, listener)
    last = folder / LAST
    listener.stage("training")
    trainer.fit(
        module,
        # What fits into memory is decoded already; what does not is decoded ahead of the steps, by other processes.
        StatefulDataLoader(
            train,
            sampler=batches,
            batch_size=None,
            num_workers=0 if train.in_memory else min(WORKERS, os.cpu_count() or 1),
        ),
        ckpt_path=str(last) if last.exists() else None,
        weights_only=True if last.exists() else None,
    )
    if module.interrupted:
        raise Interrupted(folder)
    return module.seconds


class EpochBatches(torch.utils.data.Sampler[list[int]]):
    """Lists of example indices, in an order that depends on nothing but the seed and the epoch."""

    def __init__(self, examples: int, batch: int, *, seed: int) -> None:
        self.examples, self.batch, self.seed, self.epoch = examples, min(batch, examples), seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the engine at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.examples // self.batch

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.examples)
        for start in range(0, len(self) * self.batch, self.batch):  # a short last batch is left for another epoch
            yield order[start : start + self.batch].tolist()


def faster_precision(model: Perceiver, batch: dict[str, Tensor]) -> Literal["float32", "bfloat16"]:
    """``bfloat16`` or ``float32``, whichever takes a forward and backward pass less time here (best of three)."""
    model = copy.deepcopy(model)  # for a batch norm would count these passes
    # As in training: an evaluation may ask for more than gradients have room for.
    prepared = model.prepare(model.inputs.view(batch), torch.Generator().manual_seed(0))
    times: dict[Literal["float32", "bfloat16"], float] = {}
    choices: tuple[tuple[Literal["float32", "bfloat16"], torch.dtype], ...] = (
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
    )
    for precision, dtype in choices:
        times[precision] = math.inf
        for _ in range(3):
            start = time.perf_counter()
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                loss = model.loss(model(prepared.inputs, prepared.query_indices).output, prepared.targets)
            loss.backward()
            times[precision] = min(times[precision], time.perf_counter() - start)
        model.zero_grad(set_to_none=True)
    return min(times, key=lambda precision: times[precision])


def _place(model: Perceiver, batch: dict[str, Tensor], seed: int) -> None:
    """Let attention start at places."""
    if not isinstance(model.encoder, Encoder):
        raise InputError("recipe.attention_init=placed needs a Perceiver encoder; set it to even")
    generator = torch.Generator().manual_seed(seed)
    prepared = model.prepare(model.inputs.augment(batch, generator), generator)
    with torch.no_grad():
        align(model.encoder, model.decoder, model.embed(prepared.inputs), model.queries(prepared.inputs))


def _module(
    model: Perceiver,
    recipe: RecipeConfig,
    steps_per_epoch: int,
    val: Samples | None,
    folder: Path,
    seed: int,
    listener: Listener,
) -> Any:
    """The engine's view of a run. Defined inside, so that importing this file does not import the engine."""
    from lightning.pytorch import LightningModule

    class Training(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.model = model
            self.mean = copy.deepcopy(model).requires_grad_(False) if recipe.ema_decay else model
            self.steps, self.seconds, self.looks = 0, 0.0, 0
            self.best, self.primary_metric = (
                -math.inf,
                math.nan,
            )  # the selection_score of the weights that are kept, and their primary_metric
            self.loss_sum, self.right_sum, self.loss_count = 0.0, 0.0, 0
            self.interrupted = False

        # -- state that a resumed run goes on with

        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            names = ("steps", "seconds", "looks", "best", "primary_metric")
            checkpoint["run"] = {name: getattr(self, name) for name in names}

        def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            for name, value in checkpoint["run"].items():
                setattr(self, name, value)

        # -- steps

        def configure_optimizers(self) -> list[torch.optim.Optimizer]:
            return optimizers(recipe, self.model)

        def on_train_start(self) -> None:
            self.began = time.monotonic() - self.seconds
            self.handlers = {which: signal.signal(which, self.interrupt) for which in (signal.SIGINT, signal.SIGTERM)}

        def on_train_end(self) -> None:
            for which, handler in self.handlers.items():
                signal.signal(which, handler)

        def interrupt(self, *_: object) -> None:
            self.interrupted = True
            listener.stage("stopping after this step")

        def progress(self) -> float:
            shares = [0.0]
            if recipe.epochs is not None:
                shares.append(self.steps / max(1.0, recipe.epochs * steps_per_epoch))
            if recipe.minutes is not None:
                shares.append(self.seconds / (60 * recipe.minutes))
            return min(1.0, max(shares))

        def training_step(self, batch: dict[str, Tensor], _: int) -> None:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + self.steps)
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                view = self.model.inputs.augment(batch, generator)
                prepared = self.model.prepare(view, generator)
                view, target = prepared.inputs, prepared.targets
                if recipe.mixup or recipe.cutmix:
                    alphas = {"mixup": recipe.mixup, "cutmix": recipe.cutmix}
                    view, target = mix(view, self.model.inputs, target, **alphas, generator=generator)
            latents = self.model.encode(
                view, drop_rows=recipe.drop_rows, generator=generator, checkpointing=recipe.checkpointing
            )
            output = self.model.decode(latents, self.model.queries(view, prepared.query_indices)).output
            loss = self.model.loss(output, target, label_smoothing=recipe.label_smoothing)
            chosen = self.optimizers()
            chosen = chosen if isinstance(chosen, list) else [chosen]
            for optimizer in chosen:
                for group in optimizer.param_groups:
                    group["lr"] = rate(recipe, self.progress())
                optimizer.zero_grad()
            self.manual_backward(loss)
            if recipe.gradient_clip is not None:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.gradient_clip)
            for optimizer in chosen:
                optimizer.step()
            if recipe.ema_decay:
                average(self.mean, self.model, decay=recipe.ema_decay, step=self.steps)
            self.steps += 1
            self.loss_sum += loss.item()
            self.right_sum += self.model.task.training_accuracy(output, target)
            self.loss_count += 1

        def on_train_batch_end(self, *_: object) -> None:
            self.seconds = time.monotonic() - self.began
            if not math.isfinite(self.loss_sum):
                raise InputError(
                    f"the loss is {self.loss_sum} at step {self.steps}; lower it with "
                    f"--set recipe.learning_rate={recipe.learning_rate / 3:.1e}"
                )
            share = self.progress()
            figures = {
                "loss": self.loss_sum / self.loss_count,
                "training accuracy": self.right_sum / self.loss_count,
                f"best {model.task.primary_metric}": self.primary_metric,
            }
            listener.progress(share, {key: value for key, value in figures.items() if math.isfinite(value)})
            done = share >= 1
            if done or (not self.interrupted and share * LOOKS >= self.looks + 1):
                self.look(share)
            if done or self.interrupted:
                self.save()
                self.trainer.should_stop = True

        def look(self, share: float) -> None:
            """Evaluate the averaged weights, keep them if they are the best so far, note the figures."""
            self.looks = max(self.looks + 1, int(share * LOOKS))
            row = {
                "step": self.steps,
                "epoch": round(self.steps / steps_per_epoch, 2),
                "progress": round(share, 4),
                "seconds": round(self.seconds, 1),
                "loss": self.loss_sum / self.loss_count,
                "learning_rate": rate(recipe, share),
            }
            self.loss_sum, self.right_sum, self.loss_count = 0.0, 0.0, 0
            metrics = {} if val is None else evaluate_model(self.mean, val, split="val").metrics
            row |= {f"val_{name}": value for name, value in metrics.items()}
            selection_score = model.task.selection_score(metrics) if metrics else math.inf
            if not selection_score < self.best:  # one that is not a number has no better one
                self.best, self.primary_metric = selection_score, metrics.get(model.task.primary_metric, math.nan)
                checkpoints.save(self.mean, folder)
            _append_history(folder, row)
            for logger in self.loggers:
                logger.log_metrics({key: value for key, value in row.items() if key != "step"}, step=self.steps)
            self.seconds = time.monotonic() - self.began
            if not self.interrupted:
                self.save()

        def save(self) -> None:
            replace_file(folder / LAST, self.trainer.save_checkpoint)

    return Training()


def read_history(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's ``metrics.csv``."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def _append_history(folder: Path, row: dict[str, float]) -> None:
    path = folder / "metrics.csv"
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None
