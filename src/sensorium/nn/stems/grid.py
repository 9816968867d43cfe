"""The stem of a grid: convolutions along one, two or three axes, for series and sound, pictures and spectra, video and
volumes."""

from __future__ import annotations

from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...config import record
from ...errors import InputError
from ..initialisation import lecun


@record
class Stage:
    """A linear layer on patches, and residual blocks of convolutions on what it makes of them.

    The stride is in the linear layer because strided convolutions are several times slower than their arithmetic on a
    CPU; the blocks then overlap.

    Attributes:
        channels: of its output.
        stride: the extent of a patch along each axis.
        kernel: the size of the convolutions, along each axis.
        dilations: one for each residual block of two convolutions; empty: there are no blocks.
    """

    channels: int
    stride: tuple[int, ...]
    kernel: tuple[int, ...]
    dilations: tuple[int, ...] = ()


@record
class GridStemConfig:
    """Convolutions from the elements of a grid to its rows.

    Attributes:
        stages: from the elements to the rows; together their strides are what a row covers.
        changes: whether the stem also sees how each element differs from the one before it along the first axis. What
            moves in a video is a hundredth of what stands still: beside it, attention does not find it.
    """

    kind: Literal["grid"] = "grid"
    stages: tuple[Stage, ...]
    changes: bool = False

    @property
    def patch(self) -> tuple[int, ...]:
        """The elements that a row covers along each axis."""
        return tuple(prod(strides) for strides in zip(*(stage.stride for stage in self.stages), strict=True))

    @property
    def channels(self) -> int:
        """Of a row, before its positions."""
        return self.stages[-1].channels


class GridStem(nn.Module):
    """Convolutions over a grid whose rows then know what lies beside them.

    Every norm is over the channels of one place, so that a row depends neither on the other examples of a batch nor on
    how far an example is padded. What is masked is zero before every convolution, like the zeros beyond the edge.

    >>> config = GridStemConfig(stages=(Stage(channels=8, stride=(2, 2), kernel=(3, 3), dilations=(1,)),))
    >>> rows, mask = GridStem(config, channels=3)(torch.rand(5, 6, 4, 3))
    >>> rows.shape, mask
    (torch.Size([5, 6, 8]), None)

    Args:
        config: the configuration.
        channels: of an element of the grid.

    Raises:
        InputError: stages of different numbers of axes, or kernels of an even size.
    """

    def __init__(self, config: GridStemConfig, *, channels: int) -> None:
        super().__init__()
        axes = {len(sizes) for stage in config.stages for sizes in (stage.stride, stage.kernel)}
        if len(axes) != 1 or not axes <= {1, 2, 3}:
            raise InputError(f"stem: stages have {sorted(axes)} axes; give each a stride and a kernel along all axes")
        even = [stage.kernel for stage in config.stages if any(kernel % 2 == 0 for kernel in stage.kernel)]
        if even:
            raise InputError(f"stem: kernels of {even[0]} have no middle; give odd sizes")
        self.config = config
        sizes = [channels * (1 + config.changes), *(stage.channels for stage in config.stages)]
        self.stages = nn.ModuleList(map(_Stage, config.stages, sizes))
        self.norm = nn.LayerNorm(config.channels)

    def forward(
        self, signal: Float[Tensor, "batch *axes channels"], mask: Bool[Tensor, " batch *axes"] | None = None
    ) -> tuple[Float[Tensor, "batch rows row_channels"], Bool[Tensor, "batch rows"] | None]:
        """The rows, in the order of the axes, and their mask.

        Args:
            signal: zeros are added after the end of an axis that does not hold whole strides.
            mask: True = present; a row is present where any of its elements is.
        """
        shape = signal.shape[1:-1]
        missing = [-size % patch for size, patch in zip(shape, self.config.patch, strict=True)]
        if any(missing):
            mask = signal.new_ones(signal.shape[:-1], dtype=torch.bool) if mask is None else mask
            pads = [pad for size in reversed(missing) for pad in (0, size)]
            signal, mask = F.pad(signal, (0, 0, *pads)), F.pad(mask, pads)
        if self.config.changes:
            signal = torch.cat([signal, changes_of(signal, mask)], dim=-1)
        for stage in self.stages:
            signal, mask = stage(signal, mask)
        rows = self.norm(signal).flatten(1, -2)
        return rows, None if mask is None else mask.flatten(1)


