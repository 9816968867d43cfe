"""What each read looks at: some segments of the byte array, prepared once for all reads that do."""

from __future__ import annotations

from typing import Any, Literal, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders import gradients, normal, small_encoder
from sensorium.config import from_dict, to_dict
from sensorium.errors import InputError
from sensorium.nn import attention_path, Encoder, EncoderConfig
from sensorium.nn.ops import AttentionInputs, AttentionPath, DenseRows, StructuredRows
from sensorium.nn.byte_array import ByteArray, GridPositions, Segment

EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}
NAMES = ("sound", "picture", "line")
PATHS = pytest.mark.parametrize("path", get_args(AttentionPath))
LOOKS = st.one_of(st.none(), st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(tuple))


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
def test_looking_is_reading_an_array_of_these_segments_alone(name: str, path: AttentionPath) -> None:
    with reading(path):
        looking = small_encoder(attends_to=((name,),) * 3)(array_of())
        alone = small_encoder()(array_of(name))
    torch.testing.assert_close(looking, alone, **EXACT)


@PATHS
@given(looks=st.tuples(LOOKS, LOOKS, LOOKS), lacks=st.sets(st.sampled_from(NAMES)))
def test_each_read_sees_what_it_looks_at(path: AttentionPath, looks: Any, lacks: set[str]) -> None:
    """Step by step: the latents after a read of an array that holds nothing else. Forward and backward."""
    array = array_of(absent=tuple(lacks))
    looking, plain = small_encoder(attends_to=looks), small_encoder()
    with reading(path):
        found = looking(array)
        latents = plain.latents[None]
        for step, look in zip(plain.steps(), looks, strict=True):
            some = tuple(segment for segment in array.segments if look is None or segment.name in look)
            assert step.cross_attention is not None
            latents = step.attend(latents, AttentionInputs(ByteArray(some)))
            for block in step.latent_transformer or ():
                latents = block(latents)
    torch.testing.assert_close(found, latents, **EXACT)
    cost = normal(*found.shape, seed=9)
    (found * cost).sum().backward()
    (latents * cost).sum().backward()
    expected = gradients(plain)
    for key, value in gradients(looking).items():
        torch.testing.assert_close(value, expected[key], msg=key, **EXACT)


@given(looks=st.tuples(LOOKS, LOOKS, LOOKS))
def test_weights_are_zero_where_a_read_does_not_look(looks: Any) -> None:
    """They sum to 1 over what it does look at, in the order of the array's rows."""
    array, encoder = array_of(), small_encoder(attends_to=looks)
    for weights, look in zip(encoder.weights(array), looks, strict=True):
        assert weights.shape == (2, 1, 3, array.num_rows)
        pieces = array.split(weights.flatten(1, 2).mT)
        sums = {name: piece.sum(1) for name, piece in pieces.items()}
        seen = NAMES if look is None else look
        torch.testing.assert_close(sum(sums[name] for name in seen), torch.ones(2, 3, dtype=torch.float64))
        assert all((sums[name] == 0).all() for name in NAMES if name not in seen)


def test_weights_stay_with_their_rows() -> None:
    """A look at the outer two of three segments, whose rows are not neighbours."""
    array = array_of("sound", "picture", "line")
    looks = (("sound", "line"), ("picture",), None)
    first, _, last = small_encoder(attends_to=looks).weights(array)
    alone = next(small_encoder().weights(array_of("sound", "line")))
    torch.testing.assert_close(first[..., :5], alone[..., :5], **EXACT)
    torch.testing.assert_close(first[..., 11:], alone[..., 5:], **EXACT)
    assert last.shape == first.shape


@PATHS
def test_an_example_without_the_sense_reads_nothing(path: AttentionPath) -> None:
    """What the latents get is what any read of nothing gives: no row's, and no NaN."""
    encoder = small_encoder(attends_to=(("sound",),) * 3)
    array = array_of(absent=("sound",))
    with reading(path):
        latents = encoder(array)
        nothing = small_encoder()(ByteArray((Segment("rows", torch.zeros(2, 0, 6, dtype=torch.float64)),)))
    torch.testing.assert_close(latents[1], nothing[1], **EXACT)
    assert latents.isfinite().all()
    latents.sum().backward()
    assert all(gradient.isfinite().all() for gradient in gradients(encoder).values())
    assert all(weights[1].sum() == 0 for weights in encoder.weights(array))


def test_pieces_are_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many reads look at a segment, in whatever company: its rows are normalised once in a forward pass."""
    made: list[str] = []
    spelled, grid = DenseRows.of, StructuredRows.of
    monkeypatch.setattr(DenseRows, "of", lambda array: made.extend(s.name for s in array.segments) or spelled(array))
    monkeypatch.setattr(StructuredRows, "of", lambda segment: made.append(segment.name) or grid(segment))
    encoder = small_encoder(
        cross_attention=(0, 1, 1, 1, 1),
        latent_transformer=(0,) * 5,
        attends_to=(("sound",), ("picture", "line"), None, ("sound", "line"), ("picture",)),
    )
    paths: tuple[Literal["structured", "absorbed", "projected"], ...] = ("structured", "absorbed", "projected")
    for path in paths:
        made.clear()
        with reading(path):
            encoder(array_of())
        assert sorted(made) == sorted(NAMES), path


def test_reads_that_look_at_the_same_share_it() -> None:
    """One view for one look; without any look nothing is split at all."""
    one, two, three = AttentionInputs.select(array_of(), (("sound",), None, ("sound",)))
    assert one is three
    assert two.array.num_rows == 13
    alike = AttentionInputs.select(array_of(), (None, None))
    assert alike[0] is alike[1]
    assert not alike[0].parts


def test_the_kept_query_knows_its_look() -> None:
    """In inference the first read's query is kept; asked about other rows it gives their answer."""
    encoder = small_encoder(attends_to=(("picture",), None, None))
    with torch.no_grad(), reading("structured"):
        one, other = encoder(array_of()), encoder(array_of())
        torch.testing.assert_close(one, other, rtol=0, atol=0)
        fused = small_encoder()
        assert not torch.allclose(fused(array_of()), one)


def test_config_survives_a_round_trip() -> None:
    config = EncoderConfig(cross_attention=(0, 1), latent_transformer=(0, 1), attends_to=(("audio",), None))
    assert from_dict(EncoderConfig, to_dict(config)) == config


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("look", "told"),
    [
        ((None,), "3 reads but 1 entries of look"),
        (((), None, None), "looks at nothing"),
        ((("sounds",), None, None), "look at 'sounds', which is no modality; did you mean 'sound'"),
    ],
)
def test_looks_that_cannot_be(look: Any, told: str) -> None:
    config = EncoderConfig(
        num_latents=3,
        latent_channels=8,
        cross_attention=(0, 1, 1),
        latent_transformer=(0, 0, None),
        num_self_attention_heads=2,
        attends_to=look,
    )
    with pytest.raises(InputError, match=told):
        Encoder(config, channels=6, names=NAMES)


def test_a_look_at_what_an_array_lacks() -> None:
    with pytest.raises(ValueError, match="none of which is in the byte array"):
        small_encoder(attends_to=(("smell",), None, None))(array_of())
