"""A model's weights and configuration in a folder: safetensors and JSON. Never pickles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ..config import from_dict, read_json, to_dict
from ..errors import InputError
from ..files import replace_file
from ..nn.initialisation import empty_weights
from ..processes import gathered, is_main, is_sharded
from .tensor_files import TensorReader, TensorWriter

FORMAT = 2  # of config.json and of a run's config.yaml; raised when names or meanings in them change
DEPTHS = ("num_layers", "layers", "blocks", "cross_attends")  # fields of configurations that count layers
WEIGHTS, CONFIG = "model.safetensors", "config.json"

ConfigT = TypeVar("ConfigT")
ModelT = TypeVar("ModelT", bound=nn.Module)


def write_model(model: nn.Module, folder: Path) -> None:
    """Write ``model.safetensors`` and ``config.json`` to a folder, each whole or not at all. The model
    has its configuration as ``config``. Of a model that is sharded all processes must call this; the main one
    writes."""
    weights = model.state_dict()

    def write(path: Path) -> None:
        with TensorWriter(path, weights) as file:
            for name, tensor in weights.items():
                file.write(name, gathered(tensor))

    if is_sharded(model) and not is_main():
        for tensor in weights.values():
            gathered(tensor)
        return
    content = {"format": FORMAT, "model": to_dict(model.config)}
    replace_file(folder / WEIGHTS, write)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    replace_file(folder / CONFIG, lambda path: path.write_text(text, "utf-8"))


def read_model(folder: Path, build: Callable[[ConfigT], ModelT], record: type[ConfigT]) -> ModelT:
    """The model in a run folder or weights folder, in evaluation mode.

    Args:
        folder: the folder.
        build: makes a model from its configuration.
        record: of the configuration.

    Raises:
        InputError: there is no model, it is damaged, or it was written by an older or a newer version.
    """
    config = read_record(folder, record)
    file = TensorReader(folder / WEIGHTS)
    likes = {}  # tensors of the same shapes, without memory
    for name in file.names:
        tensor = file.read(name)
        if not torch.isfinite(tensor).all():
            raise InputError(f"{folder / WEIGHTS}: {name} is not finite; the weights are damaged, copy or train again")
        likes[name] = tensor.to("meta")
    _check_depth(to_dict(config), len(likes), folder)
    try:
        with torch.device("meta"), empty_weights():
            model = build(config)  # takes no memory: what does not fit the weights is found before it is made
        model.load_state_dict(likes, assign=True)
        with empty_weights(), torch.no_grad():
            model = build(config)
            for name, own in model.state_dict().items():
                own.copy_(file.read(name))  # one after the other, so that the weights are in memory once
    except (ArithmeticError, AssertionError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        difference = lines[min(1, len(lines) - 1)].strip()
        raise InputError(f"{folder}: weights and configuration disagree ({difference}); copy both again") from None
    return model.eval()


def _check_depth(config: Any, tensors: int, folder: Path) -> None:
    """Refuse a configuration of more layers than there are tensors, before any of them is made."""
    if not isinstance(config, dict):
        return
    for name, value in config.items():
        counts = value if isinstance(value, list) else [value]
        if name in DEPTHS and any(isinstance(count, int) and count > tensors for count in counts):
            raise InputError(
                f"{folder}: weights and configuration disagree ({name} is {value}, and there are {tensors} tensors); "
                "copy both again"
            )
        for part in counts:
            _check_depth(part, tensors, folder)


def read_record(folder: Path, record: type[ConfigT]) -> ConfigT:
    """The configuration of the model in a run folder or weights folder.

    Raises:
        InputError: as :func:`read_model`.
    """
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder}: no {WEIGHTS} and {CONFIG} here; is it a finished run?")
    content = read_json(folder / CONFIG)
    if not isinstance(content.get("format"), int):
        raise InputError(f"{folder}: the model is damaged ({CONFIG} names no format); train or copy it again")
    check_format(content, where=folder / CONFIG)
    return from_dict(record, content.get("model"), where=str(folder / CONFIG))


def check_format(content: object, *, where: Path) -> dict[str, Any]:
    """Refuse a configuration file of another format than this version writes.

    Args:
        content: of the file. Its ``format`` is a number; the ``config.yaml`` of runs before format 2 have none.
        where: the file, for the message.

    Returns:
        the content.

    Raises:
        InputError: it was written by an older or a newer version, or is no configuration.
    """
    if not isinstance(content, dict):
        raise InputError(f"{where}: damaged (it holds no mapping); copy it again, or train again")
    number = content.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise InputError(f"{where}: written by a newer sensorium; update with pip install -U sensorium")
    if number != FORMAT:
        raise InputError(
            f"{where}: written by an older sensorium, with other names; train again, or import published weights again"
        )
    return content
