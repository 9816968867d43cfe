"""The stem of a pair of frames: how well each pixel of the first frame matches the pixels around it in the second."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...config import record
from ...errors import InputError
from .grid import GridStem, GridStemConfig, Stage


@record
class MatchStemConfig:
    """Convolutions over each frame, the match of every pixel with its surroundings in the other frame, and convolutions
    over both.

    Attributes:
        channels: of a row, before its positions.
        features: channels of a pixel that are compared.
        reach: pixels up, down, left and right of its own place that a pixel is compared with.
        blocks: residual blocks of two convolutions of 3 × 3, over the frames and again over the matches.
    """

    kind: Literal["match"] = "match"
    channels: int = 64
    features: int = 32
    reach: int = 8
    blocks: int = 2

    @property
    def num_displacements(self) -> int:
        """How many pixels of the second frame a pixel is compared with."""
        return (2 * self.reach + 1) ** 2


class MatchStem(nn.Module):
    """Rows that know where their pixel may have moved to.

    Both frames go through the same convolutions. The matches of a pixel are the products of its features with those of
    the pixels around its place in the second frame; beyond the edge they are zero. The displacement that a softmax over
    the matches expects is beside them, so that motion need not be decoded from single matches.

    >>> rows = MatchStem(MatchStemConfig(channels=8, features=4, reach=1))(torch.rand(5, 2, 6, 4, 3))
    >>> rows.shape
    torch.Size([5, 24, 8])

    Args:
        config: the configuration.
        colours: channels of a pixel.

    Raises:
        InputError: a number below 1.
    """

    def __init__(self, config: MatchStemConfig, *, colours: int = 3) -> None:
        super().__init__()
        if min(config.channels, config.features, config.reach) < 1:
            raise InputError("stem: channels, features and reach of matches must be positive")
        self.config = config
        self.frame = GridStem(_convolutions(config.features, config.blocks), channels=colours)
        both = config.features + config.num_displacements + 2
        self.pair = GridStem(_convolutions(config.channels, config.blocks), channels=both)
        self.sharpness = nn.Parameter(torch.tensor(1.0))
        steps = torch.arange(-config.reach, config.reach + 1, dtype=torch.float32) / config.reach
        self.displacements: Tensor
        self.register_buffer("displacements", torch.cartesian_prod(steps, steps), persistent=False)

    def forward(
        self, frames: Float[Tensor, "batch 2 height width colours"]
    ) -> Float[Tensor, "batch rows row_channels"]:
        """The rows of the first frame's pixels, line by line.

        Args:
            frames: floats around 0.
        """
        rows, _ = self.frame(frames.flatten(0, 1))
        first, second = rows.unflatten(1, frames.shape[2:4]).unflatten(0, (-1, 2)).unbind(1)
        matches = matches_of(first, second, reach=self.config.reach)
        expected = (self.sharpness * matches).softmax(-1) @ self.displacements
        pair: Tensor = self.pair(torch.cat([first, matches, expected], -1))[0]
        return pair


def matches_of(
    first: Float[Tensor, "batch height width channels"],
    second: Float[Tensor, "batch height width channels"],
    *,
    reach: int,
) -> Float[Tensor, "batch height width displacements"]:
    """The scaled products of each pixel of the first grid with the pixels of the second that are at most ``reach`` away
    along both axes, line by line; 0 beyond the edge.

    >>> one = torch.zeros(1, 3, 3, 4)
    >>> one[0, 1, 2] = 1.0
    >>> matches_of(one, one.roll(-1, 2), reach=1)[0, 1, 2].tolist()
    [0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    height, width, channels = first.shape[1:]
    padded = F.pad(second * channels**-0.5, (0, 0, reach, reach, reach, reach))
    count, lines = 2 * reach + 1, []
    for down in range(count):
        products = first @ padded[:, down : down + height].mT  # every pixel of a line with every one of another line
        # Of line x the products x to x + 2 · reach are wanted: with one more place in each line they stand in columns.
        skewed = F.pad(products.flatten(2), (0, width)).unflatten(2, (width, -1))
        lines.append(skewed[..., :count])
    return torch.cat(lines, -1)


def _convolutions(channels: int, blocks: int) -> GridStemConfig:
    stage = Stage(channels=channels, stride=(1, 1), kernel=(3, 3), dilations=(1,) * blocks)
    return GridStemConfig(stages=(stage,))
