"""What a trained model says of single files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from ..config import from_dict, read_yaml
from ..data import DataConfig, Examples, Samples, load_samples, open_files
from ..errors import InputError
from ..models import checkpoints
from ..models.perceiver import Perceiver
from ..tasks import Answer
from .evaluate import examples_at_a_time


class OpenedFiles:
    """The examples in some files, all decoded when the first batch is asked for.

    Attributes:
        names: of the examples: their files, and the row where a file holds several.
        raws: by modality, what each example is read from.
    """

    def __init__(self, model: Perceiver, examples: Examples) -> None:
        self.names: Sequence[str] = examples.names
        self.raws: Mapping[str, Sequence[Any]] = examples.raws
        self._model = model
        self._examples = examples

    @cached_property
    def samples(self) -> Samples:
        """The examples, decoded.

        Raises:
            InputError: a file that cannot be read.
        """
        samples = load_samples(self._examples, [self._model.inputs])
        if samples.set_aside:
            raise InputError(samples.set_aside[0])
        return samples

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, indices: Sequence[int], /) -> dict[str, Tensor]:
        """The examples at ``indices``, decoded, as a batch.

        Raises:
            InputError: a file that cannot be read.
        """
        return self.samples.batch(indices)


def predict(
    run: str | Path, files: Sequence[str | Path], *, top: int = 3, out: str | Path | None = None
) -> list[Answer]:
    """What a trained model says of each example in some files.

    Args:
        run: a run or weights folder.
        files: signals of the kind that the model was trained on. Of tables and arrays, every example is answered. Pairs
            of frames are two files after one another, or folders, which may also hold their flow.
        top: how many classes to name, the likeliest first; of regression, every target is named.
        out: the folder for predicted signals; by default the folder ``reconstructed`` or ``flow`` in the run.

    Raises:
        InputError: there is no model, or a file cannot be read; all are read before the first one is answered.
    """
    model, examples = open_run(run, files)
    return answers(model, examples, top=top, folder=_default_folder(model, run) if out is None else Path(out))


def answers(model: Perceiver, examples: OpenedFiles, *, top: int = 3, folder: Path | None = None) -> list[Answer]:
    """What a model says of each example.

    Args:
        top: how many classes to name.
        folder: where to write predicted signals; None: they are not written, and only what can be said in words is.

    Raises:
        InputError: an example that cannot be read or answered.
    """
    batch_size = examples_at_a_time(model)
    return model.task.answers(model.predict_view, examples, top=top, batch_size=batch_size, folder=folder)


def open_run(run: str | Path, files: Sequence[str | Path]) -> tuple[Perceiver, OpenedFiles]:
    """A run's model, and the examples in some files, laid out as the data that it was trained on.

    Raises:
        InputError: there is no model, or no such file, or a file of another kind.
    """
    model = checkpoints.load(run)
    description = _description(Path(run))
    return model, OpenedFiles(model, open_files([Path(file) for file in files], model.inputs, description=description))


def answer_inputs(model: Perceiver, examples: OpenedFiles, index: int) -> dict[str, Tensor]:
    """What the model reads of one example when it answers, on the CPU: a text with its [MASK] hidden, another signal
    with the parts hidden that an evaluation hides."""
    batch = examples.batch([index])
    return {name: tensor.cpu() for name, tensor in model.task.answer_inputs(model.to_device(batch)).items()}


def _default_folder(model: Perceiver, run: str | Path) -> Path:
    return Path(run, model.task.answers_folder)


def _description(run: Path) -> DataConfig:
    """Of the data that a run was trained on; for a folder of weights alone, the default."""
    path = run / "config.yaml"
    if not path.exists():
        return DataConfig()
    values = read_yaml(path)
    checkpoints.check_format(values.get("format"), where=path)
    return from_dict(DataConfig, values.get("data", {}), where=str(path))
