"""What a page needs to draw a signal as the model reads it, with the attention over it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..modalities import Batch, Modality
from ..modalities.sequences import lengths
from ..modalities.text import text_of
from ..models.perceiver import Perceiver
from ..report import drawings
from ..report.examples import illustrate
from ..tasks import Answer, Prepared

_MOST_LETTERS = 20_000  # of a text that is sent back


def drawing(modality: Modality, view: Batch, attention: Tensor | None) -> dict[str, Any]:
    """One signal of one example: its ``kind``, what is drawn, and its ``attention`` in the same shape, 255 = 1.

    Arrays are objects of ``shape``, ``dtype`` and ``data`` (base64, little endian). A kind of signal that is not known
    here is a ``picture``, a data URI.

    Args:
        modality: of the signal.
        view: of one example, as the model reads it, on the CPU.
        attention: (1, …): a map in the signal's shape; None: there is none.
    """
    draw = _DRAWN.get(modality.kind)
    if draw is None:
        uri = drawings.signal(modality, view, 0, None if attention is None else attention[0], dpi=170)
        return {"kind": modality.kind, "picture": uri}
    return {"kind": modality.kind, **draw(modality, view, None if attention is None else attention[0].float())}


def predicted_pictures(model: Perceiver, view: Batch, raw: Any, answer: Answer) -> list[dict[str, str]]:
    """The pictures of a prediction that is a signal, as data URIs, each with its title and a note on it.

    Args:
        view: of one example, as the model reads it.
        raw: what that was read from.
        answer: to it.
    """
    shown = model.task.illustrate_answer(raw, answer) or illustrate(model, Prepared(dict(view), None))
    return [
        {"title": each.title, "picture": drawings.illustration(model.inputs, each, dpi=250), "note": each.note}
        for each in shown
    ]


def array(values: Tensor | np.ndarray) -> dict[str, Any]:
    """An array for JSON.

    >>> array(np.array([[0, 255]], np.uint8))
    {'shape': [1, 2], 'dtype': 'uint8', 'data': 'AP8='}
    """
    plain = np.ascontiguousarray(values.numpy() if isinstance(values, Tensor) else values)
    data = base64.b64encode(plain.astype(plain.dtype.newbyteorder("<")).tobytes()).decode()
    return {"shape": list(plain.shape), "dtype": plain.dtype.name, "data": data}


def _bytes(values: Tensor) -> dict[str, Any]:
    """Values in [0, 1] as an array of bytes."""
    return array((values.float().clamp(0, 1) * 255).round().byte())


def _picture(values: Tensor) -> dict[str, Any]:
    """… × channels × height × width in [0, 1], as … × height × width × 1 or 3 bytes."""
    values = values if values.shape[-3] in (1, 3) else values.mean(-3, keepdim=True)
    return _bytes(values.movedim(-3, -1))


def _floats(signal: Tensor) -> Tensor:
    return signal.float() / 255 if signal.dtype == torch.uint8 else signal.float()


def _with(content: dict[str, Any], attention: Tensor | None) -> dict[str, Any]:
    return content if attention is None else {**content, "attention": _bytes(attention)}


def _image(modality: Modality, view: Batch, attention: Tensor | None) -> dict[str, Any]:
    pixels = _floats(view[modality.name][0])
    return _with({"pixels": _picture(pixels)}, None if attention is None else attention[0])


def _video(modality: Modality, view: Batch, attention: Tensor | None) -> dict[str, Any]:
    length = int(lengths(view, modality.name)[0])
    frames = _floats(view[modality.name][0, :length])
    start = view.get(f"{modality.name}.start")
    content = {
        "frames": _picture(frames),
        "rate": modality.config.rate,
        "start": 0.0 if start is None else max(0.0, float(start[0].nan_to_num())),
    }
    return _with(content, None if attention is None else attention[:length, 0])


def _audio(modality: Modality, view: Batch, attention: Tensor | None) -> dict[str, Any]:
    config, length = modality.config, int(lengths(view, modality.name)[0])
    signal = view[modality.name][0, :length, ..., 0].float()
    raw = signal.ndim == 1
    if raw:
        content = {"samples": array(signal)}
    else:
        low, high = signal.quantile(0.02), signal.max()
        content = {"spectrogram": _bytes((signal - low) / (high - low).clamp(min=1e-6))}
    content["seconds"] = length * (1 if raw else config.hop) / config.rate
    return _with(content, None if attention is None else attention[:length, ..., 0])


def _points(modality: Modality, view: Batch, attention: Tensor | None) -> dict[str, Any]:
    cloud, mask = view[modality.name][0], view.get(f"{modality.name}.mask")
    present = torch.ones(len(cloud), dtype=torch.bool) if mask is None else mask[0]
    positions = array(cloud[present, :3].float())
    return _with({"points": positions}, None if attention is None else attention.reshape(-1)[present])


def _series(modality: Modality, view: Batch, attention: Tensor | None) -> dict[str, Any]:
    length = int(lengths(view, modality.name)[0])
    values = view[modality.name][0, :length].float()
    content = {"series": array(values), "channels": list(modality.config.channel_names)}
    return _with(content, None if attention is None else attention[:length].reshape(-1))


def _text(modality: Modality, view: Batch, attention: Tensor | None) -> dict[str, Any]:
    length = min(_MOST_LETTERS, int(lengths(view, modality.name)[0]))
    letters = text_of(view[modality.name][0, :length])
    sizes = [len(letter.encode(errors="surrogateescape")) for letter in letters]
    text = "".join("\ufffd" if "\udc80" <= letter <= "\udcff" else letter for letter in letters)  # bytes of no letter
    if attention is None:
        return {"text": text}
    starts = np.cumsum([0, *sizes[:-1]])
    weights = np.maximum.reduceat(attention.reshape(-1)[:length].numpy(), starts)
    return _with({"text": text}, torch.from_numpy(weights))


def _table(modality: Modality, view: Batch, attention: Tensor | None) -> dict[str, Any]:
    values = view[modality.name][0].tolist()
    cells = [
        None if value != value else column.categories[int(value)] if column.kind == "category" else value
        for column, value in zip(modality.config.columns, values, strict=True)
    ]
    content = {"columns": [column.name for column in modality.config.columns], "cells": cells}
    return _with(content, None if attention is None else attention.reshape(-1))


def _volume(modality: Modality, view: Batch, attention: Tensor | None) -> dict[str, Any]:
    voxels = _floats(view[modality.name][0]).mean(0)
    return _with({"slices": _bytes(voxels)}, None if attention is None else attention[0])


_DRAWN: dict[str, Callable[[Modality, Batch, Tensor | None], dict[str, Any]]] = {
    "image": _image,
    "video": _video,
    "audio": _audio,
    "points": _points,
    "series": _series,
    "text": _text,
    "table": _table,
    "volume": _volume,
}
