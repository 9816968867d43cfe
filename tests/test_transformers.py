"""The published models as ``transformers`` has them: the same random weights, the same answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sensorium.core.perceiver import DecoderConfig, EncoderConfig
from sensorium.modalities import ImageConfig, TextConfig
from sensorium.modalities.stems import ConvolutionConfig, PointwiseConfig
from sensorium.model import Model, ModelConfig
from sensorium.tasks import ClassifyConfig, FillConfig

transformers = pytest.importorskip("transformers")

BLACK, UNIT = (0.0,) * 3, (1.0,) * 3
NAMES = (  # theirs -> ours, in this order
    ("perceiver.embeddings.latents", "encoder.latents"),
    ("perceiver.encoder.cross_attention.", "encoder.reads.0."),
    ("perceiver.encoder.self_attends.", "encoder.processes.0."),
    ("perceiver.decoder.decoder.", "perceiver.decoder."),
    ("perceiver.decoder.decoding_cross_attention.", "decoder.write."),
    ("perceiver.decoder.output_position_encodings.position_embeddings", "task.queries.table"),
    ("perceiver.decoder.final_layer.", "decoder.linear."),
    ("embedding_decoder.bias", "task.bias"),
    ("perceiver.input_preprocessor.embeddings.", "inputs.bytes."),
    ("perceiver.input_preprocessor.position_embeddings.weight", "inputs.places.table"),
    ("perceiver.input_preprocessor.position_embeddings.position_embeddings", "inputs.stem.places.table"),
    ("perceiver.input_preprocessor.positions_projection.", "inputs.stem.projection."),
    ("perceiver.input_preprocessor.convnet_1x1.", "inputs.stem.convolution."),
    ("perceiver.input_preprocessor.convnet.conv.", "inputs.stem.convolution."),
    ("perceiver.input_preprocessor.convnet.batchnorm.", "inputs.stem.norm."),
    (".attention.self.layernorm1.", ".query_norm."),
    (".attention.self.layernorm2.", ".input_norm."),
    (".attention.self.", ".attention."),
    (".attention.output.dense.", ".attention.out."),
    (".layernorm.", ".mlp_norm."),
    (".mlp.dense1.", ".mlp.0."),
    (".mlp.dense2.", ".mlp.2."),
)


def ours(name: str) -> str:
    for theirs, our in NAMES:
        name = name.replace(theirs, our)
    return name


def copied(theirs: nn.Module, config: ModelConfig) -> Model:
    """Our model with their weights, all of which are random first; every name of one is a name of the other."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in theirs.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(
                    torch.randn(tensor.shape, generator=generator) / (tensor.shape[-1] if tensor.ndim else 1) ** 0.5
                )
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
    model = Model(config)
    model.load_state_dict({ours(name): tensor for name, tensor in theirs.state_dict().items()})
    return model.eval()


def close(found: Tensor, expected: Tensor) -> None:
    """Within 1e-5 of the largest number."""
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


def their_config(**changes: object) -> object:
    shape: dict[str, object] = {
        "num_latents": 6,
        "d_latents": 32,
        "num_blocks": 2,
        "num_self_attends_per_block": 2,
        "num_self_attention_heads": 4,
        "num_cross_attention_heads": 1,
        "image_size": 16,
        "num_labels": 5,
    }
    return transformers.PerceiverConfig(**(shape | changes))


IMAGES = {
    "Fourier": (261, ImageConfig(size=(16, 16), bands=64, resolution=(224.0, 224.0), mean=BLACK, std=UNIT)),
    "Learned": (512, ImageConfig(size=(16, 16), stem=PointwiseConfig(), mean=BLACK, std=UNIT)),
    "ConvProcessing": (
        322,
        ImageConfig(
            size=(32, 32),
            stem=ConvolutionConfig(geometry="symmetric"),
            bands=64,
            resolution=(56.0, 56.0),
            mean=BLACK,
            std=UNIT,
        ),
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_classifiers_are_theirs(name: str) -> None:
    """All three, with their GELU, their geometry, and their residual of the query."""
    channels, inputs = IMAGES[name]
    theirs = getattr(transformers, f"PerceiverForImageClassification{name}")(their_config(d_model=channels)).eval()
    encoder = EncoderConfig(
        latents=6, width=32, reads=(0, None), processes=(0, 0), layers=2, process_heads=4, gelu="erf"
    )
    task = ClassifyConfig(classes=tuple("abcde"))
    model = copied(theirs, ModelConfig(inputs=inputs, encoder=encoder, decoder=DecoderConfig(gelu="erf"), task=task))
    pictures = torch.rand(2, 3, *inputs.size)
    with torch.no_grad():
        close(model({"image": pictures}).output, theirs(inputs=pictures).logits)


def test_the_byte_model_is_theirs() -> None:
    """At every present place of texts that are padded; they answer at absent ones too."""
    config = their_config(
        d_model=16,
        num_blocks=1,
        num_cross_attention_heads=4,
        qk_channels=16,
        v_channels=32,
        max_position_embeddings=12,
    )
    theirs = transformers.PerceiverForMaskedLM(config).eval()
    encoder = EncoderConfig(
        latents=6,
        width=32,
        reads=(0,),
        processes=(0,),
        layers=2,
        read_heads=4,
        process_heads=4,
        qk_channels=16,
        value_channels=32,
        gelu="erf",
    )
    decoder = DecoderConfig(heads=8, qk_channels=256, value_channels=16, residual=False, gelu="erf")
    inputs = TextConfig(length=12, channels=16)
    model = copied(theirs, ModelConfig(inputs=inputs, encoder=encoder, decoder=decoder, task=FillConfig()))
    numbers, mask = torch.randint(6, 262, (2, 12)), torch.ones(2, 12, dtype=torch.bool)
    mask[1, 7:] = False
    with torch.no_grad():
        found = model({"text": numbers, "text.mask": mask}).output
        close(found[mask], theirs(inputs=numbers, attention_mask=mask.long()).logits[mask])
