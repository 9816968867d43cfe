"""From a published checkpoint to a weights folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError, did_you_mean
from .. import checkpoints
from ..perceiver import Perceiver
from .catalogue import CHECKPOINTS
from .checkpoint import HFConfig, class_names
from .names import Compat, Weights
from .sources import first_few, read_source


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
        folder: the weights folder, for ``sm.load`` and every command.
        checkpoint: its name in ``CHECKPOINTS``.
        origin: the source of the weights.
        compat: whose arithmetic the model follows.
        parameters: the number of parameters.
        notes: what a user should know, a line each.
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
    """Write a published checkpoint as a weights folder: ``model.safetensors`` and ``config.json``.

    Args:
        source: a folder with ``model.safetensors`` or ``pytorch_model.bin`` (and ``config.json``), one of these files,
            one of the authors' pickles (``.pystate``, ``.pickle``), or a name on the Hugging Face hub.
        out: the folder to write to; ``runs/PRESET`` by default.
        model: which checkpoint it is; None: as ``config.json`` says, or by the names of its weights.
        compat: whose arithmetic, see :mod:`sensorium.models.published`; None: that of the source.

    Raises:
        InputError: the source does not exist, is damaged or no checkpoint; weights are missing or unknown; a pickle
            holds more than arrays; the hub cannot be reached; or there is a model in the folder already.
    """
    if model is not None and model not in CHECKPOINTS:
        raise InputError(f"--model {model}: there is none; {did_you_mean(model, CHECKPOINTS)}")
    if out is not None:
        _refuse_taken(Path(out))
    weights, origin, hf_config = read_source(str(source))
    name = model or _recognised(source, weights, origin, hf_config)
    checkpoint = CHECKPOINTS[name]
    missing, extra = checkpoint.differences(weights, origin)
    if missing or extra:
        parts = (("lacks", missing), ("has besides", extra))
        differences = " and ".join(f"{verb} {first_few(names)}" for verb, names in parts if names)
        raise InputError(
            f"{source}: not the whole {name} checkpoint, it {differences}; "
            f"get the file again or name another --model ({', '.join(CHECKPOINTS)})"
        )
    folder = Path("runs", checkpoint.preset) if out is None else Path(out)
    _refuse_taken(folder)
    compat = compat or origin
    weights = checkpoint.renamed(weights, origin, compat)
    try:
        built = Perceiver(checkpoint.config(weights, compat, hf_config))
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    except (AttributeError, IndexError, TypeError, ValueError) as error:  # such as a list in place of a number
        raise InputError(
            f"{source}: config.json or a weight does not fit the {name} checkpoint ({error}); get it again"
        ) from None
    _load_weights(source, built, weights)
    checkpoints.save(built, folder)
    notes = []
    if checkpoint.classes is not None and not class_names(len(weights[checkpoint.classes[0]]), hf_config):
        notes.append("the classes are numbered, because the source does not name them")
    return Imported(folder, name, origin, compat, built.parameter_count(), tuple(notes))


def _load_weights(source: str | Path, model: Perceiver, weights: Weights) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.shape != weights[name].shape:
            shapes = [" × ".join(map(str, each.shape)) or "one number" for each in (weights[name], tensor)]
            raise InputError(
                f"{source}: {name} is {shapes[0]}, its model has {shapes[1]}; is config.json of this file?"
            )
    model.load_state_dict(weights)


def _recognised(source: str | Path, weights: Weights, origin: Compat, hf_config: HFConfig) -> str:
    """The name of the checkpoint: as ``config.json`` says, else the one whose weights have the most names in common.

    Raises:
        InputError: no checkpoint is similar.
    """
    for name, checkpoint in CHECKPOINTS.items():
        if checkpoint.architecture in (hf_config.get("architectures") or ()):
            return name
    differences = {
        name: sum(map(len, checkpoint.differences(weights, origin))) for name, checkpoint in CHECKPOINTS.items()
    }
    best = min(differences, key=lambda name: differences[name])
    if 2 * differences[best] > len(weights):
        architecture = f" ({first_few(hf_config['architectures'])})" if hf_config.get("architectures") else ""
        known = ", ".join(CHECKPOINTS)
        raise InputError(f"{source}: not an architecture that is known here{architecture}; known: {known}")
    return best


def _refuse_taken(folder: Path) -> None:
    if any((folder / name).exists() for name in (checkpoints.WEIGHTS, checkpoints.CONFIG, "config.yaml")):
        raise InputError(f"{folder}: there is a model here already; choose another --out")
