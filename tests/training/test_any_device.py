"""Nothing is made on the wrong device, and no step waits for it: every path of training runs on torch's ``meta``
device, which has shapes and no values. There, a tensor of the CPU among others raises, and so does asking for a value.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "modalities"))

from test_contract import RAWS, WITH_STEM, collate

from sensorium.errors import InputError
from sensorium.modalities import KINDS, FusionConfig
from sensorium.models.auto import Facts, choose_inputs
from sensorium.models.auto.stems import STEMS
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.models.recipe import RecipeConfig
from sensorium.nn import DecoderConfig
from sensorium.tasks import TASKS
from sensorium.training.ema import Ema
from sensorium.training.optimizers import optimizers
from sensorium.training.step import TrainingStep, part_generator, update
from small_models import ONE_LAYER

META = torch.device("meta")
LABELS = {
    "classify": np.array([0, 1, 0, 1]),
    "tag": np.eye(4, 2, dtype=np.int64),
    "regress": np.eye(4, 2, dtype=np.float32),
}
HOLD_NAMES = {"text", "label", "table"}  # of which nothing can be mixed; one column of the table holds words
SIGNALS = [*sorted(KINDS), *(f"{name}{WITH_STEM}" for name in sorted(STEMS)), "fusion"]


def tasks_of(signal: str) -> list[str]:
    """Tasks with every kind of path from this signal; those whose outputs are rows of numbers are alike."""
    kind = signal.removesuffix(WITH_STEM)
    own = {"text": ["reconstruct", "mlm"], "pair": ["reconstruct", "flow"], "points": []}
    labels = [*LABELS] if signal == "series" else ["classify"]
    return [*labels, *own.get(kind, ["reconstruct"])]  # points without values cannot be reconstructed


def inputs_of(signal: str) -> tuple[Any, dict[str, Tensor]]:
    """The configuration of a signal, and a batch of it."""
    if signal == "fusion":
        parts = {name: inputs_of(name) for name in ("image", "series", "volume")}
        batch = {key: value for name, (_, part) in parts.items() for key, value in part.items()}
        batch["series.present"] = torch.tensor([True, False, True, True])
        return FusionConfig(
            modalities={name: config for name, (config, _) in parts.items()}, dropout={"image": 0.3}
        ), batch
    name = signal.removesuffix(WITH_STEM)
    raws = RAWS[name]()
    config = KINDS[name].measure(raws)
    if signal != name:
        config = choose_inputs(config, Facts(task="classify", examples=100))
    modality = KINDS[name](config)
    return config, collate(modality, [modality.load(raw) for raw in raws])


@pytest.mark.parametrize(("signal", "task"), [(signal, task) for signal in SIGNALS for task in tasks_of(signal)])
def test_a_step_is_computed_where_the_model_is(signal: str, task: str) -> None:
    """Augmented, prepared, embedded, encoded, decoded, its loss, its gradients, the optimizers, the average."""
    config, batch = inputs_of(signal)
    labels = LABELS.get(task)
    batch |= {} if labels is None else {"target": torch.from_numpy(labels)}
    classes = () if labels is None else ("a", "b")
    model_config = PerceiverConfig(
        inputs=config,
        encoder=ONE_LAYER,
        decoder=DecoderConfig(),
        task=TASKS[task].configure(classes=classes, targets=labels),
    )
    model = Perceiver(model_config).to(META)
    recipe = RecipeConfig(precision="float32", drop_rows=0.2, label_smoothing=0.1, ema_decay=0.9)
    step, ema, chosen = TrainingStep(model, recipe), Ema(model, decay=0.9), optimizers(recipe, model)
    generator = part_generator(0, 0, 0)
    prepared = step.prepare(batch, generator)
    shares = model.task.term_counts(prepared.targets)
    loss, accuracy = step(prepared, shares / shares, generator)
    assert {tensor.device for tensor in (loss, shares, *prepared.inputs.values())} == {META}
    assert loss.shape == ()
    assert torch.as_tensor(accuracy).ndim == 0
    loss.backward()
    update(model, chosen, learning_rate=1e-3, clip=1.0)
    ema.update(model)
    assert {parameter.device for parameter in ema.module.parameters()} == {META}
    with torch.no_grad():
        prediction = model(prepared.inputs, prepared.query_indices)
    try:
        model.task.update_metrics(model.task.metrics().to(META), prediction, prepared.targets)
    except NotImplementedError as error:  # metrics are outside of the step: they may ask for values, as this one did
        assert "meta" in str(error).lower()  # noqa: PT017
    except RuntimeError as error:
        assert "item()" in str(error)  # noqa: PT017


@pytest.mark.parametrize("signal", SIGNALS)
def test_mixing_is_computed_where_the_batch_is(signal: str) -> None:
    """Mixup of every kind that holds numbers, with and without masks; CutMix of pictures; whether it can be is known
    without a look at a value."""
    config, batch = inputs_of(signal)
    task = TASKS["classify"].configure(classes=("a", "b"), targets=LABELS["classify"])
    model = Perceiver(PerceiverConfig(inputs=config, encoder=ONE_LAYER, decoder=DecoderConfig(), task=task)).to(META)
    step = TrainingStep(model, RecipeConfig(mixup=0.2, cutmix=1.0 if signal in ("image", "video") else 0.0))
    batch["target"] = torch.from_numpy(LABELS["classify"])
    if signal.removesuffix(WITH_STEM) in HOLD_NAMES:
        with pytest.raises(InputError, match=r"holds names; set recipe\.mixup=0"):
            step.prepare(batch, part_generator(0, 0, 0))
        return
    prepared = step.prepare(batch, part_generator(0, 0, 0))
    assert {tensor.device for tensor in (*prepared.inputs.values(), prepared.targets)} == {META}


def test_every_ragged_kind_is_mixed_with_its_mask() -> None:
    """So that the test before this one covers it."""
    ragged = {name for name in SIGNALS if any(key.endswith(".mask") for key in inputs_of(name)[1])}
    assert {*KINDS} & ragged == {name for name, kind in KINDS.items() if kind.ragged}
    assert ragged & {*KINDS} - HOLD_NAMES


def test_what_is_made_on_the_wrong_device_is_found() -> None:
    """A table of the CPU among tensors that are elsewhere, and a question for a value."""
    config, batch = inputs_of("series")
    task = TASKS["classify"].configure(classes=("a", "b"), targets=LABELS["classify"])
    model = Perceiver(PerceiverConfig(inputs=config, encoder=ONE_LAYER, decoder=DecoderConfig(), task=task)).to(META)
    step = TrainingStep(model, RecipeConfig())
    batch["target"] = torch.from_numpy(LABELS["classify"])
    model.inputs.mean = model.inputs.mean.new_zeros(2, device="cpu")
    with pytest.raises(RuntimeError, match="device"):
        step(step.prepare(batch, part_generator(0, 0, 0)), torch.ones(1, device=META), part_generator(0, 0, 0))
    with pytest.raises(RuntimeError, match=r"item\(\)"):
        torch.ones((), device=META).item()
