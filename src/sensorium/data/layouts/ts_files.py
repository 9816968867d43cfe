"""sktime and aeon ``.ts`` text: one series a line, channels between colons, the label last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...codecs.series import decode_ts
from ...errors import InputError
from ...files import ending
from ..description import DataConfig, InputConfig, in_split_order
from ..examples import Listing
from ..recognition.recognise import SERIES, check_kind, files_by_split


def list_ts(root: Path, files: Iterable[Path], description: DataConfig) -> Listing:
    """Every series of ``NAME_TRAIN.ts`` and ``NAME_TEST.ts`` (or of one file), steps × channels, float32.

    Raises:
        InputError: a line that is not as the format says, with its number.
    """
    parts = files_by_split(root, (path for path in files if ending(path) == ".ts"), description)
    series: list[np.ndarray] = []
    labels: list[str] = []
    names: list[str] = []
    split_names: list[str] = []
    numeric = False
    for split, path in parts:
        file = decode_ts(path)
        numeric = file.has_numeric_labels
        series += file.series
        labels += file.labels
        names += [f"{path.name} series {number}" for number in range(1, len(file.series) + 1)]
        split_names += [split] * len(file.series)
    name, config = next(iter((description.inputs or {}).items()), (SERIES, InputConfig(kind=SERIES)))
    return Listing(
        kinds={name: check_kind(config.kind or SERIES)},
        raws={name: series},
        names=names,
        labels=_numbers(labels, parts) if numeric else np.array(labels, dtype=object),
        split_names=np.array(split_names) if any(split_names) else None,
        description=replace(
            description,
            layout="ts",
            inputs={name: replace(config, kind=config.kind or SERIES)},
            splits=in_split_order({split: path.name for split, path in parts}),
        ),
    )


def _numbers(labels: list[str], parts: list[tuple[str, Path]]) -> np.ndarray:
    try:
        return np.array(labels, dtype=np.float32)
    except ValueError as error:
        raise InputError(f"{parts[0][1]}: a target is not a number ({error})") from None
