"""A folder, a file or a name on the hub -> weights, where they are from, and what is said of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from .. import checkpoints
from .names import Compat
from .pickles import read_pickle

HF_FILES = ("model.safetensors", "pytorch_model.bin")
PICKLES = (".pystate", ".pickle", ".pkl")
BY_HAND = f"download config.json and {' or '.join(HF_FILES)} by hand, then import their folder"


def read(source: str) -> tuple[dict[str, Tensor], Compat, dict[str, Any]]:
    """The weights of a source by its own names, where they are from, and what ``config.json`` says of them."""
    path = Path(source)
    if not path.exists():
        path = _fetched(source)
    if path.is_dir():
        path = _only_file(path)
    if path.suffix in PICKLES:
        return read_pickle(path), "jax", {}
    if path.suffix not in {Path(name).suffix for name in HF_FILES}:
        raise InputError(f"{path}: not a checkpoint; give a folder, {', '.join(HF_FILES)}, or a .pystate or .pickle")
    about = _read_about(path.with_name("config.json"))
    return (checkpoints.read_weights(path) if path.suffix == ".safetensors" else _read_bin(path)), "hf", about


def _only_file(folder: Path) -> Path:
    there = [name for name in HF_FILES if (folder / name).is_file()]
    if len(there) > 1:
        raise InputError(f"{folder}: {' and '.join(there)} are both here; name one of them, {folder / there[0]}")
    if there:
        return folder / there[0]
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise InputError(f"{folder}: holds {some(pickles)}; name the file to import, {folder / pickles[0]}")
    raise InputError(f"{folder}: no {' or '.join(HF_FILES)} here; give the folder or file of a checkpoint")


def _read_about(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        about = json.loads(path.read_text("utf-8"))
        if not isinstance(about, dict):
            raise ValueError("it is not an object")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); get it again, or take it away") from None
    if "format" in about and "model" in about:
        raise InputError(f"{path.parent}: this is a model of sensorium already; use it as it is")
    return about


def _read_bin(path: Path) -> dict[str, Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file anything may come, from pickle, zipfile or torch
        raise InputError(
            f"{path}: not read ({type(error).__name__}): damaged, or more than weights, none of which was run; "
            "get it again"
        ) from None
    if not isinstance(weights, Mapping) or not all(isinstance(one, Tensor) for one in weights.values()):
        raise InputError(f"{path}: holds something else than weights by name; give the file of a checkpoint")
    return {str(name): tensor for name, tensor in weights.items()}


def _fetched(name: str) -> Path:
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


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
