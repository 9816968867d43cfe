"""What is asked of a signal: TASKS, one readable table."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic

from ..modalities import Modality
from .base import Prediction, Prepared, Task
from .classify import Classify, ClassifyConfig
from .flow import Flow, FlowConfig, FlowPrediction
from .mlm import IGNORED, MLM, MLMConfig
from .reconstruct import Reconstruct, ReconstructConfig, Reconstruction
from .regress import Regress, RegressConfig
from .tag import Tag, TagConfig

__all__ = [
    "IGNORED",
    "MLM",
    "TASKS",
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
    "Regress",
    "RegressConfig",
    "Tag",
    "TagConfig",
    "Task",
    "TaskConfig",
    "build_task",
]

TaskConfig = Annotated[
    ClassifyConfig | TagConfig | RegressConfig | MLMConfig | ReconstructConfig | FlowConfig,
    pydantic.Field(discriminator="kind"),
]

TASKS: dict[str, type[Task]] = {
    "classify": Classify,
    "tag": Tag,
    "regress": Regress,
    "mlm": MLM,
    "reconstruct": Reconstruct,
    "flow": Flow,
}


def build_task(config: Any, *, inputs: Modality, channels: int | None = None) -> Task:
    """The task that a configuration describes; arguments as of :class:`Task`."""
    return TASKS[config.kind](config, inputs=inputs, channels=channels)
