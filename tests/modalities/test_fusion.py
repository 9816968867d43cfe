"""Several signals as one: absent is masked, the order is free, sound keeps step with pictures, modalities drop out."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from builders import gradients, normal, shake
from sensorium.codecs.containers import has_sound
from sensorium.config import from_dict, to_yaml
from sensorium.errors import Absent, InputError
from sensorium.modalities import (
    AudioConfig,
    Fusion,
    FusionConfig,
    ImageConfig,
    LabelConfig,
    PointsConfig,
    SeriesConfig,
    TableConfig,
    TextConfig,
    VideoConfig,
    build_modality,
)
from sensorium.modalities.table import Column
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.nn import Encoder, EncoderConfig, attention_path
from sensorium.nn.byte_array import ByteArray
from sensorium.tasks import ClassifyConfig

matplotlib.use("Agg")

RATE = 8000
PICTURE = ImageConfig(size=(6, 6), patch=(2, 2), bands=2)
MODALITIES: dict[str, Any] = {
    "left": PICTURE,
    "right": replace(PICTURE, flip=0.5, crop=0.6),
    "words": TextConfig(length=8, channels=6),
    "cloud": PointsConfig(points=5, bands=2, jitter=0.1),
    "pulse": SeriesConfig(channels=2, length=6, mean=(0.0, 0.0), std=(1.0, 1.0), bands=2),
    "facts": TableConfig(columns=(Column(name="age"), Column(name="height")), channels=5),
}
CLIP = VideoConfig(frames=4, rate=10.0, size=(8, 8), patch=(2, 4, 4), bands=2, clips=3)
WAVE = AudioConfig(rate=RATE, samples=3200, representation="raw", patch=(100, 1), bands=4, gain=0.0)
MEL = AudioConfig(rate=RATE, samples=3200, window=200, hop=80, patch=(5, 64), speed=0.0, pitch=0.0, blank=0.0, gain=0.0)
ENCODER = EncoderConfig(
    num_latents=3,
    latent_channels=8,
    cross_attention=(0, 1),
    latent_transformer=(0, 1),
    num_layers=1,
    num_self_attention_heads=2,
)


def fusion(*names: str, **changes: Any) -> Fusion:
    """Some of the modalities, all random numbers in them shaken."""
    config = FusionConfig(modalities={name: MODALITIES[name] for name in names or MODALITIES}, **changes)
    return shake(Fusion(config)).eval()


def batch_of(count: int = 3, seed: int = 0) -> dict[str, Tensor]:
    """Random examples that have every modality."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator, dtype=torch.float64)

    return {
        "left": random(3, 6, 6),
        "right": random(3, 6, 6),
        "words": (random(8) * 200).long(),
        "cloud": random(5, 3) * 2 - 1,
        "pulse": random(6, 2),
        "facts": random(2),
    }


def lacking(batch: dict[str, Tensor], name: str, *rows: int, garbage: float = float("nan")) -> dict[str, Tensor]:
    """The batch without one modality of some examples; what stands in its place is garbage."""
    signal, present = batch[name].clone(), torch.ones(len(batch[name]), dtype=torch.bool)
    present[list(rows)] = False
    signal[list(rows)] = garbage if signal.is_floating_point() else 7  # type: ignore[assignment]
    return {**batch, name: signal, f"{name}.present": present}


