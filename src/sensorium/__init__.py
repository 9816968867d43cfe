"""sensorium: general perception with iterative attention, the Perceiver for any signal.

The names below load what they need when they are first used, so ``import sensorium`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arrays import ByteArray, GridCodes, RowCodes, Segment
    from .checkpoints import load, save
    from .errors import InputError
    from .explain import explain_files
    from .model import Model, ModelConfig
    from .planning import plan
    from .prediction import predict
    from .presets import build
    from .published import import_published
    from .runs import evaluate, train

_HOMES = {
    "ByteArray": "arrays",
    "GridCodes": "arrays",
    "RowCodes": "arrays",
    "Segment": "arrays",
    "InputError": "errors",
    "Model": "model",
    "ModelConfig": "model",
    "build": "presets",
    "evaluate": "runs",
    "explain_files": "explain",
    "import_published": "published",
    "load": "checkpoints",
    "plan": "planning",
    "predict": "prediction",
    "save": "checkpoints",
    "train": "runs",
}

__all__ = [
    "ByteArray",
    "GridCodes",
    "InputError",
    "Model",
    "ModelConfig",
    "RowCodes",
    "Segment",
    "build",
    "evaluate",
    "explain_files",
    "import_published",
    "load",
    "plan",
    "predict",
    "save",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sensorium' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
