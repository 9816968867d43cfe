"""A published checkpoint -> a weights folder of our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError, did_you_mean
from .. import checkpoints
from ..perceiver import Perceiver
from .catalogue import CHECKPOINTS, class_names
from .names import Compat, Weights
from .sources import read, some


@dataclass(frozen=True)
class Imported:
    """What came of an import.

    Attributes:
        folder: the weights folder, for ``sm.load`` and every command.
        checkpoint: which one it is, one of ``CHECKPOINTS``.
        origin: where the weights are from.
        compat: whose arithmetic they were given.
        parameters: how many.
        notes: what people should know of it, a line each.
    """

    folder: Path
    checkpoint: str
    origin: Compat
    compat: Compat
    parameters: int
    notes: tuple[str, ...]


def import_published(
    source: str | Path, *, out: str | Path | None = None, model: str | None = None, compat: Compat | None = None
) -> Imported:
    """A published checkpoint as a weights folder of our own: ``model.safetensors`` and ``config.json``.

    Args:
        source: a folder with ``model.safetensors`` or ``pytorch_model.bin`` (and ``config.json``), one of these files,
            one of the authors' pickles (``.pystate``, ``.pickle``), or a name on the Hugging Face hub.
        out: the folder to write to; ``runs/PRESET`` by default.
        model: which checkpoint it is; None: as ``config.json`` says, or by the names of its weights.
        compat: whose arithmetic, see the top of this file; None: that of the source.

    Raises:
        InputError: there is nothing there, it is damaged or no checkpoint, it lacks weights or has others, a pickle
            asks for more than arrays, the hub cannot be reached, or the folder is taken.
    """
    if model is not None and model not in CHECKPOINTS:
        raise InputError(f"--model {model}: there is none; {did_you_mean(model, CHECKPOINTS)}")
    if out is not None:
        _refuse_taken(Path(out))
    weights, origin, about = read(str(source))
    name = model or _recognised(source, weights, origin, about)
    checkpoint = CHECKPOINTS[name]
    missing, extra = checkpoint.differences(weights, origin)
    if missing or extra:
        told = [f"{what} {some(names)}" for what, names in (("lacks", missing), ("has besides", extra)) if names]
        raise InputError(
            f"{source}: not the whole {name} checkpoint, it {' and '.join(told)}; "
            f"get the file again or name another --model ({', '.join(CHECKPOINTS)})"
        )
    folder = Path("runs", checkpoint.preset) if out is None else Path(out)
    _refuse_taken(folder)
    compat = compat or origin
    ours = checkpoint.renamed(weights, origin, compat)
    try:
        built = Perceiver(checkpoint.config(ours, compat, about))
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    except (AttributeError, IndexError, TypeError, ValueError) as error:  # a list where there is a number, and such
        raise InputError(
            f"{source}: config.json or a weight is not of the {name} checkpoint's make ({error}); get it again"
        ) from None
    _load(source, built, ours)
    checkpoints.save(built, folder)
    notes = []
    if checkpoint.classes is not None and not class_names(len(ours[checkpoint.classes[0]]), about):
        notes.append("the classes are numbered, for the source does not name them")
    return Imported(folder, name, origin, compat, built.parameter_count(), tuple(notes))


def _load(source: str | Path, model: Perceiver, weights: Weights) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.shape != weights[name].shape:
            shapes = [" × ".join(map(str, one.shape)) or "one number" for one in (weights[name], tensor)]
            raise InputError(
                f"{source}: {name} is {shapes[0]}, its model has {shapes[1]}; is config.json of this file?"
            )
    model.load_state_dict(weights)


def _recognised(source: str | Path, weights: Weights, origin: Compat, about: Mapping[str, Any]) -> str:
    """Which checkpoint this is: what ``config.json`` says, else whose names fit best.

    Raises:
        InputError: none is alike.
    """
    for name, checkpoint in CHECKPOINTS.items():
        if checkpoint.architecture in (about.get("architectures") or ()):
            return name
    off = {name: sum(map(len, one.differences(weights, origin))) for name, one in CHECKPOINTS.items()}
    best = min(off, key=lambda name: off[name])
    if 2 * off[best] > len(weights):
        told = f" ({some(about['architectures'])})" if about.get("architectures") else ""
        raise InputError(f"{source}: not an architecture that is known here{told}; known: {', '.join(CHECKPOINTS)}")
    return best


def _refuse_taken(folder: Path) -> None:
    if any((folder / name).exists() for name in (checkpoints.WEIGHTS, checkpoints.CONFIG, "config.yaml")):
        raise InputError(f"{folder}: there is a model here already; choose another --out")
