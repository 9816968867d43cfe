"""The stem of a grid: its laws, and agreement with loops over places."""

from __future__ import annotations

from itertools import product
from math import erf, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sensorium.config import from_dict, to_dict
from sensorium.errors import InputError
from sensorium.nn.stems import GridStem, GridStemConfig, Stage
from sensorium.nn.stems.grid import changes_of

CONFIGS = {
    "series": GridStemConfig(
        stages=(
            Stage(channels=4, stride=(2,), kernel=(5,), dilations=(1, 2)),
            Stage(channels=6, stride=(1,), kernel=(3,), dilations=(1,)),
        )
    ),
    "picture": GridStemConfig(
        stages=(
            Stage(channels=4, stride=(1, 2), kernel=(3, 3), dilations=(1,)),
            Stage(channels=5, stride=(2, 1), kernel=(3, 1), dilations=(2,)),
        )
    ),
    "volume": GridStemConfig(stages=(Stage(channels=4, stride=(2, 1, 2), kernel=(1, 3, 3), dilations=(1,)),)),
    "video": GridStemConfig(
        stages=(Stage(channels=4, stride=(2, 1, 2), kernel=(1, 3, 3), dilations=(1,)),), changes=True
    ),
}
SHAPES = {"series": (8,), "picture": (4, 6), "volume": (4, 3, 4), "video": (4, 3, 4)}


def built(kind: str, *, channels: int = 3) -> GridStem:
    """A stem in float64 whose every weight is random, so that its blocks do something."""
    torch.manual_seed(1)
    stem = GridStem(CONFIGS[kind], channels=channels).double()
    for parameter in stem.parameters():
        nn.init.normal_(parameter, std=0.5)
    return stem


