"""Answers that are copied from the input."""

from __future__ import annotations

import math

import torch

from sensorium.nn.byte_array import ByteArray, Segment
from sensorium.tasks.pointer import GATE, TINY, CopyingQueries, Pointer

SYMBOLS = torch.tensor([[3, 1, 3, 0, 2], [4, 4, 1, 0, 0]])
KNOWN = torch.tensor([[True, True, True, False, True], [False] * 5])


def queries_of(rows: torch.Tensor) -> CopyingQueries:
    array = ByteArray((Segment("text", rows),))
    return CopyingQueries(array, rows=array, symbols=SYMBOLS, known=KNOWN)


def reference(pointer: Pointer, logits: torch.Tensor, output: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The mixed probabilities, written out query by query: See et al. 2017, eq. 9."""
    mixed = logits.softmax(-1)
    for example, number in [(example, number) for example in range(2) for number in range(output.shape[1])]:
        asking = pointer.query_norm(output[example, number])
        heard = {}
        for row in range(5):
            if KNOWN[example, row]:
                key = pointer.key.weight @ pointer.input_norm(rows[example, row])
                heard[row] = math.exp(float(pointer.query.weight @ asking @ key) / math.sqrt(len(key)))
        share = 1 / (1 + math.exp(-float(pointer.gate.weight[0] @ asking + pointer.gate.bias[0]))) if heard else 0.0
        mixed[example, number] *= 1 - share
        for row, weight in heard.items():
            mixed[example, number, SYMBOLS[example, row]] += share * weight / sum(heard.values())
    return mixed


def test_the_mixture_is_that_of_the_equation() -> None:
    """In float64; of the second example nothing is known."""
    torch.manual_seed(0)
    pointer = Pointer(3, query_channels=4, input_channels=6).double()
    for parameter in pointer.parameters():
        torch.nn.init.normal_(parameter)
    logits, output, rows = (torch.randn(2, *size, dtype=torch.float64) for size in ((7, 5), (7, 4), (5, 6)))
    with torch.no_grad():
        mixed = pointer(logits, output, queries_of(rows))
        torch.testing.assert_close(mixed.exp(), reference(pointer, logits, output, rows), rtol=1e-9, atol=2 * TINY)
    assert mixed.dtype == torch.float64


def test_what_is_hidden_is_not_copied() -> None:
    """A symbol that only a row that is not known has keeps what the decoder gives it."""
    torch.manual_seed(0)
    logits, output, rows = torch.randn(2, 7, 5), torch.randn(2, 7, 4), torch.randn(2, 5, 6)
    mixed = Pointer(3, query_channels=4, input_channels=6)(logits, output, queries_of(rows)).exp()
    copied = 1 / (1 + math.exp(-GATE))
    torch.testing.assert_close(mixed[0, :, [0, 4]], (1 - copied) * logits[0].softmax(-1)[:, [0, 4]])
    torch.testing.assert_close(mixed[1], logits[1].softmax(-1))


def test_it_learns_where_to_look() -> None:
    """The answer is the symbol of the row that is like the query; the decoder knows nothing."""
    torch.manual_seed(0)
    pointer = Pointer(8, query_channels=6, input_channels=6)
    optimizer = torch.optim.Adam(pointer.parameters(), lr=0.03)
    marks = torch.eye(6)

    def loss() -> torch.Tensor:
        rows = torch.stack([marks[torch.randperm(6)] for _ in range(32)])
        symbols = torch.randint(9, (32, 6))
        array = ByteArray((Segment("text", rows),))
        queries = CopyingQueries(array, rows=array, symbols=symbols, known=torch.ones(32, 6, dtype=torch.bool))
        mixed = pointer(torch.zeros(32, 6, 9), rows, queries)
        return torch.nn.functional.cross_entropy(mixed.mT, symbols)

    for _ in range(60):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert float(loss().detach()) < 0.1 * math.log(9)
