"""Tables: columns of numbers, of text, of paths and of bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as parquet
from layout_case import Case
from layout_signals import csv, picture, sentence, split_numbers, tone, write

TABLE, TEXT, AUDIO, IMAGE = {"table": "table"}, {"text": "text"}, {"audio": "audio"}, {"image": "image"}
SPECIES = ("setosa", "versicolor")
WIDTHS = {"train": 48, "test": 12}
FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def numbers(count: int = 60, columns: int = 3, seed: int = 0) -> dict[str, list[float]]:
    """Columns of measurements; the first tells odd examples from even ones."""
    values = np.random.default_rng(seed).normal(size=(count, columns))
    values[:, 0] += 3 * (np.arange(count) % 2)
    names = ("width", "length", "depth")
    return {names[column]: values[:, column].tolist() for column in range(columns)}


def iris(root: Path) -> None:
    csv(root / "iris.csv", {**numbers(), "species": [SPECIES[number % 2] for number in range(60)]})


def excel(root: Path) -> None:
    columns: dict[str, Any] = {**numbers(), "species": [SPECIES[number % 2] for number in range(60)]}
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append(list(columns))
    for row in zip(*columns.values(), strict=True):
        sheet.append(row)
    book.save(root / "flowers.xlsx")


def german(root: Path) -> None:
    lines = ["Größe;Breite;label"]
    for row, (width, length, _) in enumerate(zip(*numbers().values(), strict=True)):
        lines.append(f"{width:.2f};{length:.2f};{('Köln', 'Bonn')[row % 2]}".replace(".", ","))
    write(root / "staedte.csv", "\n".join(lines).encode("latin-1"))


def without_target(root: Path) -> Path:
    """Numbers, a category and a forgotten label column."""
    return csv(root / "flowers.csv", {**numbers(), "garden": [SPECIES[number % 2] for number in range(60)]})


def numbers_alone(root: Path) -> None:
    csv(root / "measured.csv", numbers())


def price(root: Path) -> None:
    columns = numbers()
    csv(root / "houses.csv", {**columns, "price": [100 + 3 * value for value in columns["width"]]})


def one_hot_alone(root: Path) -> None:
    rows = range(60)
    tags = {"label_dog": [n % 2 for n in rows], "label_cat": [n // 2 % 2 for n in rows], "label_owl": [1] * 60}
    csv(root / "animals.csv", {**numbers(), **tags, "label_owl": [n // 4 % 2 for n in rows]})


def competition(root: Path) -> None:
    """As on Kaggle: the test file has no column of the target, and an example of an answer lies beside."""
    train, test = numbers(60), numbers(20, seed=1)
    csv(root / "train.csv", {"id": range(60), **train, "survived": [number % 2 for number in range(60)]})
    csv(root / "test.csv", {"id": range(60, 80), **test})
    csv(root / "sample_submission.csv", {"id": range(60, 80), "survived": [0] * 20})


def split_column(root: Path) -> None:
    splits = [split for split, _ in split_numbers(train=40, val=10, test=10)]
    csv(root / "data.csv", {**numbers(), "label": [SPECIES[n % 2] for n in range(60)], "split": splits})


def folds(root: Path) -> None:
    fold = [number // 2 % 5 + 1 for number in range(60)]
    csv(root / "data.csv", {**numbers(), "label": [SPECIES[n % 2] for n in range(60)], "fold": fold})


def patients(root: Path) -> None:
    columns = {**numbers(), "patient_id": [f"p{number // 6}" for number in range(60)]}
    csv(root / "visits.csv", {**columns, "diagnosis": [("ill", "well")[number % 2] for number in range(60)]})


def patients_in_both(root: Path) -> None:
    splits = [("train", "train", "test")[number % 3] for number in range(60)]
    columns = {**numbers(), "patient": [number // 6 for number in range(60)], "split": splits}
    csv(root / "visits.csv", {**columns, "diagnosis": [("ill", "well")[number % 2] for number in range(60)]})


def reviews(root: Path) -> None:
    columns = {"review": [sentence(n) for n in range(60)], "sentiment": [("bad", "good")[n % 2] for n in range(60)]}
    csv(root / "reviews.csv", columns)


def json_lines(root: Path) -> None:
    for split, first, count in (("train", 0, 40), ("validation", 40, 8), ("test", 48, 12)):
        rows = ({"text": sentence(number), "label": number % 2} for number in range(first, first + count))
        write(root / f"{split}.jsonl", "\n".join(map(json.dumps, rows)) + "\n")


def shards(root: Path) -> None:
    """Pictures as Hugging Face's hub holds them."""
    for name, first, count in (
        ("train-00000-of-00002", 0, 20),
        ("train-00001-of-00002", 20, 20),
        ("test-00000-of-00001", 40, 10),
    ):
        rows = range(first, first + count)
        pictures = pa.array([{"bytes": picture(n), "path": f"{n}.png"} for n in rows], FILE)
        (root / "data").mkdir(exist_ok=True)
        parquet.write_table(
            pa.table({"image": pictures, "label": [n % 2 for n in rows]}), root / "data" / f"{name}.parquet"
        )


