"""A start at which latents look somewhere: each at its own place of the signal's grid, and queries at theirs.

From the authors' start every latent sees the mean of all rows, and every query the mean of all latents. Who wants to
know something of every place of a signal (hidden bytes, pixels, motion) must first learn to route it: for thousands of
steps the loss does not move. Nothing in the model is changed here, only where its attention starts: query and key
projections are fitted to logits that are highest where a latent (a query) and a row (a latent) are near each other,
by ridge regression on what the model sees of a batch. docs/decisions/0009 has the measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from ..nn.attention import Block
from ..nn.byte_array import ByteArray, GridPositions, Segment
from ..nn.perceiver import Decoder, Encoder, MeanDecoder
from ..nn.queries import Queries
from ..nn.rows import Rows

CLEAR = 3.0  # the logit by which what is near stands out from all that is far together
RIDGE = 1e-3  # in units of the mean variance of a channel
SAMPLED = 4096  # rows of a segment that the fit looks at
LEFT = 0.1  # of the authors' start, so that channels that the fit has no use for can be learned

Coordinates = Float[Tensor, "_ axes"]


@torch.no_grad()
def place(encoder: Encoder, decoder: Decoder | MeanDecoder, array: ByteArray, queries: Queries | None) -> None:
    """Fit the first attention of every read and of the write to places. Where rows (or queries) lie on no grid, their
    attention starts as it did.

    Args:
        encoder: at its start; changed in place.
        decoder: likewise.
        array: what the encoder reads of some examples: a few are enough.
        queries: what is asked of them; None: their mean, which is nowhere.

    >>> from sensorium.nn.positions import fourier_grid
    >>> from sensorium.nn.perceiver import EncoderConfig
    >>> positions = fourier_grid((32,), bands=16)
    >>> array = ByteArray((Segment("series", torch.randn(4, 32, 3), positions),))
    >>> config = EncoderConfig(
    ...     num_latents=8, latent_channels=32, cross_attention=(0,), latent_transformer=(0,), num_layers=1
    ... )
    >>> encoder = Encoder(config, channels=36)
    >>> place(encoder, MeanDecoder(32, outputs=1), array, None)
    >>> looks = next(encoder.weights(array))[0, 0].argmax(-1)
    >>> bool((looks - torch.arange(8) * 4).abs().max() < 8)  # each latent about its own four rows
    True
    """
    homes = _homes(array, len(encoder.latents))
    for segment in array.segments:
        if segment.name in homes and isinstance(segment.positions, GridPositions):
            _settle(encoder.latents, homes[segment.name], segment.positions)
    latents = encoder.latents[None].expand(array.batch, -1, -1)
    fitted: set[int] = set()
    for step, rows in zip(encoder.steps(), Rows.seen(array, encoder.looks), strict=True):
        if step.read is not None:
            if id(step.read) not in fitted:
                _place_read(step.read, latents, rows.array, homes)
                fitted.add(id(step.read))
            latents = step.read(latents, rows)
        for block in step.process or ():
            latents = block(latents)
    if isinstance(decoder, Decoder) and queries is not None:
        _place_write(decoder.cross_attention, queries, latents, homes)


def lattice(count: int, shape: tuple[int, ...]) -> Float[Tensor, "places axes"]:
    """At most ``count`` places spread evenly over a grid, each in the middle of its own cell: coordinates in [-1, 1].

    >>> lattice(5, (8, 8)).tolist()
    [[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]
    """
    cells = _cells(count, shape)
    axes = [(torch.arange(size) + 0.5) * 2 / size - 1 for size in cells]
    return torch.cartesian_prod(*axes).reshape(-1, len(shape))


def _cells(count: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many cells along each axis of a grid, about square, ``count`` at most, and no more than it has rows."""
    cells = [1] * len(shape)
    while True:
        room = [axis for axis, size in enumerate(shape) if cells[axis] < size]
        room = [axis for axis in room if count >= torch.tensor(cells).prod() // cells[axis] * (cells[axis] + 1)]
        if not room:
            return tuple(cells)
        cells[max(room, key=lambda axis: shape[axis] / cells[axis])] += 1


@dataclass(frozen=True)
class _Home:
    """The latents of one segment: which they are, where they are, and how far apart along each axis."""

    first: int
    places: Coordinates
    spacing: Float[Tensor, " axes"]

    def nearness(self, coordinates: Coordinates, width: Tensor, offset: Tensor | float = 0.0) -> Tensor:
        """rows × places, from 0 to 1: how near rows are to the places, moved by ``offset``; all in spacings."""
        off = (coordinates[:, None] - self.places) / self.spacing - offset
        return (-(off / width).square().sum(-1) / 2).exp()

    @property
    def latents(self) -> slice:
        return slice(self.first, self.first + len(self.places))


def _homes(array: ByteArray, latents: int) -> dict[str, _Home]:
    """The segments that lie on grids share the latents."""
    grids = {one.name: grid for one in array.segments if (grid := _grid(one)) is not None}
    each = latents // max(1, len(grids))
    return {
        name: _Home(place * each, lattice(each, grid), 2 / torch.tensor(_cells(each, grid)))
        for place, (name, grid) in enumerate(grids.items())
        if each
    }


def _grid(segment: Segment) -> tuple[int, ...] | None:
    return segment.positions.shape if isinstance(segment.positions, GridPositions) and segment.num_rows > 1 else None


def _sample(segment: Segment) -> tuple[Tensor, Coordinates | None]:
    """Some rows, evenly chosen, spelled out, and where they are."""
    index = torch.linspace(0, segment.num_rows - 1, min(segment.num_rows, SAMPLED)).long()
    grid = _grid(segment)
    if grid is None:
        return segment.at(index), None
    axes = torch.unravel_index(index, grid)
    return segment.at(index), torch.stack(
        [(2 * place + 1) / size - 1 for place, size in zip(axes, grid, strict=True)], dim=-1
    )


def _settle(latents: Tensor, home: _Home, positions: GridPositions) -> None:
    """Latents start as the positions of their places, as far as they have channels."""
    sizes = torch.tensor(positions.shape)
    nearest = ((home.places + 1) / 2 * sizes).long()
    rows = torch.arange(int(sizes.prod())).reshape(positions.shape)[nearest.unbind(-1)]
    found = positions.at(rows)[:, : latents.shape[1]]
    latents[home.latents, : found.shape[1]] = found


def _place_read(block: Block, latents: Tensor, array: ByteArray, homes: Mapping[str, _Home]) -> None:
    """Each head of a latent looks at a part of its surroundings of its own."""
    samples = [(one.name, *_sample(one)) for one in array.segments]
    keys = torch.cat([rows for _, rows, _ in samples], dim=1)
    wanted = keys.new_zeros(block.attention.heads, latents.shape[1], keys.shape[1])
    start = 0
    for name, rows, coordinates in samples:
        some = slice(start, start := start + rows.shape[1])
        if coordinates is not None and name in homes:
            home = homes[name]
            cells = torch.tensor(_cells(block.attention.heads, (block.attention.heads,) * coordinates.shape[1]))
            peak, width = _peak(keys.shape[1], (2 / cells).clamp(max=0.5))
            for head, offset in enumerate(lattice(block.attention.heads, tuple(cells.tolist()))):
                wanted[head, home.latents, some] = peak * home.nearness(coordinates, width, offset).mT
    _fit(block, block.query_norm(latents), block.rows_norm(keys), wanted)


def _place_write(block: Block, queries: Queries, latents: Tensor, homes: Mapping[str, _Home]) -> None:
    """Each query looks at the latents around it."""
    samples = [(one.name, *_sample(one)) for one in queries.array.segments]
    asked = torch.cat([rows for _, rows, _ in samples], dim=1)
    wanted = asked.new_zeros(1, asked.shape[1], latents.shape[1])
    start = 0
    for name, rows, coordinates in samples:
        some = slice(start, start := start + rows.shape[1])
        home = next(iter(homes.values())) if len(homes) == 1 else homes.get(name)
        if coordinates is not None and home is not None and home.places.shape[1] == coordinates.shape[1]:
            peak, width = _peak(latents.shape[1], torch.tensor(0.5))
            wanted[0, some, home.latents] = peak * home.nearness(coordinates, width)
    _fit(block, block.query_norm(asked), block.rows_norm(latents), wanted.expand(block.attention.heads, -1, -1))


def _peak(rows: int, spread: Tensor) -> tuple[float, Tensor]:
    """The height of a bell of logits, and its width, so that its exponential stands out of ``rows`` and has a standard
    deviation of about ``spread``."""
    peak = log(rows) + CLEAR
    return peak, spread * sqrt(peak)


def _fit(block: Block, queries: Tensor, keys: Tensor, wanted: Tensor) -> None:
    """Query and key projections whose product gives, as nearly as their rank allows, the wanted logits.

    Args:
        queries: one_or_batch × n × width, normalised.
        keys: one_or_batch × rows × channels, normalised.
        wanted: heads × n × rows; a head of which nothing is wanted is left as it is.
    """
    attention = block.attention
    queries, keys, wanted = queries.double(), keys.double(), wanted.double() / attention.scale
    left, right = _inverse(queries), _inverse(keys)
    middle = queries.mean(0).mT @ wanted @ keys.mean(0)
    for head, product in enumerate(left @ middle @ right):
        if not product.any():
            continue
        u, sizes, v = torch.linalg.svd(product, full_matrices=False)
        for linear, vectors in ((attention.query, u), (attention.key, v.mT)):
            rows = attention.split(linear.weight.mT[None])[0, head]  # width × channels of the head, a view
            found = (vectors * sizes.sqrt())[:, : rows.shape[1]]
            rows.mul_(LEFT)[:, : found.shape[1]].add_(found)


def _inverse(rows: Tensor) -> Tensor:
    """The inverse of the channels' second moments, with a ridge. Rows are batch × rows × channels."""
    moments = torch.einsum("bnc,bnd->cd", rows, rows) / len(rows)
    ridge = RIDGE * moments.diagonal().mean()
    return torch.linalg.inv(moments + ridge * torch.eye(len(moments), dtype=moments.dtype))
