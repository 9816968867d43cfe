"""Data sets in the containers that others publish: MNIST's idx, MATLAB, Hugging Face folders, compressed files."""

from __future__ import annotations

import gzip
import io
import json
import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet
import pyedflib
import pytest
import tifffile
from PIL import Image
from scipy.io import savemat

from builders import dicom_slice
from sensorium.codecs import volumes
from sensorium.data import DataConfig, InputConfig, Source, open_source, open_strange_files
from sensorium.errors import InputError
from sensorium.modalities import KINDS, VolumeConfig, build_modality

RANDOM = np.random.default_rng(0)
STACK = RANDOM.integers(0, 99, (4, 6, 5)).astype(np.uint8)


def sizes(source: Source) -> dict[str, int]:
    return {split: len(part) for split, part in source.splits.items()}


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.mark.parametrize("pattern", ["{}-{}-idx{}-ubyte.gz", "{}-{}-idx{}-ubyte", "{}-{}.idx{}-ubyte"])
@pytest.mark.parametrize("prefix", ["", "emnist-letters-"])
def test_mnist(tmp_path: Path, pattern: str, prefix: str) -> None:
    """Four files, compressed or not: grey pictures in the given splits."""
    for split, count in (("train", 40), ("t10k" if not prefix else "test", 10)):
        for what, array in (
            ("images", RANDOM.integers(0, 256, (count, 8, 8), np.uint8)),
            ("labels", np.arange(count, dtype=np.uint8) % 4),
        ):
            path = tmp_path / (prefix + pattern.format(split, what, array.ndim))
            path.write_bytes(gzip.compress(idx(array)) if path.suffix == ".gz" else idx(array))
    source = open_source(tmp_path)
    assert (source.kinds, source.task, len(source.classes)) == ({"image": "image"}, "classify", 4)
    assert sizes(source)["test"] == 10
    assert sum(sizes(source).values()) == 50


def test_matlab_pictures_with_examples_last(tmp_path: Path) -> None:
    """As SVHN is published: height × width × channels × examples, labels as a column."""
    for split, count in (("train", 20), ("test", 8)):
        pictures = RANDOM.integers(0, 256, (6, 7, 3, count), np.uint8)
        savemat(tmp_path / f"{split}_32x32.mat", {"X": pictures, "y": (np.arange(count) % 2)[:, None]})
    source = open_source(tmp_path)
    assert (source.kinds, source.task) == ({"image": "image"}, "classify")
    assert sizes(source)["test"] == 8
    assert source.splits["test"].raws["image"][0].shape == (6, 7, 3)


def test_compressed_files_of_every_layout(tmp_path: Path) -> None:
    """Class folders, a table of paths, a table, series and arrays, each with ``.gz`` behind its name."""
    for name, count in (("up", 12), ("down", 12)):
        (tmp_path / "folders" / name).mkdir(parents=True)
        for number in range(count):
            lines = "".join(f"{number + step},{step}\n" for step in range(5))
            (tmp_path / "folders" / name / f"{number}.csv.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "ts").mkdir()
    text = "@data\n" + "".join(f"{n},{n + 1},3:{'ab'[n % 2]}\n" for n in range(20))
    (tmp_path / "ts" / "it_TRAIN.ts.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "table").mkdir()
    rows = "x;y;label\n" + "".join(f"{n},5;{(n * 7) % 5};{'ab'[n % 2]}\n" for n in range(20))
    (tmp_path / "table" / "it.csv.gz").write_bytes(gzip.compress(rows.encode("latin-1")))
    expected = {"folders": "series", "ts": "series", "table": "table"}
    for layout, kind in expected.items():
        source = open_source(tmp_path / layout)
        assert (list(source.kinds.values()), source.task) == ([kind], "classify"), layout
        assert sum(sizes(source).values()) in (20, 24)


# -- Hugging Face ---------------------------------------------------------------------------------------------------

NAMES = ["cat", "dog"]


def picture(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def save_to_disk(folder: Path, count: int, *, shards: int = 1, seed: int = 0) -> None:
    """As Hugging Face's datasets write a split: streams of Arrow, a state that names them, and what maps cached."""
    folder.mkdir(parents=True)
    features = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    type_ = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    files = [f"data-{shard:05}-of-{shards:05}.arrow" for shard in range(shards)]
    for name, rows in zip(files, np.array_split(np.arange(count), shards), strict=True):
        pictures = pa.array([{"bytes": picture(seed + row), "path": f"{row}.png"} for row in rows], type_)
        table = pa.table({"image": pictures, "label": pa.array(rows % 2)}).replace_schema_metadata(metadata)
        for path in (folder / name, folder / f"cache-{name}"):
            with pa.ipc.new_stream(path, table.schema) as writer:
                writer.write_table(table)
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in files]}))


