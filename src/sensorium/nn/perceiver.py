"""The Perceiver: latents, the order of reads and processes, and the decoders, which say what becomes of the latents."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..config import record
from ..errors import InputError, did_you_mean
from .attention import Block, Gelu
from .byte_array import ByteArray, Segment
from .initialisation import lecun, truncated_normal
from .precision import lowered
from .queries import Queries
from .rows import KEPT, FoldedQuery, Rows, same

CHUNK = 2**14  # queries answered at a time where no gradients are kept


@record
class EncoderConfig:
    """The shape of an encoder. Defaults are the paper's ImageNet model (Perceiver App. C).

    Attributes:
        num_latents: rows of the latent array (N).
        latent_channels: channels of the latent array (D).
        cross_attention: which weights each read uses; same number, same weights; None: no read here.
        latent_transformer: which weights each process uses, one process after each read; None: no process here.
        attends_to: the modalities that each read looks at, by name, one entry a read; None: all of them. So that
            signals can be read one after the other instead of fused. None instead of entries: every read looks at
            everything.
        num_layers: self-attention blocks in one process.
        num_cross_attention_heads: attention heads of a read.
        num_self_attention_heads: attention heads of a process.
        cross_attention_mlp_ratio: hidden width of a read's MLP, in units of ``latent_channels``.
        self_attention_mlp_ratio: hidden width of a process' MLPs, in units of ``latent_channels``.
        qk_channels: channels of queries and keys over all heads, of reads and processes; None: the channels attended
            to, which are the rows' in a read and ``latent_channels`` in a process (the authors' rule).
        value_channels: channels of values, likewise; None: as ``qk_channels``.
        gelu: the authors' approximation of the MLP's GELU by ``tanh``, or ``erf``: exact, as in ``transformers``.
    """

    kind: Literal["perceiver"] = "perceiver"
    num_latents: int = 512
    latent_channels: int = 1024
    cross_attention: tuple[int | None, ...] = (0, 1, 1, 1, 1, 1, 1, 1)
    latent_transformer: tuple[int | None, ...] = (0, 0, 0, 0, 0, 0, 0, 0)
    attends_to: tuple[tuple[str, ...] | None, ...] | None = None
    num_layers: int = 6
    num_cross_attention_heads: int = 1
    num_self_attention_heads: int = 8
    cross_attention_mlp_ratio: int = 1
    self_attention_mlp_ratio: int = 1
    qk_channels: int | None = None
    value_channels: int | None = None
    gelu: Gelu = "tanh"


class Encoder(nn.Module):
    """A byte array to latents: reads and processes in turn, from a learned latent array.

    Weight sharing is two lists of numbers: same number, same weights.

    Args:
        config: the shape.
        channels: the channels of the byte array's rows (C).
        names: what the segments of byte arrays are called; None: not known beforehand.

    Raises:
        InputError: ``reads``, ``processes`` and ``look`` differ in length, a look at nothing or at what is not there,
            or heads that do not divide the channels.

    >>> encoder = Encoder(EncoderConfig(num_latents=8, latent_channels=16, num_layers=1), channels=5)
    >>> len(encoder.cross_attention), len(encoder.latent_transformer)
    (2, 1)
    """

    def __init__(self, config: EncoderConfig, *, channels: int, names: Sequence[str] | None = None) -> None:
        super().__init__()
        if len(config.cross_attention) != len(config.latent_transformer):
            raise InputError(
                f"encoder: {len(config.cross_attention)} reads but "
                f"{len(config.latent_transformer)} processes; pair them"
            )
        _check_heads(
            "encoder: {heads} heads do not divide a width of {channels}",
            config,
            config.num_self_attention_heads,
            config.latent_channels,
        )
        _check_heads(
            "encoder: {heads} read heads do not divide {channels} channels; use 1",
            config,
            config.num_cross_attention_heads,
            channels,
        )
        _check_look(config, names)
        self.config = config
        self._kept: tuple[list[Tensor], FoldedQuery] | None = None
        shared: dict[str, Any] = {
            "qk_channels": config.qk_channels,
            "value_channels": config.value_channels,
            "gelu": config.gelu,
        }
        self.latents = nn.Parameter(truncated_normal(torch.empty(config.num_latents, config.latent_channels), 0.02))
        self.cross_attention = nn.ModuleDict(
            {
                str(number): Block(
                    config.latent_channels,
                    inputs=channels,
                    heads=config.num_cross_attention_heads,
                    widening=config.cross_attention_mlp_ratio,
                    **shared,
                )
                for number in _numbers(config.cross_attention)
            }
        )
        self.latent_transformer = nn.ModuleDict(
            {
                str(number): nn.Sequential(
                    *(
                        Block(
                            config.latent_channels,
                            heads=config.num_self_attention_heads,
                            widening=config.self_attention_mlp_ratio,
                            **shared,
                        )
                        for _ in range(config.num_layers)
                    )
                )
                for number in _numbers(config.latent_transformer)
            }
        )

    def forward(self, array: ByteArray, *, checkpointing: bool = False) -> Float[Tensor, "batch latents width"]:
        """batch × latents × width.

        Args:
            array: what is read.
            checkpointing: keep only what enters each block, and compute the rest anew in the backward pass: a third
                more arithmetic, and memory for hundreds of layers.
        """
        seen = Rows.seen(array, self.looks)
        # One latent array for the whole batch: the first read's queries do not depend on the example.
        latents, query = self.latents[None], self._first_query(seen)
        for step, rows in zip(self.steps(), seen, strict=True):
            if step.read is not None:
                if (
                    checkpointing
                ):  # modality_embeddings and learned positions are in the rows: not to be made where all is made anew
                    rows.prepare(folded=step.read.folds(self.config.num_latents, rows))
                latents, query = _run(step.read, latents, rows, query, checkpointing=checkpointing), None
            for block in step.process or ():
                latents = _run(block, latents, checkpointing=checkpointing)
        return latents.expand(array.batch, -1, -1)

    def weights(self, array: ByteArray) -> Iterator[Float[Tensor, "batch heads latents rows"]]:
        """The attention weights of each read in turn: batch × heads × latents × rows, 0 where it does not look."""
        latents = self.latents[None].expand(array.batch, -1, -1)
        for step, rows in zip(self.steps(), Rows.seen(array, self.looks), strict=True):
            if step.read is not None:
                weights = step.read.weights(latents, rows)
                yield weights if self.config.attends_to is None else _over(array, rows.array, weights)
                latents = step.read(latents, rows)
            for block in step.process or ():
                latents = block(latents)

    @property
    def num_latents(self) -> int:
        return self.config.num_latents

    @property
    def latent_channels(self) -> int:
        return self.config.latent_channels

    @property
    def cross_attends(self) -> tuple[int, ...]:
        """For each cross-attend, in order, the number of its weights."""
        return tuple(number for number in self.config.cross_attention if number is not None)

    def steps(self) -> Iterator[Step]:
        """What is applied, in order; shared weights appear more than once."""
        for read, process in zip(self.config.cross_attention, self.config.latent_transformer, strict=True):
            yield Step(
                None if read is None else self.cross_attention[str(read)],  # type: ignore[arg-type]
                None if process is None else self.latent_transformer[str(process)],  # type: ignore[arg-type]
            )

    @property
    def looks(self) -> tuple[tuple[str, ...] | None, ...]:
        """What each step looks at; one that reads nothing looks at everything."""
        return self.config.attends_to or (None,) * len(self.config.cross_attention)

    def _first_query(self, seen: Sequence[Rows]) -> FoldedQuery | None:
        """In inference, the query of a read that comes first: it depends on parameters alone, and is kept with them."""
        number = self.config.cross_attention[0] if self.config.cross_attention else None
        if number is None or torch.is_grad_enabled() or torch.compiler.is_compiling() or self.latents.is_meta:
            return None
        read: Block = self.cross_attention[str(number)]  # type: ignore[assignment]
        if not read.folds(self.config.num_latents, seen[0]):
            return None
        state = [lowered(self.latents), *read.folding_parameters()]
        # Compared by value: a tenth of the work that is saved, and no way of changing a parameter goes unseen.
        if self._kept is None or not all(map(same, state, self._kept[0])):
            query = read.fold(self.latents[None]).query
            self._kept = [tensor.clone() for tensor in state], FoldedQuery(query, kept=deque(maxlen=KEPT))
        return self._kept[1]


@dataclass(frozen=True)
class Step:
    """One read and the process after it; either may be absent."""

    read: Block | None
    process: nn.Sequential | None


class MeanDecoder(nn.Module):
    """The first paper's head: the mean over the latents, then a linear layer that starts at zero (App. F).

    Args:
        width: channels of the latents.
        outputs: channels of the answer.
    """

    def __init__(self, width: int, *, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, latents: Float[Tensor, "batch latents width"], queries: None = None
    ) -> Float[Tensor, "batch 1 outputs"]:
        """batch × latents × width to batch × 1 × outputs: one answer to no query in particular."""
        return self.linear(latents.mean(dim=1))[:, None]


@record
class DecoderConfig:
    """The shape of a decoder. Defaults are Perceiver IO's classifier (Perceiver IO App. A).

    Attributes:
        query_channels: of a query that a task learns freely; None: the latents' width. Queries that are made of
            something (of bytes' places, of the input) have the channels of that.
        num_heads: attention heads.
        qk_channels: channels of queries and keys over all heads; None: the latents' width (the authors' rule).
        value_channels: channels of values over all heads; None: as ``qk_channels``.
        mlp_ratio: hidden width of the MLP, in units of the queries' channels.
        query_residual: whether what is read of the latents is added to the query, or replaces it.
        gelu: as the encoder's.
    """

    query_channels: int | None = None
    num_heads: int = 1
    qk_channels: int | None = None
    value_channels: int | None = None
    mlp_ratio: int = 1
    query_residual: bool = True
    gelu: Gelu = "tanh"


class Decoder(nn.Module):
    """Latents to the answers of any queries: they attend to the latents, once, then a linear layer (Perceiver IO §3.1).

    Each query is answered alone: asking for some is indexing the answer to all.

    Args:
        config: the shape.
        width: channels of the latents.
        channels: channels of the queries.
        outputs: channels of an answer; None: no linear layer, an answer has the queries' channels.
        start: how the linear layer starts; at ``zeros`` every answer is 0 before training.

    Raises:
        InputError: heads that do not divide the channels.

    >>> from .queries import LearnedQueries
    >>> decoder = Decoder(DecoderConfig(), width=16, channels=12, outputs=5)
    >>> decoder(torch.rand(3, 8, 16), LearnedQueries(2, 12)()).shape
    torch.Size([3, 2, 5])
    """

    def __init__(
        self,
        config: DecoderConfig,
        *,
        width: int,
        channels: int,
        outputs: int | None,
        start: Literal["lecun", "zeros"] = "lecun",
    ) -> None:
        super().__init__()
        _check_heads("decoder: {heads} heads do not divide {channels} channels; use 1", config, config.num_heads, width)
        self.config = config
        self.channels = channels
        self.cross_attention = Block(
            channels,
            inputs=width,
            heads=config.num_heads,
            qk_channels=config.qk_channels,
            value_channels=config.value_channels,
            widening=config.mlp_ratio,
            residual=config.query_residual,
            gelu=config.gelu,
        )
        self.linear = None if outputs is None else lecun(nn.Linear(channels, outputs))
        if self.linear is not None and start == "zeros":
            nn.init.zeros_(self.linear.weight)

    def forward(
        self, latents: Float[Tensor, "batch latents width"], queries: Queries, *, chunk: int | None = None
    ) -> Float[Tensor, "batch queries outputs"]:
        """batch × queries × outputs. A query that is masked reads nothing; its answer is the same whatever was read.

        Args:
            latents: what is asked.
            queries: what it is asked.
            chunk: queries answered at a time, so that any number of them fits into memory: nothing that grows with
                their number is kept but the answer. None: all at once where gradients are kept, else ``CHUNK``.

        Raises:
            InputError: queries of other channels, or for another number of examples.
        """
        if queries.channels != self.channels:
            raise InputError(f"decoder: queries of {queries.channels} channels, it takes {self.channels}")
        if queries.array.batch not in (1, len(latents)):
            raise InputError(f"decoder: queries for {queries.array.batch} examples, the latents are of {len(latents)}")
        rows = Rows.of(ByteArray((Segment("latents", latents),)))
        size = chunk or (queries.count if torch.is_grad_enabled() else CHUNK)
        if queries.count <= size:
            return self._answer(rows, queries)
        return torch.cat([self._answer(rows, some) for some in queries.chunks(size)], dim=1)

    def _answer(self, rows: Rows, queries: Queries) -> Tensor:
        written = self.cross_attention(queries.dense(), rows, None, queries.mask)
        return written if self.linear is None else self.linear(written)


def _run(block: nn.Module, *arguments: Any, checkpointing: bool) -> Tensor:
    # Nothing in a block is random: no state of a generator to keep.
    return (
        checkpoint(block, *arguments, use_reentrant=False, preserve_rng_state=False)
        if checkpointing
        else block(*arguments)
    )


def _check_heads(message: str, config: EncoderConfig | DecoderConfig, heads: int, attended: int) -> None:
    qk_channels = config.qk_channels or attended
    for channels in (qk_channels, config.value_channels or qk_channels):
        if channels % heads:
            raise InputError(message.format(heads=heads, channels=channels))


def _check_look(config: EncoderConfig, names: Sequence[str] | None) -> None:
    if config.attends_to is None:
        return
    if len(config.attends_to) != len(config.cross_attention):
        raise InputError(
            f"encoder: {len(config.cross_attention)} reads but {len(config.attends_to)} entries of look; pair them"
        )
    for look in config.attends_to:
        if look == ():
            raise InputError("encoder: a read that looks at nothing; name modalities, or write null for all of them")
        for name in look or ():
            if names is not None and name not in names:
                raise InputError(f"encoder: look at {name!r}, which is no modality; {did_you_mean(name, names)}")


def _over(array: ByteArray, some: ByteArray, weights: Tensor) -> Tensor:
    """Weights over some segments of an array (the last axis) as weights over all of its rows."""
    pieces = weights.split([segment.num_rows for segment in some.segments], dim=-1)
    by_name = {segment.name: piece for segment, piece in zip(some.segments, pieces, strict=True)}
    shape = weights.shape[:-1]
    return torch.cat(
        [by_name.get(one.name, weights.new_zeros(*shape, one.num_rows)) for one in array.segments],
        dim=-1,
    )


def _numbers(steps: tuple[int | None, ...]) -> list[int]:
    return sorted({number for number in steps if number is not None})
