"""What a model says of files, folders, arrays, tables and values of Python: the same of the same example."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import soundfile
import torch
from PIL import Image

import sensorium as sm
from sensorium.config import to_dict
from sensorium.data import DataConfig, InputConfig, TargetConfig
from sensorium.errors import InputError
from sensorium.inference.opened import open_run
from sensorium.inference.predict import iter_answers
from sensorium.modalities import AudioConfig, FusionConfig, ImageConfig, SeriesConfig, TableConfig, TextConfig
from sensorium.modalities.table import Column
from sensorium.models import checkpoints
from sensorium.models.perceiver import Perceiver
from sensorium.tasks import RegressConfig
from small_models import IMAGE, POINTS, classes, small_model

SERIES = SeriesConfig(channels=2, length=12, mean=(0.0, 0.0), std=(1.0, 1.0))
TEXT = TextConfig(length=20, channels=8)
# Numbers, because they differ between examples where the probabilities of a model of random weights are all 0 and 1.
NUMBERS = RegressConfig(classes=("a", "b", "c"), mean=(0.0,) * 3, std=(1.0,) * 3)
COLUMNS = (
    Column(name="age", mean=40.0, std=10.0, low=20.0, high=60.0),
    Column(name="city", kind="category", categories=("Oslo", "Rome")),
    Column(name="height", mean=1.7, std=0.1, low=1.5, high=2.0),
)
TABLE = TableConfig(columns=COLUMNS, channels=8)
LINES = [
    {"age": 30.0, "city": "Rome", "height": 1.8},
    {"age": 51.0, "city": "Oslo", "height": 1.6},
    {"age": 44.0, "city": "Rome", "height": None},
    {"age": 20.0, "city": "Oslo", "height": 1.9},
]


def saved(model: Perceiver, folder: Path, description: DataConfig | None = None) -> Path:
    """A run folder with the model, trained on data of this description."""
    checkpoints.save(model, folder)
    if description is not None:
        values = {"format": checkpoints.FORMAT, "data": to_dict(description)}
        (folder / "config.yaml").write_text(json.dumps(values))
    return folder


def table_run(folder: Path, task: Any = None) -> Path:
    """A model of rows of a table, whose target is the column ``mood``."""
    target = TargetConfig(column="mood")
    inputs = {"table": InputConfig(kind="table", column=("age", "city", "height"))}
    return saved(small_model(TABLE, task or NUMBERS), folder, DataConfig(layout="table", inputs=inputs, target=target))


def scores(answers: list[sm.Answer]) -> np.ndarray:
    """Examples × classes, in the order of the classes' names."""
    assert all(answer.error is None for answer in answers), answers
    return np.array([[answer.scores[name] for name in sorted(answer.scores)] for answer in answers])


# -- the same example, the same answer ------------------------------------------------------------------------------


@dataclass
class Kind:
    """A model's configuration, some examples, and how one is written to a file with this ending."""

    config: Any
    examples: list[Any]
    suffix: str
    write: Callable[[Any, Path], Any]


def write_csv(values: np.ndarray, path: Path) -> None:
    np.savetxt(path, values, delimiter=",", fmt="%.9g", header="a,b", comments="")


def noise(shape: tuple[int, ...], count: int = 4) -> list[np.ndarray]:
    return list(np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32))


KINDS = {
    "series": Kind(SERIES, noise((12, 2)), ".csv", write_csv),
    "series.npy": Kind(SERIES, noise((12, 2)), ".npy", lambda values, path: np.save(path, values)),
    "points": Kind(POINTS, noise((12, 3)), ".xyz", lambda values, path: np.savetxt(path, values, fmt="%.9g")),
    "image": Kind(
        IMAGE,
        list(np.random.default_rng(0).integers(0, 256, (4, 6, 6), np.uint8)),
        ".png",
        lambda values, path: Image.fromarray(values).save(path),
    ),
    "audio": Kind(
        AudioConfig(rate=8000, samples=800, window=200, hop=80),
        [0.1 * wave for wave in noise((800,))],
        ".wav",
        lambda wave, path: soundfile.write(path, wave, 8000, subtype="FLOAT"),
    ),
    "text": Kind(TEXT, ["a good film", "bad", "so so", "æøå"], ".txt", lambda text, path: path.write_text(text)),
}


