"""A model's weights and configuration as files: safetensors and JSON. Never pickles."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..config import from_dict, read_json, to_dict
from ..errors import InputError
from ..files import replace_file
from ..nn.initialisation import empty_weights

FORMAT = 2  # of config.json and of a run's config.yaml; raised when names or meanings in them change
DEPTHS = ("num_layers", "layers", "blocks", "cross_attends")  # fields of configurations that count layers
WEIGHTS, CONFIG = "model.safetensors", "config.json"

ConfigT = TypeVar("ConfigT")
ModelT = TypeVar("ModelT", bound=nn.Module)


def write_model(model: nn.Module, folder: Path) -> None:
    """Write ``model.safetensors`` and ``config.json`` to a folder, each whole or not at all. The model
    has its configuration as ``config``."""
    weights = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    content = {"format": FORMAT, "model": to_dict(model.config)}
    replace_file(folder / WEIGHTS, lambda path: write_tensors(path, weights))
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
    weights = read_weights(folder / WEIGHTS)
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise InputError(f"{folder / WEIGHTS}: {name} is not finite; the weights are damaged, copy or train again")
    _check_depth(to_dict(config), len(weights), folder)
    try:
        with torch.device("meta"), empty_weights():
            model = build(config)  # takes no memory: what does not fit the weights is found before it is made
        model.load_state_dict(weights, assign=True)
        with empty_weights():
            model = build(config)
        model.load_state_dict(weights)
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


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file, by name.

    Raises:
        InputError: it cannot be read.
    """
    return read_tensors(path)[0]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file. No two tensors may share memory.

    Args:
        notes: texts that are kept in the file's header.

    Raises:
        OSError: it cannot be written: a full disk, a folder that is not there.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), str(path), metadata=None if notes is None else dict(notes))
    except SafetensorError as error:  # a full disk too
        raise OSError(str(error)) from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors in a safetensors file, by name, and the notes in its header.

    Raises:
        InputError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: the weights are damaged ({error}); copy or train them again") from None
