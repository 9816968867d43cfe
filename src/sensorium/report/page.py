"""``report.html``: the report as one page that needs neither a network nor scripts; its pictures are inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..data import EVERYTHING, Assumption, Samples
from ..errors import InputError
from ..files import replace_file
from ..inference.baselines import Beside
from ..inference.evaluate import Evaluation
from ..models.perceiver import Perceiver
from ..tasks.base import Task
from . import drawings, examples
from .formats import format_count, format_duration, format_metric, format_percent, format_times
from .summary import collect, to_json
from .templating import render

MAX_SCATTERS = 12
MAX_MATRIX_CLASSES = 40  # of a confusion matrix that is drawn


@dataclass(frozen=True)
class ComparedLine:
    """A line of the table that compares the model with simple ones.

    Attributes:
        name: of the model.
        score: the primary metric as text.
        value: the same as a number; None: it is not defined.
        note: how it was computed.
    """

    name: str
    score: str
    value: float | None
    note: str


def write_report(
    folder: Path,
    *,
    model: Perceiver,
    samples: Samples,
    evaluation: Evaluation,
    config: dict[str, Any],
    train_seconds: float,
    seed: int,
    history: Sequence[dict[str, float]] = (),
    warnings: Sequence[str] = (),
    assumptions: Sequence[Assumption] = (),
    beside: Beside | None = None,
) -> dict[str, Any]:
    """Write ``report.json`` and ``report.html`` to a folder; each replaces the old file only once it is complete.

    Args:
        samples: the examples that were evaluated, for pictures and names.
        evaluation: the result of :func:`evaluate`.
        config: the run's configuration as plain values.
        train_seconds: how long training took.
        seed: of the run.
        history: the rows that training logged, in order. Of the keys ``seconds``, ``progress``, ``step``, ``loss``,
            ``learning_rate``, the primary metric and ``val_…``, those present are drawn.
        warnings: lines for the user to read.
        assumptions: what was guessed of the data.
        beside: simple models on the same examples, to compare with; None: there are none.

    Returns:
        The content of ``report.json``.

    Raises:
        InputError: the examples have no targets, or the folder cannot be written to.
    """
    if evaluation.targets is None and model.task.per_example:
        raise InputError(f"the {evaluation.split} split has no labels, so there is nothing to report; add labels")
    report = collect(
        model,
        samples,
        evaluation,
        config=config,
        train_seconds=train_seconds,
        seed=seed,
        warnings=warnings,
        assumptions=assumptions,
        beside=beside or Beside(),
    )
    # The numbers first: a failure to draw must not lose them.
    replace_file(folder / "report.json", lambda path: path.write_text(to_json(report), encoding="utf-8"))
    text = _page(folder, report, model=model, samples=samples, evaluation=evaluation, history=history)
    replace_file(folder / "report.html", lambda path: path.write_text(text, encoding="utf-8"))
    return report


def _page(
    folder: Path,
    report: Mapping[str, Any],
    *,
    model: Perceiver,
    samples: Samples,
    evaluation: Evaluation,
    history: Sequence[dict[str, float]],
) -> str:
    """The page of a report; arguments are those of :func:`write_report`."""
    return render(
        "report.html",
        name=folder.resolve().name,
        versions=report["versions"],
        report=report,
        task=model.task,
        cards=_cards(report, model),
        compared=_compared(report, model),
        steps=_model_steps(report, model),
        curves=drawings.curves(history, model.task),
        class_lines=_class_lines(report, model.task),
        matrix=report["confusion"] if len(report["classes"]) <= MAX_MATRIX_CLASSES and "confusion" in report else None,
        scatters=_scatters(evaluation, model.task),
        galleries=examples.galleries(model, samples, evaluation),
        illustrations=None if model.task.per_example else examples.illustrations(model, samples),
        attention=examples.attention_table(model, samples, evaluation),
        picture_style=examples.picture_style(model.inputs),
        square=model.inputs.drawn_square,
        config_yaml=yaml.safe_dump(report["config"], sort_keys=False, allow_unicode=True, width=110),
    )


def _num_outputs(report: Mapping[str, Any], model: Perceiver) -> int:
    return len(report["classes"]) or model.num_queries


def _cards(report: Mapping[str, Any], model: Perceiver) -> list[tuple[str, str]]:
    """A large text and a small one for each card below the title, the primary metric first."""
    name = report["primary_metric"]
    note = model.task.metric_title(name)
    if "accuracy_interval" in report:
        low, high = map(format_percent, report["accuracy_interval"])
        note += f"; 95 % interval {low} to {high}"
    return [
        (format_metric(report["metrics"][name], model.task, name), note),
        (f"{report['samples']:,}", _examples_note(report)),
        (f"{_num_outputs(report, model):,}", model.task.outputs_noun),
        (format_count(report["parameters"]), "parameters"),
        (format_duration(report["train_seconds"]), f"of training, seed {report['seed']}"),
    ]


def _compared(report: Mapping[str, Any], model: Perceiver) -> list[ComparedLine]:
    """This model and the simple ones beside it, the main metric of each; empty where there are none."""
    if "majority" not in report:
        return []
    name = report["primary_metric"]
    lines = [("this model", report["metrics"][name], "")]
    for simple in (*report["baselines"], report["majority"]):
        note = f"fitted on {format_times(simple['trained_on'], 'example')}"
        if simple["seconds"]:
            note += f" in {format_duration(simple['seconds'])}"
        if simple["scored_on"] < report["samples"]:
            note += f"; scored on {simple['scored_on']:,} of the {report['samples']:,} examples, evenly chosen"
        lines.append((simple["name"], simple["metrics"][name], note if simple is not report["majority"] else ""))
    return [ComparedLine(line, format_metric(value, model.task, name), value, note) for line, value, note in lines]


def _examples_note(report: Mapping[str, Any]) -> str:
    """What the examples are, and how many of them the model knows from training."""
    seen = report["seen_in_training"]
    which = "examples, all splits" if report["split"] == EVERYTHING else f"examples, {report['split']} split"
    return f"{which}; {seen:,} seen in training, so the figure is too good" if seen else which


def _model_steps(report: Mapping[str, Any], model: Perceiver) -> list[tuple[str, str]]:
    """The way of the data through the model: the name of each step and its sizes."""
    rows = f"{'up to ' if model.inputs.ragged else ''}{model.inputs.num_rows:,} rows"
    return [
        (" + ".join(part.name for part in model.inputs.modalities), f"{rows} × {model.inputs.channels:,} channels"),
        *_encoder_steps(model),
        (report["task"], f"{_num_outputs(report, model):,} {model.task.outputs_noun}"),
    ]


def _encoder_steps(model: Perceiver) -> list[tuple[str, str]]:
    """A Perceiver's cross-attends, latents and latent transformers; another backbone has one step, its kind."""
    config, weights = model.config.encoder, model.cross_attends
    if not hasattr(config, "latent_transformer"):
        return [(str(getattr(config, "kind", "backbone")), "")]
    transformers = [number for number in config.latent_transformer if number is not None]
    layers, heads = (
        format_times(config.num_layers, "layer"),
        format_times(config.num_self_attention_heads, "head"),
    )
    return [
        (
            f"{len(weights)} × cross-attend",
            f"{_sets_of_weights(weights)}, {format_times(config.num_cross_attention_heads, 'head')}",
        ),
        ("latents", f"{config.num_latents:,} × {config.latent_channels:,} channels"),
        (f"{len(transformers)} × latent transformer", f"{_sets_of_weights(transformers)}, {layers}, {heads}"),
    ]


def _sets_of_weights(numbers: Sequence[int]) -> str:
    return format_times(len(set(numbers)), "set of weights", "sets of weights")


def _class_lines(report: Mapping[str, Any], task: Task) -> list[tuple[str, Mapping[str, Any]]]:
    """The name and the scores of each class, the weakest first; those whose leading score is not defined last."""
    leading = task.leading_score
    lines = list(report.get("per_class", {}).items())
    if leading is None:
        return lines
    return sorted(lines, key=lambda line: (line[1][leading] is None, line[1][leading] or 0.0))


def _scatters(evaluation: Evaluation, task: Task) -> list[drawings.Picture]:
    if evaluation.targets is None:
        return []
    pairs = list(task.value_pairs(evaluation.scores, evaluation.targets).items())[:MAX_SCATTERS]
    return [drawings.Picture(name, drawings.scatter(predicted, true)) for name, (predicted, true) in pairs]
