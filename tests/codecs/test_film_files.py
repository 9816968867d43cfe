"""Film files: frames and their times, turned and stretched pictures, sound beside them, damage; films are made here."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sensorium.codecs import film, sound
from sensorium.codecs.containers import has_sound
from sensorium.errors import Absent, InputError

RANDOM = np.random.default_rng(0)
LOSSLESS = {
    ".mkv": {"codec": "ffv1", "pixels": "bgr0"},
    ".avi": {"codec": "ffv1", "pixels": "bgr0"},
    ".mov": {"codec": "qtrle", "pixels": "rgb24"},
}


def pictures(count: int, height: int = 16, width: int = 24) -> np.ndarray:
    """Random frames: uint8, count × height × width × 3."""
    return RANDOM.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def write(
    path: Path,
    frames: np.ndarray | list[np.ndarray],
    *,
    codec: str = "ffv1",
    pixels: str = "bgr0",
    rate: int = 10,
    times: list[int] | None = None,
    rotation: int | None = None,
    stretch: Fraction | None = None,
    sound: tuple[np.ndarray, int] | None = None,
    sound_codec: str = "pcm_s16le",
    **options: str,
) -> Path:
    """A film; without loss unless a codec is named. ``times`` and the start of the ``sound`` are in milliseconds."""
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.pix_fmt = pixels
        if len(frames):
            stream.height, stream.width = frames[0].shape[:2]
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if stretch is not None:
            stream.codec_context.sample_aspect_ratio = stretch
        if sound is not None:
            track: Any = container.add_stream(sound_codec, rate=8000, layout="mono")
            for place in range(0, len(sound[0]), 1000):
                samples = (sound[0][place : place + 1000] * 32767).astype(np.int16)[None]
                wave = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                wave.rate, wave.pts, wave.time_base = 8000, sound[1] * 8 + place, Fraction(1, 8000)
                container.mux(track.encode(wave))
            container.mux(track.encode(None))
        for place, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="gray" if frame.ndim == 2 else "rgb24")
            if times is not None:
                picture.pts, picture.time_base = times[place], Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def read(raw: Any, *, rate: float = 10.0, size: tuple[int, int] = (16, 24), channels: int = 3) -> np.ndarray:
    """frames × channels × height × width."""
    return film.decode(raw, rate=rate, size=size, channels=channels, most=100)


def heard(raw: Any) -> np.ndarray:
    """The first channel of the sound, which is of 8 kHz here."""
    wave, rate = sound.decode(raw, rate=8000)
    assert rate == 8000
    return wave[:, 0]


def first(frames: np.ndarray) -> np.ndarray:
    """Frames as samples have them: channels first."""
    return frames.transpose(0, 3, 1, 2)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_frames_are_the_files(tmp_path: Path, suffix: str) -> None:
    """Without loss, at the file's own rate: every frame, to the bit; by path, by bytes and as an array."""
    frames = pictures(5)
    path = write(tmp_path / f"film{suffix}", frames, **LOSSLESS[suffix])
    values = read(path)
    assert values.dtype == np.uint8
    assert np.array_equal(values, first(frames))
    assert np.array_equal(read(path.read_bytes()), values)
    assert np.array_equal(read(frames), values)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "libx264"), (".m4v", "mpeg4"), (".webm", "libvpx-vp9"), (".mpg", "mpeg1video")],
)
def test_codecs_with_loss_come_close(tmp_path: Path, suffix: str, codec: str) -> None:
    """A shade that brightens from frame to frame, 10 frames of it at 25 a second."""
    shades = np.linspace(40, 220, 10).astype(np.uint8)
    frames = shades[:, None, None, None] * np.ones((1, 32, 48, 3), np.uint8)
    path = write(tmp_path / f"film{suffix}", frames, codec=codec, pixels="yuv420p", rate=25)
    values = read(path, size=(32, 48), rate=25.0)
    assert len(values) == 10
    assert np.abs(values.mean((1, 2, 3)) - shades).max() < 6