def signals(kind: str, batch: int = 2) -> Tensor:
    return torch.randn(batch, *SHAPES[kind], 3, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_row_covers_the_strides_of_all_stages(kind: str) -> None:
    rows, mask = built(kind)(signals(kind))
    assert mask is None
    counts = [size // patch for size, patch in zip(SHAPES[kind], CONFIGS[kind].patch, strict=True)]
    assert rows.shape == (2, np.prod(counts), CONFIGS[kind].channels)


@pytest.mark.parametrize("kind", CONFIGS)
def test_it_agrees_with_loops_over_places(kind: str) -> None:
    stem, signal = built(kind), signals(kind)
    mask = torch.rand(signal.shape[:-1], generator=torch.Generator().manual_seed(1)) < 0.8
    rows, present = stem(signal, mask)
    expected, expected_mask = reference(stem, signal.numpy(), mask.numpy())
    assert present is not None
    np.testing.assert_array_equal(present.numpy(), expected_mask)
    np.testing.assert_allclose(rows.detach().numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_is_masked_changes_no_present_row(kind: str) -> None:
    stem, signal = built(kind), signals(kind)
    mask = torch.rand(signal.shape[:-1], generator=torch.Generator().manual_seed(2)) < 0.6
    rows, present = stem(signal, mask)
    others, _ = stem(torch.where(mask[..., None], signal, 1e6), mask)
    torch.testing.assert_close(others[present], rows[present])


@pytest.mark.parametrize("kind", CONFIGS)
def test_neither_batch_mates_nor_padding_change_a_row(kind: str) -> None:
    stem, signal = built(kind), signals(kind)
    alone, _ = stem(signal[:1])
    together, _ = stem(signal)
    torch.testing.assert_close(together[:1], alone)
    padded = torch.cat([signal, torch.full_like(signal, 5.0)], dim=1)
    mask = torch.zeros(padded.shape[:-1], dtype=torch.bool)
    mask[:, : signal.shape[1]] = True
    rows, present = stem(padded, mask)
    assert present is not None
    torch.testing.assert_close(rows[:, : together.shape[1]], together)
    assert present[:, : together.shape[1]].all()
    assert not present[:, together.shape[1] :].any()


def test_an_end_that_is_no_whole_stride_is_padding() -> None:
    stem, signal = built("series"), signals("series")
    rows, mask = stem(signal[:, :7])
    assert mask is not None
    assert mask.all()
    masked = torch.ones(2, 8, dtype=torch.bool)
    masked[:, 7] = False
    torch.testing.assert_close(rows, stem(signal, masked)[0])


def test_a_row_knows_its_neighbours_and_only_them() -> None:
    config = GridStemConfig(stages=(Stage(channels=4, stride=(1,), kernel=(3,), dilations=(1,)),))
    stem = GridStem(config, channels=3)
    for parameter in stem.parameters():
        nn.init.normal_(parameter, std=0.5)
    signal = torch.randn(1, 11, 3)
    other = signal.clone()
    other[0, 5] += 1
    changed = (stem(other)[0] != stem(signal)[0]).any(-1)[0]
    assert changed.nonzero().flatten().tolist() == [3, 4, 5, 6, 7]  # two convolutions of kernel 3


def test_changes_say_nothing_of_light_and_contrast() -> None:
    video = torch.randn(2, 5, 4, 4, 3)
    torch.testing.assert_close(changes_of(20 * video + 7), changes_of(20 * video))
    torch.testing.assert_close(changes_of(20 * video), changes_of(video), rtol=1e-4, atol=1e-5)
    assert not changes_of(video[:, :1].expand(-1, 5, -1, -1, -1)).any()


@pytest.mark.parametrize("kind", CONFIGS)
def test_gradients_reach_every_weight_and_agree_with_differences(kind: str) -> None:
    stem, signal = built(kind), signals(kind, batch=1).requires_grad_()
    stem(signal)[0].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in stem.parameters())
    assert torch.autograd.gradcheck(lambda values: stem(values)[0], signal)


def test_blocks_start_as_nothing() -> None:
    with_blocks = GridStem(CONFIGS["series"], channels=3)
    assert all(not block.project.weight.any() for stage in with_blocks.stages for block in stage.blocks)


def test_a_configuration_survives_a_round_trip() -> None:
    assert from_dict(GridStemConfig, to_dict(CONFIGS["video"])) == CONFIGS["video"]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ((Stage(channels=4, stride=(2,), kernel=(4,)),), "have no middle"),
        ((Stage(channels=4, stride=(2,), kernel=(3, 3)),), "axes"),
        ((Stage(channels=4, stride=(1,) * 4, kernel=(3,) * 4),), "axes"),
        ((), "stages"),
    ],
)
def test_what_does_not_fit_is_refused(stages: tuple[Stage, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GridStem(GridStemConfig(stages=stages), channels=3)


# -- the same from the definition, place by place


def reference(stem: GridStem, signal: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    results, masks = zip(*(_of_one(stem, *one) for one in zip(signal, mask, strict=True)), strict=True)
    return np.stack(results), np.stack(masks)


def _of_one(stem: GridStem, signal: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    weights = {name: value.detach().numpy() for name, value in stem.named_parameters()}
    if stem.config.changes:
        signal = np.concatenate([signal, _changed(signal, mask)], axis=-1)
    for number, stage in enumerate(stem.config.stages):
        name = f"stages.{number}"
        signal, mask = _projected(signal, mask, stage.stride, weights, name)
        for block, dilation in enumerate(stage.dilations):
            within = f"{name}.blocks.{block}"
            inner = _gelu(_normed(signal, weights, f"{within}.norm"))
            inner = _convolved(inner, mask, stage.kernel, dilation, weights, f"{within}.expand")
            inner = _gelu(_normed(inner, weights, f"{within}.inner_norm"))
            signal = signal + _convolved(inner, mask, stage.kernel, dilation, weights, f"{within}.project")
    rows = _normed(signal, weights, "norm")
    return rows.reshape(-1, rows.shape[-1]), mask.reshape(-1)


def _changed(signal: np.ndarray, mask: np.ndarray) -> np.ndarray:
    result, squares = np.zeros(signal.shape), []
    for place in np.ndindex(mask.shape):
        before = (place[0] - 1, *place[1:])
        if place[0] > 0 and mask[place] and mask[before]:
            result[place] = signal[place] - signal[before]
            squares.extend(result[place] ** 2)
    return result / sqrt(np.mean(squares) + 1e-6)


def _projected(
    signal: np.ndarray, mask: np.ndarray, stride: tuple[int, ...], weights: dict[str, np.ndarray], name: str
) -> tuple[np.ndarray, np.ndarray]:
    shape = tuple(size // step for size, step in zip(mask.shape, stride, strict=True))
    weight, bias = weights[f"{name}.projection.weight"], weights[f"{name}.projection.bias"]
    result, present = np.zeros((*shape, len(bias))), np.zeros(shape, dtype=bool)
    for place in np.ndindex(shape):
        inside = [
            tuple(at * step + offset for at, step, offset in zip(place, stride, offsets, strict=True))
            for offsets in np.ndindex(stride)
        ]
        result[place] = weight @ np.concatenate([signal[at] * mask[at] for at in inside]) + bias
        present[place] = any(mask[at] for at in inside)
    return result, present


def _convolved(
    signal: np.ndarray,
    mask: np.ndarray,
    kernel: tuple[int, ...],
    dilation: int,
    weights: dict[str, np.ndarray],
    name: str,
) -> np.ndarray:
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    taps = weight.reshape(len(bias), *kernel, -1)
    result = np.zeros(signal.shape) + bias
    for place in np.ndindex(mask.shape):
        for tap in product(*map(range, kernel)):
            at = tuple(i + dilation * (t - w // 2) for i, t, w in zip(place, tap, kernel, strict=True))
            if all(0 <= i < size for i, size in zip(at, mask.shape, strict=True)) and mask[at]:
                result[place] += taps[(slice(None), *tap)] @ signal[at]
    return result


def _normed(signal: np.ndarray, weights: dict[str, np.ndarray], name: str) -> np.ndarray:
    centred = signal - signal.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _gelu(values: np.ndarray) -> np.ndarray:
    return values * (1 + np.vectorize(erf)(values / sqrt(2))) / 2
