"""The laws every kind of signal obeys. A new entry of KINDS needs only its tiny raws here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium.config import from_dict, to_yaml
from sensorium.errors import InputError
from sensorium.modalities import KINDS, Modality
from sensorium.models.auto import Facts, choose_inputs
from sensorium.models.auto.stems import STEMS, STEMS_OF_TASK

matplotlib.use("Agg")

RANDOM = np.random.default_rng(0)
LENGTHS = (90, 60, 75, 90)  # of ragged examples: one short enough to be padded, two as long as any


def _sound(length: int) -> Any:
    return RANDOM.uniform(-0.5, 0.5, length * 100).astype(np.float32), 8000


def _line(number: int) -> list[Any]:
    return [float(number), "red" if number % 2 else "blue", None if number == 1 else 2.5 * number]


def _pair(across: int) -> Any:
    frames = RANDOM.integers(0, 256, (2, 24, across, 3), dtype=np.uint8)
    return {"frames": tuple(frames), "flow": RANDOM.normal(size=(2, 24, across)).astype(np.float32)}


RAWS: dict[str, Callable[[], list[Any]]] = {
    "image": lambda: [RANDOM.integers(0, 256, (24, 20 + i, 3), dtype=np.uint8) for i in range(4)],
    "audio": lambda: [_sound(length) for length in LENGTHS],
    "video": lambda: [RANDOM.integers(0, 256, (length // 10, 24, 20, 3), dtype=np.uint8) for length in LENGTHS],
    "pair": lambda: [_pair(20 + i) for i in range(4)],
    "volume": lambda: [RANDOM.normal(100.0, 30.0, (6 + i, 8, 7)) for i in range(4)],
    "points": lambda: [RANDOM.normal(size=(length, 3)) for length in LENGTHS],
    "text": lambda: ["".join(RANDOM.choice(list("abc é\n"), length)) for length in LENGTHS],
    "series": lambda: [RANDOM.normal(3.0, 2.0, (length, 2)) for length in LENGTHS],
    "table": lambda: [_line(i) for i in range(4)],
    "label": lambda: ["red", "blue", "blue", "green"],
}


def collate(modality: Modality, samples: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    """What ``data.collate`` does, in the fewest words."""
    batch = {}
    for key in samples[0]:
        arrays = [torch.from_numpy(sample[key]) for sample in samples]
        batch[key] = torch.nn.utils.rnn.pad_sequence(arrays, batch_first=True)
        if modality.ragged and key == modality.name:
            lengths = torch.tensor([len(array) for array in arrays])
            batch[f"{key}.mask"] = torch.arange(batch[key].shape[1]) < lengths[:, None]
    return batch


WITH_STEM = " with a stem"
WHOLE = "image of whole pictures"
TASK_OF_STEM = {kind: task for task, stems in STEMS_OF_TASK.items() for kind in stems} | dict.fromkeys(
    STEMS, "classify"
)


@pytest.fixture(params=[*sorted(KINDS), WHOLE, *(f"{name}{WITH_STEM}" for name in sorted(TASK_OF_STEM))])
def signal(request: pytest.FixtureRequest) -> tuple[Modality, dict[str, Tensor], list[Any]]:
    """A modality measured on its raws, as it is and with the stem that ``auto`` gives it, and pictures whose views are
    cut as in the papers; the batch, and the raws."""
    name = "image" if request.param == WHOLE else request.param.removesuffix(WITH_STEM)
    raws = RAWS[name]()
    kind = KINDS[name]
    config = kind.measure(raws)
    if request.param == WHOLE:
        config = replace(config, longest_side=30, crop=0.08, flip=0.5, randaugment=(4, 5))
    elif request.param != name:
        config = choose_inputs(config, Facts(task=TASK_OF_STEM[name], examples=100))
        assert config.stem is not None
    torch.manual_seed(0)
    modality = kind(config, name="it").eval()
    return modality, collate(modality, [modality.load(raw) for raw in raws]), raws


# The kinds whose examples may differ in length.
RAGGED = pytest.mark.parametrize("signal", [name for name in sorted(KINDS) if KINDS[name].ragged], indirect=True)


def _example(batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    return {key: value[index : index + 1] for key, value in batch.items()}


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value.nan_to_num(-7.0), other[key].nan_to_num(-7.0)) for key, value in one.items()
    )


def test_every_kind_has_raws() -> None:
    assert RAWS.keys() == KINDS.keys()
    assert all(name == kind.kind for name, kind in KINDS.items())


def test_config_survives_yaml(signal: Any) -> None:
    import yaml

    modality = signal[0]
    text = to_yaml(modality.config)
    again = from_dict(type(modality.config), yaml.safe_load(text))
    assert again == modality.config
    assert again.kind == modality.kind
    rebuilt = type(modality)(again, name="it")
    assert rebuilt.load_state_dict(modality.state_dict()).missing_keys == []
    assert (rebuilt.num_rows, rebuilt.channels, rebuilt.elements_per_row) == (
        modality.num_rows,
        modality.channels,
        modality.elements_per_row,
    )


def test_loading_and_measuring_are_deterministic(signal: Any) -> None:
    modality, _, raws = signal
    assert type(modality).measure(raws) == type(modality).measure(raws)
    for raw in raws:
        one, other = modality.load(raw), modality.load(raw)
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key], equal_nan=one[key].dtype.kind == "f") for key in one)
        assert all(key == "it" or key.startswith("it.") for key in one)


def test_boxes_are_cut_or_refused(signal: Any) -> None:
    """Zeros and ones, of the examples' own, that broadcast to the signal; where there are none, a cure."""
    modality, batch, _ = signal
    view = modality.augment(batch, torch.Generator().manual_seed(0))
    share = torch.tensor([0.0, 0.2, 0.5, 1.0])
    if modality.kind not in ("image", "video"):
        with pytest.raises(InputError, match=r"and it is none; set recipe.cutmix=0$"):
            modality.around_boxes(view, share, torch.Generator())
        return
    around = modality.around_boxes(view, share, torch.Generator())
    assert around.expand(view["it"].shape).unique().tolist() == [0, 1]
    assert around[3].all()


