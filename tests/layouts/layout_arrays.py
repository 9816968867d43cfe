"""Arrays: one of all examples, or a file for each."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from layout_case import Case
from layout_signals import PLACES, class_folders, cloud, csv, motion, motions, write
from scipy.io import savemat

SHAPES = ("ball", "box")
SIXTY = {"train": 48, "test": 12}


def npz(path: Path, **content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **content)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def labels(count: int) -> np.ndarray:
    return np.array([PLACES[number % 2] for number in range(count)])


def accelerometer(root: Path) -> None:
    """60 × 100 × 3 floats under names that say nothing."""
    npz(root / "data.npz", x=motions(60), y=labels(60))


def channels_first(root: Path) -> None:
    npz(root / "data.npz", x=motions(60).swapaxes(1, 2), y=labels(60))


def clouds(root: Path, key: str = "x") -> None:
    npz(root / "data.npz", **{key: np.stack([cloud(number) for number in range(40)]), "y": np.arange(40) % 2})


def noise(root: Path) -> None:
    """Noise of three channels, which nothing but the user can tell from a cloud of points."""
    random = np.random.default_rng(0)
    npz(root / "data.npz", x=random.normal(size=(60, 100, 3)), y=labels(60))


def noise_with_attributes(root: Path) -> None:
    """HDF5 whose attributes say what the axes are."""
    random = np.random.default_rng(0)
    with h5py.File(root / "data.h5", "w") as file:
        file["x"] = random.normal(size=(60, 3, 100))
        file["x"].attrs["axes"] = ["examples", "channels", "time"]
        file["x"].attrs["channels"] = "ax, ay, az"
        file["y"] = labels(60).astype("S")


def noise_with_a_sidecar(root: Path) -> None:
    noise(root)
    write(root / "data.json", '{"x": {"kind": "series", "axes": ["time", "channels"]}}')


def broken_sidecar(root: Path) -> None:
    noise(root)
    write(root / "data.json", '{"x": ')


def noise_described(root: Path) -> None:
    noise(root)
    write(root / "dataset.yaml", "inputs:\n  motion: {kind: series, axes: [time, channels]}\n")


def clouds_described(root: Path) -> None:
    """Accelerometers' numbers, which dataset.yaml calls points."""
    accelerometer(root)
    write(root / "dataset.yaml", "inputs: {points: {kind: points}}\n")


def clouds_in_folders(root: Path) -> None:
    class_folders(root, 40, SHAPES, lambda number: npy(cloud(number)), ".npy")


def clouds_in_folders_described(root: Path) -> None:
    clouds_in_folders(root)
    write(root / "dataset.yaml", "inputs: {points: {kind: points}}\n")


def cloud_paths(root: Path) -> None:
    names = [f"clouds/{number}.npy" for number in range(40)]
    for number, name in enumerate(names):
        write(root / name, npy(cloud(number)))
    csv(root / "clouds.csv", {"file": names, "label": [SHAPES[number % 2] for number in range(40)]})


def cloud_paths_described(root: Path) -> None:
    cloud_paths(root)
    write(root / "dataset.yaml", "inputs: {points: {kind: points}}\n")


def lists(root: Path, signals: np.ndarray) -> None:
    cells = pa.array(signals.tolist())
    parquet.write_table(pa.table({"signal": cells, "label": labels(len(signals)).tolist()}), root / "data.parquet")


def lists_described(root: Path) -> None:
    lists(root, motions(40))
    write(root / "dataset.yaml", "inputs: {points: {kind: points}}\n")


def motions_in_folders(root: Path) -> None:
    class_folders(root, 40, PLACES, lambda number: npy(motion(number)), ".npy")


def x_train(root: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (50, 8, 8), np.uint8)
    digits = np.arange(50) % 5
    npz(
        root / "digits.npz",
        x_train=pictures[:40],
        y_train=digits[:40],
        x_test=pictures[40:],
        y_test=digits[40:],
    )


def h5_per_split(root: Path) -> None:
    for split, first, count in (("train", 0, 30), ("test", 30, 10)):
        with h5py.File(root / f"ply_data_{split}0.h5", "w") as file:
            file["data"] = np.stack([cloud(number, 128) for number in range(first, first + count)])
            file["label"] = (np.arange(count, dtype=np.uint8) % 2)[:, None]
    write(root / "shape_names.txt", "ball\nbox\n")


