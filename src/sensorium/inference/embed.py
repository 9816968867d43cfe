"""Embeddings: what a trained model makes of examples before it answers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..modalities import Batch
from ..models.perceiver import Perceiver, evaluating
from .evaluate import examples_at_a_time
from .opened import open_run
from .predict import Progress


def embed(
    run: str | Path | Perceiver, anything: Any, *, device: str = "auto", progress: Progress | None = None
) -> np.ndarray:
    """One vector for each example, in order: the mean of the model's latents after the encoder. Where a modality has
    several views of an example (the clips of a long film), it is the mean over them, too. Nothing is hidden from a
    model that learned to fill in what is hidden.

    Args:
        run, anything, device: as for :func:`sensorium.predict`.
        progress: called with the number of finished examples and of all.

    Returns:
        float32, examples × latent channels.

    Raises:
        InputError: as :func:`sensorium.predict`; also if any of the examples cannot be read, because an array has no
            gaps.
    """
    model, examples = open_run(run, anything, device=device)
    size, total = examples_at_a_time(model), len(examples)
    vectors = []
    for start in range(0, total, size):
        indices = range(start, min(start + size, total))
        vectors.append(embed_batch(model, examples.batch(indices)).cpu())
        if progress is not None:
            progress(indices.stop, total)
    return torch.cat(vectors).numpy()


def embed_batch(model: Perceiver, batch: Batch) -> Tensor:
    """One vector for each example of a batch, as :func:`embed` says: batch × latent channels, float32."""
    with evaluating(model):
        batch = model.to_device(batch)
        views = map(partial(_embed_view, model), model.inputs.views(batch))  # none of which outlives its turn
        return torch.stack(list(views)).mean(0)


def _embed_view(model: Perceiver, view: dict[str, Tensor]) -> Tensor:
    return model.encode(model.task.unmasked(view)).float().mean(1)
