"""What a trained run says of single files, and what a preset costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..codecs.flow import write_colours, write_flow
from ..config import from_dict, read_yaml
from ..data import DataConfig, Examples, Samples, load_samples, open_files
from ..errors import InputError
from ..modalities.audio import Audio
from ..modalities.label import Label
from ..modalities.pair import Pair
from ..modalities.text import MASK, SPECIALS, text_of, with_holes
from ..modalities.video import Video
from ..models import checkpoints
from ..models.perceiver import Perceiver
from ..tasks import MLM, Flow, Reconstruct
from ..tasks.tiles import flow_of
from .evaluation import flows, reconstruction, seen


def predict(
    run: str | Path, files: Sequence[str | Path], *, top: int = 3, batch_size: int = 32, out: str | Path | None = None
) -> list[dict[str, Any]]:
    """The model's answer to each file.

    Args:
        run: a run or weights folder.
        files: signals of the kind the model was trained on; of tables and arrays every example is answered. Frames go
            two by two, or in folders, where their flow may be too.
        top: how many classes to name, best first; regression names every target.
        batch_size: examples at a time, where answers are scores.
        out: the folder for what is written, where answers are signals or motion; ``reconstructed`` or ``flow`` in the
            run by default.

    Returns:
        a dict an example: ``file`` (and the row in it), ``answer`` (the best class, the tags above one half, the
        numbers, the text filled in, or the paths of what was written) and ``scores``; of a text also ``holes``, of a
        signal whose label the model says also ``label``, the likeliest classes.

    Raises:
        InputError: no model there, or a file that cannot be read; all are read before anything is answered.
    """
    model, examples = _asked(run, files)
    if isinstance(model.task, Flow):
        return motions(model, examples, Path(run, "flow") if out is None else Path(out))
    samples = _decoded(model, examples)
    if isinstance(model.task, Reconstruct):
        return reconstructions(model, samples, Path(run, "reconstructed") if out is None else Path(out), top=top)
    return answers(model, samples, top=top, batch_size=batch_size)


def reconstructions(model: Perceiver, samples: Samples, folder: Path, *, top: int = 3) -> list[dict[str, Any]]:
    """Each example as the model says it is, written to a folder: films (with their sound) as .mp4, pictures as .png,
    sound as .wav, anything else as .npz; what its label is is told. As :func:`predict` gives it."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = [modality for modality in model.inputs.modalities if isinstance(modality, Label)]
    modalities = {modality.name: modality for modality in model.inputs.modalities if modality not in labels}
    rows = []
    for index in range(len(samples)):
        view = model.inputs.view(samples.batch([index]))
        there = [modality.name for modality in model.inputs.present_modalities(view, 0) if modality.name in modalities]
        said = reconstruction(model, view)
        signals = {name: signal[0].cpu() for name, signal in said.completed.items() if name in there}
        stem = folder / f"{index + 1:04}-{Path(samples.names[index]).stem}"
        sounds = [
            name
            for name in there
            if isinstance(modalities[name], Audio) and modalities[name].config.representation == "raw"
        ]
        written = []
        for name in there:
            modality = modalities[name]
            if isinstance(modality, Video) and sounds:
                rate = modalities[sounds[0]].config.rate
                written.append(modality.save(signals[name], stem, wave=signals[sounds[0]], sound_rate=rate))
            else:
                one = stem if len(there) == 1 else stem.with_name(f"{stem.name}-{name}")
                written.append(modality.save(signals[name], one))
        row = {"file": samples.names[index], "answer": [str(path) for path in written], "scores": {}}
        for label in labels:
            best = said.output[label.name][0, 0].softmax(-1).topk(min(top, label.config.classes))
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            row["label"] = {label.classes[place]: score for place, score in pairs}
        rows.append(row)
    return rows


def motions(model: Perceiver, examples: Examples, folder: Path) -> list[dict[str, Any]]:
    """The motion between the frames of each example, whole and however large they are, written to a folder: as .flo,
    and in colours as .png; as :func:`predict` gives it. ``scores`` are its mean, and how far it is off where the true
    one is known, in pixels."""
    assert isinstance(model.inputs, Pair)
    for raw, name in zip(examples.raws["pair"], examples.names, strict=True):
        try:
            model.inputs.whole(raw)  # all are read before anything is answered
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, (raw, name) in enumerate(zip(examples.raws["pair"], examples.names, strict=True)):
        frames, true = model.inputs.whole(raw)
        found = flow_of(model, torch.from_numpy(frames)).numpy()
        stem = f"{index + 1:04}-{Path(name.partition(' + ')[0]).stem}"
        written = [folder / f"{stem}.flo", folder / f"{stem}.png"]
        write_flow(found, written[0])
        write_colours(found, written[1])
        rows.append({"file": name, "answer": [str(path) for path in written], "scores": _figures(found, true)})
    return rows


