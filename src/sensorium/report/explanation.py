"""``sensorium explain``: attention maps and attributions of a trained run over files, on a page and as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from ..errors import InputError, did_you_mean
from ..files import replace_file
from ..inference.attention_maps import attention_maps, attention_shares, select
from ..inference.attributions import BEST, METHODS, check_classes, explains_classes
from ..inference.deletion import Judged, judge
from ..inference.environment import versions
from ..inference.latent_maps import LatentMaps, LatentMapsConfig, check_latent_maps, latent_maps, shades
from ..inference.opened import OpenedFiles, answer_inputs, open_run
from ..inference.predict import answers
from ..modalities import Batch, Signal
from ..models.backbones import Backbone, RolloutBackbone
from ..models.perceiver import Perceiver
from ..tasks import Answer, Prepared
from . import drawings
from .drawings import Picture
from .examples import ATTENTION_LEGEND, attention_title, illustrate
from .montage import MAX_LATENTS, montage
from .templating import render

PAGE, MAPS = "explanation.html", "maps.npz"
MAX_DRAWN = 32  # examples on the page; the arrays are of all
MAX_MAPS_DRAWN = 8  # of each example: as many cross-attends as the paper's models have

DPI = 170  # of the pictures, which are larger than a report's

LEGEND = (
    "Further pictures of an example show what speaks for the class that they name. The deletion score judges them: the"
    " parts of the signal are taken away, those that matter most first, and the score is the mean probability of the"
    " class meanwhile. Lower is better, and a method is worth something if it beats random orders."
)


@dataclass(frozen=True)
class Explanation:
    """The result of explaining some files.

    Attributes:
        answers: for each example the answer of :func:`predict`, except that signals are drawn on the page instead of
            written to files. Those of a model of several modalities have ``shares``, without the modalities that the
            example lacks; where there are attributions to a class, answers have their ``deletion`` scores.
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
        pictures: the example, its attention maps and its attributions; none of an example that is not drawn.
        montage: the attention of single latents, a data URI; None: it was not asked for, or is not drawn.
    """

    answer: Answer
    shares: dict[str, list[float]]
    pictures: list[Picture]
    montage: str | None


@dataclass(frozen=True)
class _Wanted:
    """What is explained beside the attention of each cross-attend.

    Attributes:
        methods: of attribution, by name.
        of_class: the class to which attributions are; None: of each example the likeliest.
        latent_maps: which maps of single latents; None: none.
    """

    methods: tuple[str, ...]
    of_class: str | None
    latent_maps: LatentMapsConfig | None


def explain_files(
    run: str | Path,
    files: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    methods: Sequence[str] | None = None,
    of_class: str | None = None,
    latent_maps: LatentMapsConfig | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Predict files and show where the model attends and what speaks for the predicted class: writes
    ``explanation.html`` and ``maps.npz``; each replaces the old file only once it is complete.

    The page has the first examples: the prediction, the map of each cross-attend over the input, and the map of each
    method of attribution with its deletion score. Where a task hides parts of the input, the maps are those of the
    input without them.

    The arrays are of all examples; ``files`` holds the examples' names in order:

    * ``0/cross_attend1/video`` is the map of the first example's first cross-attend over its video, in the shape of
      that signal with one channel, float32 in [0, 1] (see :func:`attention_maps`);
    * ``0/integrated-gradients/video`` is the attribution of that method (``Attribution.signal``), float32;
    * ``0/cross_attend1/latents/video`` are the maps of single latents (``LatentMaps.maps``): latents × heads × the
      signal's shape. ``latents`` holds their numbers, from 1.

    A modality that an example lacks has no map. Of a signal longer than the model's window the maps show the window in
    the middle; the prediction is :func:`predict`'s, which may be the mean over several windows.

    Args:
        run: a run or weights folder.
        files: as for :func:`predict`.
        out: the folder to write to; ``explained`` in the run by default.
        methods: of attribution, by their names in :data:`sensorium.inference.attributions.METHODS`; or ``all``, or
            ``none``. None: the best one, where the model predicts classes or tags.
        of_class: the class to which attributions are; None: of each example the predicted one.
        latent_maps: which maps of single latents to draw and write; None: none.
        device: as for :func:`predict`.
        progress: called with the number of finished examples and of all examples.

    Raises:
        InputError: as :func:`predict`; also if the model has no cross-attend, there is no such method, class, latent,
            head or cross-attend, or the folder cannot be written to.
    """
    model, samples = open_run(run, files, device=device)
    count = len(model.cross_attends)
    if not count:
        raise InputError(
            f"{run}: the model has no cross-attends, so it has no attention maps; set model.encoder.cross_attention"
        )
    if latent_maps is not None:
        check_latent_maps(model, latent_maps)
    wanted = _Wanted(_methods(model, methods), _known_class(model, of_class), latent_maps)
    folder = Path(run, "explained") if out is None else Path(out)
    found = answers(model, samples)  # before anything is written: it reads every file
    examples: list[ExplainedExample] = []

    def write(path: Path) -> None:
        examples.extend(_explain(path, model, samples, found, wanted, progress))

    replace_file(folder / MAPS, write)
    text = render(
        "explanation.html",
        name=Path(run).resolve().name,
        versions=versions(),
        remarks=_remarks(len(examples), count, wanted, cast(Backbone, model.encoder).num_latents),
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
    wanted: _Wanted,
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
            present = [modality.name for modality in model.inputs.present_modalities(view, 0)]
            maps = attention_maps(model, view)
            signals = {f"cross_attend{number}": signal for number, signal in enumerate(maps, start=1)}
            judged = None
            if wanted.methods:
                name = wanted.of_class or max(answer.scores, key=answer.scores.__getitem__)
                judged = judge(model, view, wanted.methods, model.task.classes.index(name))
                signals |= {method: each.signal for method, each in judged.attributions.items()}
                answer = replace(answer, deletion=judged.scores)
            latents = [] if wanted.latent_maps is None else latent_maps(model, view, wanted.latent_maps)
            signals |= {f"cross_attend{each.cross_attend + 1}/latents": each.maps for each in latents}
            if latents and index == 0:
                _add_array(archive, "latents", np.array(latents[0].latents) + 1)
            _add_signals(archive, str(index), signals, present)
            shares: dict[str, list[float]] = {}
            if len(model.inputs.modalities) > 1:
                by_attend = attention_shares(model, view)
                answer = replace(answer, shares=[{name: float(of[name][0]) for name in present} for of in by_attend])
                shares = {name: [float(of[name][0]) for of in by_attend] for name in present}
            yield (
                ExplainedExample(answer, shares, [], None)
                if index >= MAX_DRAWN
                else ExplainedExample(
                    answer, shares, _pictures(model, view, maps, judged), _montage(model, view, latents, wanted)
                )
            )


def _add_signals(archive: ZipFile, example: str, signals: Mapping[str, Signal], present: Sequence[str]) -> None:
    """Add the maps of one example, by name: of a model of several modalities those of the ones that it has."""
    for title, signal in signals.items():
        for name in present:
            values = signal[name] if isinstance(signal, Mapping) else signal
            _add_array(archive, f"{example}/{title}/{name}", values[0].float().numpy())


def _add_array(archive: ZipFile, name: str, array: np.ndarray) -> None:
    """Add one array as ``np.savez`` does, so that all of them need not be in memory together."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def _methods(model: Perceiver, names: Sequence[str] | None) -> tuple[str, ...]:
    """The methods of attribution that are wanted.

    Raises:
        InputError: there is no such method, or the model predicts neither classes nor tags.
    """
    if names is None:
        return (BEST,) if explains_classes(model) else ()
    if "all" in names:
        names = [name for name in METHODS if name != "rollout" or isinstance(model.encoder, RolloutBackbone)]
    names = tuple(dict.fromkeys(name for name in names if name != "none"))
    for name in names:
        if name not in METHODS:
            raise InputError(f"there is no method {name!r}; {did_you_mean(name, [*METHODS, 'all', 'none'])}")
    if names:
        check_classes(model)
    return names


def _known_class(model: Perceiver, name: str | None) -> str | None:
    """The name of a class, if the model has it.

    Raises:
        InputError: it has not.
    """
    if name is not None and name not in model.task.classes:
        raise InputError(f"the model has no class {name!r}; {did_you_mean(name, model.task.classes)}")
    return name


def _remarks(examples: int, num_cross_attends: int, wanted: _Wanted, num_latents: int) -> list[str]:
    """What the pictures mean, and what is not on the page."""
    remarks = [ATTENTION_LEGEND, LEGEND] if wanted.methods else [ATTENTION_LEGEND]
    if wanted.latent_maps is not None:
        softmax = "before the softmax" if wanted.latent_maps.before_softmax else "after the softmax"
        remarks.append(f"Single latents are numbered above their columns, {softmax}; each map has its own scale.")
        if wanted.latent_maps.latents == "all" and num_latents > MAX_LATENTS:
            remarks.append(f"The first {MAX_LATENTS} of {num_latents} latents are drawn.")
    if examples > MAX_DRAWN:
        remarks.append(f"This page shows the first {MAX_DRAWN} of {examples:,} examples.")
    if num_cross_attends > MAX_MAPS_DRAWN:
        remarks.append(f"It shows {MAX_MAPS_DRAWN} of {num_cross_attends} cross-attends.")
    return [*remarks, f"The maps of all examples and cross-attends are in {MAPS} beside this page."]


def _pictures(model: Perceiver, view: Batch, maps: Sequence[Signal], judged: Judged | None) -> list[Picture]:
    """The task's illustrations of one example, or its input where there are none; then its attention maps, and its
    attributions."""
    shown = illustrate(model, Prepared(dict(view), None)) if not model.task.per_example else []
    pictures = [Picture(each.title, drawings.illustration(model.inputs, each, dpi=DPI)) for each in shown]
    if not pictures:
        pictures.append(Picture("Input", drawings.signal(model.inputs, view, 0, dpi=DPI)))
    for number in np.linspace(0, len(maps) - 1, min(len(maps), MAX_MAPS_DRAWN)).astype(int).tolist():
        drawn = drawings.signal(model.inputs, view, 0, select(maps[number], 0), dpi=DPI)
        pictures.append(Picture(attention_title(number, len(maps)), drawn))
    if judged is not None:
        for method, each in judged.attributions.items():
            drawn = drawings.signal(model.inputs, view, 0, _shaded(select(each.elements, 0)), dpi=DPI)
            pictures.append(Picture(f"{method_title(method)} for {judged.name}", drawn))
    return pictures


def method_title(method: str) -> str:
    """What pages call a method.

    >>> method_title("integrated-gradients")
    'Integrated gradients'
    """
    return method.replace("-", " ").capitalize()


def _montage(model: Perceiver, view: Batch, found: Sequence[LatentMaps], wanted: _Wanted) -> str | None:
    if not found or wanted.latent_maps is None:
        return None
    return montage(model.inputs, view, found, before_softmax=wanted.latent_maps.before_softmax)


def _shaded(signal: Signal) -> Signal:
    """A map of one example in [0, 1], for drawing."""
    if isinstance(signal, Mapping):
        return {name: shades(values) for name, values in signal.items()}
    return shades(signal)