def changes_of(
    signal: Float[Tensor, "batch *axes channels"], mask: Bool[Tensor, " batch *axes"] | None = None
) -> Float[Tensor, "batch *axes channels"]:
    """How each element differs from the one before it along the first axis, in units of the example's root mean square.

    It is zero where there is none before, and where either is masked. What an example's differences have in size is
    left out, because it is that of the light and of the camera.

    >>> changes_of(torch.tensor([[0.0, 3.0, 3.0, 7.0]])[..., None]).flatten()
    tensor([0.0000, 1.0392, 0.0000, 1.3856])
    """
    changes = torch.diff(signal, dim=1)
    count = torch.full((len(signal),), changes[0].numel(), device=signal.device)
    if mask is not None:
        both = mask[:, 1:] & mask[:, :-1]
        changes = torch.where(both[..., None], changes, 0.0)
        count = both.flatten(1).sum(1) * signal.shape[-1]
    mean_square = changes.square().flatten(1).sum(1) / count.clamp(min=1)
    scale = (mean_square + 1e-6).rsqrt().view(-1, *[1] * (signal.ndim - 1))
    return torch.cat([torch.zeros_like(signal[:, :1]), changes * scale], dim=1)


class _Stage(nn.Module):
    """A linear layer on patches and residual blocks."""

    def __init__(self, config: Stage, channels: int) -> None:
        super().__init__()
        self.stride = config.stride
        self.projection = lecun(nn.Linear(channels * prod(config.stride), config.channels))
        self.blocks = nn.ModuleList(
            ConvolutionBlock(config.channels, kernel=config.kernel, dilation=dilation) for dilation in config.dilations
        )

    def forward(self, signal: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        signal = self.projection(patches_of(_present(signal, mask), self.stride))
        if mask is not None:
            mask = patches_of(mask[..., None], self.stride).any(-1)
        for block in self.blocks:
            signal = block(signal, mask)
        return signal, mask


class ConvolutionBlock(nn.Module):
    """Two convolutions around which the signal goes on unchanged; the second starts at zero. ``dropout`` is the share
    of the channels between the two that training sets to zero."""

    def __init__(self, channels: int, *, kernel: tuple[int, ...], dilation: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)
        self.expand = _Convolution(channels, kernel=kernel, dilation=dilation)
        self.inner_norm = nn.LayerNorm(channels)
        self.project = _Convolution(channels, kernel=kernel, dilation=dilation)
        nn.init.zeros_(self.project.weight)

    def forward(self, signal: Tensor, mask: Tensor | None) -> Tensor:
        inner = self.expand(_present(F.gelu(self.norm(signal)), mask))
        update: Tensor = self.project(_present(self.dropout(F.gelu(self.inner_norm(inner))), mask))
        return signal + update


class _Convolution(nn.Module):
    """A convolution of batch × axes × channels that keeps the axes' sizes. Its weight is a matrix, as that of a linear
    layer is, so that the same optimizer takes it."""

    def __init__(self, channels: int, *, kernel: tuple[int, ...], dilation: int) -> None:
        super().__init__()
        # A single axis becomes the second of two, for which torch has fast kernels.
        self.kernel = kernel if len(kernel) > 1 else (1, *kernel)
        self.dilation = tuple(dilation if size > 1 else 1 for size in self.kernel)
        self.padding = tuple(step * (size // 2) for size, step in zip(self.kernel, self.dilation, strict=True))
        linear = lecun(nn.Linear(channels * prod(kernel), channels))
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, signal: Tensor) -> Tensor:
        if single := signal.ndim == 3:
            signal = signal.unsqueeze(1)
        convolution = F.conv3d if len(self.kernel) == 3 else F.conv2d
        # In memory the channels come last, of signals and of weights: to move their axis copies nothing.
        weight = self.weight.unflatten(1, (*self.kernel, -1)).movedim(-1, 1)
        result = convolution(
            signal.movedim(-1, 1), weight, self.bias, padding=self.padding, dilation=self.dilation
        ).movedim(1, -1)
        return result.squeeze(1) if single else result


def _present(signal: Tensor, mask: Tensor | None) -> Tensor:
    return signal if mask is None else signal * mask[..., None]


def patches_of(signal: Tensor, stride: tuple[int, ...]) -> Tensor:
    """batch × axes × channels as batch × patches along the axes × (elements of a patch · channels).

    >>> patches_of(torch.zeros(2, 6, 4, 3), (2, 2)).shape
    torch.Size([2, 3, 2, 12])
    """
    axes = len(stride)
    for axis, step in enumerate(stride):
        signal = signal.unflatten(1 + 2 * axis, (-1, step))
    outer, inner = range(1, 2 * axes, 2), range(2, 2 * axes + 1, 2)
    return signal.permute(0, *outer, *inner, -1).flatten(axes + 1)
