"""Video: files of every sort, clips and their times, patches, positions, augmentations, bad files; films are made
here."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium.errors import Absent, InputError
from sensorium.modalities.audio import Audio, AudioConfig
from sensorium.modalities.video import Video, VideoConfig
from sensorium.nn.positions import fourier_grid

RANDOM = np.random.default_rng(0)
LOSSLESS = {
    ".mkv": {"codec": "ffv1", "pixels": "bgr0"},
    ".avi": {"codec": "ffv1", "pixels": "bgr0"},
    ".mov": {"codec": "qtrle", "pixels": "rgb24"},
}

HEARING = Audio(AudioConfig(rate=8000, samples=8000, representation="raw", patch=(10, 1)))


def small(**changes: object) -> VideoConfig:
    """Exact: the size of the films made here, no margin."""
    values = {"frames": 8, "rate": 10.0, "size": (16, 24), "patch": (2, 4, 4), "bands": 3, **changes}
    return VideoConfig(**values)  # type: ignore[arg-type]


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
    with av.open(str(path), "w", options=options) as film:
        stream: Any = film.add_stream(codec, rate=rate)
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
            track: Any = film.add_stream(sound_codec, rate=8000, layout="mono")
            for place in range(0, len(sound[0]), 1000):
                samples = (sound[0][place : place + 1000] * 32767).astype(np.int16)[None]
                wave = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                wave.rate, wave.pts, wave.time_base = 8000, sound[1] * 8 + place, Fraction(1, 8000)
                film.mux(track.encode(wave))
            film.mux(track.encode(None))
        for place, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="gray" if frame.ndim == 2 else "rgb24")
            if times is not None:
                picture.pts, picture.time_base = times[place], Fraction(1, 1000)
            film.mux(stream.encode(picture))
        film.mux(stream.encode(None))
    return path


def read(path: Path | bytes, **changes: object) -> np.ndarray:
    """frames × channels × height × width."""
    return Video(small(**changes)).load(path)["video"]


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
    assert np.array_equal(Video(small()).load(frames)["video"], values)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "libx264"), (".m4v", "mpeg4"), (".webm", "libvpx-vp9"), (".mpg", "mpeg1video")],
)
def test_codecs_with_loss_come_close(tmp_path: Path, suffix: str, codec: str) -> None:
    """A shade that brightens from frame to frame, 10 frames of it at 25 a second."""
    shades = np.linspace(40, 220, 10).astype(np.uint8)
    frames = shades[:, None, None, None] * np.ones((1, 32, 48, 3), np.uint8)
    path = write(tmp_path / f"film{suffix}", frames, codec=codec, pixels="yuv420p", rate=25)
    values = read(path, size=(32, 48), rate=25.0, frames=10)
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
    assert np.array_equal(Video(small(rate=rate)).load((frames, 10))["video"], first(frames)[expected])


def test_times_in_whole_milliseconds_lose_no_frame(tmp_path: Path) -> None:
    """30 frames a second in Matroska begin at 0, 33, 67, 100, … milliseconds: after their times at times."""
    frames = pictures(31)
    path = write(tmp_path / "film.mkv", frames, rate=30)
    assert np.array_equal(read(path, rate=30.0, frames=31), first(frames))


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
    assert np.array_equal(read(path, size=(17, 31), patch=(1, 1, 1)), first(frames))
    grey = write(tmp_path / "grey.mkv", list(frames[..., 0]), pixels="gray")
    config = Video.measure([grey, grey])
    assert (config.channels, config.mean[1:]) == (1, ())
    one = Video(replace(config, size=(17, 31), patch=(1, 1, 1))).load(grey)["video"]
    assert np.array_equal(one[:, 0], frames[..., 0])
    three = read(grey, size=(17, 31), patch=(1, 1, 1))
    assert np.abs(three.astype(int) - one).max() <= 2
    assert Video.measure([grey, path]).channels == 3
    half = {"mean": (0.5,), "std": (0.5,), "channels": 1}
    luma = (frames @ np.array([0.299, 0.587, 0.114]))[:, None]
    values = read(path, size=(17, 31), patch=(1, 1, 1), **half)
    assert np.abs(values - luma).max() < 4
    assert np.array_equal(Video(small(**half)).load(pictures(3)[..., :1])["video"].shape, (3, 1, 16, 24))


def test_no_more_than_so_many_seconds_are_kept(tmp_path: Path) -> None:
    """From the start on; never less than a clip."""
    frames = pictures(30)
    path = write(tmp_path / "film.mkv", frames)
    assert np.array_equal(read(path, seconds=1.2), first(frames)[:12])
    assert np.array_equal(read(path, seconds=0.1), first(frames)[:8])
    assert len(read(path)) == 30


def test_of_a_damaged_film_the_part_before_the_damage_is_used(tmp_path: Path) -> None:
    """Half of the bytes: about half of the frames, the same ones."""
    frames = pictures(20)
    data = write(tmp_path / "film.mkv", frames).read_bytes()
    values = read(data[: len(data) // 2])
    assert 5 < len(values) < 15
    assert np.array_equal(values[:-1], first(frames)[: len(values) - 1])


def test_measure(tmp_path: Path) -> None:
    """Facts of the headers; long clips get a lower rate; few enough rows; arrays too."""
    path = write(tmp_path / "film.mkv", pictures(20, 24, 40))
    config = Video.measure([path, path])
    assert (config.rate, config.frames, config.size, config.channels) == (10.0, 20, (24, 24), 3)
    assert all(abs(mean - 0.5) < 0.02 for mean in config.mean)
    frames = np.zeros((500, 300, 300, 1), np.uint8)
    config = Video.measure([(frames, 50)])
    assert (config.rate, config.frames, config.size, config.std) == (8.3333, 84, (112, 112), (0.02,))
    assert Video(config).num_rows <= 4096
    config = Video.measure([pictures(20), pictures(50), pictures(90), pictures(30)])
    assert (config.rate, config.frames) == (25.0, 90), "whole where they fit, the longest too"
    assert Video.measure([np.zeros((1, 1, 1, 3))]).patch == (1, 1, 1)


# -- rows and positions
# ---------------------------------------------------------------------------------------------------


def test_the_papers_rows() -> None:
    """Raw: 16 × 224 × 224 rows of a pixel. AudioSet: 12,544 rows of 384 values, 483 channels (and 4 of the
    modality_embedding)."""
    raw = Video(VideoConfig(frames=16, patch=(1, 1, 1), bands=32))
    assert (raw.num_rows, raw.channels, raw.elements_per_row) == (802_816, 3 + 195, 1)
    paper = Video(VideoConfig())
    assert (paper.num_rows, paper.channels) == (12_544, 384 + 99)
    assert Video(VideoConfig(frames=16, patch=(1, 4, 4), bands=32)).channels == 243


@pytest.mark.parametrize("k", [1, 2])
def test_patches_go_over_time_then_height_then_width(k: int) -> None:
    """Rows and, within a row, pixels; channels side by side."""
    video = Video(small())
    signal = torch.arange(2.0 * 8 * k * 16 * 24).view(2, 8, k, 16, 24)
    rows = video.patchify(signal)
    assert rows.shape == (2, 4 * 4 * 6, 32 * k)
    time, down, across = 3, 1, 5
    patch = signal[1, 6:8, :, 4:8, 20:24]
    assert torch.equal(rows[1, (time * 4 + down) * 6 + across], patch.permute(0, 2, 3, 1).flatten())
    assert torch.equal(video.unpatchify(rows, {"video": signal}), signal)


def test_single_pixels_are_rows() -> None:
    """1 × 1 × 1: the values are the normalised pixels in reading order, the positions those of the grid."""
    video = Video(small(frames=3, size=(4, 5), patch=(1, 1, 1)))
    frames = torch.rand(2, 3, 3, 4, 5)
    (segment,) = video.embed({"video": frames}).segments
    mean, std = (torch.tensor(each)[:, None, None] for each in (video.config.mean, video.config.std))
    assert torch.allclose(segment.values[1, (2 * 4 + 3) * 5 + 1], ((frames[1, 2] - mean) / std)[:, 3, 1])
    assert segment.num_rows == video.num_rows == 60


@pytest.mark.parametrize("resolution", [None, (4.0, 20.0, 30.0)])
def test_codes_are_the_grids(resolution: tuple[float, float, float] | None) -> None:
    """Of time, height and width; a short video has the first ones of a clip's."""
    video = Video(small(resolution=resolution))
    expected = fourier_grid((4, 4, 6), bands=3, resolution=resolution)
    whole = video.embed({"video": torch.rand(1, 8, 3, 16, 24)}).segments[0].positions
    short = video.embed({"video": torch.rand(1, 5, 3, 16, 24)}).segments[0].positions
    assert whole is not None
    assert torch.equal(whole.dense(), expected.dense())
    assert short is not None
    assert torch.equal(short.dense(), expected.dense()[: 3 * 4 * 6])


