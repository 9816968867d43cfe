"""Sound: the mel spectrogram, windows, patches, augmentations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sensorium.errors import InputError
from sensorium.modalities.audio import Audio, AudioConfig
from sensorium.modalities.spectrogram import mel_filters

RATE = 8000
TONE = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32) * 0.5


def small(**changes: object) -> AudioConfig:
    return AudioConfig(**{"rate": RATE, "samples": RATE, "window": 200, "hop": 80, "bands": 4, **changes})  # type: ignore


def test_mel_scale_is_slaneys() -> None:
    # librosa.mel_frequencies(n_mels=40), from its documentation: the edges of 38 triangles up to 11,025 Hz
    peaks = mel_filters(22050, 2**18, 38).argmax(0) * 22050 / 2**18
    expected = [85.317, 170.635, 255.952, 938.49, 1024.856, 2262.393, 10096.408]
    assert torch.allclose(peaks[[0, 1, 2, 10, 11, 20, 37]], torch.tensor(expected), atol=0.1)
    areas = mel_filters(22050, 2**18, 38).sum(0) * 22050 / 2**18
    assert torch.allclose(areas, torch.ones(38), atol=1e-3)


def test_spectrogram_by_hand() -> None:
    audio = Audio(small(hop=100, mels=16, patch=(1, 16)))
    wave = torch.randn(1, 1000, 1, generator=torch.Generator().manual_seed(0))
    mels = audio.spectrogram(wave)
    assert mels.shape == (1, 11, 16, 1)
    frame = torch.zeros(256)  # spectrum 4 is centred on sample 400: a window of 200 in the middle of 256 samples
    frame[28:228] = wave[0, 300:500, 0] * torch.hann_window(200)
    power = torch.fft.rfft(frame).abs().square()
    assert torch.allclose(mels[0, 4, :, 0], (power @ mel_filters(RATE, 256, 16) + 1e-6).log(), atol=1e-3)


def test_a_tone_sits_at_its_mel() -> None:
    audio = Audio(small())
    mels = audio.load((TONE, RATE))["audio"]
    assert mels.dtype == np.float16
    assert mels.shape == (101, 64, 1)
    peak = int(mels[50, :, 0].argmax())
    assert peak == int(audio.filters[32].argmax())  # 1000 Hz is bin 32 of 256 at 8 kHz


def test_channels_may_be_kept() -> None:
    audio = Audio(small(channels=2, representation="raw", patch=(100, 1)))
    stereo = np.stack([TONE, -TONE], 1)
    batch = audio.view({"audio": torch.from_numpy(audio.load(stereo)["audio"])[None]})
    assert batch["audio"].shape == (1, RATE, 2)
    assert audio.embed(batch).dense().shape == (1, 80, 200 + 9)
    assert audio.load(TONE)["audio"].shape == (RATE, 2)
    with pytest.raises(InputError, match="3 channels"):
        audio.load(np.zeros((100, 3), np.float32))


def test_paper_raw() -> None:
    """61,440 samples are 480 rows of 128 (Perceiver §4.2)."""
    config = AudioConfig(rate=48_000, samples=61_440, representation="raw", patch=(128, 1))
    audio = Audio(config)
    array = audio.embed(audio.view({"audio": torch.zeros(1, 61_440)}))
    assert (array.num_rows, array.segments[0].values.shape[2]) == (480, 128)


def test_view_takes_the_centre_and_waveforms() -> None:
    raw = Audio(small(representation="raw", patch=(100, 1), samples=400))
    wave = torch.arange(1000.0)[None]
    assert torch.equal(raw.view({"audio": wave})["audio"][0, :, 0], wave[0, 300:700])
    mel = Audio(small())
    assert mel.view({"audio": torch.from_numpy(TONE)[None]})["audio"].shape == (1, 101, 64, 1)


@pytest.mark.parametrize("k", [1, 2])
def test_patches_of_time_and_mels(k: int) -> None:
    audio = Audio(small(patch=(3, 16)))
    signal = torch.arange(2 * 100 * 64 * k, dtype=torch.float32).view(2, 100, 64, k)
    rows = audio.patchify(signal)
    assert rows.shape == (2, 34 * 4, 48 * k)
    assert torch.equal(rows[0, 5].view(3, 16, k), signal[0, 3:6, 16:32]), "row 5 is the second of the second time"
    assert torch.equal(audio.unpatchify(rows, {"audio": signal}), signal)
    mask = torch.arange(100) < torch.tensor([[100], [4]])
    segment = audio.embed({"audio": signal[..., :1], "audio.mask": mask}).segments[0]
    assert segment.mask is not None
    assert segment.mask.sum(1).tolist() == [136, 8]


def test_augment_of_raw_keeps_padding_out() -> None:
    raw = Audio(small(representation="raw", patch=(10, 1), samples=400, gain=0.0))
    wave = torch.ones(2, 500)
    wave[1, 300:] = 0
    mask = torch.arange(500) < torch.tensor([[500], [300]])
    view = raw.augment({"audio": wave, "audio.mask": mask}, torch.Generator().manual_seed(0))
    assert view["audio"].shape == (2, 400, 1)
    assert view["audio.mask"].sum(1).tolist() == [400, 300]
    assert (view["audio"][view["audio.mask"]] == 1).all()


def test_augment_of_mels_keeps_padding_out() -> None:
    audio = Audio(small(blank=0.0, gain=0.0))
    mels = torch.full((8, 80, 64, 1), -3.0)
    mels[:, 60:] = 1000.0
    batch = {"audio": mels, "audio.mask": torch.arange(80).expand(8, 80) < 60}
    view = audio.augment(batch, torch.Generator().manual_seed(0))
    assert (view["audio"][view["audio.mask"]] == -3).all()
    assert len(set(view["audio.mask"].sum(1).tolist())) > 1, "speed changes the length"


def test_measure() -> None:
    clips = [(np.tile(TONE, 12), 44100), (TONE, 44100), (TONE, 8000)]
    config = Audio.measure(clips)
    assert (config.rate, config.window, config.hop, config.channels) == (22050, 551, 220, 1)
    assert 1 <= config.samples / config.rate <= 2.2
    assert Audio.measure([(TONE, 8000)]).samples == 8000
    silent = Audio.measure([(np.zeros(1000, np.float32), 8000)])
    assert silent.std > 0


def test_mels_are_whole_patches() -> None:
    with pytest.raises(InputError, match="whole patches"):
        Audio(small(mels=60))


def test_files_are_loaded_at_the_configured_rate(tmp_path: Path) -> None:
    """A tone of another rate and in stereo has the same spectra; so has its film."""
    audio = Audio(small())
    expected = audio.load((TONE, RATE))["audio"][50, :, 0]
    tone = np.sin(2 * np.pi * 1000 * np.arange(22050) / 22050)[:, None].repeat(2, 1) * 0.5
    soundfile.write(tmp_path / "tone.wav", tone, 22050)
    mels = audio.load(tmp_path / "tone.wav")["audio"]
    assert abs(len(mels) - 101) < 2
    assert mels[50, :, 0].argmax() == expected.argmax()
    assert abs(float(mels[50].max()) - float(expected.max())) < 0.5


def test_saving(tmp_path: Path) -> None:
    """Samples as sound, which is also a soundtrack; spectra as an array."""
    raw = Audio(small(representation="raw", patch=(100, 1)))
    signal = torch.from_numpy(TONE)[:, None]
    (path,) = raw.save(signal, tmp_path / "it")
    wave, rate = soundfile.read(path)
    assert (path.name, rate) == ("it.wav", RATE)
    assert np.abs(wave - TONE).max() < 1e-4
    track = raw.soundtrack(signal)
    assert track is not None
    assert (track.wave is signal, track.rate) == (True, RATE)
    mel = Audio(small())
    assert mel.soundtrack(torch.zeros(101, 64, 1)) is None
    (path,) = mel.save(torch.zeros(101, 64, 1), tmp_path / "it")
    assert np.load(path)["audio"].shape == (101, 64, 1)