def _moving(model: Perceiver, samples: Samples, index: int) -> dict[str, Any]:
    """How much moves in the middle of two frames."""
    _, found, true = flows(model, samples, index)
    figures = _figures(found.numpy(), None if true is None else true.numpy())
    return {"file": samples.names[index], "answer": [], "scores": figures}


def _figures(found: np.ndarray, true: np.ndarray | None) -> dict[str, float]:
    """Of a field of motion its mean, and the mean distance from the true one where that is known: pixels."""
    figures = {"mean motion": float(np.hypot(*found).mean())}
    if true is not None and not np.isnan(true).all():
        figures["end-point error"] = float(np.nanmean(np.hypot(*(found - true))))
    return figures


def opened(run: str | Path, files: Sequence[str | Path]) -> tuple[Perceiver, Samples]:
    """A run's model, and the examples in some files, read as the data that it was trained on.

    Raises:
        InputError: no model there, or a file that cannot be read.
    """
    model, examples = _asked(run, files)
    return model, _decoded(model, examples)


def _asked(run: str | Path, files: Sequence[str | Path]) -> tuple[Perceiver, Examples]:
    model = checkpoints.load(run)
    return model, open_files([Path(file) for file in files], model.inputs, description=_description(Path(run)))


def _decoded(model: Perceiver, examples: Examples) -> Samples:
    samples = load_samples(examples, [model.inputs])
    if samples.set_aside:
        raise InputError(samples.set_aside[0])
    return samples


def answers(model: Perceiver, samples: Samples, *, top: int = 3, batch_size: int = 32) -> list[dict[str, Any]]:
    """The model's answer to each example, as :func:`predict` gives it; none where answers are signals, and of
    frames what moves in their middle."""
    if isinstance(model.task, MLM):
        return [_filled(model, samples, index, top) for index in range(len(samples))]
    if isinstance(model.task, Flow):
        return [_moving(model, samples, index) for index in range(len(samples))]
    if not model.task.per_example:
        return [{"file": name, "answer": [], "scores": {}} for name in samples.names]
    names = model.task.classes
    rows = []
    for start in range(0, len(samples), batch_size):
        indices = list(range(start, min(start + batch_size, len(samples))))
        with torch.inference_mode():
            # As in an evaluation: the mean over the views, where a model sees only a part of a signal at a time.
            views = [model(view).scores for view in model.inputs.views(samples.batch(indices))]
            scores = torch.stack(views).mean(0)
        for index, line in zip(indices, scores.tolist(), strict=True):
            ranked = sorted(zip(names, line, strict=True), key=lambda pair: -pair[1])
            match model.config.task.kind:
                case "classify":
                    answer: Any = ranked[0][0]
                case "tag":
                    answer = [name for name, score in ranked if score >= 0.5]
                case "regress":
                    answer = dict(zip(names, line, strict=True))
                    ranked = list(answer.items())
            told = ranked if model.config.task.kind == "regress" else ranked[:top]
            rows.append({"file": samples.names[index], "answer": answer, "scores": dict(told)})
    return rows


def posed(model: Perceiver, samples: Samples, index: int) -> dict[str, Tensor]:
    """An example as the model sees it when it is asked: a text with the holes that are written in it, another signal
    with what the task hides of it."""
    if isinstance(model.task, MLM):
        name = model.inputs.name
        return {name: with_holes(samples.batch([index])[name][0])[None]}
    with torch.inference_mode():
        return model.task.prepare(model.inputs, seen(model, samples, [index])).inputs


def _filled(model: Perceiver, samples: Samples, index: int, top: int) -> dict[str, Any]:
    """A text with its holes filled by the likeliest bytes, and ``holes``, what else each might be."""
    text = model.inputs
    whole = posed(model, samples, index)[text.name][0]
    if len(whole) > text.num_rows:
        raise InputError(f"{samples.names[index]}: {len(whole):,} bytes, the model reads {text.num_rows:,}; shorten it")
    holes = (whole == MASK).nonzero()[:, 0]
    if not len(holes):
        raise InputError(f"{samples.names[index]}: nothing is to be filled in; write [MASK] for each byte that is")
    with torch.inference_mode():
        scores = model({text.name: whole[None]}).scores[0, holes, SPECIALS:]
    best = scores.topk(min(top, scores.shape[1]))
    told = [
        {_shown(torch.tensor([SPECIALS + byte])): score for byte, score in zip(bytes_, likely, strict=True)}
        for bytes_, likely in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
    filled = _shown(whole.index_put((holes,), SPECIALS + best.indices[:, 0]))
    return {"file": samples.names[index], "answer": filled, "holes": told, "scores": {}}


def _shown(numbers: Tensor) -> str:
    """Text for people: a byte that is no letter by itself as ``\\xc3``."""
    return text_of(numbers).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _description(run: Path) -> DataConfig:
    """Of the data that a run was trained on; a folder of weights alone says nothing of it."""
    path = run / "config.yaml"
    return from_dict(DataConfig, read_yaml(path).get("data", {}), where=str(path)) if path.exists() else DataConfig()