def assert_description_says_the_same(source: Source) -> None:
    again = open_source(source.path, description=source.description)
    assert (again.kinds, again.classes, sizes(again)) == (source.kinds, source.classes, sizes(source))
    for split, part in source.splits.items():
        assert list(again.splits[split].names) == list(part.names)


@pytest.mark.parametrize("shards", [1, 2])
def test_save_to_disk_with_splits(tmp_path: Path, shards: int) -> None:
    root = tmp_path / "pets"
    save_to_disk(root / "train", 20, shards=shards)
    save_to_disk(root / "validation", 6, seed=100)
    save_to_disk(root / "test", 8, shards=shards, seed=200)
    (root / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}')
    source = open_source(root)
    assert (source.kinds, source.task, source.classes) == ({"image": "image"}, "classify", tuple(NAMES))
    assert sizes(source) == {"train": 20, "val": 6, "test": 8}
    assert source.splits["test"].raws["image"][3] == picture(203)
    assert_description_says_the_same(source)


def test_save_to_disk_without_splits(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "pets", 30, shards=3)
    source = open_source(tmp_path / "pets")
    assert (source.kinds, source.classes, sum(sizes(source).values())) == ({"image": "image"}, tuple(NAMES), 30)
    assert_description_says_the_same(source)


@pytest.mark.parametrize("folder", ["pets", "pets/train"])
def test_save_to_disk_with_a_torn_state(tmp_path: Path, folder: str) -> None:
    save_to_disk(tmp_path / folder, 4)
    (tmp_path / folder / "state.json").write_text("{")
    with pytest.raises(InputError, match=r"state\.json: this is not what save_to_disk writes"):
        open_source(tmp_path / "pets")


def as_csv(table: pa.Table, stem: Path) -> None:
    csv.write_csv(table, stem.with_suffix(".csv"))


def as_parquet(table: pa.Table, stem: Path) -> None:
    parquet.write_table(table, stem.with_suffix(".parquet"))


def as_json_lines(table: pa.Table, stem: Path) -> None:
    stem.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))


def imagefolder(root: Path, write: Any, *, in_each_split: bool, column: str = "label") -> None:
    rows = []
    for split, count in (("train", 16), ("test", 6)):
        (root / split / "files").mkdir(parents=True)
        for number in range(count):
            name = f"files/{number}.png"
            (root / split / name).write_bytes(picture(number + 100 * (split == "test")))
            rows.append({"file_name": name if in_each_split else f"{split}/{name}", column: NAMES[number % 2]})
        if in_each_split:
            write(pa.Table.from_pylist(rows), root / split / "metadata")
            rows.clear()
    if rows:
        write(pa.Table.from_pylist(rows), root / "metadata")


@pytest.mark.parametrize("in_each_split", [False, True])
@pytest.mark.parametrize("write", [as_csv, as_parquet, as_json_lines])
def test_imagefolder_metadata(tmp_path: Path, write: Any, in_each_split: bool) -> None:
    """Paths are relative to the metadata file; the splits are the folders either way."""
    imagefolder(tmp_path, write, in_each_split=in_each_split)
    source = open_source(tmp_path)
    assert (source.kinds, source.task, source.classes) == ({"image": "image"}, "classify", tuple(NAMES))
    assert sizes(source)["test"] == 6
    assert sum(sizes(source).values()) == 22
    assert len(set(source.splits["train"].names) | set(source.splits["test"].names)) == sizes(source)["train"] + 6
    assert_description_says_the_same(source)


