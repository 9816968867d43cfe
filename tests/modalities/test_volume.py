"""Volumes: sizes, ranges, crops and contrast, beyond the contract."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from sensorium.errors import InputError
from sensorium.modalities.volume import Volume, VolumeConfig

RANDOM = np.random.default_rng(0)


def scan(*shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return RANDOM.uniform(low, high, shape)


def ramp(count: int) -> torch.Tensor:
    """Volumes that brighten to the right."""
    return torch.linspace(0, 1, 16).expand(count, 1, 16, 16, 16).contiguous()


def test_sizes_follow_the_extent_in_space(tmp_path: Path) -> None:
    """A few thick slices stay few; the longest axis has at most 64 voxels; rows are at most 2,048."""
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    path = tmp_path / "a.nii.gz"
    nibabel.Nifti1Image(scan(100, 80, 10).astype(np.float32), affine).to_filename(path)
    config = Volume.measure([path])
    assert config.num_rows <= 2048
    assert [side // patch for side, patch in zip(config.size, config.patch, strict=True)] == list(config.grid)
    deep, down, across = config.size
    assert (deep, across) == (10 // config.patch[0] * config.patch[0], 64 // config.patch[2] * config.patch[2])
    assert abs(down / across - 0.8) < 0.1
    nibabel.Nifti1Image(scan(24, 30, 5).astype(np.float32), np.diag([0.5, 0.5, 9.0, 1.0])).to_filename(path)
    assert Volume.measure([path]).size == (4, 30, 24)
    small = Volume.measure([scan(5, 9, 7)])
    assert (small.size, small.patch) == ((5, 9, 7), (1, 1, 1))


def test_ranges_are_of_the_data_or_of_each_volume() -> None:
    """Where volumes agree about their units, one range serves all; where they do not, brightness means nothing."""
    alike = [scan(6, 6, 6, low=-1000, high=1000 + 10 * n) for n in range(4)]
    config = Volume.measure(alike)
    assert config.ranges is not None
    assert config.ranges[0] == pytest.approx((-990, 1010), abs=25)
    brighter = Volume(config).load(alike[0] + 300)["volume"].mean() - Volume(config).load(alike[0])["volume"].mean()
    assert 0.1 < brighter < 0.2
    unlike = [scan(6, 6, 6, high=100.0 * 5**n) for n in range(4)]
    config = Volume.measure(unlike)
    assert config.ranges is None
    one, other = (Volume(config).load(factor * unlike[0])["volume"] for factor in (1.0, 7.0))
    np.testing.assert_array_equal(one, other)


def test_what_is_loaded_is_small_and_within_bounds() -> None:
    config = Volume.measure([scan(8, 8, 8, low=-50, high=50)])
    values = Volume(config).load(scan(9, 12, 8, low=-500, high=500))["volume"]
    assert (values.dtype, values.shape) == (np.float16, (1, *config.size))
    assert (values.min(), values.max()) == (0, 1)


def test_channels() -> None:
    config = Volume.measure([scan(4, 5, 6, 2) * [1, 1000] for _ in range(3)])
    assert (config.channels, len(config.mean)) == (2, 2)
    assert config.ranges is not None
    assert config.ranges[1][1] > 100 * config.ranges[0][1]
    with pytest.raises(InputError, match="1 channels, the model reads 2"):
        Volume(config).load(scan(4, 5, 6))
    with pytest.raises(InputError, match="volumes have 1 and 2 channels"):
        Volume.measure([scan(4, 5, 6), scan(4, 5, 6, 2)])


def test_mirroring_mirrors() -> None:
    never, always = (Volume(VolumeConfig(size=(16, 16, 16), flip=flip)) for flip in (0.0, 1.0))
    assert torch.equal(never.augment({"volume": ramp(2)}, torch.Generator())["volume"], ramp(2))
    mirrored = always.augment({"volume": ramp(2)}, torch.Generator())["volume"]
    assert torch.allclose(mirrored, ramp(2).flip(-1), atol=1e-5)


def test_crops_are_parts_of_the_volume() -> None:
    """Each example its own, of a smaller span than the whole."""
    volume = Volume(VolumeConfig(size=(16, 16, 16), crop=0.3))
    crops = volume.augment({"volume": ramp(8)}, torch.Generator().manual_seed(0))["volume"]
    span = crops.amax((1, 2, 3, 4)) - crops.amin((1, 2, 3, 4))
    assert (span <= 1).all()
    assert (span < 0.95).any()
    assert len({round(float(value), 4) for value in span}) > 4


def test_contrast_changes_each_example_by_itself() -> None:
    volume = Volume(VolumeConfig(size=(16, 16, 16), contrast=0.3))
    changed = volume.augment({"volume": 0.25 + ramp(6) / 2}, torch.Generator().manual_seed(0))["volume"]
    assert len({round(float(value), 4) for value in changed.mean((1, 2, 3, 4))}) == 6
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_values_of_a_row_are_its_voxels_in_order() -> None:
    volume = Volume(VolumeConfig(size=(4, 4, 4), patch=(2, 2, 2), mean=(0.0,), std=(1.0,), bands=2))
    voxels = torch.arange(64.0).view(1, 1, 4, 4, 4)
    row = volume.embed({"volume": voxels}).dense()[0, 4 * 1 + 2 * 0 + 1, :8]
    assert row.tolist() == voxels[0, 0, 2:, :2, 2:].flatten().tolist()


def test_what_is_saved_has_the_units_of_the_data(tmp_path: Path) -> None:
    volume = Volume(VolumeConfig(size=(2, 2, 2), patch=(1, 1, 1), ranges=((-1000.0, 1000.0),)))
    (path,) = volume.save(torch.full((1, 2, 2, 2), 0.75), tmp_path / "it")
    np.testing.assert_allclose(np.load(path)["volume"], 500.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patch": (0, 1, 1)}, "positive"),
        ({"size": (9, 8, 8)}, "multiple of the patch"),
        ({"mean": (0.5, 0.5)}, "need 1 values each"),
        ({"ranges": ((0.0, 1.0), (0.0, 1.0))}, "need 1 values each"),
    ],
)
def test_configurations_that_do_not_fit(values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Volume(VolumeConfig(**{"size": (8, 8, 8), **values}))


@pytest.mark.parametrize("shape", [(2, 2, 8, 8, 8), (2, 8, 8, 8), (2, 1, 8, 8, 7)])
def test_batches_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="volume: "):
        Volume(VolumeConfig(size=(8, 8, 8))).embed({"volume": torch.zeros(shape)})
