"""Maps of single latents: they are the attention that the maps of a cross-attend are the mean of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from sensorium.errors import InputError
from sensorium.inference.attention_maps import viewed
from sensorium.inference.latent_maps import LatentMapsConfig, latent_maps, shades
from sensorium.modalities import (
    AudioConfig,
    FusionConfig,
    PairConfig,
    SeriesConfig,
    TableConfig,
    TextConfig,
    VideoConfig,
    VolumeConfig,
)
from sensorium.modalities.table import Column
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from small_models import ENCODER, IMAGE, POINTS, classes, clouds, pictures, small_model

RANDOM = torch.Generator().manual_seed(3)
AUDIO = AudioConfig(rate=8000, samples=800, window=200, hop=80, patch=(4, 64))
# A batch of two examples of each kind, and the shape of its maps.
SIGNALS: dict[str, tuple[Any, dict[str, torch.Tensor], tuple[int, ...]]] = {
    "image": (IMAGE, {"image": torch.rand(2, 1, 6, 6, generator=RANDOM)}, (1, 6, 6)),
    "points": (POINTS, {"points": torch.rand(2, 12, 3, generator=RANDOM)}, (12, 1)),
    "audio": (AUDIO, {"audio": torch.randn(2, AUDIO.steps, 64, 1, generator=RANDOM)}, (AUDIO.steps, 64, 1)),
    "series": (
        SeriesConfig(channels=2, length=9, mean=(0.0, 0.0), std=(1.0, 1.0), patch=2),
        {"series": torch.randn(2, 9, 2, generator=RANDOM)},
        (9, 1),
    ),
    "text": (TextConfig(length=7), {"text": torch.randint(6, 200, (2, 7), generator=RANDOM)}, (7, 1)),
    "video": (
        VideoConfig(size=(8, 8), frames=4, rate=10.0, patch=(2, 4, 4)),
        {"video": torch.rand(2, 4, 3, 8, 8, generator=RANDOM)},
        (4, 1, 8, 8),
    ),
    "pair": (
        PairConfig(size=(6, 8), bands=4),
        {"pair": torch.rand(2, 2, 3, 6, 8, generator=RANDOM)},
        (2, 1, 6, 8),
    ),
    "table": (
        TableConfig(columns=(Column(name="a"), Column(name="b"), Column(name="c"))),
        {"table": torch.randn(2, 3, generator=RANDOM)},
        (3, 1),
    ),
    "volume": (
        VolumeConfig(size=(4, 4, 4), patch=(2, 2, 2)),
        {"volume": torch.rand(2, 1, 4, 4, 4, generator=RANDOM)},
        (1, 4, 4, 4),
    ),
}


@pytest.mark.parametrize("kind", SIGNALS)
def test_maps_have_the_signal_s_shape_and_are_the_attention(kind: str) -> None:
    """Their mean over latents is the attention of the row that an element is in; logits have the same softmax."""
    config, batch, shape = SIGNALS[kind]
    model = small_model(config, classes(2))
    found = latent_maps(model, batch)
    assert [each.cross_attend for each in found] == [0, 1, 2]
    attention = model.attention(batch)
    for number, each in enumerate(found):
        assert each.maps.shape == (2, 3, 1, *shape)
        expected = model.inputs.attention_map(attention[:, number], batch)
        torch.testing.assert_close(each.maps.mean((1, 2)), expected.detach())
    (logits,) = latent_maps(model, batch, LatentMapsConfig(before_softmax=True, cross_attends=(1,)))
    assert logits.cross_attend == 1
    # Of the rows alone: elements of a row share its number.
    per_element = (logits.maps.flatten(3) - found[1].maps.flatten(3).log()).transpose(1, 2)[:, 0]
    torch.testing.assert_close(per_element, per_element[..., :1].expand_as(per_element), rtol=1e-4, atol=1e-4)


def test_latents_heads_and_cross_attends_are_chosen() -> None:
    torch.manual_seed(0)
    inputs = replace(IMAGE, bands=5)  # 26 channels, which two heads divide
    encoder = replace(ENCODER, num_latents=5, num_cross_attention_heads=2)
    model = Perceiver(PerceiverConfig(inputs=inputs, encoder=encoder, task=classes(2)))
    batch = pictures(None, count=2).batch([0, 1])
    whole = latent_maps(model, batch, LatentMapsConfig(heads="all"))
    assert whole[0].heads == (0, 1)
    assert whole[0].maps.shape == (2, 5, 2, 1, 6, 6)
    (some,) = latent_maps(model, batch, LatentMapsConfig(latents=(4, 1), heads=(1,), cross_attends=(2,)))
    assert (some.latents, some.heads) == ((4, 1), (1,))
    torch.testing.assert_close(some.maps, whole[2].maps[:, [4, 1]][:, :, [1]])
    mean = latent_maps(model, batch)[0]
    assert mean.heads == ()
    torch.testing.assert_close(mean.maps[:, :, 0], whole[0].maps.mean(2))


def test_several_modalities_and_absent_rows() -> None:
    """A map of each by name; logits are -inf where nothing is, weights 0."""
    model = small_model(FusionConfig(modalities={"image": IMAGE, "points": POINTS}), classes(2))
    samples = clouds(torch.arange(4) % 2)
    samples.tensors |= pictures(None, count=4).tensors
    batch = viewed(model, samples, range(4))  # type: ignore[arg-type]
    for before in (False, True):
        maps = latent_maps(model, batch, LatentMapsConfig(before_softmax=before))[0].maps
        assert maps["image"].shape == (4, 3, 1, 1, 6, 6)
        assert maps["points"].shape == (4, 3, 1, 12, 1)
        absent = maps["points"][0][..., 7:, :]
        assert (absent == (-torch.inf if before else 0)).all()


def test_what_the_model_does_not_have_is_refused() -> None:
    model, batch = small_model(IMAGE, classes(2)), pictures(None).batch([0])
    for config, message in (
        (LatentMapsConfig(latents=(3,)), "no latent at index 3, which is number 4: the model has 3"),
        (LatentMapsConfig(heads=(1,)), "no head at index 1, which is number 2: the model has 1"),
        (LatentMapsConfig(cross_attends=(0, 7)), "no cross-attend at index 7, which is number 8: the model has 3"),
    ):
        with pytest.raises(InputError, match=message):
            latent_maps(model, batch, config)


def test_shades() -> None:
    """Even attention is half strength; what speaks against a class is nothing; absent logits are nothing."""
    torch.testing.assert_close(shades(torch.full((2, 4), 0.25)), torch.full((2, 4), 0.5))
    assert shades(torch.tensor([-3.0, 0.0, 1.0, 9.0])).tolist() == pytest.approx([0, 0, 0.1, 0.9])
    assert shades(torch.tensor([-torch.inf, -2.0, 2.0]), before_softmax=True).tolist() == [0, 0, 1]
    assert not shades(torch.zeros(3)).any()
