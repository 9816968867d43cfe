"""Two frames and their flow, laid out as people and the benchmarks do; each made here in small."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_data_layouts import assert_description_says_the_same, described, sizes, write

from sensorium.data import Source, open_source
from sensorium.data.layouts.pairs import open_pairs
from sensorium.errors import InputError


def picture(path: Path, seed: int = 0) -> Path:
    """A picture of its own."""
    buffer = io.BytesIO()
    values = np.random.default_rng([seed, *str(path).encode()]).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(values).save(buffer, format="PPM" if path.suffix == ".ppm" else "PNG")
    return write(path, buffer.getvalue())


def flow(path: Path) -> Path:
    """A whole file of Middlebury's, or the head of one of KITTI's: pixels are nothing to a listing."""
    if path.suffix == ".flo":
        return write(path, struct.pack("<fii", 202021.25, 6, 4) + bytes(6 * 4 * 8))
    head = b"IHDR" + struct.pack(">IIBBBBB", 6, 4, 16, 2, 0, 0, 0)
    return write(path, b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)))


def folders(root: Path, count: int = 10, *, flow_name: str = "flow.flo") -> Path:
    for number in range(count):
        picture(root / f"{number}" / "before.png")
        picture(root / f"{number}" / "then.png")
        flow(root / f"{number}" / flow_name)
    return root


def chairs(root: Path) -> Path:
    for number in range(1, 11):
        picture(root / f"{number:05}_img1.ppm")
        picture(root / f"{number:05}_img2.ppm")
        flow(root / f"{number:05}_flow.flo")
    return root


def sintel(root: Path, passes: tuple[str, ...] = ("clean", "final")) -> Path:
    """Five scenes of three frames; the last frame of each has no flow."""
    for scene in ("alley_1", "ambush_2", "bamboo_1", "cave_2", "market_5"):
        for one in passes:
            for number in (9, 10, 11):
                picture(root / one / scene / f"frame_{number:04}.png")
        for number in (9, 10):
            flow(root / "flow" / scene / f"frame_{number:04}.flo")
    return root


def kitti(root: Path, frames: str = "image_2") -> Path:
    for number in range(10):
        picture(root / "training" / frames / f"{number:06}_10.png")
        picture(root / "training" / frames / f"{number:06}_11.png")
        flow(root / "training" / "flow_occ" / f"{number:06}_10.png")
        flow(root / "training" / "flow_noc" / f"{number:06}_10.png")
        picture(root / "testing" / frames / f"{number:06}_10.png")
        picture(root / "testing" / frames / f"{number:06}_11.png")
    return root


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "a folder each": folders,
    "a folder each, KITTI's flow": lambda root: folders(root, flow_name="flow_occ.png"),
    "FlyingChairs": chairs,
    "Sintel": sintel,
    "Sintel, one pass": lambda root: sintel(root, ("final",)),
    "KITTI 2015": kitti,
    "KITTI 2012": lambda root: kitti(root, "colored_0"),
}


def found(source: Source) -> dict[str, tuple[str, str, str]]:
    """By name, the two frames and the flow of every example, in all splits."""
    return {
        name: tuple(path.relative_to(source.path).as_posix() for path in (*raw["frames"], raw["flow"]))  # type: ignore[misc]
        for part in source.splits.values()
        for name, raw in zip(part.names, part.raws["pair"], strict=True)
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_recognised(layout: str, tmp_path: Path) -> None:
    """Nothing needs to be said; there are no labels, nothing leaks, and what was inferred finds the same again."""
    source = open_source(LAYOUTS[layout](tmp_path))
    assert source.kinds == {"pair": "pair"}
    assert (source.task, source.classes, source.description.layout) == ("flow", (), "pairs")
    assert all(part.targets is None for part in source.splits.values())
    assert source.warnings == ()
    assert_description_says_the_same(source)


def test_frames_go_with_their_flow(tmp_path: Path) -> None:
    """One example of each layout, by name; its first frame first, and the next number is the second."""
    assert found(open_source(folders(tmp_path / "a")))["3"] == ("3/before.png", "3/then.png", "3/flow.flo")
    name = "00009_img1.ppm"
    assert found(open_source(chairs(tmp_path / "b")))[name] == (name, "00009_img2.ppm", "00009_flow.flo")
    pairs = found(open_source(sintel(tmp_path / "c")))
    assert len(pairs) == 20
    for one in ("clean", "final"):
        frames = [f"{one}/cave_2/frame_{number:04}.png" for number in (9, 10)]
        assert pairs[frames[0]] == (*frames, "flow/cave_2/frame_0009.flo")
    pairs = found(open_source(kitti(tmp_path / "d")))
    assert len(pairs) == 10
    first, second = (f"training/image_2/000007_{number}.png" for number in (10, 11))
    assert pairs[first] == (first, second, "training/flow_occ/000007_10.png")


def test_a_scene_is_in_one_split(tmp_path: Path) -> None:
    """Both passes of it; where there are no scenes, a fifth of the pairs is drawn."""
    source = open_source(sintel(tmp_path / "scenes"))
    scenes = {split: {name.split("/")[1] for name in part.names} for split, part in source.splits.items()}
    assert scenes["train"] | scenes["test"] == {"alley_1", "ambush_2", "bamboo_1", "cave_2", "market_5"}
    assert not scenes["train"] & scenes["test"]
    assert sizes(source) == {"train": 16, "test": 4}
    assert sizes(open_source(chairs(tmp_path / "chairs"))) == {"train": 8, "test": 2}


def test_split_folders_are_splits(tmp_path: Path) -> None:
    folders(tmp_path / "training", 6)
    folders(tmp_path / "val", 3)
    source = open_source(tmp_path)
    assert sizes(source) == {"train": 6, "test": 3}
    assert "the given val split is the test split" in source.warnings[0]


def test_the_same_frames_in_two_splits_are_told(tmp_path: Path) -> None:
    folders(tmp_path / "train", 6)
    folders(tmp_path / "test", 3)
    for frame in ("before.png", "then.png"):
        write(tmp_path / "test" / "1" / frame, (tmp_path / "train" / "4" / frame).read_bytes())
    (warning,) = open_source(tmp_path).warnings
    assert "1 examples of test are in train too, for example test/1 (the same as train/4)" in warning


def test_flow_is_what_a_task_makes_of_it(tmp_path: Path) -> None:
    """Frames are pictures, where classes or the pictures themselves are asked for."""
    for task, layout in (("classify", "folders"), ("none", "folders"), ("flow", "pairs")):
        source = open_source(folders(tmp_path), description=described(target={"task": task}))
        assert (source.task, source.description.layout) == (task, layout)


@pytest.mark.parametrize("labelled", [True, False])
def test_pictures_are_frames_where_flow_is_asked_for(tmp_path: Path, labelled: bool) -> None:
    """Each by itself, whatever folder it lies in: the task makes pairs of them. A picture of 8 bits is no flow."""
    for number in range(10):
        picture(tmp_path / ("ab"[number % 2] if labelled else "") / f"flow {number}.png")
    source = open_source(tmp_path, description=described(target={"task": "flow"}))
    assert (source.kinds, source.task, sizes(source)) == ({"pair": "pair"}, "flow", {"train": 8, "test": 2})
    assert all(isinstance(raw, Path) for raw in source.splits["train"].raws["pair"])
    assert_description_says_the_same(source)


# -- what a model is asked about -------------------------------------------------------------------------------------


def test_files_two_by_two_and_folders_are_opened(tmp_path: Path) -> None:
    """In the order they are given; a folder of several pairs is several examples, two pictures alone are one."""
    one, two = picture(tmp_path / "1.png"), picture(tmp_path / "2.png")
    alone = tmp_path / "alone"
    picture(alone / "b.png")
    picture(alone / "a.png")
    benchmark = chairs(tmp_path / "chairs")
    examples = open_pairs([two, one, alone, benchmark, one, two])
    assert len(examples) == 1 + 1 + 10 + 1
    raws, names = list(examples.raws["pair"]), list(examples.names)
    assert (names[0], raws[0]) == (f"{two} + {one}", {"frames": (two, one), "flow": None})
    assert (names[1], raws[1]) == (str(alone), {"frames": (alone / "a.png", alone / "b.png"), "flow": None})
    assert (names[2], raws[2]["flow"]) == (f"{benchmark}/00001_img1.ppm", benchmark / "00001_flow.flo")
    assert names[-1] == f"{one} + {two}"


# -- what cannot be used ---------------------------------------------------------------------------------------------


def bad_missing(root: Path) -> None:
    (chairs(root) / "00004_img2.ppm").unlink()


def bad_three(root: Path) -> None:
    picture(folders(root) / "4" / "and then.png")


def bad_twice(root: Path) -> None:
    flow(folders(root) / "4" / "backward.flo")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (bad_missing, "00004_flow.flo: its two frames are not there; put them beside it, alone in a folder, or name"),
        (bad_three, "4/flow.flo: its two frames are not there"),
        (bad_twice, "4/flow.flo: backward.flo is of the same frames; keep the one from the first to the second"),
    ],
)
def test_bad_pairs_are_refused(spoil: Callable[[Path], None], told: str, tmp_path: Path) -> None:
    spoil(tmp_path)
    with pytest.raises(InputError, match=told):
        open_source(tmp_path)


def test_bad_descriptions_are_refused(tmp_path: Path) -> None:
    folders(tmp_path / "pairs")
    picture(tmp_path / "pictures" / "a" / "1.png")
    for data, values, told in (
        ("pairs", {"layout": "pairs", "target": {"task": "classify"}}, "frames and flow have nothing to classify"),
        ("pairs", {"layout": "pairs", "fold": "scene"}, "pairs of frames have no columns, so `fold` means nothing"),
        ("pairs", {"layout": "pairs", "splits": {"train": "1", "test": "no"}}, "no: there is no such folder"),
        ("pictures", {"layout": "pairs"}, "there is no flow in it; put a .flo file beside each two frames"),
    ):
        with pytest.raises(InputError, match=told):
            open_source(tmp_path / data, description=described(**values))


def test_flow_of_other_signals_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "series.npz", x=np.random.default_rng(0).normal(size=(20, 9, 2)), y=np.arange(20) % 2)
    with pytest.raises(InputError, match="flow is learned of pairs of frames or of pictures, this is series"):
        open_source(tmp_path / "series.npz", description=described(target={"task": "flow"}))


def test_what_is_no_pair_is_not_opened(tmp_path: Path) -> None:
    one, two = picture(tmp_path / "1.png"), picture(tmp_path / "2.png")
    for number in range(3):
        picture(tmp_path / "three" / f"{number}.png")
    for files, told in (
        ([one], "1.png: a frame without a second one; give files two by two, or folders"),
        ([one, two, two], "2.png: a frame without a second one"),
        ([one, folders(tmp_path / "pairs"), two], "1.png: a frame without a second one"),
        ([one, tmp_path / "no.png"], "no.png: there is no such file or folder"),
        ([flow(tmp_path / "a.flo"), one], "a.flo: this is flow, not a frame"),
        ([tmp_path / "three"], "three: it holds neither flow nor two pictures alone"),
    ):
        with pytest.raises(InputError, match=told):
            open_pairs(files)
