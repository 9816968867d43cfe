"""ResNet with bottlenecks (He et al. 2016, Table 1), for grids of one, two or three axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ...config import record
from ...errors import InputError
from ...nn.byte_array import ByteArray
from .base import Network
from .rows import masked_mean, present_grid

EXPANSION = 4  # channels of a bottleneck's output, in units of its own
CONVOLUTIONS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS: dict[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOLINGS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


@record
class ResNetConfig:
    """The shape of a ResNet. Defaults are ResNet-50.

    Attributes:
        axes: of the grid that it reads: 1 for series and sound, 2 for pictures and spectrograms, 3 for video and
            volumes.
        width: channels of the first convolution; 64 in ResNet-50.
        blocks: bottlenecks of each of the stages; every stage but the first halves the grid and doubles the channels.
        stem: the first layers: ``strided``, ImageNet's convolution of 7 and pooling of 3, each of stride 2; or
            ``plain``, a convolution of 3 without stride, which is usual for small pictures such as CIFAR's.
    """

    kind: Literal["resnet"] = "resnet"
    axes: int = 2
    width: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    stem: Literal["strided", "plain"] = "strided"

    @property
    def num_latents(self) -> int:
        """Latents of an example."""
        return 1

    @property
    def latent_channels(self) -> int:
        """Channels of the last stage."""
        return self.width * 2 ** (len(self.blocks) - 1) * EXPANSION


class ResNet(Network):
    """Convolutions with batch norms over a grid of rows, and the mean of what they leave: one latent.

    Every layer sets what lies outside of the mask to zero, as the padding of a convolution does, so that no masked row
    is read and padding changes nothing.

    Args:
        config: the shape.
        channels: of a row of the byte array.
        names: of the modalities in it.

    Raises:
        InputError: a number of axes other than 1, 2 or 3.

    >>> sum(parameter.numel() for parameter in ResNet(ResNetConfig(), channels=3).parameters()) + 2048 * 1000 + 1000
    25557032
    """

    config: ResNetConfig

    def __init__(self, config: ResNetConfig, *, channels: int, names: Sequence[str] | None = None) -> None:
        super().__init__()
        if config.axes not in CONVOLUTIONS:
            raise InputError(f"ResNet: a grid of {config.axes} axes; it reads 1, 2 or 3")
        self.config = config
        extent, stride = (7, 2) if config.stem == "strided" else (3, 1)
        self.stem = Convolution(config.axes, channels, config.width, extent=extent, stride=stride)
        stages, incoming = list[nn.Module](), config.width
        for stage, count in enumerate(config.blocks):
            width = config.width * 2**stage
            for block in range(count):
                stride = 2 if stage and not block else 1
                stages.append(Bottleneck(config.axes, incoming, width, stride=stride))
                incoming = width * EXPANSION
        self.bottlenecks = nn.ModuleList(stages)

    def forward(self, array: ByteArray, *, checkpointing: bool = False) -> Tensor:
        """batch × 1 × latent channels; zeros for an example without rows.

        Args:
            array: of one modality whose rows lie on a grid.
            checkpointing: is not used: a batch norm would count each pass twice.

        Raises:
            InputError: rows that do not lie on a grid of ``axes`` axes.
        """
        grid, mask = present_grid(array, axes=self.config.axes, reader="ResNet")
        if not array.num_rows:
            return grid.new_zeros(array.batch, 1, self.latent_channels)
        grid, mask = self.stem(grid, mask)
        grid = F.relu(grid)
        if self.config.stem == "strided":
            grid = POOLINGS[self.config.axes](grid, 3, stride=2, padding=1)
            grid, mask = masked(grid, halved(mask, self.config.axes))
        for bottleneck in self.bottlenecks:
            grid, mask = bottleneck(grid, mask)
        return masked_mean(grid.flatten(2).mT, None if mask is None else mask.flatten(1))[:, None]


class Convolution(nn.Module):
    """A convolution without bias and its batch norm; what is not present is zero afterwards.

    Args:
        axes: of the grid.
        incoming, outgoing: channels.
        extent: of the kernel, along every axis.
        stride: along every axis, 1 or 2.
    """

    def __init__(self, axes: int, incoming: int, outgoing: int, *, extent: int, stride: int = 1) -> None:
        super().__init__()
        self.axes, self.stride = axes, stride
        convolution: Any = CONVOLUTIONS[axes]
        self.convolution = convolution(incoming, outgoing, extent, stride=stride, padding=extent // 2, bias=False)
        self.norm = NORMS[axes](outgoing)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, grid: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """batch × outgoing × grid, and batch × 1 × grid, True = present."""
        mask = mask if self.stride == 1 else halved(mask, self.axes)
        return masked(self.norm(self.convolution(grid)), mask)


class Bottleneck(nn.Module):
    """Convolutions of 1, 3 and 1, with a residual; the stride is that of the middle one.

    Args:
        axes: of the grid.
        incoming: channels.
        width: channels inside; four times as many come out.
        stride: along every axis.
    """

    def __init__(self, axes: int, incoming: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        outgoing = width * EXPANSION
        self.reduce = Convolution(axes, incoming, width, extent=1)
        self.middle = Convolution(axes, width, width, extent=3, stride=stride)
        self.expand = Convolution(axes, width, outgoing, extent=1)
        changes = stride > 1 or incoming != outgoing
        self.shortcut = Convolution(axes, incoming, outgoing, extent=1, stride=stride) if changes else None

    def forward(self, grid: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """batch × 4 · width × grid, and its mask."""
        residual = grid if self.shortcut is None else self.shortcut(grid, mask)[0]
        grid, mask = self.reduce(grid, mask)
        grid, mask = self.middle(F.relu(grid), mask)
        grid, mask = self.expand(F.relu(grid), mask)
        return F.relu(grid + residual), mask


def masked(grid: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The grid with zeros where nothing is present, and the mask."""
    return (grid, None) if mask is None else (grid.masked_fill(~mask, 0.0), mask)


def halved(mask: Tensor | None, axes: int) -> Tensor | None:
    """The mask (batch × 1 × grid) after a stride of 2: present where any of the two rows along each axis is."""
    if mask is None:
        return None
    return POOLINGS[axes](mask.float(), 2, stride=2, ceil_mode=True) > 0
