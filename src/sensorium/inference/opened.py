"""The examples in anything, opened for a trained model: laid out as the data that it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from ..config import from_dict, read_yaml
from ..data import DataConfig, Examples, Unlabelled, Unreadable, collate, open_values
from ..errors import InputError
from ..modalities.base import Sample
from ..models import checkpoints
from ..models.perceiver import Perceiver
from ..threads import thread_pool
from .devices import chosen_device

T = TypeVar("T")


class OpenedFiles:
    """Examples for a trained model; each is decoded when it is needed.

    Attributes:
        names: of the examples: their files, and the row where a file holds several.
        raws: by modality, what each example is read from.
        numbers: of the examples, from 1 on.
        notes: what people should know of them, such as files that were left out.
        target: what the model's answers are called; None: the data that it was trained on has no name for them.
        problems: why an example cannot be decoded, by its index; filled as batches are asked for.
    """

    def __init__(
        self,
        model: Perceiver,
        examples: Examples,
        *,
        notes: Sequence[str] = (),
        target: str | None = None,
        numbers: Sequence[int] | None = None,
    ) -> None:
        self.names: Sequence[str] = examples.names
        self.raws: Mapping[str, Sequence[Any]] = examples.raws
        self.numbers = numbers or range(1, len(examples) + 1)
        self.notes = tuple(notes)
        self.target = target
        self.problems: dict[int, str] = {}
        self._model = model
        self._examples = examples

    def __len__(self) -> int:
        return len(self.names)

    def part(self, indices: Sequence[int]) -> OpenedFiles:
        """The examples at ``indices``."""
        numbers = [self.numbers[index] for index in indices]
        return OpenedFiles(self._model, self._examples.select(indices), target=self.target, numbers=numbers)

    def batch(self, indices: Sequence[int], /) -> dict[str, Tensor]:
        """The examples at ``indices``, decoded, as a batch.

        Raises:
            InputError: an example that cannot be read: the first of those that are now in ``problems``.
        """
        with thread_pool(min(len(indices), cpu_count() or 1)) as pool:
            samples = list(pool.map(self.decode, indices))
        problems = {index: sample for index, sample in zip(indices, samples, strict=True) if isinstance(sample, str)}
        if problems:
            self.problems |= problems
            first = min(problems)
            raise InputError(f"{self.names[first]}: {problems[first]}")
        return _batch(self._model, [sample for sample in samples if not isinstance(sample, str)])

    def remarks(self, index: int) -> tuple[str, ...]:
        """What is odd about an example that can be read."""
        raw = self.raws[self._model.inputs.name][index]
        return () if raw is None or isinstance(raw, Unreadable) else self._model.inputs.remarks(raw)

    def decode(self, index: int) -> Sample | str:
        """The example as arrays; or why it cannot be read."""
        return self._decoded(index, self._model.inputs.load)

    def decode_whole(self, index: int) -> tuple[Any, Sample] | str:
        """All that an answer needs of the example: what it is read from, decoded, and its arrays. Or why it cannot be
        read."""
        return self._decoded(index, self._model.task.decoded)

    def _decoded(self, index: int, decode: Callable[[Any], T]) -> T | str:
        raw = self.raws[self._model.inputs.name][index]
        if isinstance(raw, Unreadable):
            return raw.reason
        try:
            if raw is None:
                raise InputError("it is empty; fill it in or remove the row")
            return decode(raw)
        except (InputError, OSError) as error:
            return str(error)


@dataclass(frozen=True)
class DecodedExample:
    """One example that is decoded already.

    Attributes:
        name: of the example.
        raw: what it was read from.
        sample: its arrays.
        target: what the model's answer is called; None: it has no name.
        remarks: what is odd about it.
    """

    name: str
    raw: Any
    sample: Sample
    target: str | None = None
    remarks: tuple[str, ...] = ()


class DecodedExamples:
    """Examples of any origin that are decoded already, together, with what :class:`OpenedFiles` has of them."""

    def __init__(self, model: Perceiver, examples: Sequence[DecodedExample]) -> None:
        self.names: Sequence[str] = [example.name for example in examples]
        self.raws: Mapping[str, Sequence[Any]] = {model.inputs.name: [example.raw for example in examples]}
        self.numbers: Sequence[int] = range(1, len(examples) + 1)
        self.target = examples[0].target if examples else None
        self.problems: dict[int, str] = {}
        self._model = model
        self._examples = examples

    def __len__(self) -> int:
        return len(self.names)

    def part(self, indices: Sequence[int]) -> DecodedExamples:
        """The examples at ``indices``."""
        return DecodedExamples(self._model, [self._examples[index] for index in indices])

    def batch(self, indices: Sequence[int], /) -> dict[str, Tensor]:
        """The examples at ``indices`` as a batch."""
        return _batch(self._model, [self._examples[index].sample for index in indices])

    def remarks(self, index: int) -> tuple[str, ...]:
        """What is odd about an example."""
        return self._examples[index].remarks


def _batch(model: Perceiver, samples: Sequence[Sample]) -> dict[str, Tensor]:
    ragged = [modality.name for modality in model.inputs.modalities if modality.ragged]
    return collate(samples, ragged=ragged)


def open_run(run: str | Path | Perceiver, anything: Any, *, device: str = "auto") -> tuple[Perceiver, OpenedFiles]:
    """A run's model, and the examples in anything, laid out as the data that it was trained on.

    Args:
        run, anything: as for :func:`predict`.
        device: where the model computes: ``cpu``, ``cuda``, ``cuda:1``, …; ``auto``: a GPU where there is one. A model
            that is handed in stays where it is with ``auto``.

    Raises:
        InputError: there is no model or device, or no such file, or a file of another kind.
    """
    model, description = load_run(run, device=device)
    if isinstance(anything, tuple) and all(isinstance(value, str | Path) for value in anything):
        anything = list(anything)  # of paths, as the command line has them; any other tuple may be one example
    found = open_values(anything, model.inputs, description=description)
    return model, opened(model, found, description)


def load_run(run: str | Path | Perceiver, *, device: str = "auto") -> tuple[Perceiver, DataConfig]:
    """A run's model, and the description of the data that it was trained on; arguments as of :func:`open_run`.

    Raises:
        InputError: there is no model or device.
    """
    if isinstance(run, Perceiver):
        model, description = run, DataConfig()
    else:
        model, description = checkpoints.load(run), _description(Path(run))
    if device != "auto" or not isinstance(run, Perceiver):
        model.to(chosen_device(device))
    return model, description


def opened(model: Perceiver, found: Unlabelled, description: DataConfig) -> OpenedFiles:
    """Examples for a model that was trained on data of this description."""
    column = description.target.column
    target = column if isinstance(column, str) else None
    return OpenedFiles(model, found.examples, notes=found.notes, target=target)


def answer_inputs(model: Perceiver, examples: OpenedFiles | DecodedExamples, index: int) -> dict[str, Tensor]:
    """What the model reads of one example when it answers, on the CPU: a text with its [MASK] hidden, another signal
    with the parts hidden that an evaluation hides."""
    batch = examples.batch([index])
    return {name: tensor.cpu() for name, tensor in model.task.answer_inputs(model.to_device(batch)).items()}


def _description(run: Path) -> DataConfig:
    """Of the data that a run was trained on; for a folder of weights alone, the default."""
    path = run / "config.yaml"
    if not path.exists():
        return DataConfig()
    values = checkpoints.check_format(read_yaml(path), where=path)
    return from_dict(DataConfig, values.get("data", {}), where=str(path))
