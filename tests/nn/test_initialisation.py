"""How weights start: the authors' distributions."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import nn

from sensorium.nn import Encoder, EncoderConfig, MeanDecoder
from sensorium.nn.attention import CrossAttention
from sensorium.nn.initialisation import TRUNCATION, fan_in, lecun, truncated_normal


def test_the_truncation_constant_is_the_truncated_normals_deviation() -> None:
    """The standard deviation of a standard normal between -2 and 2, in closed form."""
    density = torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(2.0, dtype=torch.float64)).exp()
    mass = torch.erf(torch.tensor(2 / sqrt(2), dtype=torch.float64))
    assert pytest.approx(float((1 - 4 * density / mass).sqrt())) == TRUNCATION


def test_attention_and_mlp_linears_have_the_true_deviation() -> None:
    """sqrt(1 / inputs) after the truncation at two standard deviations, biases zero, in every linear of a block."""
    block = CrossAttention(256, input_channels=64, num_heads=1)
    linears = [module for module in block.modules() if isinstance(module, nn.Linear)]
    assert len(linears) == 6
    for linear in linears:
        std = sqrt(1 / linear.in_features)
        assert float(linear.weight.std()) == pytest.approx(std, rel=0.03)
        assert abs(float(linear.weight.mean())) < 0.03 * std
        assert 1.9 * std < float(linear.weight.abs().max()) * TRUNCATION <= 2 * std * (1 + 1e-6)
        assert not linear.bias.any()
    for norm in (block.query_norm, block.input_norm, block.mlp_norm):
        assert isinstance(norm, nn.LayerNorm)
        assert norm.eps == 1e-5
        assert (norm.weight == 1).all()
        assert not norm.bias.any()


def test_latents_start_small() -> None:
    """A normal of 0.02, truncated at ±0.04."""
    latents = Encoder(EncoderConfig(num_latents=128, latent_channels=256, num_layers=0), channels=8).latents
    assert float(latents.std()) == pytest.approx(0.02 * TRUNCATION, rel=0.02)
    assert 0.039 < float(latents.abs().max()) <= 0.04 + 1e-6


def test_the_head_starts_at_zero() -> None:
    """Every answer is 0 before training."""
    head = MeanDecoder(16, output_channels=5)
    assert not any(parameter.any() for parameter in head.parameters())
    assert not head(torch.randn(2, 3, 16)).any()


def test_fan_in_corrects_for_the_truncation_and_lecun_does_not() -> None:
    wide, plain = fan_in(nn.Linear(256, 256)), lecun(nn.Linear(256, 256))
    assert float(wide.weight.std()) == pytest.approx(1 / 16, rel=0.02)
    assert float(plain.weight.std()) == pytest.approx(TRUNCATION / 16, rel=0.02)
    assert not plain.bias.any()
    assert fan_in(nn.Linear(4, 4, bias=False)).bias is None


def test_truncated_normal_fills_in_place() -> None:
    """Bounds are two standard deviations, not 2."""
    tensor = torch.full((1000,), 9.0)
    assert truncated_normal(tensor, 0.5) is tensor
    assert float(tensor.abs().max()) <= 1.0
