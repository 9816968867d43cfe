"""A model as a function of plain tensors, which can be exported: its inputs and outputs, and what to know of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import to_dict
from ..errors import InputError
from ..modalities import Batch
from ..models.perceiver import Perceiver, evaluating
from ..tasks import AnyPrediction

LEAST_LENGTH = 64  # of an axis that is left open: the branches of short signals are left out of programs
BATCH = "batch"  # the name of the open first axis


@dataclass(frozen=True)
class Input:
    """A tensor that an exported program takes.

    Attributes:
        name: of the field in a batch: a signal, or one that describes it, such as ``points.mask``.
        dtype: ``float32``, ``int64`` or ``bool``.
        shape: ``batch``, then sizes; the name of an open axis where it has a range of lengths.
        lengths: of the open axis, which is the second one; None: there is none.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    lengths: range | None = None


class Portable(nn.Module):
    """A model whose arguments and results are tensors in a fixed order.

    Args:
        model: the model, whose parameters it shares.
        inputs: the fields of a batch that it takes, in this order.
        outputs: the names of its results: ``output`` and ``scores``, as of the task's prediction; of several signals,
            ``scores.NAME`` and so on.
    """

    def __init__(self, model: Perceiver, inputs: tuple[Input, ...], outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.inputs, self.outputs = model, inputs, outputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The results in the order of ``outputs``, each batch first."""
        fields = {spec.name: tensor for spec, tensor in zip(self.inputs, tensors, strict=True)}
        return tuple(self.named(self.model(fields)).values())

    @staticmethod
    def named(prediction: AnyPrediction) -> dict[str, Tensor]:
        """The tensors of a prediction by name."""
        return {**_named("output", prediction.output), **_named("scores", prediction.scores)}


def portable(model: Perceiver, batch: Batch) -> Portable:
    """A model as a function of the fields of a batch that it reads.

    Args:
        model: the model.
        batch: examples as ``Modality.load`` gives them.

    Raises:
        InputError: a signal is missing that the model reads.
    """
    lacking = [modality.name for modality in model.inputs.modalities if modality.name not in batch]
    if lacking:
        raise InputError(f"no example has {lacking[0]}; give examples with every signal that the model reads")
    fields = _Recorded(_fields(model, batch))
    with evaluating(model):
        outputs = Portable.named(model(fields))
    names = [name for name in fields if name in fields.used]
    return Portable(model, tuple(_input(model, name, fields[name]) for name in names), tuple(outputs))


def fitted(program: Portable, view: Batch) -> dict[str, Tensor]:
    """The inputs of a program from a view of examples: cast, padded to a length that the program takes, and with the
    fields that may be missing: masks of signals without padding, zeros for signals that are absent.

    Args:
        view: as the modality's ``views`` and the task's ``prepare`` give it.
    """
    complete = _completed(program.model, view)
    count = len(next(iter(view.values())))
    return {
        spec.name: _padded(_cast(complete[spec.name]), spec) if spec.name in complete else _zeros(count, spec)
        for spec in program.inputs
    }


def facts(program: Portable) -> dict[str, Any]:
    """What a user of the program must know: inputs, outputs, classes, and how signals become inputs."""
    model = program.model
    return {
        "task": model.config.task.kind,
        "classes": list(model.task.classes),
        "inputs": [
            {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape), **_length_facts(spec)}
            for spec in program.inputs
        ],
        "outputs": list(program.outputs),
        "signals": {
            modality.name: {
                "about": inspect.cleandoc(type(modality).__doc__ or "").split("\n\n")[0].replace("\n", " "),
                **to_dict(modality.config),
            }
            for modality in model.inputs.modalities
        },
    }


def _length_facts(spec: Input) -> dict[str, int]:
    """The range of an open axis in words."""
    lengths = spec.lengths
    if lengths is None:
        return {}
    return {"shortest": lengths[0], "longest": lengths[-1], "multiple_of": lengths.step}


def _named(name: str, values: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    if isinstance(values, Tensor):
        return {name: values}
    return {f"{name}.{part}": tensor for part, tensor in values.items()}


class _Recorded(dict[str, Tensor]):
    """A batch that knows which of its fields were used."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.used.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.used |= {name} & self.keys()
        return super().get(name, default)


def _fields(model: Perceiver, batch: Batch) -> dict[str, Tensor]:
    """All that a model may read of some examples."""
    view = next(iter(model.inputs.views({name: tensor for name, tensor in batch.items() if name != "target"})))
    return _completed(model, model.prepare(view).inputs)


def _completed(model: Perceiver, view: Batch) -> dict[str, Tensor]:
    """A view in which all masks are there that it might have."""
    complete, count = dict(view), len(next(iter(view.values())))
    several = len(model.inputs.modalities) > 1
    for modality in model.inputs.modalities:
        name, signal = modality.name, view.get(modality.name)
        if several and (signal is None or f"{name}.present" not in view):
            complete[f"{name}.present"] = torch.full((count,), signal is not None)
        if modality.ragged and signal is not None and f"{name}.mask" not in view:
            complete[f"{name}.mask"] = torch.ones(signal.shape[:2], dtype=torch.bool)
    return complete


def _input(model: Perceiver, name: str, tensor: Tensor) -> Input:
    cast, lengths = _cast(tensor), _lengths_of(model, name)
    dtype = str(cast.dtype).removeprefix("torch.")
    if lengths is None:
        return Input(name, dtype, (BATCH, *cast.shape[1:]))
    first: int | str = lengths[0] if len(lengths) == 1 else f"{name.partition('.')[0]} length"
    return Input(name, dtype, (BATCH, first, *cast.shape[2:]), lengths)


def _lengths_of(model: Perceiver, name: str) -> range | None:
    """The lengths that a program takes of the second axis of a field; None: it has one size. Short ones are left out:
    they are padded."""
    owner, _, field = name.partition(".")
    modality = next((modality for modality in model.inputs.modalities if modality.name == owner), None)
    if modality is None or modality.view_lengths is None or field not in ("", "mask", "times", "hidden"):
        return None
    if field == "hidden":
        return range(modality.num_rows, modality.num_rows + 1)
    lengths = modality.view_lengths
    least = -(-LEAST_LENGTH // lengths.step) * lengths.step
    if not model.task.per_example or lengths[-1] < 2 * least:
        least = lengths[-1]
    return range(least, lengths[-1] + 1, lengths.step)


def _cast(tensor: Tensor) -> Tensor:
    """In float32, int64 or bool."""
    if tensor.dtype == torch.bool:
        return tensor
    return tensor.float() if tensor.is_floating_point() else tensor.long()


def _padded(tensor: Tensor, spec: Input) -> Tensor:
    """Zeros (False in masks) behind the end, up to the next length that the program takes."""
    if spec.lengths is None:
        return tensor
    length = next((length for length in spec.lengths if length >= tensor.shape[1]), spec.lengths[-1])
    behind = (0, 0) * (tensor.ndim - 2) + (0, length - tensor.shape[1])
    return F.pad(tensor, behind)


def _zeros(count: int, spec: Input) -> Tensor:
    """The input of a signal that no example has."""
    sizes = [size if isinstance(size, int) else (spec.lengths or (0,))[0] for size in spec.shape[1:]]
    return torch.zeros(count, *sizes, dtype=getattr(torch, spec.dtype))
