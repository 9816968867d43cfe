"""Cross-attends to some segments of the byte array, which are prepared once for all that attend to them."""

from __future__ import annotations

from typing import Any, Literal, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders import gradients, normal, small_encoder
from sensorium.config import from_dict, to_dict
from sensorium.errors import InputError
from sensorium.nn import Encoder, EncoderConfig, attention_path
from sensorium.nn.byte_array import ByteArray, GridPositions, Segment
from sensorium.nn.ops import AttentionInputs, AttentionPath, DenseRows, StructuredRows

EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}
NAMES = ("sound", "picture", "line")
PATHS = pytest.mark.parametrize("path", get_args(AttentionPath))
NAMED = st.one_of(st.none(), st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(tuple))


def segments(*, absent: tuple[str, ...] = ()) -> dict[str, Segment]:
    """Three segments of six channels, two examples; the second lacks those that are absent."""
    tables = tuple(normal(size, 2, seed=size) for size in (2, 3))
    made = {
        "sound": Segment("sound", normal(2, 5, 4), modality_embedding=normal(2, seed=4)),
        "picture": Segment(
            "picture", normal(2, 6, 1, seed=5), GridPositions(tables), modality_embedding=normal(3, seed=6)
        ),
        "line": Segment("line", normal(2, 2, 6, seed=7)),
    }
    for name in absent:
        mask = torch.ones(2, made[name].num_rows, dtype=torch.bool)
        mask[1] = False
        made[name] = Segment(name, made[name].values, made[name].positions, made[name].modality_embedding, mask)
    return made


def array_of(*names: str, absent: tuple[str, ...] = ()) -> ByteArray:
    made = segments(absent=absent)
    return ByteArray(tuple(made[name] for name in names or NAMES))


# -- laws -------------------------------------------------------------------------------------------------------------


@PATHS
@pytest.mark.parametrize("name", NAMES)
def test_attending_to_a_segment_is_attending_to_an_array_of_it_alone(name: str, path: AttentionPath) -> None:
    selective, plain = small_encoder(attends_to=((name,),) * 3), small_encoder()
    with attention_path(selective, path), attention_path(plain, path):
        torch.testing.assert_close(selective(array_of()), plain(array_of(name)), **EXACT)


@PATHS
@given(attends_to=st.tuples(NAMED, NAMED, NAMED), lacks=st.sets(st.sampled_from(NAMES)))
def test_each_cross_attend_attends_to_its_modalities(path: AttentionPath, attends_to: Any, lacks: set[str]) -> None:
    """Step by step: the latents after attention to an array that holds nothing else. Forward and backward."""
    array = array_of(absent=tuple(lacks))
    selective, plain = small_encoder(attends_to=attends_to), small_encoder()
    with attention_path(selective, path), attention_path(plain, path):
        found = selective(array)
        latents = plain.latents[None]
        for step, names in zip(plain.steps(), attends_to, strict=True):
            attended = tuple(segment for segment in array.segments if names is None or segment.name in names)
            assert step.cross_attention is not None
            latents = step.cross_attention(latents, AttentionInputs(ByteArray(attended)))
            for block in step.latent_transformer or ():
                latents = block(latents)
    torch.testing.assert_close(found, latents, **EXACT)
    cost = normal(*found.shape, seed=9)
    (found * cost).sum().backward()
    (latents * cost).sum().backward()
    expected = gradients(plain)
    for key, value in gradients(selective).items():
        torch.testing.assert_close(value, expected[key], msg=key, **EXACT)


@given(attends_to=st.tuples(NAMED, NAMED, NAMED))
def test_weights_are_zero_in_other_modalities(attends_to: Any) -> None:
    """They sum to 1 over the rows that are attended to, in the order of the array's rows."""
    array, encoder = array_of(), small_encoder(attends_to=attends_to)
    for weights, names in zip(encoder.weights(array), attends_to, strict=True):
        assert weights.shape == (2, 1, 3, array.num_rows)
        pieces = array.split(weights.flatten(1, 2).mT)
        sums = {name: piece.sum(1) for name, piece in pieces.items()}
        attended = NAMES if names is None else names
        torch.testing.assert_close(sum(sums[name] for name in attended), torch.ones(2, 3, dtype=torch.float64))
        assert all((sums[name] == 0).all() for name in NAMES if name not in attended)