def save_to_disk(root: Path) -> None:
    for split, first, count in (("train", 0, 30), ("test", 30, 10)):
        rows = range(first, first + count)
        pictures = pa.array([{"bytes": picture(n), "path": None} for n in rows], FILE)
        table = pa.table({"image": pictures, "label": pa.array([n % 2 for n in rows], pa.int64())})
        (root / split).mkdir()
        with pa.ipc.new_stream(root / split / "data-00000-of-00001.arrow", table.schema) as writer:
            writer.write_table(table)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
        write(root / split / "state.json", json.dumps(state))
    write(root / "dataset_dict.json", '{"splits": ["train", "test"]}')


def imagefolder(root: Path) -> None:
    for split, count in (("train", 30), ("test", 10)):
        names = [f"{number:03}.png" for number in range(count)]
        for number, name in enumerate(names):
            write(root / split / name, picture(number + count))
        csv(root / split / "metadata.csv", {"file_name": names, "label": [("cat", "dog")[n % 2] for n in range(count)]})


def parquet_sound(root: Path) -> None:
    sounds = pa.array([tone(number) for number in range(40)], pa.binary())
    parquet.write_table(pa.table({"audio": sounds, "label": [n % 2 for n in range(40)]}), root / "sounds.parquet")


def sounds(root: Path) -> list[str]:
    names = [f"clips/{number:02}.wav" for number in range(40)]
    for number, name in enumerate(names):
        write(root / name, tone(number))
    return names


def sounds_with_metadata(root: Path) -> None:
    """A list of files with what a script wrote down of each."""
    names = sounds(root)
    random = np.random.default_rng(0)
    columns = {
        "file": names,
        "label": [("low", "high")[number % 2] for number in range(40)],
        "frames": random.integers(300, 500, 40).tolist(),
        "bytes": random.integers(800, 900, 40).tolist(),
        "rms": random.uniform(0.1, 0.5, 40).tolist(),
        "camera": [f"cam{number // 3 % 2}" for number in range(40)],
        "source_group": [f"g{number // 4}" for number in range(40)],
    }
    csv(root / "labels.csv", columns)


def speakers(root: Path) -> None:
    columns = {"path": sounds(root), "emotion": [("calm", "angry")[n % 2] for n in range(40)]}
    csv(root / "clips.csv", {**columns, "speaker": [f"s{number // 4}" for number in range(40)]})


def only_column_of_classes(root: Path) -> None:
    names = sounds(root)
    csv(root / "list.csv", {"file": names, "instrument": [("flute", "drum")[n % 2] for n in range(40)]})


def tags_joined(root: Path, mark: str) -> None:
    words = (("dog",), ("dog", "cat"), ("cat", "owl"), ("owl",))
    csv(root / "clips.csv", {"file": sounds(root), "tags": [mark.join(words[n % 4]) for n in range(40)]})