def test_metadata_without_labels_leaves_class_folders_alone(tmp_path: Path) -> None:
    for split, count in (("train", 8), ("test", 4)):
        for name in NAMES:
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                (tmp_path / split / name / f"{number}.png").write_bytes(picture(number))
        (tmp_path / split / "metadata.csv").write_text("file_name,width\ncat/0.png,8\ndog/0.png,9\n")
    assert open_source(tmp_path).description.layout == "folders"


def test_one_table_in_each_split_folder(tmp_path: Path) -> None:
    for split, count in (("train", 12), ("test", 4)):
        (tmp_path / split).mkdir()
        rows = "x,label\n" + "".join(f"{n * 7 % 5}.5,{NAMES[n % 2]}\n" for n in range(count))
        (tmp_path / split / "data.csv").write_text(rows)
    source = open_source(tmp_path)
    assert (source.kinds, sizes(source)["test"]) == ({"table": "table"}, 4)
    assert_description_says_the_same(source)


# -- volumes --------------------------------------------------------------------------------------------------------


def test_volumes_in_class_folders(tmp_path: Path) -> None:
    for name in ("healthy", "ill"):
        for number in range(6):
            (tmp_path / name).mkdir(exist_ok=True)
            image = nibabel.Nifti1Image(RANDOM.normal(size=(6, 7, 5)).astype(np.float32), np.eye(4))
            image.to_filename(tmp_path / name / f"{number}.nii.gz")
    source = open_source(tmp_path)
    assert (source.kinds, source.classes, sum(sizes(source).values())) == ({"volume": "volume"}, ("healthy", "ill"), 12)


def dicom_patients(root: Path, *, depth: int) -> None:
    for label in ("healthy", "ill"):
        for patient in range(6):
            folder = root / label / f"{patient}"
            folder.mkdir(parents=True)
            for index in range(depth):
                pixels = RANDOM.integers(0, 900, (6, 5)).astype(np.uint16)
                content = dicom_slice(pixels, series=f"1.{patient}.{len(label)}", position=(0.0, 0.0, float(index)))
                (folder / f"{index}.dcm").write_bytes(content)


def test_dicom_slices_of_a_folder_are_a_volume(tmp_path: Path) -> None:
    """Which is said, and can be said otherwise."""
    dicom_patients(tmp_path, depth=4)
    source = open_source(tmp_path)
    assert (source.kinds, sum(sizes(source).values())) == ({"volume": "volume"}, 12)
    assert [assumption.flag for assumption in source.assumptions if assumption.topic == "volume"] == ["--kind image"]
    raw = source.splits["train"].raws["volume"][0]
    assert volumes.decode(raw).shape == (1, 4, 6, 5)
    assert_description_says_the_same(source)
    said = DataConfig(inputs={"image": InputConfig(kind="image")})
    source = open_source(tmp_path, description=said)
    assert (source.kinds, sum(sizes(source).values())) == ({"image": "image"}, 48)


def test_files_without_labels_are_volumes_for_a_model_of_volumes(tmp_path: Path) -> None:
    """Stacks of TIFF and slices of DICOM, by name and below a folder: the slices of a folder are one example."""
    model = build_modality(VolumeConfig(size=(4, 6, 5), patch=(1, 1, 1)))
    dicom_patients(tmp_path / "scans", depth=4)
    tifffile.imwrite(tmp_path / "stack.tif", STACK, photometric="minisblack")
    for path, count in ((tmp_path / "stack.tif", 1), (tmp_path / "scans" / "ill" / "0" / "1.dcm", 1), (tmp_path, 13)):
        raws = open_strange_files([path], model, description=None).examples.raws["volume"]
        assert len(raws) == count
        assert all(volumes.decode(raw).shape == (1, 4, 6, 5) for raw in raws)


