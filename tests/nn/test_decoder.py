"""The decoder: the paper's equations, and the laws of asking."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference
from builders import arrays, gradients, normal, shake, small_encoder
from sensorium.errors import InputError
from sensorium.nn import Decoder, DecoderConfig
from sensorium.nn.attention import SelfAttention, attention_path
from sensorium.nn.byte_array import ByteArray, Segment
from sensorium.nn.queries import LearnedQueries, Queries

LATENTS = normal(2, 5, 8)


def small_decoder(outputs: int | None = 3, **changes: object) -> Decoder:
    """A shaken decoder of queries of 6 channels."""
    config = DecoderConfig(**({"num_heads": 2} | changes))  # type: ignore[arg-type]
    return shake(Decoder(config, latent_channels=8, query_channels=6, output_channels=outputs))


def asked(count: int = 7, *, batch: int = 2, masked: bool = False, seed: int = 1) -> Queries:
    mask = normal(batch, count, seed=seed + 1) > 0 if masked else None
    return Queries(ByteArray((Segment("answer", normal(batch, count, 6, seed=seed), mask=mask),)))


@given(
    heads=st.sampled_from([1, 2]),
    residual=st.booleans(),
    masked=st.booleans(),
    outputs=st.sampled_from([None, 3]),
    channels=st.sampled_from([(None, None), (4, None), (4, 10)]),
    path=st.sampled_from(["auto", "projected", "absorbed"]),
)
def test_a_decoder_is_the_papers(
    heads: int, residual: bool, masked: bool, outputs: int | None, channels: tuple[int | None, int | None], path: str
) -> None:
    """With and without a residual, a mask, a linear layer, channels of its own; on every path."""
    decoder = small_decoder(
        outputs, num_heads=heads, query_residual=residual, qk_channels=channels[0], value_channels=channels[1]
    )
    queries = asked(masked=masked)
    mask = queries.mask
    expected = reference.decoder(
        queries.dense().numpy(),
        LATENTS.numpy(),
        arrays(decoder),
        heads=heads,
        residual=residual,
        query_mask=None if mask is None else mask.numpy(),
    )
    with attention_path(decoder, path):  # type: ignore[arg-type]
        result = decoder(LATENTS, queries)
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-9, atol=1e-10)


@given(seed=st.integers(0, 99), chunk=st.integers(1, 9), masked=st.booleans())
def test_chunks_subsets_and_single_queries_are_the_whole(seed: int, chunk: int, masked: bool) -> None:
    """Each query is answered alone: in chunks, for some rows, whatever else is asked."""
    decoder, queries = small_decoder(), asked(masked=masked)
    whole = decoder(LATENTS, queries)
    exact = {"rtol": 1e-9, "atol": 1e-10}
    torch.testing.assert_close(decoder(LATENTS, queries, chunk=chunk), whole, **exact)
    indices = torch.randint(7, (4,), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(decoder(LATENTS, replace(queries, indices=indices)), whole[:, indices], **exact)


def test_many_queries_are_chunked_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.nn.decoder.CHUNK", 3)
    decoder, sizes = small_decoder(), []
    decoder.cross_attention.register_forward_pre_hook(lambda _, arguments: sizes.append(arguments[0].shape[1]))
    decoder(LATENTS, asked())
    with torch.no_grad():
        decoder(LATENTS, asked())
    assert sizes == [7, 3, 3, 1]


def test_a_masked_query_reads_nothing() -> None:
    """Its answer depends on nothing but itself, and sends no gradient to the latents."""
    decoder, queries = small_decoder(), asked(masked=True)
    assert queries.mask is not None
    latents = LATENTS.clone().requires_grad_()
    answers = decoder(latents, queries)
    other = decoder(normal(2, 5, 8, seed=9), queries)
    assert answers[~queries.mask].equal(other[~queries.mask])
    assert not torch.isclose(answers[queries.mask], other[queries.mask]).all(-1).any()
    answers[~queries.mask].sum().backward()
    assert latents.grad is not None
    assert not latents.grad.any()


@pytest.mark.parametrize("residual", [True, False])
def test_gradients_reach_every_parameter(residual: bool) -> None:
    """Of the decoder, of the queries, and of the latents."""
    decoder, learned = small_decoder(query_residual=residual), shake(LearnedQueries(4, 6))
    latents = LATENTS.clone().requires_grad_()
    answers = decoder(latents, learned())
    assert answers.shape == (2, 4, 3)
    (answers * normal(2, 4, 3, seed=3)).sum().backward()
    assert latents.grad is not None
    assert latents.grad.any()
    found = gradients(decoder) | gradients(learned)
    # A constant added to every logit of a query drops out of its softmax.
    assert {name for name, gradient in found.items() if gradient.abs().max() < 1e-12} == {
        "cross_attention.attention.key.bias"
    }


def test_the_linear_layer_starts_as_output_init_says() -> None:
    sizes = {"latent_channels": 8, "query_channels": 6, "output_channels": 3}
    assert not Decoder(DecoderConfig(), **sizes, output_init="zeros").linear.weight.any()  # type: ignore[union-attr]
    assert Decoder(DecoderConfig(), **sizes).linear.weight.all()  # type: ignore[union-attr]


@pytest.mark.parametrize("path", ["projected", "absorbed"])
def test_blocks_may_have_qk_and_value_channels_of_their_own(path: str) -> None:
    """As in the byte model: reads by several heads, of fewer query and more value channels than there are rows'."""
    encoder = small_encoder(
        channels=5, qk_channels=4, value_channels=10, num_cross_attention_heads=2, num_self_attention_heads=2
    )
    values = normal(2, 6, 5, seed=2)
    config = encoder.config
    expected = reference.encode(
        values.numpy(),
        arrays(encoder),
        cross_attends=config.cross_attention,
        latent_transformers=config.latent_transformer,
        layers=config.num_layers,
        cross_heads=2,
        self_heads=2,
    )
    with attention_path(encoder, path):  # type: ignore[arg-type]
        result = encoder(ByteArray((Segment("rows", values),)))
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-9, atol=1e-10)


def test_gelu_is_the_authors_or_exact() -> None:
    x = normal(1, 2, 8)
    tanh, erf = (shake(SelfAttention(8, num_heads=1, gelu=gelu)) for gelu in ("tanh", "erf"))  # type: ignore[arg-type]
    for block, approximate in ((tanh, "tanh"), (erf, "none")):
        assert block.mlp[1](x).equal(torch.nn.functional.gelu(x, approximate=approximate))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "decoder: 3 heads do not divide 8 channels"),
        ({"num_heads": 2, "qk_channels": 5}, "decoder: 2 heads do not divide 5"),
        ({"num_heads": 2, "value_channels": 5}, "decoder: 2 heads do not divide 5"),
    ],
)
def test_shapes_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small_decoder(**changes)  # type: ignore[arg-type]


def test_queries_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="queries of 5 channels, it takes 6"):
        small_decoder()(LATENTS, LearnedQueries(2, 5)())
    with pytest.raises(InputError, match="queries for 3 examples, the latents are of 2"):
        small_decoder()(LATENTS, asked(batch=3))
    with pytest.raises(InputError, match="encoder: self-attention: 2 heads do not divide 5 channels"):
        small_encoder(channels=6, num_cross_attention_heads=2, qk_channels=5)