def one_hot_beside_sound(root: Path, prefix: str) -> None:
    rows = range(40)
    tags = {f"{prefix}dog": [n % 2 for n in rows], f"{prefix}cat": [n // 2 % 2 for n in rows]}
    csv(root / "clips.csv", {"file": sounds(root), **tags, f"{prefix}owl": [int(n % 3 == 0) for n in rows]})


def rare(root: Path) -> None:
    """One class has a single example, and one is thirty times as large as another."""
    labels = ["often"] * 75 + ["seldom"] * 4 + ["once"]
    csv(root / "data.csv", {**numbers(80), "label": labels})


def flags(root: Path) -> None:
    rows = range(60)
    csv(root / "people.csv", {**numbers(), "is_tall": [n % 2 for n in rows], "has_dog": [n // 2 % 2 for n in rows]})


def paths_in_splits(root: Path) -> None:
    names = []
    for split, number in split_numbers(train=20, val=8):
        names.append(f"{split}/{number:02}.wav")
        write(root / names[-1], tone(number))
    csv(root / "clips.csv", {"path": names, "label": [("low", "high")[n % 2] for n in range(28)]})


def pixels(root: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (40, 64))
    columns = {f"pixel{column}": values[:, column].tolist() for column in range(64)}
    csv(root / "digits.csv", {"label": [n % 2 for n in range(40)], **columns})


def without_names(root: Path) -> None:
    iris(root)
    text = (root / "iris.csv").read_text()
    write(root / "iris.csv", text.split("\n", 1)[1])


def names_elsewhere(root: Path) -> None:
    names = [Path(name).name for name in sounds(root)]
    csv(root / "labels.csv", {"file": names, "label": [n % 2 for n in range(40)]})


def missing_path(root: Path) -> None:
    names = [*sounds(root)[:-1], "clips/lost.wav"]
    csv(root / "clips.csv", {"file": names, "label": [n % 2 for n in range(40)]})


CLIPS = {"train": 32, "test": 8}
METADATA = "plain columns beside a signal are metadata"


def passengers(root: Path) -> None:
    """As the list of the Titanic: names, tickets and flags beside numbers and categories."""
    random = np.random.default_rng(0)
    lines = ["PassengerId,Survived,Pclass,Name,Sex,Age,SibSp,Ticket,Fare,Embarked"]
    for number in range(60):
        survived, siblings = number % 2, random.integers(0, 2)
        name = f'"Passenger{number:03}, Mr. William Number {number}"'
        fare, sex = random.uniform(5, 80), ["male", "female"][random.integers(0, 2)]
        lines.append(
            f"{number + 1},{survived},{number % 3 + 1},{name},{sex},{20 + number % 40},{siblings},A{number},"
            f"{fare:.2f},{'SCQ'[number % 3]}"
        )
    write(root / "train.csv", "\n".join(lines))


CASES = (
    Case(
        name="list-of-passengers",
        what="a CSV with names and ticket numbers beside numbers and categories, with `--target Survived`",
        make=passengers,
        options={"target": "Survived"},
        kinds={"table": "table"},
        splits={"train": 48, "test": 12},
        drawn=True,
        left_out=("PassengerId", "Name", "Ticket"),
        said=("6 columns: Pclass, Sex, Age, SibSp, Fare, Embarked",),
    ),
    Case(
        name="list-of-passengers-without-target",
        what="the same, of which nobody says the target",
        make=passengers,
        refused=("say --target COLUMN", "candidates: Survived (2 values), Sex (2 values)"),
    ),
    Case(
        name="table",
        what="a CSV of measurements with a column `species`",
        make=iris,
        kinds=TABLE,
        splits=WIDTHS,
        drawn=True,
        said=("'species': it is called so", "--target COLUMN"),
    ),
    Case(
        name="excel",
        what="the same as an Excel sheet",
        make=excel,
        kinds=TABLE,
        splits=WIDTHS,
        drawn=True,
    ),
    Case(
        name="table-in-german",
        what="a CSV with semicolons, decimal commas and latin-1",
        make=german,
        kinds=TABLE,
        splits=WIDTHS,
        drawn=True,
        said=("2 columns: Größe, Breite", "Bonn, Köln"),
        warned=("its letters are taken for cp1252; its numbers have decimal commas",),
    ),
    Case(
        name="table-without-target",
        what="a CSV of which no column is called like a target",
        make=without_target,
        refused=("which column is to be predicted? say --target COLUMN; candidates: garden (2 values)",),
    ),
    Case(
        name="table-with-target-said",
        what="the same with `--target garden`",
        make=without_target,
        options={"target": "garden"},
        kinds=TABLE,
        splits=WIDTHS,
        drawn=True,
    ),
    Case(
        name="table-of-numbers",
        what="a CSV of numbers alone",
        make=numbers_alone,
        refused=("which column is to be predicted? say --target COLUMN; candidates: width (numbers)",),
    ),
    Case(
        name="table-to-regress",
        what="a CSV of numbers with `--target price`",
        make=price,
        options={"target": "price"},
        kinds=TABLE,
        task="regress",
        classes=1,
        splits=WIDTHS,
        drawn=True,
        said=("regress", "--task"),
    ),
    Case(
        name="table-of-one-hot-labels",
        what="measurements and columns label_dog, label_cat, label_owl of 0 and 1",
        make=one_hot_alone,
        kinds=TABLE,
        task="tag",
        classes=3,
        splits=WIDTHS,
        drawn=True,
        said=("label_dog, label_cat, label_owl: each is 1 where an example has it",),
    ),
    Case(
        name="competition",
        what="train.csv, test.csv without the target and sample_submission.csv",
        make=competition,
        kinds=TABLE,
        splits=WIDTHS,
        drawn=True,
        left_out=("id",),
        said=("'survived': the test file lacks it",),
        warned=("test.csv has no column 'survived' and was left out", "sample_submission.csv: left out"),
    ),
    Case(
        name="split-column",
        what="a CSV with a column `split`",
        make=split_column,
        kinds=TABLE,
        splits={"train": 40, "val": 10, "test": 10},
        said=("as on disk: 40 train, 10 val, 10 test",),
    ),
    Case(
        name="folds",
        what="a CSV with a column `fold`: the last of five is the test split",
        make=folds,
        kinds=TABLE,
        splits=WIDTHS,
        said=("test: fold 5, the last of 5", "--fold FOLD"),
    ),
    Case(
        name="patients",
        what="a CSV of visits with patient_id and diagnosis",
        make=patients,
        kinds=TABLE,
        splits=WIDTHS,
        drawn=True,
        group="patient_id",
        said=("it is no input", "--group COLUMN or none"),
    ),
    Case(
        name="patients-in-both-splits",
        what="a CSV with columns `split` and `patient`, whose patients are in train and in test",
        make=patients_in_both,
        kinds=TABLE,
        splits={"train": 40, "test": 20},
        left_out=("patient",),
    ),
    Case(
        name="rare-classes",
        what="a table with a class of one example and one of many",
        make=rare,
        kinds=TABLE,
        classes=3,
        splits={"train": 64, "test": 16},
        drawn=True,
        said=("val: none",),
        warned=("1 classes have a single example", "the classes differ much in size"),
    ),
    Case(
        name="reviews",
        what="a CSV of texts with a column `sentiment`",
        make=reviews,
        kinds=TEXT,
        splits=WIDTHS,
        drawn=True,
    ),
    Case(
        name="json-lines",
        what="train.jsonl, validation.jsonl and test.jsonl with text and label",
        make=json_lines,
        kinds=TEXT,
        splits={"train": 40, "val": 8, "test": 12},
    ),
    Case(
        name="parquet-shards",
        what="Parquet files of pictures in data/, as the Hugging Face hub holds them",
        make=shards,
        kinds=IMAGE,
        splits={"train": 40, "test": 10},
    ),
    Case(
        name="save-to-disk",
        what="what `save_to_disk` of Hugging Face's datasets wrote",
        make=save_to_disk,
        kinds=IMAGE,
        splits={"train": 30, "test": 10},
    ),
    Case(
        name="imagefolder",
        what="pictures and metadata.csv in train/ and test/",
        make=imagefolder,
        kinds=IMAGE,
        splits={"train": 30, "test": 10},
    ),
    Case(
        name="parquet-of-sound",
        what="one Parquet file with the bytes of .wav files",
        make=parquet_sound,
        kinds=AUDIO,
        splits=CLIPS,
        drawn=True,
    ),
    Case(
        name="sound-with-metadata",
        what=".wav files and labels.csv with frames, bytes, rms, camera and source_group",
        make=sounds_with_metadata,
        kinds=AUDIO,
        splits=CLIPS,
        drawn=True,
        group="source_group",
        left_out=("frames", "bytes", "rms", "camera"),
        said=(METADATA, "--kind COLUMN=KIND"),
    ),
    Case(
        name="sound-with-a-named-column",
        what="the same with `--kind rms=table`",
        make=sounds_with_metadata,
        options={"kind": ("rms=table",)},
        kinds={"file": "audio", "table": "table"},
        splits=CLIPS,
        drawn=True,
        group="source_group",
        left_out=("frames", "bytes", "camera"),
    ),
    Case(
        name="speakers",
        what="clips.csv with path, emotion and speaker",
        make=speakers,
        kinds=AUDIO,
        splits=CLIPS,
        drawn=True,
        group="speaker",
    ),
    Case(
        name="only-column-of-classes",
        what="a list of files with one other column, `instrument`",
        make=only_column_of_classes,
        kinds=AUDIO,
        splits=CLIPS,
        drawn=True,
        said=("'instrument': the only column of classes beside the signal", "--target COLUMN"),
    ),
    Case(
        name="tags-with-semicolons",
        what="a list of files with tags such as `dog;cat`",
        make=lambda root: tags_joined(root, ";"),
        kinds=AUDIO,
        task="tag",
        classes=3,
        splits=CLIPS,
        drawn=True,
        said=("tag: 3 tags, cat, dog, owl",),
    ),
    Case(
        name="tags-with-commas",
        what="a list of files with tags such as `dog,cat`",
        make=lambda root: tags_joined(root, ","),
        kinds=AUDIO,
        task="tag",
        classes=3,
        splits=CLIPS,
        drawn=True,
        said=("tag: 3 tags, cat, dog, owl",),
    ),
    Case(
        name="one-hot-beside-sound",
        what="a list of files with columns dog, cat and owl of 0 and 1",
        make=lambda root: one_hot_beside_sound(root, ""),
        kinds=AUDIO,
        task="tag",
        classes=3,
        splits=CLIPS,
        drawn=True,
        said=("dog, cat, owl: each is 1 where an example has it",),
    ),
    Case(
        name="one-hot-with-prefix",
        what="the same, called label_dog, label_cat and label_owl",
        make=lambda root: one_hot_beside_sound(root, "label_"),
        kinds=AUDIO,
        task="tag",
        classes=3,
        splits=CLIPS,
        drawn=True,
        said=("label_dog, label_cat, label_owl: each is 1 where an example has it",),
    ),
    Case(
        name="paths-in-splits",
        what="a list of files, which lie in train/ and val/",
        make=paths_in_splits,
        kinds=AUDIO,
        splits={"train": 20, "test": 8},
        said=("as on disk: 20 train, 8 test",),
        warned=("the given val split is the test split",),
    ),
    Case(
        name="table-of-flags",
        what="a CSV of measurements with is_tall and has_dog, of which none is said to be the target",
        make=flags,
        refused=("which column is to be predicted? say --target COLUMN; candidates: is_tall (2 values), has_dog",),
    ),
    Case(
        name="pixels",
        what="a CSV with label, pixel0, … pixel63",
        make=pixels,
        kinds=TABLE,
        splits={"train": 32, "test": 8},
        drawn=True,
        said=("64 columns: pixel0, pixel1,", "…, pixel63"),
    ),
    Case(
        name="table-without-names",
        what="a CSV without a line of names",
        make=without_names,
        refused=("the first line holds numbers", "put a line of names before it"),
    ),
    Case(
        name="names-of-files-elsewhere",
        what="a list of names of files, which lie in another folder",
        make=names_elsewhere,
        refused=("column 'file' names files that are not there, such as 00.wav", "relative to the table's folder"),
    ),
    Case(
        name="path-that-leads-nowhere",
        what="a list of files, one of which is not there",
        make=missing_path,
        refused=("clips.csv row 40", "clips/lost.wav does not exist", "relative to the table's folder"),
    ),
)
