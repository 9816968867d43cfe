"""The examples on a report's page: a gallery of predictions, rows of illustrations, and attention maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data import Samples
from ..inference.attention_maps import attention_maps, select
from ..inference.evaluate import Evaluation
from ..modalities import Modality
from ..models.perceiver import Perceiver, evaluating
from ..tasks import Prepared
from ..tasks.base import Task
from ..tasks.presentation import Caption, Illustration
from . import drawings
from .formats import short_name

MAX_SHOWN = 8  # examples in each gallery, and rows of illustrations
MAX_ATTENTION_EXAMPLES = 4
MAX_ATTENTION_MAPS = 4  # of each example
ATTENTION_LEGEND = (
    "The stronger the colour, the more attention the place got, as the mean over all heads and latents."
    " Half strength or less everywhere means that the attention is spread evenly."
)


@dataclass(frozen=True)
class GalleryItem:
    """A picture of one example with its caption.

    Attributes:
        picture: a data URI.
        caption: what was predicted.
        name: of the example.
    """

    picture: str
    caption: Caption
    name: str


@dataclass(frozen=True)
class Gallery:
    """Pictures below a title.

    Attributes:
        verdict: the CSS class of the captions, ``right`` or ``wrong``.
    """

    title: str
    verdict: str
    items: list[GalleryItem]


@dataclass(frozen=True)
class PictureRow:
    """One example's line of a table of pictures.

    Attributes:
        name: of the example.
        caption: what was predicted; None: the prediction is in the pictures.
        pictures: data URIs, one for each column.
        note: a remark on the pictures.
    """

    name: str
    caption: Caption | None
    pictures: list[str]
    note: str = ""


@dataclass(frozen=True)
class PictureTable:
    """Pictures of several examples, an example a row.

    Attributes:
        legend: what the pictures mean.
        columns: their headings.
    """

    legend: str
    columns: list[str]
    rows: list[PictureRow]


def galleries(model: Perceiver, samples: Samples, evaluation: Evaluation) -> list[Gallery]:
    """The examples that the task calls right and the worst of the others; none where predictions are signals."""
    if not model.task.per_example:
        return []
    result = []
    chosen = _right_and_wrong(model.task, evaluation)
    for title, verdict, indices in zip(model.task.gallery_titles, ("right", "wrong"), chosen, strict=True):
        if not indices:
            continue
        view = _prepare(model, samples, indices).inputs
        items = [
            GalleryItem(
                drawings.signal(model.inputs, view, row), _caption(model.task, evaluation, index), samples.names[index]
            )
            for row, index in enumerate(indices)
        ]
        result.append(Gallery(title, verdict, items))
    return result


def illustrations(model: Perceiver, samples: Samples) -> PictureTable | None:
    """Some examples, evenly chosen, as the task illustrates them; None where it has no illustrations."""
    columns: list[str] = []
    rows = []
    for index in _evenly(range(len(samples)), MAX_SHOWN):
        pictures = illustrate(model, _prepare(model, samples, [index]))
        if not pictures:
            return None
        columns = max(columns, [picture.title for picture in pictures], key=len)
        note = ", ".join(picture.note for picture in pictures if picture.note)
        drawn = [drawings.illustration(model.inputs, picture) for picture in pictures]
        rows.append(PictureRow(short_name(samples.names[index]), None, drawn, note))
    return PictureTable(model.task.illustration_legend, columns, rows)


def illustrate(model: Perceiver, prepared: Prepared) -> list[Illustration]:
    """The task's illustrations of a prepared batch of one example."""
    with evaluating(model):
        prediction = model(model.to_device(prepared.inputs), prepared.query_indices)
        return model.task.illustrate(prepared, prediction)


def attention_table(model: Perceiver, samples: Samples, evaluation: Evaluation) -> PictureTable | None:
    """Some examples with the maps of the first and the last cross-attend and of those with other weights between them;
    None where the encoder has no cross-attends."""
    weights = model.cross_attends
    if not weights:
        return None
    first_uses = {weights.index(number) for number in weights}
    shown = _evenly(sorted(first_uses | {len(weights) - 1}), MAX_ATTENTION_MAPS)
    indices: Sequence[int] = range(len(samples))
    if model.task.per_example:
        right, wrong = _right_and_wrong(model.task, evaluation)
        indices = right or wrong
    rows = []
    for index in _evenly(indices, MAX_ATTENTION_EXAMPLES):
        # One example at a time: the attention of a large model over a long signal fills the memory.
        view = _prepare(model, samples, [index]).inputs
        maps = attention_maps(model, view)
        pictures = [drawings.signal(model.inputs, view, 0)]
        pictures += [drawings.signal(model.inputs, view, 0, select(maps[number], 0)) for number in shown]
        caption = _caption(model.task, evaluation, index) if model.task.per_example else None
        rows.append(PictureRow(short_name(samples.names[index]), caption, pictures))
    columns = ["Input", *(attention_title(number, len(weights)) for number in shown)]
    return PictureTable(ATTENTION_LEGEND, columns, rows)


def attention_title(number: int, count: int) -> str:
    """The heading of a cross-attend's map.

    >>> attention_title(0, 8)
    'Cross-attend 1 of 8'
    """
    return f"Cross-attend {number + 1} of {count}"


def picture_style(modality: Modality) -> str:
    """The CSS variables of pictures of a signal: the shape of their frame and the width of a table's cell."""
    if modality.drawn_square:
        return "--shape:1;--cell:140px"
    count = len(modality.modalities)
    return f"--shape:{'4/3' if count == 1 else f'28/{19 * count}'};--cell:220px"


def _right_and_wrong(task: Task, evaluation: Evaluation) -> tuple[list[int], list[int]]:
    """The indices of right predictions, evenly over the targets, and of the worst wrong ones, the worst first."""
    assert evaluation.targets is not None
    judgement = task.judge(evaluation.scores, evaluation.targets)
    by_target = np.argsort(evaluation.targets.reshape(evaluation.samples, -1)[:, 0], kind="stable")
    by_badness = np.argsort(-judgement.badness, kind="stable")
    right = by_target[judgement.right[by_target]].tolist()
    wrong = by_badness[~judgement.right[by_badness]].tolist()
    return _evenly(right, MAX_SHOWN), wrong[:MAX_SHOWN]


def _caption(task: Task, evaluation: Evaluation, index: int) -> Caption:
    assert evaluation.targets is not None
    return task.caption(evaluation.scores[index], np.asarray(evaluation.targets[index]))


def _prepare(model: Perceiver, samples: Samples, indices: Sequence[int]) -> Prepared:
    """Some examples as the model sees them in an evaluation, with their targets; inputs on the CPU, for drawing."""
    with evaluating(model):
        view = model.inputs.view(model.to_device(samples.batch(list(indices))))
        prepared = model.prepare(view)
        inputs = {name: tensor.cpu() for name, tensor in prepared.inputs.items()}
        return Prepared(inputs, prepared.targets, prepared.query_indices)


def _evenly(items: Sequence[int], count: int) -> list[int]:
    """At most ``count`` of the items, evenly chosen."""
    return [items[position] for position in np.linspace(0, len(items) - 1, min(len(items), count)).astype(int)]