def test_single_dicom_pictures(tmp_path: Path) -> None:
    """A file a patient, or files right in the class folder, are pictures."""
    dicom_patients(tmp_path / "one", depth=1)
    assert open_source(tmp_path / "one").kinds == {"image": "image"}
    for label in ("healthy", "ill"):
        (tmp_path / "flat" / label).mkdir(parents=True)
        for index in range(6):
            content = dicom_slice(RANDOM.integers(0, 900, (6, 5)).astype(np.uint16))
            (tmp_path / "flat" / label / f"{index}.dcm").write_bytes(content)
    assert open_source(tmp_path / "flat").kinds == {"image": "image"}


@pytest.mark.parametrize("kind", ["image", "volume"])
def test_tiff_pages(tmp_path: Path, kind: str) -> None:
    """A stack is a volume where somebody says so; as pictures it is refused, never read by its first page."""
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for index in range(6):
            tifffile.imwrite(tmp_path / label / f"{index}.tif", STACK, photometric="minisblack")
    source = open_source(tmp_path, description=DataConfig(inputs={kind: InputConfig(kind=kind)}))
    raw = source.splits["train"].raws[kind][0]
    if kind == "volume":
        assert volumes.decode(raw).shape == (1, 4, 6, 5)
        return
    with pytest.raises(InputError, match="4 pages; where they are slices, use --kind volume"):
        KINDS["image"].measure([raw])


# -- BIDS -----------------------------------------------------------------------------------------------------------


