"""sensorium: general perception with iterative attention, the Perceiver for any signal.

The names below load what they need when they are first used, so ``import sensorium`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import InputError
    from .inference.embed import embed
    from .inference.predict import predict
    from .models.checkpoints import load, save
    from .models.perceiver import Perceiver, PerceiverConfig
    from .models.presets import build
    from .models.published import import_published
    from .nn.byte_array import ByteArray, GridPositions, PointPositions, Segment
    from .report.explanation import explain_files
    from .tasks.answers import Answer
    from .training.compare import compare
    from .training.estimator import SensoriumClassifier, SensoriumRegressor
    from .training.plan import plan
    from .training.run import evaluate, train
    from .training.run_export import export

_MODULES = {
    "Answer": "tasks.answers",
    "ByteArray": "nn.byte_array",
    "GridPositions": "nn.byte_array",
    "InputError": "errors",
    "Perceiver": "models.perceiver",
    "PerceiverConfig": "models.perceiver",
    "PointPositions": "nn.byte_array",
    "Segment": "nn.byte_array",
    "SensoriumClassifier": "training.estimator",
    "SensoriumRegressor": "training.estimator",
    "build": "models.presets",
    "compare": "training.compare",
    "embed": "inference.embed",
    "evaluate": "training.run",
    "explain_files": "report.explanation",
    "export": "training.run_export",
    "import_published": "models.published",
    "load": "models.checkpoints",
    "plan": "training.plan",
    "predict": "inference.predict",
    "save": "models.checkpoints",
    "train": "training.run",
}

__all__ = [
    "Answer",
    "ByteArray",
    "GridPositions",
    "InputError",
    "Perceiver",
    "PerceiverConfig",
    "PointPositions",
    "Segment",
    "SensoriumClassifier",
    "SensoriumRegressor",
    "build",
    "compare",
    "embed",
    "evaluate",
    "explain_files",
    "export",
    "import_published",
    "load",
    "plan",
    "predict",
    "save",
    "train",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("sensorium")
    if name not in _MODULES:
        raise AttributeError(f"module 'sensorium' has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
