"""The encoder: a learned latent array, and cross-attention and latent transformers in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..config import record
from ..errors import InputError, did_you_mean
from .attention import CrossAttention, Gelu, SelfAttention, attention_path, check_heads
from .byte_array import ByteArray
from .initialisation import truncated_normal
from .ops.inputs import AttentionInputs


@record
class EncoderConfig:
    """The shape of an encoder. Defaults are the paper's ImageNet model (Perceiver App. C).

    Attributes:
        num_latents: rows of the latent array (N).
        latent_channels: channels of the latent array (D).
        cross_attention: which weights each cross-attend uses; same number, same weights; None: no cross-attend here.
        latent_transformer: which weights each latent transformer uses, one after each cross-attend; None: none here.
        attends_to: for each cross-attend the names of the modalities that it attends to; None: all of them. So signals
            can be attended to one after the other instead of fused. None instead of entries: all attend to everything.
        num_layers: self-attention blocks in one latent transformer.
        num_cross_attention_heads: attention heads of a cross-attend.
        num_self_attention_heads: attention heads of a self-attention block.
        cross_attention_mlp_ratio: hidden channels of a cross-attend's MLP, in units of ``latent_channels``.
        self_attention_mlp_ratio: hidden channels of a self-attention block's MLP, in units of ``latent_channels``.
        qk_channels: channels of queries and keys over all heads, in every block; None: the channels attended to, which
            are the rows' in a cross-attend and ``latent_channels`` in self-attention (the authors' rule).
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


@dataclass(frozen=True)
class Step:
    """One cross-attend and the latent transformer after it; either may be absent."""

    cross_attention: CrossAttention | None
    latent_transformer: nn.Sequential | None


class Encoder(nn.Module):
    """A byte array to latents: cross-attention and latent transformers in turn, from a learned latent array.

    Weight sharing is two lists of numbers: same number, same weights.

    Args:
        config: the shape.
        channels: the channels of the byte array's rows (C).
        names: the names of the byte array's segments; None: not known beforehand.

    Raises:
        InputError: ``cross_attention``, ``latent_transformer`` and ``attends_to`` of different lengths, an entry of
            ``attends_to`` that is empty or names an unknown modality, or heads that do not divide the channels.

    >>> encoder = Encoder(EncoderConfig(num_latents=8, latent_channels=16, num_layers=1), channels=5)
    >>> len(encoder.cross_attention), len(encoder.latent_transformer)
    (2, 1)
    """

    config: EncoderConfig

    def __init__(self, config: EncoderConfig, *, channels: int, names: Sequence[str] | None = None) -> None:
        super().__init__()
        _check(config, channels, names)
        self.config = config
        shared: dict[str, Any] = {
            "qk_channels": config.qk_channels,
            "value_channels": config.value_channels,
            "gelu": config.gelu,
        }
        self.latents = nn.Parameter(truncated_normal(torch.empty(config.num_latents, config.latent_channels), 0.02))
        self.cross_attention = nn.ModuleDict(
            {
                str(number): CrossAttention(
                    config.latent_channels,
                    input_channels=channels,
                    num_heads=config.num_cross_attention_heads,
                    mlp_ratio=config.cross_attention_mlp_ratio,
                    **shared,
                )
                for number in _numbers(config.cross_attention)
            }
        )
        self.latent_transformer = nn.ModuleDict(
            {
                str(number): nn.Sequential(
                    *(
                        SelfAttention(
                            config.latent_channels,
                            num_heads=config.num_self_attention_heads,
                            mlp_ratio=config.self_attention_mlp_ratio,
                            **shared,
                        )
                        for _ in range(config.num_layers)
                    )
                )
                for number in _numbers(config.latent_transformer)
            }
        )

    def forward(self, array: ByteArray, *, checkpointing: bool = False) -> Float[Tensor, "batch latents channels"]:
        """batch × latents × channels.

        Args:
            array: the byte array.
            checkpointing: keep only the input of each block, and compute the rest again in the backward pass: a third
                more arithmetic, and memory for hundreds of layers.
        """
        run = _checkpointed if checkpointing else _plain
        latents = self.latents[None]  # one latent array for the whole batch, until it meets the inputs
        for step, inputs in zip(self.steps(), self.inputs(array), strict=True):
            if step.cross_attention is not None:
                if checkpointing:  # so that all cross-attends still share the prepared rows
                    step.cross_attention.prepare(self.config.num_latents, inputs)
                latents = run(step.cross_attention, latents, inputs)
            for block in step.latent_transformer or ():
                latents = run(block, latents)
        return latents.expand(array.batch, -1, -1)

    def weights(
        self, array: ByteArray, *, before_softmax: bool = False
    ) -> Iterator[Float[Tensor, "batch heads latents rows"]]:
        """The attention weights of each cross-attend in turn: batch × heads × latents × rows, 0 in the rows of
        modalities that it does not attend to.

        Args:
            array: the byte array.
            before_softmax: the logits instead; -inf where a row is masked or not attended to.
        """
        for block, latents, inputs in self._blocks(array):
            if isinstance(block, CrossAttention):
                weights = block.weights(latents, inputs, before_softmax=before_softmax)
                missing = float("-inf") if before_softmax else 0.0
                yield _over_all_rows(weights, inputs.array, array, missing)

    def rollout(self, array: ByteArray) -> Float[Tensor, "batch latents rows"]:
        """Attention rollout (Abnar & Zuidema 2020, §3): how much of each row is in each latent, if a block's output is
        half what it attends to, as the mean over heads, and half its input. The learned latents, with which the encoder
        starts, say nothing of an example and do not count.

        Args:
            array: the byte array.

        Returns:
            batch × latents × rows; the rows of a latent sum to 1, or to 0 for examples without any row.
        """
        result: Tensor | None = None
        for block, latents, inputs in self._blocks(array):
            if isinstance(block, CrossAttention):
                weights = _over_all_rows(block.weights(latents, inputs).mean(1), inputs.array, array, 0.0)
                result = weights if result is None else (result + weights) / 2
            elif result is not None:
                result = (result + block.weights(latents).mean(1) @ result) / 2
        if result is None:
            raise InputError("this encoder has no cross-attends, so there is no attention to roll out")
        return result

    def _blocks(self, array: ByteArray) -> Iterator[tuple[CrossAttention | SelfAttention, Tensor, AttentionInputs]]:
        """Each block in turn, the latents that it gets, and what a cross-attend in its step attends to."""
        latents = self.latents[None].expand(array.batch, -1, -1)
        for step, inputs in zip(self.steps(), self.inputs(array), strict=True):
            if step.cross_attention is not None:
                yield step.cross_attention, latents, inputs
                latents = step.cross_attention(latents, inputs)
            for block in step.latent_transformer or ():
                yield block, latents, inputs  # type: ignore[misc]
                latents = block(latents)

    @property
    def num_latents(self) -> int:
        """Rows of the latent array."""
        return self.config.num_latents

    @property
    def latent_channels(self) -> int:
        """Channels of the latent array."""
        return self.config.latent_channels

    @property
    def cross_attends(self) -> tuple[int, ...]:
        """For each cross-attend, in order, the number of its weights."""
        return tuple(number for number in self.config.cross_attention if number is not None)

    def steps(self) -> Iterator[Step]:
        """The blocks in the order in which they are applied; shared weights appear more than once."""
        for cross, latent in zip(self.config.cross_attention, self.config.latent_transformer, strict=True):
            yield Step(
                None if cross is None else self.cross_attention[str(cross)],  # type: ignore[arg-type]
                None if latent is None else self.latent_transformer[str(latent)],  # type: ignore[arg-type]
            )

    def inputs(self, array: ByteArray) -> list[AttentionInputs]:
        """What each step attends to; a step without a cross-attend counts as attending to everything."""
        return AttentionInputs.select(array, self.config.attends_to or (None,) * len(self.config.cross_attention))