@pytest.mark.parametrize(
    ("rate", "expected"), [(5.0, [0, 2, 4]), (20.0, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]), (4.0, [0, 2])]
)
def test_rates_are_met_by_leaving_out_and_repeating(tmp_path: Path, rate: float, expected: list[int]) -> None:
    """The last frame that begins at or before each time, of files and of arrays with a rate."""
    frames = pictures(5)
    path = write(tmp_path / "film.mkv", frames)
    assert np.array_equal(read(path, rate=rate), first(frames)[expected])
    assert np.array_equal(read((frames, 10), rate=rate), first(frames)[expected])


def test_times_in_whole_milliseconds_lose_no_frame(tmp_path: Path) -> None:
    """30 frames a second in Matroska begin at 0, 33, 67, 100, … milliseconds: after their times at times."""
    frames = pictures(31)
    path = write(tmp_path / "film.mkv", frames, rate=30)
    assert np.array_equal(read(path, rate=30.0), first(frames))


@pytest.mark.parametrize("begin", [0, 700])
def test_variable_frame_rate(tmp_path: Path, begin: int) -> None:
    """What is shown at 0, 0.1, 0.2, … seconds after the pictures' start, wherever that is."""
    frames = pictures(5)
    times = [begin + time for time in (0, 120, 150, 420, 600)]
    values = read(write(tmp_path / "film.mkv", frames, times=times))
    assert np.array_equal(values[:7], first(frames)[[0, 0, 2, 2, 2, 3, 4]])
    assert (values[7:] == first(frames)[4]).all()


def test_rotated_films_stand_upright(tmp_path: Path) -> None:
    """A phone's film is stored lying down, with the way to turn it."""
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:16, :32] = 255  # the corner at the top left
    corners = {}
    for rotation in (0, 90, 180, -90):
        path = write(tmp_path / f"{rotation}.mp4", [frame] * 3, codec="libx264", pixels="yuv420p", rotation=rotation)
        size = (32, 64) if rotation in (0, 180) else (64, 32)
        shown = read(path, size=size)[0, 0].astype(float)
        quarters = [part.mean() for half in np.split(shown, 2) for part in np.split(half, 2, axis=1)]
        corners[rotation] = int(np.argmax(quarters))
    assert corners == {0: 0, 90: 2, 180: 3, -90: 1}, (
        "turned to the left: top left, bottom left, bottom right, top right"
    )


def test_the_centre_is_kept_and_pixels_may_be_wide(tmp_path: Path) -> None:
    """A square of a wide picture is its middle; one whose pixels are shown twice as wide is squeezed less."""
    frame = np.zeros((16, 48, 3), np.uint8)
    frame[:, 16:32, 0] = 255
    path = write(tmp_path / "wide.mkv", [frame] * 2)
    assert (read(path, size=(16, 16))[0, 0] == 255).all()
    assert not read(path, size=(16, 16))[0, 1:].any()
    path = write(tmp_path / "wider.mkv", [frame] * 2, stretch=Fraction(2, 1))
    assert read(path, size=(16, 96))[0, 0, :, 34:62].min() > 200
    assert read(path, size=(16, 96))[0, 0, :, :30].max() < 50


def test_odd_sizes_and_grey(tmp_path: Path) -> None:
    """17 × 31 pixels; grey films for models of colour and the other way round."""
    frames = pictures(3, 17, 31)
    path = write(tmp_path / "odd.mkv", frames)
    assert np.array_equal(read(path, size=(17, 31)), first(frames))
    grey = write(tmp_path / "grey.mkv", list(frames[..., 0]), pixels="gray")
    assert film.header(grey).grey
    assert not film.header(path).grey
    one = read(grey, size=(17, 31), channels=1)
    assert np.array_equal(one[:, 0], frames[..., 0])
    assert np.abs(read(grey, size=(17, 31)).astype(int) - one).max() <= 2
    luma = (frames @ np.array([0.299, 0.587, 0.114]))[:, None]
    assert np.abs(read(path, size=(17, 31), channels=1) - luma).max() < 4
    assert read(pictures(3)[..., :1], channels=1).shape == (3, 1, 16, 24)


