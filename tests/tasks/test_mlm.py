"""Filling in hidden bytes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sensorium as sm
from sensorium.cli import main
from sensorium.errors import InputError
from sensorium.modalities import ImageConfig, TextConfig
from sensorium.modalities.text import MASK, SEP, Text
from sensorium.models import checkpoints
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.models.presets import load
from sensorium.nn import DecoderConfig
from sensorium.tasks import IGNORED, MLMConfig
from sensorium.tasks.mlm import join_documents
from small_models import ONE_LAYER

TEXTS = ("the quick brown fox\njumps", "one", "  two  words ")


def small(**task: Any) -> Perceiver:
    inputs, decoder = TextConfig(length=30, channels=8), DecoderConfig(query_residual=False)
    return Perceiver(PerceiverConfig(inputs=inputs, encoder=ONE_LAYER, decoder=decoder, task=MLMConfig(**task)))


def batch_of(*texts: str) -> dict[str, torch.Tensor]:
    rows = [torch.tensor(list(text.encode())) + 6 for text in texts]
    numbers = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return {"text": numbers, "text.mask": torch.arange(numbers.shape[1]) < lengths[:, None]}


def words_hidden(text: str, hidden: torch.Tensor) -> list[bool]:
    """Of each word, whether all of its bytes are hidden; none may be in part, and no space."""
    word_hidden, start = [], 0
    for piece in text.replace("\n", " ").split(" "):
        part = hidden[start : start + len(piece)]
        assert part.all() or not part.any()
        word_hidden += [bool(part.all())] if piece else []
        assert not hidden[start + len(piece) : start + len(piece) + 1].any()
        start += len(piece) + 1
    return word_hidden


def test_training_asks_for_the_words_by_the_names_that_it_gave_them() -> None:
    """Evaluation asks for the text as it is."""
    model, batch = small(renamed=1.0), batch_of("juliet, juliet", "romeo, romeo")
    prepared = model.prepare(batch, torch.Generator().manual_seed(0))
    assert prepared.query_indices is not None
    seen = prepared.inputs["text"].scatter(1, prepared.query_indices, prepared.targets)
    whole = seen.where(seen != IGNORED, prepared.inputs["text"])
    for line, length in zip(whole, (6, 5), strict=True):
        first, second = line[:length], line[length + 2 : 2 * length + 2]
        assert torch.equal(first, second)
    assert not torch.equal(whole, batch["text"])
    tested = model.prepare(batch)
    assert torch.equal(tested.inputs["text"].where(tested.targets == IGNORED, tested.targets), batch["text"])


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_whole_words_are_hidden(seed: int | None) -> None:
    """At least one of each text; the target is the byte there, and nothing where nothing is hidden."""
    model, batch = small(), batch_of(*TEXTS)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    prepared = model.prepare(batch, generator)
    hidden = prepared.inputs["text"] == MASK
    assert prepared.inputs["text"].equal(batch["text"].masked_fill(hidden, MASK))
    targets = batch["text"].masked_fill(~hidden, IGNORED)
    if prepared.query_indices is not None:
        targets = targets.gather(1, prepared.query_indices)
    assert prepared.targets.equal(targets)
    assert (prepared.targets != IGNORED).sum() == hidden.sum()
    for example, text in enumerate(TEXTS):
        assert any(words_hidden(text, hidden[example, : len(text)]))
        assert not hidden[example, len(text) :].any()


def test_the_share_is_what_it_says() -> None:
    """15 % of many words."""
    model, text = small(), "a " * 4000
    hidden = model.prepare(batch_of(text), torch.Generator().manual_seed(0)).inputs["text"] == MASK
    assert float(hidden[:, ::2].float().mean()) == pytest.approx(0.15, abs=0.02)


def test_training_may_hide_more_than_evaluation() -> None:
    """45 % and 15 % of the same words."""
    model, batch = small(training_share=0.45), batch_of("a " * 4000)
    for generator, share in ((torch.Generator().manual_seed(0), 0.45), (None, 0.15)):
        hidden = model.prepare(batch, generator).inputs["text"] == MASK
        assert float(hidden[:, ::2].float().mean()) == pytest.approx(share, abs=0.02)


def test_an_evaluation_asks_the_same_whoever_else_is_asked() -> None:
    model = small()
    together = model.prepare(batch_of(*TEXTS)).targets
    for example, text in enumerate(TEXTS):
        alone = model.prepare(batch_of(text)).targets
        assert alone[0].equal(together[example, : len(text)])


def test_logits_are_products_with_the_embedding() -> None:
    """rows · embeddingᵀ + bias; the embedding is registered once."""
    model, rows = small(), torch.randn(2, 5, 8)
    torch.nn.init.normal_(model.task.bias)
    output = model.task.predict(rows, None).output
    assert isinstance(model.inputs, Text)
    torch.testing.assert_close(output, rows @ model.inputs.byte_embedding.weight.T + model.task.bias)
    names = [name for name, _ in model.named_parameters() if name.endswith("byte_embedding.weight")]
    assert names == ["inputs.byte_embedding.weight"]


@pytest.mark.parametrize("pointer", [None, 4])
def test_a_text_is_answered_alike_whoever_else_is_asked(pointer: int | None) -> None:
    """What is no byte of a text is never pointed at."""
    model = small(queries="rows", pointer=pointer).eval()
    together = model(model.prepare(batch_of(*TEXTS)).inputs).output
    for example, text in enumerate(TEXTS):
        alone = model(model.prepare(batch_of(text)).inputs).output
        torch.testing.assert_close(alone[0], together[example, : len(text)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pointer", [None, 4])
def test_the_loss_is_of_hidden_bytes_and_trains_everything(pointer: int | None) -> None:
    model, batch = small(pointer=pointer), batch_of(*TEXTS)
    prepared = model.prepare(batch)
    prediction = model(prepared.inputs, prepared.query_indices)
    assert prediction.output.shape == (3, 25, 262)
    loss = model.loss(prediction.output, prepared.targets)
    hidden = prepared.targets != IGNORED
    logs = prediction.scores[hidden].gather(1, prepared.targets[hidden][:, None]).log()
    assert float(loss.detach()) == pytest.approx(-float(logs.mean()), rel=1e-4)
    loss.backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert all(name.endswith("key.bias") for name in idle)  # constant over the rows: it drops out of every softmax
    metrics = model.task.metrics()
    model.task.update_metrics(metrics, prediction, prepared.targets)
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found["bits_per_byte"] == pytest.approx(float(loss.detach()) / math.log(2), rel=1e-4)
    assert found["accuracy"] == pytest.approx(model.task.training_accuracy(prediction.output, prepared.targets))
    nothing = torch.full_like(prepared.targets, IGNORED)
    assert float(model.loss(prediction.output.detach(), nothing)) == 0.0


@pytest.mark.parametrize("pointer", [None, 4])
@pytest.mark.parametrize("queries", ["learned", "rows"])
def test_training_asks_for_hidden_bytes_alone(queries: str, pointer: int | None) -> None:
    """Of each text as many as the one with the most has; the loss is that of all bytes."""
    model, batch = small(queries=queries, pointer=pointer), batch_of(*TEXTS)
    prepared = model.prepare(batch, torch.Generator().manual_seed(0))
    asked, hidden = prepared.query_indices, prepared.inputs["text"] == MASK
    assert asked is not None
    assert asked.shape == prepared.targets.shape == (3, int(hidden.sum(1).max()))
    output = model(prepared.inputs, asked).output
    whole = model(prepared.inputs).output
    torch.testing.assert_close(output, whole.gather(1, asked[..., None].expand(-1, -1, 262)), rtol=1e-4, atol=1e-5)
    targets = batch["text"].masked_fill(~hidden, IGNORED)
    torch.testing.assert_close(model.loss(output, prepared.targets), model.loss(whole, targets), rtol=1e-4, atol=1e-5)
    assert model.task.term_counts(prepared.targets).equal(model.task.term_counts(targets))


@pytest.mark.parametrize("pointer", [None, 4])
def test_some_bytes_are_those_of_the_whole(pointer: int | None) -> None:
    model, batch, indices = small(pointer=pointer).eval(), batch_of(*TEXTS), torch.tensor([3, 0])
    torch.testing.assert_close(model(batch, indices).output, model(batch).output[:, indices], rtol=1e-5, atol=1e-6)


def test_what_cannot_be_filled_in_is_refused() -> None:
    with pytest.raises(InputError, match="only bytes of text"):
        Perceiver(
            PerceiverConfig(
                inputs=ImageConfig(size=(4, 4)), encoder=ONE_LAYER, decoder=DecoderConfig(), task=MLMConfig()
            )
        )
    with pytest.raises(InputError, match="'mlm' has queries; give the model a decoder"):
        Perceiver(PerceiverConfig(inputs=TextConfig(), encoder=ONE_LAYER, task=MLMConfig()))
    with pytest.raises(InputError, match="the pointer has 0 channels; give 1 or more"):
        small(pointer=0)
    with pytest.raises(InputError, match=r"this model needs queries; give it those of model.queries"):
        small().decode(torch.zeros(1, 4, 16))
    with pytest.raises(InputError, match=r"indices are a list of rows"):
        small()(batch_of(*TEXTS), torch.zeros(3, 1, 1, dtype=torch.int64))


def test_holes_of_a_text_are_filled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A byte for each [MASK], what else it might be, and nothing else changed; wrong files get a line."""
    model = small()
    checkpoints.save(model, tmp_path / "run")
    texts = {"holes": "a [MASK][MASK]é[MASK].", "whole": "nothing hidden", "long": "word " * 20 + "[MASK]"}
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    (answer,) = sm.predict(tmp_path / "run", [tmp_path / "holes.txt"], top=2)
    numbers = torch.tensor([[*b"a ", -3, -3, *"é".encode(), -3, *b"."]]) + 6
    wanted = model.eval()({"text": numbers}).scores[0, [2, 3, 6], 6:]
    assert answer.holes is not None
    assert [len(hole) for hole in answer.holes] == [2, 2, 2]
    assert [max(hole.values()) for hole in answer.holes] == pytest.approx(wanted.amax(1).tolist())
    assert str(answer.answer).startswith("a ")
    main(["predict", str(tmp_path / "run"), str(tmp_path / "holes.txt")])
    assert "holes.txt" in capsys.readouterr().out
    for name, told in (("whole", "nothing is to be filled in; write"), ("long", "101 bytes, the model reads 30")):
        with pytest.raises(InputError, match=told):
            sm.predict(tmp_path / "run", [tmp_path / f"{name}.txt"])


