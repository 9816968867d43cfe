"""Two frames and the motion between them, as people and the benchmarks lay them out:

- a folder each: two pictures, and a ``.flo`` or a KITTI ``flow.png``;
- FlyingChairs: ``00001_img1.ppm``, ``00001_img2.ppm``, ``00001_flow.flo``, in ``data`` or not, and its published split
  in ``FlyingChairs_train_val.txt``, a line for each pair: 1 is train, 2 is val;
- Sintel: ``clean/SCENE/frame_0001.png`` (or ``final``, or both), ``flow/SCENE/frame_0001.flo``;
- KITTI: ``image_2/000000_10.png`` (or ``colored_0``), ``image_2/000000_11.png``, ``flow_occ/000000_10.png``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...files import ending, without_ending
from ..description import DataConfig, InputConfig, in_split_order
from ..examples import Examples, Listing
from ..recognition.recognise import PICTURES, kind_of_suffix, visible_files
from .folders import check_no_columns, existing, relative, split_folders, walk, walk_names

INPUTS = {"pair": InputConfig(kind="pair")}
CHAIRS_SPLIT = "FlyingChairs_train_val.txt"
CHAIRS_SPLITS = {"1": "train", "2": "val"}  # by the words in its lines
RENDER_PASSES = ("clean", "final")  # of Sintel

# The end of a flow's path, and what it is of the first frame's, without its ending; the second has the next number.
_FIRST_FRAMES = (
    (re.compile(r"_flow\.flo$"), ("_img1",)),
    (re.compile(r"flow_occ/([^/]+)\.png$"), (r"image_2/\1", r"colored_0/\1")),
    (re.compile(r"flow/([^/]+/[^/]+)\.flo$"), tuple(rf"{render_pass}/\1" for render_pass in RENDER_PASSES)),
)


@dataclass(frozen=True)
class Found:
    """One example.

    Attributes:
        name: the path of its first frame, or of the folder that holds nothing else.
        frames: the first and the second.
        flow: the file of the flow from the first frame to the second; None: the flow is not known.
    """

    name: Path
    frames: tuple[Path, Path]
    flow: Path | None

    @property
    def raw(self) -> dict[str, Any]:
        """The example as the modality loads it; with its render pass, where a flow has frames of several."""
        raw = {"frames": self.frames, "flow": self.flow}
        return raw if self.render_pass is None else {**raw, "pass": self.render_pass}

    @property
    def render_pass(self) -> str | None:
        """``clean`` or ``final``, of Sintel's frames; None: of others."""
        render_pass = self.frames[0].parent.parent.name
        is_sintel = self.flow is not None and self.flow.parent.parent.name == "flow"
        return render_pass if is_sintel and render_pass in RENDER_PASSES else None


def is_flow(path: Path) -> bool:
    """Whether a file holds motion: a ``.flo``, or a .png of 16 bits and three channels where KITTI's would be."""
    if ending(path) != ".png":
        return ending(path) == ".flo"
    if path.parent.name != "flow_occ" and not path.name.startswith("flow"):
        return False
    with path.open("rb") as file:
        return file.read(26)[24:] == b"\x10\x02"  # the header's bits of a value, and RGB


def _may_be_flow(folder: str, name: str) -> bool:
    """Whether a file is called like flow: quicker than to look at it."""
    return name.lower().endswith((".flo", ".flo.gz")) or name.startswith("flow") or folder.endswith("flow_occ")


def has_pairs(root: Path) -> bool:
    """Whether a folder holds a file of flow, at any depth."""
    return any(_may_be_flow(parent, name) and is_flow(Path(parent, name)) for parent, name in walk_names(root))


def list_pairs(root: Path, description: DataConfig) -> Listing:
    """Every flow in a folder with its two frames, in folders per split or not. A scene is in one split only.

    Raises:
        InputError: there is no flow, one without its frames, or two of the same frames.
    """
    check_no_columns(root, description, "pairs of frames")
    splits = description.splits or in_split_order(split_folders(root))
    folders = {str(split): existing(root / folder) for split, folder in splits.items()} if splits else {"": root}
    found = [(split, pair) for split, folder in folders.items() for pair in find_pairs(folder)]
    if not found:
        raise InputError(f"{root}: there is no flow in it; put a .flo file beside each two frames")
    split_names = [split for split, _ in found] if splits else _chairs_splits(root, [pair for _, pair in found])
    scenes = [_scene(pair) for _, pair in found]
    return Listing(
        kinds={"pair": "pair"},
        raws={"pair": [pair.raw for _, pair in found]},
        names=[relative(root, pair.name) for _, pair in found],
        labels=np.zeros(len(found)),
        split_names=None if split_names is None else np.array(split_names),
        groups=np.array(scenes) if len(set(scenes)) < len(scenes) else None,
        description=replace(description, layout="pairs", inputs=INPUTS, splits=splits),
    )


