"""Text: bytes in and out, crops, bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.errors import InputError
from sensorium.modalities.text import MASK, VOCABULARY, Text, TextConfig, text_of


def test_bytes_are_lossless(tmp_path: Path) -> None:
    text = Text(TextConfig(length=300, channels=4))
    every = bytes(range(256))
    path = tmp_path / "any.txt"
    path.write_bytes(every)
    for raw in (every, path):
        numbers = text.load(raw)["text"]
        assert numbers.tolist() == [byte + 6 for byte in every]
        assert text_of(torch.from_numpy(numbers)).encode(errors="surrogateescape") == every
    assert VOCABULARY == 262


def test_embedding_is_the_papers() -> None:
    torch.manual_seed(0)
    text = Text(TextConfig(length=2048, channels=768))
    assert text.byte_embedding.weight.shape == (262, 768)
    assert text.byte_embedding.weight.abs().max() <= 2
    assert text.position_embedding.table.shape == (2048, 768)
    assert text.position_embedding.table.abs().max() <= 0.04
    numbers = torch.tensor([[6, 7]])
    dense = text.embed({"text": numbers}).dense()
    assert torch.equal(dense[0], text.byte_embedding.weight[6:8] + text.position_embedding.table[:2])


def test_fourier_positions_are_joined() -> None:
    text = Text(TextConfig(length=20, channels=8, positions="fourier", bands=3))
    assert text.embed({"text": torch.full((2, 5), 70)}).dense().shape == (2, 5, 8 + 7)


def test_view_is_the_beginning_augment_any_passage() -> None:
    text = Text(TextConfig(length=10, channels=4, blank=0.0))
    numbers = torch.arange(6, 106)[None].repeat(32, 1)
    mask = torch.arange(100).expand(32, 100) < 50
    batch = {"text": numbers, "text.mask": mask}
    assert torch.equal(text.view(batch)["text"], numbers[:, :10])
    passages = text.augment(batch, torch.Generator().manual_seed(0))
    assert (passages["text"].diff(dim=1) == 1).all()
    assert passages["text.mask"].all(), "a passage of a longer text has no padding in it"
    assert len(set(passages["text"][:, 0].tolist())) > 5


def test_augment_hides_bytes() -> None:
    text = Text(TextConfig(length=1000, channels=4, blank=0.1))
    hidden = text.augment({"text": torch.full((4, 1000), 70)}, torch.Generator().manual_seed(0))["text"]
    assert 0.08 < (hidden == MASK).float().mean() < 0.12


def test_measure() -> None:
    assert Text.measure(["a" * 10, "b" * 10]).length == 10
    assert Text.measure(["a" * 9000]).length == 2048


@pytest.mark.parametrize(
    ("raw", "told"),
    [("", "empty"), (b"", "empty"), (Path("/nowhere/at/all.txt"), "cannot be read"), (np.zeros(3), "not ndarray")],
)
def test_bad_input(raw: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Text(TextConfig(length=4, channels=4)).load(raw)  # type: ignore[arg-type]
