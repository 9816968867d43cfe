"""What ``sensorium predict`` says of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from torch import Tensor

from ..modalities import Batch
from .predictions import PredictionT


@dataclass(frozen=True)
class Answer:
    """What ``sensorium predict`` says of one example.

    Attributes:
        file: the file, and the row in it where it holds several examples.
        answer: the likeliest class, the tags above one half, the targets by name, the text with its [MASK] bytes filled
            in, or the paths of the files that were written; None: the example cannot be read.
        scores: by name: of the likeliest classes, of the tags, or of the targets; of optical flow, its mean and its
            error in pixels.
        holes: of each [MASK] byte, in order, the likeliest bytes with their probabilities.
        label: of a signal whose label was reconstructed, the likeliest classes with their probabilities.
        shares: of each cross-attend, in order, the share of its attention that each modality got.
        deletion: of each method of attribution, and of random orders, the deletion score; lower is better.
        target: what the answer is called: the name of the column or key that the model learned; None: it has none.
        remarks: what is odd about the example, compared with those of training; a line for each.
        error: why the example cannot be read or answered.
        flow: of optical flow that is not written to a file: by how many pixels each pixel of the first frame moves to
            the right, and downwards; float32, 2 × height × width.
    """

    file: str
    answer: str | list[str] | dict[str, float] | None
    scores: dict[str, float] = field(default_factory=dict)
    holes: list[dict[str, float]] | None = None
    label: dict[str, float] | None = None
    shares: list[dict[str, float]] | None = None
    deletion: dict[str, float] | None = None
    target: str | None = None
    remarks: tuple[str, ...] = ()
    error: str | None = None
    flow: np.ndarray | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON, without what this answer does not have, and without arrays.

        >>> Answer("a.png", "cat", {"cat": 0.9}).to_dict()
        {'file': 'a.png', 'answer': 'cat', 'scores': {'cat': 0.9}}
        """
        names = ("file", "target", "answer", "holes", "scores", "label", "shares", "deletion", "remarks", "error")
        values = {name: getattr(self, name) for name in names} | {"remarks": list(self.remarks) or None}
        return {name: value for name, value in values.items() if value is not None}


Predict: TypeAlias = Callable[[Batch], PredictionT]  # a view of some examples -> the model's prediction


class OpenedExamples(Protocol):
    """The examples in some files.

    Attributes:
        names: of the examples: their files, and the row where a file holds several.
        raws: by modality, what each example is read from: a path, or the content of a table's cell.
        numbers: of the examples, from 1 on; the names of files that are written begin with them.
    """

    names: Sequence[str]
    raws: Mapping[str, Sequence[Any]]
    numbers: Sequence[int]

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int], /) -> dict[str, Tensor]:
        """The examples at ``indices``, decoded, as a batch."""
