"""``README.md``: the model card of a run, as the Hugging Face hub shows it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..files import replace_file
from ..models.perceiver import Perceiver
from ..models.pretrained import CARD, PICTURE
from . import drawings
from .formats import format_count, format_duration, format_metric, format_times

# What the hub calls a task on a kind of signal.
HUB_TASKS = {
    ("image", "classify"): "image-classification",
    ("audio", "classify"): "audio-classification",
    ("video", "classify"): "video-classification",
    ("text", "classify"): "text-classification",
    ("text", "mlm"): "fill-mask",
    ("table", "classify"): "tabular-classification",
    ("table", "regress"): "tabular-regression",
}
MOST_NAMED = 50  # classes
WEAKEST = 3  # classes among the limits


def write_card(
    folder: Path, report: Mapping[str, Any], *, model: Perceiver, history: Sequence[dict[str, float]]
) -> None:
    """Write the model card of a run, with a picture of how it learned.

    Args:
        folder: of the run.
        report: the content of its ``report.json``.
        model: its model.
        history: the rows that training logged.

    Raises:
        InputError: the folder cannot be written to.
    """
    name, task = folder.resolve().name, model.task
    courses = (drawings.curves(history, task, keys=(key,), file_format="png") for key in (task.primary_metric, "loss"))
    pictures = next(filter(None, courses), [])
    if pictures:
        content = base64.b64decode(pictures[0].uri.partition(",")[2])
        replace_file(folder / PICTURE, lambda path: path.write_bytes(content))
    title = pictures[0].title if pictures else None
    text = "\n".join([_front_matter(report, model), *_lines(name, report, model, title)])
    replace_file(folder / CARD, lambda path: path.write_text(text + "\n", encoding="utf-8"))


def _front_matter(report: Mapping[str, Any], model: Perceiver) -> str:
    """What the hub reads."""
    kinds = sorted({modality.kind for modality in model.inputs.modalities})
    facts: dict[str, Any] = {
        "library_name": "sensorium",
        "tags": ["sensorium", "perceiver", *kinds, report["task"]],
        "metrics": [report["primary_metric"]],
    }
    hub_task = HUB_TASKS.get((model.inputs.kind, report["task"]))
    facts |= {} if hub_task is None else {"pipeline_tag": hub_task}
    return f"---\n{yaml.safe_dump(facts, sort_keys=False)}---\n"


def _lines(name: str, report: Mapping[str, Any], model: Perceiver, picture: str | None) -> Iterator[str]:
    """The card's text, a line each; ``picture`` is the title of the picture."""
    signals = " and ".join(
        modality.name if modality.name == modality.kind else f"{modality.name} ({modality.kind})"
        for modality in model.inputs.modalities
    )
    classes = model.task.classes
    named = ", ".join(classes[:MOST_NAMED]) + (", …" if len(classes) > MOST_NAMED else "")
    yield f"# {name}\n"
    yield f"A Perceiver with {format_count(report['parameters'])} parameters that reads {signals}."
    yield f"Task: {report['task']}."
    yield f"\n{len(classes):,} {model.task.outputs_noun}: {named}.\n" if classes else ""
    yield "## How to load it\n"
    yield "```python\nimport sensorium as sm\n"
    yield f'model = sm.Perceiver.from_pretrained("{name}")  # a folder, or the name on the hub'
    yield 'answers = sm.predict(model, "file")  # paths, arrays, tables, …'
    yield 'features = sm.embed(model, "file")  # a vector for each example\n```\n'
    yield "## Scores\n"
    yield f"On {report['samples']:,} examples of the split `{report['split']}`.\n"
    yield from _scores(report, model)
    yield f"\n![{picture} over training]({PICTURE})\n" if picture else ""
    yield "## Data\n"
    yield "What was assumed of the data:\n" if report["assumptions"] else "Nothing of the data had to be guessed.\n"
    yield from (f"* {assumption['topic']}: {assumption['text']}" for assumption in report["assumptions"])
    yield "\n## Limits\n"
    yield from (f"* {limit}" for limit in _limits(report, model))
    yield "\n## Training\n"
    yield f"{format_duration(report['train_seconds'])}, seed {report['seed']}, with {_versions(report)}.\n"
    yield f"```yaml\n{yaml.safe_dump(report['config'].get('recipe', {}), sort_keys=False)}```"


def _scores(report: Mapping[str, Any], model: Perceiver) -> Iterator[str]:
    """A table of the metrics, of this model and of the simple ones beside it."""
    beside = [*report.get("baselines", ()), *([report["majority"]] if "majority" in report else [])]
    yield "| metric | this model | " + "".join(f"{simple['name']} | " for simple in beside)
    yield "|---|---|" + "---|" * len(beside)
    for name, value in report["metrics"].items():
        cells = [value, *(simple["metrics"].get(name) for simple in beside)]
        shown = ["–" if cell is None else format_metric(cell, model.task, name) for cell in cells]
        yield f"| {model.task.metric_title(name)} | " + " | ".join(shown) + " |"


def _limits(report: Mapping[str, Any], model: Perceiver) -> Iterator[str]:
    """What a user of the model should not expect of it."""
    yield "It was trained on the data above alone; on others, score it first: `sensorium evaluate RUN DATA`."
    if report["seen_in_training"]:
        yield f"{report['seen_in_training']:,} of the scored examples were seen in training: the scores are too good."
    if "accuracy_interval" in report:
        low, high = report["accuracy_interval"]
        yield f"Of so many examples, the accuracy is known as {low:.1%} to {high:.1%} (95 % interval)."
    leading, per_class = model.task.leading_score, report.get("per_class", {})
    if leading is not None and len(per_class) > WEAKEST:
        known = [(scores[leading], name) for name, scores in per_class.items() if scores[leading] is not None]
        weakest = ", ".join(f"{name} ({score:.2f})" for score, name in sorted(known)[:WEAKEST])
        yield f"Weakest by {model.task.metric_title(leading)}: {weakest}."
    if report["set_aside"]:
        yield f"{format_times(len(report['set_aside']), 'example')} could not be read."
    yield from report["warnings"]


def _versions(report: Mapping[str, Any]) -> str:
    return ", ".join(f"{library} {number}" for library, number in report["versions"].items())
