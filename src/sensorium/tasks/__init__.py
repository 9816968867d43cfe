"""What models are trained for: TASKS, one readable table."""

from __future__ import annotations

from typing import Annotated, Any

from ..config import OneOf
from ..modalities import Modality
from .answers import Answer
from .base import Task, TaskSettings
from .classify import Classify, ClassifyConfig
from .flow import Flow, FlowConfig, FlowPrediction
from .mlm import IGNORED, MLM, MLMConfig
from .predictions import AnyPrediction, Prediction, Prepared, SignalQueries
from .reconstruct import Reconstruct, ReconstructConfig
from .reconstruction import Reconstruction, ReconstructionTarget
from .regress import Regress, RegressConfig
from .tag import Tag, TagConfig

__all__ = [
    "IGNORED",
    "MLM",
    "TASKS",
    "Answer",
    "AnyPrediction",
    "Classify",
    "ClassifyConfig",
    "Flow",
    "FlowConfig",
    "FlowPrediction",
    "MLMConfig",
    "Prediction",
    "Prepared",
    "Reconstruct",
    "ReconstructConfig",
    "Reconstruction",
    "ReconstructionTarget",
    "Regress",
    "RegressConfig",
    "SignalQueries",
    "Tag",
    "TagConfig",
    "Task",
    "TaskConfig",
    "build_task",
]

TASKS: dict[str, type[Task[Any, Any]]] = {
    "classify": Classify,
    "tag": Tag,
    "regress": Regress,
    "mlm": MLM,
    "reconstruct": Reconstruct,
    "flow": Flow,
}

TaskConfig = Annotated[Any, OneOf(TASKS)]


def build_task(config: TaskSettings, *, inputs: Modality, query_channels: int | None = None) -> Task[Any, Any]:
    """The task that a configuration describes; arguments as of :class:`Task`."""
    return TASKS[config.kind](config, inputs=inputs, query_channels=query_channels)
