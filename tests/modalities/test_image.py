"""Pictures: views, augmentations and channels, beyond the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.errors import InputError
from sensorium.modalities.image import Image, ImageConfig


def ramp(count: int = 3, channels: int = 3, side: int = 16) -> torch.Tensor:
    """Pictures that brighten to the right, each in its own shade."""
    across = torch.linspace(0, 1, side).expand(count, channels, side, side)
    return across * torch.linspace(0.5, 1, count)[:, None, None, None]


def test_the_papers_rows_are_pixel_values_then_the_code() -> None:
    """50,176 rows of 3 + 258 channels; the values are the normalised pixels in reading order."""
    image = Image(ImageConfig())
    assert (image.num_rows, image.channels) == (50_176, 261)
    small = Image(ImageConfig(size=(4, 4), bands=2))
    pictures = torch.rand(2, 3, 4, 4)
    row = small.embed({"image": pictures}).dense()[1, 4 * 2 + 3]
    expected = (pictures[1, :, 2, 3] - torch.tensor(small.config.mean)) / torch.tensor(small.config.std)
    assert torch.allclose(row[:3], expected)


def test_the_view_is_the_centre_and_floats_of_another_size_are_taken_as_they_come() -> None:
    """224 of the stored 256; a caller's own 200 × 300 is left alone."""
    image = Image(ImageConfig(size=(224, 224)))
    stored = torch.randint(0, 255, (1, 3, 256, 256), dtype=torch.uint8)
    assert torch.equal(image.view({"image": stored})["image"], stored[..., 16:240, 16:240] / 255)
    own = torch.rand(1, 3, 200, 300)
    assert torch.equal(image.view({"image": own})["image"], own)


@pytest.mark.parametrize(("field_of_view", "stored"), [(None, 256), (0.875, 256), (1.0, 224), (0.5, 448)])
def test_without_crops_training_and_evaluation_have_one_field_of_view(field_of_view: float | None, stored: int) -> None:
    """So much of the middle as is configured, pixel for pixel; small pictures are seen whole."""
    image = Image(ImageConfig(field_of_view=field_of_view))
    assert image.stored == (stored, stored)
    noise = np.random.default_rng(0).integers(0, 256, (500, 600, 3))
    batch = {"image": torch.from_numpy(image.load(noise)["image"])[None]}
    assert torch.equal(image.augment(batch, torch.Generator())["image"], image.view(batch)["image"])
    assert Image(ImageConfig(size=(32, 32))).stored == (32, 32)
    with pytest.raises(InputError, match="field_of_view"):
        Image(ImageConfig(field_of_view=1.5))


def test_mirroring_mirrors() -> None:
    """With certainty every picture, without it none; nothing else changes."""
    never, always = (Image(ImageConfig(size=(16, 16), flip=flip)) for flip in (0.0, 1.0))
    pictures = ramp()
    assert torch.equal(never.augment({"image": pictures}, torch.Generator())["image"], pictures)
    mirrored = always.augment({"image": pictures}, torch.Generator())["image"]
    assert torch.allclose(mirrored, pictures.flip(-1), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_change_when_asked(channels: int) -> None:
    """Each picture's by itself, all its pixels alike, and grey stays grey."""
    statistics = {"mean": (0.5,) * channels, "std": (0.2,) * channels}
    none, changed = (Image(ImageConfig(size=(8, 8), channels=channels, colour=c, **statistics)) for c in (0.0, 0.4))
    grey = (torch.full((2, 1, 8, 8), 0.4) + 0.2 * torch.rand(1, 1, 8, 8)).expand(-1, channels, -1, -1)
    views = [image.augment({"image": grey}, torch.Generator().manual_seed(0))["image"] for image in (none, changed)]
    assert torch.equal(views[0], grey)
    assert not torch.allclose(views[1][0], views[1][1], atol=0.01)
    for view, picture in zip(views[1], grey, strict=True):
        assert torch.allclose(view, view[:1].expand_as(view), atol=1e-6)
        slope, offset = np.polyfit(picture[0].flatten(), view[0].flatten(), 1)
        assert torch.allclose(view, slope * picture + offset, atol=1e-5)


def test_crops_are_parts_of_the_picture() -> None:
    """No value beyond the picture's, each example its own crop, a smaller span than the whole."""
    image = Image(ImageConfig(size=(16, 16), crop=0.3))
    crops = image.augment({"image": ramp(8)}, torch.Generator().manual_seed(0))["image"]
    span = crops.amax((1, 2, 3)) - crops.amin((1, 2, 3))
    whole = torch.linspace(0.5, 1, 8)
    assert (span < whole + 1e-5).all()
    assert (span < 0.95 * whole).any()
    assert len({round(float(value), 4) for value in span / whole}) > 4


@pytest.mark.parametrize("channels", [1, 3])
def test_randaugment_changes_pictures_and_leaves_the_global_generator_alone(channels: int) -> None:
    """The same seed, the same pictures; values stay in [0, 1]."""
    half = (0.5,) * channels
    image = Image(ImageConfig(size=(16, 16), channels=channels, mean=half, std=half, randaugment=(4, 5.0)))  # type: ignore[arg-type]
    pictures = ramp(channels=channels)
    state = torch.random.get_rng_state()
    views = [image.augment({"image": pictures}, torch.Generator().manual_seed(seed))["image"] for seed in (1, 1, 2)]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])
    for view in views:
        assert view.shape == pictures.shape
        assert view.min() >= 0
        assert view.max() <= 1