def test_time_is_in_the_codes_alone() -> None:
    """Frames in another order are the same values at other times."""
    video = Video(small(patch=(1, 4, 4)))
    frames, order = torch.rand(1, 8, 3, 16, 24), torch.randperm(8)
    one, other = (video.embed({"video": each}).segments[0] for each in (frames, frames[:, order]))
    assert torch.equal(one.values.unflatten(1, (8, -1))[:, order], other.values.unflatten(1, (8, -1)))
    assert torch.equal(one.dense()[..., 48:], other.dense()[..., 48:])


def test_a_patch_that_is_part_padding_is_read_and_the_rest_is_nothing() -> None:
    """Three of four frames: the second row of time is present, its second frame zero; what follows is masked."""
    video = Video(small(frames=6))
    mask = torch.arange(6) < torch.tensor([[3], [6]])
    (segment,) = video.embed({"video": torch.rand(2, 6, 3, 16, 24), "video.mask": mask}).segments
    assert segment.mask is not None
    assert segment.mask.sum(1).tolist() == [2 * 24, 3 * 24]
    patches = segment.values.unflatten(2, (2, -1))
    assert patches[0, 24:48, 0].any()
    assert not patches[0, 24:48, 1].any()
    odd = torch.rand(1, 3, 3, 16, 24)
    one, same = (video.embed({"video": odd, **more}) for more in ({}, {"video.mask": torch.ones(1, 3).bool()}))
    assert torch.equal(one.dense(), same.dense())


