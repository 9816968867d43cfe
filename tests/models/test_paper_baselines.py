"""The baselines of the papers' tables: they compute what ``transformers``' layers compute, and are as large as said."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from builders import shake
from sensorium.errors import InputError
from sensorium.inference.costs import gigaflop
from sensorium.models import presets
from sensorium.models.baselines.resnet import ResNet, ResNetConfig
from sensorium.models.baselines.vit import ViT, ViTConfig
from sensorium.models.perceiver import Perceiver
from sensorium.nn.byte_array import ByteArray, Layout, Segment

transformers = pytest.importorskip("transformers")


def picture(count: int, channels: int, height: int, width: int) -> tuple[Tensor, ByteArray]:
    """Pictures as transformers takes them, and the byte array of their pixels."""
    images = torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(0)).double()
    return images, ByteArray((Segment("image", images.flatten(2).mT, layout=Layout((height, width))),))


def take_over(module: nn.Module, theirs: nn.Module) -> None:
    """The weights and the running statistics of another module whose tensors come in the same order and shapes."""
    ours, given = list(module.state_dict().values()), list(theirs.state_dict().values())
    assert [tensor.shape for tensor in ours] == [tensor.shape for tensor in given]
    for tensor, value in zip(ours, given, strict=True):
        tensor.copy_(value)


@pytest.mark.parametrize("training", [False, True])
def test_resnet_is_that_of_transformers(training: bool) -> None:
    """ResNet with ImageNet's first layers, of the same weights and running statistics, on any size."""
    from transformers.models.resnet.modeling_resnet import ResNetConfig as TheirConfig
    from transformers.models.resnet.modeling_resnet import ResNetModel

    their_config = TheirConfig(
        num_channels=3, embedding_size=4, hidden_sizes=[16, 32, 64], depths=[2, 1, 2], layer_type="bottleneck"
    )
    theirs = shake(ResNetModel(their_config))
    ours = ResNet(ResNetConfig(width=4, blocks=(2, 1, 2)), channels=3).double()
    convolutions = [ours.stem]
    for block in ours.bottlenecks:
        convolutions += [] if block.shortcut is None else [block.shortcut]
        convolutions += [block.reduce, block.middle, block.expand]
    take_over(nn.ModuleList(convolutions), theirs)
    ours.train(training)
    theirs.train(training)
    for size in ((32, 32), (37, 50)):
        images, array = picture(2, 3, *size)
        torch.testing.assert_close(ours(array)[:, 0], theirs(images).pooler_output.flatten(1))


def test_vit_is_that_of_transformers() -> None:
    """With learned positions and a class token, of the same weights."""
    from transformers.models.vit.modeling_vit import ViTConfig as TheirConfig
    from transformers.models.vit.modeling_vit import ViTModel

    config = ViTConfig(patch=(4, 4), channels=16, num_layers=2, num_heads=4, mlp_ratio=3, learned_positions=6)
    their_config = TheirConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        image_size=(8, 12),
        patch_size=4,
        num_channels=3,
        layer_norm_eps=1e-6,
    )
    theirs = shake(ViTModel(their_config, add_pooling_layer=False)).eval()
    ours = ViT(config, channels=3).double()
    values = dict(theirs.state_dict())
    with torch.no_grad():
        ours.class_token.copy_(values["embeddings.cls_token"][0, 0])
        assert ours.positions is not None
        ours.positions.table.copy_(values["embeddings.position_embeddings"][0])
        kernel = values["embeddings.patch_embeddings.projection.weight"]
        ours.embedding.weight.copy_(kernel.permute(0, 2, 3, 1).flatten(1))
        ours.embedding.bias.copy_(values["embeddings.patch_embeddings.projection.bias"])
        ours.blocks.norm.load_state_dict(theirs.layernorm.state_dict())
        for block, layer in zip(ours.blocks.blocks, theirs.layers, strict=True):
            attention = layer.attention
            for kind in ("weight", "bias"):
                parts = (attention.q_proj, attention.k_proj, attention.v_proj)
                getattr(block.projections, kind).copy_(torch.cat([getattr(part, kind) for part in parts]))
            block.out.load_state_dict(attention.o_proj.state_dict())
            block.attention_norm.load_state_dict(layer.layernorm_before.state_dict())
            block.mlp_norm.load_state_dict(layer.layernorm_after.state_dict())
            block.mlp[0].load_state_dict(layer.mlp.fc1.state_dict())
            block.mlp[2].load_state_dict(layer.mlp.fc2.state_dict())
    images, array = picture(2, 3, 8, 12)
    torch.testing.assert_close(ours(array)[:, 0], theirs(images).last_hidden_state[:, 0])


