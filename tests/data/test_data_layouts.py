"""Data sets as people have them, each made here in small."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from sensorium.config import from_dict, to_dict, to_yaml
from sensorium.data import DataConfig, Source, open_source, read_description
from sensorium.errors import InputError


def write(path: Path, content: str | bytes = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), (number % 256, number // 256, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


def folders(root: Path, counts: Mapping[str, int], *, suffix: str = ".png") -> Path:
    """Files named by number, all with different content, in the folders given."""
    number = 0
    for folder, count in counts.items():
        for _ in range(count):
            write(root / folder / f"{number} é.{suffix.lstrip('.')}", f"{number}")
            number += 1
    return root


def sizes(source: Source) -> dict[str, int]:
    return {name: len(examples) for name, examples in source.splits.items()}


def described(**values: Any) -> DataConfig:
    return from_dict(DataConfig, values)


def assert_description_says_the_same(source: Source) -> None:
    """The inferred description, written down, finds the same examples again, without anything left to warn of."""
    again = open_source(source.path, description=from_dict(DataConfig, to_dict(source.description)))
    assert again.description == source.description
    assert again.kinds == source.kinds
    assert {name: list(part.names) for name, part in again.splits.items()} == {
        name: list(part.names) for name, part in source.splits.items()
    }
    for name, part in source.splits.items():
        assert np.array_equal(part.targets, again.splits[name].targets)  # type: ignore[arg-type]


# -- class folders ------------------------------------------------------------------------------------------------


def test_class_folders_without_splits(tmp_path: Path) -> None:
    source = open_source(folders(tmp_path, {"10": 10, "9": 10, ".hidden": 2}))
    assert (source.kinds, source.task, source.classes) == ({"image": "image"}, "classify", ("9", "10"))
    assert sizes(source) == {"train": 16, "test": 4}
    train = source.splits["train"]
    assert train.targets is not None
    for name, target, raw in zip(train.names, train.targets, train.raws["image"], strict=True):
        assert name.startswith(f"{source.classes[target]}/")
        assert (tmp_path / name) == raw
    assert_description_says_the_same(source)


@pytest.mark.parametrize("pattern", ["{split}/{label}", "{label}/{split}"])
def test_class_folders_with_splits(tmp_path: Path, pattern: str) -> None:
    counts = {"train": 3, "test": 2, "valid": 1}
    source = open_source(
        folders(
            tmp_path,
            {pattern.format(split=split, label=label): n for split, n in counts.items() for label in ("a", "b b")},
        )
    )
    assert sizes(source) == {"train": 6, "val": 2, "test": 4}
    assert source.classes == ("a", "b b")
    assert not source.warnings
    assert_description_says_the_same(source)


def test_the_val_split_is_the_test_split_where_there_is_no_other(tmp_path: Path) -> None:
    source = open_source(folders(tmp_path, {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1}))
    assert sizes(source) == {"train": 4, "test": 2}
    assert "val split is the test split" in source.warnings[0]
    assert source.description.splits == {"train": "train", "test": "val"}
    assert_description_says_the_same(source)


def test_other_files_are_left_out(tmp_path: Path) -> None:
    root = folders(tmp_path, {"a": 5, "b": 5})
    write(root / "a" / "Thumbs.db")
    write(root / "a" / "notes.xyz9")
    write(root / "licence.txt")
    source = open_source(root)
    assert source.warnings == ("1 files are not of the kind 'image' and were left out, for example a/notes.xyz9",)


def test_a_description_in_the_folder_settles_the_kind(tmp_path: Path) -> None:
    root = folders(tmp_path, {"a": 5, "b": 5})
    folders(root, {"a": 5, "b": 5}, suffix=".txt")
    write(root / "dataset.yaml", "inputs: {words: {kind: text, files: '*.txt'}}")
    source = open_source(root)
    assert source.kinds == {"words": "text"}
    assert sizes(source) == {"train": 8, "test": 2}
    assert_description_says_the_same(source)


def test_files_in_two_splits_are_reported(tmp_path: Path) -> None:
    root = folders(tmp_path, {"train/a": 3, "train/b": 3, "test/a": 2, "test/b": 2})
    for name in ("train/a/same.png", "test/a/twin.png"):
        write(root / name, "content")
    write(root / "test/b/as long.png", "CONTENT")
    (warning,) = open_source(root).warnings
    assert warning.startswith("1 examples of test are in train too, for example test/a/twin.png")


def test_a_class_never_trained_is_reported(tmp_path: Path) -> None:
    source = open_source(folders(tmp_path, {"train/a": 2, "train/b": 2, "test/a": 1, "test/c": 1}))
    assert source.classes == ("a", "b", "c")
    assert source.warnings == ("1 classes are in test but never in train, so they cannot be learned: c",)


def test_a_table_beside_class_folders_knows_the_folds(tmp_path: Path) -> None:
    root = folders(tmp_path, {"dog": 6, "cat": 6}, suffix=".wav")
    files = sorted(path.relative_to(root).as_posix() for path in root.glob("*/*.wav"))
    lines = [f"{name},{number % 3 + 1},{40 + (name < 'd')},{name[:3]}" for number, name in enumerate(files)]
    write(root / "meta.csv", "\n".join(["filename,fold,target,category", *lines]))
    source = open_source(root, fold=2)
    assert source.kinds == {"audio": "audio"}
    assert source.classes == ("cat", "dog")
    assert sizes(source) == {"train": 8, "test": 4}
    with pytest.raises(InputError, match="there are 1, 2, 3"):
        open_source(root, fold=9)


# -- tables -------------------------------------------------------------------------------------------------------


def table(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(columns), path)
    else:
        separator = {".tsv": "\t"}.get(path.suffix, ",")
        lines = [list(columns), *zip(*columns.values(), strict=True)]
        write(path, "\ufeff" + "\n".join(separator.join(map(str, line)) for line in lines))
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_numbers_and_categories_are_one_table(tmp_path: Path, suffix: str) -> None:
    rows = range(20)
    table(
        tmp_path / f"cells.{suffix}",
        id=list(rows),
        size=[row / 3 for row in rows],
        colour=["red" if row % 3 else "blue" for row in rows],
        species=["fox" if row % 2 else "owl" for row in rows],
    )
    source = open_source(tmp_path)
    assert source.kinds == {"table": "table"}
    assert (source.task, source.classes) == ("classify", ("fox", "owl"))
    assert source.splits["train"].raws["table"][0].keys() == {"size", "colour"}
    assert [(guess.topic, guess.text) for guess in source.assumptions[:3]] == [
        ("table", "2 columns: size, colour"),
        ("left out", "id"),
        ("target", "'species': it is called so"),
    ]
    assert_description_says_the_same(source)


def test_paths_and_text_are_several_inputs_and_metadata_is_none(tmp_path: Path) -> None:
    rows = range(20)
    for row in rows:
        write(tmp_path / "pictures" / f"{row}.png", picture(row))
    table(
        tmp_path / "posts.csv",
        photo=[f"pictures/{row}.png" for row in rows],
        caption=[f"a long sentence about the picture number {row}" for row in rows],
        likes=[row % 7 for row in rows],
        label=["good" if row % 2 else "bad" for row in rows],
        split=["train"] * 14 + ["validation"] * 3 + ["test"] * 3,
    )
    source = open_source(tmp_path / "posts.csv")
    assert source.kinds == {"photo": "image", "caption": "text"}
    assert ("left out", "likes (plain columns beside a signal are metadata)") in [
        (guess.topic, guess.text) for guess in source.assumptions
    ]
    assert sizes(source) == {"train": 14, "val": 3, "test": 3}
    test = source.splits["test"]
    assert test.raws["photo"][0] == tmp_path / "pictures" / "17.png"
    assert test.raws["caption"][0].endswith("number 17")
    assert test.names[0] == "posts.csv row 18"
    assert_description_says_the_same(source)


@pytest.mark.parametrize("form", ["bytes", "struct"])
def test_bytes(tmp_path: Path, form: str) -> None:
    for split, start in (("train", 0), ("test", 10)):
        files = [picture(number) for number in range(start, start + 10)]
        cells = files if form == "bytes" else [{"bytes": file, "path": None} for file in files]
        table(tmp_path / "data" / f"{split}-00000-of-00001.parquet", image=cells, label=[0, 1] * 5)
    write(tmp_path / "classes.txt", "cat\ndog\n")
    source = open_source(tmp_path)
    assert source.kinds == {"image": "image"}
    assert source.classes == ("cat", "dog")
    assert sizes(source) == {"train": 10, "test": 10}
    assert source.splits["test"].raws["image"][3] == picture(13)


def test_class_names_in_the_metadata(tmp_path: Path) -> None:
    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}
    cells = pa.table({"text": ["good movie", "bad movie"] * 5, "label": [1, 0] * 5})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    parquet.write_table(cells.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    source = open_source(tmp_path)
    assert (source.kinds, source.classes) == ({"text": "text"}, ("neg", "pos"))


def test_a_column_that_gives_the_answer_away_is_no_input(tmp_path: Path) -> None:
    table(
        tmp_path / "a.csv",
        size=[row / 3 for row in range(20)],
        code=[row % 2 + 7 for row in range(20)],
        label=["a", "b"] * 10,
    )
    source = open_source(tmp_path)
    assert source.description.inputs is not None
    assert source.description.inputs["table"].column == ("size",)
    assert "code the same as the target 'label'" in source.assumptions[1].text


def test_roles_in_a_description(tmp_path: Path) -> None:
    table(
        tmp_path / "a.csv",
        patient=[row // 4 for row in range(40)],
        height=[row % 9 for row in range(40)],
        weight=[row + 0.5 for row in range(40)],
        label=["a", "b"] * 20,
    )
    description = described(target={"column": "weight"}, group="patient")
    source = open_source(tmp_path, description=description)
    assert (source.task, source.classes) == ("regress", ("weight",))
    patients = [{(int(name.split()[-1]) - 1) // 4 for name in part.names} for part in source.splits.values()]
    assert not patients[0] & patients[1]
    assert_description_says_the_same(source)
    tags = open_source(tmp_path, description=described(target={"column": ["height", "weight"], "task": "regress"}))
    assert tags.classes == ("height", "weight")


def test_tests_without_labels_are_left_out(tmp_path: Path) -> None:
    table(tmp_path / "train.csv", size=[1.5, 2.5, 3.5] * 10, label=["a", "b", "a"] * 10)
    table(tmp_path / "test.csv", size=[1.5, 2.5, 3.5])
    table(tmp_path / "sample_submission.csv", row=[1, 2, 3])
    source = open_source(tmp_path)
    assert sizes(source) == {"train": 24, "test": 6}
    assert any("test.csv has no column 'label'" in warning for warning in source.warnings)
    assert any(warning.startswith("sample_submission.csv") for warning in source.warnings)


# -- arrays -------------------------------------------------------------------------------------------------------


def arrays(path: Path, **content: Any) -> Path:
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for key, value in content.items():
                file[key] = value
    else:
        np.savez(path, **content)
    return path


def numbers(*shape: int, kind: str = "float32") -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, shape)
    return values.astype(kind)


@pytest.mark.parametrize(
    ("shape", "dtype", "kind"),
    [
        ((8, 3), "float16", "points"),
        ((16, 9), "float32", "series"),
        ((4, 4, 3), "uint8", "image"),
        ((6, 4, 5, 3), "uint8", "video"),
        ((4, 4, 4, 1), "uint8", "volume"),
        ((4, 4), "uint8", "image"),
        ((5,), "float64", "table"),
    ],
)
def test_array_keys_with_splits(tmp_path: Path, shape: tuple[int, ...], dtype: str, kind: str) -> None:
    content = {"x_train": numbers(10, *shape, kind=dtype), "x_test": numbers(6, *shape, kind=dtype) + 1}
    arrays(tmp_path / "a.npz", **content, y_train=np.arange(10) % 2, y_test=np.arange(6) % 2, classes=["no", "yes"])
    source = open_source(tmp_path)
    assert (source.kinds, source.classes) == ({kind: kind}, ("no", "yes"))
    assert sizes(source) == {"train": 10, "test": 6}
    assert np.array_equal(source.splits["test"].raws[kind][5], content["x_test"][5])
    assert_description_says_the_same(source)


def test_a_file_per_split(tmp_path: Path) -> None:
    for split, count in (("train", 10), ("validation", 4), ("test", 6)):
        data = numbers(count, 5, 3) + count
        arrays(tmp_path / f"{split}.h5", data=data, label=np.arange(count)[:, None] % 2, name=["thing"] * count)
    write(tmp_path / "shape_names.txt", "chair\ntable\n")
    source = open_source(tmp_path)
    assert (source.kinds, source.classes) == ({"points": "points"}, ("chair", "table"))
    assert sizes(source) == {"train": 10, "val": 4, "test": 6}
    assert_description_says_the_same(source)


@pytest.mark.parametrize("shape", [(20, 3, 50), (20, 50, 3)])
def test_named_channels_come_last(tmp_path: Path, shape: tuple[int, ...]) -> None:
    arrays(tmp_path / "a.npz", data=numbers(*shape), label=np.arange(20) % 2, channels=["x", "y", "z"])
    source = open_source(tmp_path)
    assert source.kinds == {"series": "series"}
    first = source.splits["train"].raws["series"][0]
    assert (first.values.shape, first.channels) == ((50, 3), ("x", "y", "z"))


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    arrays(tmp_path / "a.npz", x=np.array([{}, {}], dtype=object), y=np.array([0, 1]))
    with pytest.raises(InputError, match="pickled objects, which are never loaded"):
        open_source(tmp_path)


# -- .ts ----------------------------------------------------------------------------------------------------------

TS = """# a comment
@problemName Toy
@classLabel true left right
@data
1,2,3:4,5,6:left

