"""The configuration of each signal as it is measured on the training examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from ..data import Examples, Source
from ..errors import InputError
from ..modalities import KINDS, FusionConfig, ModalityConfig, Raw, SingleConfig
from ..models.auto import parts_of

MANY = 20_000  # examples, of which not each is touched before training
MOST_BYTES = 1 << 28  # of values in memory that sizes and statistics are measured on
MEASURED = 400  # training files that sizes and statistics are measured on; of values in memory, all are


def measure(source: Source) -> ModalityConfig:
    """The configuration of the modality that fits the training examples: sizes, rates and statistics.

    Raises:
        InputError: a signal that no training example has, or examples that cannot be read or disagree.
    """
    configs = {name: _measure_signal(name, kind, source.splits) for name, kind in source.kinds.items()}
    return FusionConfig(modalities=configs) if len(configs) > 1 else next(iter(configs.values()))


def with_statistics(inputs: ModalityConfig, splits: Mapping[str, Examples]) -> ModalityConfig:
    """A paper's inputs with the statistics of the data, where the paper states none."""
    parts = parts_of(inputs)
    if not isinstance(inputs, FusionConfig):
        (only,) = next(iter(splits.values())).raws
        return _measure_signal(only, inputs.kind, splits, like=inputs)
    measured = {
        name: part if KINDS[part.kind].from_labels else _measure_signal(name, part.kind, splits, like=part)
        for name, part in parts.items()
    }
    return replace(inputs, modalities=measured)


def _measure_signal(
    name: str, kind: str, splits: Mapping[str, Examples], *, like: SingleConfig | None = None
) -> SingleConfig:
    """The configuration of one signal that fits the examples it is measured on.

    Args:
        like: the configuration of which only the statistics are measured; None: everything is.
    """
    modality = KINDS[kind]
    measure = modality.measure if like is None else partial(modality.with_statistics, like)
    named = _measured(name, kind, splits if modality.measured_on == "all" else {"train": splits["train"]})
    if not named:
        raise InputError(f"{name}: no training example has it; take it out of `inputs` in dataset.yaml")
    try:
        return measure([raw for _, raw in named])
    except InputError as error:
        # One bad file must not end it here: decoding sets it aside, or names it.
        return measure(_readable(measure, named, error))


def _measured(name: str, kind: str, splits: Mapping[str, Examples]) -> list[tuple[str, Raw]]:
    """The names and the raws that a signal is measured on: evenly chosen files, or all values in memory, of which there
    may be less than 256 MB. Of many examples, few are touched."""
    total = sum(map(len, splits.values()))

    def present(step: int) -> list[tuple[str, Raw]]:
        everywhere = ((examples, index) for examples in splits.values() for index in range(len(examples)))
        chosen = ((part, index, part.raws[name][index]) for part, index in islice(everywhere, 0, None, step))
        return [(examples.names[index], raw) for examples, index, raw in chosen if raw is not None]

    in_steps = max(1, total // MEASURED)
    found = present(in_steps if total > MANY else 1) or present(1)
    if not found:
        return []
    if KINDS[kind].reads_files(found[0][1]):
        return found[:: max(1, len(found) // MEASURED)]
    if total > MANY:
        size = getattr(getattr(found[0][1], "values", found[0][1]), "nbytes", 0)
        return present(min(in_steps, 1 + size * total // MOST_BYTES))
    return found


def _readable(
    measure: Callable[[Sequence[Raw]], Any], named: Sequence[tuple[str, Raw]], error: InputError
) -> list[Raw]:
    """The examples (with their names) that can be read by themselves.

    Raises:
        InputError: none can, or they disagree.
    """
    readable = []
    for name, raw in named:
        try:
            measure([raw])
        except InputError as problem:
            error = InputError(f"{name}: {problem}")
        else:
            readable.append(raw)
    if not readable:
        raise error
    return readable