def test_other_patches_than_learned_positions_are_refused() -> None:
    vit = ViT(ViTConfig(patch=(4, 4), channels=8, num_layers=1, num_heads=2, learned_positions=6), channels=3).double()
    with pytest.raises(InputError, match="ViT: 4 patches; the model has learned positions of 6"):
        vit(picture(1, 3, 8, 8)[1])


# Parameters in all, operations of an example in 10⁹, channels of a row. Published are 25,557,032 and 4.1 · 2 of
# ResNet-50, 86,567,656 and 17.6 · 2 of ViT-B/16; Fourier features widen their first layer by 258 channels an element.
# The Transformers are six blocks of a latent transformer (6,301,696 each) between a first and a last layer. The
# Perceiver with learned positions is the one with Fourier features without its two cross-attends (2,776,395 each), with
# a narrower one and a position for each pixel.
COUNTS = {
    "perceiver-imagenet-learned": (44_912_254 - 2 * 2_776_395 + 2_407_585 + 50_176 * 128, 380.6, 131),
    "resnet50-imagenet": (25_557_032, 8.2, 3),
    "resnet50-imagenet-fourier": (25_557_032 + 258 * 7**2 * 64, 28.5, 261),
    "vit-b16-imagenet": (86_567_656, 35.1, 3),
    "vit-b16-imagenet-fourier": (86_567_656 + 258 * 16**2 * 768, 55.0, 261),
    "transformer-imagenet": (262 * 1024 + 6 * 6_301_696 + 2 * 1024 + 1025 * 1000, 723.7, 261),
    "resnet50-modelnet40": (24_794_216, 1.6, 387),
    "vit-b2-modelnet40": (86_649_640, 92.2, 387),
    "vit-b4-modelnet40": (89_937_448, 22.4, 387),
    "vit-b8-modelnet40": (104_138_536, 7.7, 387),
    "vit-b16-modelnet40": (161_183_272, 3.1, 387),
    "transformer-modelnet40": (388 * 1024 + 6 * 6_301_696 + 2 * 1024 + 1025 * 40, 239.8, 387),
}


@pytest.mark.parametrize("name", COUNTS)
def test_presets_of_the_tables(name: str) -> None:
    """Each has its size, and the recipe of the Perceiver that the table compares it with."""
    preset = presets.load(name)
    with torch.device("meta"):
        model = Perceiver(preset.model())
    parameters, operations, channels = COUNTS[name]
    assert (model.parameter_count(), model.inputs.channels) == (parameters, channels)
    assert gigaflop(model) == pytest.approx(operations, abs=0.05)
    compared_with = "perceiver-modelnet40" if "modelnet" in name else "perceiver-imagenet"
    assert preset.recipe == presets.load(compared_with).recipe
    assert preset.task == "classify"
    if name != "perceiver-imagenet-learned":
        assert preset.encoder.kind == name.split("-")[0].rstrip("50")


def test_learned_positions_begin_at_the_paper_s_scale() -> None:
    """A scale of 1 was best (App. B), cut at two standard deviations; only pictures of their size have positions."""
    from sensorium.modalities.image import Image, ImageConfig

    image = Image(ImageConfig(size=(32, 32), positions="learned"))
    table = image.position_embedding.table
    assert table.shape == (1024, 128)
    assert float(table.std()) == pytest.approx(0.88, abs=0.02)  # of a normal distribution that is cut at 2
    assert float(table.abs().max()) <= 2
    with pytest.raises(InputError, match="learned positions are of"):
        image.embed({"image": torch.rand(1, 3, 16, 16)})