def write_edf(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pyedflib.EdfWriter(str(path), 2, file_type=pyedflib.FILETYPE_EDFPLUS) as file:
        for index, name in enumerate(("Fp1", "Fp2")):
            limits = {"physical_max": 10, "physical_min": -10, "digital_max": 32767, "digital_min": -32768}
            header = {"label": name, "dimension": "uV", "sample_frequency": 50, "transducer": "", "prefilter": ""}
            file.setSignalHeader(index, {**header, **limits})
        file.writeSamples(list(np.random.default_rng(seed).normal(size=(2, 100))))


def bids(root: Path, participants: str = "participant_id\tage\tdiagnosis\n", *, prefix: str = "sub-") -> Path:
    """Eight participants with two sessions each, four of them ill; the age of the last is not known."""
    rows = []
    for number in range(1, 9):
        for session in ("ses-1", "ses-2"):
            name = f"sub-{number:02}_{session}_task-rest_eeg.edf"
            write_edf(root / f"sub-{number:02}" / session / "eeg" / name, number)
            (root / f"sub-{number:02}" / session / "eeg" / "events.tsv").write_text("onset\tduration\n0\t1\n")
        rows.append(f"{prefix}{number:02}\t{'n/a' if number == 8 else 20 + number}\t{('ill', 'well')[number % 2]}\n")
    (root / "participants.tsv").write_text(participants + "".join(rows))
    return root


@pytest.mark.parametrize("prefix", ["sub-", ""])
def test_bids(tmp_path: Path, prefix: str) -> None:
    """Recordings are labelled by their participant, who stays in one split; nothing else known is an input."""
    source = open_source(bids(tmp_path, prefix=prefix))
    assert (source.kinds, source.task, source.classes) == ({"series": "series"}, "classify", ("ill", "well"))
    assert sum(sizes(source).values()) == 16
    people = {split: {Path(name).parts[0] for name in part.names} for split, part in source.splits.items()}
    assert not set.intersection(people["train"], people["test"])
    said = {assumption.topic: assumption for assumption in source.assumptions}
    assert "diagnosis" in said["target"].text
    assert_description_says_the_same(source)


def test_bids_of_volumes_takes_the_commonest_sort(tmp_path: Path) -> None:
    rows = "participant_id\tgroup\n"
    for number in range(8):
        folder = tmp_path / f"sub-{number}" / "anat"
        folder.mkdir(parents=True)
        for sort in ("T1w", "T2w") if number else ("T1w",):
            image = nibabel.Nifti1Image(RANDOM.normal(size=(6, 7, 5)).astype(np.float32), np.eye(4))
            image.to_filename(folder / f"sub-{number}_{sort}.nii.gz")
        rows += f"sub-{number}\t{'control' if number % 2 else 'patient'}\n"
    (tmp_path / "participants.tsv").write_text(rows)
    source = open_source(tmp_path)
    assert (source.kinds, sum(sizes(source).values())) == ({"volume": "volume"}, 8)
    assert any("_T1w, not T2w" in assumption.text for assumption in source.assumptions)


def test_bids_leaves_out_whom_it_does_not_know(tmp_path: Path) -> None:
    root = bids(tmp_path)
    text = (root / "participants.tsv").read_text().splitlines()
    text[2] = text[2].replace("ill", "n/a")
    (root / "participants.tsv").write_text("\n".join(text[:-1]) + "\n")
    source = open_source(root)
    assert sum(sizes(source).values()) == 12
    assert any("2 recordings are of nobody in participants.tsv" in warning for warning in source.warnings)
    assert any("2 recordings have no 'diagnosis'" in warning for warning in source.warnings)


def test_bids_without_what_is_needed(tmp_path: Path) -> None:
    root = bids(tmp_path / "a")
    (root / "participants.tsv").write_text("name\tgroup\nsub-01\tx\n")
    with pytest.raises(InputError, match=r"participants.tsv: there is no column 'participant_id'"):
        open_source(root)
    (root / "participants.tsv").write_text("participant_id\tgroup\nsub-99\tx\n")
    with pytest.raises(InputError, match=r"none of its participants is one of the folders"):
        open_source(root)
    (tmp_path / "b" / "sub-01" / "eeg").mkdir(parents=True)
    (tmp_path / "b" / "sub-01" / "eeg" / "sub-01_eeg.set").write_text("x")
    (tmp_path / "b" / "participants.tsv").write_text("participant_id\tgroup\nsub-01\tx\n")
    with pytest.raises(InputError, match=r"end in \.set, which is not read; give \.edf"):
        open_source(tmp_path / "b")


def test_guesses_about_a_table_are_said(tmp_path: Path) -> None:
    """Letters that are not UTF-8, decimal commas, and the sheet that is read; nothing where nothing is guessed."""
    rows = "größe;label\n" + "".join(f"{n * 7 % 5},5;{NAMES[n % 2]}\n" for n in range(20))
    for name, encoding, words in (
        ("old", "latin-1", ("cp1252", "decimal commas")),
        ("new", "utf-8", ("decimal commas",)),
        ("plain", "utf-8", ()),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_bytes((rows if words else rows.replace(",", ".")).encode(encoding))
        said = [line for line in open_source(tmp_path / name).warnings if line.startswith("a.csv: its")]
        assert len(said) == bool(words)
        assert all(word in said[0] for word in words)
    book = openpyxl.Workbook()
    for row in [("x", "label"), *((n * 7 % 5, NAMES[n % 2]) for n in range(20))]:
        book.active.append(row)
    book.create_sheet("notes").append(["made", "today"])
    book.save(tmp_path / "a.xlsx")
    assert any(
        "its first sheet, 'Sheet', is read, not notes" in line for line in open_source(tmp_path / "a.xlsx").warnings
    )


# -- what is not read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.docx", "cannot be read as a data set; save it as .txt"),
        ("a.cvs", r"did you mean '\.csv'\?"),
        ("a.zip", "unpack it first"),
        ("a.pkl", "pickles are never loaded"),
        ("a.quux", r"what is read: image \(.jpg, .jpeg\), .*docs/formats.md"),
        ("a.png", "it is one example; give a folder"),
        ("notes/a.heic", r"notes: it holds nothing that can be read \(found .heic\); convert it to .jpg"),
        ("classes/one/a.mgz", r"nothing that can be read \(found .mgz\); convert it to .nii.gz"),
    ],
)
def test_what_is_not_read_is_told_what_would_be(tmp_path: Path, name: str, message: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    with pytest.raises(InputError, match=message) as caught:
        open_source(path if "/" not in name else tmp_path / Path(name).parts[0])
    assert "\n" not in str(caught.value)