# another
1,?,3,?:4,5,6,?:right
"""


def test_ts(tmp_path: Path) -> None:
    write(tmp_path / "Toy_TRAIN.ts", TS * 5)
    write(tmp_path / "Toy_TEST.ts", TS.replace("1,", "9,"))
    source = open_source(tmp_path)
    assert (source.kinds, source.classes) == ({"series": "series"}, ("left", "right"))
    assert sizes(source) == {"train": 10, "test": 2}
    first, second = source.splits["train"].raws["series"][:2]
    assert np.array_equal(first, [[1, 4], [2, 5], [3, 6]])
    assert np.array_equal(second, [[1, 4], [np.nan, 5], [3, 6]], equal_nan=True)  # missing everywhere: it has ended
    assert_description_says_the_same(source)


def test_ts_regression(tmp_path: Path) -> None:
    write(tmp_path / "a.ts", "@targetLabel true\n@data\n" + "\n".join(f"1,2:{number}" for number in range(10)))
    source = open_source(tmp_path)
    assert source.task == "regress"
    assert sizes(source) == {"train": 8, "test": 2}


# -- bad input ----------------------------------------------------------------------------------------------------


def missing(root: Path) -> Path:
    return root / "nowhere"


def empty(root: Path) -> Path:
    return root


def other_file(root: Path) -> Path:
    return write(root / "a.docx")


def one_class(root: Path) -> Path:
    return folders(root, {"a": 5})


def loose_files(root: Path) -> Path:
    return folders(root, {".": 5})


def mixed(root: Path) -> Path:
    folders(root, {"a": 5})
    return folders(root, {"b": 5}, suffix=".wav")


def unknown_files(root: Path) -> Path:
    return folders(root, {"a": 5, "b": 5}, suffix=".xyz9")


def no_path(root: Path) -> Path:
    write(root / "0.png")
    table(root / "a.csv", file=["0.png", "1.png", "2.png"], label=["a", "b", "a"])
    return root


def empty_cell(root: Path) -> Path:
    for row in range(3):
        write(root / f"{row}.png")
    table(root / "a.csv", file=["0.png", "", "2.png"], label=["a", "b", "a"])
    return root


def no_label(root: Path) -> Path:
    table(root / "a.csv", size=[1.5, 2.5, 3.5], label=["a", "", "b"])
    return root


def no_rows(root: Path) -> Path:
    write(root / "a.csv", "size,label\n")
    return root


def ragged_csv(root: Path) -> Path:
    write(root / "a.csv", "size,label\n1,a\n1,2,3\n")
    return root


def no_input(root: Path) -> Path:
    table(root / "a.csv", name=["anna", "otto", "ida"], label=["a", "b", "b"])
    return root


def torn_parquet(root: Path) -> Path:
    write(root / "a.parquet", "PAR1 and nothing else")
    return root


def torn_npz(root: Path) -> Path:
    write(root / "a.npz", "PK")
    return root


def no_labels_in_arrays(root: Path) -> Path:
    arrays(root / "a.npz", x=numbers(3, 4, 2))
    return root


def unlike_lengths(root: Path) -> Path:
    arrays(root / "a.npz", x=numbers(3, 4, 2), y=np.arange(4))
    return root


def two_arrays_of_one_name(root: Path) -> Path:
    for name in ("a.npz", "b.npz"):
        arrays(root / name, x=numbers(3, 4, 2), y=np.arange(3))
    return root


def ts_word(root: Path) -> Path:
    return write(root / "a.ts", "@data\n1,2:a\n1,zwei:b")


def ts_channels(root: Path) -> Path:
    return write(root / "a.ts", "@data\n1,2:a\n1,2:3,4:b")


def ts_no_label(root: Path) -> Path:
    return write(root / "a.ts", "@data\n1,2")


def ts_stamps(root: Path) -> Path:
    return write(root / "a.ts", "@data\n(1,2):a")


def yaml_key(root: Path) -> Path:
    write(folders(root, {"a": 5, "b": 5}) / "dataset.yaml", "fould: x")
    return root


def yaml_kind(root: Path) -> Path:
    write(folders(root, {"a": 5, "b": 5}) / "dataset.yaml", "inputs: {x: {kind: imagee, files: '*'}}")
    return root


def yaml_column(root: Path) -> Path:
    write(table(root / "a.csv", size=[1.5, 2.5], colour=["a", "b"]).parent / "dataset.yaml", "target: {column: color}")
    return root


def yaml_splits(root: Path) -> Path:
    write(folders(root, {"a": 5, "b": 5}) / "dataset.yaml", "splits: {train: nowhere}")
    return root


def yaml_group_in_folders(root: Path) -> Path:
    write(folders(root, {"a": 5, "b": 5}) / "dataset.yaml", "{layout: folders, group: person}")
    return root


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, "nowhere: there is no such file or folder"),
        (empty, "the folder is empty"),
        (other_file, "a.docx: cannot be read as a data set"),
        (one_class, "only one class, 'a'"),
        (loose_files, "no class folders"),
        (mixed, r"mix kinds of files: .*\(image\), .*\(audio\)"),
        (unknown_files, "nothing that can be read"),
        (no_path, r"a.csv row 2: .*1.png does not exist"),
        (empty_cell, "a.csv row 2: column 'file' is empty"),
        (no_label, "a.csv row 2: the label is missing"),
        (no_rows, "a.csv: the table has no rows"),
        (ragged_csv, "a.csv: the table cannot be read .*Row #3"),
        (no_input, "no column looks like an input"),
        (torn_parquet, "a.parquet: the table cannot be read"),
        (torn_npz, "a.npz: cannot be read"),
        (no_labels_in_arrays, "no array of labels"),
        (unlike_lengths, "3 examples but 4 labels"),
        (two_arrays_of_one_name, "b.npz: a second array 'x'"),
        (ts_word, "a.ts:3: a value is not a number"),
        (ts_channels, "a.ts:3: 2 channels where the first series has 1"),
        (ts_no_label, "a.ts:2: there is no label"),
        (ts_stamps, "a.ts:2: series with time stamps"),
        (yaml_key, "dataset.yaml: nothing is called 'fould'; did you mean 'fold'"),
        (yaml_kind, "'imagee': there is no such kind of signal; did you mean 'image'"),
        (yaml_column, "a.csv: no column is called 'color'; did you mean 'colour'"),
        (yaml_splits, "nowhere: there is no such folder"),
        (yaml_group_in_folders, "class folders have no columns, so `group` means nothing"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_input(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        open_source(make(tmp_path))
    assert "\n" not in str(error.value)


def test_files_of_a_split_are_read_one_after_the_other(tmp_path: Path) -> None:
    """By their numbers, the tenth after the second; each example keeps its label, and its rows stay in its file."""
    for part, count in ((0, 3), (1, 2), (2, 4), (10, 1)):
        values = 1000.0 * part + np.arange(count * 6 * 3).reshape(count, 6, 3)
        np.savez(tmp_path / f"part_train{part}.npz", points=values, label=10 * part + np.arange(count))
    np.savez(tmp_path / "part_test0.npz", points=np.zeros((2, 6, 3)), label=np.arange(2))
    splits = open_source(tmp_path).splits
    train = splits["train"]
    assert list(train.names) == [f"train {number}" for number in range(1, 11)]
    assert [int(raw[0, 0]) // 1000 for raw in train.raws["points"]] == [0, 0, 0, 1, 1, 2, 2, 2, 2, 10]
    assert [int(raw[0, 0]) % 1000 for raw in train.raws["points"]] == [0, 18, 36, 0, 18, 0, 18, 36, 54, 0]
    classes = open_source(tmp_path).classes
    assert [int(classes[target]) // 10 for target in train.targets] == [0, 0, 0, 1, 1, 2, 2, 2, 2, 10]  # type: ignore
    assert len(splits["test"]) == 2


def test_the_description_is_yaml(tmp_path: Path) -> None:
    source = open_source(folders(tmp_path, {"a": 5, "b": 5}))
    write(tmp_path / "dataset.yaml", to_yaml(source.description))
    assert open_source(tmp_path).description == source.description


def test_descriptions_that_are_shipped_can_be_read() -> None:
    for path in (Path(__file__).parents[2] / "examples" / "datasets").glob("*.yaml"):
        assert read_description(path).inputs
