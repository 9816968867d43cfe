"""What a model says of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sensorium as sm
from sensorium.errors import InputError
from sensorium.inference.opened import open_run
from sensorium.inference.predict import answers
from sensorium.models import checkpoints
from sensorium.models.perceiver import Perceiver
from sensorium.nn import DecoderConfig
from sensorium.tasks import Answer, ReconstructConfig, RegressConfig, TagConfig
from small_models import IMAGE, classes, small_model


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three pictures of noise."""
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        noise = np.random.default_rng(number).integers(0, 256, (6, 6), np.uint8)
        Image.fromarray(noise).save(path)
    return paths


def saved(model: Perceiver, tmp_path: Path) -> Path:
    checkpoints.save(model, tmp_path / "run")
    return tmp_path / "run"


def scores_of(run: Path, files: list[Path]) -> torch.Tensor:
    """By hand: each file decoded, batched and predicted alone."""
    model = checkpoints.load(run)
    rows = []
    for file in files:
        batch = {name: torch.from_numpy(value)[None] for name, value in model.inputs.load(file).items()}
        with torch.no_grad():
            rows.append(model(model.inputs.view(batch)).scores[0])
    return torch.stack(rows)


def test_classes_are_the_likeliest_ones(files: list[Path], tmp_path: Path) -> None:
    run = saved(small_model(IMAGE, classes(5)), tmp_path)
    for answer, file, scores in zip(sm.predict(run, files, top=2), files, scores_of(run, files), strict=True):
        best = scores.topk(2)
        assert answer.file == str(file)
        assert answer.answer == f"class {int(best.indices[0])}"
        assert list(answer.scores) == [f"class {int(index)}" for index in best.indices]
        assert list(answer.scores.values()) == pytest.approx(best.values.tolist(), abs=1e-6)


def test_tags_are_those_above_one_half(files: list[Path], tmp_path: Path) -> None:
    names = ("a", "b", "c", "d")
    run = saved(small_model(IMAGE, TagConfig(classes=names)), tmp_path)
    predicted = scores_of(run, files)
    assert 0 < int((predicted >= 0.5).sum()) < predicted.numel()
    for answer, scores in zip(sm.predict(run, files, top=1), predicted, strict=True):
        assert isinstance(answer.answer, list)
        assert set(answer.answer) == {name for name, score in zip(names, scores, strict=True) if score >= 0.5}
        assert list(answer.scores) == [names[int(scores.argmax())]]


def test_targets_are_all_named_in_order(files: list[Path], tmp_path: Path) -> None:
    task = RegressConfig(classes=("weight", "height"), mean=(1.0, 50.0), std=(2.0, 9.0))
    run = saved(small_model(IMAGE, task), tmp_path)
    for answer, scores in zip(sm.predict(run, files, top=1), scores_of(run, files), strict=True):
        assert answer.answer == answer.scores
        assert list(answer.scores) == ["weight", "height"]
        assert list(answer.scores.values()) == pytest.approx(scores.tolist(), rel=1e-5)


def test_reconstructions_are_written_where_a_folder_is_given(files: list[Path], tmp_path: Path) -> None:
    task = ReconstructConfig(mask_ratio=0.5)
    run = saved(small_model(IMAGE, task, decoder=DecoderConfig()), tmp_path)
    for number, answer in enumerate(sm.predict(run, files), start=1):
        assert answer.answer == [str(run / "reconstructed" / f"{number:04}-{number - 1}.png")]
        with Image.open(answer.answer[0]) as picture:
            assert picture.size == (6, 6)
    model, examples = open_run(run, files[:1])
    assert answers(model, examples) == [Answer(str(files[0]), [])]


def test_an_answer_has_the_keys_it_needs() -> None:
    assert list(Answer("a", "b").to_dict()) == ["file", "answer", "scores"]
    text = Answer("a.txt", "cat", holes=[{"c": 0.5}])
    assert list(text.to_dict()) == ["file", "answer", "holes", "scores"]
    film = Answer("a.mp4", ["b.mp4"], label={"run": 0.5}, shares=[{"video": 1.0}])
    assert list(film.to_dict()) == ["file", "answer", "scores", "label", "shares"]


def test_strict_reads_all_files_before_one_is_answered(files: list[Path], tmp_path: Path) -> None:
    run = saved(small_model(IMAGE, ReconstructConfig(), decoder=DecoderConfig()), tmp_path)
    files[2].write_bytes(files[2].read_bytes()[:40])
    with pytest.raises(InputError, match=r"2\.png"):
        sm.predict(run, files, out=tmp_path / "out", strict=True)
    assert not list(tmp_path.glob("out/*"))


def test_a_run_of_an_older_sensorium_is_refused(files: list[Path], tmp_path: Path) -> None:
    run = saved(small_model(IMAGE, classes(2)), tmp_path)
    (run / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(InputError, match=r"config.yaml: written by an older sensorium.*train again"):
        sm.predict(run, files)