# -- clips ------------------------------------------------------------------------------------------------------------


def counted(lengths: tuple[int, ...]) -> dict[str, Tensor]:
    """Frames that are all of their number, 1 to 255, with a mask; zeros after the last."""
    most = max(lengths)
    mask = torch.arange(most) < torch.tensor(lengths)[:, None]
    numbers = (torch.arange(1, most + 1) * mask).to(torch.uint8)
    return {"video": numbers[..., None, None, None].expand(-1, -1, 3, 16, 24), "video.mask": mask}


def begins(view: dict[str, Tensor]) -> list[int]:
    """The number of each clip's first frame, from 0."""
    return (view["video"][:, 0, 0, 0, 0] * 255 - 1).round().int().tolist()


def test_the_view_is_the_middle_and_clips_are_spread_evenly() -> None:
    """From the first to the last; a short video's clips are all itself."""
    video = Video(small(clips=3))
    batch = counted((20, 5, 9, 8))
    assert begins(video.view(batch)) == [6, 0, 0, 0]
    views = list(video.views(batch))
    assert [begins(view) for view in views] == [[0, 0, 0, 0], [6, 0, 0, 0], [12, 0, 1, 0]]
    assert all(view["video.mask"].sum(1).tolist() == [8, 5, 8, 8] for view in views)
    assert torch.allclose(views[2]["video.start"], torch.tensor([1.2, 0, 0.1, 0]))
    assert len(list(Video(small()).views(batch))) == 16
    assert len(list(Video(small()).views(counted((8, 3))))) == 1
    assert len(list(Video(small(clips=1)).views(batch))) == 1


