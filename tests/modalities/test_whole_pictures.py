"""Views of whole pictures: as Perceiver IO's authors cut them for ImageNet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from sensorium.errors import InputError
from sensorium.modalities.image import Image, ImageConfig
from sensorium.modalities.whole_pictures import bicubic, middle, random_box

CONFIG = ImageConfig(size=(32, 32), longest_side=80, field_of_view=0.875, crop=0.08, flip=0.5, randaugment=(4, 5))
SIZES = ((60, 80), (50, 20), (200, 160), (7, 9))


def batch_of(image: Image, sizes: tuple[tuple[int, int], ...] = SIZES) -> dict[str, torch.Tensor]:
    """Noise of these heights and widths, as it is kept."""
    random = np.random.default_rng(0)
    channels = image.config.channels
    samples = [image.load(random.integers(0, 256, (*size, channels), dtype=np.uint8)) for size in sizes]
    return {field: torch.from_numpy(np.stack([sample[field] for sample in samples])) for field in samples[0]}


def alone(batch: dict[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
    return {field: values[index : index + 1] for field, values in batch.items()}


def test_the_whole_picture_is_kept() -> None:
    """In its proportions, made smaller where it is larger than the longest side; nothing is cut off."""
    image = Image(CONFIG)
    batch = batch_of(image)
    assert batch["image.extent"].tolist() == [[60, 80], [50, 20], [80, 64], [7, 9]]
    assert batch["image"].shape == (4, 3, 80, 80)
    pixels = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    assert np.array_equal(image.load(pixels)["image"][:, :60], pixels.transpose(2, 0, 1))


def test_evaluation_sees_the_middle_of_224_of_256() -> None:
    """The square of 0.875 of the shorter side, resized by the cubic of Pillow's ``F`` mode, where that enlarges."""
    image = Image(CONFIG)
    batch = batch_of(image)
    view = image.view(batch)
    assert view.keys() == {"image"}
    expected = batch["image"][1, :, 17:34, 2:19].numpy()  # of 50 × 20 pixels, 17 from (50 - 17 + 1) / 2 and so on
    assert middle(50, 20, 0.875) == (17, 2, 17, 17)
    resized = [Pillow.fromarray(channel.astype(np.float32), "F").resize((32, 32), 3) for channel in expected]
    assert np.allclose(view["image"][1], np.stack(resized) / 255, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_training_views(channels: int) -> None:
    """Each picture by itself, whatever its mates: of the view's shape, by the generator alone, which leaves the batch
    and the global generators as they are."""
    half = (0.5,) * channels
    image = Image(replace(CONFIG, channels=channels, mean=half, std=half))
    batch = batch_of(image)
    before, state = {name: value.clone() for name, value in batch.items()}, torch.random.get_rng_state()
    one, same, other = (image.augment(batch, torch.Generator().manual_seed(seed))["image"] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert all(not torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert one.shape == image.view(batch)["image"].shape == (4, channels, 32, 32)
    assert one.dtype == torch.float32
    assert one.min() > -0.5
    assert one.max() < 1.5
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in batch.items())
    first = image.augment(alone(batch, 0), torch.Generator().manual_seed(1))["image"]
    assert torch.equal(first[0], one[0])
    mates = {**batch, "image": torch.cat([batch["image"][:1], 255 - batch["image"][1:]])}
    assert torch.equal(image.augment(mates, torch.Generator().manual_seed(1))["image"][0], one[0])


def test_labels_and_other_fields_are_left_alone() -> None:
    """A view changes the pictures and nothing else."""
    image = Image(CONFIG)
    batch = {**batch_of(image), "target": torch.tensor([3, 1, 2, 0])}
    for view in (image.view(batch), image.augment(batch, torch.Generator())):
        assert view["target"].equal(batch["target"])


def test_the_order_is_crop_mirror_operations_resize() -> None:
    """Where the crop is the middle and an operation comes up that moves nothing, only the order explains the result:
    what is resized last has values beyond those that posterizing leaves."""
    image = Image(replace(CONFIG, crop=1.0, flip=1.0, randaugment=(0, 5)))
    batch = batch_of(image)
    mirrored = image.augment(batch, torch.Generator())["image"]
    assert torch.allclose(mirrored, image.view(batch)["image"].flip(-1), atol=1e-5)
    edge = torch.zeros(1, 3, 80, 80, dtype=torch.uint8)
    edge[..., 40:] = 255
    batch = {"image": edge, "image.extent": torch.tensor([[80, 80]])}
    views = [
        Image(replace(CONFIG, randaugment=(3, 5))).augment(batch, torch.Generator().manual_seed(seed))["image"]
        for seed in range(20)
    ]
    assert any(view.min() < -0.01 or view.max() > 1.01 for view in views)


def test_random_boxes_are_tensorflows() -> None:
    """Inside of the picture, of an aspect between 3/4 and 4/3 and of 0.1 to 1 of the area, and all of that occurs:
    heights are drawn, so small areas come more often than by a draw of areas, whose mean would be 0.55."""
    random = np.random.default_rng(0)
    found = [random_box(375, 500, least=0.08, random=random) for _ in range(4000)]
    boxes = np.array([box for box in found if box is not None])
    assert len(boxes) > 3990
    top, left, height, width = boxes.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 375).all()
    assert (left + width <= 500).all()
    area, aspect = height * width / (375 * 500), width / height
    assert area.min() >= 0.1
    assert area.min() < 0.11
    assert area.max() > 0.95
    assert 0.74 < aspect.min() < 0.76
    assert 1.32 < aspect.max() < 1.35
    assert area.mean() == pytest.approx(0.385, abs=0.02)
    assert len(set(zip(top.tolist(), left.tolist(), strict=True))) > 3000
    assert random_box(5, 500, least=0.5, random=random) is None  # no box of such an aspect is so large


def test_pictures_of_any_size_and_none_at_all() -> None:
    """A strip, a pixel, and the zeros of an example that lacks its picture."""
    image = Image(CONFIG)
    batch = batch_of(image, ((1, 1), (2, 80), (80, 2)))
    batch = {name: torch.cat([value, torch.zeros_like(value[:1])]) for name, value in batch.items()}
    for view in (image.view(batch), image.augment(batch, torch.Generator())):
        assert view["image"].shape == (4, 3, 32, 32)
        assert view["image"].isfinite().all()


@pytest.mark.parametrize(("length", "side"), [(5, 9), (40, 16), (224, 224), (1, 3), (333, 224)])
def test_bicubic_weights(length: int, side: int) -> None:
    """A constant stays, a line stays one in the inside, however much smaller the picture becomes."""
    line = np.broadcast_to(np.arange(length, dtype=np.float32), (1, 1, length))
    result = bicubic(line, (1, side))[0, 0]
    place = (np.arange(side) + 0.5) * length / side - 0.5
    inside = (place >= 1) & (place <= length - 3)
    assert np.allclose(result[inside], place[inside], atol=1e-3)
    assert np.allclose(bicubic(np.full((2, 3, length), 7.0), (4, side)), 7, atol=1e-5)
    if length == side:
        assert np.allclose(result, line, atol=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    """Measured values have no 8 bits; magnitudes end at ten."""
    for change in ({"randaugment": (1, 9.0)}, {"longest_side": 9}):
        with pytest.raises(InputError, match="8 bits"):
            Image(ImageConfig(size=(8, 8), ranges=((0.0, 1.0),) * 3, **change))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="from 0 to 10"):
        Image(ImageConfig(randaugment=(4, 15)))
    with pytest.raises(InputError, match="longest_side"):
        Image(ImageConfig(longest_side=-3))