@pytest.mark.parametrize("name", KINDS)
def test_an_answer_does_not_depend_on_how_the_example_comes(name: str, tmp_path: Path) -> None:
    """By file, in a folder, as a value, in an array with others, alone, as a tensor; in order."""
    kind = KINDS[name]
    run = saved(small_model(kind.config, NUMBERS), tmp_path / "run")
    folder = tmp_path / "files" / "deep"
    folder.mkdir(parents=True)
    files = [folder / f"{number + 8}{kind.suffix}" for number in range(4)]  # 10 comes after 9
    for values, path in zip(kind.examples, files, strict=True):
        kind.write(values, path)
    (folder / "notes.pdf").write_bytes(b"%PDF")
    expected = scores([sm.predict(run, path)[0] for path in files])
    assert np.ptp(expected, axis=0).min() > 1e-2  # the examples differ
    ways: dict[str, Any] = {
        "files": files,
        "names of files": list(map(str, files)),
        "folder": folder.parent,
        "list": kind.examples,
        "file and value": [files[0], kind.examples[1], str(files[2]), kind.examples[3]],
    }
    if kind.suffix != ".txt":
        ways |= {
            "array": np.stack(kind.examples),
            "tensor": torch.from_numpy(np.stack(kind.examples)),
            "tensors": [torch.from_numpy(values) for values in kind.examples],
            "by name": {name.partition(".")[0]: np.stack(kind.examples)},
        }
    for way, values in ways.items():
        np.testing.assert_allclose(scores(sm.predict(run, values)), expected, atol=1e-4, err_msg=way)
    for number, values in enumerate(kind.examples):
        (alone,) = sm.predict(run, values)
        np.testing.assert_allclose(scores([alone])[0], expected[number], atol=1e-4)
        assert alone.file == "example 1"
    np.testing.assert_allclose(scores(sm.predict(run, kind.examples[::-1])), expected[::-1], atol=1e-4)
    names = [answer.file for answer in sm.predict(run, folder.parent)]
    assert names == [f"deep/{number + 8}{kind.suffix}" for number in range(4)]
    model, examples = open_run(run, folder.parent)
    assert examples.notes == (f"{folder.parent}: 1 other files were left out, for example deep/notes.pdf",)
    np.testing.assert_allclose(scores(sm.predict(model, files)), expected, atol=1e-4)


def test_pictures_of_pillow_and_channels_first(tmp_path: Path) -> None:
    """A picture answers as its file does, with a palette too; torch's channels are where it has them."""
    run = saved(small_model(ImageConfig(size=(6, 8), patch=(2, 2), bands=3), NUMBERS), tmp_path / "run")
    values = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    picture = Image.fromarray(values)
    expected = scores(sm.predict(run, values))
    np.testing.assert_allclose(scores(sm.predict(run, picture)), expected, atol=1e-4)
    np.testing.assert_allclose(scores(sm.predict(run, [picture, values])), expected.repeat(2, 0), atol=1e-4)
    floats = torch.from_numpy(values).permute(2, 0, 1) / 255
    np.testing.assert_allclose(scores(sm.predict(run, floats)), expected, atol=1e-4)
    np.testing.assert_allclose(scores(sm.predict(run, floats[None])), expected, atol=1e-4)
    palette = picture.quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_allclose(
        scores(sm.predict(run, palette)), scores(sm.predict(run, tmp_path / "palette.png")), atol=1e-4
    )
    picture.save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    np.testing.assert_allclose(scores(sm.predict(run, content)), expected, atol=1e-4)


def test_an_array_and_its_rate(tmp_path: Path) -> None:
    """Sound of another rate is resampled, as that of a file is."""
    run = saved(small_model(AudioConfig(rate=8000, samples=800, window=200, hop=80), NUMBERS), tmp_path / "run")
    wave = noise((1600,), 1)[0] / 10
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="FLOAT")
    expected = scores(sm.predict(run, tmp_path / "a.wav"))
    np.testing.assert_allclose(scores(sm.predict(run, (wave, 16000))), expected, atol=1e-4)


# -- tables -----------------------------------------------------------------------------------------------------------


