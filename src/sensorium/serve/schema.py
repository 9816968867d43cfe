"""What a model takes and answers, for programs that call it, and the forms of requests and answers for OpenAPI."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..config import to_dict
from ..modalities import Modality
from .engine import Engine
from .uploads import FILE

_FACTS = (
    *("size", "frames", "rate", "channels", "samples", "points", "features", "length", "channel_names", "span"),
    *("window", "representation"),
)


def schema(engine: Engine) -> dict[str, Any]:
    """The content of ``/v1/schema``."""
    model = engine.model
    column = engine.description.target.column
    return {
        "model": engine.name,
        "task": model.config.task.kind,
        "target": column if isinstance(column, str) else None,
        "classes": list(model.task.classes),
        "probabilities": model.task.scores_are_probabilities,
        "cross_attends": len(model.cross_attends),
        "parameters": model.parameter_count(),
        "signals": [signal_facts(part) for part in model.inputs.modalities],
        "field": FILE if model.inputs.modalities == (model.inputs,) else None,
        "limits": {name: value for name, value in asdict(engine.limits).items() if name not in ("latency", "decoders")},
    }


def signal_facts(modality: Modality) -> dict[str, Any]:
    """One signal: its name, kind, the endings of its files, and the sizes and rates that it is brought to."""
    config = to_dict(modality.config)
    facts: dict[str, Any] = {name: config[name] for name in _FACTS if config.get(name) not in (None, [], ())}
    if "columns" in config:
        facts["columns"] = _columns(modality)
    suffixes = [*modality.suffixes, *modality.also_reads]
    return {"name": modality.name, "kind": modality.kind, "suffixes": suffixes, **facts}


def _columns(modality: Modality) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "kind": column.kind,
            "categories": list(column.categories),
            "low": column.low,
            "high": column.high,
        }
        for column in modality.config.columns
    ]


BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {FILE: {"type": "array", "items": {"type": "string", "format": "binary"}}},
                    "additionalProperties": {"type": "string", "format": "binary"},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["examples"],
                    "properties": {"examples": {"type": "array", "items": {}}},
                }
            },
        },
    }
}
_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}}
_NUMBERS = {"type": "object", "additionalProperties": {"type": "number", "nullable": True}}
_ANSWER = {
    "type": "object",
    "properties": {
        "file": {"type": "string"},
        "target": {"type": "string"},
        "answer": {"description": "a class, tags, numbers by name, or a text"},
        "scores": _NUMBERS,
        "holes": {"type": "array", "items": _NUMBERS},
        "label": _NUMBERS,
        "shares": {"type": "array", "items": _NUMBERS},
        "remarks": {"type": "array", "items": {"type": "string"}},
        "error": {"type": "string"},
        "vector": {"type": "array", "items": {"type": "number"}},
        "signals": {"type": "object", "additionalProperties": {"type": "object"}},
    },
    "required": ["file"],
}
_ANSWERS = {
    "type": "object",
    "properties": {
        "answers": {"type": "array", "items": _ANSWER},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
}
_STATUSES = {
    401: "the token is missing",
    408: "it took too long",
    413: "it is too large",
    415: "neither a form nor JSON",
    422: "nothing in it can be read: why",
    503: "too many requests; Retry-After says when to try again",
}


def _described(description: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": content}}}


RESPONSES: dict[int | str, dict[str, Any]] = {
    200: _described("an answer for each example, in order", _ANSWERS),
    **{status: _described(text, _ERROR) for status, text in _STATUSES.items()},
}
