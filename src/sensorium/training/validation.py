"""When a run is validated, and what happens then: the best weights so far are kept."""

from __future__ import annotations

import math
from pathlib import Path

from ..data import Samples
from ..inference.evaluate import evaluate_model
from ..models import checkpoints
from ..models.perceiver import Perceiver
from ..models.recipe import RecipeConfig
from ..nn.initialisation import empty_weights
from ..processes import is_main
from .precision import products_in
from .run_state import Counters, RunState
from .schedule import learning_rate
from .sharding import is_sharded, whole

VALIDATIONS = 20  # validation passes over a run, at most
APART = 7  # training examples between two passes for each validated one: with a backward pass, 5 % of the time


def is_due(counters: Counters, share: float, *, batch_size: int, validated: int) -> bool:
    """Whether it is time for a validation pass. It depends on what was trained since the last one, not on seconds, so
    that runs of some epochs repeat themselves.

    Args:
        counters: how far the run is.
        share: of the run that is done.
        batch_size: of a step.
        validated: views of examples in a pass.
    """
    if share >= 1:
        return counters.validated_at < counters.steps
    trained = (counters.steps - counters.validated_at) * batch_size
    return share * VALIDATIONS >= counters.validations + 1 and trained >= APART * validated


def validate(
    state: RunState, val: Samples | None, *, recipe: RecipeConfig, steps_per_epoch: int, loss: float, folder: Path
) -> dict[str, float]:
    """Evaluate the weights on the validation split, and keep them if they are the best so far; without a split they are
    the best. All processes must call this; they share the work, and the main one writes.

    Args:
        state: of the run. Its counters move on, and its sums begin anew.
        val: the split; None: there is none.
        recipe, steps_per_epoch: of the run.
        loss: the mean over the steps since the last pass.
        folder: the run folder.

    Returns:
        the row of the run's history.
    """
    counters, task = state.counters, state.model.task
    share = counters.share_done(recipe, steps_per_epoch)
    row = {
        "step": counters.steps,
        "epoch": round(counters.steps / steps_per_epoch, 2),
        "progress": round(share, 4),
        "seconds": round(counters.seconds, 1),
        "loss": loss,
        "learning_rate": learning_rate(recipe, share),
    }
    state.agree()
    model, metrics = _whole_model(state.kept), {}
    if val is not None:
        with products_in(state.precision, state.sums.loss.device):  # the one that trains: only the order matters
            evaluation = evaluate_model(model, val, split="val", shared=True)
        metrics, counters.validated = evaluation.metrics, evaluation.views
    counters.validations = max(counters.validations + 1, int(share * VALIDATIONS))
    counters.validated_at = counters.steps
    state.sums = state.sums.zero(state.sums.loss.device)
    score = task.selection_score(metrics) if metrics else math.inf
    if not score < counters.best_score:  # of a score that is not a number none is better
        counters.best_score, counters.best_metric = score, metrics.get(task.primary_metric, math.nan)
        if is_main():
            checkpoints.save(model, folder)
    return row | {f"val_{name}": value for name, value in metrics.items()}


def _whole_model(model: Perceiver) -> Perceiver:
    """A model, or a copy with whole weights of one that is sharded: its shards are gathered for every call, but the
    processes do not make equally many calls here."""
    if not is_sharded(model):
        return model
    with empty_weights():
        copy = Perceiver(model.config)
    copy.load_state_dict(whole(model.state_dict()))
    return copy.to(next(model.parameters()).device)
