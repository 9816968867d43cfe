"""Text: bytes in and out, crops, bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from sensorium.config import from_dict, to_yaml
from sensorium.errors import InputError
from sensorium.modalities.text import MASK, VOCABULARY, Text, TextConfig, text_of
from sensorium.nn.stems.ngrams import NGramStemConfig


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
    assert Text.measure(["a" * 9000]).length == 8192


@pytest.mark.parametrize(
    ("raw", "told"),
    [("", "empty"), (b"", "empty"), (Path("/nowhere/at/all.txt"), "cannot be read"), (np.zeros(3), "not ndarray")],
)
def test_bad_input(raw: object, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Text(TextConfig(length=4, channels=4)).load(raw)  # type: ignore[arg-type]


STEM = NGramStemConfig(buckets=300, channels=8, dilations=(1,))


def test_a_stem_adds_to_the_embedding_and_to_nothing_else() -> None:
    """Sizes, positions, targets and queries are those of the bytes; without what a stem adds, so are the rows."""
    torch.manual_seed(0)
    plain = Text(TextConfig(length=20, channels=8, positions="fourier", bands=3))
    text = Text(replace(plain.config, stem=STEM))
    assert from_dict(TextConfig, yaml.safe_load(to_yaml(text.config))) == text.config
    plain.load_state_dict({name: value for name, value in text.state_dict().items() if not name.startswith("stem.")})
    batch = text.view({"text": torch.randint(6, 262, (2, 20))})
    one, other = (modality.embed(batch).segments[0] for modality in (plain, text))
    assert (text.config.row_channels, text.value_channels) == (plain.config.row_channels, VOCABULARY)
    assert one.positions is not None
    assert other.positions is not None
    assert torch.equal(one.positions.dense(), other.positions.dense())
    assert not torch.allclose(one.values, other.values)
    assert torch.equal(text.targets(batch), batch["text"])
    assert torch.equal(text.query_segment(batch).dense(), plain.query_segment(batch).dense())
    assert text.stem is not None
    torch.nn.init.zeros_(text.stem.projection.weight)
    assert torch.equal(text.embed(batch).dense(), plain.embed(batch).dense())


@pytest.mark.parametrize("positions", ["learned", "fourier"])
def test_a_stem_sees_neither_padding_nor_masked_nor_hidden_bytes(positions: Any) -> None:
    torch.manual_seed(0)
    text = Text(TextConfig(length=20, channels=8, positions=positions, stem=STEM))
    numbers = torch.randint(6, 262, (3, 20))
    mask, hidden = torch.arange(20) < torch.tensor([[20], [15], [1]]), torch.rand(3, 20) < 0.2
    batch = {"text": numbers, "text.mask": mask, "text.hidden": hidden}
    changed = {**batch, "text": numbers.masked_fill(~mask | hidden, 99)}
    seen = mask & ~hidden
    assert torch.equal(text.embed(batch).dense()[seen], text.embed(changed).dense()[seen])
    for example, length in enumerate((20, 15, 1)):
        alone = text.embed({"text": numbers[example, None, :length], "text.hidden": hidden[example, None, :length]})
        kept = seen[example, :length]
        together = text.embed(batch).dense()[example, :length]
        assert torch.allclose(alone.dense()[0, kept], together[kept], atol=1e-6)


@pytest.mark.parametrize("positions", ["learned", "fourier"])
@pytest.mark.parametrize("stem", [None, replace(STEM, dilations=()), STEM])
@pytest.mark.parametrize("masked", [True, False])
def test_a_part_is_the_whole_without_dropped_rows(positions: Any, stem: NGramStemConfig | None, masked: bool) -> None:
    """Same rows, same gradients, whether or not the dropped rows are made."""
    torch.manual_seed(0)
    text = Text(TextConfig(length=20, channels=8, positions=positions, bands=3, stem=stem))
    batch = {"text": torch.randint(6, 262, (3, 15))}
    if masked:
        batch["text.mask"] = torch.arange(15) < torch.tensor([[15], [9], [1]])
    part = text.embed_part(batch, 0.4, generator=torch.Generator().manual_seed(1))
    whole = text.embed(batch).drop_rows(0.4, generator=torch.Generator().manual_seed(1))
    assert part.num_rows == 9
    assert torch.allclose(part.dense(), whole.dense(), atol=1e-6)
    assert (part.mask is None and whole.mask is None) or torch.equal(part.mask, whole.mask)  # type: ignore[arg-type]
    gradients = [torch.autograd.grad(array.dense().square().sum(), list(text.parameters())) for array in (part, whole)]
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert text.embed_part(batch, 0.0).num_rows == 15


def test_ngrams_leave_masked_bytes_out_and_convolutions_see_that_they_are_masked() -> None:
    torch.manual_seed(0)
    numbers, hidden = torch.randint(6, 262, (3, 20)), torch.rand(3, 20) < 0.2
    for stem, equal in ((replace(STEM, dilations=()), True), (STEM, False)):
        text = Text(TextConfig(length=20, channels=8, stem=stem))
        for parameter in text.parameters():
            torch.nn.init.normal_(parameter)
        out = text.embed({"text": numbers, "text.hidden": hidden}).dense()
        masked = text.embed({"text": numbers.masked_fill(hidden, MASK)}).dense()
        assert torch.equal(out[~hidden], masked[~hidden]) == equal
