"""Published data sets in small: laid out on disk as they come, with signals of no meaning."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import soundfile
from PIL import Image

from builders import film, kitti_flow
from sensorium.codecs.flow import encode_file

FRAME = (24, 32)  # height × width


def picture(path: Path, size: tuple[int, int] = FRAME) -> Path:
    """A picture of its own: its pixels depend on its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([*str(path).encode()])
    Image.fromarray(random.integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)
    return path


def flow(size: tuple[int, int] = FRAME) -> np.ndarray:
    """2 × height × width: two pixels to the right, and one down; the left columns are unknown."""
    motion = np.tile(np.array([2.0, 1.0], np.float32)[:, None, None], (1, *size))
    motion[:, :, :2] = np.nan
    return motion


def sintel(root: Path) -> None:
    """``MPI-Sintel-complete``, as its zip unpacks: five scenes of three frames, and test frames without flow."""
    for scene in ("alley_1", "ambush_2", "bamboo_1", "cave_2", "market_5"):
        for number in (1, 2, 3):
            for folder in ("albedo", "clean", "final", "invalid", *(("occlusions", "flow_viz") if number < 3 else ())):
                picture(root / "training" / folder / scene / f"frame_{number:04}.png")
        for number in (1, 2):
            encode_file(flow(), root / "training" / "flow" / scene / f"frame_{number:04}.flo")
    for render_pass in ("clean", "final"):
        for number in (1, 2):
            picture(root / "test" / render_pass / "ambush_1" / f"frame_{number:04}.png")
    (root / "README.txt").write_text("MPI Sintel")


def kitti(root: Path, pairs: int = 10) -> None:
    """``data_scene_flow`` of 2015, as its zip unpacks: pictures of several sizes, and test pictures without flow."""
    for number in range(pairs):
        size = (FRAME[0] + number % 3, FRAME[1] + number % 2)
        for folder in ("image_2", "image_3"):
            for frame in ("10", "11"):
                picture(root / "training" / folder / f"{number:06}_{frame}.png", size)
                picture(root / "testing" / folder / f"{number:06}_{frame}.png", size)
        for folder in ("flow_occ", "flow_noc"):
            path = root / "training" / folder / f"{number:06}_10.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(kitti_flow(flow(size)))
        picture(root / "training" / "obj_map" / f"{number:06}_10.png", size)


def chairs(root: Path, pairs: int = 10) -> Path:
    """``FlyingChairs_release``, as its zip unpacks, and the published split beside it: two pairs are for validation."""
    for number in range(1, pairs + 1):
        for frame in ("img1", "img2"):
            picture(root / "FlyingChairs_release" / "data" / f"{number:05}_{frame}.ppm")
        encode_file(flow(), root / "FlyingChairs_release" / "data" / f"{number:05}_flow.flo")
    split = "".join("2\n" if number % 5 == 0 else "1\n" for number in range(1, pairs + 1))
    (root / "FlyingChairs_train_val.txt").write_text(split)
    return root / "FlyingChairs_release"


def imagenet(root: Path) -> None:
    """Pictures in folders of their classes, those of the validation split, too."""
    for split, count in (("train", 4), ("val", 2)):
        for name in ("n01440764", "n01443537"):
            for number in range(count):
                picture(root / split / name / f"{name}_{number}.JPEG")


def modelnet40(root: Path) -> None:
    """``modelnet40_ply_hdf5_2048``, as its zip unpacks: numbered parts of each split, and the names of the classes."""
    root.mkdir(parents=True, exist_ok=True)
    for split, parts in (("train", 2), ("test", 1)):
        names = [f"ply_data_{split}{part}.h5" for part in range(parts)]
        (root / f"{split}_files.txt").write_text("".join(f"data/modelnet40_ply_hdf5_2048/{name}\n" for name in names))
        for part, name in enumerate(names):
            with h5py.File(root / name, "w") as file:
                file["data"] = np.random.default_rng(part).uniform(-1, 1, (4, 2048, 3)).astype(np.float32)
                file["label"] = np.arange(4, dtype=np.uint8)[:, None] % 2
    (root / "shape_names.txt").write_text("airplane\nbathtub\n")


