"""The papers' models and ``auto``'s rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sensorium as sm
from builders import write_film
from sensorium.config import to_yaml
from sensorium.errors import InputError
from sensorium.modalities import build_modality
from sensorium.modalities.image import ImageConfig
from sensorium.modalities.pair import PairConfig
from sensorium.modalities.points import PointsConfig
from sensorium.modalities.video import VideoConfig
from sensorium.models import presets
from sensorium.models.auto import Facts, choose_decoder, choose_encoder, choose_inputs, choose_recipe
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.nn import DecoderConfig
from sensorium.tasks import TASKS, ClassifyConfig
from sensorium.training.optimizers import optimizers
from sensorium.training.schedule import learning_rate


@given(side=st.integers(1, 300), channels=st.sampled_from([1, 3]))
def test_auto_fits_pictures_of_any_size(side: int, channels: int) -> None:
    """Whole patches, at most 256 rows, no band beyond Nyquist, and a size no larger than the picture."""
    half = (0.5,) * channels
    measured = ImageConfig(size=(side, side), channels=channels, mean=half, std=half)  # type: ignore[arg-type]
    config = choose_inputs(measured, Facts(task="classify", examples=1000))
    image = build_modality(config)
    assert image.num_rows <= 256
    assert config.size[0] <= side
    assert config.bands <= max(1, config.size[0] // config.patch[0] // 2)


@given(side=st.integers(1, 112), frames=st.integers(1, 300))
def test_auto_fits_video_of_any_size(side: int, frames: int) -> None:
    """Whole patches, at most 64 rows of a frame and 2,048 of a clip."""
    config = choose_inputs(
        VideoConfig(size=(side, side), frames=frames, patch=(1, 1, 1)), Facts(task="classify", examples=1000)
    )
    video = build_modality(config)
    assert video.num_rows <= 2048
    assert config.grid[1] * config.grid[2] <= 64
    assert config.size[0] <= min(side, 64)


@given(height=st.integers(1, 400), width=st.integers(1, 500))
def test_auto_fits_frames_of_any_size(height: int, width: int) -> None:
    """At most 32 pixels a side, no larger than the frames, no band beyond Nyquist."""
    config = choose_inputs(PairConfig(size=(height, width)), Facts(task="classify", examples=1000))
    assert config.size == (min(height, 32), min(width, 32))
    assert config.bands <= max(1, max(config.size) // 2)


@pytest.mark.parametrize("task", TASKS)
def test_auto_gives_a_decoder_to_tasks_that_answer_for_every_row(task: str) -> None:
    """Its heads divide the latents' channels. Attention starts aligned, but for flow, where a pixel's own query shows
    best what to attend to."""
    facts = Facts(task=task, examples=1000)
    encoder = choose_encoder(PointsConfig(), facts)
    decoder, recipe = choose_decoder(PointsConfig(), encoder, facts), choose_recipe(PointsConfig(), facts)
    assert (decoder is None) == TASKS[task].per_example
    assert (recipe.attention_init == "default") == (TASKS[task].per_example or task == "flow")
    assert not isinstance(decoder, DecoderConfig) or encoder.latent_channels % decoder.num_heads == 0


@given(examples=st.integers(1, 10**6), minutes=st.one_of(st.none(), st.floats(0.1, 1000)))
def test_auto_fits_any_amount_of_data(examples: int, minutes: float | None) -> None:
    """The encoder can be built, more data and time never get a smaller one, and the run has an end."""
    facts, more = (
        Facts(task="classify", examples=examples, minutes=minutes),
        Facts(task="classify", examples=examples * 2, minutes=1e9),
    )
    small, large = choose_encoder(PointsConfig(), facts), choose_encoder(PointsConfig(), more)
    assert small.latent_channels % small.num_self_attention_heads == 0
    assert small.latent_channels <= large.latent_channels
    assert small.num_latents <= large.num_latents
    recipe = choose_recipe(PointsConfig(), facts)
    assert recipe.minutes == (20.0 if minutes is None else minutes)
    assert recipe.epochs is not None
    assert 30 <= recipe.epochs <= 300


@given(examples=st.integers(1, 10**6))
def test_auto_takes_no_larger_model_when_hurried(examples: int) -> None:
    """Less time, the same model or a smaller one; plenty of time, what the amount of data allows."""
    given_ = (
        Facts(task="classify", examples=examples, minutes=minutes) for minutes in (examples / 2000, examples, None)
    )
    hurried, unhurried, _ = (choose_encoder(PointsConfig(), facts) for facts in given_)
    assert hurried.latent_channels <= unhurried.latent_channels
    assert (hurried.latent_channels < unhurried.latent_channels) == (examples >= 500)


def test_the_papers_recipes() -> None:
    """ImageNet falls at 84, 102 and 114 of 120 epochs from 4e-3; ModelNet40 stays at 1e-3 (paper.md 1 and 3)."""
    imagenet = presets.load("perceiver-imagenet").recipe
    assert [learning_rate(imagenet, epoch / 120) for epoch in (83, 85, 103, 115)] == pytest.approx(
        [4e-3, 4e-4, 4e-5, 4e-6]
    )
    modelnet = presets.load("perceiver-modelnet40").recipe
    assert {learning_rate(modelnet, share) for share in (0.0, 0.5, 1.0)} == {1e-3}
    assert {presets.load(name).recipe.optimizer for name in presets.names()} == {"lamb"}


@pytest.mark.parametrize("stem", ["fourier", "learned", "conv"])
def test_the_recipe_of_perceiver_io(stem: str) -> None:
    """Of ImageNet, by the authors' code (paper.md 4): flat at 2e-3 for half of the run, no warm-up, and what varies."""
    preset = presets.load(f"perceiver-io-imagenet-{stem}")
    recipe, image = preset.recipe, preset.inputs
    assert [learning_rate(recipe, share) for share in (0.0, 0.5, 0.75, 1.0)] == pytest.approx([2e-3, 2e-3, 1e-3, 0.0])
    assert (recipe.epochs, recipe.batch_size, recipe.weight_decay, recipe.betas) == (110, 1024, 0.1, (0.9, 0.999))
    assert (recipe.gradient_clip, recipe.label_smoothing, recipe.mixup, recipe.cutmix) == (10.0, 0.1, 0.2, 1.0)
    assert (image.crop, image.flip, image.randaugment, image.field_of_view) == (0.08, 0.5, (4, 5), 0.875)
    assert image.longest_side is not None  # crops are cut from the whole picture
    assert preset.decoder is not None
    assert preset.decoder.query_residual == (stem != "learned")


