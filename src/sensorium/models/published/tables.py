"""The tables of names: what each weight is called here, in ``transformers`` and in the authors' haiku."""

from __future__ import annotations

from typing import TypeAlias

Row: TypeAlias = tuple[str, str, str, str]  # the part that it is, our name, the name in transformers, the name in haiku


def _encoder(scope: str = "perceiver_encoder") -> tuple[Row, ...]:
    return (
        ("same", "encoder.latents", "perceiver.embeddings.latents", f"{scope}/~/trainable_position_encoding/pos_embs"),
        (
            "cross-attention",
            "encoder.cross_attention.0",
            "perceiver.encoder.cross_attention",
            f"{scope}/~/cross_attention",
        ),
        (
            "self-attention",
            "encoder.latent_transformer.0.{layer}",
            "perceiver.encoder.self_attends.{layer}",
            f"{scope}/~/self_attention{{_layer}}",
        ),
    )


def _decoder(scope: str) -> tuple[Row, ...]:
    theirs = "perceiver.decoder.decoder"
    return (
        (
            "cross-attention",
            "decoder.cross_attention",
            f"{theirs}.decoding_cross_attention",
            f"{scope}/~/basic_decoder/cross_attention",
        ),
        ("linear", "decoder.linear", f"{theirs}.final_layer", f"{scope}/~/basic_decoder/output"),
    )


LABEL_QUERY = "classification_decoder/~/basic_decoder/~/trainable_position_encoding/pos_embs"
CLASSIFIER: tuple[Row, ...] = (
    *_encoder(),
    *_decoder("classification_decoder"),
    (
        "same",
        "task.learned_queries.table",
        "perceiver.decoder.decoder.output_position_encodings.position_embeddings",
        LABEL_QUERY,
    ),
)
LEARNED: tuple[Row, ...] = (
    *CLASSIFIER,
    (
        "convolution",
        "inputs.stem.convolution",
        "perceiver.input_preprocessor.convnet_1x1",
        "image_preprocessor/~/conv2_d",
    ),
    (
        "same",
        "inputs.stem.position_embedding.table",
        "perceiver.input_preprocessor.position_embeddings.position_embeddings",
        "image_preprocessor/~_build_network_inputs/trainable_position_encoding/pos_embs",
    ),
    (
        "linear",
        "inputs.stem.projection",
        "perceiver.input_preprocessor.positions_projection",
        "image_preprocessor/~_build_network_inputs/position_encoding_projector/linear",
    ),
)
CONV: tuple[Row, ...] = (
    *CLASSIFIER,
    (
        "kernel",
        "inputs.stem.convolution.weight",
        "perceiver.input_preprocessor.convnet.conv.weight",
        "image_preprocessor/~/conv2_d_downsample/~/conv/w",
    ),
    (
        "batch norm",
        "inputs.stem.norm",
        "perceiver.input_preprocessor.convnet.batchnorm",
        "image_preprocessor/~/conv2_d_downsample/~/batchnorm",
    ),
)
BYTES: tuple[Row, ...] = (
    *_encoder(),
    (
        "same",
        "task.learned_queries.table",
        "perceiver.decoder.output_position_encodings.position_embeddings",
        "basic_decoder/~/trainable_position_encoding/pos_embs",
    ),
    (
        "cross-attention",
        "decoder.cross_attention",
        "perceiver.decoder.decoding_cross_attention",
        "basic_decoder/cross_attention",
    ),
    ("same", "task.bias", "embedding_decoder.bias", "embedding_decoder/bias"),
    ("same", "inputs.byte_embedding.weight", "perceiver.input_preprocessor.embeddings.weight", "embed/embeddings"),
    (
        "same",
        "inputs.position_embedding.table",
        "perceiver.input_preprocessor.position_embeddings.weight",
        "trainable_position_encoding/pos_embs",
    ),
)

FLOW: tuple[Row, ...] = (
    *_encoder(),
    *_decoder("flow_decoder"),
    ("linear", "inputs.linear", "perceiver.input_preprocessor.conv_after_patches", "image_preprocessor/patches_linear"),
)


def _modality(ours: str, theirs: str, head: str) -> tuple[Row, ...]:
    """What the autoencoder has for one modality: its embeddings in inputs and queries, its mask token and its last
    layer."""
    inputs, queries = "multimodal_preprocessor", "multimodal_decoder/~decoder_query"
    return (
        (
            "squeezed",
            f"inputs.modality_embeddings.of_{ours}",
            f"perceiver.input_preprocessor.padding.{theirs}",
            f"{inputs}/{theirs}_padding/pos_embs",
        ),
        (
            "squeezed",
            f"task.mask_tokens.of_{ours}",
            f"perceiver.input_preprocessor.mask.{theirs}",
            f"{inputs}/{theirs}_mask_token/pos_embs",
        ),
        (
            "squeezed",
            f"task.modality_embeddings.of_{ours}",
            f"perceiver.decoder.padding.{theirs}",
            f"{queries}/{theirs}_padding/pos_embs",
        ),
        (
            "linear",
            f"task.heads.of_{ours}",
            f"perceiver.output_postprocessor.modalities.{theirs}.classifier",
            f"{head}_postprocessor/linear",
        ),
    )


KINETICS: tuple[Row, ...] = (
    *_encoder("encoder"),
    *_decoder("multimodal_decoder"),
    (
        "same",
        "task.learned_queries.of_label.table",
        "perceiver.decoder.modalities.label.decoder.output_position_encodings.position_embeddings",
        LABEL_QUERY,
    ),
    *_modality("audio", "audio", "audio"),
    *_modality("video", "image", "projection"),
    *_modality("label", "label", "classification"),
)
