"""Examples, drawn: some that are right, those that are most surely wrong, and where the model looked."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from ..data import Samples
from ..inference.evaluation import Evaluation, explain_reads, flows, one, reconstructed, seen
from ..models.perceiver import Perceiver
from ..tasks import Flow, Reconstruct
from . import drawings
from .summary import figure, percent

SHOWN = 8  # examples of each sort
GAZES = 4  # examples whose attention is shown
MOST_READS = 4  # of which it is shown
LEGEND = (
    "How much each place was read, over all heads and latents: the stronger the colour, the more."
    " Half strength or less throughout is an even gaze."
)
MOTION = (
    "Colours tell where to (right red, down yellow, left cyan, up violet), their strength how far, up to the largest"
    " motion of the row; black is unknown."
)
MOST_NAMES = 3  # tags or targets in a caption
TITLES = {
    "classify": ("Right", "Wrong, and most sure of it"),
    "tag": ("Every tag right", "Furthest off"),
    "regress": ("Close", "Furthest off"),
}


def examples(model: Perceiver, samples: Samples, evaluation: Evaluation) -> str:
    """Two galleries with captions: what was answered, how surely, and what it is."""
    kind = model.task.config.kind
    if isinstance(model.task, Flow):
        return _motions(model, samples)
    if not model.task.per_example:
        return _reconstructions(model, samples) if isinstance(model.task, Reconstruct) else ""
    right, wrong = _choose(model, evaluation)
    return "".join(
        f"<h3>{title}</h3>{_gallery(model, samples, evaluation, chosen, verdict)}"
        for title, chosen, verdict in zip(TITLES[kind], (right, wrong), ("right", "wrong"), strict=True)
        if chosen
    )


def _reconstructions(model: Perceiver, samples: Samples) -> str:
    """A row per example: the signal, and what the model says it is where it was hidden."""
    chosen = _evenly(list(range(len(samples))), SHOWN)
    rows = []
    for index in chosen:
        view = seen(model, samples, [index])
        pictures = [drawings.signal(model.inputs, each, 0) for each in (view, reconstructed(model, view))]
        cells = "".join(f'<td><img src="{picture}" alt=""></td>' for picture in pictures)
        rows.append(f'<tr><th scope="row">{escape(_short(samples.names[index]))}</th>{cells}</tr>')
    return (
        f'<div class="scroll"><table class="gazes" style="{_shape(model)}"><thead><tr><th></th>'
        f'<th scope="col">Signal</th><th scope="col">Reconstruction</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _motions(model: Perceiver, samples: Samples) -> str:
    """A row per example: the first frame, the motion that the model sees, and the true one in the same colours."""
    rows = []
    for index in _evenly(list(range(len(samples))), SHOWN):
        view, found, true = flows(model, samples, index)
        known = [each.numpy() for each in (found, true) if each is not None]
        largest = max(float(np.nanmax(np.hypot(*each), initial=0)) for each in known)
        pictures = [drawings.signal(model.inputs, view, 0), *(drawings.motion(each, largest) for each in known)]
        cells = "".join(f'<td><img src="{picture}" alt=""></td>' for picture in pictures)
        told = f"<br>at most {figure(largest)} px"
        rows.append(f'<tr><th scope="row">{escape(_short(samples.names[index]))}{told}</th>{cells}</tr>')
    return (
        f'<p class="soft">{MOTION}</p>'
        f'<div class="scroll"><table class="gazes" style="{_shape(model)}"><thead><tr><th></th>'
        f'<th scope="col">First frame</th><th scope="col">Prediction</th><th scope="col">Truth</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def gazes(model: Perceiver, samples: Samples, evaluation: Evaluation) -> str:
    """A row per example: the signal, then the heat of the first and last read and distinct ones between."""
    if model.task.per_example:
        right, wrong = _choose(model, evaluation)
        chosen = _evenly(right or wrong, GAZES)
    else:
        chosen = _evenly(list(range(len(samples))), GAZES)
    reads = _distinct_reads(model)
    if not reads:
        return ""
    batch = seen(model, samples, chosen)
    rows = []
    for place, index in enumerate(chosen):
        # One at a time: the attention of a large model over a long signal fills a memory.
        heats = explain_reads(model, one(batch, slice(place, place + 1)))
        pictures = [drawings.signal(model.inputs, batch, place)]
        pictures += [drawings.signal(model.inputs, batch, place, one(heats[read], 0)) for read in reads]
        cells = "".join(f'<td><img src="{picture}" alt=""></td>' for picture in pictures)
        name = escape(_short(samples.names[index]))
        told = _caption(model, evaluation, index) if model.task.per_example else name
        rows.append(f'<tr><th scope="row">{told}</th>{cells}</tr>')
    count = len([number for number in model.config.encoder.cross_attention if number is not None])
    head = "".join(f'<th scope="col">Read {read + 1} of {count}</th>' for read in reads)
    return (
        f'<p class="soft">{LEGEND}</p>'
        f'<div class="scroll"><table class="gazes" style="{_shape(model)}"><thead><tr><th></th>'
        f'<th scope="col">Signal</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _gallery(model: Perceiver, samples: Samples, evaluation: Evaluation, chosen: Sequence[int], verdict: str) -> str:
    batch = seen(model, samples, chosen)
    figures = [
        f'<figure class="{verdict}"><img src="{drawings.signal(model.inputs, batch, place)}" alt="">'
        f"<figcaption>{_caption(model, evaluation, index)}"
        f'<span class="file" title="{escape(samples.names[index])}">{escape(_short(samples.names[index]))}</span>'
        "</figcaption></figure>"
        for place, index in enumerate(chosen)
    ]
    wide = "" if _is_square(model) else " wide"
    return f'<div class="gallery{wide}" style="{_shape(model)}">{"".join(figures)}</div>'


def _choose(model: Perceiver, evaluation: Evaluation) -> tuple[list[int], list[int]]:
    """Examples that are right, evenly over the targets, and the worst of the others, the worst first."""
    scores, targets = evaluation.scores, evaluation.targets
    assert targets is not None
    if model.task.config.kind == "classify":
        right, badness = scores.argmax(1) == targets, scores.max(1)
    elif model.task.config.kind == "tag":
        right, badness = ((scores > 0.5) == (targets > 0.5)).all(1), np.abs(scores - targets).max(1)
    else:
        badness = (np.abs(scores - targets.reshape(scores.shape)) / np.array(model.task.config.std)).mean(1)
        right = badness <= np.median(badness)
    order = np.argsort(targets.reshape(len(targets), -1)[:, 0], kind="stable")
    worst = np.argsort(-badness, kind="stable")
    return _evenly(order[right[order]].tolist(), SHOWN), worst[~right[worst]][:SHOWN].tolist()


def _caption(model: Perceiver, evaluation: Evaluation, index: int) -> str:
    """What was answered, and what it is where that differs."""
    assert evaluation.targets is not None
    classes, score = model.task.config.classes, evaluation.scores[index]
    target: Any = evaluation.targets[index]
    if model.task.config.kind == "classify":
        answer, truth = classes[int(score.argmax())], classes[int(target)]
        told = f"<b>{escape(answer)}</b> {percent(float(score.max()))}"
        return told if answer == truth else f"{told}<br>is {escape(truth)}"
    if model.task.config.kind == "tag":
        answer, truth = (_names(classes, values) for values in (score, target))
        return f"<b>{answer}</b>" if answer == truth else f"<b>{answer}</b><br>is {truth}"
    pairs = zip(classes, score, np.atleast_1d(target), strict=True)
    lines = [f"{escape(name)} <b>{figure(float(say))}</b>, is {figure(float(true))}" for name, say, true in pairs]
    return "<br>".join(lines[:MOST_NAMES])


def _names(classes: Sequence[str], values: np.ndarray) -> str:
    """The tags that are on, the surest first."""
    order = [place for place in np.argsort(-values, kind="stable") if values[place] > 0.5]
    told = ", ".join(escape(classes[place]) for place in order[:MOST_NAMES])
    return told + (f" and {len(order) - MOST_NAMES} more" if len(order) > MOST_NAMES else "") or "nothing"


def _short(name: str) -> str:
    """The last part of a path; a name that is not one as it is."""
    return name.rpartition("/")[2]


def _distinct_reads(model: Perceiver) -> list[int]:
    """The first read with each set of weights, and the last read: at most a few, evenly."""
    numbers = [number for number in model.config.encoder.cross_attention if number is not None]
    if not numbers:
        return []
    return _evenly(sorted({numbers.index(number) for number in numbers} | {len(numbers) - 1}), MOST_READS)


def _evenly(items: list[int], count: int) -> list[int]:
    return [items[place] for place in np.linspace(0, len(items) - 1, min(len(items), count)).astype(int)]


def _is_square(model: Perceiver) -> bool:
    """Whether signals are drawn as pictures rather than as curves or lines of text."""
    return model.inputs.drawn_square


def _shape(model: Perceiver) -> str:
    count = len(model.inputs.modalities)
    wide = "--shape:4/3" if count == 1 else f"--shape:28/{19 * count}"
    return "--shape:1;--cell:140px" if _is_square(model) else f"{wide};--cell:220px"