# -- joined texts -----------------------------------------------------------------------------------------------------


def pieces_of(passage: torch.Tensor) -> list[list[int]]:
    """The texts between the separators of a passage."""
    pieces: list[list[int]] = [[]]
    for number in passage.tolist():
        if number == SEP:
            pieces.append([])
        else:
            pieces[-1].append(number)
    return pieces


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=7),
    count=st.integers(1, 9),
    length=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_a_passage_is_a_piece_of_joined_texts(sizes: list[int], count: int, length: int, seed: int) -> None:
    """Whole texts of the batch, none of them twice, with the end of one before and the beginning of one after; and no
    byte of the passage is empty if the texts are long enough."""
    texts = [[100 * number + step for step in range(size)] for number, size in enumerate(sizes, 1)]
    rows = torch.nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
    mask = torch.arange(rows.shape[1]) < torch.tensor(sizes)[:, None]
    generator = torch.Generator().manual_seed(seed)
    joined = join_documents({"text": rows, "text.mask": mask}, "text", count, length, generator)
    for passage, present in zip(joined["text"], joined["text.mask"], strict=True):
        size = int(present.sum())
        assert present[:size].all()
        assert (
            size == length
            or size == sum(len(piece) for piece in pieces_of(passage[:size])) + min(count, len(sizes)) - 1
        )
        assert not passage[size:].any()
        first, *inner = pieces_of(passage[:size])
        *inner, last = [first, *inner]
        numbers = {piece[0] // 100 for piece in [*inner, last] if piece}
        assert len(numbers) == sum(map(bool, [*inner, last])), "no text twice"
        assert all(piece in texts for piece in inner[1:])
        if inner:
            assert any(text[len(text) - len(first) :] == first for text in texts)
            assert any(text[: len(last)] == last for text in texts)


def test_training_joins_texts_and_evaluation_does_not() -> None:
    """The authors join ten; a part of a batch with fewer joins what it has. What is hidden is within one text."""
    assert load("perceiver-io-bytes").model().task == MLMConfig(documents=10)
    inputs = TextConfig(length=30, channels=8)
    decoder = DecoderConfig(query_residual=False)
    model = Perceiver(PerceiverConfig(inputs=inputs, encoder=ONE_LAYER, decoder=decoder, task=MLMConfig(documents=10)))
    batch = batch_of(*TEXTS)
    prepared = model.prepare(batch, torch.Generator().manual_seed(0))
    assert prepared.inputs["text"].shape == (3, 30)
    assert prepared.inputs["text.mask"].all()
    assert (prepared.inputs["text"] == SEP).any()
    assert not (prepared.targets == SEP).any()
    model.loss(model(prepared.inputs, prepared.query_indices).output, prepared.targets).backward()
    evaluated, plain = model.prepare(batch), small().prepare(batch)
    assert evaluated.inputs["text"].equal(plain.inputs["text"])
    assert evaluated.targets.equal(plain.targets)
    with pytest.raises(InputError, match="documents are 0"):
        Perceiver(replace(model.config, task=MLMConfig(documents=0)))
