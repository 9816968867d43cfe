"""RandAugment: each operation against its formula at the magnitudes of Perceiver's authors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from sensorium.modalities import randaugment as module
from sensorium.modalities.randaugment import OPERATIONS, randaugment

HEIGHT, WIDTH = 90, 120
COLOURS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
DOWN, ACROSS = np.mgrid[:HEIGHT, :WIDTH]

# At magnitudes 0, 5 and 10: degrees, bits that stay, the value above which colours are inverted, shares of the
# difference, shares of the other side, pixels, half a box's side in pixels, and what is added to values.
STRENGTHS = {
    "auto_contrast": (0, 0, 0),
    "equalize": (0, 0, 0),
    "invert": (0, 0, 0),
    "rotate": (0, 15, 30),
    "posterize": (0, 2, 4),
    "solarize": (0, 128, 256),
    "color": (0.1, 1.0, 1.9),
    "contrast": (0.1, 1.0, 1.9),
    "brightness": (0.1, 1.0, 1.9),
    "sharpness": (0.1, 1.0, 1.9),
    "shear_x": (0, 0.15, 0.3),
    "shear_y": (0, 0.15, 0.3),
    "translate_x": (0, 50, 100),
    "translate_y": (0, 50, 100),
    "cutout": (0, 20, 40),
    "solarize_add": (0, 55, 110),
}
SIGNED = {"rotate", "shear_x", "shear_y", "translate_x", "translate_y"}
IN_PIXELS = {"translate_x", "translate_y", "cutout"}


def operated(name: str, strength: float, pixels: np.ndarray = COLOURS) -> np.ndarray:
    """One operation on a picture."""
    argument = (strength, 0.5, 0.5) if name == "cutout" else strength
    return np.asarray(OPERATIONS[name].apply(Pillow.fromarray(pixels), argument))


def taken(down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """The pixels at these places, grey where there are none."""
    inside = (down >= 0) & (down < HEIGHT) & (across >= 0) & (across < WIDTH)
    return np.where(inside[..., None], COLOURS[down.clip(0, HEIGHT - 1), across.clip(0, WIDTH - 1)], 128)


def grey() -> np.ndarray:
    return (COLOURS @ [0.299, 0.587, 0.114]).round()[..., None]


def blended(base: np.ndarray | float, share: float) -> np.ndarray:
    return (base + share * (COLOURS - np.float64(base))).clip(0, 255)


def turned(degrees: float) -> np.ndarray:
    angle, x, y = np.radians(degrees), ACROSS - (WIDTH - 1) / 2, DOWN - (HEIGHT - 1) / 2
    across, down = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
    return taken(*((it + (side - 1) / 2).round().astype(int) for it, side in ((down, HEIGHT), (across, WIDTH))))


def equalized() -> np.ndarray:
    """With as many pixels of every value, as far as that goes."""
    result = np.empty_like(COLOURS)
    for channel in range(3):
        counts = np.bincount(COLOURS[..., channel].ravel(), minlength=256)
        step = (counts.sum() - counts[counts > 0][-1]) // 255
        table = (step // 2 + counts.cumsum() - counts) // step
        result[..., channel] = table.clip(0, 255)[COLOURS[..., channel]]
    return result


def boxed(half: int) -> np.ndarray:
    changed = COLOURS.copy()
    changed[45 - half : 45 + half, 60 - half : 60 + half] = 128
    return changed


def stretched() -> np.ndarray:
    low, high = COLOURS.min((0, 1)).astype(float), COLOURS.max((0, 1))
    return (COLOURS - low) * 255 / (high - low)


FORMULAS: dict[str, Callable[[float], np.ndarray]] = {
    "auto_contrast": lambda _: stretched(),
    "equalize": lambda _: equalized(),
    "invert": lambda _: 255 - COLOURS,
    "rotate": turned,
    "posterize": lambda bits: COLOURS // np.float64(2 ** (8 - bits)) * 2 ** (8 - bits),
    "solarize": lambda threshold: np.where(threshold > COLOURS, COLOURS, 255 - COLOURS),
    "color": lambda share: blended(grey(), share),
    "contrast": lambda share: blended(grey().mean().round(), share),
    "brightness": lambda share: blended(0, share),
    "sharpness": lambda share: blended(smooth(), share),
    "shear_x": lambda share: taken(DOWN, np.floor(ACROSS + 0.5 + share * (DOWN + 0.5)).astype(int)),
    "shear_y": lambda share: taken(np.floor(DOWN + 0.5 + share * (ACROSS + 0.5)).astype(int), ACROSS),
    "translate_x": lambda pixels: taken(DOWN, ACROSS + int(pixels)),
    "translate_y": lambda pixels: taken(DOWN + int(pixels), ACROSS),
    "cutout": lambda half: boxed(int(half)),
    "solarize_add": lambda amount: np.where(COLOURS < 128, (COLOURS + amount).clip(0, 255), COLOURS),
}


def smooth() -> np.ndarray:
    """Each pixel with an eighth more of its neighbours, five parts of thirteen its own; the border as it is."""
    result = COLOURS.astype(float)
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    inside = sum(
        (5 if (i, j) == (0, 0) else 1) * COLOURS[1 + i : HEIGHT - 1 + i, 1 + j : WIDTH - 1 + j].astype(float)
        for i, j in shifts
    )
    result[1:-1, 1:-1] = inside / 13
    return result


def test_the_operations_are_the_papers_sixteen() -> None:
    assert OPERATIONS.keys() == STRENGTHS.keys() == FORMULAS.keys()
    assert len(OPERATIONS) == 16
    assert {name for name, operation in OPERATIONS.items() if operation.signed} == SIGNED
    assert {name for name, operation in OPERATIONS.items() if operation.in_pixels} == IN_PIXELS


@pytest.mark.parametrize("name", STRENGTHS)
def test_strengths_grow_with_the_magnitude(name: str) -> None:
    """By the authors' table; the papers use magnitude 5."""
    strengths = [OPERATIONS[name].strength(magnitude) for magnitude in (0, 5, 10)]
    assert strengths == pytest.approx(STRENGTHS[name])


