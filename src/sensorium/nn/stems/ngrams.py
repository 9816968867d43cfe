"""A stem for sequences of bytes: what the bytes before a byte are, as hashed n-grams.

A row that is one byte says next to nothing: latents that attend to rows can count letters, not words. The sum of the
embeddings of the n-grams that end at a byte tells the row which word or syllable it closes (n-gram hash embeddings of
bytes: Byte Latent Transformer, Pagnoni et al. 2024, §3.2.1).
"""

from __future__ import annotations

from math import sqrt
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...config import record
from ...errors import InputError
from ..initialisation import lecun, truncated_normal
from .grid import ConvolutionBlock

BASE = 0x9E3779B97F4A7C15 - 2**64  # the base of the polynomial of an n-gram; odd, so that no byte is ever lost
MIXERS = (
    0xBF58476D1CE4E5B9 - 2**64,
    0x94D049BB133111EB - 2**64,
)  # of SplitMix64's output function (Steele et al. 2014)
ABSENT = 0  # the key of a byte that no n-gram may hold; others have their number plus 1
NONE = 0  # the bucket of an n-gram that is left out
SPREAD = 0.02  # standard deviation of the table: n-grams that were never trained on add little noise to their row
GAIN = 10.0  # of the sum: the table learns so many times faster, as few steps see an n-gram


@record
class NGramStemConfig:
    """Embeddings of the n-grams that end at each byte, and convolutions over them.

    Attributes:
        shortest: bytes of the shortest n-grams.
        longest: bytes of the longest n-grams; there is one of every length between for each byte.
        buckets: entries of the table that n-grams of all lengths share by their hash; the first one stays unused.
        channels: of an entry, before a linear layer.
        dilations: one for each residual block of two convolutions over the rows after that; empty: there are none.
        kernel: rows that a convolution sees, an odd number.
        dropout: share of the channels that training sets to zero, of n-grams, of rows, and inside of convolutions.
    """

    kind: Literal["ngrams"] = "ngrams"
    shortest: int = 2
    longest: int = 6
    buckets: int = 65536
    channels: int = 32
    dilations: tuple[int, ...] = ()
    kernel: int = 5
    dropout: float = 0.0


class NGramStem(nn.Module):
    """What is added to the embedding of each byte.

    Args:
        config: the configuration.
        channels: of a row.

    Raises:
        InputError: lengths of n-grams below 1 or in the wrong order, an empty table, an even kernel, or a dropout
            that is no share.

    >>> stem = NGramStem(NGramStemConfig(buckets=64, channels=4), channels=8)
    >>> stem(torch.zeros(2, 10, 8), torch.randint(256, (2, 10)), torch.ones(2, 10, dtype=torch.bool)).shape
    torch.Size([2, 10, 8])
    """

    def __init__(self, config: NGramStemConfig, *, channels: int) -> None:
        super().__init__()
        if not 1 <= config.shortest <= config.longest:
            raise InputError(
                f"stem: n-grams of {config.shortest} to {config.longest} bytes; give 1 <= shortest <= longest"
            )
        if config.buckets < 2 or config.channels < 1 or config.kernel % 2 == 0:
            raise InputError("stem: give n-grams two buckets and a channel at least, and convolutions an odd kernel")
        if not 0 <= config.dropout < 1:
            raise InputError(f"stem: dropout is {config.dropout}; give a share of the channels, 0 or more and below 1")
        self.config = config
        self.dropout = nn.Dropout(config.dropout)
        self.table = nn.Parameter(truncated_normal(torch.empty(config.buckets, config.channels), SPREAD))
        self.projection = lecun(nn.Linear(config.channels, channels, bias=False))
        self.blocks = nn.ModuleList(
            ConvolutionBlock(channels, kernel=(config.kernel,), dilation=dilation, dropout=config.dropout)
            for dilation in config.dilations
        )

    def forward(
        self,
        rows: Float[Tensor, "batch rows channels"],
        numbers: Int[Tensor, "batch length"],
        known: Bool[Tensor, "batch length"],
        mask: Bool[Tensor, "batch length"] | None = None,
        *,
        kept: Int[Tensor, "batch rows"] | None = None,
    ) -> Float[Tensor, "batch rows channels"]:
        """The rows with what their n-grams say.

        Args:
            rows: batch × rows × channels, the embeddings of all bytes, or of those of ``kept``.
            numbers: batch × length, int64, at least 0: which byte it is.
            known: batch × length, True = known. An n-gram with any byte that is not is left out.
            mask: batch × length, True = present: the rows that convolutions may see; None: all.
            kept: batch × rows, int64: the bytes that have a row; None: all, as convolutions need them.
        """
        index = ngram_buckets(numbers, known, self.config, kept=kept)
        if torch.compiler.is_exporting():  # in ONNX a bag would be a loop over the bytes
            sums = (F.embedding(index, self.table) * (index != NONE)[..., None]).sum(2)
        else:
            sums = _Sums.apply(self.table, index.flatten(0, 1)).unflatten(0, index.shape[:2])
        scale = GAIN / sqrt(self.config.longest - self.config.shortest + 1)
        rows = self.dropout(rows + self.projection(self.dropout(scale * sums)))
        for block in self.blocks:
            rows = block(rows, mask)
        return rows


