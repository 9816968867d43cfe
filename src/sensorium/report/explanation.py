"""What a trained run read of single files: maps over the signal, on a page to look at and as arrays to count with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from ..errors import InputError
from ..files import replace_file
from ..inference.attention_maps import attention_maps, attention_shares, select
from ..inference.environment import versions
from ..inference.predict import answer_inputs, answers, open_run
from ..modalities import Batch, Signal
from ..models.perceiver import Perceiver
from ..tasks import Reconstruct
from . import drawings, tables
from .gallery import LEGEND, reconstructed
from .page import document, pictures, section
from .summary import figure, percent

PAGE, MAPS = "explanation.html", "maps.npz"
MOST_DRAWN = 32  # examples on the page, and
MOST_READS = 8  # reads of each, as many as the paper's models have; of all the rest there are numbers

SHARP = 170  # pixels an inch of the pictures, which are larger than a report's


@dataclass(frozen=True)
class Explanation:
    """What came of explaining some files.

    Attributes:
        rows: a dict an example, as :func:`predict` gives it, but that reconstructions are on the page alone; of a model
            of several modalities also ``shares``: of each read in turn the share of its attention that each modality
            got, by name, without those that the example lacks.
        page: where the page is.
        maps: where the arrays are.
        drawn: how many examples are on the page; ``rows`` and ``maps`` have all.
    """

    rows: list[dict[str, Any]]
    page: Path
    maps: Path
    drawn: int


def explain_files(
    run: str | Path,
    files: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Prediction files and show what was read: writes ``explanation.html`` and ``maps.npz``, each whole or not at all.

    The page has the first examples: the answer, written out or drawn, and the heat of the reads over what was read; of
    signals that are asked for themselves that is without what the task hides. The arrays are those of all examples and
    reads: ``0/read1/video`` is the first example's map of the first read over its video, in the shape of that signal
    with one channel, float32 in [0, 1] (see :func:`sensorium.report.explain`); a modality that an example lacks has no
    map. ``files`` are the names of the examples, in order. Of a signal longer than the model's window, the maps show
    the window in the middle; the answer is :func:`predict`'s, which may be the mean over several.

    Args:
        run: a run or weights folder.
        files: as for :func:`predict`.
        out: the folder to write to; ``explained`` in the run by default.
        progress: called with how many examples are done, of how many, once all have been read.

    Raises:
        InputError: as :func:`predict`; also where the model reads nothing, or the folder cannot be written to.
    """
    model, samples = open_run(run, files)
    reads = len(model.cross_attends)
    if not reads:
        raise InputError(
            f"{run}: the model has no attention maps, so there is nothing to explain; train one with cross-attends"
        )
    folder = Path(run, "explained") if out is None else Path(out)
    rows = [answer.to_dict() for answer in answers(model, samples)]
    sections: list[str] = []

    def write(path: Path) -> None:
        with ZipFile(path, "w", ZIP_DEFLATED) as archive:
            _put(archive, "files", np.array(samples.names))
            for index, row in enumerate(rows):
                if progress is not None:
                    progress(index, len(rows))
                # One at a time: the attention of a large model over a long signal fills a memory.
                view = answer_inputs(model, samples, index)
                maps = attention_maps(model, view)
                there = [modality.name for modality in model.inputs.present_modalities(view, 0)]
                if len(model.inputs.modalities) > 1:
                    told = attention_shares(model, view)
                    row["shares"] = [{name: float(of_read[name][0]) for name in there} for of_read in told]
                for read, heat in enumerate(maps, start=1):
                    for name in there:
                        map_ = heat[name] if isinstance(heat, Mapping) else heat
                        _put(archive, f"{index}/read{read}/{name}", map_[0].float().numpy())
                if index < MOST_DRAWN:
                    sections.append(section(row["file"], _example(model, row, view, maps)))

    replace_file(folder / MAPS, write)
    text = document(
        Path(run).resolve().name,
        kicker="sensorium explanation",
        head=_head(len(rows), reads),
        sections=sections,
        versions=versions(),
    )
    replace_file(folder / PAGE, lambda path: path.write_text(text, encoding="utf-8"))
    return Explanation(rows, folder / PAGE, folder / MAPS, len(sections))


def _put(archive: ZipFile, name: str, array: np.ndarray) -> None:
    """Add an array, as ``np.savez`` does; one after the other, so that all never need to be in memory."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def _head(examples: int, reads: int) -> str:
    """What the pictures mean, and what is not on the page."""
    lines = [LEGEND]
    if examples > MOST_DRAWN:
        lines.append(f"Drawn are the first {MOST_DRAWN} of {examples:,} examples.")
    if reads > MOST_READS:
        lines.append(f"Drawn are {MOST_READS} of {reads} reads.")
    lines.append(f"The maps of all examples and reads are in {MAPS} beside this page.")
    return f'<p class="soft">{" ".join(lines)}</p>'


def _example(model: Perceiver, row: Mapping[str, Any], view: Batch, maps: Sequence[Signal]) -> str:
    """The answer, the shares of the modalities, the signal, what it is reconstructed as, and each read's heat over
    it."""
    table = ""
    if "shares" in row:
        table = tables.attention_shares(
            {name: [of_read[name] for of_read in row["shares"]] for name in row["shares"][0]}
        )
    drawn = [("Signal", drawings.signal(model.inputs, view, 0, dpi=SHARP))]
    if isinstance(model.task, Reconstruct):
        drawn.append(("Reconstruction", drawings.signal(model.inputs, reconstructed(model, view), 0, dpi=SHARP)))
    for read in np.linspace(0, len(maps) - 1, min(len(maps), MOST_READS)).astype(int).tolist():
        title = f"Read {read + 1} of {len(maps)}"
        drawn.append((title, drawings.signal(model.inputs, view, 0, select(maps[read], 0), dpi=SHARP)))
    return f"{_answer(model, row)}{table}{pictures(drawn)}"


def _answer(model: Perceiver, row: Mapping[str, Any]) -> str:
    """Classes or targets with their scores; or a text filled in, and what each of its holes might be."""
    if "holes" not in row:
        return f"<p>{_scores(row['scores'], percent if model.task.config.kind in ('classify', 'tag') else figure)}</p>"
    holes = "".join(
        f'<tr><th scope="row">Hole {number}</th><td>{_scores(hole, percent)}</td></tr>'
        for number, hole in enumerate(row["holes"], start=1)
    )
    return f"<pre>{escape(row['answer'])}</pre><table><tbody>{holes}</tbody></table>"


def _scores(scores: Mapping[str, float], told: Callable[[float], str]) -> str:
    return ", ".join(f"{escape(name)} <b>{told(score)}</b>" for name, score in scores.items())
