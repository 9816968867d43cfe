"""The state of a run on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..files import replace_file

LAST = Path("checkpoints", "last.ckpt")


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    replace_file(folder / LAST, lambda path: torch.save(dict(state), path))


def read_state(folder: Path) -> dict[str, Any] | None:
    """The state in a run's last checkpoint; None: there is none."""
    path = folder / LAST
    return torch.load(path, weights_only=True) if path.exists() else None