def test_sizes_of_the_configuration_are_those_of_the_arrays(signal: Any) -> None:
    """The configuration states them before anything is built; the module only repeats them."""
    modality, batch, _ = signal
    config, view = modality.config, modality.view(batch)
    (segment,) = modality.embed(view).segments
    assert segment.dense().shape[2] == config.row_channels
    assert segment.num_rows == config.num_rows if not modality.ragged else segment.num_rows <= config.num_rows
    assert modality.query_segment(view).dense().shape[2] == config.position_channels
    targets = modality.targets(view)
    assert (
        modality.distance(torch.zeros(4, segment.num_rows, config.value_channels), targets).shape == targets.shape[:2]
    )
    weights = torch.rand(4, segment.num_rows)
    heat = modality.attention_map(weights, view)[0]
    together = prod(config.grid[1:]) if isinstance(getattr(config, "grid", None), tuple) else 1  # rows of one moment
    assert (
        (segment.num_rows - together) * config.elements_per_row
        < heat.numel()
        <= segment.num_rows * config.elements_per_row
    )
    for name in ("num_rows", "position_channels", "value_channels", "elements_per_row"):
        assert getattr(modality, name) == getattr(config, name)
    assert modality.channels == config.row_channels


def test_attributes_that_callers_decide_by(signal: Any) -> None:
    """What leads in time follows it too; what is a file is decoded; a label is told rather than written."""
    modality, batch, raws = signal
    kind = type(modality)
    assert kind.follows_in_time or not kind.leads_in_time
    assert kind.measured_on in ("train", "all")
    assert kind.reads_files(Path("it")) and kind.reads_files(b"it")  # noqa: PT018
    signals = modality.restore(_rows(modality, modality.targets(batch)), batch)
    scores = modality.label_scores(torch.tensor([[0.0, 3.0, 1.0]]), 2)
    assert list(scores) == (list(modality.classes[1:]) if modality.kind == "label" else [])
    assert signals.shape[0] == len(raws)


def test_what_is_saved_is_a_file_of_its_own(signal: Any, tmp_path: Path) -> None:
    """One example of the signal is written to what ``save`` returns, and to nothing else; a label to nothing."""
    modality, batch, _ = signal
    view = modality.view(batch)
    restored = modality.restore(_rows(modality, modality.targets(view)), view)[0]
    written = modality.save(restored, tmp_path / "stem")
    assert sorted(tmp_path.iterdir()) == written
    assert len(written) == modality.has_files
    assert all(path.stem == "stem" and path.stat().st_size > 0 for path in written)


def _rows(modality: Modality, targets: Tensor) -> Tensor:
    """The rows that predict ``targets`` exactly."""
    if modality.kind == "table":
        categories = (targets.nan_to_num() + modality.first).long().masked_fill(modality.numeric, 0) + 1  # type: ignore[operator,arg-type]
        rows = torch.nn.functional.one_hot(categories, modality.value_channels) * 50.0
        rows[..., 0] = targets.nan_to_num()
        return rows
    if modality.categorical:
        return torch.nn.functional.one_hot(targets.clamp(min=0), modality.value_channels) * 50.0
    return targets.nan_to_num()