def h5_in_parts(root: Path) -> None:
    """As ModelNet40 is published: ``modelnet40_ply_hdf5_2048``."""
    for split, sizes in (("train", (12, 8, 6)), ("test", (6, 4))):
        names = [f"ply_data_{split}{part}.h5" for part in (0, 1, 10)[: len(sizes)]]
        write(root / f"{split}_files.txt", "".join(f"data/modelnet40_ply_hdf5_2048/{name}\n" for name in names))
        for part, (name, count) in enumerate(zip(names, sizes, strict=True)):
            write(root / f"ply_data_{split}_{part}_id2file.json", '["ball/ball_0001.ply"]')
            first = 100 * part + 1000 * (split == "test")
            with h5py.File(root / name, "w") as file:
                clouds = np.stack([cloud(first + number, 128) for number in range(count)]).astype(np.float32)
                file.create_dataset("data", data=clouds, compression="gzip")
                file["faceId"] = np.zeros((count, 128), np.int32)
                file["label"] = (np.arange(count, dtype=np.uint8) % 2)[:, None]
                file["normal"] = np.sign(clouds)
    write(root / "shape_names.txt", "ball\nbox\n")


def h5_in_unlike_parts(root: Path) -> None:
    h5_in_parts(root)
    with h5py.File(root / "ply_data_train1.h5", "a") as file:
        del file["label"]


def mnist(root: Path) -> None:
    random = np.random.default_rng(0)
    for split, count in (("train", 40), ("t10k", 10)):
        for name, array in (
            ("images-idx3", random.integers(0, 256, (count, 8, 8), np.uint8)),
            ("labels-idx1", np.arange(count, dtype=np.uint8) % 5),
        ):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            write(root / f"{split}-{name}-ubyte.gz", gzip.compress(head + array.tobytes()))


def matlab(root: Path) -> None:
    random = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 10)):
        pictures = random.integers(0, 256, (8, 8, 3, count), np.uint8)
        savemat(root / f"{split}_32x32.mat", {"X": pictures, "y": (np.arange(count) % 2 + 1)[:, None]})


def with_gaps(root: Path) -> None:
    values = motions(60)
    values[3, 10:20, 1] = np.nan
    npz(root / "data.npz", accel=values, label=labels(60))


def pictures_with_gaps(root: Path) -> None:
    pictures = np.random.default_rng(0).uniform(size=(40, 8, 8, 3)).astype(np.float32)
    pictures[5, 0, 0] = np.nan
    npz(root / "data.npz", images=pictures, label=labels(40))


