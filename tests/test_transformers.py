"""The published models as ``transformers`` has them: the same random weights, the same answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sensorium.core.perceiver import DecoderConfig, EncoderConfig
from sensorium.modalities import (
    AudioConfig,
    FusionConfig,
    ImageConfig,
    LabelConfig,
    PairConfig,
    TextConfig,
    VideoConfig,
)
from sensorium.modalities.stems import ConvolutionConfig, PointwiseConfig
from sensorium.model import Model, ModelConfig
from sensorium.tasks import ClassifyConfig, FillConfig, FlowConfig, ReconstructConfig

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
    ("perceiver.input_preprocessor.conv_after_patches.", "inputs.linear."),
    ("perceiver.input_preprocessor.padding.", "inputs.markers.of_"),
    ("perceiver.input_preprocessor.mask.", "task.tokens.of_"),
    ("perceiver.decoder.padding.", "task.markers.of_"),
    (
        "perceiver.decoder.modalities.label.decoder.output_position_encodings.position_embeddings",
        "task.queries.of_label.table",
    ),
    ("perceiver.output_postprocessor.modalities.", "task.heads.of_"),
    (".classifier.", "."),
    ("of_image", "of_video"),
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
    state = {ours(name): tensor for name, tensor in theirs.state_dict().items()}
    # A marker of theirs has an axis that ours has not.
    model.load_state_dict({name: tensor.reshape(model.state_dict()[name].shape) for name, tensor in state.items()})
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


def test_the_autoencoder_is_theirs() -> None:
    """At some pixels and sounds, and the class, which is hidden. Theirs does not run without a choice of places."""
    theirs = transformers.PerceiverForMultimodalAutoencoding(
        their_config(
            d_model=405,  # a row of sound and its code, and the least marker
            num_blocks=1,
            num_frames=2,
            image_size=4,
            audio_samples_per_frame=32,
            samples_per_patch=16,
            output_shape=[1, 2, 16, 16],
            output_num_channels=512,
        )
    ).eval()
    video = VideoConfig(
        frames=2, size=(16, 16), patch=(1, 4, 4), bands=32, resolution=(2.0, 4.0, 4.0), mean=BLACK, std=UNIT
    )
    sound = AudioConfig(samples=64, representation="raw", patch=(16, 1), bands=192, resolution=(64.0,))
    inputs = FusionConfig(modalities={"audio": sound, "video": video, "label": LabelConfig(classes=5)})
    encoder = EncoderConfig(latents=6, width=32, reads=(0,), processes=(0,), layers=2, process_heads=4, gelu="erf")
    decoder = DecoderConfig(channels=1024, residual=False, gelu="erf")
    task = ReconstructConfig(
        hidden={"label": 0.5}, tokens=True, elements=("video",), marker=2, spacing="published", outputs=512
    )
    model = copied(theirs, ModelConfig(inputs=inputs, encoder=encoder, decoder=decoder, task=task))
    batch = {"video": torch.rand(2, 2, 3, 16, 16), "audio": torch.rand(2, 64, 1) * 2 - 1}
    pixels, sounds = torch.tensor([0, 17, 300, 511]), torch.tensor([1, 3])
    where = torch.cat([sounds, 4 + pixels, torch.tensor([4 + 512])])
    with torch.no_grad():
        expected = theirs(
            inputs={"image": batch["video"], "audio": batch["audio"], "label": torch.zeros(2, 5)},
            subsampled_output_points={"image": pixels, "audio": sounds, "label": None},
        ).logits
        found = model(batch, where).output
    close(found["video"], expected["image"])
    close(found["audio"].flatten(1), expected["audio"])
    close(found["label"][:, 0], expected["label"])


def test_the_flow_is_theirs() -> None:
    """Of every pixel; they take the 27 pixels around it apart for each frame, and leave out the factor of 20."""
    height, width = 10, 14
    theirs = transformers.PerceiverForOpticalFlow(
        their_config(d_model=322, num_blocks=1, train_size=[height, width])
    ).eval()
    encoder = EncoderConfig(latents=6, width=32, reads=(0,), processes=(0,), layers=2, process_heads=4, gelu="erf")
    decoder = DecoderConfig(residual=False, gelu="erf")
    inputs = PairConfig(size=(height, width))
    model = copied(theirs, ModelConfig(inputs=inputs, encoder=encoder, decoder=decoder, task=FlowConfig()))
    frames = torch.rand(2, 2, 3, height, width)
    windows = torch.nn.functional.unfold((2 * frames - 1).flatten(0, 1), 3, padding=1)  # colours, then places
    windows = windows.view(2, 2, 3, 9, height, width).transpose(2, 3).flatten(2, 3)
    with torch.no_grad():
        close(model({"pair": frames}).flow, 20 * theirs(inputs=windows).logits.permute(0, 3, 1, 2))
