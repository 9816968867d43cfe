"""Evaluation: scores, loss and metrics of a model over samples."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium.data import Examples, load_samples
from sensorium.errors import InputError
from sensorium.inference.embed import embed
from sensorium.inference.evaluate import MOST_EXAMPLES, evaluate_model, examples_at_a_time
from sensorium.inference.predict import predict
from sensorium.modalities import AudioConfig, Batch, FusionConfig, ImageConfig, PairConfig, VideoConfig
from sensorium.models.perceiver import Perceiver
from sensorium.models.presets import build
from sensorium.nn import DecoderConfig
from sensorium.tasks import FlowConfig, ReconstructConfig, RegressConfig
from small_models import IMAGE, POINTS, TensorSamples, classes, clouds, pictures, small_model


def test_accuracy_and_loss_agree_with_a_count_by_hand() -> None:
    model, target = small_model(IMAGE, classes(3)), torch.arange(20) % 3
    samples = pictures(target)
    evaluation = evaluate_model(model, samples, batch_size=7)  # type: ignore[arg-type]
    scores = model.eval()(samples.batch(range(20))).scores.detach().numpy()
    of_target = scores[np.arange(20), target.numpy()]
    np.testing.assert_allclose(evaluation.scores, scores, atol=1e-5)
    assert evaluation.metrics["accuracy"] == pytest.approx((scores.argmax(1) == target.numpy()).mean())
    assert evaluation.loss == evaluation.metrics["loss"] == pytest.approx(-np.log(of_target).mean(), rel=1e-4)
    assert evaluation.samples == 20
    assert evaluation.targets is not None
    np.testing.assert_array_equal(evaluation.targets, target)


@pytest.mark.parametrize("batch_size", [1, 6, 100])
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    model, samples = small_model(POINTS, classes(2)), clouds(torch.arange(13) % 2)
    default = evaluate_model(model, samples)  # type: ignore[arg-type]
    other = evaluate_model(model, samples, batch_size=batch_size)  # type: ignore[arg-type]
    np.testing.assert_allclose(default.scores, other.scores, atol=1e-5)
    assert default.metrics == pytest.approx(other.metrics, rel=1e-4)


def test_views_are_averaged() -> None:
    """Scores and loss of a long film are the means over its clips, which differ."""
    film = VideoConfig(frames=2, size=(4, 4), patch=(1, 2, 2), bands=2, clips=3)
    model = small_model(film, classes(3)).eval()
    films = torch.rand(2, 6, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    samples = TensorSamples({"video": films, "target": torch.tensor([0, 2])})
    evaluation = evaluate_model(model, samples)  # type: ignore[arg-type]
    with torch.no_grad():
        views = [model(view) for view in model.inputs.views({"video": films})]
    assert len(views) == 3
    assert not torch.allclose(views[0].scores, views[1].scores)
    expected = torch.stack([view.scores for view in views]).mean(0)
    np.testing.assert_allclose(evaluation.scores, expected.numpy(), atol=1e-6)
    losses = [torch.nn.functional.cross_entropy(view.output, samples.tensors["target"]) for view in views]
    assert evaluation.loss == pytest.approx(float(torch.stack(losses).mean()), rel=1e-5)
    torch.testing.assert_close(model.predict({"video": films}).scores, expected)


def test_the_mode_is_left_as_it_was_even_after_a_failure() -> None:
    model, samples = small_model(IMAGE, classes(2)), pictures(torch.arange(20) % 2)
    model.train()
    model.decoder.eval()  # frozen
    evaluate_model(model, samples)  # type: ignore[arg-type]
    assert model.training
    assert model.encoder.training
    assert not model.decoder.training
    with pytest.raises(InputError):
        evaluate_model(model, TensorSamples({"image": torch.rand(2, 3, 6, 6)}))  # type: ignore[arg-type]
    assert model.encoder.training


def test_training_goes_on_after_an_evaluation() -> None:
    """What an evaluation computes and keeps (position encodings) must be usable with gradients."""
    model = small_model(replace(IMAGE, size=(10, 4), bands=5), classes(2))
    samples = TensorSamples({"image": torch.rand(4, 1, 10, 4), "target": torch.tensor([0, 1, 0, 1])})
    evaluate_model(model, samples)  # type: ignore[arg-type]
    prepared = model.prepare(samples.batch(range(4)))
    model.loss(model(prepared.inputs).output, prepared.targets).backward()
    assert model.encoder.latents.grad is not None


def test_progress_counts_up_to_all() -> None:
    calls: list[tuple[int, int]] = []
    model = small_model(IMAGE, classes(2))
    evaluate_model(model, pictures(None), batch_size=8, progress=lambda *counts: calls.append(counts))  # type: ignore[arg-type]
    assert calls == [(8, 20), (16, 20), (20, 20)]


def test_unlabelled_samples_have_scores_only() -> None:
    evaluation = evaluate_model(small_model(IMAGE, classes(2)), pictures(None))  # type: ignore[arg-type]
    assert evaluation.targets is None
    assert evaluation.metrics == {}
    assert np.isnan(evaluation.loss)
    assert evaluation.scores.shape == (20, 2)


def test_signals_have_metrics_and_no_scores() -> None:
    model = small_model(IMAGE, ReconstructConfig(mask_ratio=0.5), decoder=DecoderConfig())
    evaluation = evaluate_model(model, pictures(None))  # type: ignore[arg-type]
    assert evaluation.scores.shape == (20, 0)
    assert set(evaluation.metrics) == {"loss", "psnr"}
    assert all(np.isfinite(value) for value in evaluation.metrics.values())


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_what_cannot_be_read_is_left_out_whenever_it_is_met(batch_size: int) -> None:
    """Decoded before or on the way: the same scores of the same examples."""
    random = np.random.default_rng(0)
    raws: list[Any] = [*random.integers(0, 255, (210, 6, 6), dtype=np.uint8)]
    raws[64], raws[209] = b"no picture", b""
    examples = Examples({"image": raws}, np.arange(210) % 2, [f"{number}.png" for number in range(210)])
    model = small_model(IMAGE, classes(2))
    early, late = (load_samples(examples, [model.inputs], up_front=up_front) for up_front in (1e9, -1))
    expected, found = (evaluate_model(model, samples, batch_size=batch_size) for samples in (early, late))
    assert found.samples == expected.samples == len(late.readable()) == 208
    assert found.metrics == pytest.approx(expected.metrics)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    assert late.readable().set_aside == early.set_aside
    assert list(late.readable().names) == list(early.names)


def test_nothing_to_evaluate_is_said() -> None:
    empty = pictures(torch.zeros(0).long(), count=0)
    with pytest.raises(InputError, match="val split has no examples"):
        evaluate_model(small_model(IMAGE, classes(2)), empty, split="val")  # type: ignore[arg-type]


def test_r2_of_one_example_is_not_defined() -> None:
    model = small_model(IMAGE, RegressConfig(classes=("weight",), mean=(1.0,), std=(2.0,)))
    metrics = evaluate_model(model, pictures(torch.ones(1, 1), count=1)).metrics  # type: ignore[arg-type]
    assert np.isnan(metrics["r2"])
    assert np.isfinite(metrics["mae"])


def live_views(model: Perceiver, use: Callable[[], object]) -> tuple[int, int]:
    """How many views are made while a model is used, and the most that are in memory when it encodes one."""
    made: list[weakref.ref[Tensor]] = []
    most = 0
    window, encode = model.inputs.window, model.encode

    def noted_window(batch: Batch, share: float) -> dict[str, Tensor]:
        view = window(batch, share)
        made.append(weakref.ref(view["video"]))
        return view

    def noted_encode(*arguments: Any) -> Tensor:
        nonlocal most
        most = max(most, sum(view() is not None for view in made))
        return encode(*arguments)

    model.inputs.window, model.encode = noted_window, noted_encode  # type: ignore[method-assign]
    use()
    return len(made), most


@pytest.mark.parametrize("task", [classes(3), ReconstructConfig()], ids=["one answer", "a signal"])
def test_sixteen_views_take_the_memory_of_one(task: Any) -> None:
    """In evaluation, prediction and embedding a view is gone when the next one is encoded."""
    film = VideoConfig(frames=2, size=(4, 4), patch=(1, 2, 2), bands=2, clips=16)
    films = {"video": torch.rand(2, 40, 3, 4, 4), "target": torch.tensor([0, 2])}
    samples = TensorSamples(films if task.kind == "classify" else {"video": films["video"]})

    def fresh() -> Perceiver:
        return small_model(film, task, decoder=None if task.kind == "classify" else DecoderConfig())

    model = fresh()
    assert live_views(model, lambda: evaluate_model(model, samples)) == (16, 1)  # type: ignore[arg-type]
    arrays = list(films["video"].permute(0, 1, 3, 4, 2).numpy())
    model = fresh()
    assert live_views(model, lambda: embed(model, arrays)) == (16, 1)
    if task.kind == "classify":
        model = fresh()
        assert live_views(model, lambda: model.predict({"video": films["video"]})) == (16, 1)
        model = fresh()
        assert live_views(model, lambda: predict(model, arrays)) == (16, 1)


MEASURED = """
import sys, torch
from sensorium.inference.bench import peak_memory
from sensorium.inference.evaluate import evaluate_model
from sensorium.modalities import VideoConfig
from small_models import TensorSamples, classes, small_model
film = VideoConfig(frames=32, size=(64, 64), patch=(2, 8, 8), bands=2, clips=int(sys.argv[1]))
model = small_model(film, classes(3))
samples = TensorSamples({"video": torch.zeros(8, 250, 3, 64, 64, dtype=torch.uint8), "target": torch.arange(8) % 3})
before = peak_memory()
evaluate_model(model, samples)
print(peak_memory() - before)
"""


@pytest.mark.slow
def test_sixteen_views_take_the_measured_memory_of_one() -> None:
    """Eight films of ten seconds: a view takes 13 MB as pixels and as much as rows. What is freed goes back to the
    system at once: the allocator would keep any part of it, which is not what is measured."""
    peaks = []
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    for clips in ("1", "16"):
        command = [sys.executable, "-c", MEASURED, clips]
        folder = Path(__file__).parents[1]
        result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, env=environment)
        peaks.append(int(result.stdout))
    assert peaks[1] < 1.1 * peaks[0], peaks


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_many_queries_are_answered_in_parts(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a film with its sound, pixel by pixel: the same as all at once, and no output of more than a part is made."""
    film = VideoConfig(frames=2, size=(4, 4), patch=(1, 2, 2), bands=2)
    sound = AudioConfig(rate=100, samples=20, representation="raw", patch=(4, 1), bands=2)
    task = ReconstructConfig(elementwise=("video",), output_channels=9)
    inputs = FusionConfig(modalities={"video": film, "audio": sound})
    model = small_model(inputs, task, decoder=DecoderConfig()).eval()
    batch = {"video": torch.rand(2, 2, 3, 4, 4), "audio": torch.rand(2, 20, 1)}
    whole = model(batch)
    assert model.num_queries == 32 + 5
    sizes = []
    model.decoder.register_forward_hook(lambda _, arguments, output: sizes.append(output.shape[1]))
    monkeypatch.setattr("sensorium.models.perceiver.CHUNK", chunk)
    with torch.inference_mode():
        parts = model(batch)
        some = model(batch, torch.tensor([36, 3, 33, 0]))
    assert max(sizes) <= min(chunk, 37)
    for name, values in whole.output.items():
        torch.testing.assert_close(parts.output[name], values)
        torch.testing.assert_close(parts.signals[name], whole.signals[name])
    torch.testing.assert_close(some.output["video"], whole.output["video"][:, [3, 0]])
    torch.testing.assert_close(some.output["audio"], whole.output["audio"][:, [4, 1]])


def test_a_batch_leaves_room_for_rows_and_answers() -> None:
    """One rule for evaluation and prediction: many small examples, one large one; never none."""
    assert examples_at_a_time(small_model(IMAGE, classes(2))) == MOST_EXAMPLES
    wide = ImageConfig(size=(1024, 1024), channels=1, bands=1, mean=(0.5,), std=(0.3,))
    assert examples_at_a_time(small_model(wide, classes(2))) == 4  # by its rows
    pair = PairConfig(size=(512, 1024), channels=8, bands=1)
    assert examples_at_a_time(small_model(pair, FlowConfig(), decoder=DecoderConfig())) == 8  # by its queries
    with torch.device("meta"):
        assert examples_at_a_time(build("perceiver-io-flow")) == 4
        assert examples_at_a_time(build("perceiver-io-kinetics")) == 1  # 804,737 queries of 1,026 channels
        assert examples_at_a_time(build("perceiver-imagenet")) == 20