def singles(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch with its numbers in float32, as files give them."""
    return {name: value.float() if value.is_floating_point() else value for name, value in batch.items()}


# -- the papers' numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("representation", ["raw", "mel"])
def test_audioset_has_the_papers_channels(representation: str) -> None:
    """384 pixels, 99 Fourier features of time, height and width, and a code of 4 for video: 487 (Perceiver §4.2)."""
    raw = {"representation": "raw", "patch": (128, 1)}
    mel = {"representation": "mel", "patch": (1, 1), "window": 1640, "hop": 820}
    sound = AudioConfig(rate=48000, samples=61440, bands=64, **(raw if representation == "raw" else mel))  # type: ignore[arg-type]
    both = Fusion(FusionConfig(modalities={"video": VideoConfig(), "audio": sound}))
    assert both.channels == 487
    assert both.modality_embeddings["of_video"].shape == (4,)
    assert both.num_rows == 12_544 + (480 if representation == "raw" else 4_800)


@given(
    names=st.lists(st.sampled_from(sorted(MODALITIES)), min_size=1, unique=True), modality_channels=st.integers(1, 9)
)
def test_segments_have_one_width(names: list[str], modality_channels: int) -> None:
    """The widest modality and a modality_embedding; each modality keeps its own rows and gets what it lacks."""
    it, batch = fusion(*names, modality_channels=modality_channels), batch_of()
    array = it.embed(it.view(batch))
    assert [segment.name for segment in array.segments] == names
    assert array.channels == it.channels == max(modality.channels for modality in it.modalities) + modality_channels
    assert min(it.modality_embeddings[f"of_{name}"].numel() for name in names) == modality_channels
    for segment, modality in zip(array.segments, it.modalities, strict=True):
        alone = modality.embed(modality.view(batch)).dense()
        torch.testing.assert_close(segment.dense()[..., : modality.channels], alone, check_dtype=False)
        code = it.modality_embeddings[f"of_{modality.name}"].expand(3, segment.num_rows, -1)
        torch.testing.assert_close(segment.dense()[..., modality.channels :], code, check_dtype=False)


def test_modality_embeddings_start_as_in_the_paper() -> None:
    """Truncated normal, 0.02."""
    wide = Fusion(FusionConfig(modalities={"a": PICTURE}, modality_channels=20_000)).modality_embeddings["of_a"]
    assert float(wide.detach().std()) == pytest.approx(0.02, rel=0.15)
    assert float(wide.detach().abs().max()) <= 0.05


def test_config_survives_yaml() -> None:
    """Inside a model's configuration, modalities in their order."""
    inputs = FusionConfig(modalities=MODALITIES, dropout={"left": 0.3})
    config = PerceiverConfig(inputs=inputs, encoder=ENCODER, task=ClassifyConfig(classes=("a", "b")))
    again = from_dict(PerceiverConfig, yaml.safe_load(to_yaml(config)))
    assert again == config
    assert isinstance(again.inputs, FusionConfig)
    assert list(again.inputs.modalities) == list(MODALITIES)
    Perceiver(again).load_state_dict(Perceiver(config).state_dict())


# -- absent = masked --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODALITIES)
@pytest.mark.parametrize("path", ["projected", "absorbed", "structured"])
def test_absent_is_masked(name: str, path: Any) -> None:
    """Of one example or of all: as if its rows were masked, whatever stands there, and as if it had not been given."""
    it = fusion()
    encoder = shake(Encoder(ENCODER, channels=it.channels))
    batch = batch_of()
    whole = it.embed(it.view(batch))
    for rows in ((1,), (0, 1, 2)):
        array = it.embed(it.view(lacking(batch, name, *rows)))
        masked = []
        for segment in whole.segments:
            mask = torch.ones(segment.values.shape[:2], dtype=torch.bool) if segment.mask is None else segment.mask
            mask = mask.clone()
            mask[list(rows)] &= segment.name != name
            masked.append(replace(segment, mask=mask))
        with attention_path(encoder, path):
            found, expected = encoder(array), encoder(ByteArray(tuple(masked)))
        torch.testing.assert_close(found, expected)
        assert found.isfinite().all()
    with attention_path(encoder, path):
        without = encoder(it.embed({key: value for key, value in batch.items() if key != name}))
    torch.testing.assert_close(found, without)


def test_what_is_absent_has_finite_gradients() -> None:
    """Also where garbage stands in its place."""
    it = fusion()
    batch = batch_of()
    for name in MODALITIES:
        batch = lacking(batch, name, 1)
    it.embed(batch).dense().square().sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in it.parameters())


def test_an_example_does_not_depend_on_what_its_mates_lack() -> None:
    it = fusion()
    encoder = shake(Encoder(ENCODER, channels=it.channels))
    batch = lacking(lacking(batch_of(), "words", 0), "left", 2)
    together = encoder(it.embed(it.view(batch)))
    for index in range(3):
        alone = encoder(it.embed(it.view({key: value[index : index + 1] for key, value in batch.items()})))
        torch.testing.assert_close(together[index : index + 1], alone)


# -- the order of modalities ------------------------------------------------------------------------------------------


@given(order=st.permutations(sorted(MODALITIES)))
def test_the_order_of_modalities_is_free(order: list[str]) -> None:
    """The same weights, the same answers and the same variations, whatever the order in the file."""
    one, other = fusion(dropout={"left": 0.5, "words": 0.4}), fusion(*order, dropout={"words": 0.4, "left": 0.5})
    other.load_state_dict(one.state_dict())
    encoder = shake(Encoder(ENCODER, channels=one.channels))
    batch = batch_of()
    torch.testing.assert_close(encoder(one.embed(batch)), encoder(other.embed(batch)))
    first, second = (each.float().augment(singles(batch), torch.Generator().manual_seed(5)) for each in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(value.nan_to_num(), second[key].nan_to_num()) for key, value in first.items())