def find_pairs(folder: Path) -> Iterator[Found]:
    """The examples in a folder, in order.

    Raises:
        InputError: as for :func:`list_pairs`.
    """
    files = list(walk(folder))
    pictures: dict[Path, Path] = {}
    beside: dict[Path, list[Path]] = {}
    for path in files:
        if kind_of_suffix(ending(path)) == PICTURES and not path.name.startswith("flow"):
            pictures[without_ending(path)] = path
            beside.setdefault(path.parent, []).append(path)
    of_frames: dict[tuple[Path, Path], Path] = {}
    for flow in filter(is_flow, files):
        found = [Found(name, frames, flow) for name, frames in _frames(flow, pictures, beside)]
        if not found:
            raise InputError(
                f"{flow}: its two frames are not there; put them beside it, alone in a folder, or name them as "
                "FlyingChairs, Sintel or KITTI do"
            )
        for pair in found:
            if pair.frames in of_frames:
                other = of_frames[pair.frames].name
                raise InputError(f"{flow}: {other} is of the same frames; keep the one from the first to the second")
            of_frames[pair.frames] = flow
        yield from found


def _chairs_splits(root: Path, pairs: Sequence[Found]) -> list[str] | None:
    """The split of each pair of FlyingChairs, as published: in the folder, or beside it; None: there is no such file.

    Raises:
        InputError: a line that says neither train nor val, or too few lines.
    """
    path = next((path for path in (root / CHAIRS_SPLIT, root.parent / CHAIRS_SPLIT) if path.is_file()), None)
    if path is None:
        return None
    words = path.read_text("utf-8").split()
    numbers = [re.match(r"(\d+)_", pair.name.name) for pair in pairs]
    try:
        return [CHAIRS_SPLITS[words[int(number[1]) - 1]] if number else "" for number in numbers]
    except (IndexError, KeyError):
        raise InputError(
            f"{path}: it needs a line for each pair, 1 for train or 2 for val; take the published one"
        ) from None


def _scene(pair: Found) -> str:
    """The scene of a pair, all of which goes into one split: the folder that frames and flow share by name, or else the
    pair alone."""
    assert pair.flow is not None
    frames, flows = pair.frames[0].parent, pair.flow.parent
    return str(flows if frames != flows and frames.name == flows.name else pair.flow)


def _frames(
    flow: Path, pictures: Mapping[Path, Path], beside: Mapping[Path, Sequence[Path]]
) -> Iterator[tuple[Path, tuple[Path, Path]]]:
    """The names of the examples of a flow, and their frames; most flows have one example.

    Args:
        pictures: by their paths without the endings.
        beside: those of each folder.
    """
    firsts = [
        Path(pattern.sub(replacement, flow.as_posix()))
        for pattern, replacements in _FIRST_FRAMES
        for replacement in replacements
        if pattern.search(flow.as_posix())
    ]
    named = [(first, following(first)) for first in firsts]
    named = [(first, second) for first, second in named if first in pictures and second in pictures]
    for first, second in named:
        yield pictures[first], (pictures[first], pictures[second])
    near = beside.get(flow.parent, ())
    if not named and len(near) == 2:
        yield flow.parent, (near[0], near[1])


def following(frame: Path) -> Path:
    """The name of the next frame: its last number and one.

    >>> following(Path("frame_0009.png")).name, following(Path("00001_img1")).name
    ('frame_0010.png', '00001_img2')
    """
    return frame.with_name(
        re.sub(r"\d+(?=\D*$)", lambda number: f"{int(number[0]) + 1:0{len(number[0])}}", frame.stem) + frame.suffix
    )


def open_pairs(paths: Sequence[Path]) -> Examples:
    """Pairs for a trained model: files two by two, and folders with frames and flow, or with nothing but two pictures.

    Raises:
        InputError: there is no such file or folder, a frame without a second one, or a folder without pairs.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
        if path.is_file() and is_flow(path):
            raise InputError(f"{path}: this is flow, not a frame; give two pictures, or the folder that they lie in")
    raws: list[dict[str, Any]] = []
    names: list[str] = []
    queue = list(paths)
    while queue:
        path = queue.pop(0)
        if path.is_dir():
            found = list(find_pairs(path)) or [_two_pictures(path)]
            raws += [pair.raw for pair in found]
            names += [str(pair.name) for pair in found]
        elif queue and queue[0].is_file():
            raws.append(Found(path, (path, queue[0]), None).raw)
            names.append(f"{path} + {queue.pop(0)}")
        else:
            raise InputError(f"{path}: a frame without a second one; give files two by two, or folders")
    return Examples({"pair": raws}, None, names)


def _two_pictures(folder: Path) -> Found:
    pictures = [path for path in visible_files(folder) if kind_of_suffix(ending(path)) == PICTURES]
    if len(pictures) != 2:
        raise InputError(f"{folder}: it holds neither flow nor two pictures alone; give files two by two")
    return Found(folder, (pictures[0], pictures[1]), None)