def test_training_takes_any_clip() -> None:
    """All starts there are, determined by the generator; clips are in one piece; they tell when they start."""
    video = Video(small())
    batch = counted((12,) * 200)
    one, same = (video.augment(batch, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one["video"], same["video"])
    assert set(begins(one)) == {0, 1, 2, 3, 4}
    assert (one["video"][:, :, 0, 0, 0].diff(dim=1) * 255).round().eq(1).all()
    assert torch.allclose(one["video.start"] * 10, torch.tensor(begins(one)).float())


def test_clips_start_where_they_are_told_to() -> None:
    """So that sound and pictures can be taken from one place; beyond the end is the last clip."""
    video = Video(small())
    batch = {**counted((20, 20, 5)), "video.start": torch.tensor([0.5, 9.0, 1.0])}
    for view in (video.view(batch), video.augment(batch, torch.Generator()), *video.views(batch)):
        assert begins(view) == [5, 12, 0]
        assert torch.allclose(view["video.start"], torch.tensor([0.5, 1.2, 0.0]))


# -- augmentation -----------------------------------------------------------------------------------------------------


def test_the_view_is_the_centre_of_what_is_stored() -> None:
    """64 of 73; sizes of the caller's own are taken as they come."""
    video = Video(small(size=(64, 64), frames=1))
    stored = torch.randint(0, 255, (1, 1, 3, 73, 73), dtype=torch.uint8)
    assert torch.equal(video.view({"video": stored})["video"], stored[..., 4:68, 4:68] / 255)
    own = torch.rand(1, 1, 3, 32, 40)
    assert torch.equal(video.view({"video": own})["video"], own)
    assert video.embed({"video": own}).num_rows == 80


def test_all_frames_of_a_clip_are_varied_alike() -> None:
    """Frames that are equal stay equal; each example is varied by itself; values stay in [0, 1]."""
    video = Video(small(crop=0.3, flip=0.5, colour=0.5))
    still = torch.rand(1, 1, 3, 16, 24).expand(6, 8, -1, -1, -1)
    view = video.augment({"video": still}, torch.Generator().manual_seed(0))["video"]
    assert torch.allclose(view, view[:, :1].expand_as(view), atol=1e-6)
    assert all((view[0] - view[place]).abs().max() > 0.05 for place in range(1, 6))
    assert view.min() >= 0
    assert view.max() <= 1


def test_mirroring_mirrors() -> None:
    """With certainty every video, without it none."""
    frames = torch.rand(3, 4, 3, 16, 24)
    never, always = (Video(small(flip=flip)) for flip in (0.0, 1.0))
    assert torch.equal(never.augment({"video": frames}, torch.Generator())["video"], frames)
    mirrored = always.augment({"video": frames}, torch.Generator())["video"]
    assert torch.allclose(mirrored, frames.flip(-1), atol=1e-5)


def test_colour_leaves_grey_grey_and_padding_out() -> None:
    """Saturation does nothing to grey; how much of a batch is padding changes no present frame."""
    video = Video(small(colour=0.4))
    grey = torch.rand(2, 8, 1, 16, 24).expand(-1, -1, 3, -1, -1)
    view = video.augment({"video": grey}, torch.Generator().manual_seed(0))["video"]
    assert torch.allclose(view, view[:, :, :1].expand_as(view), atol=1e-6)
    assert not torch.allclose(view, grey, atol=0.01)
    padded = grey.clone()
    padded[:, 5:] = 0
    again = video.augment({"video": padded}, torch.Generator().manual_seed(0))["video"]
    assert torch.equal(again[:, :5], view[:, :5])
    single = Video(small(colour=0.4, channels=1, mean=(0.5,), std=(0.5,)))
    assert single.augment({"video": grey[:, :, :1]}, torch.Generator())["video"].shape == (2, 8, 1, 16, 24)


# -- sound in step ----------------------------------------------------------------------------------------------------


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
    flash = read(path, frames=10)[:, 0, 0, 0].argmax() / 10
    assert flash == 0.6
    for raw in (path, path.read_bytes()):
        heard = HEARING.load(raw)["audio"]
        assert heard[:, 0].argmax() / 8000 == pytest.approx(0.6, abs=0.001)
        assert len(heard) == 8000 + 8 * (sound_at - pictures_at)


def test_compressed_sound_and_pictures_start_together(tmp_path: Path) -> None:
    """What encoders put before the start (AAC's priming, frames out of order) is taken off again."""
    frames = np.zeros((30, 32, 32, 3), np.uint8)
    frames[15] = 255
    wave = np.zeros(24000, np.float32)
    wave[12000] = 0.9
    how = {"codec": "libx264", "pixels": "yuv420p", "sound_codec": "aac"}
    path = write(tmp_path / "film.mp4", frames, sound=(wave, 0), **how)  # type: ignore[arg-type]
    assert read(path, size=(32, 32), frames=30)[:, 0].mean((1, 2)).argmax() == 15
    heard = HEARING.load(path)["audio"]
    assert np.abs(heard[:, 0]).argmax() == pytest.approx(12000, abs=16)


def test_sound_of_damaged_films(tmp_path: Path) -> None:
    """What comes before the damage; sound long after the pictures; sound coded in a way nobody knows."""
    wave = RANDOM.uniform(-0.5, 0.5, 16000).astype(np.float32)
    data = write(tmp_path / "film.mkv", [], sound=(wave, 0)).read_bytes()
    assert len(HEARING.load(data)["audio"]) == 16000
    film = write(tmp_path / "film.mkv", pictures(2), sound=(wave, 0)).read_bytes()
    assert 0 < len(HEARING.load(film[:20_000])["audio"]) < 16000
    with pytest.raises(InputError, match="times are broken"):
        HEARING.load(write(tmp_path / "late.mkv", pictures(2), sound=(wave, 700_000)))
    with pytest.raises(InputError, match="not known"):
        HEARING.load(film.replace(b"A_PCM/INT/LIT", b"A_PCM/XXX/LIT"))


def test_absent_pictures_can_be_told_from_bad_ones(tmp_path: Path) -> None:
    """Sound alone lacks a modality; it is bad input to a model of video."""
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as film:
        track: Any = film.add_stream("aac", rate=8000, layout="mono")
        wave = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        wave.rate = 8000
        film.mux(track.encode(wave))
        film.mux(track.encode(None))
    with pytest.raises(Absent, match="no pictures"):
        read(path)
    with pytest.raises(Absent, match="no pictures"):
        Video.measure([path])


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "told"),
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
def test_bad_input(raw: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        read(raw)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=told):
        Video.measure([raw])


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


def test_what_does_not_fit_is_refused() -> None:
    """Configurations and batches."""
    for changes, told in (
        ({"size": (16, 25)}, "multiple of the patch"),
        ({"mean": (0.5,)}, "3 values each"),
        ({"rate": 0.0}, "positive"),
        ({"clips": 0}, "positive"),
    ):
        with pytest.raises(InputError, match=told):
            Video(small(**changes))
    video = Video(small())
    for shape, told in (
        ((1, 8, 1, 16, 24), "expected batch × frames × 3"),
        ((1, 8, 3, 16, 25), "whole patches"),
        ((1, 9, 3, 16, 24), "take a view"),
    ):
        with pytest.raises(InputError, match=told):
            video.embed({"video": torch.rand(shape)})
