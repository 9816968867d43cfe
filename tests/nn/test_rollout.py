"""What explanations take from the encoder: logits before the softmax, weights of latents, attention rollout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import reference
from builders import arrays, normal, rows_of, small_encoder
from sensorium.errors import InputError
from sensorium.nn import Decoder, DecoderConfig
from sensorium.nn.attention import CrossAttention, SelfAttention
from sensorium.nn.byte_array import ByteArray, Segment
from sensorium.nn.ops.inputs import AttentionInputs
from sensorium.nn.queries import LearnedQueries

MASK = torch.tensor([[True, True, False, True, True], [True, False, True, False, True], [False] * 5])


@pytest.mark.parametrize("heads", [1, 3])
def test_logits_are_the_papers(heads: int) -> None:
    """Query times key over the root of a head's channels, with what is constant over the rows; -inf where masked."""
    block = CrossAttention(8, input_channels=6, num_heads=heads).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
        x, rows = normal(3, 4, 8), normal(3, 5, 6, seed=2)
        logits = block.weights(x, AttentionInputs(rows_of(rows, MASK)), before_softmax=True)
        query = block.attention.query(block.query_norm(x)).unflatten(-1, (heads, -1))
        key = block.attention.key(block.input_norm(rows)).unflatten(-1, (heads, -1))
        expected = torch.einsum("bnhc,bmhc->bhnm", query, key) / (6 / heads) ** 0.5
    shown = MASK[:, None, None].expand_as(logits)
    torch.testing.assert_close(logits[shown], expected[shown], rtol=1e-10, atol=1e-10)
    assert logits[~shown].isneginf().all()
    weights = block.weights(x, AttentionInputs(rows_of(rows, MASK)))
    torch.testing.assert_close(weights[:2], logits[:2].softmax(-1))


def test_weights_of_latents_are_the_references() -> None:
    block, x = SelfAttention(8, num_heads=2).double(), normal(2, 4, 8)
    normalised = block.query_norm(x).detach().numpy()
    expected = reference.attention_weights(normalised, normalised, reference.below(arrays(block), "attention"), heads=2)
    np.testing.assert_allclose(block.weights(x).detach().numpy(), expected, atol=1e-12)


def test_logits_of_what_is_not_attended_to_are_minus_infinity() -> None:
    array = ByteArray((Segment("a", normal(2, 3, 6)), Segment("b", normal(2, 4, 6, seed=3))))
    encoder = small_encoder(attends_to=(("b",), None, ("a",)))
    first, second, third = encoder.weights(array, before_softmax=True)
    assert first[..., :3].isneginf().all()
    assert first[..., 3:].isfinite().all()
    assert second.isfinite().all()
    assert third[..., 3:].isneginf().all()


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "some"])
def test_rollout_rows_sum_to_one(mask: Tensor | None) -> None:
    """Of each latent, whatever the layers; nothing is in masked rows, nor of an example without any."""
    rollout = small_encoder(num_layers=2).rollout(rows_of(normal(3, 5, 6), mask)).detach()
    assert rollout.shape == (3, 3, 5)
    assert (rollout >= 0).all()
    present = torch.ones(3) if mask is None else mask.any(1).double()
    torch.testing.assert_close(rollout.sum(-1), present[:, None].double().expand(3, 3))
    if mask is not None:
        assert not rollout.masked_select(~mask[:, None]).any()


def test_rollout_is_abnar_and_zuidema_s() -> None:
    """Half of each layer's output is what it attends to and half its input, from the first cross-attend on."""
    encoder, array = small_encoder(), rows_of(normal(2, 5, 6))
    weights = [each.mean(1).detach() for each in encoder.weights(array)]
    latents, between = encoder.latents[None].expand(2, -1, -1), []
    for step, inputs in zip(encoder.steps(), encoder.inputs(array), strict=True):
        assert step.cross_attention is not None
        latents = step.cross_attention(latents, inputs)
        for block in step.latent_transformer or ():
            between.append(block.weights(latents).mean(1).detach())
            latents = block(latents)
    eye = torch.eye(3, dtype=torch.float64)
    expected = (eye + between[0]) / 2 @ weights[0]
    expected = (eye + between[1]) / 2 @ (expected + weights[1]) / 2
    expected = (expected + weights[2]) / 2
    torch.testing.assert_close(encoder.rollout(array).detach(), expected)


def test_rollout_of_one_cross_attend_is_its_attention() -> None:
    encoder, array = small_encoder(cross_attention=(None, 0), latent_transformer=(0, None)), rows_of(normal(2, 5, 6))
    torch.testing.assert_close(encoder.rollout(array), next(iter(encoder.weights(array))).mean(1))
    with pytest.raises(InputError, match="no cross-attends"):
        small_encoder(cross_attention=(None,), latent_transformer=(0,)).rollout(array)


def test_rollout_is_over_all_modalities() -> None:
    array = ByteArray((Segment("a", normal(2, 3, 6)), Segment("b", normal(2, 4, 6, seed=3))))
    rollout = small_encoder(attends_to=(("b",), ("a",), ("b",))).rollout(array)
    torch.testing.assert_close(rollout.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    assert (rollout[..., :3] > 0).any()


def test_a_decoder_s_weights_reproduce_its_attention() -> None:
    decoder = Decoder(DecoderConfig(), latent_channels=8, query_channels=4, output_channels=2).double()
    latents, queries = normal(3, 5, 8), LearnedQueries(1, 4).double()()
    weights = decoder.weights(latents, queries)
    assert weights.shape == (3, 1, 1, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 1, 1, dtype=torch.float64))
    block = decoder.cross_attention
    attended = block.attention.out(weights[:, 0] @ block.attention.value(block.input_norm(latents)))
    x = queries.dense() + attended
    torch.testing.assert_close(decoder(latents, queries), decoder.linear(x + block.mlp(block.mlp_norm(x))))