class Frame:
    """What a table of pandas has, as far as it is used."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.values = columns
        self.columns = list(columns)

    def __getitem__(self, name: str) -> list[Any]:
        return self.values[name]

    def to_dict(self) -> dict[str, Any]:
        raise AssertionError("its columns are asked for instead")


class ArrowFrame:
    """What a table of polars has: Arrow data."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.columns = table.column_names

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def test_rows_of_a_table_in_every_way(tmp_path: Path) -> None:
    """Neither the order of columns nor other columns matter, nor whether the target is there."""
    run = table_run(tmp_path / "run")
    expected = np.concatenate([scores(sm.predict(run, line)) for line in LINES])
    assert np.ptp(expected, axis=0).min() > 1e-2
    table = pa.Table.from_pylist(LINES)
    columns = table.to_pydict()
    shuffled = pa.table({"note": ["x"] * 4, "height": table["height"], "mood": ["?"] * 4, "city": table["city"]})
    shuffled = shuffled.append_column("age", table["age"])
    pa.csv.write_csv(table, tmp_path / "lines.csv")
    pa.parquet.write_table(shuffled, tmp_path / "shuffled.parquet")
    ways: dict[str, Any] = {
        "arrow": table,
        "shuffled": shuffled,
        "columns": columns,
        "lines": LINES,
        "values in order": [list(line.values()) for line in LINES],
        "pandas": Frame(columns),
        "polars": ArrowFrame(shuffled),
        "csv": tmp_path / "lines.csv",
        "parquet": tmp_path / "shuffled.parquet",
    }
    for way, values in ways.items():
        answers = sm.predict(run, values)
        np.testing.assert_allclose(scores(answers), expected, atol=1e-4, err_msg=way)
        assert {answer.target for answer in answers} == {"mood"}
        assert not any(answer.remarks for answer in answers)
    assert [answer.file for answer in sm.predict(run, table)] == [f"row {number}" for number in range(1, 5)]
    both = sm.predict(run, tmp_path)
    assert [answer.file for answer in both][3:5] == ["lines.csv row 4", "shuffled.parquet row 1"]
    assert len(sm.predict(run, [tmp_path / "lines.csv", LINES[0]])) == 5
    assert len(sm.predict(run, list(LINES[0].values()))) == 1


def test_tables_of_texts_and_of_paths(tmp_path: Path) -> None:
    """A model that was trained on a column reads that column of any table; and of a table of one column, that one."""
    description = DataConfig(layout="table", inputs={"text": InputConfig(kind="text", column="review")})
    run = saved(small_model(TEXT, NUMBERS), tmp_path / "run", description)
    expected = scores(sm.predict(run, ["good", "bad"]))
    table = pa.table({"stars": [1, 2], "review": ["good", "bad"]})
    np.testing.assert_allclose(scores(sm.predict(run, table)), expected, atol=1e-4)
    np.testing.assert_allclose(scores(sm.predict(run, pa.table({"x": ["good", "bad"]}))), expected, atol=1e-4)
    np.testing.assert_allclose(scores(sm.predict(run, np.array(["good", "bad"]))), expected, atol=1e-4)
    description = DataConfig(layout="table", inputs={"image": InputConfig(kind="image", column="photo")})
    run = saved(small_model(IMAGE, NUMBERS), tmp_path / "pictures", description)
    (tmp_path / "data" / "photos").mkdir(parents=True)
    Image.fromarray(np.zeros((6, 6), np.uint8)).save(tmp_path / "data" / "photos" / "a.png")
    (tmp_path / "data" / "list.csv").write_text("photo,label\nphotos/a.png,x\nphotos/gone.png,y\n,z\n")
    (found, gone, empty) = sm.predict(run, tmp_path / "data")
    assert scores([found]) == pytest.approx(scores(sm.predict(run, tmp_path / "data" / "photos" / "a.png")))
    assert gone.error is not None
    assert empty.error == "it is empty; fill it in or remove the row"


def test_a_table_is_one_series_for_a_model_of_series(tmp_path: Path) -> None:
    run = saved(small_model(SERIES, NUMBERS), tmp_path / "run")
    (values,) = noise((12, 2), 1)
    table = pa.table({"a": values[:, 0], "b": values[:, 1]})
    np.testing.assert_allclose(scores(sm.predict(run, table)), scores(sm.predict(run, values)), atol=1e-4)


