"""Aligned initialisation: attention that starts where positions agree.

With the authors' initialisation every latent attends to all rows about evenly, and every query to all latents. A task
with an output for every position of a signal (hidden bytes, pixels) must first learn to route each position to its
output: for thousands of steps the loss does not fall. Aligned initialisation changes the initial weights only, not the
model. It spreads the latents over the signal's grid, and fits the query and key projections so that the logits are
highest where the positions of a latent (or query) and of a row (or latent) are close. The fit is a ridge regression on
a few examples. Measurements are in docs/decisions/0009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from ..nn.attention import CrossAttention
from ..nn.byte_array import ByteArray, GridPositions, Segment
from ..nn.decoder import Decoder, LinearDecoder, MeanDecoder
from ..nn.encoder import Encoder
from ..nn.ops.inputs import AttentionInputs
from ..nn.ops.projected import split_heads
from ..nn.queries import Queries

MARGIN = 3.0  # logits by which close rows together stand out from all distant rows together
RIDGE = 1e-3  # in units of the mean variance of a channel
SAMPLED_ROWS = 4096  # rows of a segment that the fit uses
KEPT_SHARE = 0.1  # of the authors' initial weights, so that channels which the fit leaves out can be learned

Coordinates = Float[Tensor, "_ axes"]  # in [-1, 1] along each axis of a grid


@torch.no_grad()
def align(
    encoder: Encoder, decoder: Decoder | LinearDecoder | MeanDecoder, array: ByteArray, queries: Queries | None
) -> None:
    """Fit the initial weights of all cross-attention to the positions of the rows and queries.

    Segments whose positions are no grid (points) keep the initialisation they have.

    Args:
        encoder: as it was initialised; changed in place.
        decoder: likewise.
        array: the byte array of a few examples.
        queries: the decoder's queries for them; None: another decoder, which has none.

    >>> from sensorium.nn import EncoderConfig, fourier_grid
    >>> positions = fourier_grid((32,), bands=16)
    >>> array = ByteArray((Segment("series", torch.randn(4, 32, 3), positions),))
    >>> config = EncoderConfig(
    ...     num_latents=8, latent_channels=32, cross_attention=(0,), latent_transformer=(0,), num_layers=1
    ... )
    >>> encoder = Encoder(config, channels=36)
    >>> align(encoder, MeanDecoder(32, output_channels=1), array, None)
    >>> strongest = next(encoder.weights(array))[0, 0].argmax(-1)
    >>> bool((strongest - torch.arange(8) * 4).abs().max() < 8)  # each latent attends to about its own four rows
    True
    """
    latent_grids = _latent_grids(array, len(encoder.latents))
    _initialise_latents(encoder.latents, array, latent_grids)
    latents = encoder.latents[None].expand(array.batch, -1, -1)
    fitted: set[int] = set()
    for step, inputs in zip(encoder.steps(), encoder.inputs(array), strict=True):
        if step.cross_attention is not None:
            if id(step.cross_attention) not in fitted:
                _align_encoder(step.cross_attention, latents, inputs, latent_grids)
                fitted.add(id(step.cross_attention))
            latents = step.cross_attention(latents, inputs)
        for block in step.latent_transformer or ():
            latents = block(latents)
    if isinstance(decoder, Decoder) and queries is not None:
        _align_decoder(decoder.cross_attention, queries, latents, latent_grids)


def lattice(count: int, shape: tuple[int, ...]) -> Float[Tensor, "points axes"]:
    """At most ``count`` points spread evenly over a grid of ``shape``: coordinates in [-1, 1].

    The grid is divided into equal cells; each point is the centre of one.

    >>> lattice(5, (8, 8)).tolist()
    [[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]
    """
    cells = _cells(count, shape)
    axes = [(torch.arange(size) + 0.5) * 2 / size - 1 for size in cells]
    return torch.cartesian_prod(*axes).reshape(-1, len(shape))


def _cells(count: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The number of cells along each axis: about square cells, ``count`` at most, and no more than the grid's rows."""
    cells = [1] * len(shape)
    while True:
        divisible = [axis for axis, size in enumerate(shape) if cells[axis] < size]
        total = torch.tensor(cells).prod()
        divisible = [axis for axis in divisible if count >= total // cells[axis] * (cells[axis] + 1)]
        if not divisible:
            return tuple(cells)
        cells[max(divisible, key=lambda axis: shape[axis] / cells[axis])] += 1


@dataclass(frozen=True)
class _LatentGrid:
    """The latents of one segment.

    Attributes:
        first: the index of the first one.
        coordinates: their points on the segment's grid.
        spacing: the distance between neighbours along each axis.
    """

    first: int
    coordinates: Coordinates
    spacing: Float[Tensor, " axes"]

    @property
    def latents(self) -> slice:
        return slice(self.first, self.first + len(self.coordinates))

    def closeness(self, coordinates: Coordinates, width: Tensor, offset: Tensor | float = 0.0) -> Tensor:
        """rows × latents, from 0 to 1: a Gaussian of the distance, for latents moved by ``offset``.

        ``width``, its standard deviation, and ``offset`` are in units of the spacing.
        """
        distance = (coordinates[:, None] - self.coordinates) / self.spacing - offset
        return (-(distance / width).square().sum(-1) / 2).exp()


def _latent_grids(array: ByteArray, num_latents: int) -> dict[str, _LatentGrid]:
    """The latents in equal shares for all segments whose positions are a grid."""
    shapes = {segment.name: shape for segment in array.segments if (shape := _grid_shape(segment)) is not None}
    share = num_latents // max(1, len(shapes))
    return {
        name: _LatentGrid(number * share, lattice(share, shape), 2 / torch.tensor(_cells(share, shape)))
        for number, (name, shape) in enumerate(shapes.items())
        if share
    }


def _grid_shape(segment: Segment) -> tuple[int, ...] | None:
    return segment.positions.shape if isinstance(segment.positions, GridPositions) and segment.num_rows > 1 else None


def _sample(segment: Segment) -> tuple[Tensor, Coordinates | None]:
    """Some rows of a segment, evenly chosen, and their coordinates on its grid (None: no grid)."""
    index = torch.linspace(0, segment.num_rows - 1, min(segment.num_rows, SAMPLED_ROWS)).long()
    shape = _grid_shape(segment)
    if shape is None:
        return segment.at(index), None
    per_axis = zip(torch.unravel_index(index, shape), shape, strict=True)
    return segment.at(index), torch.stack([(2 * entry + 1) / size - 1 for entry, size in per_axis], dim=-1)


def _initialise_latents(latents: Tensor, array: ByteArray, latent_grids: Mapping[str, _LatentGrid]) -> None:
    """Set the latents to the position encodings at their coordinates: to their principal components, as many as there
    are channels, so that no frequency is cut off and the latents of different signals are orthogonal."""
    encodings = [
        segment.positions.at(_nearest_rows(latent_grids[segment.name].coordinates, segment.positions.shape))
        for segment in array.segments
        if segment.name in latent_grids and isinstance(segment.positions, GridPositions)
    ]
    if not encodings:
        return
    u, singular_values, _ = torch.linalg.svd(torch.block_diag(*encodings), full_matrices=False)
    components = (u * singular_values)[:, : latents.shape[1]]
    parts = components.split([len(part) for part in encodings])
    for latent_grid, part in zip(latent_grids.values(), parts, strict=True):
        latents[latent_grid.latents, : part.shape[1]] = part


def _nearest_rows(coordinates: Coordinates, shape: tuple[int, ...]) -> Tensor:
    """The rows of a grid of ``shape`` that are nearest to some coordinates."""
    sizes = torch.tensor(shape)
    nearest = ((coordinates + 1) / 2 * sizes).long()
    return torch.arange(int(sizes.prod())).reshape(shape)[nearest.unbind(-1)]


def _align_encoder(
    block: CrossAttention, latents: Tensor, inputs: AttentionInputs, latent_grids: Mapping[str, _LatentGrid]
) -> None:
    """Each head of a latent attends to a part of the rows around the latent's coordinates."""
    num_heads = block.attention.num_heads
    samples = [(segment.name, *_sample(segment)) for segment in inputs.array.segments]
    keys = torch.cat([rows for _, rows, _ in samples], dim=1)
    logits = keys.new_zeros(num_heads, latents.shape[1], keys.shape[1])
    start = 0
    for name, rows, coordinates in samples:
        columns = slice(start, start := start + rows.shape[1])
        if coordinates is not None and name in latent_grids:
            latent_grid = latent_grids[name]
            cells = torch.tensor(_cells(num_heads, (num_heads,) * coordinates.shape[1]))
            peak, width = _peak(keys.shape[1], (2 / cells).clamp(max=0.5))
            for head, offset in enumerate(lattice(num_heads, tuple(cells.tolist()))):
                closeness = latent_grid.closeness(coordinates, width, offset)
                logits[head, latent_grid.latents, columns] = peak * closeness.mT
    balance = _balance(samples)
    _fit(block, block.query_norm(latents), block.input_norm(keys) * balance, logits * balance.mT)


def _align_decoder(
    block: CrossAttention, queries: Queries, latents: Tensor, latent_grids: Mapping[str, _LatentGrid]
) -> None:
    """Each query attends to the latents around its coordinates."""
    samples = [(segment.name, *_sample(segment)) for segment in queries.array.segments]
    rows_of_queries = torch.cat([rows for _, rows, _ in samples], dim=1)
    logits = rows_of_queries.new_zeros(1, rows_of_queries.shape[1], latents.shape[1])
    start = 0
    for name, rows, coordinates in samples:
        columns = slice(start, start := start + rows.shape[1])
        latent_grid = next(iter(latent_grids.values())) if len(latent_grids) == 1 else latent_grids.get(name)
        if coordinates is None or latent_grid is None or latent_grid.coordinates.shape[1] != coordinates.shape[1]:
            continue
        peak, width = _peak(latents.shape[1], torch.tensor(0.5))
        logits[0, columns, latent_grid.latents] = peak * latent_grid.closeness(coordinates, width)
    balance = _balance(samples)
    logits = (logits * balance).expand(block.attention.num_heads, -1, -1)
    _fit(block, block.query_norm(rows_of_queries) * balance, block.input_norm(latents), logits)


def _balance(samples: Sequence[tuple[str, Tensor, Coordinates | None]]) -> Float[Tensor, "rows 1"]:
    """By what the rows of each signal are multiplied so that all signals count alike in the fit: the few rows of sound
    as much as the many of its pictures."""
    return torch.cat([rows.new_full((rows.shape[1], 1), rows.shape[1] ** -0.5) for _, rows, _ in samples])


def _peak(num_rows: int, spread: Tensor) -> tuple[float, Tensor]:
    """The height and width of a Gaussian of logits among ``num_rows`` rows.

    Their softmax stands out by ``MARGIN`` and has a standard deviation of about ``spread``.
    """
    peak = log(num_rows) + MARGIN
    return peak, spread * sqrt(peak)


def _fit(block: CrossAttention, queries: Tensor, keys: Tensor, logits: Tensor) -> None:
    """Set query and key projections to those whose logits are nearest to ``logits`` among all of their rank.

    That is a ridge regression, cut to the rank where both sides are white: there, and only there, what is cut off is
    what the logits miss.

    Args:
        queries: one_or_batch × n × channels, normalised.
        keys: one_or_batch × rows × channels, normalised.
        logits: heads × n × rows; a head whose logits are all zero keeps its weights.
    """
    attention = block.attention
    scale = 1 / sqrt(attention.key.out_features // attention.num_heads)
    queries, keys, products = queries.double(), keys.double(), logits.double() / scale
    query_root, key_root = _root_of_moments(queries), _root_of_moments(keys)
    for head, moments in enumerate(queries.mean(0).mT @ products @ keys.mean(0)):
        if not moments.any():
            continue
        white = torch.linalg.solve_triangular(query_root, moments, upper=False)
        white = torch.linalg.solve_triangular(key_root, white.mT, upper=False).mT
        u, singular_values, v = torch.linalg.svd(white, full_matrices=False)
        for linear, root, vectors in ((attention.query, query_root, u), (attention.key, key_root, v.mT)):
            weight = split_heads(linear.weight.mT[None], attention.num_heads)[0, head]  # inputs × channels, a view
            fit = torch.linalg.solve_triangular(root.mT, vectors * singular_values.sqrt(), upper=True)
            fit = fit[:, : weight.shape[1]]
            weight.mul_(KEPT_SHARE)[:, : fit.shape[1]].add_(fit)


def _root_of_moments(rows: Tensor) -> Tensor:
    """The Cholesky factor of the channels' second moments over the rows (batch × rows × channels), with a ridge."""
    moments = torch.einsum("bnc,bnd->cd", rows, rows) / len(rows)
    ridge = RIDGE * moments.diagonal().mean()
    return torch.linalg.cholesky(moments + ridge * torch.eye(len(moments), dtype=moments.dtype))
