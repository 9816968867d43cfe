"""Video: clips and their times, patches, positions, augmentations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from builders import write_film
from sensorium.codecs.containers import has_sound
from sensorium.errors import InputError
from sensorium.modalities.base import Soundtrack
from sensorium.modalities.video import Video, VideoConfig
from sensorium.nn.positions import fourier_grid

RANDOM = np.random.default_rng(0)


def small(**changes: object) -> VideoConfig:
    """Exact: the size of the films made here, no margin."""
    values = {"frames": 8, "rate": 10.0, "size": (16, 24), "patch": (2, 4, 4), "bands": 3, **changes}
    return VideoConfig(**values)  # type: ignore[arg-type]


def pictures(count: int, height: int = 16, width: int = 24) -> np.ndarray:
    """Random frames: uint8, count × height × width × 3."""
    return RANDOM.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def first(frames: np.ndarray) -> np.ndarray:
    """Frames as samples have them: channels first."""
    return frames.transpose(0, 3, 1, 2)


# -- files ------------------------------------------------------------------------------------------------------------


def test_no_more_than_so_many_seconds_are_kept() -> None:
    """From the start on; never less than a clip."""
    frames = pictures(30)
    for changes, kept in (({"seconds": 1.2}, 12), ({"seconds": 0.1}, 8), ({}, 30)):
        assert np.array_equal(Video(small(**changes)).load(frames)["video"], first(frames)[:kept])


def test_files_and_arrays_are_loaded_alike(tmp_path: Path) -> None:
    """At the configured rate, size and number of channels; grey is measured where all videos are."""
    frames = pictures(5)
    path = write_film(tmp_path / "film.mkv", frames, rate=10, wave=None, sound_rate=8000)
    for raw in (path, path.read_bytes(), frames, (frames, 10)):
        assert np.array_equal(Video(small()).load(raw)["video"], first(frames))
    assert np.array_equal(Video(small(rate=5.0)).load(path)["video"], first(frames)[::2])
    half = {"mean": (0.5,), "std": (0.5,), "channels": 1}
    assert Video(small(**half)).load(path)["video"].shape == (5, 1, 16, 24)
    assert Video.measure([frames[..., :1]]).channels == 1
    assert Video.measure([frames[..., :1], path]).channels == 3


def test_measure(tmp_path: Path) -> None:
    """Facts of the headers; long clips get a lower rate; few enough rows; arrays too."""
    films = pictures(20, 24, 40)
    path = write_film(tmp_path / "film.mkv", films, rate=10, wave=None, sound_rate=8000)
    config = Video.measure([path, path])
    assert (config.rate, config.frames, config.size, config.channels) == (10.0, 20, (24, 24), 3)
    first_second = films[:10, ::4, 8:32:4] / 255  # a pixel in sixteen of the centre
    assert config.mean == pytest.approx(first_second.mean((0, 1, 2)), abs=1e-4)
    assert config.std == pytest.approx(first_second.std((0, 1, 2)), abs=1e-4)
    frames = np.zeros((500, 300, 300, 1), np.uint8)
    config = Video.measure([(frames, 50)])
    assert (config.rate, config.frames, config.size, config.std) == (8.3333, 84, (112, 112), (0.02,))
    assert config.num_rows <= 4096
    config = Video.measure([pictures(20), pictures(50), pictures(90), pictures(30)])
    assert (config.rate, config.frames) == (25.0, 90), "whole where they fit, the longest too"
    config = Video.measure([pictures(200)])
    assert (config.rate, config.frames) == (25.0, 96), "of an array every frame counts"
    assert Video.measure([np.zeros((1, 1, 1, 3))]).patch == (1, 1, 1)


def test_films_that_cannot_be_measured() -> None:
    """As for ``load``, in one line."""
    arrays = (np.full((2, 8, 8, 3), value) for value in (np.nan, 2.0, -1, 256))
    for raw in (b"", b"no film at all" * 100, *arrays):
        with pytest.raises(InputError):
            Video.measure([raw])
        with pytest.raises(InputError):
            Video(small()).load(raw)


def test_a_film_is_saved_with_sound(tmp_path: Path) -> None:
    """As many frames as the signal has, at its rate; with sound only where some is given."""
    signal = torch.from_numpy(first(pictures(6))) / 255
    (path,) = Video(small()).save(signal, tmp_path / "alone")
    assert path == tmp_path / "alone.mp4"
    assert not has_sound(path)
    assert Video(small()).load(path)["video"].shape == (6, 3, 16, 24)
    (path,) = Video(small()).save_with(signal, tmp_path / "both", Soundtrack(torch.zeros(4800, 1), 8000))
    assert has_sound(path)


# -- rows and positions ------------------------------------------------------------------------------------------------


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
def test_positions_are_those_of_the_grid(resolution: tuple[float, float, float] | None) -> None:
    """Of time, height and width; a short video has the first ones of a clip's."""
    video = Video(small(resolution=resolution))
    expected = fourier_grid((4, 4, 6), bands=3, resolution=resolution)
    whole = video.embed({"video": torch.rand(1, 8, 3, 16, 24)}).segments[0].positions
    short = video.embed({"video": torch.rand(1, 5, 3, 16, 24)}).segments[0].positions
    assert whole is not None
    assert torch.equal(whole.dense(), expected.dense())
    assert short is not None
    assert torch.equal(short.dense(), expected.dense()[: 3 * 4 * 6])


def test_time_is_in_the_positions_alone() -> None:
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


def test_clips_start_at_the_moment_in_the_batch() -> None:
    """So that sound and pictures can be taken from one place; beyond the end is the last clip."""
    video = Video(small())
    batch = {**counted((20, 20, 5)), "video.start": torch.tensor([0.5, 9.0, 1.0])}
    for view in (video.view(batch), video.augment(batch, torch.Generator()), *video.views(batch)):
        assert begins(view) == [5, 12, 0]
        assert torch.allclose(view["video.start"], torch.tensor([0.5, 1.2, 0.0]))


# -- augmentation -----------------------------------------------------------------------------------------------------


def test_the_view_is_the_centre_of_what_is_stored() -> None:
    """64 of 73, in training too where it crops nothing; sizes of the caller's own are taken as they come."""
    video = Video(small(size=(64, 64), frames=1))
    stored = torch.randint(0, 255, (1, 1, 3, 73, 73), dtype=torch.uint8)
    assert torch.equal(video.view({"video": stored})["video"], stored[..., 4:68, 4:68] / 255)
    trained = video.augment({"video": stored}, torch.Generator())["video"]
    assert torch.equal(trained, video.view({"video": stored})["video"])  # training crops nothing here
    assert Video(small(size=(64, 64), field_of_view=1.0)).stored == (64, 64)
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


# -- refused ----------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused() -> None:
    """Configurations and batches."""
    for changes, message in (
        ({"size": (16, 25)}, "multiple of the patch"),
        ({"mean": (0.5,)}, "3 values each"),
        ({"rate": 0.0}, "positive"),
        ({"clips": 0}, "positive"),
    ):
        with pytest.raises(InputError, match=message):
            Video(small(**changes))
    video = Video(small())
    for shape, message in (
        ((1, 8, 1, 16, 24), "expected batch × frames × 3"),
        ((1, 8, 3, 16, 25), "whole patches"),
        ((1, 9, 3, 16, 24), "take a view"),
    ):
        with pytest.raises(InputError, match=message):
            video.embed({"video": torch.rand(shape)})
