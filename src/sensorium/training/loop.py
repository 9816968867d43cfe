"""Training a model: the only file that imports the engine (Lightning), and only ``run.train`` imports this file."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch import Tensor
from torchdata.stateful_dataloader import StatefulDataLoader

from ..data import Samples
from ..errors import InputError
from ..files import replace_file
from ..inference.evaluate import evaluate_model
from ..models import checkpoints
from ..models.perceiver import Perceiver
from ..models.recipe import RecipeConfig
from ..nn import Encoder
from .aligned import align
from .batches import Drawn, EpochBatches
from .ema import averaged
from .mixing import mix
from .optimizers import optimizers
from .plan import RunConfig
from .precision import faster_precision
from .progress import Interrupted, Listener
from .run_folder import LAST, append_history
from .schedule import learning_rate

VALIDATIONS = 20  # validation passes over a run, at most
APART = 7  # training examples between two passes for each validated one: with a backward pass, 5 % of the time
ALIGNED_ON = 8  # examples that the aligned initialisation measures
WORKERS = 4  # processes that decode batches ahead
LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")  # of advertisements
STATE = (
    "steps",
    "seconds",
    "validations",
    "validated_at",
    "best_score",
    "best_metric",
)  # of the module, in a checkpoint


def fit(
    model: Perceiver,
    train: Samples,
    val: Samples | None,
    *,
    config: RunConfig,
    folder: Path,
    listener: Listener,
) -> float:
    """Train a model and return the seconds it took. The best weights are written to ``folder`` as they are found.

    The run continues from ``checkpoints/last.ckpt`` where that exists. Without a validation split the last weights are
    kept.

    Args:
        model: freshly initialised, or with weights taken over from another run.
        train, val: the decoded splits; ``val`` None: there is no validation split.
        config: the run's configuration; its recipe and seed are used.
        folder: the run folder.
        listener: receives the progress.

    Raises:
        Interrupted: stopped by a signal, after saving.
        InputError: the loss is not finite.
    """
    batches = EpochBatches(train.drawn_from, config.recipe.batch_size, seed=config.seed)
    drawn = Drawn(train)
    last, recipe = folder / LAST, config.recipe
    if recipe.precision == "auto":
        listener.stage("measuring which precision is faster")
        recipe = replace(recipe, precision=faster_precision(model, train.drawn(next(iter(batches)))))
    if recipe.attention_init == "aligned" and config.start is None and not last.exists():
        _align(model, train.drawn(list(range(min(ALIGNED_ON, len(drawn))))), config.seed)
    module = Training(
        model,
        recipe,
        drawn=drawn,
        steps_per_epoch=len(batches),
        val=val,
        folder=folder,
        seed=config.seed,
        listener=listener,
    )
    listener.stage("training")
    with quiet_engine():
        _trainer(recipe, folder).fit(
            module,
            # Samples that stay in memory are decoded once; others are decoded ahead of the steps by other processes.
            StatefulDataLoader(
                drawn,
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


@contextmanager
def quiet_engine() -> Iterator[None]:
    """Without the engine's advertisements and warnings; afterwards its loggers and all warnings are as before."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning|torchdata")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _trainer(recipe: RecipeConfig, folder: Path) -> Trainer:
    """The engine, which runs until the module says that it should stop."""
    loggers: list[Logger] = []
    if find_spec("tensorboard") is not None:
        loggers.append(TensorBoardLogger(save_dir=folder, name="", version="tensorboard"))
    return Trainer(
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


def _align(model: Perceiver, batch: dict[str, Tensor], seed: int) -> None:
    """Initialise attention so that it starts where positions agree."""
    if not isinstance(model.encoder, Encoder):
        raise InputError("recipe.attention_init=aligned needs a Perceiver encoder; set it to default")
    generator = torch.Generator().manual_seed(seed)
    prepared = model.prepare(model.inputs.augment(batch, generator), generator)
    with torch.no_grad():
        align(model.encoder, model.decoder, model.embed(prepared.inputs), model.queries(prepared.inputs))


@dataclass
class _Sums:
    """Sums over the steps since the last validation pass."""

    loss: float = 0.0
    training_accuracy: float = 0.0
    steps: int = 0


class Training(LightningModule):
    """The engine's view of a run: what a step, a validation pass and a checkpoint are.

    Attributes:
        steps, seconds: of training so far.
        validations: validation passes so far.
        validated_at: the step of the last one.
        best_score, best_metric: the selection score and the primary metric of the weights that are kept.
        interrupted: whether a signal asked the run to stop.
    """

    def __init__(
        self,
        model: Perceiver,
        recipe: RecipeConfig,
        *,
        drawn: Drawn,
        steps_per_epoch: int,
        val: Samples | None,
        folder: Path,
        seed: int,
        listener: Listener,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.ema = averaged(model, decay=recipe.ema_decay) if recipe.ema_decay else None
        self.recipe, self.steps_per_epoch, self.val, self.folder = recipe, steps_per_epoch, val, folder
        self.drawn = drawn
        self.seed, self.listener = seed, listener
        self.steps, self.seconds, self.validations, self.validated_at = 0, 0.0, 0, 0
        self.best_score, self.best_metric = -math.inf, math.nan
        self.sums = _Sums()
        self.interrupted = False

    @property
    def kept(self) -> Perceiver:
        """The model that is validated and kept: the moving average, where there is one."""
        return self.model if self.ema is None else cast(Perceiver, self.ema.module)

    # -- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["run"] = {name: getattr(self, name) for name in STATE}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["run"].items():
            setattr(self, name, value)

    def save(self) -> None:
        """Write the checkpoint that a resumed run goes on with."""
        replace_file(self.folder / LAST, self.trainer.save_checkpoint)

    # -- start and end

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return optimizers(self.recipe, self.model)

    def on_train_start(self) -> None:
        self.began = time.monotonic() - self.seconds
        self.handlers = {number: signal.signal(number, self.interrupt) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_train_end(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Called by a signal: the run stops after the current step."""
        self.interrupted = True
        self.listener.stage("stopping after this step")

    def share_done(self) -> float:
        """The share of the run that is done, 0 to 1: by epochs or by minutes, whichever is further."""
        shares = [0.0]
        if self.recipe.epochs is not None:
            shares.append(self.steps / max(1.0, self.recipe.epochs * self.steps_per_epoch))
        if self.recipe.minutes is not None:
            shares.append(self.seconds / (60 * self.recipe.minutes))
        return min(1.0, max(shares))

    # -- steps

    def on_before_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        self.drawn.learn(batch)
        return batch

    def training_step(self, batch: dict[str, Tensor], _: int) -> None:
        """One step of the optimizers. What is random in it depends on the seed and the step's number alone."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.steps)
        inputs, target, query_indices = self._prepare(batch, generator)
        array = self.model.embed(inputs)
        latents = self.model.encode(
            array, drop_rows=self.recipe.drop_rows, generator=generator, checkpointing=self.recipe.checkpointing
        )
        output = self.model.decode(latents, self.model.queries(inputs, query_indices, array=array)).output
        loss = self.model.loss(output, target, label_smoothing=self.recipe.label_smoothing)
        self._update(loss)
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        self.steps += 1
        self.sums.loss += loss.item()
        self.sums.training_accuracy += self.model.task.training_accuracy(output, target)
        self.sums.steps += 1

    def _prepare(
        self, batch: dict[str, Tensor], generator: torch.Generator
    ) -> tuple[dict[str, Tensor], Any, Tensor | None]:
        """The augmented inputs, the targets and the query indices of a batch, mixed where the recipe says so."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            view = self.model.inputs.augment(batch, generator)
            prepared = self.model.prepare(view, generator)
            inputs, target = prepared.inputs, prepared.targets
            if self.recipe.mixup or self.recipe.cutmix:
                inputs, target = mix(
                    inputs,
                    self.model.inputs,
                    target,
                    mixup=self.recipe.mixup,
                    cutmix=self.recipe.cutmix,
                    generator=generator,
                )
        return inputs, target, prepared.query_indices

    def _update(self, loss: Tensor) -> None:
        """The backward pass and a step of each optimizer."""
        chosen = self.optimizers()
        chosen = chosen if isinstance(chosen, list) else [chosen]
        for optimizer in chosen:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(self.recipe, self.share_done())
            optimizer.zero_grad()
        self.manual_backward(loss)
        if self.recipe.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_clip)
        for optimizer in chosen:
            optimizer.step()

    def on_train_batch_end(self, *_: object) -> None:
        self.seconds = time.monotonic() - self.began
        if not math.isfinite(self.sums.loss):
            raise InputError(
                f"the loss is {self.sums.loss} at step {self.steps}; lower it with "
                f"--set recipe.learning_rate={self.recipe.learning_rate / 3:.1e}"
            )
        share = self.share_done()
        figures = {
            "loss": self.sums.loss / self.sums.steps,
            "training accuracy": self.sums.training_accuracy / self.sums.steps,
            f"best {self.model.task.primary_metric}": self.best_metric,
        }
        self.listener.progress(share, {key: value for key, value in figures.items() if math.isfinite(value)})
        done = share >= 1
        if done or (not self.interrupted and self.is_due(share)):
            self.validate(share)
        if done or self.interrupted:
            self.save()
            self.trainer.should_stop = True

    def _evaluated(self, val: Samples) -> dict[str, float]:
        """The metrics of the validation split, in the precision that trains: only their order matters."""
        with self.trainer.precision_plugin.forward_context():
            return evaluate_model(self.kept, val, split="val").metrics

    def is_due(self, share: float) -> bool:
        """Whether it is time for a validation pass. It depends on what was trained since the last one, not on seconds,
        so that runs of some epochs repeat themselves."""
        validated = 0 if self.val is None else len(self.val) * self.model.inputs.num_views
        trained = (self.steps - self.validated_at) * self.recipe.batch_size
        return share * VALIDATIONS >= self.validations + 1 and trained >= APART * validated

    def validate(self, share: float) -> None:
        """Evaluate the weights on the validation split, keep them if they are the best so far, and write the figures
        to the run's history.

        Args:
            share: of the run that is done.
        """
        self.validations = max(self.validations + 1, int(share * VALIDATIONS))
        self.validated_at = self.steps
        row = {
            "step": self.steps,
            "epoch": round(self.steps / self.steps_per_epoch, 2),
            "progress": round(share, 4),
            "seconds": round(self.seconds, 1),
            "loss": self.sums.loss / self.sums.steps,
            "learning_rate": learning_rate(self.recipe, share),
        }
        self.sums = _Sums()
        task = self.model.task
        metrics = {} if self.val is None else self._evaluated(self.val)
        row |= {f"val_{name}": value for name, value in metrics.items()}
        score = task.selection_score(metrics) if metrics else math.inf
        if not score < self.best_score:  # of a score that is not a number none is better
            self.best_score, self.best_metric = score, metrics.get(task.primary_metric, math.nan)
            checkpoints.save(self.kept, self.folder)
        append_history(self.folder, row)
        for logger in self.loggers:
            logger.log_metrics({key: value for key, value in row.items() if key != "step"}, step=self.steps)
        self.seconds = time.monotonic() - self.began
        if not self.interrupted:
            self.save()