# -- structured = dense -----------------------------------------------------------------------------------------------


def test_the_structured_read_of_a_fusion_is_the_dense_one() -> None:
    """Forward and backward in float64, modality_embeddings and learned positions too; two pictures, of which one is
    missing once."""
    it = fusion()
    encoder = shake(Encoder(ENCODER, channels=it.channels))
    batch = lacking(batch_of(), "right", 1)
    results = []
    for path in ("structured", "projected"):
        it.zero_grad()
        encoder.zero_grad()
        with attention_path(encoder, path):  # type: ignore[arg-type]
            latents = encoder(it.embed(batch))
        (latents * normal(*latents.shape)).sum().backward()
        results.append({"latents": latents.detach(), **gradients(encoder), **gradients(it)})
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], msg=name)


def test_checkpointing_a_fusion_changes_no_gradient() -> None:
    """Rows that depend on parameters are made ready once, outside of what is computed anew."""
    results = []
    for checkpointing in (False, True):
        it = fusion()
        encoder = shake(Encoder(ENCODER, channels=it.channels))
        encoder(it.embed(batch_of()), checkpointing=checkpointing).square().sum().backward()
        results.append({**gradients(encoder), **gradients(it)})
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], msg=name)


# -- dropout ----------------------------------------------------------------------------------------------------------