# -- arrays in files --------------------------------------------------------------------------------------------------


def test_array_files_with_and_without_labels(tmp_path: Path) -> None:
    """One example or many, as the shape says; labels, the names of channels and other splits do not matter."""
    description = DataConfig(
        layout="arrays",
        inputs={"series": InputConfig(kind="series", column="x")},
        target=TargetConfig(column="activity"),
    )
    run = saved(small_model(SERIES, NUMBERS), tmp_path / "run", description)
    values = np.stack(noise((12, 2)))
    expected = scores(sm.predict(run, values))
    arrays: dict[str, dict[str, np.ndarray]] = {
        "labelled.npz": {"x": values, "activity": np.zeros(4), "classes": np.array(["a", "b", "c"])},
        "splits.npz": {"x_train": values[:3], "x_test": values[3:], "activity_train": np.zeros(3)},
        "other_key.npz": {"recordings": values},
        "named_channels.npz": {"x": values.swapaxes(1, 2), "channels": np.array(["a", "b"])},
    }
    for name, content in arrays.items():
        np.savez(tmp_path / name, **content)  # type: ignore[arg-type]
        np.testing.assert_allclose(scores(sm.predict(run, tmp_path / name)), expected, atol=1e-4, err_msg=name)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = values
    np.save(tmp_path / "many.npy", values)
    np.save(tmp_path / "one.npy", values[0])
    for name in ("a.h5", "many.npy"):
        answers = sm.predict(run, tmp_path / name)
        np.testing.assert_allclose(scores(answers), expected, atol=1e-4, err_msg=name)
        assert answers[2].file == f"{tmp_path / name} example 3"
    (one,) = sm.predict(run, tmp_path / "one.npy")
    assert (one.file, one.target) == (str(tmp_path / "one.npy"), "activity")
    np.savez(tmp_path / "unclear.npz", left=values, right=values)
    with pytest.raises(InputError, match=r"unclear.npz: no array is called 'x'; known: left, right"):
        sm.predict(run, tmp_path / "unclear.npz")


def test_axes_are_those_of_training(tmp_path: Path) -> None:
    """Data with channels first are predicted with channels first."""
    inputs = {"series": InputConfig(kind="series", column="x", axes=("channels", "time"))}
    run = saved(small_model(SERIES, NUMBERS), tmp_path / "run", DataConfig(layout="arrays", inputs=inputs))
    model = checkpoints.load(run)
    values = np.stack(noise((12, 2)))
    expected = scores(sm.predict(model, values))
    np.testing.assert_allclose(scores(sm.predict(run, values.swapaxes(1, 2))), expected, atol=1e-4)
    np.testing.assert_allclose(scores(sm.predict(run, values[1].T)), expected[1:2], atol=1e-4)
    np.save(tmp_path / "one.npy", values[1].T)
    np.testing.assert_allclose(scores(sm.predict(run, tmp_path / "one.npy")), expected[1:2], atol=1e-4)


# -- several modalities -----------------------------------------------------------------------------------------------


def test_several_modalities(tmp_path: Path) -> None:
    """Dicts of arrays of many examples, of one, of files; and files of one name."""
    model = small_model(FusionConfig(modalities={"image": IMAGE, "series": SERIES}), NUMBERS)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 6, 6), np.uint8)
    series = np.stack(noise((12, 2), 3))
    expected = scores(sm.predict(model, {"image": pictures, "series": torch.from_numpy(series)}))
    lines = [{"image": picture, "series": each} for picture, each in zip(pictures, series, strict=True)]
    np.testing.assert_allclose(scores(sm.predict(model, lines)), expected, atol=1e-4)
    np.testing.assert_allclose(scores(sm.predict(model, lines[1])), expected[1:2], atol=1e-4)
    for number, line in enumerate(lines):
        Image.fromarray(line["image"]).save(tmp_path / f"{number}.png")
        np.save(tmp_path / f"{number}.npy", line["series"])
    np.testing.assert_allclose(scores(sm.predict(model, tmp_path)), expected, atol=1e-4)
    mixed = [{"image": Image.fromarray(pictures[0]), "series": str(tmp_path / "0.npy")}, lines[1]]
    np.testing.assert_allclose(scores(sm.predict(model, mixed)), expected[:2], atol=1e-4)
    np.savez(tmp_path / "all.npz", image=pictures, series=series, label=np.zeros(3))
    np.testing.assert_allclose(scores(sm.predict(model, tmp_path / "all.npz")), expected, atol=1e-4)
    alone = scores(sm.predict(model, {"image": pictures}))  # the series is absent
    assert alone.shape == expected.shape
    for wrong, reason in {
        "the model reads several signals": pictures,
        "the model reads no signal 'sound'": {"sound": series},
        "as many examples of each signal are needed, not 3 of image, 2 of series": {
            "image": pictures,
            "series": series[:2],
        },
        "series: 3 channels, the model reads 2": {"image": pictures, "series": np.zeros((3, 12, 3))},
    }.items():
        with pytest.raises(InputError, match=wrong):
            sm.predict(model, reason)


