"""Filling in hidden bytes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import sensorium as sm
from sensorium import checkpoints
from sensorium.cli import main
from sensorium.core.perceiver import DecoderConfig, EncoderConfig
from sensorium.errors import InputError
from sensorium.modalities import ImageConfig, TextConfig
from sensorium.modalities.text import MASK, Text
from sensorium.model import Model, ModelConfig
from sensorium.tasks import IGNORED, FillConfig

TEXTS = ("the quick brown fox\njumps", "one", "  two  words ")
ENCODER = EncoderConfig(latents=4, width=16, reads=(0,), processes=(0,), layers=1, process_heads=2)


def small() -> Model:
    inputs = TextConfig(length=30, channels=8)
    return Model(ModelConfig(inputs=inputs, encoder=ENCODER, decoder=DecoderConfig(residual=False), task=FillConfig()))


def batch_of(*texts: str) -> dict[str, torch.Tensor]:
    rows = [torch.tensor(list(text.encode())) + 6 for text in texts]
    numbers = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return {"text": numbers, "text.mask": torch.arange(numbers.shape[1]) < lengths[:, None]}


def words_hidden(text: str, hidden: torch.Tensor) -> list[bool]:
    """Of each word, whether all of its bytes are hidden; none may be in part, and no space."""
    told, place = [], 0
    for piece in text.replace("\n", " ").split(" "):
        part = hidden[place : place + len(piece)]
        assert part.all() or not part.any()
        told += [bool(part.all())] if piece else []
        assert not hidden[place + len(piece) : place + len(piece) + 1].any()
        place += len(piece) + 1
    return told


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_whole_words_are_hidden(seed: int | None) -> None:
    """At least one of each text; the target is the byte there, and nothing where nothing is hidden."""
    model, batch = small(), batch_of(*TEXTS)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    question = model.task.pose(model.inputs, batch, generator)
    hidden = question.target != IGNORED
    assert question.target[hidden].equal(batch["text"][hidden])
    assert question.view["text"].equal(batch["text"].masked_fill(hidden, MASK))
    for place, text in enumerate(TEXTS):
        assert any(words_hidden(text, hidden[place, : len(text)]))
        assert not hidden[place, len(text) :].any()


def test_the_share_is_what_it_says() -> None:
    """15 % of many words."""
    model, text = small(), "a " * 4000
    hidden = model.task.pose(model.inputs, batch_of(text), torch.Generator().manual_seed(0)).target != IGNORED
    assert float(hidden[:, ::2].float().mean()) == pytest.approx(0.15, abs=0.02)


def test_an_evaluation_asks_the_same_whoever_else_is_asked() -> None:
    model = small()
    together = model.task.pose(model.inputs, batch_of(*TEXTS)).target
    for place, text in enumerate(TEXTS):
        alone = model.task.pose(model.inputs, batch_of(text)).target
        assert alone[0].equal(together[place, : len(text)])


def test_answers_are_tied_to_the_embedding() -> None:
    """rows · embeddingᵀ + bias; the embedding is registered once."""
    model, rows = small(), torch.randn(2, 5, 8)
    torch.nn.init.normal_(model.task.bias)
    output = model.task.answer(model.inputs, rows, None).output
    assert isinstance(model.inputs, Text)
    torch.testing.assert_close(output, rows @ model.inputs.bytes.weight.T + model.task.bias)
    names = [name for name, _ in model.named_parameters() if name.endswith("bytes.weight")]
    assert names == ["inputs.bytes.weight"]


def test_the_loss_is_of_hidden_bytes_and_trains_everything() -> None:
    model, batch = small(), batch_of(*TEXTS)
    question = model.task.pose(model.inputs, batch)
    answer = model(question.view, question.where)
    assert answer.output.shape == (3, 25, 262)
    loss = model.task.loss(answer.output, question.target)
    hidden = question.target != IGNORED
    logs = answer.scores[hidden].gather(1, question.target[hidden][:, None]).log()
    assert float(loss.detach()) == pytest.approx(-float(logs.mean()), rel=1e-4)
    loss.backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert all(name.endswith("key.bias") for name in idle)  # constant over the rows: it drops out of every softmax
    metrics = model.task.metrics()
    model.task.score(metrics, answer, question.target)
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found["bits_per_byte"] == pytest.approx(float(loss.detach()) / math.log(2), rel=1e-4)
    assert found["accuracy"] == pytest.approx(model.task.agreement(answer.output, question.target))
    nothing = torch.full_like(question.target, IGNORED)
    assert float(model.task.loss(answer.output.detach(), nothing)) == 0.0


def test_some_bytes_may_be_asked() -> None:
    model, batch, where = small().eval(), batch_of(*TEXTS), torch.tensor([3, 0])
    torch.testing.assert_close(model(batch, where).output, model(batch).output[:, where], rtol=1e-5, atol=1e-6)


def test_what_cannot_be_filled_in_is_refused() -> None:
    with pytest.raises(InputError, match="only bytes of text"):
        Model(ModelConfig(inputs=ImageConfig(size=(4, 4)), encoder=ENCODER, decoder=DecoderConfig(), task=FillConfig()))
    with pytest.raises(InputError, match="'fill' asks queries; give the model a decoder"):
        Model(ModelConfig(inputs=TextConfig(), encoder=ENCODER, task=FillConfig()))
    with pytest.raises(InputError, match=r"this model answers queries; give it those of model.ask"):
        small().decode(torch.zeros(1, 4, 16))


def test_holes_of_a_text_are_filled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A byte for each [MASK], what else it might be, and nothing else changed; wrong files get a line."""
    model = small()
    checkpoints.save(model, tmp_path / "run")
    texts = {"holes": "a [MASK][MASK]é[MASK].", "whole": "nothing hidden", "long": "word " * 20 + "[MASK]"}
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    (row,) = sm.predict(tmp_path / "run", [tmp_path / "holes.txt"], top=2)
    numbers = torch.tensor([[*b"a ", -3, -3, *"é".encode(), -3, *b"."]]) + 6
    wanted = model.eval()({"text": numbers}).scores[0, [2, 3, 6], 6:]
    assert [len(hole) for hole in row["holes"]] == [2, 2, 2]
    assert [max(hole.values()) for hole in row["holes"]] == pytest.approx(wanted.amax(1).tolist())
    assert row["answer"].startswith("a ")
    main(["predict", str(tmp_path / "run"), str(tmp_path / "holes.txt")])
    assert "holes.txt" in capsys.readouterr().out
    for name, told in (("whole", "nothing is to be filled in; write"), ("long", "101 bytes, the model reads 30")):
        with pytest.raises(InputError, match=told):
            sm.predict(tmp_path / "run", [tmp_path / f"{name}.txt"])