def test_embed_yields_what_it_declares(signal: Any) -> None:
    modality, batch, _ = signal
    array = modality.embed(modality.view(batch))
    (segment,) = array.segments
    assert segment.name == "it"
    assert array.channels == modality.channels
    assert array.dense().shape == (4, segment.num_rows, modality.channels)
    assert segment.num_rows <= modality.num_rows
    assert segment.dense().dtype == torch.float32
    assert array.dense().isfinite().all()
    assert array.mask is None or (array.mask.dtype == torch.bool and array.mask.any(1).all())


@pytest.mark.parametrize("k", [1, 3])
def test_unpatchify_undoes_patchify(signal: Any, k: int) -> None:
    modality, batch, _ = signal
    view = modality.view(batch)
    rows = modality.embed(view).num_rows
    values = torch.arange(4 * rows * modality.elements_per_row * k, dtype=torch.float32).view(4, rows, -1)
    restored = modality.unpatchify(values, view)
    assert torch.equal(modality.unpatchify(modality.patchify(restored), view), restored)
    if restored.numel() == values.numel():  # else the last patch is part padding
        assert torch.equal(modality.patchify(restored), values)


def test_patchify_gives_the_rows_of_the_signal(signal: Any) -> None:
    modality, batch, _ = signal
    view = modality.view(batch)
    rows = modality.patchify(view["it"].float())
    assert rows.shape[:2] == modality.embed(view).segments[0].values.shape[:2]
    restored = modality.unpatchify(rows, view)
    assert torch.equal(restored.reshape(view["it"].shape).nan_to_num(-7.0), view["it"].float().nan_to_num(-7.0))


@RAGGED
def test_padding_changes_no_present_row(signal: Any) -> None:
    modality, batch, raws = signal
    together = modality.embed(modality.view(batch))
    for index, raw in enumerate(raws):
        alone = modality.embed(modality.view(collate(modality, [modality.load(raw)])))
        kept = alone.num_rows
        assert torch.allclose(together.dense()[index, :kept], alone.dense()[0], atol=1e-6)
        assert together.mask is None or not together.mask[index, kept:].any()


@RAGGED
def test_padding_itself_is_never_read(signal: Any) -> None:
    modality, batch, _ = signal
    mask = batch["it.mask"]
    room = mask.view(*mask.shape, *[1] * (batch["it"].ndim - 2))
    other = {**batch, "it": torch.where(room, batch["it"], torch.ones_like(batch["it"]))}
    one, two = (modality.embed(modality.view(each)) for each in (batch, other))
    assert torch.equal(one.dense()[one.mask], two.dense()[two.mask])


def test_an_example_does_not_depend_on_its_mates(signal: Any) -> None:
    modality, batch, _ = signal
    together = modality.embed(modality.view(batch)).dense()
    for index in range(4):
        alone = modality.embed(modality.view(_example(batch, index))).dense()
        rows = min(alone.shape[1], together.shape[1])  # those left out are padding
        assert torch.allclose(together[index, :rows], alone[0, :rows], atol=1e-6)