# -- remarks ----------------------------------------------------------------------------------------------------------

ODD = {
    "column 'age' is missing and was taken as a gap; there is 'Age'": {"Age": 30, "city": "Rome", "height": 1.8},
    "column 'height' is missing and was taken as a gap": {"age": 30, "city": "Rome"},
    "column 'city': 'Paris' did not occur in training and was taken as a gap": {
        "age": 30,
        "city": "Paris",
        "height": 1.8,
    },
    "column 'height': 180 is far outside of 1.5 to 2, the range in training": {
        "age": 30,
        "city": "Rome",
        "height": 180,
    },
}


@pytest.mark.parametrize("remark", ODD)
def test_remarks_and_strict(remark: str, tmp_path: Path) -> None:
    """What is odd is said of its row alone; with ``strict`` it is an error that names the row."""
    run = table_run(tmp_path / "run")
    odd = ODD[remark]
    (answer,) = sm.predict(run, odd)
    assert answer.remarks == (remark,)
    assert answer.answer is not None
    fine, other = sm.predict(run, [LINES[0], odd])
    assert (fine.remarks, other.remarks) == ((), (remark,))
    pa.csv.write_csv(pa.Table.from_pylist([odd]), tmp_path / "odd.csv")
    with pytest.raises(InputError) as caught:
        sm.predict(run, tmp_path / "odd.csv", strict=True)
    assert str(caught.value) == f"{tmp_path / 'odd.csv'} row 1: {remark}; correct it, or leave out --strict"
    with pytest.raises(InputError, match="example 2: column"):
        sm.predict(run, [LINES[0], odd], strict=True, out=tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
    assert len(sm.predict(run, LINES, strict=True)) == 4


def test_a_column_that_is_missing_for_a_whole_signal_is_a_note(tmp_path: Path) -> None:
    inputs = {
        "image": InputConfig(kind="image", column="photo"),
        "table": InputConfig(kind="table", column=("age", "city", "height")),
    }
    model = small_model(FusionConfig(modalities={"image": IMAGE, "table": TABLE}), NUMBERS)
    run = saved(model, tmp_path / "run", DataConfig(layout="table", inputs=inputs))
    pa.csv.write_csv(
        pa.Table.from_pylist([{**LINES[0], "Photo": "a.png"}, LINES[1] | {"city": "Paris"}]), tmp_path / "t.csv"
    )
    _, examples = open_run(run, tmp_path / "t.csv")
    assert "no column is called 'photo', so image was taken to be absent; did you mean 'Photo'?" in examples.notes[0]
    assert "'Paris' did not occur" in sm.predict(run, tmp_path / "t.csv")[1].remarks[0]


# -- what cannot be read ----------------------------------------------------------------------------------------------

SERIES_ERRORS: dict[str, Any] = {
    "example 1: 3 channels, the model reads 2; give the same channels": np.zeros((4, 12, 3)),
    "example 1: 12 channels, the model reads 2; is it transposed?": np.zeros((4, 2, 12)),
    "an array of complex128 is no signal; give integers or floats": np.zeros((4, 12, 2), complex),
    "an array of shape (0, 12, 2) holds nothing": np.zeros((0, 12, 2)),
    "there is nothing but NaN in it": np.full((12, 2), np.nan),
    "there are infinite values in it": np.full((12, 2), np.inf),
    "an array of 5 axes; the model reads series, of many examples 3 axes": np.zeros((1, 1, 4, 12, 2)),
    "a object cannot be read; give paths, arrays": object(),
    "nothing.csv: there is no such file or folder": "nothing.csv",
    "there is nothing to answer": [],
    "the model reads no signal 'sound'": {"sound": np.zeros((12, 2))},
}


@pytest.mark.parametrize("reason", SERIES_ERRORS)
def test_what_cannot_be_read_is_said_in_one_sentence(reason: str) -> None:
    model = small_model(SERIES, NUMBERS)
    for ask in (sm.predict, sm.embed):
        with pytest.raises(InputError) as caught:
            ask(model, SERIES_ERRORS[reason])
        assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1.0, "Rome"], "2 values, the model reads 3 columns"),
        (np.zeros((5, 4)), "4 values, the model reads 3 columns"),
        (["a.csv", "b.csv"], "a.csv: there is no such file or folder"),
        ({"Height": 1}, "none of its columns is one that the model reads (age, city, height); did you mean 'height'?"),
        (pa.table({"depth": [1]}), "none of its columns is one that the model reads (age, city, height)"),
        (pa.table({"age": pa.array([], pa.float64())}), "the table has no rows"),
        ({"age": "old"}, "age = 'old' is not a finite number"),
    ],
)
def test_bad_rows(values: Any, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        sm.predict(small_model(TABLE, NUMBERS), values)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((6, 6), 128.0), "floats up to 128 are no picture; divide them by 255, or give uint8"),
        (np.full((6, 6), 300), "integers from 300 to 300 are no picture; give uint8, 0 to 255"),
        (np.full((6, 6), np.nan), "NaN or infinite values"),
    ],
)
def test_pictures_of_another_range(values: np.ndarray, reason: str) -> None:
    """They would be white all over."""
    with pytest.raises(InputError, match=reason):
        sm.predict(small_model(IMAGE, NUMBERS), values)