def test_weights_stay_with_their_rows() -> None:
    """Attention to the outer two of three segments, whose rows are not neighbours."""
    array = array_of("sound", "picture", "line")
    attends_to = (("sound", "line"), ("picture",), None)
    first, _, last = small_encoder(attends_to=attends_to).weights(array)
    alone = next(small_encoder().weights(array_of("sound", "line")))
    torch.testing.assert_close(first[..., :5], alone[..., :5], **EXACT)
    torch.testing.assert_close(first[..., 11:], alone[..., 5:], **EXACT)
    assert last.shape == first.shape


@PATHS
def test_an_example_without_the_modality_attends_to_nothing(path: AttentionPath) -> None:
    """The latents are those of an array without rows, and there is no NaN."""
    encoder, plain = small_encoder(attends_to=(("sound",),) * 3), small_encoder()
    array = array_of(absent=("sound",))
    with attention_path(encoder, path), attention_path(plain, path):
        latents = encoder(array)
        nothing = plain(ByteArray((Segment("rows", torch.zeros(2, 0, 6, dtype=torch.float64)),)))
    torch.testing.assert_close(latents[1], nothing[1], **EXACT)
    assert latents.isfinite().all()
    latents.sum().backward()
    assert all(gradient.isfinite().all() for gradient in gradients(encoder).values())
    assert all(weights[1].sum() == 0 for weights in encoder.weights(array))


def test_pieces_are_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many cross-attends attend to a segment, with whatever others: it is normalised once a forward pass."""
    made: list[str] = []
    dense, grid = DenseRows.of, StructuredRows.of
    monkeypatch.setattr(DenseRows, "of", lambda array: made.extend(s.name for s in array.segments) or dense(array))
    monkeypatch.setattr(StructuredRows, "of", lambda segment: made.append(segment.name) or grid(segment))
    encoder = small_encoder(
        cross_attention=(0, 1, 1, 1, 1),
        latent_transformer=(0,) * 5,
        attends_to=(("sound",), ("picture", "line"), None, ("sound", "line"), ("picture",)),
    )
    paths: tuple[Literal["structured", "absorbed", "projected"], ...] = ("structured", "absorbed", "projected")
    for path in paths:
        made.clear()
        with attention_path(encoder, path):
            encoder(array_of())
        assert sorted(made) == sorted(NAMES), path


def test_cross_attends_to_the_same_rows_share_them() -> None:
    """Equal selections are one object; where all attend to everything, nothing is split."""
    one, two, three = AttentionInputs.select(array_of(), (("sound",), None, ("sound",)))
    assert one is three
    assert two.array.num_rows == 13
    alike = AttentionInputs.select(array_of(), (None, None))
    assert alike[0] is alike[1]
    assert not alike[0].parts


def test_config_survives_a_round_trip() -> None:
    config = EncoderConfig(cross_attention=(0, 1), latent_transformer=(0, 1), attends_to=(("audio",), None))
    assert from_dict(EncoderConfig, to_dict(config)) == config


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attends_to", "message"),
    [
        ((None,), "3 entries of cross_attention but 1 of attends_to"),
        (((), None, None), "an empty entry of attends_to"),
        ((("sounds",), None, None), "attends_to names 'sounds', which is no modality; did you mean 'sound'"),
    ],
)
def test_selections_that_cannot_be(attends_to: Any, message: str) -> None:
    config = EncoderConfig(
        num_latents=3,
        latent_channels=8,
        cross_attention=(0, 1, 1),
        latent_transformer=(0, 0, None),
        num_self_attention_heads=2,
        attends_to=attends_to,
    )
    with pytest.raises(InputError, match=message):
        Encoder(config, channels=6, names=NAMES)


def test_an_array_without_the_modality() -> None:
    with pytest.raises(ValueError, match="none of which is in the byte array"):
        small_encoder(attends_to=(("smell",), None, None))(array_of())