def test_headers(tmp_path: Path) -> None:
    """Size, rate and length, of files and of arrays; whether there is sound."""
    wave = np.zeros(16000, np.float32)
    path = write(tmp_path / "film.mkv", pictures(20, 24, 40), sound=(wave, 0))
    assert film.header(path) == film.FilmHeader(24, 40, rate=10.0, seconds=2.0, grey=False)
    assert film.header((np.zeros((50, 8, 9, 1)), 20)) == film.FilmHeader(8, 9, rate=20.0, seconds=2.5, grey=True)
    assert has_sound(path)
    assert not has_sound(write(tmp_path / "silent.mkv", pictures(2)))
    assert not has_sound(b"no film at all")


def test_no_more_frames_are_decoded_than_are_wanted(tmp_path: Path) -> None:
    """The first ones."""
    frames = pictures(30)
    path = write(tmp_path / "film.mkv", frames)
    assert np.array_equal(film.decode(path, rate=10.0, size=(16, 24), channels=3, most=12), first(frames)[:12])


@pytest.mark.parametrize("size", [(32, 48), (31, 47)])
def test_what_is_encoded_is_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    """A brightening film with a click in the middle, by H.264 and AAC; odd sizes become even; no other file is left."""
    shades = np.linspace(40, 220, 10).astype(np.uint8)
    frames = shades[:, None, None, None] * np.ones((1, *size, 3), np.uint8)
    wave = np.zeros(8000, np.float32)
    wave[4000] = 0.9
    path = tmp_path / "film.mp4"
    film.encode_file(frames, path, rate=10.0, sound=(wave, 8000))
    header = film.header(path)
    assert (header.height, header.width, header.rate) == (32, 48, 10.0)
    assert np.abs(read(path, size=size).mean((1, 2, 3)) - shades).max() < 6
    assert np.abs(heard(path)).argmax() == pytest.approx(4000, abs=16)
    film.encode_file(frames, path, rate=10.0)
    assert not has_sound(path)
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]