@pytest.mark.parametrize(
    ("name", "count", "channels"),
    [
        ("perceiver-imagenet", 44_912_254, 261),
        ("perceiver-io-imagenet-fourier", 48_440_627, 261),
        ("perceiver-io-imagenet-learned", 62_255_848, 512),
        ("perceiver-io-imagenet-conv", 48_646_522, 322),
        ("perceiver-io-bytes", 201_108_230, 768),
        ("perceiver-io-kinetics", 19_858_855, 704),
        ("perceiver-io-flow", 41_057_134, 322),
    ],
)
def test_presets_have_the_papers_counts(name: str, count: int, channels: int) -> None:
    with torch.device("meta"):
        model = sm.build(name)
    assert (model.parameter_count(), model.inputs.channels) == (count, channels)


def test_build_takes_a_name_a_file_or_a_configuration(tmp_path: Path) -> None:
    """Three ways to one model; anything else is refused with the cure."""
    with torch.device("meta"):
        named = sm.build("perceiver-audioset-audio")
        (tmp_path / "model.yaml").write_text(to_yaml(named.config))
        read = sm.build(tmp_path / "model.yaml")
        given_ = sm.build(named.config)
    assert named.config == read.config == given_.config
    with pytest.raises(InputError, match="did you mean 'perceiver-imagenet'"):
        sm.build("perceiver-imagnet")
    with pytest.raises(InputError, match="cannot be read"):
        sm.build(tmp_path / "nothing.yaml")


def test_a_new_model_answers_evenly() -> None:
    """The head starts at zero, so every class is equally likely whatever is read."""
    preset = presets.load("perceiver-modelnet40")
    small = replace(preset.encoder, num_latents=8, latent_channels=32, num_layers=1)
    model = Perceiver(PerceiverConfig(inputs=preset.inputs, encoder=small, task=ClassifyConfig(classes=("a", "b"))))
    assert torch.equal(model({"points": torch.rand(3, 20, 3)}).scores, torch.full((3, 2), 0.5))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [name for name in presets.names() if name != "perceiver-io-flow"])