def subjects(root: Path) -> None:
    npz(root / "data.npz", signals=motions(60), label=labels(60), subject=np.arange(60) // 6)


def arrays_without_labels(root: Path) -> None:
    npz(root / "data.npz", a=motions(20), b=np.arange(20) % 2)


def pickled(root: Path) -> None:
    npz(root / "data.npz", x=np.array([{"a": 1}, None]), y=np.arange(2))


def uneven(root: Path) -> None:
    npz(root / "data.npz", x=motions(20), y=labels(19))


SERIES, POINTS, IMAGE = {"series": "series"}, {"points": "points"}, {"image": "image"}
TIME_FIRST, TIME_LAST = ("time", "channels"), ("channels", "time")

CASES = (
    Case(
        name="array-with-attributes",
        what="numbers without any order in HDF5, whose attributes say the axes and the channels",
        make=noise_with_attributes,
        kinds=SERIES,
        axes=("channels", "time"),
        channels=("ax", "ay", "az"),
        splits=SIXTY,
        drawn=True,
    ),
    Case(
        name="array-with-a-sidecar",
        what="the same in .npz, with the kind and the axes in a .json of its name",
        make=noise_with_a_sidecar,
        kinds=SERIES,
        axes=TIME_FIRST,
        splits=SIXTY,
        drawn=True,
    ),
    Case(
        name="array-with-a-broken-sidecar",
        what="the same with a .json that is broken off",
        make=broken_sidecar,
        refused=("data.json: cannot be read", "correct or remove it"),
    ),
    Case(
        name="accelerometer-array",
        what="60 × 100 × 3 floats and labels in one .npz: steps correlate, so it is a series",
        make=accelerometer,
        kinds=SERIES,
        axes=TIME_FIRST,
        splits=SIXTY,
        drawn=True,
        said=("neighbours correlate", "--axes"),
    ),
    Case(
        name="accelerometer-array-channels-first",
        what="the same as 60 × 3 × 100: 100 steps of 3 channels, not 3 of 100",
        make=channels_first,
        kinds=SERIES,
        axes=TIME_LAST,
        splits=SIXTY,
        drawn=True,
        said=("neighbours correlate", "--axes"),
    ),
    Case(
        name="noise-as-series",
        what="60 × 100 × 3 numbers without any order, of which the user says `--kind series`",
        make=noise,
        options={"kind": ("series",)},
        kinds=SERIES,
        axes=TIME_FIRST,
        splits=SIXTY,
        drawn=True,
    ),
    Case(
        name="noise-by-axes",
        what="the same, of which the user says `--axes time,channels`",
        make=noise,
        options={"axes": "time,channels"},
        kinds=SERIES,
        axes=TIME_FIRST,
        splits=SIXTY,
        drawn=True,
    ),
    Case(
        name="noise-described",
        what="the same, of which dataset.yaml says kind and axes",
        make=noise_described,
        kinds={"motion": "series"},
        axes=TIME_FIRST,
        splits=SIXTY,
        drawn=True,
    ),
    Case(
        name="cloud-array",
        what="40 × 1024 × 3 floats in one .npz: neighbours do not correlate, so these are points",
        make=clouds,
        kinds=POINTS,
        axes=("points", "xyz"),
        splits={"train": 32, "test": 8},
        drawn=True,
        said=("points without an order", "--axes"),
    ),
    Case(
        name="cloud-array-by-name",
        what="the same, called `points`",
        make=lambda root: clouds(root, "points"),
        kinds=POINTS,
        axes=("points", "xyz"),
        splits={"train": 32, "test": 8},
        drawn=True,
        said=("by its name 'points'",),
    ),
    Case(
        name="points-described",
        what="60 × 100 × 3 floats and `inputs: {points: {kind: points}}` in dataset.yaml",
        make=clouds_described,
        kinds=POINTS,
        axes=("points", "xyz"),
        splits=SIXTY,
        drawn=True,
    ),
    Case(
        name="cloud-files",
        what="a 1024 × 3 .npy for each cloud, in class folders",
        make=clouds_in_folders,
        kinds=POINTS,
        splits={"train": 32, "test": 8},
        drawn=True,
        said=("points",),
    ),
    Case(
        name="cloud-files-described",
        what="the same with `inputs: {points: {kind: points}}` in dataset.yaml",
        make=clouds_in_folders_described,
        kinds=POINTS,
        splits={"train": 32, "test": 8},
        drawn=True,
    ),
    Case(
        name="cloud-files-by-kind",
        what="the same with `--kind points`",
        make=clouds_in_folders,
        options={"kind": ("points",)},
        kinds=POINTS,
        splits={"train": 32, "test": 8},
        drawn=True,
    ),
    Case(
        name="cloud-paths",
        what="a list of 1024 × 3 .npy files",
        make=cloud_paths,
        kinds=POINTS,
        axes=("points", "xyz"),
        splits={"train": 32, "test": 8},
        drawn=True,
        said=("points without an order", "--axes"),
    ),
    Case(
        name="cloud-paths-described",
        what="the same with `inputs: {points: {kind: points}}` in dataset.yaml",
        make=cloud_paths_described,
        kinds=POINTS,
        axes=("points", "xyz"),
        splits={"train": 32, "test": 8},
        drawn=True,
    ),
    Case(
        name="lists-channels-first",
        what="a Parquet column of lists, 3 × 100: 100 steps of 3 channels",
        make=lambda root: lists(root, motions(40).swapaxes(1, 2)),
        kinds=SERIES,
        axes=TIME_LAST,
        splits={"train": 32, "test": 8},
        drawn=True,
        said=("neighbours correlate", "--axes"),
    ),
    Case(
        name="lists-described",
        what="a Parquet column of lists and `inputs: {points: {kind: points}}` in dataset.yaml",
        make=lists_described,
        kinds=POINTS,
        axes=("points", "xyz"),
        splits={"train": 32, "test": 8},
        drawn=True,
    ),
    Case(
        name="motion-files",
        what="a 100 × 3 .npy for each recording, in class folders",
        make=motions_in_folders,
        kinds=SERIES,
        splits={"train": 32, "test": 8},
        drawn=True,
    ),
    Case(
        name="keras-npz",
        what="x_train, y_train, x_test, y_test in one .npz, as Keras has MNIST",
        make=x_train,
        kinds=IMAGE,
        classes=5,
        splits={"train": 40, "test": 10},
        said=("as on disk: 40 train, 10 test",),
    ),
    Case(
        name="modelnet-h5",
        what="data and label in ply_data_train0.h5 and ply_data_test0.h5, with shape_names.txt",
        make=h5_per_split,
        kinds=POINTS,
        axes=("points", "xyz"),
        splits={"train": 30, "test": 10},
        said=("ball, box",),
    ),
    Case(
        name="modelnet-h5-in-parts",
        what="ModelNet40 as it is published: data, label, normal and faceId in ply_data_train0.h5, "
        "ply_data_train1.h5, … beside train_files.txt and shape_names.txt",
        make=h5_in_parts,
        kinds=POINTS,
        axes=("points", "xyz"),
        splits={"train": 26, "test": 10},
        said=("ball, box", "arrays faceId, normal"),
    ),
    Case(
        name="modelnet-h5-in-unlike-parts",
        what="the same where one of the files has no labels",
        make=h5_in_unlike_parts,
        refused=("the split 'train' has no array 'label'",),
    ),
    Case(
        name="mnist",
        what="the four idx-ubyte.gz files of MNIST",
        make=mnist,
        kinds=IMAGE,
        classes=5,
        splits={"train": 40, "test": 10},
    ),
    Case(
        name="matlab",
        what="train and test .mat with X (examples last) and y, as SVHN is published",
        make=matlab,
        kinds=IMAGE,
        splits={"train": 30, "test": 10},
    ),
    Case(
        name="one-channel-array",
        what="60 × 100 floats of one smooth channel: a series, not a table of 100 columns",
        make=lambda root: npz(root / "data.npz", x=motions(60, 100, 1)[:, :, 0], y=labels(60)),
        kinds=SERIES,
        axes=("time",),
        splits=SIXTY,
        drawn=True,
        said=("neighbours correlate", "--kind KIND"),
    ),
    Case(
        name="array-of-columns",
        what="60 × 40 numbers without an order: a table",
        make=lambda root: npz(root / "data.npz", x=np.random.default_rng(0).normal(size=(60, 40)), y=labels(60)),
        kinds={"table": "table"},
        axes=("columns",),
        splits=SIXTY,
        drawn=True,
    ),
    Case(
        name="one-hot-array",
        what="series, and labels as rows of 0.0 and 1.0",
        make=lambda root: npz(root / "data.npz", x=motions(60), y=np.eye(3)[np.arange(60) % 3]),
        kinds=SERIES,
        classes=3,
        splits=SIXTY,
        drawn=True,
    ),
    Case(
        name="array-with-gaps",
        what="a series of which some measurements are NaN",
        make=with_gaps,
        kinds=SERIES,
        axes=TIME_FIRST,
        splits=SIXTY,
        drawn=True,
        warned=("10 of 18,000 numbers in 'series' are NaN; they are taken as gaps",),
    ),
    Case(
        name="array-with-subjects",
        what="signals, label and subject in one .npz",
        make=subjects,
        kinds=SERIES,
        splits=SIXTY,
        drawn=True,
        group="subject",
        said=("none of 10 groups is in two splits", "--group"),
    ),
    Case(
        name="pictures-with-gaps",
        what="pictures of which some numbers are NaN",
        make=pictures_with_gaps,
        refused=("NaN", "pictures have no gaps", "put a number in their place"),
    ),
    Case(
        name="array-without-labels",
        what="arrays of which none is called like labels",
        make=arrays_without_labels,
        refused=("there is no array of labels", "--target NAME (candidates: b)"),
    ),
    Case(
        name="pickled-objects",
        what="an .npz with Python objects in it",
        make=pickled,
        refused=("data.npz", "object"),
    ),
    Case(
        name="fewer-labels-than-examples",
        what="20 examples and 19 labels in one .npz",
        make=uneven,
        refused=("20 examples but 19 labels", "make them as many"),
    ),
)