def test_of_a_damaged_film_the_part_before_the_damage_is_used(tmp_path: Path) -> None:
    """Half of the bytes: about half of the frames, the same ones."""
    frames = pictures(20)
    data = write(tmp_path / "film.mkv", frames).read_bytes()
    values = read(data[: len(data) // 2])
    assert 5 < len(values) < 15
    assert np.array_equal(values[:-1], first(frames)[: len(values) - 1])


# -- sound beside pictures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sound_at", "pictures_at"), [(0, 0), (300, 0), (0, 300), (500, 200)])
@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_sound_and_pictures_of_a_film_start_together(
    tmp_path: Path, suffix: str, sound_at: int, pictures_at: int
) -> None:
    """A flash and a click at the same moment of the film are at the same moment after reading."""
    frames = np.zeros((10, 16, 24, 3), np.uint8)
    frames[6] = 255
    moment = pictures_at + 600
    wave = np.zeros(8000, np.float32)
    wave[(moment - sound_at) * 8] = 0.9
    times = [pictures_at + 100 * place for place in range(10)]
    path = write(tmp_path / f"film{suffix}", frames, times=times, sound=(wave, sound_at), **LOSSLESS[suffix])
    flash = read(path)[:, 0, 0, 0].argmax() / 10
    assert flash == 0.6
    for raw in (path, path.read_bytes()):
        wave = heard(raw)
        assert wave.argmax() / 8000 == pytest.approx(0.6, abs=0.001)
        assert len(wave) == 8000 + 8 * (sound_at - pictures_at)


def test_compressed_sound_and_pictures_start_together(tmp_path: Path) -> None:
    """What encoders put before the start (AAC's priming, frames out of order) is taken off again."""
    frames = np.zeros((30, 32, 32, 3), np.uint8)
    frames[15] = 255
    wave = np.zeros(24000, np.float32)
    wave[12000] = 0.9
    how = {"codec": "libx264", "pixels": "yuv420p", "sound_codec": "aac"}
    path = write(tmp_path / "film.mp4", frames, sound=(wave, 0), **how)  # type: ignore[arg-type]
    assert read(path, size=(32, 32))[:, 0].mean((1, 2)).argmax() == 15
    assert np.abs(heard(path)).argmax() == pytest.approx(12000, abs=16)


def test_sound_of_damaged_films(tmp_path: Path) -> None:
    """What comes before the damage; sound long after the pictures; sound coded in a way nobody knows."""
    wave = RANDOM.uniform(-0.5, 0.5, 16000).astype(np.float32)
    data = write(tmp_path / "film.mkv", [], sound=(wave, 0)).read_bytes()
    assert len(heard(data)) == 16000
    film = write(tmp_path / "film.mkv", pictures(2), sound=(wave, 0)).read_bytes()
    assert 0 < len(heard(film[:20_000])) < 16000
    with pytest.raises(InputError, match="times are broken"):
        heard(write(tmp_path / "late.mkv", pictures(2), sound=(wave, 700_000)))
    with pytest.raises(InputError, match="not known"):
        heard(film.replace(b"A_PCM/INT/LIT", b"A_PCM/XXX/LIT"))


def test_absent_pictures_can_be_told_from_bad_ones(tmp_path: Path) -> None:
    """A file of sound alone is a good file, which lacks the pictures."""
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        track: Any = container.add_stream("aac", rate=8000, layout="mono")
        wave = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        wave.rate = 8000
        container.mux(track.encode(wave))
        container.mux(track.encode(None))
    with pytest.raises(Absent, match="no pictures"):
        read(path)
    with pytest.raises(Absent, match="no pictures"):
        film.header(path)


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "the file is empty"),
        (b"no film at all" * 100, "not a video"),
        (Path("/nowhere/at/all.mp4"), "cannot be read"),
        (np.zeros((0, 8, 8, 3), np.uint8), "no frames"),
        ((np.zeros((2, 8, 8, 3), np.uint8), 0), "no rate"),
        (np.zeros((2, 8, 8, 4), np.uint8), "not a video"),
        (np.zeros((8, 8), np.uint8), "not a video"),
        (np.array([["a"]]), "not a video"),
        (np.full((2, 8, 8, 3), np.nan), "NaN"),
    ],
)
def test_bad_input(raw: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(raw)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=message):
        film.header(raw)


def test_text_is_no_film(tmp_path: Path) -> None:
    """ffmpeg shows text as a terminal would, and opens what a playlist names; neither is a video here."""
    for name, text in (("text.txt", "words\n" * 100), ("list.m3u8", "#EXTM3U\n#EXTINF:1,\nfilm.mp4\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="not a video"):
            read(tmp_path / name)


def test_a_film_cut_off_before_its_contents_list(tmp_path: Path) -> None:
    """An .mp4 keeps it at the end: without it nothing can be found."""
    path = write(tmp_path / "film.mp4", pictures(10, 32, 32), codec="libx264", pixels="yuv420p")
    with pytest.raises(InputError, match="not a video"):
        read(path.read_bytes()[:1500])


def test_films_without_frames(tmp_path: Path) -> None:
    """A header and nothing behind it; frames of noise; pictures coded in a way nobody knows."""
    data = write(tmp_path / "film.avi", pictures(3), codec="mpeg4", pixels="yuv420p").read_bytes()
    place = data.index(b"movi")
    with pytest.raises(InputError, match="not one frame"):
        read(data[: place + 4])
    path = write(tmp_path / "film.mp4", pictures(3, 32, 32), codec="mpeg4", pixels="yuv420p")
    with pytest.raises(InputError, match="not known"):
        read(path.read_bytes().replace(b"mp4v", b"zzzz").replace(b"esds", b"free"))
