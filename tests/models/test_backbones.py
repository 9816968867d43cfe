"""The laws of every backbone in BACKBONES, and what the paper's baselines are."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from builders import MASKED, mask_of, normal, shake
from sensorium.errors import InputError
from sensorium.models.backbones import BACKBONES, build_backbone
from sensorium.models.baselines.lucidrains import Lucidrains, LucidrainsConfig
from sensorium.models.baselines.resnet import ResNet, ResNetConfig
from sensorium.models.baselines.rows import present_grid
from sensorium.models.baselines.transformer import Transformer, TransformerConfig
from sensorium.models.baselines.vit import ViT, ViTConfig, padded_patches
from sensorium.nn import EncoderConfig
from sensorium.nn.byte_array import ByteArray, GridPositions, PointPositions, Segment

POSITIONS = 4
SHAPES = {1: (21,), 2: (6, 5), 3: (3, 4, 5)}  # by the number of axes
CONFIGS: dict[str, Any] = {
    "perceiver": EncoderConfig(num_latents=3, latent_channels=8, num_layers=1, num_self_attention_heads=2),
    "resnet": ResNetConfig(width=2, blocks=(1, 2), stem="plain"),
    "vit": ViTConfig(patch=(2, 2), channels=8, num_layers=2, num_heads=2, mlp_ratio=2),
    "transformer": TransformerConfig(channels=8, num_layers=2, num_heads=2, mlp_ratio=2),
    "lucidrains": LucidrainsConfig(num_latents=3, latent_channels=8, cross_attends=2, num_layers=1, num_heads=2),
}
OF_GRIDS = ("resnet", "vit")


def case(kind: str, *, axes: int) -> Any:
    """A small configuration of a backbone for a grid of so many axes; points where it is 0."""
    config = CONFIGS[kind]
    if kind == "resnet":
        return replace(config, axes=axes)
    return replace(config, patch=(2,) * axes) if kind == "vit" else config


CASES = [
    pytest.param(kind, axes, id=f"{kind}-{axes}")
    for kind in BACKBONES
    for axes in (0, 1, 2, 3)
    if axes or kind not in OF_GRIDS
]


def array_of(axes: int, values: Tensor, mask: Tensor | None) -> ByteArray:
    """A byte array of one segment: a grid of so many axes, or points."""
    shape = SHAPES.get(axes, ())
    tables = tuple(normal(side, POSITIONS, seed=9 + axis) for axis, side in enumerate(shape))
    positions = GridPositions(tables) if axes else PointPositions(normal(*values.shape[:2], POSITIONS, seed=9))
    return ByteArray((Segment("signal", values, positions, mask=mask),))


def built(kind: str, axes: int) -> tuple[nn.Module, Tensor]:
    """A shaken backbone in evaluation mode, and the values of three examples."""
    torch.manual_seed(0)
    module = shake(build_backbone(case(kind, axes=axes), channels=2 + POSITIONS, names=("signal",)))
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.add_(0.3)  # so that nothing is zero by chance
    rows = torch.Size(SHAPES[axes]).numel() if axes else 11
    return module.eval(), normal(3, rows, 2)


def test_every_backbone_has_a_case() -> None:
    assert CONFIGS.keys() == BACKBONES.keys()
    assert all(config.kind == kind for kind, config in CONFIGS.items())


@pytest.mark.parametrize(("kind", "axes"), CASES)
@pytest.mark.parametrize("masked", MASKED)
def test_latents_are_as_declared_and_finite(kind: str, axes: int, masked: str) -> None:
    """Also of an example without any row."""
    module, values = built(kind, axes)
    latents = module(array_of(axes, values, mask_of(*values.shape[:2], masked)))
    config = case(kind, axes=axes)
    assert latents.shape == (3, config.num_latents, config.latent_channels)
    assert (module.num_latents, module.latent_channels) == (config.num_latents, config.latent_channels)
    assert latents.isfinite().all()


@pytest.mark.parametrize(("kind", "axes"), CASES)
@pytest.mark.parametrize("training", [False, True])
def test_masked_rows_are_never_read(kind: str, axes: int, training: bool) -> None:
    """Whatever they hold, the latents are the same; a present row is read."""
    module, values = built(kind, axes)
    module.train(training)
    mask = mask_of(*values.shape[:2], "some")
    assert mask is not None
    other = values.masked_fill(~mask[..., None], 1e6)
    latents = module(array_of(axes, values, mask))
    torch.testing.assert_close(module(array_of(axes, other, mask)), latents)
    changed = values + 0.5 * mask[..., None]
    assert not torch.allclose(module(array_of(axes, changed, mask)), latents, atol=1e-6)


@pytest.mark.parametrize(("kind", "axes"), CASES)
@pytest.mark.parametrize("masked", MASKED)
def test_an_example_does_not_depend_on_its_batch_mates(kind: str, axes: int, masked: str) -> None:
    """In evaluation."""
    module, values = built(kind, axes)
    mask = mask_of(*values.shape[:2], masked)
    together = module(array_of(axes, values, mask))
    for index in range(len(values)):
        own = slice(index, index + 1)
        array = array_of(axes, values, mask)
        (segment,) = array.segments
        positions = segment.positions
        if isinstance(positions, PointPositions):
            positions = PointPositions(positions.table[own])
        alone = replace(segment, values=values[own], positions=positions, mask=None if mask is None else mask[own])
        torch.testing.assert_close(module(ByteArray((alone,))), together[own])


@pytest.mark.parametrize("stem", ["plain", "strided"])
@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("length", [5, 8, 13])
def test_padding_changes_nothing(kind: str, length: int, stem: str) -> None:
    """A short series among longer ones, which is padded and masked, has the latents that it has alone."""
    config = case(kind, axes=1)
    config = replace(config, stem=stem) if kind == "resnet" else config
    torch.manual_seed(0)
    module = shake(build_backbone(config, channels=2 + POSITIONS, names=("signal",))).eval()
    table, values = normal(21, POSITIONS, seed=3), normal(1, 21, 2)
    mask = (torch.arange(21) < length)[None]
    padded = Segment("signal", values, GridPositions((table,)), mask=mask)
    alone = Segment("signal", values[:, :length], GridPositions((table[:length],)))
    torch.testing.assert_close(module(ByteArray((padded,))), module(ByteArray((alone,))))


@pytest.mark.parametrize(("kind", "axes"), CASES)
def test_checkpointing_changes_no_gradient(kind: str, axes: int) -> None:
    module, values = built(kind, axes)
    gradients = []
    for checkpointing in (False, True):
        module.zero_grad()
        module(
            array_of(axes, values, mask_of(*values.shape[:2], "some")), checkpointing=checkpointing
        ).sin().sum().backward()
        gradients.append([p.grad.clone() for p in module.parameters() if p.grad is not None])
    assert gradients[0]
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize("kind", [kind for kind in BACKBONES if kind not in OF_GRIDS])
def test_several_modalities_and_the_order_of_rows(kind: str) -> None:
    """What reads rows reads those of any segment, and their order is free."""
    module, values = built(kind, 0)
    positions = normal(3, 11, POSITIONS, seed=5)
    pieces = [slice(0, 4), slice(4, 11)]
    array = ByteArray(
        tuple(Segment(f"part {i}", values[:, at], PointPositions(positions[:, at])) for i, at in enumerate(pieces))
    )
    order = torch.randperm(11, generator=torch.Generator().manual_seed(0))
    shuffled = Segment("all", values[:, order], PointPositions(positions[:, order]))
    torch.testing.assert_close(module(array), module(ByteArray((shuffled,))))


@pytest.mark.parametrize("kind", OF_GRIDS)
def test_what_is_no_grid_is_refused(kind: str) -> None:
    """Points, several modalities, and grids with other axes: one line each."""
    module, values = built(kind, 2)
    grid = array_of(2, values, None).segments[0]
    for array in (array_of(0, values, None), array_of(1, normal(3, 21, 2), None), ByteArray((grid, grid))):
        with pytest.raises(InputError, match="reads one grid of 2 axes"):
            module(array)


def test_rows_are_put_back_on_their_grid() -> None:
    values = normal(2, 30, 3)
    grid, mask = present_grid(array_of(2, values, None), axes=2, reader="it")
    assert mask is None
    torch.testing.assert_close(grid[:, :3], values.unflatten(1, (6, 5)).permute(0, 3, 1, 2))


def test_patches_are_those_of_a_convolution() -> None:
    """A linear layer on patches is a convolution whose stride is its extent."""
    grid, weight = normal(2, 3, 6, 4), normal(5, 3, 3, 2, seed=4)
    rows = padded_patches(grid, (3, 2)) @ weight.permute(2, 3, 1, 0).flatten(0, 2)
    expected = torch.nn.functional.conv2d(grid, weight, stride=(3, 2)).flatten(2).mT
    torch.testing.assert_close(rows, expected)


# -- golden counts, published


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_resnet_50_has_its_published_parameters() -> None:
    """25,557,032 with RGB and 1,000 classes."""
    with torch.device("meta"):
        resnet = ResNet(ResNetConfig(), channels=3)
        head = nn.Linear(resnet.latent_channels, 1000)
    assert parameters(resnet) + parameters(head) == 25_557_032


def test_vit_b_has_its_published_parameters() -> None:
    """86,567,656 of ViT-B/16, less its learned positions: of 196 patches and the class token."""
    with torch.device("meta"):
        vit = ViT(ViTConfig(), channels=3)
        head = nn.Linear(vit.latent_channels, 1000)
    assert parameters(vit) + parameters(head) == 86_567_656 - 197 * 768
    with torch.device("meta"):
        transformer = Transformer(TransformerConfig(), channels=768)
    assert parameters(transformer) == parameters(vit) - 768  # no class token


def test_resnet_leaves_the_paper_s_grid() -> None:
    """7 × 7 positions of 224 × 224 pixels, and all channels of the last stage."""
    seen = {}
    resnet = ResNet(ResNetConfig(width=1), channels=1).eval()
    resnet.bottlenecks[-1].register_forward_hook(lambda module, inputs, output: seen.update(shape=output[0].shape))
    tables = (torch.zeros(224, 1), torch.zeros(224, 1))
    resnet(ByteArray((Segment("image", torch.rand(1, 224 * 224, 0), GridPositions(tables)),)))
    assert seen["shape"] == (1, 32, 7, 7)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "perceiver_pytorch", None)
    with pytest.raises(InputError, match=r"pip install 'sensorium\[compare\]'"):
        Lucidrains(LucidrainsConfig(), channels=4)
