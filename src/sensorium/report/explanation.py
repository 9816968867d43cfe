"""``sensorium explain``: the attention maps of a trained run over single files, on a page and as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from ..errors import InputError
from ..files import replace_file
from ..inference.attention_maps import attention_maps, attention_shares, select
from ..inference.environment import versions
from ..inference.opened import OpenedFiles, answer_inputs, open_run
from ..inference.predict import answers
from ..modalities import Batch, Signal
from ..models.perceiver import Perceiver
from ..tasks import Answer, Prepared
from . import drawings
from .drawings import Picture
from .examples import ATTENTION_LEGEND, attention_title, illustrate
from .templating import render

PAGE, MAPS = "explanation.html", "maps.npz"
MAX_DRAWN = 32  # examples on the page; the arrays are of all
MAX_MAPS_DRAWN = 8  # of each example: as many cross-attends as the paper's models have

DPI = 170  # of the pictures, which are larger than a report's


@dataclass(frozen=True)
class Explanation:
    """The result of explaining some files.

    Attributes:
        answers: for each example the answer of :func:`predict`, except that signals are drawn on the page instead of
            written to files. Those of a model of several modalities have ``shares``, without the modalities that the
            example lacks.
        page: the path of the page.
        maps: the path of the arrays.
        drawn: how many examples are on the page; ``answers`` and ``maps`` have all.
    """

    answers: list[Answer]
    page: Path
    maps: Path
    drawn: int


@dataclass(frozen=True)
class ExplainedExample:
    """An example and what its section of the page shows.

    Attributes:
        answer: the example's entry of ``Explanation.answers``.
        shares: for each modality by name its share of every cross-attend; {}: there is only one modality.
        pictures: the example and its attention maps; none of an example that is not drawn.
    """

    answer: Answer
    shares: dict[str, list[float]]
    pictures: list[Picture]


def explain_files(
    run: str | Path,
    files: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Predict files and show where the model attends: writes ``explanation.html`` and ``maps.npz``; each replaces the
    old file only once it is complete.

    The page has the first examples: the prediction, and the map of each cross-attend over the input. Where a task
    hides parts of the input, the maps are those of the input without them.

    The arrays are of all examples and cross-attends: ``0/cross_attend1/video`` is the map of the first example's
    first cross-attend over its video, in the shape of that signal with one channel, float32 in [0, 1] (see
    :func:`attention_maps`). A modality that an example lacks has no map. ``files`` holds the examples' names
    in order. Of a signal longer than the model's window the maps show the window in the middle; the prediction is
    :func:`predict`'s, which may be the mean over several windows.

    Args:
        run: a run or weights folder.
        files: as for :func:`predict`.
        out: the folder to write to; ``explained`` in the run by default.
        device: as for :func:`predict`.
        progress: called with the number of finished examples and of all examples.

    Raises:
        InputError: as :func:`predict`; also if the model has no cross-attend, or the folder cannot be written to.
    """
    model, samples = open_run(run, files, device=device)
    count = len(model.cross_attends)
    if not count:
        raise InputError(
            f"{run}: the model has no cross-attends, so it has no attention maps; set model.encoder.cross_attention"
        )
    folder = Path(run, "explained") if out is None else Path(out)
    found = answers(model, samples)  # before anything is written: it reads every file
    examples: list[ExplainedExample] = []

    def write(path: Path) -> None:
        examples.extend(_explain(path, model, samples, found, progress))

    replace_file(folder / MAPS, write)
    text = render(
        "explanation.html",
        name=Path(run).resolve().name,
        versions=versions(),
        remarks=_remarks(len(examples), count),
        examples=examples[:MAX_DRAWN],
        scores_are_probabilities=model.task.scores_are_probabilities,
    )
    replace_file(folder / PAGE, lambda path: path.write_text(text, encoding="utf-8"))
    return Explanation(
        [example.answer for example in examples], folder / PAGE, folder / MAPS, min(len(examples), MAX_DRAWN)
    )


def _explain(
    path: Path,
    model: Perceiver,
    samples: OpenedFiles,
    found: Sequence[Answer],
    progress: Callable[[int, int], None] | None,
) -> Iterator[ExplainedExample]:
    """Write the maps of all examples to ``path``, and draw the first examples."""
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        _add_array(archive, "files", np.array(samples.names))
        for index, answer in enumerate(found):
            if progress is not None:
                progress(index, len(samples))
            # One example at a time: the attention of a large model over a long signal fills the memory.
            view = answer_inputs(model, samples, index)
            maps = attention_maps(model, view)
            present = [modality.name for modality in model.inputs.present_modalities(view, 0)]
            for number, attention_map in enumerate(maps, start=1):
                for name in present:
                    values = attention_map[name] if isinstance(attention_map, Mapping) else attention_map
                    _add_array(archive, f"{index}/cross_attend{number}/{name}", values[0].float().numpy())
            shares: dict[str, list[float]] = {}
            if len(model.inputs.modalities) > 1:
                by_attend = attention_shares(model, view)
                answer = replace(answer, shares=[{name: float(of[name][0]) for name in present} for of in by_attend])
                shares = {name: [float(of[name][0]) for of in by_attend] for name in present}
            yield ExplainedExample(answer, shares, _pictures(model, view, maps) if index < MAX_DRAWN else [])


def _add_array(archive: ZipFile, name: str, array: np.ndarray) -> None:
    """Add one array as ``np.savez`` does, so that all of them need not be in memory together."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def _remarks(examples: int, num_cross_attends: int) -> list[str]:
    """What the pictures mean, and what is not on the page."""
    remarks = [ATTENTION_LEGEND]
    if examples > MAX_DRAWN:
        remarks.append(f"This page shows the first {MAX_DRAWN} of {examples:,} examples.")
    if num_cross_attends > MAX_MAPS_DRAWN:
        remarks.append(f"It shows {MAX_MAPS_DRAWN} of {num_cross_attends} cross-attends.")
    return [*remarks, f"The maps of all examples and cross-attends are in {MAPS} beside this page."]


def _pictures(model: Perceiver, view: Batch, maps: Sequence[Signal]) -> list[Picture]:
    """The task's illustrations of one example, or its input where there are none; then its attention maps."""
    shown = illustrate(model, Prepared(dict(view), None)) if not model.task.per_example else []
    pictures = [Picture(each.title, drawings.illustration(model.inputs, each, dpi=DPI)) for each in shown]
    if not pictures:
        pictures.append(Picture("Input", drawings.signal(model.inputs, view, 0, dpi=DPI)))
    for number in np.linspace(0, len(maps) - 1, min(len(maps), MAX_MAPS_DRAWN)).astype(int).tolist():
        drawn = drawings.signal(model.inputs, view, 0, select(maps[number], 0), dpi=DPI)
        pictures.append(Picture(attention_title(number, len(maps)), drawn))
    return pictures