def test_what_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    """Of many examples the others are answered as if it were not there, wherever it is; of none, it is an error."""
    model = small_model(SERIES, NUMBERS)
    values = noise((12, 2), 150)
    expected = scores(sm.predict(model, values))
    bad = [*sorted(random.Random(0).sample(range(149), 8)), 149]
    broken: list[Any] = [np.full((12, 2), np.inf) if number in bad[:5] else each for number, each in enumerate(values)]
    for number in bad[5:]:
        broken[number] = np.zeros((12, 3))
    answers = sm.predict(model, broken)
    assert [number for number, answer in enumerate(answers) if answer.error] == sorted(set(bad))
    good = [number for number in range(150) if number not in bad]
    np.testing.assert_allclose(scores([answers[number] for number in good]), expected[good], atol=1e-4)
    assert [answer.file for answer in answers] == [f"example {number}" for number in range(1, 151)]
    first = answers[min(bad)]
    assert first.answer is None
    assert first.to_dict().keys() == {"file", "scores", "error"}
    with pytest.raises(InputError, match=rf"^example {min(bad) + 1}: "):
        sm.predict(model, broken, strict=True)
    with pytest.raises(InputError, match=rf"^example {min(bad) + 1}: "):
        sm.embed(model, broken)
    with pytest.raises(InputError, match=r"^example 1: .*\(none of 2 examples can be read\)"):
        sm.predict(model, [broken[bad[0]]] * 2, out=tmp_path / "none.csv")
    assert not list(tmp_path.iterdir())
    np.save(tmp_path / "a.npy", values[0])
    (tmp_path / "b.npy").write_bytes(b"")
    np.save(tmp_path / "c.npy", np.zeros((2, 12)))
    fine, empty, transposed = sm.predict(model, tmp_path)
    assert fine.error is None
    assert empty.error is not None
    assert transposed.error == "12 channels, the model reads 2; is it transposed?"


def test_examples_are_decoded_as_they_are_answered() -> None:
    """The first answer comes when no more than a batch is decoded."""
    model = small_model(SERIES, NUMBERS)
    _, examples = open_run(model, noise((12, 2), 300))
    decoded = []
    load = model.inputs.load
    model.inputs.load = lambda raw: decoded.append(raw) or load(raw)  # type: ignore[func-returns-value, method-assign]
    done: list[tuple[int, int]] = []
    found = iter_answers(model, examples, progress=lambda *counts: done.append(counts))
    next(found)
    assert len(decoded) == 64
    assert len(list(found)) == 299
    assert done == [(64, 300), (128, 300), (192, 300), (256, 300), (300, 300)]


