"""Reading a folder, a file or a name on the Hugging Face hub: its weights, their origin and its ``config.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ..tensor_files import read_tensors
from .names import Compat
from .pickles import read_pickle

HF_FILES = ("model.safetensors", "pytorch_model.bin")
PICKLES = (".pystate", ".pickle", ".pkl")
BY_HAND = f"download config.json and {' or '.join(HF_FILES)} by hand, then import their folder"


def read_source(source: str) -> tuple[dict[str, Tensor], Compat, dict[str, Any]]:
    """The weights of a source by its own names, their origin, and the content of its ``config.json``.

    Raises:
        InputError: it does not exist, cannot be read, or is not a checkpoint.
    """
    path = Path(source)
    if not path.exists():
        path = _from_hub(source)
    if path.is_dir():
        path = _only_file(path)
    if path.suffix in PICKLES:
        return read_pickle(path), "jax", {}
    if path.suffix not in {Path(name).suffix for name in HF_FILES}:
        raise InputError(f"{path}: not a checkpoint; give a folder, {', '.join(HF_FILES)}, or a .pystate or .pickle")
    weights = read_tensors(path) if path.suffix == ".safetensors" else _read_bin(path)
    return weights, "hf", _read_hf_config(path.with_name("config.json"))


def _only_file(folder: Path) -> Path:
    files = [name for name in HF_FILES if (folder / name).is_file()]
    if len(files) > 1:
        raise InputError(f"{folder}: {' and '.join(files)} are both here; name one of them, {folder / files[0]}")
    if files:
        return folder / files[0]
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise InputError(f"{folder}: holds {first_few(pickles)}; name the file to import, {folder / pickles[0]}")
    raise InputError(f"{folder}: no {' or '.join(HF_FILES)} here; give the folder or file of a checkpoint")


def _read_hf_config(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is not an object")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); get it again, or remove it") from None
    if "format" in content and "model" in content:
        raise InputError(f"{path.parent}: this is a model of sensorium already; use it as it is")
    return content


def _read_bin(path: Path) -> dict[str, Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything, from pickle, zipfile or torch
        raise InputError(
            f"{path}: not read ({type(error).__name__}): damaged, or more than weights, none of which was run; "
            "get it again"
        ) from None
    if not isinstance(weights, Mapping) or not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise InputError(f"{path}: holds something else than weights by name; give the file of a checkpoint")
    return {str(name): tensor for name, tensor in weights.items()}


def _from_hub(name: str) -> Path:
    """The folder of a checkpoint on the hub, in the hub's own cache.

    Raises:
        InputError: that is no name there, the extra is missing, or the hub cannot be reached.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or Path(name).suffix in (*PICKLES, ".safetensors", ".bin"):
        raise InputError(f"{name}: there is no such file or folder")
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError:
        raise InputError(
            f"{name}: no such folder, and names on the hub need the extra: pip install 'sensorium[hub]'; or {BY_HAND}"
        ) from None
    try:
        hf_hub_download(name, "config.json")
        try:
            return Path(hf_hub_download(name, HF_FILES[0]))
        except LocalEntryNotFoundError:  # no network
            raise
        except EntryNotFoundError:
            return Path(hf_hub_download(name, HF_FILES[1]))
    except (OSError, ValueError, EntryNotFoundError) as error:
        raise InputError(
            f"{name}: no such folder, and not to be had from the hub ({type(error).__name__}); {BY_HAND}"
        ) from None


def first_few(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and the number of the others.

    >>> first_few(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
