"""RandAugment (Cubuk et al. 2020) with the sixteen operations and the magnitudes of Perceiver's authors, on pictures of
Pillow's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

Picture: TypeAlias = Image.Image

LARGEST = 10  # magnitude
GREY = 128  # of pixels that come in from outside, and of cut out boxes


@dataclass(frozen=True)
class Operation:
    """One of the operations.

    Attributes:
        apply: takes a picture and the strength.
        strength: at a magnitude.
        signed: whether the strength is negative half of the time.
        in_pixels: whether the strength is a number of pixels.
    """

    apply: Callable[[Picture, Any], Picture]
    strength: Callable[[float], float] = lambda magnitude: 0.0
    signed: bool = False
    in_pixels: bool = False


def randaugment(
    pixels: np.ndarray, *, layers: int, magnitude: float, scale: float = 1.0, random: np.random.Generator
) -> np.ndarray:
    """A picture after ``layers`` operations, each drawn from all sixteen, so that one may come twice.

    Args:
        pixels: uint8, height × width × 1 or 3.
        layers: how many operations.
        magnitude: of all of them, 0 to 10.
        scale: of shifts and boxes, which are in pixels of ImageNet's pictures: below 1 for smaller pictures.
        random: of the operations, their signs and the places of boxes.

    Returns:
        uint8, in the shape of ``pixels``.

    >>> randaugment(np.zeros((6, 8, 3), np.uint8), layers=4, magnitude=5, random=np.random.default_rng(0)).shape
    (6, 8, 3)
    """
    grey = pixels.shape[2] == 1
    picture = Image.fromarray(pixels[..., 0] if grey else pixels)
    for _ in range(layers):
        name = str(random.choice(list(OPERATIONS)))
        operation, (sign, *middle) = OPERATIONS[name], random.random(3)
        strength = operation.strength(magnitude) * (scale if operation.in_pixels else 1)
        if operation.signed and sign < 0.5:
            strength = -strength
        picture = operation.apply(picture, (strength, *middle) if name == "cutout" else strength)
    changed = np.asarray(picture, np.uint8)
    return changed[..., None] if grey else changed


def _fill(picture: Picture) -> int | tuple[int, ...]:
    return GREY if picture.mode == "L" else (GREY,) * len(picture.getbands())


def _moved(picture: Picture, *coefficients: float) -> Picture:
    """The picture whose pixel at (x, y) is that at (a x + b y + c, d x + e y + f), the nearest one."""
    return picture.transform(picture.size, Image.Transform.AFFINE, coefficients, fillcolor=_fill(picture))


def _rotated(picture: Picture, degrees: float) -> Picture:
    return picture.rotate(degrees, fillcolor=_fill(picture))


def _posterized(picture: Picture, bits: int) -> Picture:
    """The highest bits of all values; below magnitude 2.5 there is none, which makes the authors' picture black too."""
    return _mapped(picture, [value >> (8 - bits) << (8 - bits) for value in range(256)])


def _with_added(picture: Picture, amount: float) -> Picture:
    """The dark half of all values made lighter by ``amount``."""
    return _mapped(picture, [min(255, value + int(amount)) if value < GREY else value for value in range(256)])


def _mapped(picture: Picture, table: list[int]) -> Picture:
    return picture.point(table * len(picture.getbands()))


def _cut_out(picture: Picture, box: tuple[float, float, float]) -> Picture:
    """Grey in a box, of which half the side and the middle (in shares of width and height) are given."""
    half, across, down = box
    left, top = int(across * picture.width) - int(half), int(down * picture.height) - int(half)
    changed = picture.copy()
    if half >= 1:
        changed.paste(_fill(picture), (left, top, left + 2 * int(half), top + 2 * int(half)))
    return changed


def _enhanced(enhancer: Callable[[Picture], Any]) -> Callable[[Picture, float], Picture]:
    """Nothing changes at a factor of 1, which is that of magnitude 5."""
    return lambda picture, factor: picture if factor == 1 else enhancer(picture).enhance(factor)


def _factor(magnitude: float) -> float:
    return 0.1 + 1.8 * magnitude / LARGEST


OPERATIONS: Mapping[str, Operation] = {
    "auto_contrast": Operation(lambda picture, _: ImageOps.autocontrast(picture)),
    "equalize": Operation(lambda picture, _: ImageOps.equalize(picture)),
    "invert": Operation(lambda picture, _: ImageOps.invert(picture)),
    "rotate": Operation(_rotated, lambda magnitude: 30 * magnitude / LARGEST, signed=True),
    "posterize": Operation(_posterized, lambda magnitude: int(4 * magnitude / LARGEST)),
    "solarize": Operation(ImageOps.solarize, lambda magnitude: int(256 * magnitude / LARGEST)),
    "color": Operation(_enhanced(ImageEnhance.Color), _factor),
    "contrast": Operation(_enhanced(ImageEnhance.Contrast), _factor),
    "brightness": Operation(_enhanced(ImageEnhance.Brightness), _factor),
    "sharpness": Operation(_enhanced(ImageEnhance.Sharpness), _factor),
    "shear_x": Operation(
        lambda picture, share: _moved(picture, 1, share, 0, 0, 1, 0),
        lambda magnitude: 0.3 * magnitude / LARGEST,
        signed=True,
    ),
    "shear_y": Operation(
        lambda picture, share: _moved(picture, 1, 0, 0, share, 1, 0),
        lambda magnitude: 0.3 * magnitude / LARGEST,
        signed=True,
    ),
    "translate_x": Operation(
        lambda picture, pixels: _moved(picture, 1, 0, pixels, 0, 1, 0),
        lambda magnitude: 100 * magnitude / LARGEST,
        signed=True,
        in_pixels=True,
    ),
    "translate_y": Operation(
        lambda picture, pixels: _moved(picture, 1, 0, 0, 0, 1, pixels),
        lambda magnitude: 100 * magnitude / LARGEST,
        signed=True,
        in_pixels=True,
    ),
    "cutout": Operation(_cut_out, lambda magnitude: int(40 * magnitude / LARGEST), in_pixels=True),
    "solarize_add": Operation(_with_added, lambda magnitude: int(110 * magnitude / LARGEST)),
}