def modelnet40_meshes(root: Path) -> None:
    """``ModelNet40``, as its zip unpacks: tetrahedra of many heights; some begin as the published ones should not."""
    for name in ("airplane", "bathtub"):
        for split, count in (("train", 4), ("test", 2)):
            for number in range(count):
                path = root / name / split / f"{name}_{number + 1:04}.off"
                path.parent.mkdir(parents=True, exist_ok=True)
                head, faces = ("OFF\n", "OFF")[number % 2], "3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"
                path.write_text(f"{head}4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 {number + 1}\n{faces}")


def audioset(root: Path) -> None:
    """The published lists, and a film with sound for each of their segments."""
    head = "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=4\n# YTID, start_seconds, end_seconds\n"
    for name, count in (("unbalanced_train", 6), ("balanced_train", 2), ("eval", 2)):
        videos = [f"{name[:9]}{number:02}" for number in range(count)]
        lines = [f'{video.ljust(11, "x")}, 0.000, 10.000, "/m/0{number % 2}"' for number, video in enumerate(videos)]
        root.mkdir(parents=True, exist_ok=True)
        (root / f"{name}_segments.csv").write_text(head + "\n".join(lines))
        for number, video in enumerate(videos):
            film(root / "clips" / f"Y{video.ljust(11, 'x')}.mkv", sound=True, seed=number)
    (root / "class_labels_indices.csv").write_text('index,mid,display_name\n0,/m/00,"Speech"\n1,/m/01,"Bird, song"\n')


def kinetics(root: Path) -> None:
    """Films with sound in folders of their classes."""
    for split, count in (("train", 4), ("val", 2)):
        for name in ("abseiling", "yoga"):
            for number in range(count):
                film(root / split / name / f"{number}.mkv", sound=True, seed=number + len(split))


def autoflow(root: Path) -> None:
    """A folder with two frames and their flow for each pair."""
    for number in range(10):
        folder = root / f"table_0_batch_{number}"
        picture(folder / "im0.png")
        picture(folder / "im1.png")
        encode_file(flow(), folder / "forward.flo")


def texts(root: Path) -> None:
    """A file for each document."""
    for split, count in (("train", 8), ("test", 2)):
        for number in range(count):
            path = root / split / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"Document {number} of {split}: the bear walks into the restaurant and waits.\n" * 5)


def sst2(root: Path) -> None:
    """Two tables of sentences, separated by tabs."""
    root.mkdir(parents=True, exist_ok=True)
    words = ("the", "film", "is", "a", "slow", "funny", "story", "of", "people", "who", "never", "meet", "but", "write")
    for split, count in (("train", 40), ("dev", 10)):
        random = np.random.default_rng(count)
        sentences = [" ".join(random.permutation(words)[: random.integers(8, len(words))]) for _ in range(count)]
        lines = [f"{sentence}\t{number % 2}" for number, sentence in enumerate(sentences)]
        (root / f"{split}.tsv").write_text("\n".join(["sentence\tlabel", *lines]) + "\n")


def series(root: Path) -> None:
    """Recordings of two channels in folders of their classes."""
    for name in ("walking", "running"):
        for number in range(5):
            path = root / name / f"{number}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            values = np.random.default_rng([number, len(name), ord(name[0])]).normal(size=(20, 2))
            np.savetxt(path, values, delimiter=",", header="x,y", comments="")


def sound(path: Path, seed: int) -> None:
    """A tenth of a second of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, 800), 8000)


def sounds(root: Path) -> None:
    """Recordings in folders of their classes."""
    for number in range(10):
        sound(root / ("one", "two")[number % 2] / f"{number}.wav", number)


def folded_sounds(root: Path) -> None:
    """A list of recordings with five folds, counted from 1."""
    lines = ["filename,fold,category"]
    for number in range(20):
        sound(root / f"{number}.wav", number)
        lines.append(f"{number}.wav,{number % 5 + 1},{('dog', 'rain')[number // 5 % 2]}")
    (root / "clips.csv").write_text("\n".join(lines) + "\n")


def folded_texts(root: Path) -> None:
    """A table of texts with five folds, counted from 0."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [f"The film number {number} is a long one,{number // 5 % 2},{number % 5}" for number in range(20)]
    (root / "reviews.csv").write_text("\n".join(["text,label,fold", *lines]) + "\n")
