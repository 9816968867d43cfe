"""Recipes: schedules, optimizers, mixing, averages."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from builders import normal, small_encoder
from sensorium.core.perceiver import MeanDecoder
from sensorium.core.positions import LearnedCodes
from sensorium.errors import InputError
from sensorium.lamb import Lamb
from sensorium.recipe import RecipeConfig, average, mix, optimizers, rate

SCHEDULES = ("cosine", "flat-cosine", "steps", "constant")
recipes = st.builds(
    RecipeConfig,
    schedule=st.sampled_from(SCHEDULES),
    warmup=st.floats(0, 0.4),
    steps=st.lists(st.floats(0.4, 1), max_size=3).map(lambda steps: tuple(sorted(steps))),
    learning_rate=st.floats(1e-5, 1),
)
progresses = st.lists(st.floats(0, 1), min_size=2, max_size=20).map(sorted)


@given(recipe=recipes, progress=st.floats(-1, 2))
def test_rates_are_bounded(recipe: RecipeConfig, progress: float) -> None:
    """Between 0 and the highest; before and after the run it is what it is at its ends."""
    assert 0 <= rate(recipe, progress) <= recipe.learning_rate
    assert rate(recipe, progress) == rate(recipe, min(max(progress, 0.0), 1.0))


@given(recipe=recipes, progress=progresses)
def test_rates_rise_in_the_warmup_and_then_only_fall(recipe: RecipeConfig, progress: list[float]) -> None:
    """Linear from zero to the highest, then never up again."""
    for here in progress:
        if here < recipe.warmup:
            assert rate(recipe, here) == pytest.approx(recipe.learning_rate * here / recipe.warmup)
    after = [rate(recipe, here) for here in progress if here >= recipe.warmup]
    assert all(now >= then for now, then in pairwise(after))
    if not recipe.steps or recipe.schedule != "steps":
        assert rate(recipe, recipe.warmup) == pytest.approx(recipe.learning_rate)


def test_schedules_end_where_they_say() -> None:
    """cosine and flat-cosine at zero, constant where it began; flat-cosine is flat for the first half."""
    ends = {schedule: rate(RecipeConfig(schedule=schedule, learning_rate=1.0), 1.0) for schedule in SCHEDULES}  # type: ignore[arg-type]
    assert ends == {"cosine": 0.0, "flat-cosine": 0.0, "steps": 1.0, "constant": 1.0}
    flat = RecipeConfig(schedule="flat-cosine", learning_rate=2.0)
    assert [rate(flat, share) for share in (0.0, 0.2, 0.5)] == [2.0] * 3
    assert rate(flat, 0.75) == pytest.approx(1.0)
    assert rate(RecipeConfig(schedule="cosine", learning_rate=2.0), 0.5) == pytest.approx(1.0)


def test_the_papers_steps() -> None:
    """4e-3, a tenth of it after 84, 102 and 114 of 120 epochs."""
    recipe = RecipeConfig(schedule="steps", learning_rate=4e-3, steps=(84 / 120, 102 / 120, 114 / 120))
    for epoch, falls in ((0, 0), (83.9, 0), (84, 1), (101.9, 1), (102, 2), (113.9, 2), (114, 3), (120, 3)):
        assert rate(recipe, epoch / 120) == pytest.approx(4e-3 * 0.1**falls), epoch


class Whole(nn.Module):
    """The parts a model has: an encoder, learned codes and a head, under their names in a model."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs = LearnedCodes(4, 6)
        self.encoder = small_encoder().float()
        self.decoder = MeanDecoder(8, outputs=2)


@pytest.mark.parametrize("name", ["adamw", "muon", "lamb"])
def test_optimizers_hold_every_parameter_once(name: str) -> None:
    """Together, and shared weights once; each with the recipe's learning rate."""
    model = Whole()
    chosen = optimizers(RecipeConfig(optimizer=name, learning_rate=0.02), model)  # type: ignore[arg-type]
    groups = [group for optimizer in chosen for group in optimizer.param_groups]
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == set(map(id, model.parameters()))
    assert {group["lr"] for group in groups} == {0.02}


