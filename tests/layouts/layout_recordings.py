"""Recordings of sensors: a file each, or a row for each step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyedflib
from layout_case import Case
from layout_signals import AXES, PLACES, class_folders, csv, long_rows, motion, steps_of, write

SERIES = {"series": "series"}
SIXTY = {"train": 48, "test": 12}
ORDERS = (("ax", "ay", "az"), ("az", "ax", "ay"), ("ay", "az", "ax"))


def in_class_folders(root: Path) -> None:
    class_folders(root, 60, PLACES, steps_of, ".csv")


def with_times(root: Path) -> None:
    class_folders(root, 60, PLACES, lambda number: steps_of(number, time="timestamp"), ".csv")


def shuffled(root: Path) -> None:
    class_folders(root, 60, PLACES, lambda number: steps_of(number, columns=ORDERS[number % 3], time="time"), ".csv")


def one_column_missing(root: Path) -> None:
    in_class_folders(root)
    write(root / PLACES[0] / "6.csv", steps_of(6, columns=("ax", "ay")))


def one_without_names(root: Path) -> None:
    in_class_folders(root)
    write(root / PLACES[0] / "6.csv", steps_of(6).split("\n", 1)[1])


def one_column_extra(root: Path) -> None:
    in_class_folders(root)
    write(root / PLACES[0] / "6.csv", steps_of(6, columns=("temp", *AXES)))


def some_with_times(root: Path) -> None:
    class_folders(root, 60, PLACES, lambda number: steps_of(number, time="t" if number % 2 else None), ".csv")


def without_header(root: Path) -> None:
    class_folders(root, 60, PLACES, lambda number: steps_of(number).split("\n", 1)[1], ".csv")


def european(root: Path) -> None:
    """As a spreadsheet in German writes it."""
    for number in range(40):
        text = steps_of(number, columns=("ax", "ay"), time="Zeit", separator=";").replace(".", ",")
        write(root / ("gehen", "läuft")[number % 2] / f"{number}.csv", text.replace("ax", "ä").encode("latin-1"))


def long_format(root: Path) -> None:
    csv(root / "motion.csv", long_rows(30))


def counted_steps(root: Path) -> None:
    columns = long_rows(30)
    del columns["time"]
    csv(root / "motion.csv", {"step": list(range(20)) * 30, **columns})


def files_with_the_same_recordings(root: Path) -> None:
    """The recordings of each file are called r00, r01, …"""
    columns = long_rows(18)
    for split, first, count in (("train", 0, 12), ("test", 12, 6)):
        rows = slice(20 * first, 20 * (first + count))
        names = [f"r{number:02}" for number in range(count) for _ in range(20)]
        csv(root / f"{split}.csv", {**{name: values[rows] for name, values in columns.items()}, "recording": names})


def long_with_subjects(root: Path) -> None:
    columns = long_rows(30)
    columns["subject"] = [f"s{number // 3}" for number in range(30) for _ in range(20)]
    csv(root / "motion.csv", columns)


def one_subject(root: Path) -> None:
    csv(root / "motion.csv", {**long_rows(30), "subject": ["s1"] * 600})


def labels_that_change(root: Path) -> None:
    """Ten long recordings in which people walk and run in turn."""
    columns = long_rows(10, 400)
    columns["label"] = [PLACES[step // 100 % 2] for _ in range(10) for step in range(400)]
    csv(root / "motion.csv", columns)


def hours(root: Path) -> None:
    csv(root / "motion.csv", long_rows(10, 400))


def file_each_with_labels(root: Path) -> None:
    for number in range(40):
        write(root / "signals" / f"{number:02}.csv", steps_of(number, time="time"))
    columns = {
        "file": [f"signals/{number:02}.csv" for number in range(40)],
        "activity": [PLACES[number % 2] for number in range(40)],
        "patient": [f"p{number // 4}" for number in range(40)],
        "device": [("watch", "phone")[number // 3 % 2] for number in range(40)],
    }
    csv(root / "labels.csv", columns)


def edf(root: Path) -> None:
    for number in range(24):
        path = root / ("awake", "asleep")[number % 2] / f"{number}.edf"
        path.parent.mkdir(exist_ok=True)
        values = motion(number, 200, 2).astype(np.float64)
        with pyedflib.EdfWriter(str(path), 2, file_type=pyedflib.FILETYPE_EDFPLUS) as file:
            for index, label in enumerate(("Fp1", "Fp2")):
                header = {"label": label, "dimension": "uV", "sample_frequency": 100, "transducer": "", "prefilter": ""}
                limits = {"physical_max": 10, "physical_min": -10, "digital_max": 32767, "digital_min": -32768}
                file.setSignalHeader(index, {**header, **limits})
            file.writeSamples([np.ascontiguousarray(channel) for channel in values.T])


def ts(root: Path, suffix: str = ".ts") -> None:
    import gzip

    for split, first, count in (("TRAIN", 0, 20), ("TEST", 20, 10)):
        lines = ["@problemName Steps", "@classLabel true walk run", "@data"]
        for number in range(first, first + count):
            channels = (",".join(f"{value:.3f}" for value in channel) for channel in motion(number, 40).T)
            lines.append(":".join((*channels, PLACES[number % 2])))
        content = "\n".join(lines).encode()
        write(root / f"Steps_{split}{suffix}", gzip.compress(content) if suffix.endswith(".gz") else content)


CASES = (
    Case(
        name="recordings-in-class-folders",
        what="a CSV for each recording, in a folder for each class",
        make=in_class_folders,
        kinds=SERIES,
        channels=AXES,
        splits=SIXTY,
        drawn=True,
        said=("the names of the folders",),
    ),
    Case(
        name="recordings-with-times",
        what="the same with a column `timestamp`: it is time, not a channel",
        make=with_times,
        kinds=SERIES,
        channels=AXES,
        splits=SIXTY,
        drawn=True,
    ),
    Case(
        name="recordings-some-with-times",
        what="the same where only some files have a column `t`",
        make=some_with_times,
        kinds=SERIES,
        channels=AXES,
        splits=SIXTY,
        drawn=True,
    ),
    Case(
        name="recordings-with-columns-in-any-order",
        what="the same with the columns of each file in another order: they go by name",
        make=shuffled,
        kinds=SERIES,
        channels=AXES,
        splits=SIXTY,
        drawn=True,
    ),
    Case(
        name="recordings-without-a-column",
        what="the same where one file has no column `az`",
        make=one_column_missing,
        refused=("walk/6.csv", "no column is called 'az'", "name the columns as in training"),
    ),
    Case(
        name="recordings-with-another-column",
        what="the same where one file has one more column, `temp`, before the others",
        make=one_column_extra,
        kinds=SERIES,
        channels=AXES,
        splits=SIXTY,
        drawn=True,
        warned=("column 'temp' is in 1 of 60 files only and is not read, as in walk/6.csv",),
    ),
    Case(
        name="recordings-some-without-names",
        what="the same where one file has no line of names",
        make=one_without_names,
        kinds=SERIES,
        channels=AXES,
        splits=SIXTY,
        drawn=True,
        warned=("1 of 60 files do not name their columns, which are taken in order, as in walk/6.csv",),
    ),
    Case(
        name="recordings-without-names",
        what="a CSV of numbers alone for each recording, in class folders",
        make=without_header,
        kinds=SERIES,
        splits=SIXTY,
        drawn=True,
    ),
    Case(
        name="recordings-in-german",
        what="semicolons, decimal commas and latin-1, with times called `Zeit`",
        make=european,
        kinds=SERIES,
        channels=("ä", "ay"),
        splits={"train": 32, "test": 8},
        drawn=True,
    ),
    Case(
        name="long-format",
        what="one CSV with recording, time, ax, ay, az, label: a row for each step",
        make=long_format,
        kinds=SERIES,
        channels=AXES,
        splits={"train": 24, "test": 6},
        drawn=True,
        said=("a row is a step at 'time', each 'recording' a recording (30 of them)",),
    ),
    Case(
        name="long-format-with-counted-steps",
        what="the same with a column `step`, which counts the steps of each recording, instead of times",
        make=counted_steps,
        kinds=SERIES,
        channels=AXES,
        splits={"train": 24, "test": 6},
        drawn=True,
        said=("a row is a step at 'step', each 'recording' a recording (30 of them)",),
    ),
    Case(
        name="long-format-in-splits",
        what="train.csv and test.csv in long format, in both of which recordings are called r00, r01, …",
        make=files_with_the_same_recordings,
        kinds=SERIES,
        channels=AXES,
        splits={"train": 12, "test": 6},
        said=("each 'recording' a recording (18 of them)",),
    ),
    Case(
        name="long-format-with-one-subject",
        what="long format with a column `subject` of one value",
        make=one_subject,
        kinds=SERIES,
        channels=AXES,
        splits={"train": 24, "test": 6},
        drawn=True,
        left_out=("subject",),
    ),
    Case(
        name="long-format-with-subjects",
        what="the same with a column `subject`",
        make=long_with_subjects,
        kinds=SERIES,
        channels=AXES,
        splits={"train": 24, "test": 6},
        drawn=True,
        group="subject",
        said=("'subject': its examples stay in one split",),
    ),
    Case(
        name="long-format-with-changing-labels",
        what="the same where people walk and run in turn within a recording",
        make=labels_that_change,
        kinds=SERIES,
        channels=AXES,
        splits={"train": 32, "test": 8},
        drawn=True,
        said=("labels change within recordings", "none of 10 groups is in two splits", "--window N"),
    ),
    Case(
        name="long-format-in-windows",
        what="long recordings, to be cut into windows of 100 steps",
        make=hours,
        options={"window": 100, "hop": 50},
        kinds=SERIES,
        channels=AXES,
        splits={"train": 56, "test": 14},
        drawn=True,
        said=("100 steps, one every 50", "none of 10 groups is in two splits"),
    ),
    Case(
        name="paths-of-recordings",
        what="a CSV for each recording, and labels.csv with file, activity, patient, device",
        make=file_each_with_labels,
        kinds=SERIES,
        channels=AXES,
        splits={"train": 32, "test": 8},
        drawn=True,
        group="patient",
        left_out=("device",),
        said=("'activity'", "plain columns beside a signal are metadata"),
    ),
    Case(
        name="edf",
        what="EDF recordings of an EEG in class folders",
        make=edf,
        kinds=SERIES,
        channels=("Fp1", "Fp2"),
        splits={"train": 19, "test": 5},
        drawn=True,
    ),
    Case(
        name="ts",
        what="NAME_TRAIN.ts and NAME_TEST.ts, as the UCR archive has them",
        make=ts,
        kinds=SERIES,
        splits={"train": 20, "test": 10},
    ),
    Case(
        name="ts-gz",
        what="the same, compressed",
        make=lambda root: ts(root, ".ts.gz"),
        kinds=SERIES,
        splits={"train": 20, "test": 10},
    ),
)
