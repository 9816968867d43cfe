"""Pairs of frames: rows, crops and mirrors, beyond the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from builders import shake
from sensorium.codecs.flow import encode_file
from sensorium.errors import InputError
from sensorium.modalities.pair import Pair, PairConfig
from sensorium.nn.positions import fourier_grid


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def places(height: int, width: int) -> dict[str, Any]:
    """A pair whose first two colours say where a pixel is, as its flow does."""
    y, x = np.mgrid[0:height, 0:width]
    frame = np.stack([x, y, 0 * x + 7], axis=-1).astype(np.uint8)
    return {"frames": (frame, frame), "flow": np.stack([x, y]).astype(np.float32)}


def batched(pair: Pair, raws: list[Any]) -> dict[str, Tensor]:
    samples = [pair.load(raw) for raw in raws]
    return {key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in samples[0]}


def test_the_papers_rows() -> None:
    """182,528 of 64 + 258 channels."""
    pair = Pair(PairConfig())
    assert (pair.num_rows, pair.channels, pair.linear.weight.shape) == (182_528, 322, (64, 54))


@pytest.mark.parametrize("window", [(1, 1), (3, 3), (5, 3)])
def test_a_row_is_a_linear_layer_of_its_window_and_its_code(window: tuple[int, int]) -> None:
    """Frame, height, width, colour; zeros outside, after the pixels are from -1 to 1."""
    pair = shake(Pair(PairConfig(size=(6, 7), window=window, channels=4, bands=3)))
    frames = torch.rand(2, 2, 3, 6, 7, dtype=torch.float64)
    down, across = window
    room = F.pad(2 * frames - 1, (across // 2, across // 2, down // 2, down // 2))
    rows = []
    for y in range(6):
        for x in range(7):
            cut = room[..., y : y + down, x : x + across].permute(0, 1, 3, 4, 2).flatten(1)
            code = fourier_grid((6, 7), bands=3).dense()[7 * y + x].expand(2, -1)
            rows.append(torch.cat([pair.linear(cut), code], dim=1))
    torch.testing.assert_close(pair.embed({"pair": frames}).dense(), torch.stack(rows, dim=1))


def test_a_reversed_pair_is_read_by_reversed_weights() -> None:
    pair, other = (shake(Pair(PairConfig(size=(5, 6), channels=4, bands=2))) for _ in range(2))
    with torch.no_grad():
        other.linear.weight.copy_(pair.linear.weight.unflatten(1, (2, -1)).flip(1).flatten(1))
    frames = torch.rand(1, 2, 3, 5, 6, dtype=torch.float64)
    one, two = pair.embed({"pair": frames.flip(1)}).dense(), other.embed({"pair": frames}).dense()
    torch.testing.assert_close(one, two)
    assert not torch.allclose(one, pair.embed({"pair": frames}).dense())


@given(height=st.integers(64, 90), width=st.integers(70, 100), training=st.booleans(), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_views_are_windows_of_the_frames(height: int, width: int, training: bool, seed: int) -> None:
    """Of any frames that are large enough: pixels and flow of one place, side by side, never resized or made up."""
    pair = Pair(PairConfig(size=(64, 70), bands=1))
    batch = batched(pair, [places(height, width), places(64, 70)])
    assert batch["pair"].shape == (2, 2, 3, *pair.stored)
    view = pair.augment(batch, seeded(seed)) if training else pair.view(batch)
    assert view.keys() == {"pair", "pair.flow"}
    where = (view["pair"] * 255).round()
    assert where[:, 0].equal(where[:, 1])
    assert where[:, 0, :2].equal(view["pair.flow"])
    assert where.shape == (2, 2, 3, 64, 70)
    assert (where[..., 2, :, :] == 7).all()
    first = view["pair.flow"][0, :, 0, 0]
    y, x = torch.meshgrid(torch.arange(64), torch.arange(70), indexing="ij")
    assert view["pair.flow"][0].equal(torch.stack([x + first[0], y + first[1]]))
    assert view["pair.flow"][1].equal(torch.stack([x, y]).float())
    if not training:
        assert abs(float(first[0]) - (width - 70) / 2) <= 1
        assert abs(float(first[1]) - (height - 64) / 2) <= 1


def test_training_crops_reach_every_corner() -> None:
    """Each example its own, all of the room, nothing beyond it."""
    pair = Pair(PairConfig(size=(64, 64), bands=1))
    batch = batched(pair, [places(66, 65)] * 60)
    corners = pair.augment(batch, seeded())["pair.flow"][:, :, 0, 0]
    assert {tuple(corner) for corner in corners.int().tolist()} == {(x, y) for x in range(2) for y in range(3)}


@pytest.mark.parametrize("flip", [0.0, 0.5, 1.0])
def test_the_flow_still_leads_to_the_same_pixels(flip: float) -> None:
    """However the pair is cropped, mirrored and coloured: the second frame shows a pixel where its flow leads."""
    random = np.random.default_rng(0)
    raws = []
    for u, v in ((3, -2), (-1, 4), (0, 0), (2, 2)):
        wide = random.integers(0, 256, (110, 110, 3), dtype=np.uint8)
        frames = wide[10 : 10 + 80, 10 : 10 + 80], wide[10 - v :, 10 - u :][:80, :80]
        raws.append({"frames": frames, "flow": np.broadcast_to(np.float32([u, v])[:, None, None], (2, 80, 80))})
    pair = Pair(PairConfig(size=(64, 64), bands=1, flip=flip, colour=0.3))
    view = pair.augment(batched(pair, raws), seeded(3))
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    for (first, second), flow in zip(view["pair"], view["pair.flow"], strict=True):
        across, down = (x + flow[0]).long(), (y + flow[1]).long()
        inside = (across >= 0) & (across < 64) & (down >= 0) & (down < 64)
        assert inside.float().mean() > 0.8
        found = second[:, down.clamp(0, 63), across.clamp(0, 63)]
        torch.testing.assert_close(found[:, inside], first[:, inside])
    given = torch.tensor([[3.0, -2.0], [-1.0, 4.0], [0.0, 0.0], [2.0, 2.0]])
    found_flow = view["pair.flow"][:, :, 5, 5]
    assert found_flow.abs().equal(given.abs())
    assert found_flow.equal(given) == (flip == 0)
    assert (found_flow + 0.0).equal(-given + 0.0) == (flip == 1)


def test_colours_change_alike_and_only_when_asked() -> None:
    same = {"pair": torch.rand(5, 1, 3, 8, 8).expand(-1, 2, -1, -1, -1), "pair.flow": torch.rand(5, 2, 8, 8)}
    none, some = (Pair(PairConfig(size=(8, 8), colour=colour)).augment(same, seeded()) for colour in (0.0, 0.4))
    assert none["pair"].equal(same["pair"])
    assert some["pair.flow"].equal(same["pair.flow"])
    assert some["pair"][:, 0].equal(some["pair"][:, 1])
    changes = (some["pair"] - same["pair"]).abs().amax((1, 2, 3, 4))
    assert (changes > 0.005).all()
    assert 0 <= some["pair"].min() <= some["pair"].max() <= 1


@pytest.mark.parametrize("size", [(4, 5), (32, 64), (368, 496)])
def test_more_is_kept_than_is_seen(size: tuple[int, int]) -> None:
    """Of pairs and of pictures, so that training sees other parts each time."""
    pair = Pair(PairConfig(size=size, bands=1))
    assert all(kept > side for kept, side in zip(pair.stored, size, strict=True))
    assert all(kept > side for kept, side in zip(pair.scene, size, strict=True))


def test_single_pictures_are_passed_on() -> None:
    """Fitted to the size of a scene, for a task to make pairs of; the model itself cannot read them."""
    pair = Pair(PairConfig(size=(64, 70), flip=1.0, colour=0.5, bands=1))
    batch = batched(pair, [np.full((200, 100, 3), 9, np.uint8), np.full((30, 50), 200, np.uint8)])
    assert batch["pair"].shape == (2, 1, 3, *pair.scene)
    for view in (pair.view(batch), pair.augment(batch, seeded())):
        assert view.keys() == {"pair"}
        assert view["pair"].equal(batch["pair"])
    with pytest.raises(InputError, match="single pictures show no motion"):
        pair.embed(pair.view(batch))


def test_measuring() -> None:
    """Pairs by the smallest, pictures by the median, neither beyond what two cores can read."""
    pairs = [places(*size) for size in ((40, 90), (60, 80), (500, 600))]
    assert Pair.measure(pairs).size == (40, 80)
    assert Pair.measure(pairs[2:]).size == (368, 496)
    pictures = [np.zeros((height, width), np.uint8) for height, width in ((20, 30), (100, 300), (400, 500))]
    assert Pair.measure(pictures).size == (100, 224)
    with pytest.raises(InputError, match="keep them apart"):
        Pair.measure([*pairs, pictures[0]])


def test_files_and_arrays_are_read_alike(tmp_path: Path) -> None:
    """What is written as one picture holds both frames; paths, bytes and arrays are the same pictures."""
    from PIL import Image

    pair = Pair(PairConfig(size=(8, 10), bands=1))
    frames = np.random.default_rng(0).integers(0, 256, (2, *pair.stored, 3), dtype=np.uint8)
    paths = [tmp_path / f"{place}.png" for place in range(2)]
    for path, frame in zip(paths, frames, strict=True):
        Image.fromarray(frame).save(path)
    wanted = pair.load({"frames": tuple(frames)})["pair"]
    assert np.array_equal(wanted, frames.transpose(0, 3, 1, 2))
    for raw in (paths, tuple(path.read_bytes() for path in paths), {"frames": paths, "flow": None}):
        sample = pair.load(raw)
        assert "pair.flow" not in sample
        assert np.array_equal(sample["pair"], wanted)
    flow = np.random.default_rng(1).normal(size=(2, *pair.stored)).astype(np.float32)
    flow[:, 3] = np.nan
    encode_file(flow, tmp_path / "it.flo")
    for told in (flow, tmp_path / "it.flo", (tmp_path / "it.flo").read_bytes()):
        assert np.array_equal(pair.load({"frames": paths, "flow": told})["pair.flow"], flow, equal_nan=True)
    written = np.asarray(Image.open(pair.save(torch.from_numpy(wanted) / 255, tmp_path / "both")[0]))
    assert np.array_equal(written, np.concatenate(list(frames), axis=1))


def test_what_does_not_fit_is_refused() -> None:
    pair, frame = Pair(PairConfig(size=(8, 10), bands=1)), np.zeros((8, 10, 3), np.uint8)
    for config, told in (
        (PairConfig(size=(0, 8)), "must be positive"),
        (PairConfig(window=(3, 2)), "no middle; give odd"),
    ):
        with pytest.raises(InputError, match=told):
            Pair(config)
    flow = np.zeros((2, 8, 10), np.float32)
    for raw, told in (
        ([frame], "a pair is two pictures"),
        ({"flow": flow}, "a pair is two pictures"),
        ((frame, frame[:, 1:]), "frames of 8 × 10 and of 8 × 9 pixels"),
        ((frame[1:], frame[1:]), "frames of 7 × 10 pixels, the model reads 8 × 10"),
        ({"frames": (frame, frame), "flow": flow[:, 1:]}, r"a flow of shape \(2, 7, 10\) for frames of 8 × 10"),
        ({"frames": (frame, frame), "flow": flow + np.inf}, "infinite values in the flow"),
        ((frame, np.full((8, 10), np.nan)), "NaN or infinite values"),
        ((b"", b""), "the file is empty"),
    ):
        with pytest.raises(InputError, match=told):
            pair.load(raw)
    with pytest.raises(InputError, match="expected batch × 2 × 3 × height × width"):
        pair.embed({"pair": torch.rand(1, 2, 1, 8, 10)})
