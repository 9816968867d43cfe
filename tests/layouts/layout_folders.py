"""A folder for each class, pairs of files, and folders that hold no data."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from layout_case import Case
from layout_signals import class_folders, cloud, csv, picture, sentence, split_numbers, tone, write

from builders import dicom_slice, film
from stand_ins import chairs, kitti, sintel

IMAGE, AUDIO, TEXT, POINTS = {"image": "image"}, {"audio": "audio"}, {"text": "text"}, {"points": "points"}
PETS, FORTY = ("cat", "dog"), {"train": 32, "test": 8}
SPLITS = {"train": 20, "val": 6, "test": 8}


def pictures(root: Path) -> None:
    class_folders(root, 40, PETS, picture, ".png")


def in_splits(pattern: str) -> Callable[[Path], None]:
    """Writes pictures in folders of splits and classes."""

    def make(root: Path) -> None:
        for split, number in split_numbers(**SPLITS):
            folder = pattern.format(split=split, label=PETS[number % 2])
            write(root / folder / f"{number}.png", picture(number))

    return make


def sound_in_splits(root: Path) -> None:
    for split, number in split_numbers(train=20, test=8):
        write(root / split / ("low", "high")[number % 2] / f"{number}.flac", tone(number, "flac"))


def set_folders(root: Path) -> None:
    for split, number in split_numbers(training_set=20, test_set=8):
        write(root / split / PETS[number % 2] / f"{number}.png", picture(number))


def unlabelled_test(root: Path) -> None:
    pictures(root / "train")
    for number in range(40, 50):
        write(root / "test" / f"{number}.png", picture(number))


def only_val(root: Path) -> None:
    for split, number in split_numbers(train=20, val=8):
        write(root / split / PETS[number % 2] / f"{number}.png", picture(number))


def one_example_of_a_class(root: Path) -> None:
    pictures(root)
    write(root / "owl" / "40.png", picture(40))


def imdb(root: Path) -> None:
    for split, number in split_numbers(train=24, test=12):
        write(root / split / ("neg", "pos")[number % 2] / f"{number}_7.txt", sentence(number))


def surfaces(root: Path) -> None:
    """As ModelNet: tetrahedra of many heights, in class folders with the splits in them. Some begin with one line where
    the format has two."""
    for split, number in split_numbers(train=16, test=8):
        height = 1 + number % 2 * 3 + number / 100
        lines = ["OFF", "4 4 0", "0 0 0", "1 0 0", "0 1 0", f"0 0 {height}"]
        lines += ["3 0 1 2", "3 0 1 3", "3 0 2 3", "3 1 2 3"]
        text = "\n".join(lines) + "\n"
        text = text.replace("OFF\n", "OFF") if number % 3 == 0 else text
        write(root / ("flat", "tall")[number % 2] / split / f"{number}.off", text)


def ply(root: Path) -> None:
    head = (
        "ply\nformat ascii 1.0\nelement vertex 64\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )

    def lines(number: int) -> str:
        return head + "\n".join(" ".join(f"{value:.4f}" for value in point) for point in cloud(number, 64)) + "\n"

    class_folders(root, 40, ("ball", "box"), lines, ".ply")


def xyz(root: Path) -> None:
    def lines(number: int) -> str:
        return "\n".join(" ".join(f"{value:.4f}" for value in point) for point in cloud(number, 64)) + "\n"

    class_folders(root, 40, ("ball", "box"), lines, ".xyz")


def films(root: Path) -> None:
    for number in range(10):
        film(root / ("calm", "wild")[number % 2] / f"{number}.mkv", sound=True, frames=3, seed=number)


def films_with_metadata(root: Path) -> None:
    """Scenes of films, several of each, with what a script wrote down of them."""
    random = np.random.default_rng(0)
    for number in range(20):
        film(root / "films" / f"{number:02}.mkv", sound=False, frames=3, seed=number)
    columns = {
        "file": [f"films/{number:02}.mkv" for number in range(20)],
        "label": [("fight", "none")[number % 2] for number in range(20)],
        "frames": [3 + number % 5 for number in range(20)],
        "bytes": random.integers(1000, 9000, 20).tolist(),
        "camera": [number // 3 % 2 for number in range(20)],
        "source_group": [f"g{number // 2}" for number in range(20)],
    }
    csv(root / "labels.csv", columns)


def files_of_one_name(root: Path) -> None:
    class_folders(root, 20, PETS, picture, ".png")
    class_folders(root, 20, PETS, tone, ".wav")


def flow(root: Path) -> None:
    for number in range(10):
        write(root / f"{number}" / "one.png", picture(number))
        write(root / f"{number}" / "two.png", picture(number + 100))
        motion = np.full((8, 8, 2), 0.5, np.float32)
        write(root / f"{number}" / "flow.flo", struct.pack("<fii", 202021.25, 8, 8) + motion.tobytes())


def nifti(root: Path) -> None:
    for number in range(20):
        path = root / ("ill", "well")[number % 2] / f"{number}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        values = np.random.default_rng(number).normal(size=(6, 6, 6)).cumsum(0).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def dicom(root: Path) -> None:
    for number in range(10):
        folder = root / ("ill", "well")[number % 2] / f"patient {number}"
        folder.mkdir(parents=True)
        grid = np.random.default_rng(number).integers(0, 900, (4, 6, 5)).astype(np.uint16)
        for index, slice_ in enumerate(grid):
            content = dicom_slice(slice_, series=f"1.2.{number}", position=[0.0, 0.0, 2.5 * index])
            write(folder / f"{index}.dcm", content)


def nothing(root: Path) -> None:
    """An empty folder."""


def unknown(root: Path) -> None:
    class_folders(root, 10, PETS, str, ".quux")


def zipped(root: Path) -> Path:
    path = root / "pets.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number in range(4):
            file.writestr(f"{PETS[number % 2]}/{number}.png", picture(number))
    return path


def folder_of_a_zip(root: Path) -> None:
    zipped(root)


def one_picture(root: Path) -> Path:
    return write(root / "cat.png", picture(0))


def loose(root: Path) -> None:
    for number in range(10):
        write(root / f"{number}.png", picture(number))


def mixed(root: Path) -> None:
    for number in range(20):
        of_class = root / PETS[number % 2]
        write(of_class / f"{number}.{'wav' if number // 2 % 2 else 'png'}", (picture, tone)[number // 2 % 2](number))


def one_class(root: Path) -> None:
    class_folders(root, 20, ("cat",), picture, ".png")


def untidy(root: Path) -> None:
    """What systems and people leave behind."""
    pictures(root)
    write(root / "cat" / ".DS_Store", "x")
    write(root / "__MACOSX" / "cat" / "1.png", "x")
    write(root / "README.md", "These are cats and dogs.")
    write(root / "dog" / "notes.docx", "x")


CASES = (
    Case(
        name="class-folders",
        what="pictures in a folder for each class",
        make=pictures,
        kinds=IMAGE,
        splits=FORTY,
        drawn=True,
        said=("classify: 2 classes, cat, dog (the names of the folders)", "with the same share of each class"),
    ),
    Case(
        name="splits-then-classes",
        what="train/cat/, val/cat/, test/cat/",
        make=in_splits("{split}/{label}"),
        kinds=IMAGE,
        splits=SPLITS,
        said=("as on disk: 20 train, 6 val, 8 test",),
    ),
    Case(
        name="classes-then-splits",
        what="cat/train/, cat/val/, cat/test/",
        make=in_splits("{label}/{split}"),
        kinds=IMAGE,
        splits=SPLITS,
        said=("as on disk: 20 train, 6 val, 8 test",),
    ),
    Case(
        name="training-set-and-test-set",
        what="training_set/cat/, test_set/cat/",
        make=set_folders,
        kinds=IMAGE,
        splits={"train": 20, "test": 8},
        said=("as on disk: 20 train, 8 test",),
    ),
    Case(
        name="test-pictures-without-labels",
        what="train/cat/, train/dog/, and test/ with pictures alone, as competitions have them",
        make=unlabelled_test,
        kinds=IMAGE,
        splits={"train": 32, "test": 8},
        drawn=True,
        warned=("test has no class folders and was left out; `sensorium predict` answers for its files",),
    ),
    Case(
        name="no-test-split",
        what="train/ and val/ alone: what is called val is the test split",
        make=only_val,
        kinds=IMAGE,
        splits={"train": 20, "test": 8},
        said=("val: none, so the weights of the last step are kept",),
        warned=("there is no test split: the given val split is the test split",),
    ),
    Case(
        name="untidy-class-folders",
        what="class folders with hidden files, a README and a document in them",
        make=untidy,
        kinds=IMAGE,
        splits=FORTY,
        drawn=True,
        warned=("1 files are not of the kind 'image' and were left out, for example dog/notes.docx",),
    ),
    Case(
        name="class-of-one",
        what="class folders, one of which holds a single picture",
        make=one_example_of_a_class,
        kinds=IMAGE,
        classes=3,
        splits={"train": 33, "test": 8},
        drawn=True,
        warned=(
            "1 classes have a single example, so they are learned but never tested: owl",
            "the classes differ much in size: 16 training examples of 'cat', 1 of 'owl'; --class-weights balanced",
        ),
    ),
    Case(
        name="sound-in-splits",
        what=".flac files in train/ and test/ and class folders in these",
        make=sound_in_splits,
        kinds=AUDIO,
        splits={"train": 20, "test": 8},
    ),
    Case(
        name="imdb",
        what="texts in train/pos/, train/neg/, test/pos/ and test/neg/",
        make=imdb,
        kinds=TEXT,
        splits={"train": 24, "test": 12},
        said=("neg, pos",),
    ),
    Case(
        name="modelnet-off",
        what="meshes as .off in flat/train/, flat/test/, …, of which some begin with `OFF4 4 0`, as in ModelNet40",
        make=surfaces,
        kinds=POINTS,
        splits={"train": 16, "test": 8},
    ),
    Case(name="ply", what="clouds as .ply in class folders", make=ply, kinds=POINTS, splits=FORTY, drawn=True),
    Case(name="xyz", what="clouds as .xyz in class folders", make=xyz, kinds=POINTS, splits=FORTY, drawn=True),
    Case(
        name="films",
        what="films with sound in class folders: two signals of each example",
        make=films,
        kinds={"audio": "audio", "video": "video"},
        splits={"train": 8, "test": 2},
        drawn=True,
        said=("audio and video of one name are one example", "--kind KIND"),
    ),
    Case(
        name="films-with-metadata",
        what="films and labels.csv with frames, bytes, camera and source_group",
        make=films_with_metadata,
        kinds={"video": "video"},
        splits={"train": 16, "test": 4},
        drawn=True,
        group="source_group",
        left_out=("frames", "bytes", "camera"),
        said=("plain columns beside a signal are metadata", "none of 10 groups is in two splits"),
    ),
    Case(
        name="files-of-one-name",
        what="1.png beside 1.wav in class folders: two signals of each example",
        make=files_of_one_name,
        kinds={"audio": "audio", "image": "image"},
        splits={"train": 16, "test": 4},
        drawn=True,
    ),
    Case(
        name="flow",
        what="folders with two pictures and a .flo each",
        make=flow,
        kinds={"pair": "pair"},
        task="flow",
        classes=0,
        splits={"train": 8, "test": 2},
        drawn=True,
    ),
    Case(
        name="sintel",
        what="MPI-Sintel-complete as published: training/clean and final, flow, masks; test frames without flow",
        make=sintel,
        kinds={"pair": "pair"},
        task="flow",
        classes=0,
        splits={"train": 16, "test": 4},
        drawn=True,
    ),
    Case(
        name="kitti",
        what="KITTI 2015 as published: training/image_2, flow_occ (16-bit .png), testing without flow",
        make=kitti,
        kinds={"pair": "pair"},
        task="flow",
        classes=0,
        splits={"train": 8, "test": 2},
        drawn=True,
    ),
    Case(
        name="flying-chairs",
        what="FlyingChairs_release/data (.ppm, .flo) with FlyingChairs_train_val.txt in the folder or beside it",
        make=chairs,
        kinds={"pair": "pair"},
        task="flow",
        classes=0,
        splits={"train": 8, "test": 2},
        said=("as on disk: 8 train, 2 test",),
        warned=("the given val split is the test split",),
    ),
    Case(
        name="nifti",
        what="volumes as .nii.gz in class folders",
        make=nifti,
        kinds={"volume": "volume"},
        splits={"train": 16, "test": 4},
        drawn=True,
    ),
    Case(
        name="dicom-series",
        what="a folder of .dcm slices for each scan, in class folders",
        make=dicom,
        kinds={"volume": "volume"},
        splits={"train": 8, "test": 2},
        drawn=True,
    ),
    Case(
        name="mixed-kinds-by-kind",
        what="pictures and sounds of different names in the same class folders, with `--kind image`",
        make=mixed,
        options={"kind": ("image",)},
        kinds=IMAGE,
        splits={"train": 8, "test": 2},
        drawn=True,
        warned=("10 files are not of the kind 'image' and were left out",),
    ),
    Case(
        name="empty-folder",
        what="an empty folder",
        make=nothing,
        refused=("the folder is empty", "give the folder that holds the data"),
    ),
    Case(
        name="unknown-files",
        what="class folders of files that nothing is known about",
        make=unknown,
        refused=("nothing that can be read (found .quux)", "what is read: image (.jpg"),
    ),
    Case(
        name="zip-file",
        what="a zip file",
        make=zipped,
        refused=("pets.zip", "unpack it first"),
    ),
    Case(
        name="folder-of-a-zip-file",
        what="a folder with nothing but a zip file in it",
        make=folder_of_a_zip,
        refused=("found .zip", "unpack it first"),
    ),
    Case(
        name="one-picture",
        what="a single picture",
        make=one_picture,
        refused=("cat.png", "it is one example; give a folder of them"),
    ),
    Case(
        name="loose-pictures",
        what="pictures in one folder, without labels",
        make=loose,
        refused=("there are no class folders", "make one folder per class", "sensorium pretrain"),
    ),
    Case(
        name="mixed-kinds",
        what="pictures and sounds of different names in the same class folders",
        make=mixed,
        refused=("the class folders mix kinds of files", "(audio)", "(image)", "--kind KIND"),
    ),
    Case(
        name="one-folder-deeper",
        what="class folders in a folder of the folder",
        make=lambda root: pictures(root / "pets"),
        refused=("the class folders are one folder deeper; give", "one-folder-deeper/pets"),
    ),
    Case(
        name="one-class",
        what="a single class folder",
        make=one_class,
        refused=("there is only one class, 'cat'", "at least two"),
    ),
)
