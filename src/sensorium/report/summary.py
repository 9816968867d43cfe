"""``report.json``: the numbers of a report as plain values."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Assumption, Samples
from ..inference.attention_maps import mean_attention_shares
from ..inference.baselines import Beside
from ..inference.environment import versions
from ..inference.evaluate import Evaluation
from ..models.perceiver import Perceiver


def collect(
    model: Perceiver,
    samples: Samples,
    evaluation: Evaluation,
    *,
    config: Mapping[str, Any],
    train_seconds: float,
    seed: int,
    warnings: Sequence[str],
    assumptions: Sequence[Assumption],
    beside: Beside,
) -> dict[str, Any]:
    """Everything that ``report.json`` holds: plain values only, None where a number is not defined.

    Arguments are those of :func:`write_report`.
    """
    report = {
        "task": model.task.config.kind,
        "split": evaluation.split,
        "samples": evaluation.samples,
        "seen_in_training": evaluation.seen_in_training,
        "primary_metric": model.task.primary_metric,
        "metrics": evaluation.metrics,
        "parameters": model.parameter_count(),
        "train_seconds": round(train_seconds, 3),
        "seed": seed,
        "classes": model.task.classes,
    }
    if evaluation.targets is not None:
        report |= model.task.summarise(evaluation.scores, evaluation.targets)
    if len(model.inputs.modalities) > 1 and model.cross_attends:
        report["attention_shares"] = mean_attention_shares(model, samples)
    if beside.majority is not None:
        report |= {"majority": beside.majority, "baselines": list(beside.baselines)}
    report |= {
        "set_aside": list(samples.set_aside),
        "warnings": list(warnings),
        "assumptions": list(assumptions),
        "config": config,
        "versions": versions(),
    }
    plain_report: dict[str, Any] = plain(report)
    return plain_report


def plain(value: Any) -> Any:
    """A value in the types of JSON: numpy numbers, tuples, paths and dataclasses are converted; NaN and infinities
    become None.

    >>> plain({"loss": float("nan"), "size": (np.int64(8), 8)})
    {'loss': None, 'size': [8, 8]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def to_json(report: Mapping[str, Any]) -> str:
    """The report as JSON with a line for each key, so that a matrix does not take a line for each number."""
    lines = [
        f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
        for key, value in report.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"