def test_two_training_steps_on_real_data(name: str, tmp_path: Path) -> None:
    """Each of the papers' models takes two steps by its own recipe, the batch apart, on pictures and recordings;
    those of optical flow are below."""
    preset = presets.load(name)
    kind, task = preset.inputs.kind, None if isinstance(preset.task, str) else preset.task.kind
    write = {
        "image": _photographs,
        "points": _scans,
        "audio": _recordings,
        "video": _films,
        "fusion": _films,
        "text": _letters,
    }
    write[kind](tmp_path / "data")
    if name == "perceiver-io-kinetics":  # of whose answer to one film 802,816 pixels take minutes
        (tmp_path / "data" / "test" / "temple" / "2.mkv").unlink()
    settings = ("recipe.batch_size=2", "recipe.precision=float32", "recipe.ema_decay=0.0")
    result = sm.train(tmp_path / "data", out=tmp_path / "run", preset=name, task=task, epochs=1, settings=settings)
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert rows[-1].split(",")[0] == "2"
    assert np.isfinite(result["metrics"]["loss"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_training_steps_of_flow_on_photographs() -> None:
    """By its own recipe, an example at a time: a window that moves over a photograph, first as it is, then augmented.
    A new model says that nothing moves, and is off by as much as the window moved."""
    from sklearn.datasets import load_sample_images

    preset, model = presets.load("perceiver-io-flow"), sm.build("perceiver-io-flow")
    turns, losses = optimizers(preset.recipe, model), []
    for number, picture in enumerate(load_sample_images().images):
        frames = picture[20:388, 40:536], picture[17:385, 44:540]  # by 3 downwards, and 4 to the left
        flow = np.broadcast_to(np.float32([-4, 3])[:, None, None], (2, 368, 496))
        sample = model.inputs.load({"frames": frames, "flow": flow})
        batch = {key: torch.from_numpy(values)[None] for key, values in sample.items()}
        generator = torch.Generator().manual_seed(number)
        view = model.inputs.augment(batch, generator) if number else model.task.unaugmented(model.inputs.view(batch))
        prepared = model.prepare(view, generator)
        loss = model.loss(model(prepared.inputs, prepared.query_indices).output, prepared.targets)
        loss.backward()
        losses.append(float(loss.detach()))
        assert preset.recipe.gradient_clip is not None
        assert torch.nn.utils.clip_grad_norm_(model.parameters(), preset.recipe.gradient_clip) > 0
        for turn in turns:
            turn.step()
            turn.zero_grad()
    assert losses[0] == pytest.approx(5.0, rel=1e-5)
    assert np.isfinite(losses[1])
    assert losses[1] != losses[0]
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def _photographs(folder: Path) -> None:
    """Crops of scikit-learn's two photographs."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    for label, picture in zip(("temple", "flower"), load_sample_images().images, strict=True):
        for number in range(3):
            place = folder / ("train" if number < 2 else "test") / label / f"{number}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            left = 130 * number
            Image.fromarray(picture[100:400, left : left + 300]).save(place)


def _scans(folder: Path) -> None:
    """Handwritten digits as points: where the ink is, as high as it is dark."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = np.concatenate([np.flatnonzero(digits.target == label)[:3] for label in (0, 1)])
    clouds = []
    for pixels in digits.images[chosen]:
        y, x = np.mgrid[0:8, 0:8]
        cloud = np.stack([x.ravel(), 7 - y.ravel(), pixels.ravel() / 4], axis=1)
        clouds.append(np.repeat(cloud, 32, axis=0) + np.random.default_rng(0).uniform(0, 1, (2048, 3)))
    labels = digits.target[chosen]
    test = np.array([2, 5])
    train = np.setdiff1d(np.arange(6), test)
    folder.mkdir(parents=True)
    data = np.stack(clouds)
    np.savez(folder / "ink.npz", x_train=data[train], y_train=labels[train], x_test=data[test], y_test=labels[test])


def _recordings(folder: Path) -> None:
    """Rows of the photographs, played as sound: real signals, if not ones to enjoy."""
    import soundfile
    from sklearn.datasets import load_sample_images

    for label, picture in zip(("temple", "flower"), load_sample_images().images, strict=True):
        signal = picture[..., 1].ravel() / 127.5 - 1
        for number in range(3):
            place = folder / ("train" if number < 2 else "test") / label / f"{number}.wav"
            place.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(place, signal[number * 70_000 : number * 70_000 + 70_000], 48_000)


def _letters(folder: Path) -> None:
    """Sentences of two licences' kinds."""
    for label, sentence in (("grants", "You may copy it. "), ("denials", "There is no warranty. ")):
        for number in range(3):
            place = folder / ("train" if number < 2 else "test") / label / f"{number}.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(sentence * (number + 1))


def _films(folder: Path) -> None:
    """A window that wanders over the photographs, and their rows as its sound."""
    from sklearn.datasets import load_sample_images

    for label, picture in zip(("temple", "flower"), load_sample_images().images, strict=True):
        wave = (picture[..., 1].ravel().astype(np.int16) - 128) * 200
        for number in range(3):
            frames = np.stack([picture[20 * number + step :, 5 * step :][:240, :240] for step in range(40)])
            place = folder / ("train" if number < 2 else "test") / label / f"{number}.mkv"
            sound = wave[number * 80_000 : number * 80_000 + 76_800]
            write_film(place, frames, rate=25, wave=sound, sound_rate=48_000)
