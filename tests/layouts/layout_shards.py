"""WebDataset shards, as people have them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from layout_case import Case
from layout_signals import motion, picture, sentence, tone, write

SPECIES = ("cat", "dog")
Files = Mapping[str, bytes | str]


def tar(path: Path, files: Files, *, mode: str = "w") -> None:
    """A tar with these files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))


def examples(files: Callable[[int], Files], first: int, count: int) -> Files:
    """The files of some examples, named by their numbers."""
    return {
        f"{number:05}.{name}": content
        for number in range(first, first + count)
        for name, content in files(number).items()
    }


def pictures(number: int) -> Files:
    return {"png": picture(number), "cls": str(number % 2)}


def one_data_set(root: Path) -> None:
    for shard in range(4):
        tar(root / f"pets-{shard:04}.tar", examples(pictures, 10 * shard, 10))


def named_splits(root: Path) -> None:
    for split, first, count in (
        ("train-0000", 0, 20),
        ("train-0001", 20, 20),
        ("val-0000", 40, 8),
        ("test-0000", 48, 12),
    ):
        tar(root / f"{split}.tar", examples(pictures, first, count))


def split_folders(root: Path) -> None:
    tar(root / "train" / "00000.tar", examples(pictures, 0, 20))
    tar(root / "train" / "00001.tar", examples(pictures, 20, 12))
    tar(root / "test" / "00000.tar", examples(pictures, 32, 8))


def one_tar(root: Path) -> Path:
    tar(root / "clips.tar", examples(lambda number: {"wav": tone(number), "txt": SPECIES[number % 2]}, 0, 40))
    return root / "clips.tar"


def class_folders(root: Path) -> None:
    names = [f"pets/{SPECIES[number % 2]}/{number}.png" for number in range(40)]
    tar(root / "pets.tar", {name: picture(number) for number, name in enumerate(names)})


def folders_of_splits(root: Path) -> None:
    places = [("train" if number < 30 else "test", SPECIES[number % 2]) for number in range(40)]
    tar(root / "pets.tar", {f"{'/'.join(place)}/{n}.png": picture(n) for n, place in enumerate(places)})


def records(root: Path) -> None:
    def files(number: int) -> Files:
        entries = {"label": SPECIES[number % 2], "patient": f"p{number // 4}", "age": number}
        return {"png": picture(number), "json": json.dumps(entries)}

    tar(root / "visits-0.tar", examples(files, 0, 40))


def captions(root: Path) -> None:
    def files(number: int) -> Files:
        return {"png": picture(number), "txt": sentence(number), "cls": str(number % 2)}

    tar(root / "told-0.tar", examples(files, 0, 40))


def arrays(root: Path) -> None:
    def files(number: int) -> Files:
        content = io.BytesIO()
        np.save(content, motion(number).T)
        return {"npy": content.getvalue(), "cls": ("walk", "run")[number % 2]}

    tar(root / "steps-0.tar", examples(files, 0, 40))


def without_labels(root: Path) -> None:
    tar(root / "pets-0.tar", examples(lambda number: {"png": picture(number)}, 0, 40))


def compressed(root: Path) -> None:
    tar(root / "pets-0.tar.gz", examples(pictures, 0, 40), mode="w:gz")


def cut_short(root: Path) -> None:
    tar(root / "whole.tar", examples(pictures, 0, 40))
    content = (root / "whole.tar").read_bytes()
    (root / "whole.tar").unlink()
    write(root / "pets-0.tar", content[: len(content) // 2 + 100])


CASES = (
    Case(
        name="shards",
        what="WebDataset shards `pets-0000.tar`, …, with `00000.png` and `00000.cls`",
        make=one_data_set,
        kinds={"image": "image"},
        splits={"train": 32, "test": 8},
        drawn=True,
        said=("the .cls files",),
    ),
    Case(
        name="shards-of-splits",
        what="`train-0000.tar`, …, `val-0000.tar` and `test-0000.tar`",
        make=named_splits,
        kinds={"image": "image"},
        splits={"train": 40, "val": 8, "test": 12},
    ),
    Case(
        name="shards-in-folders",
        what="`train/00000.tar`, … and `test/00000.tar`",
        make=split_folders,
        kinds={"image": "image"},
        splits={"train": 32, "test": 8},
    ),
    Case(
        name="one-shard-with-words",
        what="one tar with `00000.wav` and `00000.txt`, which holds the class",
        make=one_tar,
        kinds={"audio": "audio"},
        splits={"train": 32, "test": 8},
        drawn=True,
        said=("the .txt files, which recur",),
    ),
    Case(
        name="tar-of-class-folders",
        what="a tar of class folders",
        make=class_folders,
        kinds={"image": "image"},
        splits={"train": 32, "test": 8},
        drawn=True,
        said=("the folders in the tars",),
    ),
    Case(
        name="tar-of-splits",
        what="a tar of class folders in `train/` and `test/`",
        make=folders_of_splits,
        kinds={"image": "image"},
        splits={"train": 30, "test": 10},
    ),
    Case(
        name="shards-with-records",
        what="shards with `00000.json`, which holds label, patient and age",
        make=records,
        kinds={"image": "image"},
        splits={"train": 32, "test": 8},
        drawn=True,
        group="patient",
        left_out=("age",),
        said=("'label' in the .json files",),
    ),
    Case(
        name="shards-with-captions",
        what="shards with a picture, a text and a class",
        make=captions,
        kinds={"image": "image", "text": "text"},
        splits={"train": 32, "test": 8},
        drawn=True,
    ),
    Case(
        name="shards-of-arrays",
        what="shards with `00000.npy`, 3 × 100",
        make=arrays,
        kinds={"series": "series"},
        axes=("channels", "time"),
        splits={"train": 32, "test": 8},
        drawn=True,
    ),
    Case(
        name="shards-without-labels",
        what="shards of pictures alone",
        make=without_labels,
        refused=("no labels", "--target NAME"),
    ),
    Case(name="shards-compressed", what="shards that are compressed, `.tar.gz`", make=compressed, refused=("gunzip",)),
    Case(name="shard-cut-short", what="a shard that was cut short", make=cut_short, refused=("cut short", "copy it")),
)
