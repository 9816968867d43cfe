"""Models on disk: run folders, and folders of weights."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from .perceiver import Perceiver, PerceiverConfig
from .weights import CONFIG, FORMAT, WEIGHTS, check_format, read_record, write_model

__all__ = ["CONFIG", "FORMAT", "WEIGHTS", "check_format", "load", "read_config", "save", "start_from"]


def save(model: Perceiver, folder: Path) -> None:
    """Write ``model.safetensors`` and ``config.json`` to a folder, each whole or not at all. Of a model that is sharded
    all processes must call this; the main one writes."""
    write_model(model, Path(folder))


def load(folder: str | Path) -> Perceiver:
    """The model in a run folder or weights folder, in evaluation mode. ``Perceiver.from_pretrained`` also takes names
    on the Hugging Face hub.

    Raises:
        InputError: there is no model, it is damaged, or it was written by an older or a newer version.
    """
    return Perceiver.from_folder(Path(folder))


def read_config(folder: Path) -> PerceiverConfig:
    """The configuration of the model in a run folder or weights folder.

    Raises:
        InputError: as :func:`load`.
    """
    return read_record(folder, PerceiverConfig)


def start_from(model: Perceiver, folder: str | Path) -> None:
    """Give a model the weights of the inputs and the encoder of the one in ``folder``, to fine-tune it. Its task and
    its decoder stay as they are.

    Raises:
        InputError: there is no model, or it has another configuration of inputs or encoder.
    """
    other = load(folder)
    if (other.config.inputs, other.config.encoder) != (model.config.inputs, model.config.encoder):
        raise InputError(f"{folder}: its inputs or encoder are not configured as this run's; do not change them")
    model.inputs.load_state_dict(other.inputs.state_dict())
    model.encoder.load_state_dict(other.encoder.state_dict())
