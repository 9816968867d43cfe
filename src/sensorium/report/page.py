"""The report as one page that needs nothing else: no network, no scripts, pictures inside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml

from ..data import Samples
from ..errors import InputError
from ..files import replace_file
from ..inference.evaluate import Evaluation
from ..models.perceiver import Perceiver
from . import drawings, gallery, tables
from .style import STYLE
from .summary import amount, collect, duration, figure, percent

MOST_SCATTERS = 12
SHARES = ("accuracy", "accuracy_top5", "balanced_accuracy", "f1", "mAP")  # metrics told in percent
METRIC_NAMES = {
    "accuracy": "Accuracy",
    "accuracy_top5": "Accuracy, best five",
    "balanced_accuracy": "Balanced accuracy",
    "f1": "F1, mean of classes",
    "mAP": "Mean average precision",
    "r2": "R²",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "psnr": "Peak signal-to-noise ratio, dB",
    "explained": "Share of a constant answer's error that is gone",
    "epe": "Mean end-point error, pixels",
    "still": "End-point error of answering no motion, pixels",
    "loss": "Loss",
}


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
) -> dict[str, Any]:
    """Write ``report.json`` and ``report.html`` to a folder, each whole or not at all.

    Args:
        samples: what was evaluated, for the pictures and the names.
        evaluation: as :func:`evaluate` gives it.
        config: what was trained and how, plain values.
        train_seconds: how long that took.
        seed: of the run.
        history: what training logged, in order; of the keys ``seconds``, ``progress``, ``step``, ``loss``,
            ``learning_rate``, the primary_metric metric and ``val_…`` those present are drawn.
        warnings: what the user should know, a line each.

    Returns:
        What is in ``report.json``.

    Raises:
        InputError: there are no targets to compare with, or the folder cannot be written to.
    """
    if evaluation.targets is None and model.task.per_example:
        raise InputError(f"the {evaluation.split} split has no labels, so there is nothing to report; add labels")
    report = collect(
        model, samples, evaluation, config=config, train_seconds=train_seconds, seed=seed, warnings=warnings
    )
    # The numbers first: they are what must not be lost.
    replace_file(folder / "report.json", lambda path: path.write_text(_json(report), encoding="utf-8"))
    text = _page(folder.resolve().name, report, model, samples, evaluation, history)
    replace_file(folder / "report.html", lambda path: path.write_text(text, encoding="utf-8"))
    return report


def _json(report: Mapping[str, Any]) -> str:
    """One line per key, so that a matrix does not take a line per number."""
    lines = [
        f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
        for key, value in report.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _page(
    name: str,
    report: Mapping[str, Any],
    model: Perceiver,
    samples: Samples,
    evaluation: Evaluation,
    history: Sequence[Mapping[str, Any]],
) -> str:
    sections = [
        section("What was trained", _trained(report, model)),
        section("How it learned", _curves(history, model)),
        section("How right it is", _scores(report, evaluation)),
        section("Examples", gallery.examples(model, samples, evaluation)),
        section("Where it looked", _shares(report) + gallery.gazes(model, samples, evaluation)),
        section("Warnings", _list(report["warnings"])),
        section(f"Set aside: {len(report['set_aside'])} unreadable", _list(report["set_aside"])),
        section("Configuration", _configuration(report)),
    ]
    return document(
        name, kicker="sensorium report", head=_headline(report, model), sections=sections, versions=report["versions"]
    )


def document(name: str, *, kicker: str, head: str, sections: Iterable[str], versions: Mapping[str, str]) -> str:
    """A whole page.

    Args:
        name: its title.
        kicker: what sort of page it is.
        head: HTML below the title.
        sections: as :func:`section` gives them.
        versions: of what made it, for the footer.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(name)} · {escape(kicker)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<p class="kicker">{escape(kicker)}</p>
<h1>{escape(name)}</h1>
{head}
</header>
<main>
{"".join(sections)}
</main>
<footer>{" · ".join(f"{escape(what)} {escape(version)}" for what, version in versions.items())}</footer>
</body>
</html>
"""


def section(title: str, content: str) -> str:
    """A titled section; nothing where there is nothing to show."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>\n" if content else ""


def _headline(report: Mapping[str, Any], model: Perceiver) -> str:
    """A row of cards: the metric by which models are compared, and what it took."""
    name = report["primary_metric"]
    value = report["metrics"][name]
    note = METRIC_NAMES.get(name, name)
    if report["task"] == "classify":
        low, high = report["accuracy_interval"]
        most = max(scores["count"] for scores in report["per_class"].values()) / report["samples"]
        note = f"{note}; 95 % interval {percent(low)} to {percent(high)}. Always the commonest class: {percent(most)}"
    count, what = (
        len(report["classes"]),
        {"classify": "classes", "tag": "tags", "regress": "targets"}.get(report["task"]),
    )
    if what is None:
        count, what = model.num_queries, "places of an example, asked for one by one"
    cards = [
        (_metric(name, value), note),
        (f"{report['samples']:,}", f"examples, {report['split']} split"),
        (f"{count:,}", what),
        (amount(report["parameters"]), "parameters"),
        (duration(report["train_seconds"]), f"of training, seed {report['seed']}"),
    ]
    told = "".join(f'<div class="card"><b>{escape(big)}</b><span>{escape(small)}</span></div>' for big, small in cards)
    return f'<div class="cards">{told}</div>'


def _trained(report: Mapping[str, Any], model: Perceiver) -> str:
    """The way of the data through the model."""
    encoder = model.config.encoder
    latents = ("latents", f"{model.encoder.num_latents:,} × {model.encoder.latent_channels:,}")
    stages = [latents]
    if hasattr(encoder, "latent_transformer"):
        reads = [number for number in encoder.cross_attention if number is not None]
        processes = [number for number in encoder.latent_transformer if number is not None]
        stages = [
            (_times(len(reads), "read"), f"{_weights(reads)}, {_times(encoder.num_cross_attention_heads, 'head')}"),
            latents,
            (
                _times(len(processes), "process", "processes"),
                f"{_weights(processes)}, {_times(encoder.num_layers, 'layer')}, "
                f"{_times(encoder.num_self_attention_heads, 'head')}",
            ),
        ]
    up_to = "up to " if model.inputs.ragged else ""
    steps = [
        (
            " + ".join(modality.name for modality in model.inputs.modalities),
            f"{up_to}{model.inputs.num_rows:,} rows × {model.inputs.channels:,} channels",
        ),
        *stages,
        (report["task"], f"{len(report['classes']) or model.num_queries:,} outputs"),
    ]
    told = "".join(f"<li><b>{escape(big)}</b><span>{escape(small)}</span></li>" for big, small in steps)
    return f'<ol class="path">{told}</ol>'


def _curves(history: Sequence[Mapping[str, Any]], model: Perceiver) -> str:
    name = model.task.primary_metric
    return pictures((METRIC_NAMES.get(title, title), picture) for title, picture in drawings.curves(history, name))


def _shares(report: Mapping[str, Any]) -> str:
    """How much of the attention each modality got; nothing where there is but one."""
    if "attention_shares" not in report:
        return ""
    told = "The share of the attention that each modality got; an example that lacks one gives it none."
    return f'<p class="soft">{told}</p>{tables.attention_shares(report["attention_shares"])}'


def _scores(report: Mapping[str, Any], evaluation: Evaluation) -> str:
    metrics = "".join(
        f'<tr><th scope="row">{escape(METRIC_NAMES.get(name, name))}</th>'
        f'<td class="number">{_metric(name, value)}</td></tr>'
        for name, value in report["metrics"].items()
    )
    overall = f"<h3>Overall</h3><table><tbody>{metrics}</tbody></table>"
    if "per_class" not in report:
        return overall
    if report["task"] == "regress":
        return f"{overall}<h3>Each target</h3>{tables.per_class(report)}{_scatters(report, evaluation)}"
    if report["task"] == "tag":
        return f"{overall}<h3>Each tag, the weakest first</h3>{tables.per_class(report)}"
    confusions = f"<div>{overall}<h3>Most frequent confusions</h3>{tables.worst_confusions(report)}</div>"
    matrix = tables.confusion(report)
    matrix = f"<div><h3>Confusion matrix</h3>{matrix}</div>" if matrix else ""
    return (
        f'<div class="side">{matrix}{confusions}</div><h3>Each class, the weakest first</h3>{tables.per_class(report)}'
    )


def _scatters(report: Mapping[str, Any], evaluation: Evaluation) -> str:
    assert evaluation.targets is not None
    scores, targets = evaluation.scores, evaluation.targets.reshape(evaluation.scores.shape)
    names = report["classes"][:MOST_SCATTERS]
    return "<h3>Predicted against true</h3>" + pictures(
        (name, drawings.scatter(scores[:, place], targets[:, place])) for place, name in enumerate(names)
    )


def _configuration(report: Mapping[str, Any]) -> str:
    text = yaml.safe_dump(report["config"], sort_keys=False, allow_unicode=True, width=110)
    return f"<details><summary>What was trained and how, as YAML</summary><pre>{escape(text)}</pre></details>"


def pictures(drawn: Iterable[tuple[str, str]]) -> str:
    """Pictures (title, data URI) side by side; nothing where there are none."""
    told = "".join(
        f'<figure><figcaption>{escape(title)}</figcaption><img src="{picture}" alt="{escape(title)}"></figure>'
        for title, picture in drawn
    )
    return f'<div class="pictures">{told}</div>' if told else ""


def _list(lines: Sequence[str]) -> str:
    return f'<ul class="plain">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>' if lines else ""


def _metric(name: str, value: float | None) -> str:
    return percent(value) if name in SHARES else figure(value)


def _times(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _weights(numbers: Sequence[int]) -> str:
    """How often the same weights are used again."""
    return _times(len(set(numbers)), "set of weights", "sets of weights")
