"""The papers: byte array, positions, attention, encoder, decoder.

>>> from sensorium.nn import ByteArray, Encoder, EncoderConfig, Segment
>>> import torch
>>> encoder = Encoder(EncoderConfig(num_latents=8, latent_channels=16, num_layers=1), channels=5)
>>> encoder(ByteArray((Segment("rows", torch.rand(2, 100, 5)),))).shape
torch.Size([2, 8, 16])
"""

from .attention import CrossAttention, SelfAttention, attention_path
from .byte_array import ByteArray, GridPositions, PointPositions, Segment
from .decoder import Decoder, DecoderConfig, LinearDecoder, MeanDecoder
from .encoder import Encoder, EncoderConfig
from .ops.dispatch import AttentionPath
from .positions import LearnedPositions, fourier_grid, fourier_points
from .queries import LearnedQueries, Queries, queries_at

__all__ = [
    "AttentionPath",
    "ByteArray",
    "CrossAttention",
    "Decoder",
    "DecoderConfig",
    "Encoder",
    "EncoderConfig",
    "GridPositions",
    "LearnedPositions",
    "LearnedQueries",
    "LinearDecoder",
    "MeanDecoder",
    "PointPositions",
    "Queries",
    "Segment",
    "SelfAttention",
    "attention_path",
    "fourier_grid",
    "fourier_points",
    "queries_at",
]
