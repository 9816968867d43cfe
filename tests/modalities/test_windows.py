"""Signals that are longer than what the model sees at once: evaluation sees all of them, window by window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.modalities import AudioConfig, FusionConfig, SeriesConfig, TextConfig, VideoConfig, build_modality
from sensorium.models.presets import load

SOUND = AudioConfig(rate=100, samples=40, representation="raw", patch=(4, 1), bands=2, clips=5)
SPECTRA = AudioConfig(rate=800, samples=312, window=16, hop=8, mels=4, patch=(4, 4), bands=2, clips=5)
CLIP = VideoConfig(
    frames=40, rate=100.0, size=(4, 4), patch=(4, 2, 2), bands=2, clips=5, channels=1, mean=(0,), std=(1,)
)
WINDOWED: dict[str, Any] = {
    "audio": SOUND,
    "spectra": SPECTRA,
    "video": CLIP,
    "series": SeriesConfig(channels=1, length=40, mean=(0.0,), std=(1.0,), bands=2, windows=5),
    "text": TextConfig(length=40, channels=8, passages=5),
    "sound of a film": FusionConfig(modalities={"audio": SOUND, "video": CLIP}),
}
NAMES = {"spectra": "audio", "sound of a film": "audio"}


def counted(which: str, lengths: tuple[int, ...]) -> dict[str, Tensor]:
    """Signals whose steps are numbered from 7, padded by zeros; of the film there is the sound alone."""
    name, most = NAMES.get(which, which), max(lengths)
    steps = torch.arange(most).expand(len(lengths), -1) + 7
    mask = torch.arange(most) < torch.tensor(lengths)[:, None]
    axes = {"text": 0, "video": 3, "spectra": 2}.get(which, 1)
    signal = (steps * mask).view(*mask.shape, *[1] * axes).to(torch.int64 if which == "text" else torch.float32)
    shape = {"video": (1, 4, 4), "spectra": (4, 1)}.get(which)
    signal = signal if shape is None else signal.expand(*mask.shape, *shape)
    return {name: signal, f"{name}.mask": mask}


def numbers(view: dict[str, Tensor], which: str) -> Tensor:
    """The number of each step in a view: batch × steps."""
    signal = view[NAMES.get(which, which)]
    return signal.flatten(2)[..., 0] if signal.ndim > 2 else signal


@pytest.mark.parametrize("which", WINDOWED)
def test_evaluation_sees_a_signal_from_its_beginning_to_its_end(which: str) -> None:
    """As many views as the configuration says, of the size that the model sees, evenly spread."""
    views = list(build_modality(WINDOWED[which]).views(counted(which, (100,))))
    assert [numbers(view, which).shape[1] for view in views] == [40] * 5
    assert [int(numbers(view, which)[0, 0]) - 7 for view in views] == [0, 15, 30, 45, 60]


@pytest.mark.parametrize("which", WINDOWED)
def test_a_signal_that_fits_is_seen_once(which: str) -> None:
    batch = counted(which, (40, 23))
    (view,) = build_modality(WINDOWED[which]).views(batch)
    assert torch.equal(numbers(view, which), numbers(batch, which))


@pytest.mark.parametrize("which", WINDOWED)
def test_the_views_of_an_example_do_not_depend_on_its_batch_mates(which: str) -> None:
    """A short one is in all views of a longer one's batch as it is alone; a long one has the same views."""
    modality = build_modality(WINDOWED[which])
    together = [numbers(view, which) for view in modality.views(counted(which, (100, 23, 70)))]
    long = [numbers(view, which) for view in modality.views(counted(which, (70,)))]
    (short,) = (numbers(view, which) for view in modality.views(counted(which, (23,))))
    assert all(torch.equal(view[1, :23], short[0]) for view in together)
    assert all(torch.equal(view[2], alone[0]) for view, alone in zip(together, long, strict=True))


@pytest.mark.parametrize("which", WINDOWED)
def test_one_view_is_the_window_that_predict_shows(which: str) -> None:
    fields = {"series": "windows", "text": "passages"}
    config = WINDOWED[which]
    if which == "sound of a film":
        config = replace(config, modalities={"audio": replace(SOUND, clips=1), "video": replace(CLIP, clips=1)})
    else:
        config = replace(config, **{fields.get(which, "clips"): 1})
    modality, batch = build_modality(config), counted(which, (100, 70))
    (view,) = modality.views(batch)
    assert torch.equal(numbers(view, which), numbers(modality.view(batch), which))


@pytest.mark.parametrize("name", ["audio", "mel", "video", "av", "av-mel"])
def test_audioset_is_evaluated_on_sixteen_clips_whatever_is_taken_away(name: str) -> None:
    """Perceiver §4.2: "averaging over 16 overlapping clips" of ten seconds; so is the sound alone of a film."""
    inputs = load(f"perceiver-audioset-{name}").inputs
    parts = inputs.modalities if isinstance(inputs, FusionConfig) else {inputs.kind: inputs}
    with torch.device("meta"):
        modality = build_modality(inputs)
    assert modality.num_views == 16
    for part in modality.modalities:
        field = torch.zeros(1, 250, 1, 1, 1) if part.kind == "video" else torch.zeros(1, 480_000, 1)
        if part.kind == "audio" and parts[part.name].representation == "mel":
            field = torch.zeros(1, 586, 64, 1)
        assert modality.needs_windows({part.name: field})
        assert part.num_views == 16