@pytest.mark.parametrize("name", ["adamw", "muon", "lamb"])
def test_norms_and_biases_do_not_decay(name: str) -> None:
    """Matrices, latents and learned codes do."""
    model = Whole()
    decays = {
        id(parameter): group["weight_decay"]
        for optimizer in optimizers(RecipeConfig(optimizer=name, weight_decay=0.3), model)  # type: ignore[arg-type]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for label, parameter in model.named_parameters():
        fixed = label.endswith("bias") or "norm" in label
        assert decays[id(parameter)] == (0.0 if fixed else 0.3), label
    assert decays[id(model.encoder.latents)] == decays[id(model.inputs.table)] == 0.3


def test_optimizers_are_what_the_recipe_names() -> None:
    """Muon turns the matrices of the blocks only: no latents, codes or head."""
    model = Whole()
    kinds = {
        name: [type(optimizer) for optimizer in optimizers(RecipeConfig(optimizer=name), model)]  # type: ignore[arg-type]
        for name in ("adamw", "lamb", "muon")
    }
    assert kinds == {"adamw": [torch.optim.AdamW], "lamb": [Lamb], "muon": [torch.optim.Muon, torch.optim.AdamW]}
    muon = optimizers(RecipeConfig(), model)[0]
    turned = {id(parameter) for group in muon.param_groups for parameter in group["params"]}
    names = {label for label, parameter in model.named_parameters() if id(parameter) in turned}
    assert names == {
        label
        for label, parameter in model.encoder.named_parameters(prefix="encoder")
        if parameter.ndim == 2 and label != "encoder.latents"
    }


def test_the_betas_are_of_the_moment_estimates_not_of_muons_momentum() -> None:
    """As the recipe's documentation says."""
    muon, adam = optimizers(RecipeConfig(betas=(0.8, 0.9)), Whole())
    assert {group["momentum"] for group in muon.param_groups} == {0.95}
    assert {group["betas"] for group in adam.param_groups} == {(0.8, 0.9)}


def test_what_does_not_learn_is_left_out() -> None:
    model = Whole()
    model.encoder.latents.requires_grad_(False)
    held = [
        parameter
        for group in optimizers(RecipeConfig(optimizer="lamb"), model)[0].param_groups
        for parameter in group["params"]
    ]
    assert id(model.encoder.latents) not in map(id, held)
    assert len(held) == len(list(model.parameters())) - 1


@given(seed=st.integers(0, 999), alpha=st.sampled_from([0.2, 1.0]))
def test_mixing_keeps_sums(seed: int, alpha: float) -> None:
    """Each target still sums to 1, the batch's sums of pixels and of targets stay; nothing leaves its range."""
    pictures = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    target = nn.functional.one_hot(torch.arange(6) % 4, 4).double()
    batch, mixed = mix(
        {"image": pictures, "other": target},
        ["image"],
        target,
        alpha=alpha,
        generator=torch.Generator().manual_seed(seed),
    )
    torch.testing.assert_close(batch["image"].sum(0), pictures.sum(0))
    torch.testing.assert_close(mixed.sum(0), target.sum(0))
    torch.testing.assert_close(mixed.sum(1), torch.ones(6, dtype=torch.float64))
    assert batch["image"].min() >= 0
    assert batch["image"].max() <= 1
    assert batch["other"] is target


def test_pictures_and_targets_are_mixed_alike() -> None:
    """A picture that is its target stays its target; the draw is the generator's."""
    target = torch.eye(8)
    batch, mixed = mix({"x": target}, ["x"], target, alpha=1.0, generator=torch.Generator().manual_seed(3))
    again, _ = mix({"x": target}, ["x"], target, alpha=1.0, generator=torch.Generator().manual_seed(3))
    assert batch["x"].equal(mixed)
    assert batch["x"].equal(again["x"])
    assert not mixed.equal(target)
    share = mixed.diagonal().min()
    assert ((mixed == 0) | (mixed == 1) | torch.isclose(mixed, share) | torch.isclose(mixed, 1 - share)).all()


def test_examples_of_several_lengths_are_not_mixed() -> None:
    batch = {"x": torch.zeros(2, 3), "x.mask": torch.ones(2, 3, dtype=torch.bool)}
    mix(batch, ["x"], torch.zeros(2, 2), alpha=1.0, generator=torch.Generator())
    batch["x.mask"][1, 2] = False
    with pytest.raises(InputError, match="mixup"):
        mix(batch, ["x"], torch.zeros(2, 2), alpha=1.0, generator=torch.Generator())


@given(decay=st.floats(0, 1), step=st.integers(0, 10**6))
def test_an_average_moves_by_the_share_it_should(decay: float, step: int) -> None:
    """mean ← mean + (1 - d)(model - mean) with d the decay, or less early on; the model stays."""
    mean, model = nn.Linear(2, 2).double(), nn.Linear(2, 2).double()
    before, there = copy.deepcopy(mean), copy.deepcopy(model)
    average(mean, model, decay=decay, step=step)
    share = min(decay, (1 + step) / (10 + step))
    for now, was, towards, same in zip(
        mean.parameters(), before.parameters(), model.parameters(), there.parameters(), strict=True
    ):
        torch.testing.assert_close(now, share * was + (1 - share) * towards)
        assert towards.equal(same)


def test_the_limits_of_averaging() -> None:
    """No decay copies the model; the start is forgotten; equal models stay equal; the end is the decay's."""
    mean, model = nn.Linear(2, 2), nn.Linear(2, 2)
    average(mean, model, decay=0.0, step=10**6)
    assert mean.weight.equal(model.weight)
    average(mean, model, decay=0.9, step=5)
    torch.testing.assert_close(mean.weight, model.weight)
    nn.init.constant_(mean.weight, 1e3)
    for step in range(50):
        average(mean, model, decay=0.9999, step=step)
    torch.testing.assert_close(mean.weight, model.weight, atol=1e-3, rtol=0)
    nn.init.constant_(mean.weight, 1.0)
    nn.init.constant_(model.weight, 0.0)
    average(mean, model, decay=0.99, step=10**9)
    torch.testing.assert_close(mean.weight, torch.full((2, 2), 0.99))


def test_averages_are_of_values_not_of_graphs() -> None:
    """Nothing of the average is differentiated."""
    mean, model = nn.Linear(2, 2), nn.Linear(2, 2)
    average(mean, model, decay=0.5, step=100)
    assert mean.weight.is_leaf
    assert mean(normal(1, 2).float()).requires_grad
