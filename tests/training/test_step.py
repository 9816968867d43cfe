"""The loss of a batch is the sum over its parts, and so is its gradient, for every task; what is random in it depends
on the run's seed, the step and the part alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from test_any_device import LABELS, inputs_of

from sensorium.modalities import TextConfig
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.models.recipe import RecipeConfig
from sensorium.nn import DecoderConfig
from sensorium.nn.stems import NGramStemConfig
from sensorium.tasks import TASKS
from sensorium.training.step import TrainingStep, part_generator
from small_models import ONE_LAYER

PATHS = [
    ("series", "classify"),
    ("series", "tag"),
    ("series", "regress"),
    ("text", "mlm"),
    ("fusion", "reconstruct"),
    ("pair", "flow"),
]


@pytest.mark.parametrize(("signal", "task"), PATHS)
def test_the_gradient_of_a_batch_is_that_of_its_parts(signal: str, task: str) -> None:
    """Of one example and of three, though they differ in what counts: hidden bytes, present signals, known motions."""
    config, batch = inputs_of(signal)
    labels = LABELS.get(task)
    if labels is not None:
        batch["target"] = torch.from_numpy(labels)
    if task == "flow":
        (name,) = [name for name, tensor in batch.items() if tensor.ndim == 4]
        batch[name][0, :, 3:] = torch.nan
    task_config = TASKS[task].configure(classes=("a", "b") if labels is not None else (), targets=labels)
    torch.manual_seed(0)
    model = Perceiver(
        PerceiverConfig(inputs=config, encoder=ONE_LAYER, decoder=DecoderConfig(), task=task_config)
    ).double()
    step = TrainingStep(model, RecipeConfig(precision="float32", label_smoothing=0.1))
    view = {
        key: tensor.double() if tensor.is_floating_point() else tensor
        for key, tensor in model.inputs.view(batch).items()
    }

    def gradients(*parts: slice) -> tuple[float, list[torch.Tensor]]:
        """Of the sum over parts; what an example hides depends on it alone here."""
        prepared = [model.prepare({key: tensor[part] for key, tensor in view.items()}) for part in parts]
        counts = [model.task.term_counts(part.targets) for part in prepared]
        whole = torch.stack(counts).sum(0).clamp(min=1)
        model.zero_grad()
        total = 0.0
        for part, count in zip(prepared, counts, strict=True):
            loss, _ = step(part, count / whole, part_generator(0, 0, 0))
            loss.backward()
            total += loss.item()
        return total, [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    together, ours = gradients(slice(None))
    apart, theirs = gradients(slice(1), slice(1, None))
    assert apart == pytest.approx(together, rel=1e-6)  # losses are computed in float32
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_dropout_depends_on_the_part_alone() -> None:
    """So that a run that goes on where it stopped is the run that was never stopped."""
    stem = NGramStemConfig(buckets=64, channels=4, dropout=0.5)
    task = TASKS["mlm"].configure()
    torch.manual_seed(0)
    inputs = TextConfig(length=16, channels=8, stem=stem)
    model = Perceiver(PerceiverConfig(inputs=inputs, encoder=ONE_LAYER, decoder=DecoderConfig(), task=task))
    step = TrainingStep(model, RecipeConfig(precision="float32"))
    prepared = model.prepare({"text": torch.randint(100, 120, (2, 16))})

    def loss(number: int) -> float:
        loss, _ = step(prepared, torch.ones(1), part_generator(0, number, 0))
        return loss.item()

    before = torch.get_rng_state()
    first = loss(7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert loss(7) == first
    assert loss(8) != first