@pytest.mark.parametrize("magnitude", [0, 5, 7.5, 10])
@pytest.mark.parametrize("name", STRENGTHS)
def test_each_operation_is_its_formula(name: str, magnitude: float) -> None:
    """To two values of 255, by rounding; where pixels move, all but a few at equal distances from two others."""
    for sign in (1, -1) if name in SIGNED else (1,):
        strength = sign * OPERATIONS[name].strength(magnitude)
        apart = np.abs(operated(name, strength) - FORMULAS[name](strength).astype(float))
        assert (apart > 2).mean() < (0.02 if name in SIGNED else 1e-9)


@pytest.mark.parametrize("name", STRENGTHS)
def test_strengths_of_nothing_change_nothing(name: str) -> None:
    """What moves, cuts or adds does nothing at magnitude 0; what is enhanced, at the papers' magnitude 5. The authors'
    others have no magnitude of nothing."""
    neutral = {"color", "contrast", "brightness", "sharpness"}
    if name in SIGNED | {"cutout", "solarize_add"} | neutral:
        strength = OPERATIONS[name].strength(5 if name in neutral else 0)
        assert np.array_equal(operated(name, strength), COLOURS)


@pytest.mark.parametrize("channels", [1, 3])
def test_operations_are_drawn_for_each_picture_with_replacement(channels: int) -> None:
    """The seed decides; shape and type stay, no layers change nothing, and all operations come up, some twice."""
    pixels = COLOURS[..., :channels]
    drawn = [randaugment(pixels, layers=2, magnitude=5, random=np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert all(each.shape == pixels.shape and each.dtype == np.uint8 for each in drawn)
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    same = randaugment(pixels, layers=0, magnitude=5, random=np.random.default_rng(0))
    assert np.array_equal(same, pixels)


def test_every_operation_comes_up_as_often_as_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times in 64 layers, on average; signs are as often negative as positive."""
    seen: list[tuple[str, float]] = []

    def noting(name: str) -> Callable[..., Pillow.Image]:
        def note(picture: Pillow.Image, strength: object) -> Pillow.Image:
            seen.append((name, strength[0] if isinstance(strength, tuple) else strength))  # type: ignore[arg-type]
            return picture

        return note

    noted = {name: replace(operation, apply=noting(name)) for name, operation in OPERATIONS.items()}
    monkeypatch.setattr(module, "OPERATIONS", noted)
    random = np.random.default_rng(0)
    for _ in range(400):
        randaugment(COLOURS[:2, :2], layers=4, magnitude=5, scale=0.5, random=random)
    counts = {name: sum(each == name for each, _ in seen) for name in OPERATIONS}
    assert all(60 < count < 145 for count in counts.values()), counts
    turns = [strength for name, strength in seen if name == "rotate"]
    assert 0.3 < np.mean(np.array(turns) > 0) < 0.7
    assert {abs(strength) for name, strength in seen if name == "translate_x"} == {25}  # in proportion, half of 50
    pairs = [{name for name, _ in seen[4 * index : 4 * index + 4]} for index in range(400)]
    assert any(len(pair) < 4 for pair in pairs)
