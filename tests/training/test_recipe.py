"""Recipes: schedules, optimizers, mixing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from builders import small_encoder
from sensorium.errors import InputError
from sensorium.modalities import Fusion, FusionConfig, SeriesConfig, TextConfig, VideoConfig
from sensorium.modalities.image import Image, ImageConfig
from sensorium.modalities.pixels import around_boxes
from sensorium.modalities.series import Series
from sensorium.modalities.table import Table
from sensorium.modalities.text import Text
from sensorium.modalities.video import Video
from sensorium.models.recipe import RecipeConfig
from sensorium.nn import MeanDecoder
from sensorium.nn.positions import LearnedPositions
from sensorium.training.lamb import Lamb
from sensorium.training.mixing import mix
from sensorium.training.muon import Muon
from sensorium.training.optimizers import optimizers
from sensorium.training.schedule import learning_rate

SCHEDULES = ("cosine", "flat-cosine", "steps", "constant")
recipes = st.builds(
    RecipeConfig,
    schedule=st.sampled_from(SCHEDULES),
    warmup=st.floats(0, 0.4),
    milestones=st.lists(st.floats(0.4, 1), max_size=3).map(lambda steps: tuple(sorted(steps))),
    learning_rate=st.floats(1e-5, 1),
)
progresses = st.lists(st.floats(0, 1), min_size=2, max_size=20).map(sorted)


@given(recipe=recipes, progress=st.floats(-1, 2))
def test_rates_are_bounded(recipe: RecipeConfig, progress: float) -> None:
    """Between 0 and the highest; before and after the run it is what it is at its ends."""
    assert 0 <= learning_rate(recipe, progress) <= recipe.learning_rate
    assert learning_rate(recipe, progress) == learning_rate(recipe, min(max(progress, 0.0), 1.0))


@given(recipe=recipes, progress=progresses)
def test_rates_rise_in_the_warmup_and_then_only_fall(recipe: RecipeConfig, progress: list[float]) -> None:
    """Linear from zero to the highest, then never up again."""
    for here in progress:
        if here < recipe.warmup:
            assert learning_rate(recipe, here) == pytest.approx(recipe.learning_rate * here / recipe.warmup)
    after = [learning_rate(recipe, here) for here in progress if here >= recipe.warmup]
    assert all(now >= then for now, then in pairwise(after))
    if not recipe.milestones or recipe.schedule != "steps":
        assert learning_rate(recipe, recipe.warmup) == pytest.approx(recipe.learning_rate)


def test_schedules_end_where_they_say() -> None:
    """cosine and flat-cosine at zero, constant where it began; flat-cosine is flat for the first half."""
    ends = {schedule: learning_rate(RecipeConfig(schedule=schedule, learning_rate=1.0), 1.0) for schedule in SCHEDULES}  # type: ignore[arg-type]
    assert ends == {"cosine": 0.0, "flat-cosine": 0.0, "steps": 1.0, "constant": 1.0}
    flat = RecipeConfig(schedule="flat-cosine", learning_rate=2.0)
    assert [learning_rate(flat, share) for share in (0.0, 0.2, 0.5)] == [2.0] * 3
    assert learning_rate(flat, 0.75) == pytest.approx(1.0)
    assert learning_rate(RecipeConfig(schedule="cosine", learning_rate=2.0), 0.5) == pytest.approx(1.0)


def test_the_papers_steps() -> None:
    """4e-3, a tenth of it after 84, 102 and 114 of 120 epochs."""
    recipe = RecipeConfig(schedule="steps", learning_rate=4e-3, milestones=(84 / 120, 102 / 120, 114 / 120))
    for epoch, falls in ((0, 0), (83.9, 0), (84, 1), (101.9, 1), (102, 2), (113.9, 2), (114, 3), (120, 3)):
        assert learning_rate(recipe, epoch / 120) == pytest.approx(4e-3 * 0.1**falls), epoch


class Whole(nn.Module):
    """The parts a model has: an encoder, learned positions and a head, under their names in a model."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs = LearnedPositions(4, 6)
        self.encoder = small_encoder().float()
        self.decoder = MeanDecoder(8, output_channels=2)


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
    """Matrices, latents and learned positions do."""
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
    """Muon turns the matrices of the blocks only: no latents, positions or head."""
    model = Whole()
    kinds = {
        name: [type(optimizer) for optimizer in optimizers(RecipeConfig(optimizer=name), model)]  # type: ignore[arg-type]
        for name in ("adamw", "lamb", "muon")
    }
    assert kinds == {"adamw": [torch.optim.AdamW], "lamb": [Lamb], "muon": [Muon, torch.optim.AdamW]}
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


