"""Sound files: formats, rates, channels, films, bad files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sensorium.codecs.sound import at_rate, decode, encode_file
from sensorium.errors import Absent, InputError

RATE = 8000


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate", [8000, 22050, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_formats_rates_and_channels_agree(tmp_path: Path, suffix: str, rate: int, channels: int) -> None:
    """A tone of 1 kHz, as loud as it was; by path and by content; also after it is resampled."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)[:, None].repeat(channels, 1) * 0.5
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone, rate)
    wave, found = decode(path, rate=1)
    assert (wave.dtype, found, wave.shape[1]) == (np.float32, rate, channels)
    assert 0.95 * rate < len(wave) < 1.15 * rate  # mp3 pads
    assert np.array_equal(decode(path.read_bytes(), rate=1)[0], wave)
    for heard, its_rate in ((wave, rate), (at_rate(wave, rate, RATE), RATE)):
        middle = heard[len(heard) // 4 : len(heard) // 4 + its_rate // 2]  # half a second: 1 kHz is number 500
        spectrum = np.abs(np.fft.rfft(middle[:, 0]))
        assert abs(int(spectrum.argmax()) * its_rate / len(middle) - 1000) < 3
        assert np.abs(middle).max() == pytest.approx(0.5, abs=0.05)


def test_sound_of_a_film(tmp_path: Path) -> None:
    import av

    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("aac", rate=44100)
        tone = (np.sin(2 * np.pi * 1000 * np.arange(44100) / 44100) * 0.5).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.rate = 44100
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            film.mux(packet)
    wave, rate = decode(path, rate=1)
    assert rate == 44100
    spectrum = np.abs(np.fft.rfft(wave[11025:33075, 0]))
    assert abs(int(spectrum.argmax()) * 2 - 1000) < 3


def test_integers_are_scaled() -> None:
    for dtype in (np.int16, np.int32, np.uint8):
        info = np.iinfo(dtype)
        wave, _ = decode(np.array([info.min, info.max], dtype), rate=1)
        assert np.allclose(wave[:, 0], [-1, 1], atol=0.01)


def test_what_is_encoded_is_decoded(tmp_path: Path) -> None:
    """To 16 bits; nothing else is left behind."""
    wave = np.random.default_rng(0).uniform(-1, 1, (100, 2)).astype(np.float32)
    encode_file(wave, tmp_path / "it.wav", rate=RATE)
    found, rate = decode(tmp_path / "it.wav", rate=1)
    assert rate == RATE
    assert np.abs(found - wave).max() < 2**-14
    assert [path.name for path in tmp_path.iterdir()] == ["it.wav"]


def test_an_array_has_the_rate_that_it_comes_with() -> None:
    wave = np.zeros(10, np.float32)
    assert decode(wave, rate=5)[1] == 5
    assert decode((wave, 7), rate=5)[1] == 7


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "empty"),
        (b"not a sound at all" * 100, "not a sound file"),
        (np.zeros((0, 1), np.float32), "no samples"),
        (np.array([0.0, np.nan], np.float32), "NaN"),
        (np.array([0.0, np.inf], np.float32), "infinite"),
        (np.zeros((2, 2, 2), np.float32), "is not sound"),
        (Path("/nowhere/at/all.wav"), "cannot be read"),
    ],
)
def test_bad_input(raw: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode(raw, rate=1)  # type: ignore[arg-type]


def test_film_without_sound(tmp_path: Path) -> None:
    import av

    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            film.mux(packet)
    with pytest.raises(Absent, match="no sound"):
        decode(path, rate=1)


def test_empty_wav() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((0, 1)), 8000, format="WAV")
    with pytest.raises(InputError, match="no samples"):
        decode(file.getvalue(), rate=1)
