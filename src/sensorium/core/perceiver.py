"""The Perceiver: latents, the order of reads and processes, and what becomes of the latents."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..arrays import ByteArray
from ..config import record
from ..errors import InputError
from ..precision import lowered
from .attention import Block
from .initialise import truncated_normal
from .rows import KEPT, FoldedQuery, Rows, same


@record
class EncoderConfig:
    """The shape of an encoder. Defaults are the paper's ImageNet model (Perceiver App. C).

    Attributes:
        latents: rows of the latent array (N).
        width: channels of the latent array (D).
        reads: which weights each read uses; same number, same weights; None: no read here.
        processes: which weights each process uses, one process after each read; None: no process here.
        layers: self-attention blocks in one process.
        read_heads: attention heads of a read.
        process_heads: attention heads of a process.
        read_widening: hidden width of a read's MLP, in units of ``width``.
        process_widening: hidden width of a process' MLPs, in units of ``width``.
    """

    latents: int = 512
    width: int = 1024
    reads: tuple[int | None, ...] = (0, 1, 1, 1, 1, 1, 1, 1)
    processes: tuple[int | None, ...] = (0, 0, 0, 0, 0, 0, 0, 0)
    layers: int = 6
    read_heads: int = 1
    process_heads: int = 8
    read_widening: int = 1
    process_widening: int = 1


class Encoder(nn.Module):
    """A byte array to latents: reads and processes in turn, from a learned latent array.

    Weight sharing is two lists of numbers: same number, same weights.

    Args:
        config: the shape.
        channels: the channels of the byte array's rows (C).

    Raises:
        InputError: ``reads`` and ``processes`` differ in length, or heads do not divide the width.

    >>> encoder = Encoder(EncoderConfig(latents=8, width=16, layers=1), channels=5)
    >>> len(encoder.reads), len(encoder.processes)
    (2, 1)
    """

    def __init__(self, config: EncoderConfig, *, channels: int) -> None:
        super().__init__()
        if len(config.reads) != len(config.processes):
            raise InputError(f"encoder: {len(config.reads)} reads but {len(config.processes)} processes; pair them")
        if config.width % config.process_heads:
            raise InputError(f"encoder: {config.process_heads} heads do not divide a width of {config.width}")
        if channels % config.read_heads:
            raise InputError(f"encoder: {config.read_heads} read heads do not divide {channels} channels; use 1")
        self.config = config
        self._kept: tuple[list[Tensor], FoldedQuery] | None = None
        self.latents = nn.Parameter(truncated_normal(torch.empty(config.latents, config.width), 0.02))
        self.reads = nn.ModuleDict(
            {
                str(number): Block(
                    config.width, inputs=channels, heads=config.read_heads, widening=config.read_widening
                )
                for number in _numbers(config.reads)
            }
        )
        self.processes = nn.ModuleDict(
            {
                str(number): nn.Sequential(
                    *(
                        Block(config.width, heads=config.process_heads, widening=config.process_widening)
                        for _ in range(config.layers)
                    )
                )
                for number in _numbers(config.processes)
            }
        )

    def forward(self, array: ByteArray, *, checkpointing: bool = False) -> Float[Tensor, "batch latents width"]:
        """batch × latents × width.

        Args:
            array: what is read.
            checkpointing: keep only what enters each block, and compute the rest anew in the backward pass: a third
                more arithmetic, and memory for hundreds of layers.
        """
        rows = Rows.of(array)
        # One latent array for the whole batch: the first read's queries do not depend on the example.
        latents, query = self.latents[None], self._first_query(rows)
        for step in self.steps():
            if step.read is not None:
                if checkpointing:  # markers and learned codes are in the rows: not to be made where all is made anew
                    rows.prepare(folded=step.read.folds(self.config.latents, rows))
                latents, query = _run(step.read, latents, rows, query, checkpointing=checkpointing), None
            for block in step.process or ():
                latents = _run(block, latents, checkpointing=checkpointing)
        return latents.expand(array.batch, -1, -1)

    def weights(self, array: ByteArray) -> Iterator[Float[Tensor, "batch heads latents rows"]]:
        """The attention weights of each read in turn: batch × heads × latents × rows."""
        rows = Rows.of(array)
        latents = self.latents[None].expand(array.batch, -1, -1)
        for step in self.steps():
            if step.read is not None:
                yield step.read.weights(latents, rows)
                latents = step.read(latents, rows)
            for block in step.process or ():
                latents = block(latents)

    def steps(self) -> Iterator[Step]:
        """What is applied, in order; shared weights appear more than once."""
        for read, process in zip(self.config.reads, self.config.processes, strict=True):
            yield Step(
                None if read is None else self.reads[str(read)],  # type: ignore[arg-type]
                None if process is None else self.processes[str(process)],  # type: ignore[arg-type]
            )

    def _first_query(self, rows: Rows) -> FoldedQuery | None:
        """In inference, the query of a read that comes first: it depends on parameters alone, and is kept with them."""
        number = self.config.reads[0] if self.config.reads else None
        if number is None or torch.is_grad_enabled() or torch.compiler.is_compiling() or self.latents.is_meta:
            return None
        read: Block = self.reads[str(number)]  # type: ignore[assignment]
        if not read.folds(self.config.latents, rows):
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

    def forward(self, latents: Float[Tensor, "batch latents width"]) -> Float[Tensor, "batch outputs"]:
        """batch × latents × width to batch × outputs."""
        return self.linear(latents.mean(dim=1))


def _run(block: nn.Module, *arguments: Any, checkpointing: bool) -> Tensor:
    # Nothing in a block is random: no state of a generator to keep.
    return (
        checkpoint(block, *arguments, use_reentrant=False, preserve_rng_state=False)
        if checkpointing
        else block(*arguments)
    )


def _numbers(steps: tuple[int | None, ...]) -> list[int]:
    return sorted({number for number in steps if number is not None})