# -- tables of answers ------------------------------------------------------------------------------------------------


def test_answers_are_written_as_tables(tmp_path: Path) -> None:
    """A row for each example: the answer below the target's name, all classes in their order, remarks and errors."""
    run = table_run(tmp_path / "run", classes(3))
    lines = [*LINES, {"age": 30.0, "city": "Paris", "height": 1.8}, {"age": "old"}]
    answers = sm.predict(run, lines, out=tmp_path / "out.csv", top=1)
    assert all(len(answer.scores) == 1 for answer in answers[:5])
    table = pa.csv.read_csv(tmp_path / "out.csv")
    columns = ["file", "mood", "score class 0", "score class 1", "score class 2", "remarks", "error"]
    assert table.column_names == columns
    rows = table.to_pylist()
    assert [row["mood"] or None for row in rows] == [answer.answer for answer in answers]
    whole = sm.predict(run, lines, out=tmp_path / "out.parquet", top=3)
    parquet = pa.parquet.read_table(tmp_path / "out.parquet")
    assert parquet.column_names == columns
    for row, answer in zip(parquet.to_pylist()[:5], whole, strict=False):
        assert {name: row[f"score {name}"] for name in answer.scores} == answer.scores
    assert parquet["remarks"].to_pylist()[3:5] == [None, next(iter(whole[4].remarks))]
    assert "'old' is not a finite number" in parquet["error"].to_pylist()[5]
    assert parquet["mood"].to_pylist()[5] is None
    sm.predict(run, lines, out=tmp_path / "out.jsonl", top=1)
    text = (tmp_path / "out.jsonl").read_text().splitlines()
    assert len(text) == 6
    with pytest.raises(InputError):
        sm.predict(run, lines, out=tmp_path / "out.csv", strict=True)
    assert pa.csv.read_csv(tmp_path / "out.csv") == table  # the old one is still there


@pytest.mark.parametrize(
    ("names", "target", "called"),
    [
        (("value 1",), "price", ["price"]),
        (("value 1",), None, ["answer"]),
        (("value 1", "value 2"), "corner", ["corner 1", "corner 2"]),
        (("width", "depth"), ("width", "depth"), ["width", "depth"]),
    ],
)
def test_numbers_are_called_as_their_target_is(
    names: tuple[str, ...], target: Any, called: list[str], tmp_path: Path
) -> None:
    count = len(names)
    task = RegressConfig(classes=names, mean=(1.0,) * count, std=(2.0,) * count)
    run = saved(small_model(SERIES, task), tmp_path / "run", DataConfig(target=TargetConfig(column=target)))
    (answer,) = sm.predict(run, noise((12, 2), 1)[0], out=tmp_path / "out.csv")
    assert list(answer.answer) == called  # type: ignore[arg-type]
    assert answer.answer == answer.scores
    table = pa.csv.read_csv(tmp_path / "out.csv")
    assert table.column_names == ["file", *called, "remarks", "error"]
    assert [table[name][0].as_py() for name in called] == pytest.approx(list(answer.scores.values()))


# -- embeddings -------------------------------------------------------------------------------------------------------


def test_embeddings_are_the_mean_of_the_latents(tmp_path: Path) -> None:
    model = small_model(SERIES, NUMBERS)
    run = saved(model, tmp_path / "run")
    values = np.stack(noise((12, 2), 70))
    found = sm.embed(run, values)
    assert (found.shape, found.dtype) == ((70, 8), np.float32)
    with torch.no_grad():
        expected = model.eval().encode(model.inputs.view({"series": torch.from_numpy(values)})).mean(1)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
    np.testing.assert_allclose(sm.embed(model, values[3]), found[3:4], atol=1e-4)


def test_the_public_names() -> None:
    assert {"predict", "embed", "Answer", "__version__"} <= set(dir(sm))
    assert all(getattr(sm, name) is not None for name in dir(sm))
    assert sm.__version__[0].isdigit()
