"""``--permute``: a part of the run's configuration, which evaluation and prediction follow untold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import sensorium as sm
from sensorium.cli import main
from sensorium.errors import InputError
from sensorium.modalities import FusionConfig, ImageConfig, PointsConfig
from sensorium.training.plan import is_permuted, permuted, read_run_config
from sensorium.training.resume import check_options
from small_models import SMALLEST_RUN, signs

PLAIN = (*SMALLEST_RUN, "inputs.stem=null")
RESNET = ("recipe.precision=float32", "inputs.stem=null", "model.encoder={kind: resnet, width: 2, stem: plain}")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Grey pictures of two kinds, of which the left or the right half is bright."""
    random, labels = np.random.default_rng(0), np.arange(40) % 2
    images = random.integers(0, 100, (40, 8, 8), dtype=np.uint8)
    images[labels == 0, :, :4] += 100
    images[labels == 1, :, 4:] += 100
    folder = tmp_path / "halves"
    folder.mkdir()
    np.savez(folder / "halves.npz", x_train=images[:28], y_train=labels[:28], x_test=images[28:], y_test=labels[28:])
    return folder


def run(data: Path, out: Path, settings: tuple[str, ...], **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metrics and the weights of a short training."""
    result = sm.train(data, out=out, epochs=2, settings=settings, kind=("image",), **options)
    return result["metrics"], load_file(out / "model.safetensors")


def test_a_perceiver_learns_the_same_from_permuted_pictures(pictures: Path, tmp_path: Path) -> None:
    """To the last bit of its weights; a ResNet learns something else. Evaluation gives what training reported."""
    metrics, weights = run(pictures, tmp_path / "plain", PLAIN)
    permuted_metrics, permuted_weights = run(pictures, tmp_path / "permuted", PLAIN, permute=True)
    assert permuted_metrics == metrics
    assert all(np.array_equal(permuted_weights[name], weight) for name, weight in weights.items())
    _, weights = run(pictures, tmp_path / "resnet", RESNET)
    permuted_metrics, permuted_weights = run(pictures, tmp_path / "permuted-resnet", RESNET, permute=True)
    assert not all(np.allclose(permuted_weights[name], weight) for name, weight in weights.items())
    config = read_run_config(tmp_path / "permuted-resnet")
    assert config.model.inputs.permute == 0
    assert sm.evaluate(tmp_path / "permuted-resnet", pictures)["metrics"] == pytest.approx(permuted_metrics)


def test_the_option_is_kept(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that goes on keeps its permutation and refuses another; the seed draws it."""
    data: dict[str, Any] = {"kind": ("image",), "seed": 3}
    config, other = (sm.plan(pictures, permute=permute, **data).config for permute in (True, False))
    assert config.model.inputs.permute == 3
    check_options(config, pictures, settings=(), options={"permute": True})
    check_options(config, pictures, settings=(), options={"permute": False})
    with pytest.raises(InputError, match=r"^--permute True: the run in .* has False and goes on with it"):
        check_options(other, pictures, settings=(), options={"permute": True})
    main(["inspect", str(pictures), "--kind", "image", "--permute", "--set", "inputs.stem=null"])
    assert "64 rows × 19 channels of permuted pictures" in " ".join(capsys.readouterr().out.split())


def test_pictures_are_permuted_and_nothing_else(tmp_path: Path) -> None:
    """Of several signals, the pictures; without one, one line."""
    fusion = FusionConfig(modalities={"photo": ImageConfig(), "shape": PointsConfig()})
    changed = permuted(fusion, 4)
    assert changed.modalities == {"photo": ImageConfig(permute=4), "shape": PointsConfig()}
    assert (is_permuted(changed), is_permuted(fusion)) == (True, False)
    values, labels = signs(20)
    np.savez(tmp_path / "signs.npz", x=values, y=labels)
    with pytest.raises(InputError, match=r"^--permute: .* the model reads series; leave it out"):
        sm.plan(tmp_path / "signs.npz", permute=True)