class _Sums(torch.autograd.Function):
    """For each row of an index the sum of the entries of a table that it names, without those that are NONE.

    ``F.embedding_bag`` with ``padding_idx`` is the same; for 32 texts of 2,048 bytes it took a CPU 190 ms with its
    gradient, and this takes 34.
    """

    @staticmethod
    def forward(context: Any, table: Tensor, index: Tensor) -> Tensor:
        """rows × channels, from a table of buckets × channels and an int64 index of rows × entries."""
        context.save_for_backward(index)
        context.size = table.shape
        return F.embedding_bag(index, table, mode="sum", per_sample_weights=(index != NONE).to(table.dtype))

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,), (index,) = gradients, context.saved_tensors
        total = gradient.new_zeros(context.size)
        for entry in index.unbind(1):
            total.index_add_(0, entry, gradient)
        total[NONE] = 0
        return total, None


def ngram_buckets(
    numbers: Int[Tensor, "batch length"],
    present: Bool[Tensor, "batch length"],
    config: NGramStemConfig,
    *,
    kept: Int[Tensor, "batch rows"] | None = None,
) -> Int[Tensor, "batch rows lengths"]:
    """The buckets of the n-grams that end at each byte of ``kept``, or at all: int64, batch × rows × lengths, 0 where
    one is left out.

    The hash of an n-gram is a polynomial of its bytes modulo 2 ** 64, with its length added, through the output
    function of SplitMix64.

    >>> config = NGramStemConfig(shortest=1, longest=2, buckets=1000)
    >>> ngram_buckets(torch.tensor([[7, 9, 7, 9]]), torch.tensor([[True, True, True, False]]), config)
    tensor([[[388,   0],
             [545, 161],
             [388, 104],
             [  0,   0]]])
    """
    keys = torch.where(present, numbers + 1, ABSENT)
    polynomial, power, found = _bytes_before(keys, 0, kept), 1, []
    whole = polynomial != ABSENT
    for length in range(1, config.longest + 1):
        if length > 1:
            power = _wrapped(power * BASE)
            before = _bytes_before(keys, length - 1, kept)
            polynomial = polynomial + power * before
            whole = whole & (before != ABSENT)
        if length >= config.shortest:
            hashes = _mixed(polynomial + _wrapped(length * MIXERS[0])) % (config.buckets - 1)
            found.append(torch.where(whole, hashes + 1, NONE))
    return torch.stack(found, dim=-1)


def _bytes_before(keys: Tensor, back: int, kept: Tensor | None) -> Tensor:
    """The key of the byte that stands so many bytes before each byte of ``kept``, or before each byte."""
    shifted = F.pad(keys, (back, 0), value=ABSENT)[:, : keys.shape[1]]
    return shifted if kept is None else shifted.gather(1, kept)


def _wrapped(number: int) -> int:
    """A Python integer as int64 arithmetic would leave it."""
    return (number + 2**63) % 2**64 - 2**63


def _mixed(keys: Tensor) -> Tensor:
    """The output function of SplitMix64, on int64; the sign bit is cleared at the end."""
    for shift, factor in zip((30, 27), MIXERS, strict=True):
        keys = (keys ^ (keys >> shift & (1 << 64 - shift) - 1)) * factor
    return (keys ^ (keys >> 31 & (1 << 33) - 1)) & 2**63 - 1
