"""What the rules of ``auto`` depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...modalities import FusionConfig, ModalityConfig, SingleConfig
from ...tasks import TASKS

MINUTES = 20.0  # where no time is given


@dataclass(frozen=True)
class Facts:
    """What the rules depend on besides the signal's own shape.

    Attributes:
        task: its name in ``TASKS``.
        examples: the number of training examples.
        minutes, epochs, steps: the limits given; None: not given.
        stems: whether signals have stems; False: the plain Perceiver, whose rows are patches.
    """

    task: str
    examples: int
    minutes: float | None = None
    epochs: float | None = None
    steps: int | None = None
    stems: bool = True

    @property
    def per_example(self) -> bool:
        """Whether the task has one answer for each example, rather than one for each row."""
        return TASKS[self.task].per_example


def parts_of(inputs: ModalityConfig) -> Mapping[str, SingleConfig]:
    """The configuration of each modality by its name, which is its kind where there is only one.

    >>> from sensorium.modalities import PointsConfig
    >>> list(parts_of(PointsConfig()))
    ['points']
    """
    return inputs.modalities if isinstance(inputs, FusionConfig) else {inputs.kind: inputs}