def _plain(block: nn.Module, *arguments: Any) -> Tensor:
    return block(*arguments)


def _checkpointed(block: nn.Module, *arguments: Any) -> Tensor:
    path = block.path if isinstance(block, CrossAttention) else "auto"
    return checkpoint(
        block,
        *arguments,
        use_reentrant=False,
        preserve_rng_state=False,  # nothing in a block is random
        context_fn=lambda: (nullcontext(), attention_path(block, path)),  # the same way again in the backward pass
    )


def _check(config: EncoderConfig, channels: int, names: Sequence[str] | None) -> None:
    """Refuse a shape that cannot be built."""
    cross_attends, transformers = len(config.cross_attention), len(config.latent_transformer)
    if cross_attends != transformers:
        raise InputError(
            f"encoder: {cross_attends} entries of cross_attention but {transformers} of latent_transformer; pair them"
        )
    problem = check_heads(
        config.num_self_attention_heads, config.latent_channels, config.qk_channels, config.value_channels
    )
    if problem:
        raise InputError(f"encoder: self-attention: {problem}")
    problem = check_heads(config.num_cross_attention_heads, channels, config.qk_channels, config.value_channels)
    if problem:
        raise InputError(f"encoder: cross-attention: {problem}; use 1")
    if config.attends_to is None:
        return
    if len(config.attends_to) != cross_attends:
        raise InputError(
            f"encoder: {cross_attends} entries of cross_attention but {len(config.attends_to)} of attends_to; pair them"
        )
    for modalities in config.attends_to:
        if modalities == ():
            raise InputError("encoder: an empty entry of attends_to; name modalities, or write null for all of them")
        for name in modalities or ():
            if names is not None and name not in names:
                raise InputError(
                    f"encoder: attends_to names {name!r}, which is no modality; {did_you_mean(name, names)}"
                )


def _over_all_rows(weights: Tensor, attended: ByteArray, array: ByteArray, missing: float) -> Tensor:
    """Weights over the rows of ``attended`` (the last axis) as weights over all rows of ``array``; ``missing`` in the
    others."""
    names = [segment.name for segment in attended.segments]
    if names == [segment.name for segment in array.segments]:
        return weights
    pieces = weights.split([segment.num_rows for segment in attended.segments], dim=-1)
    by_name = dict(zip(names, pieces, strict=True))
    shape = weights.shape[:-1]
    return torch.cat(
        [
            by_name.get(segment.name, weights.new_full((*shape, segment.num_rows), missing))
            for segment in array.segments
        ],
        dim=-1,
    )


def _numbers(steps: tuple[int | None, ...]) -> list[int]:
    return sorted({number for number in steps if number is not None})
