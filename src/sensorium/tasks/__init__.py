"""What is asked of a signal: TASKS, one readable table."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic

from ..modalities import Modality
from .base import Answer, Question, Task
from .fill import IGNORED, Fill, FillConfig
from .flow import Flow, FlowAnswer, FlowConfig
from .named import Classify, ClassifyConfig, Regress, RegressConfig, Tag, TagConfig
from .reconstruct import Reconstruct, ReconstructConfig, Reconstruction

__all__ = [
    "IGNORED",
    "TASKS",
    "Answer",
    "Classify",
    "ClassifyConfig",
    "Fill",
    "FillConfig",
    "Flow",
    "FlowAnswer",
    "FlowConfig",
    "Question",
    "Reconstruct",
    "ReconstructConfig",
    "Reconstruction",
    "Regress",
    "RegressConfig",
    "Tag",
    "TagConfig",
    "Task",
    "TaskConfig",
    "task",
]

TaskConfig = Annotated[
    ClassifyConfig | TagConfig | RegressConfig | FillConfig | ReconstructConfig | FlowConfig,
    pydantic.Field(discriminator="kind"),
]

TASKS: dict[str, type[Task]] = {
    "classify": Classify,
    "tag": Tag,
    "regress": Regress,
    "fill": Fill,
    "reconstruct": Reconstruct,
    "flow": Flow,
}


def task(config: Any, *, inputs: Modality, channels: int | None = None) -> Task:
    """The task that a configuration describes; arguments as of :class:`Task`."""
    return TASKS[config.kind](config, inputs=inputs, channels=channels)