def test_augment(signal: Any) -> None:
    modality, batch, _ = signal
    before = {key: value.clone() for key, value in batch.items()}
    view = modality.view(batch)
    one, same, other = (modality.augment(batch, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert _same(batch, before), "augment changed its input"
    assert _same(one, same), "not determined by the generator"
    assert {key: value.shape for key, value in one.items()} == {key: value.shape for key, value in view.items()}
    assert modality.embed(one).dense().shape == modality.embed(view).dense().shape
    assert modality.embed(other).dense().isfinite().all()


def test_an_attention_map_repeats_each_weight_for_its_elements(signal: Any) -> None:
    modality, batch, _ = signal
    view = modality.view(batch)
    weights = torch.rand(4, modality.embed(view).num_rows)
    heat = modality.attention_map(weights, view)
    if heat[0].numel() == weights.shape[1] * modality.elements_per_row:  # no patch is part padding
        assert torch.allclose(heat.flatten(1).sum(1), weights.sum(1) * modality.elements_per_row)
    places = view["it"].shape
    assert heat.shape[0] == places[0]
    assert torch.allclose(modality.attention_map(torch.ones_like(weights), view), torch.ones(()))


def test_positions_are_those_of_the_rows(signal: Any) -> None:
    """To ask for rows is to name the positions that the encoder reads them by; where positions are added, those."""
    modality, batch, _ = signal
    view = modality.view(batch)
    (segment,) = modality.embed(view).segments
    where = modality.query_segment(view)
    assert where.values.shape == (4, segment.num_rows, 0)
    assert (where.mask is None) == (segment.mask is None) or where.mask.all()
    assert where.mask is None or segment.mask is None or where.mask.equal(segment.mask)
    assert modality.position_channels == (0 if where.positions is None else where.positions.channels)
    if segment.positions is not None:
        assert where.positions.dense().equal(segment.positions.dense())


@pytest.mark.parametrize("elementwise", [False, True])
def test_the_signal_is_what_its_targets_say(signal: Any, elementwise: bool) -> None:
    """``restore`` undoes ``targets``, and the right answer is at no distance."""
    modality, batch, _ = signal
    view = modality.view(batch)
    queried = modality.elementwise() if elementwise else modality
    targets = queried.targets(view)
    assert targets.shape[:2] == (4, queried.query_segment(view).num_rows)
    rows = _rows(queried, targets)
    assert rows.shape[2] == queried.value_channels
    assert torch.allclose(queried.distance(rows, targets), torch.zeros(()), atol=1e-5)
    restored, mask = queried.restore(rows, view), view.get("it.mask")
    room = ~view["it"].float().isnan()
    if mask is not None:
        room &= mask.view(*mask.shape, *[1] * (room.ndim - 2))
    expected = view["it"].float()[room]
    expected = expected.clamp(0, 1) if modality.kind == "image" else expected  # resizing may leave [0, 1]
    assert torch.allclose(restored.reshape(room.shape)[room].float(), expected, atol=1e-3)


@pytest.mark.parametrize("warm", [False, True])
def test_draw(signal: Any, warm: bool) -> None:
    """What is checked of a drawing: it puts something on the axes it is given, leaves the batch as it is, differs from
    that of another example, and with a map of attention from the one without. Whether it looks good is not."""
    import matplotlib.pyplot as plt

    modality, batch, _ = signal
    view = modality.view(batch)
    before = {key: value.clone() for key, value in view.items()}
    weights = torch.rand(4, modality.embed(view).num_rows, generator=torch.Generator().manual_seed(0))
    heat = modality.attention_map(weights / weights.max(), view)

    def drawn(index: int, heat: Tensor | None) -> np.ndarray:
        figure, axes = plt.subplots(figsize=(3, 3), dpi=60)
        modality.draw(axes, view, index, heat)
        assert axes.has_data() or axes.texts
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba()).copy()  # type: ignore[attr-defined]
        plt.close(figure)
        return pixels

    one = drawn(1, heat[1] if warm else None)
    assert not np.array_equal(one, drawn(0, heat[0] if warm else None))
    assert np.array_equal(one, drawn(1, None)) != warm
    assert _same(view, before)


@pytest.mark.parametrize("signal", [f"{name}{WITH_STEM}" for name in sorted(TASK_OF_STEM)], indirect=True)
def test_a_stem_does_not_show_hidden_rows_to_others(signal: Any) -> None:
    """What a masked autoencoder has to predict changes no row that it sees."""
    modality, batch, _ = signal
    for parameter in modality.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    view = modality.view(batch)
    (segment,) = modality.embed(view).segments
    generator = torch.Generator().manual_seed(0)
    hidden = torch.rand(segment.values.shape[:2], generator=generator) < 0.5
    present = torch.ones_like(hidden) if segment.mask is None else segment.mask
    inside = modality.attention_map(hidden.float(), view) > 0
    changed = dict(view)
    own = changed["it"]
    inside = inside.view(*inside.shape[: own.ndim]) if inside.ndim > own.ndim else inside
    other = own + 1 if modality.categorical else own + 0.1
    changed["it"] = torch.where(_of_hidden(modality, inside, own), other, own)
    with torch.no_grad():
        before = modality.embed({**view, "it.hidden": hidden}).segments[0].values
        after = modality.embed({**changed, "it.hidden": hidden}).segments[0].values
        seen = modality.embed(changed).segments[0].values
    kept = present & ~hidden
    assert torch.allclose(before[kept], after[kept], atol=1e-5)
    assert not torch.allclose(before[present & hidden], seen[present & hidden], atol=1e-5)


def _of_hidden(modality: Modality, inside: Tensor, signal: Tensor) -> Tensor:
    """Which numbers of the signal a task hides; of points all but where they are, which queries say."""
    if modality.kind == "points":
        return inside.expand_as(signal) & (torch.arange(signal.shape[-1]) > 2)
    return inside.expand_as(signal)
