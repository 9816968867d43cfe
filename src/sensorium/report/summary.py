"""The numbers of a report: what ``report.json`` holds, and how numbers are told to people."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from math import isfinite, nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data import Samples
from ..inference.attention_maps import mean_attention_shares
from ..inference.environment import versions
from ..inference.evaluate import Evaluation
from ..models.perceiver import Perceiver

WORST = 20  # confusions that are listed


def collect(
    model: Perceiver,
    samples: Samples,
    evaluation: Evaluation,
    *,
    config: Mapping[str, Any],
    train_seconds: float,
    seed: int,
    warnings: Sequence[str],
) -> dict[str, Any]:
    """Everything that is in ``report.json``: plain values only, and None where a number is not defined."""
    kind, classes = model.task.config.kind, model.task.classes
    scores, targets = evaluation.scores, evaluation.targets
    report = {
        "task": kind,
        "split": evaluation.split,
        "samples": evaluation.samples,
        "primary_metric": model.task.primary_metric,
        "metrics": evaluation.metrics,
        "parameters": model.parameter_count(),
        "train_seconds": round(train_seconds, 3),
        "seed": seed,
        "classes": classes,
    }
    if targets is None:
        pass  # an answer is a signal: there is nothing to tell of classes
    elif kind == "classify":
        confusion = confusion_matrix(scores, targets)
        right = int(confusion.trace())
        report["accuracy_interval"] = wilson(right, evaluation.samples)
        report["per_class"] = dict(zip(classes, _class_scores(confusion), strict=True))
        report["worst_confusions"] = _worst_confusions(confusion, classes)
        report["confusion"] = confusion.tolist()
    else:
        score = _tag_scores if kind == "tag" else _target_scores
        targets = targets.reshape(scores.shape)
        report["per_class"] = {name: score(scores[:, k], targets[:, k]) for k, name in enumerate(classes)}
    if len(model.inputs.modalities) > 1 and model.cross_attends:
        report["attention_shares"] = mean_attention_shares(model, samples)
    report |= {
        "set_aside": list(samples.set_aside),
        "warnings": list(warnings),
        "config": config,
        "versions": versions(),
    }
    plain_report: dict[str, Any] = plain(report)
    return plain_report


def plain(value: Any) -> Any:
    """Values as JSON has them: numpy numbers, tuples, paths and records made plain, NaN and infinities None.

    >>> plain({"loss": float("nan"), "size": (np.int64(8), 8)})
    {'loss': None, 'size': [8, 8]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(below) for key, below in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple | set):
        return [plain(below) for below in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share: where the true one lies, going by ``right`` of ``count`` examples.

    >>> low, high = wilson(90, 100)
    >>> round(low, 3), round(high, 3)
    (0.826, 0.945)
    """
    z = 1.959964
    share = right / count
    centre = share + z * z / (2 * count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def confusion_matrix(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """How often each class (row) was taken for each class (column): classes × classes, int64."""
    matrix = np.zeros((scores.shape[1],) * 2, np.int64)
    np.add.at(matrix, (targets.astype(np.int64), scores.argmax(1)), 1)
    return matrix


def _class_scores(confusion: np.ndarray) -> list[dict[str, float]]:
    """Scores of each class. Not defined: precision of one that is never answered, recall of one without examples."""
    right, answered, count = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
    return [
        {
            "precision": _ratio(right[k], answered[k]),
            "recall": _ratio(right[k], count[k]),
            "f1": _ratio(2 * right[k], answered[k] + count[k]),
            "count": int(count[k]),
        }
        for k in range(len(confusion))
    ]


def _worst_confusions(confusion: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    count = confusion.sum(1)
    order = np.argsort(-wrong, axis=None, kind="stable")[:WORST]
    pairs = [np.unravel_index(place, wrong.shape) for place in order]
    return [
        {
            "true": classes[true],
            "predicted": classes[predicted],
            "count": int(wrong[true, predicted]),
            "share": _ratio(int(wrong[true, predicted]), int(count[true])),
        }
        for true, predicted in pairs
        if wrong[true, predicted]
    ]


def _tag_scores(scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    from torchmetrics.functional.classification import binary_average_precision

    positive = torch.from_numpy(targets > 0.5)
    precision = float(binary_average_precision(torch.from_numpy(scores), positive.long())) if positive.any() else nan
    return {"average_precision": precision, "count": int(positive.sum())}


def _target_scores(scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    error = scores.astype(np.float64) - targets
    spread = float(np.square(targets - targets.mean()).sum())
    return {
        "r2": 1 - float(np.square(error).sum()) / spread if spread else nan,
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.square(error).mean())),
    }


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else nan


# -- for people -------------------------------------------------------------------------------------------------------


def percent(share: float | None) -> str:
    """A share, as people say it; the space does not break.

    >>> percent(0.9637), percent(1.0), percent(None)
    ('96.4\\xa0%', '100.0\\xa0%', '–')
    """
    if share is None or not isfinite(share):
        return "–"
    return f"{100 * share:.1f}\u00a0%"


def figure(value: float | None) -> str:
    """A number of any size, to three or four digits.

    >>> figure(0.123456), figure(-7), figure(1234.5), figure(None)
    ('0.1235', '-7', '1,234', '–')
    """
    if value is None or not isfinite(value):
        return "–"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3g}"
    return f"{value:.4g}"


def amount(count: int) -> str:
    """A count, shortened from a million on.

    >>> amount(57412), amount(44912254)
    ('57,412', '44.9 M')
    """
    return f"{count:,}" if count < 1_000_000 else f"{count / 1e6:.1f} M"


def duration(seconds: float) -> str:
    """A time span in the unit that suits it.

    >>> duration(12.3), duration(90), duration(9000)
    ('12 s', '1.5 min', '2.5 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
