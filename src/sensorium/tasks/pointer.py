"""Answers that are copied from the input.

What a gap holds often stands elsewhere in the same text: a name, a variable, a rare word. A decoder has to carry its
letters through the latents, and learns common words by heart instead. A pointer only learns where to look: the letters
that it finds there are the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..nn.byte_array import ByteArray
from ..nn.initialisation import fan_in
from ..nn.ops.projected import projected_attention
from ..nn.precision import EPSILON, exact, without_autocast
from ..nn.queries import Queries

GATE = -2.0  # of the bias at the start: an eighth is copied
TINY = 1e-7  # added to a probability before its logarithm; an optimiser of ONNX files takes 1e-9 for zero


@dataclass(frozen=True, kw_only=True)
class CopyingQueries(Queries):
    """Queries whose answers may be copied.

    Attributes:
        rows: what is pointed at.
        symbols: batch × rows, int64: which symbol each row is.
        known: batch × rows, True = can be pointed at.
    """

    rows: ByteArray
    symbols: Tensor
    known: Tensor


class Pointer(nn.Module):
    """Mixes the decoder's probabilities with those of symbols that the input shows (pointer-generator networks, See et
    al. 2017, §2.2): p = (1 - g) · p_decoder + g · attention to the rows with each symbol. Attention has one head, and g
    is a logistic regression of the decoder's output.

    Args:
        channels: of the queries and the keys of the attention.
        query_channels: of the decoder's output.
        input_channels: of the rows.

    >>> from sensorium.nn.byte_array import Segment
    >>> rows = ByteArray((Segment("text", torch.randn(1, 3, 4)),))
    >>> symbols = torch.tensor([[1, 2, 0]])
    >>> queries = CopyingQueries(rows, rows=rows, symbols=symbols, known=symbols > 0)
    >>> pointer = Pointer(8, query_channels=4, input_channels=4)
    >>> pointer(torch.zeros(1, 3, 5), rows.dense(), queries).exp().sum(-1).round(decimals=4)
    tensor([[1., 1., 1.]], grad_fn=<RoundBackward1>)
    """

    def __init__(self, channels: int, *, query_channels: int, input_channels: int) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(query_channels, eps=EPSILON)
        self.input_norm = nn.LayerNorm(input_channels, eps=EPSILON)
        self.query = fan_in(nn.Linear(query_channels, channels, bias=False))
        self.key = fan_in(nn.Linear(input_channels, channels, bias=False))
        self.gate = nn.Linear(query_channels, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, GATE)

    def forward(self, logits: Tensor, output: Tensor, queries: CopyingQueries) -> Tensor:
        """The logarithms of the mixed probabilities, batch × n × symbols, float32 at least. Where no row is known,
        nothing is copied.

        Args:
            logits: of the decoder, batch × n × symbols.
            output: of the decoder, batch × n × channels, from which the logits were made.
            queries: those that they are for.
        """
        normalised = self.query_norm(output)
        query, key = self.query(normalised), self.key(self.input_norm(queries.rows.dense()))
        share = exact(self.gate(normalised)).sigmoid() * queries.known.any(1)[:, None, None]
        symbols = torch.arange(logits.shape[-1], device=logits.device)
        values = (queries.symbols[..., None] == symbols).to(share.dtype)
        with without_autocast(logits.device.type):  # these are probabilities
            copied = projected_attention(exact(query), exact(key), values, num_heads=1, mask=queries.known)
            return ((1 - share) * exact(logits).softmax(-1) + share * copied + TINY).log()
