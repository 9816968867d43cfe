"""Which rows of a signal a masked autoencoder does not see, and which output rows then count."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ..modalities import Batch, Modality
from ..nn.byte_array import Segment

FINGERPRINT = 64  # values of a signal by which examples are told apart


def present_rows(modality: Modality, view: Batch) -> Tensor:
    """Which rows of a signal are present: batch × rows, bool."""
    segment = modality.query_segment(view)
    present = torch.ones(segment.values.shape[:2], dtype=torch.bool, device=segment.values.device)
    present = present if segment.mask is None else present & segment.mask
    examples = view.get(f"{modality.name}.present")
    return present if examples is None else present & examples[:, None]


def draw_hidden_rows(modality: Modality, view: Batch, share: float, generator: torch.Generator | None) -> Tensor:
    """Rows to hide, chosen at random among the present ones: batch × rows, bool.

    Args:
        share: of an example's present rows. In training, the count is rounded up or down at random; in evaluation, up.
        generator: None, in evaluation: the rows of an example depend on its own signal alone.
    """
    present = present_rows(modality, view)
    batch, rows = present.shape
    if generator is None:
        order = torch.stack([torch.rand(rows, generator=own) for own in _content_generators(modality, view)])
        rounding = torch.full((batch, 1), 1 - 1e-6)
    else:
        order = torch.rand(batch, rows, generator=generator)
        rounding = torch.rand(batch, 1, generator=generator)
    count = (present.sum(1, keepdim=True) * share + rounding.to(present.device, non_blocking=True)).floor()
    order = order.to(present.device, non_blocking=True).masked_fill(~present, 2.0)
    return (order.argsort(1).argsort(1) < count) & present


def draw_queries(
    segments: Sequence[Segment], counts: Mapping[str, int], generator: torch.Generator | None
) -> dict[str, Tensor]:
    """By signal, which of its rows to predict, in order.

    Args:
        segments: the queries of each signal.
        counts: how many rows of a signal training predicts, chosen at random; all of signals that are not named.
        generator: None, in evaluation: all rows.
    """
    rows = {}
    for segment in segments:
        count = counts.get(segment.name, segment.num_rows)
        rows[segment.name] = torch.arange(segment.num_rows)
        if generator is not None and count < segment.num_rows:
            rows[segment.name] = torch.randperm(segment.num_rows, generator=generator)[:count].sort().values
    return rows


def counting_rows(modality: Modality, output_modality: Modality, view: Batch, hidden: Tensor | None) -> Tensor:
    """Which output rows count in loss and metrics: batch × output rows, bool.

    They are the hidden rows; of an example of which no row is hidden, all rows. Absent rows never count.

    Args:
        modality: the signal that the model reads.
        output_modality: the signal whose rows are predicted: ``modality`` itself, or its ``elementwise()``.
        hidden: batch × rows of ``modality``, bool; None: nothing is hidden.
    """
    present = present_rows(output_modality, view)
    if hidden is None:
        return present
    counting = (hidden | ~hidden.any(1, keepdim=True)).float()
    if output_modality is modality:
        return present & (counting > 0)
    elements = output_modality.patchify(modality.attention_map(counting, view))
    return present & (elements[..., 0] > 0)


def _content_generators(modality: Modality, view: Batch) -> Iterator[torch.Generator]:
    """A generator for each example, seeded by a few values of its signal, rounded to two decimals, so that it is the
    same whatever else is in the batch and on whatever device it was computed."""
    mask = view.get(f"{modality.name}.mask")
    for index, signal in enumerate(view[modality.name]):
        values = (signal if mask is None else signal[mask[index]]).flatten()
        few = values[:: max(1, len(values) // FINGERPRINT)].double().nan_to_num()
        seed = zlib.crc32((100 * few).round().to(torch.int64).cpu().numpy().tobytes())
        yield torch.Generator().manual_seed(seed)