IMAGE = Image(ImageConfig(size=(8, 8), bands=2))
VIDEO = Video(VideoConfig(size=(8, 12), patch=(2, 4, 4), frames=4, bands=2))
ALPHAS = st.sampled_from([{"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(inputs: Image | Video, count: int) -> tuple[dict[str, Tensor], Tensor]:
    """Examples whose pixels are their numbers, from 0, and these numbers as classes, in float64."""
    shape = (3, 8, 8) if isinstance(inputs, Image) else (4, 3, 8, 12)
    pixels = torch.arange(count).view(-1, *[1] * len(shape)).expand(count, *shape).double()
    return {inputs.name: pixels}, torch.eye(count, dtype=torch.float64)


@given(seed=st.integers(0, 999), alphas=ALPHAS, count=st.integers(1, 7), inputs=st.sampled_from([IMAGE, VIDEO]))
def test_pictures_and_targets_are_mixed_alike(
    seed: int, alphas: dict[str, float], count: int, inputs: Image | Video
) -> None:
    """Of two examples each, in shares that sum to 1 and are those of the pixels; the generator decides."""
    batch, target = flat(inputs, count)
    mixed, labels = mix({**batch, "other": target}, inputs, target, **alphas, generator=seeded(seed))
    assert mixed["other"] is target
    assert ((labels > 0).sum(1) <= 2).all()
    torch.testing.assert_close(labels.sum(1), torch.ones(count, dtype=torch.float64))
    torch.testing.assert_close(mixed[inputs.name].flatten(1).mean(1), labels @ torch.arange(count).double())
    again, _ = mix(batch, inputs, target, **alphas, generator=seeded(seed))
    assert mixed[inputs.name].equal(again[inputs.name])


@given(seed=st.integers(0, 999), inputs=st.sampled_from([IMAGE, VIDEO]))
def test_cutmix_takes_every_pixel_from_one_example(seed: int, inputs: Image | Video) -> None:
    """Its share of them is its share of the target; what is of the other is a box, the same in every frame."""
    batch, target = flat(inputs, 6)
    mixed, labels = mix(batch, inputs, target, cutmix=1.0, generator=seeded(seed))
    for number, (picture, label) in enumerate(zip(mixed[inputs.name], labels, strict=True)):
        for example, share in enumerate(label):
            torch.testing.assert_close((picture == example).double().mean(), share)
        assert (picture == picture.reshape(-1, *picture.shape[-2:])[0]).all()
        assert is_box(picture.reshape(-1, *picture.shape[-2:])[0] != number)


@given(seed=st.integers(0, 999), size=st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_boxes_leave_their_share(seed: int, size: tuple[int, int]) -> None:
    """And more where they are over the border; what is drawn are boxes."""
    share = torch.rand(20, generator=seeded(seed))
    around = around_boxes(torch.rand(20, 3, *size), share, seeded(seed))
    assert around.shape == (20, 1, *size)
    assert (around.flatten(1).mean(1) >= share - 1e-6).all()
    assert all(is_box(picture == 0) for picture in around[:, 0])
    assert around_boxes(torch.rand(2, 3, *size), torch.ones(2), seeded(seed)).all()


def test_boxes_are_those_of_the_authors() -> None:
    """As wide as their share wants, where none is cut off; and as often at each pixel as by their own rule."""
    size, share = 16, torch.rand(4000, generator=seeded(0))
    around = around_boxes(torch.rand(4000, 1, size, size), share, seeded(1))[:, 0]
    edges = torch.cat([around[:, 0], around[:, -1], around[:, :, 0], around[:, :, -1]], dim=1)
    within = edges.all(1)
    side = ((1 - share[within]).sqrt() * size).floor() // 2 * 2
    torch.testing.assert_close((1 - around[within]).flatten(1).sum(1), side**2)
    random = np.random.default_rng(0)
    expected = np.ones((4000, size, size))
    for picture, left in zip(expected, random.random(4000), strict=True):
        y, x = random.integers(0, size, 2)
        half = int(size * np.sqrt(1 - left)) // 2
        picture[max(0, y - half) : y + half, max(0, x - half) : x + half] = 0
    np.testing.assert_allclose(around.mean(0), expected.mean(0), atol=0.04)


def is_box(inside: Tensor) -> bool:
    """Whether the places (height × width, bool) are all those of some lines that touch, and columns that do."""
    down, across = inside.any(1), inside.any(0)
    touch = all(nn.functional.pad(line, (1, 1)).diff().sum() <= 2 for line in (down, across))
    return touch and inside.equal(down[:, None] & across)


def test_mixup_and_cutmix_have_half_of_the_batch_each() -> None:
    """Mixup the first: its pictures stay flat, with shares of Beta(.2, .2); CutMix's hold whole numbers."""
    batch, target = flat(IMAGE, 400)
    mixed, labels = mix(batch, IMAGE, target, mixup=0.2, cutmix=1.0, generator=seeded(0))
    pictures = mixed["image"].flatten(1)
    assert (pictures[:200].std(1) < 1e-9).all()
    assert (pictures[200:] == pictures[200:].round()).all()
    assert (pictures[200:].std(1) > 0).float().mean() > 0.7
    own = labels.diagonal()[:200]
    assert len(own.unique()) > 190
    assert ((own < 0.05) | (own > 0.95)).float().mean() == pytest.approx(0.62, abs=0.1)


@given(seed=st.integers(0, 999), alphas=ALPHAS, lengths=st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_frames_that_one_of_two_examples_lacks_are_not_mixed(
    seed: int, alphas: dict[str, float], lengths: list[int]
) -> None:
    """They stay those of the one that has them; what is masked is never read; the share of the target is that of the
    pixels of the frames that the example has."""
    batch, target = flat(VIDEO, len(lengths))
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    frames = torch.where(mask[..., None, None, None], batch["video"], torch.nan)
    mixed, labels = mix({"video": frames, "video.mask": mask}, VIDEO, target, **alphas, generator=seeded(seed))
    assert mixed["video.mask"] is mask
    torch.testing.assert_close(labels.sum(1), torch.ones(len(lengths), dtype=torch.float64))
    for number, (video, label) in enumerate(zip(mixed["video"], labels, strict=True)):
        assert video[~mask[number]].isnan().all()
        present = video[mask[number]]
        if lengths[number]:
            torch.testing.assert_close(present.mean(), label @ torch.arange(len(lengths)).double())
        shortest = min([lengths[other] for other in label.nonzero().flatten().tolist()] or [0])
        assert (present[shortest:] == number).all()


def test_what_cannot_be_mixed_is_refused() -> None:
    """Names; answers that are signals; boxes of what is no picture: with the cure."""
    target, generator = torch.zeros(2, 2), seeded(0)
    with pytest.raises(InputError, match=r"text holds names; set recipe\.mixup=0$"):
        mix({"text": torch.zeros(2, 5, dtype=torch.int64)}, Text(TextConfig()), target, mixup=1.0, generator=generator)
    words = Table.measure([{"place": "coast"}, {"place": "hills"}, {"place": "plain"}])
    with pytest.raises(InputError, match=r"table holds names; set recipe\.mixup=0$"):
        mix({"table": torch.tensor([[0.0], [2.0]])}, Table(words), target, mixup=1.0, generator=generator)
    with pytest.raises(InputError, match=r"signals; set recipe\.mixup=0 and recipe\.cutmix=0$"):
        mix(flat(IMAGE, 2)[0], IMAGE, {}, mixup=1.0, cutmix=1.0, generator=generator)
    series = Series(SeriesConfig(channels=1, length=5, mean=(0.0,), std=(1.0,)))
    with pytest.raises(InputError, match=r"boxes out of pictures, and series is none; set recipe\.cutmix=0$"):
        mix({"series": torch.zeros(2, 5, 1)}, series, target, cutmix=1.0, generator=generator)
    both = Fusion(FusionConfig(modalities={"image": IMAGE.config, "video": VIDEO.config}))
    with pytest.raises(InputError, match=r"fusion is none; set recipe\.cutmix=0$"):
        mix(flat(IMAGE, 2)[0] | flat(VIDEO, 2)[0], both, target, cutmix=1.0, generator=generator)