def test_measure_sees_grey_and_sizes() -> None:
    """Grey only where all are; the median shorter side, at most 224."""
    grey, colour = np.zeros((20, 30), np.uint8), np.full((40, 50, 3), 255, np.uint8)
    assert Image.measure([grey, grey]).channels == 1
    config = Image.measure([grey, colour, colour])
    assert (config.channels, config.size) == (3, (40, 40))
    assert Image.measure([np.zeros((900, 800, 3), np.uint8)]).size == (224, 224)


def test_what_does_not_fit_is_refused() -> None:
    """A patch of nothing; a size that is not whole patches; statistics of other channels; NaN pixels."""
    with pytest.raises(InputError, match="positive"):
        Image(ImageConfig(patch=(0, 1)))
    with pytest.raises(InputError, match="multiple of the patch"):
        Image(ImageConfig(size=(10, 10), patch=(3, 3)))
    with pytest.raises(InputError, match="1 values each"):
        Image(ImageConfig(size=(8, 8), channels=1))
    with pytest.raises(InputError, match="NaN"):
        Image(ImageConfig(size=(8, 8))).load(np.full((8, 8, 3), np.nan))
    with pytest.raises(InputError, match="whole patches"):
        Image(ImageConfig(size=(8, 8), patch=(2, 2))).embed({"image": torch.rand(1, 3, 7, 8)})


def test_bands_of_measured_values(tmp_path: Path) -> None:
    """As many channels as bands, each with its range; a flat band is no trouble; what was not measured is 0."""
    random = np.random.default_rng(0)
    scenes = [random.uniform(0, 1, (8, 8, 6)) * [1, 10, 100, 1000, 10000, 0] for _ in range(4)]
    scenes[0][0, 0] = np.nan
    config = Image.measure(scenes)
    assert (config.channels, len(config.mean)) == (6, 6)
    assert config.ranges is not None
    assert [round(np.log10(high)) for _, high in config.ranges[:5]] == [0, 1, 2, 3, 4]
    image = Image(config)
    pixels = image.load(scenes[0])["image"]
    assert (pixels.dtype, pixels.shape) == (np.float16, (6, 8, 8))
    assert (pixels[:, 0, 0] == 0).all()
    assert (pixels.min(), pixels.max()) == (0, 1)
    batch = image.augment({"image": torch.from_numpy(pixels)[None]}, torch.Generator())
    assert image.embed(batch).dense().isfinite().all()
    (path,) = image.save(image.view(batch)["image"][0], tmp_path / "it")
    assert np.load(path)["image"].max() > 9000
    with pytest.raises(InputError, match="3 bands, the model reads 6"):
        image.load(scenes[0][..., :3])
    with pytest.raises(InputError, match="5 and 6 bands"):
        Image.measure([scenes[0], scenes[1][..., :5]])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"channels": 5, "mean": (0.5,) * 5, "std": (0.5,) * 5}, "1 or 3 channels"),
        ({"ranges": ((0.0, 1.0),)}, "ranges need 3 pairs"),
        (
            {
                "channels": 2,
                "mean": (0.5,) * 2,
                "std": (0.5,) * 2,
                "ranges": ((0.0, 1.0),) * 2,
                "randaugment": (1, 9.0),
            },
            "randaugment",
        ),
    ],
)
def test_channels_that_do_not_fit(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Image(ImageConfig(size=(8, 8), **values))