def test_dropout_masks_whole_modalities_and_never_all() -> None:
    """As often as it says, by the generator alone; an example that would be left with nothing keeps what it has."""
    it = fusion("left", "words", dropout={"left": 0.3})
    batch = lacking({key: batch_of(4000)[key] for key in ("left", "words")}, "words", *range(1000))
    one, same, other = (it.augment(batch, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one["left.present"], same["left.present"])
    assert not torch.equal(one["left.present"], other["left.present"])
    assert one["left.present"][:1000].all()
    assert float(one["left.present"][1000:].float().mean()) == pytest.approx(0.7, abs=0.03)
    assert torch.equal(one["words.present"], batch["words.present"])
    assert "left.present" not in it.view(batch)
    both = fusion("left", "words", dropout={"left": 1.0, "words": 1.0}).augment(batch, torch.Generator())
    assert (both["left.present"] | both["words.present"]).all()


def test_without_dropout_nothing_is_taken() -> None:
    it = fusion("left", "words", dropout={"left": 0.0})
    assert "left.present" not in it.augment(batch_of(), torch.Generator())


# -- in step ----------------------------------------------------------------------------------------------------------


def film(count: int = 3, *, frames: int = 12, seconds: float = 1.2) -> dict[str, Tensor]:
    """Frames and samples that both tell the time: brightness and amplitude rise from 0 to 0.5 over 1.2 seconds."""
    samples = round(seconds * RATE)
    moments = torch.arange(frames) / 10 / 2.4
    return {
        "video": moments.view(1, -1, 1, 1, 1).expand(count, -1, 3, 8, 8),
        "audio": (torch.arange(samples) / RATE / 2.4).view(1, -1, 1).expand(count, -1, 1),
    }


def test_sound_starts_where_the_clip_starts() -> None:
    """In the view, in each of several views and in training, of samples and of spectra; and is not shifted there."""
    it = Fusion(FusionConfig(modalities={"audio": replace(WAVE, shift=0.5, clips=1), "video": CLIP}))
    batch = film()
    views = [it.view(batch), *it.views(batch), it.augment(batch, torch.Generator().manual_seed(1))]
    assert len(views) == 5
    for view in views:
        assert view["video"].shape[1] == 4
        assert view["audio"].shape[1] == 3200
        torch.testing.assert_close(view["audio"][:, 0, 0], view["video"][:, 0, 0, 0, 0], atol=1e-4, rtol=0)
    starts = [float(view["video.start"][0]) for view in views]
    assert starts[:4] == pytest.approx([0.4, 0.0, 0.4, 0.8])
    assert all(after > before for before, after in pairwise(starts[1:4]))
    spectra = Fusion(FusionConfig(modalities={"audio": MEL, "video": CLIP}))
    heard = build_modality(MEL).whole(batch)["audio"]  # type: ignore[operator]
    for view in spectra.views(batch):
        start = round(float(view["video.start"][0]) * RATE / 80)
        assert torch.equal(view["audio"][0], heard[0, start : start + 41])


def test_sound_that_fits_stays_where_it_is() -> None:
    """With pictures it is not shifted round in a circle; alone it is."""
    batch = film(frames=4, seconds=0.4)
    it = Fusion(FusionConfig(modalities={"audio": WAVE, "video": CLIP}))
    assert torch.equal(it.augment(batch, torch.Generator())["audio"], batch["audio"])
    without = {"audio": batch["audio"]}
    assert not torch.equal(it.augment(without, torch.Generator())["audio"], batch["audio"])


def test_a_film_that_is_absent_leads_nobody() -> None:
    """Its example's sound is heard as it would be alone: from its beginning to its end."""
    it = Fusion(FusionConfig(modalities={"audio": replace(WAVE, clips=3), "video": CLIP}))
    batch = {**film(), "video.present": torch.tensor([True, False, True])}
    alone = list(it.views({"audio": batch["audio"]}))
    assert len(alone) == 3
    for view, heard in zip(it.views(batch), alone, strict=True):
        assert torch.equal(view["audio"][1], heard["audio"][1])
        torch.testing.assert_close(view["audio"][0, 0, 0], view["video"][0, 0, 0, 0, 0], atol=1e-4, rtol=0)
    last = alone[-1]["audio"][1]
    assert torch.equal(last, batch["audio"][1, -len(last) :])


def test_two_films_keep_step() -> None:
    it = Fusion(FusionConfig(modalities={"front": CLIP, "back": CLIP}))
    batch = {"front": film()["video"], "back": film()["video"]}
    view = it.augment(batch, torch.Generator().manual_seed(3))
    torch.testing.assert_close(view["front"], view["back"])


# -- from files -------------------------------------------------------------------------------------------------------


def test_samples_say_what_is_present() -> None:
    """None, no such name, and a file without the signal are absent; an example without anything is refused."""
    it = Fusion(FusionConfig(modalities={"words": MODALITIES["words"], "left": PICTURE}))
    picture = np.zeros((6, 6, 3), np.uint8)
    whole = it.load({"words": "abc", "left": picture})
    assert sorted(whole) == ["left", "left.present", "words", "words.present"]
    assert whole["words.present"]
    for raw in ({"left": picture}, {"left": picture, "words": None}):
        sample = it.load(raw)
        assert "words" not in sample
        assert not sample["words.present"]
    with pytest.raises(Absent, match="none of words, left; remove it"):
        it.load({"words": None})


def test_measure_leaves_absent_modalities_out() -> None:
    raws = [{"text": "abcd", "image": None}, {"image": np.zeros((8, 8, 3), np.uint8)}]
    config = Fusion.measure(raws)
    assert {name: part.kind for name, part in config.modalities.items()} == {"text": "text", "image": "image"}
    named = Fusion.measure([{"said": "abcd", "also": "ab"}], kinds={"said": "text", "also": "text"})
    assert [part.length for part in named.modalities.values()] == [4, 2]  # type: ignore[union-attr]


# -- rows, maps and drawings ------------------------------------------------------------------------------------------


def test_unpatchify_undoes_patchify_and_maps_are_apart() -> None:
    it, batch = fusion("left", "pulse"), batch_of()
    rows = it.patchify({name: batch[name] for name in ("left", "pulse")})
    restored = it.unpatchify(rows, batch)
    assert all(torch.equal(restored[name], batch[name]) for name in ("left", "pulse"))
    weights = torch.rand(3, it.embed(batch).num_rows)
    maps = it.attention_map(weights, batch)
    assert {name: tuple(map_.shape) for name, map_ in maps.items()} == {"left": (3, 1, 6, 6), "pulse": (3, 6, 1)}
    assert torch.equal(maps["pulse"][..., 0], weights[:, 9:])


@pytest.mark.parametrize("warm", [False, True])
def test_draw(warm: bool) -> None:
    """What is checked of a drawing: it has axes for every modality that the example has, in their order, with their
    names as titles, and something is drawn on each."""
    import matplotlib.pyplot as plt

    it, batch = fusion().float(), singles(lacking(batch_of(), "left", 1))
    figure, axes = plt.subplots()
    maps = it.attention_map(torch.rand(3, it.embed(batch).num_rows), batch)
    it.draw(axes, batch, 1, {name: map_[1] for name, map_ in maps.items()} if warm else None)
    figure.canvas.draw()
    titles = [inner.get_title(loc="left") for inner in axes.child_axes]
    assert all(inner.has_data() or inner.texts for inner in axes.child_axes)
    plt.close(figure)
    assert titles == [name for name in MODALITIES if name != "left"]


# -- sizes, files and labels -------------------------------------------------------------------------------------------


def test_sizes_of_the_configuration() -> None:
    """Rows add up; of all else there is as much as the modality with the most needs."""
    it = fusion()
    parts = [modality.config for modality in it.modalities]
    assert it.config.num_rows == it.num_rows == sum(part.num_rows for part in parts)
    assert (
        it.config.row_channels == it.channels == max(part.row_channels for part in parts) + it.config.modality_channels
    )
    assert it.config.elements_per_row == max(part.elements_per_row for part in parts)
    assert it.config.position_channels == max(part.position_channels for part in parts)
    assert it.config.value_channels == max(part.value_channels for part in parts)
    assert it.embed(batch_of()).channels == it.config.row_channels


def test_a_film_is_saved_with_its_sound_and_the_rest_beside_it(tmp_path: Path) -> None:
    """Spectra are no sound; a label is no file; what is alone has no name of its own."""
    label = LabelConfig(classes=2, names=("cat", "dog"))
    it = Fusion(FusionConfig(modalities={"audio": WAVE, "label": label, "video": CLIP}))
    signal = {name: values[0] for name, values in film(frames=4, seconds=0.4).items()}
    written = it.save({**signal, "label": torch.tensor([1])}, tmp_path / "it")
    assert [path.name for path in written] == ["it-audio.wav", "it.mp4"]
    assert all(path.exists() for path in written)
    assert has_sound(written[1])
    silent = Fusion(FusionConfig(modalities={"audio": MEL, "video": CLIP}))
    written = silent.save({**signal, "audio": torch.zeros(41, 64, 1)}, tmp_path / "other")
    assert [path.name for path in written] == ["other-audio.npz", "other-video.mp4"]
    assert not has_sound(written[1])
    assert [path.name for path in it.save({"video": signal["video"]}, tmp_path / "alone")] == ["alone.mp4"]


def test_label_scores_are_those_of_the_label() -> None:
    """The likeliest classes first; none where there is no label."""
    label = LabelConfig(classes=3, names=("cat", "dog", "eel"))
    it = Fusion(FusionConfig(modalities={"left": PICTURE, "label": label}))
    rows = {"left": torch.zeros(36, 3), "label": torch.tensor([[0.0, 2.0, 1.0]])}
    scores = it.label_scores(rows, 2)
    assert list(scores) == ["dog", "eel"]
    assert list(scores.values()) == pytest.approx(torch.tensor([0.0, 2.0, 1.0]).softmax(0)[1:].tolist())
    assert it.label_scores({"left": rows["left"]}, 2) == {}


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": {}}, "at least one modality"),
        ({"modality_channels": 0}, "modality_channels of at least 1"),
        ({"modalities": {"a.b": PICTURE}}, "cannot be called 'a.b'"),
        ({"modalities": {"target": PICTURE}}, "cannot be called 'target'"),
        ({"dropout": {"lefd": 0.3}}, "did you mean 'left'"),
        ({"dropout": {"left": 1.5}}, "a probability, 0 to 1"),
    ],
)
def test_configurations_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Fusion(FusionConfig(**{"modalities": {"left": PICTURE}, **changes}))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("a.png", "a mapping from names to signals, not str"),
        ({"lefd": "a.png"}, "no modality is called 'lefd'; did you mean 'left'"),
        ({"left": b""}, "^left: the file is empty"),
    ],
)
def test_bad_raws(raw: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fusion("left", "words").load(raw)


def test_a_batch_without_any_of_the_modalities() -> None:
    with pytest.raises(InputError, match=r"none of the model's modalities \(left, words\)"):
        fusion("left", "words").embed({"image": torch.zeros(1)})


def test_a_misspelt_key_of_a_modality_is_named() -> None:
    values = {"kind": "fusion", "modalities": {"video": {"kind": "video", "frame": 3}}}
    config = {"inputs": values, "encoder": {}, "task": {"kind": "classify", "classes": ["a"]}}
    with pytest.raises(InputError, match=r"'inputs.modalities.video.frame'; did you mean 'frames'"):
        from_dict(PerceiverConfig, config)
