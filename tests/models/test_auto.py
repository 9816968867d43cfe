"""What ``auto`` chooses for the amount of data."""

from __future__ import annotations

import pytest

from sensorium.modalities import FusionConfig, ImageConfig
from sensorium.models.auto import Facts, choose_inputs
from sensorium.models.auto.inputs import COLOUR_OF_FEW, FEW_PICTURES


@pytest.mark.parametrize(
    ("task", "examples", "channels", "colour"),
    [
        ("classify", FEW_PICTURES - 1, 3, COLOUR_OF_FEW),
        ("classify", FEW_PICTURES, 3, 0.0),
        ("classify", FEW_PICTURES - 1, 1, 0.0),
        ("reconstruct", FEW_PICTURES - 1, 3, 0.0),
    ],
)
def test_the_colours_of_few_pictures_vary(task: str, examples: int, channels: int, colour: float) -> None:
    """Of pictures in colour that have one answer each, among several signals, too."""
    picture = ImageConfig(size=(32, 32), channels=channels, mean=(0.5,) * channels, std=(0.2,) * channels)
    facts = Facts(task=task, examples=examples)
    assert choose_inputs(picture, facts).colour == colour
    assert choose_inputs(FusionConfig(modalities={"photo": picture}), facts).modalities["photo"].colour == colour


def test_measured_values_keep_their_colours() -> None:
    """Three bands of a satellite are no colours."""
    bands = ImageConfig(size=(32, 32), ranges=((0.0, 1.0),) * 3)
    assert choose_inputs(bands, Facts(task="classify", examples=10)).colour == 0.0
