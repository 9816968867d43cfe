"""Data that are larger than memory: nothing is read before it is needed, and what is read is the same."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sensorium.codecs import arrays, bounds, large, row_groups, tars
from sensorium.data import open_source
from sensorium.data.description import DataConfig, InputConfig, TargetConfig
from sensorium.data.layouts import tables
from sensorium.data.layouts.find import layout_of
from sensorium.data.layouts.members import index_shards
from sensorium.data.recognition.columns import Cells
from sensorium.data.shard_writer import write_shards
from sensorium.data.stores import FEWEST_MET, check_problems
from sensorium.data.unlabelled.single_files import open_files
from sensorium.errors import InputError
from sensorium.modalities import ImageConfig, SeriesConfig, build_modality

NAMES = ("a.png", "folder/b.seg.png", "ä" * 30 + ".txt", "long/" * 15 + "x" * 60 + ".jpg")


def write_tar(path: Path, files: dict[str, bytes], form: int = tarfile.USTAR_FORMAT) -> Path:
    """A tar as Python's own library writes it."""
    with tarfile.open(path, "w", format=form) as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return path


def picture(number: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((8, 8), number % 251, np.uint8)).save(content, "PNG")
    return content.getvalue()


# -- tars


def listed(path: Path) -> list[tuple[str, int, int]]:
    """Name, offset and size of each file in a tar."""
    found = tars.members(path)
    names = [name.decode("utf-8", "surrogateescape") for name in found.names.tolist()]
    return list(zip(names, found.offsets.tolist(), found.sizes.tolist(), strict=True))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "./", "a/", "b.c/", "long/" * 30]),
            st.text("ab.é", min_size=1, max_size=5).filter(lambda name: name.strip(".") != ""),
            st.sampled_from([0, 1, 511, 512, 513, 20_000]),
        ),
        max_size=12,
    ),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.integers(1, 40),
)
def test_headers_looked_at_together_are_those_of_tarfile(
    entries: list[tuple[str, str, int]], form: int, window: int
) -> None:
    """Wherever the windows end, and wherever a header is one that is looked at alone."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tars, "_WINDOW", window)
        path = Path(folder, "a.tar")
        with tarfile.open(path, "w", format=form) as archive:
            for start, name, size in entries:
                header = tarfile.TarInfo(start + name)
                header.size = size
                archive.addfile(header, io.BytesIO(bytes(size)))
        with tarfile.open(path) as archive:
            expected = [(one.name.removeprefix("./"), one.offset_data, one.size) for one in archive]
        assert listed(path) == expected


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_of_tarfile(form: int, tmp_path: Path) -> None:
    files = {name: bytes([number]) * (700 * number) for number, name in enumerate(NAMES)}
    if form != tarfile.USTAR_FORMAT:
        files["l/" * 90 + "y" * 150 + ".png"] = b"long"
    path = write_tar(tmp_path / "a.tar", files, form)
    with tarfile.open(path) as archive:
        assert listed(path) == [(one.name, one.offset_data, one.size) for one in archive if one.isfile()]
    assert {name: tars.read_member(path, begin, size) for name, begin, size in listed(path)} == files


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    writer = tars.TarWriter(tmp_path / "a.tar")
    for number in range(5):
        writer.add(f"{number}.txt", b"x" * number * 300)
    writer.close()
    assert tars.members(tmp_path / "a.tar").sizes.tolist() == [0, 300, 600, 900, 1200]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:1500], "cut short"),
        (lambda content: content[:100], "not a tar"),
        (lambda content: b"", "empty"),
        (lambda content: b"\x1f\x8b" + content, "gunzip"),
        (lambda content: content[:124] + b"zzzzzzzzzzz" + content[135:], "damaged"),
        (lambda content: b"PK" + content[2:], "not a tar"),
    ],
)
def test_damaged_tars_are_refused_in_one_line(damage: Callable[[bytes], bytes], said: str, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"a.png": b"x" * 2000})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=said) as caught:
        tars.members(path)
    assert "a.tar" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_of_one_key_are_an_example(tmp_path: Path) -> None:
    """Wherever they stand in the tar, and whatever the case of their endings; hidden files are left out."""
    files = {
        "1.jpg": b"a",
        "2.CLS": b"b",
        "2.jpg": b"c",
        "1.cls": b"d",
        "3.jpg": b"e",
        "._3.jpg": b"f",
        "x/1.jpg": b"g",
    }
    shards = index_shards([write_tar(tmp_path / "0.tar", files), write_tar(tmp_path / "1.tar", {"1.jpg": b"h"})])
    assert shards.keys.tolist() == [b"1", b"2", b"3", b"x/1", b"1"]
    assert list(shards.members(["jpg"], "image")) == [b"a", b"c", b"e", b"g", b"h"]
    assert shards.contents("cls") == [b"d", b"b", None, None, None]
    assert list(pickle.loads(pickle.dumps(shards.members(["cls"], "text")))) == [b"d", b"b", None, None, None]


def test_names_with_many_points_are_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", {f"scan.{number}.png": b"x" for number in range(100)})
    with pytest.raises(InputError, match="rename"):
        index_shards([path])


def test_shards_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A folder that is there is refused; unreadable files are set aside; more than 1 % of them leave nothing."""
    data = tmp_path / "data"
    for number in range(400):
        folder = data / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:03}.png").write_bytes(picture(number))
    source = open_source(data)
    lost = Path(str(source.splits["train"].raws["image"][7]))
    lost.unlink()
    written = write_shards(source, tmp_path / "shards", megabytes=0.1)
    assert sum(written.examples.values()) == 399
    assert [line.partition(":")[0] for line in written.set_aside] == [f"{lost.parent.name}/{lost.name}"]
    assert written.shards == len(list((tmp_path / "shards").glob("*.tar"))) > 3
    with pytest.raises(InputError, match="there already"):
        write_shards(source, tmp_path / "shards")
    for path in data.rglob("1*.png"):
        path.unlink(missing_ok=True)
    with pytest.raises(InputError, match="No such file"):
        write_shards(source, tmp_path / "others")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "shards"]


# -- arrays


def array_files(folder: Path) -> tuple[np.ndarray, dict[str, Path]]:
    """An array, and files of it."""
    values = np.random.default_rng(0).normal(size=(40, 6, 5)).astype(np.float32)
    paths = {name: folder / name for name in ("plain.npz", "packed.npz", "fortran.npy", "whole.h5", "chunks.h5")}
    np.savez(paths["plain.npz"], other=np.arange(40), x=values)
    np.savez_compressed(paths["packed.npz"], x=values)
    np.save(paths["fortran.npy"], np.asfortranarray(values))
    with h5py.File(paths["whole.h5"], "w") as file:
        file["x"] = values
    with h5py.File(paths["chunks.h5"], "w") as file:
        file.create_dataset("x", data=values, chunks=(7, 6, 5), compression="gzip")
    return values, paths


@pytest.mark.parametrize("name", ["plain.npz", "packed.npz", "fortran.npy", "whole.h5", "chunks.h5"])
def test_large_arrays_stay_in_their_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And hold the same numbers: rows, slices, lists of rows, in any order of their axes, in another process too."""
    monkeypatch.setattr(large, "SIZE", 64)
    values, paths = array_files(tmp_path)
    found: Any = arrays.decode(paths[name])["fortran" if name == "fortran.npy" else "x"]
    assert isinstance(found, np.ndarray if name == "packed.npz" else np.memmap | large.Rows)
    assert (found.shape, found.dtype, found.ndim, len(found), found.size) == (values.shape, values.dtype, 3, 40, 1200)
    for turned, expected in ((found, values), (found.transpose(0, 2, 1), values.transpose(0, 2, 1))):
        np.testing.assert_array_equal(np.asarray(turned), expected)
        for rows in (3, -1, slice(2, 30, 7), [5, 1, 1]):
            np.testing.assert_array_equal(np.asarray(turned[rows]), expected[rows])
    if isinstance(found, large.Rows):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(found))[4], values[4])


def test_arrays_that_unpack_to_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, paths = array_files(tmp_path)
    monkeypatch.setattr(bounds, "memory", lambda: 12000)
    monkeypatch.setattr(large, "SIZE", 64)
    assert set(arrays.decode(paths["plain.npz"])) == {"other", "x"}
    with pytest.raises(InputError, match=r"packed\.npz: .*a quarter of it.*np\.savez"):
        arrays.decode(paths["packed.npz"])


# -- Parquet


def write_parquet(folder: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for shard in range(3):
        numbers = range(40 * shard, 40 * shard + 40)
        cells = [{"bytes": picture(number), "path": None} for number in numbers]
        table = pa.table({"image": pa.array(cells, kind), "label": [number % 2 for number in numbers]})
        parquet.write_table(table, folder / f"train-{shard}.parquet", row_group_size=9)


def test_row_groups_are_read_when_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column of files is the same as if it were read whole; few row groups are kept."""
    write_parquet(tmp_path)
    whole = open_source(tmp_path)
    monkeypatch.setattr(row_groups, "SIZE", 0)
    monkeypatch.setattr(row_groups, "memory", lambda: 32 * 2000)
    streamed = open_source(tmp_path)
    raws = streamed.splits["train"].raws["image"]
    assert {type(part) for part in raws.parts} == {row_groups.RowGroups}  # type: ignore[attr-defined]
    for split, examples in whole.splits.items():
        np.testing.assert_array_equal(streamed.splits[split].targets, examples.targets)  # type: ignore[arg-type]
        assert list(streamed.splits[split].raws["image"]) == list(examples.raws["image"])
        assert list(streamed.splits[split].names) == list(examples.names)
    order = np.random.default_rng(0).permutation(len(raws)).tolist()
    assert [raws[index] for index in order] == [whole.splits["train"].raws["image"][index] for index in order]
    assert sum(group.nbytes for group in row_groups._CACHE._groups.values()) < 4000
    assert pickle.loads(pickle.dumps(raws))[3] == raws[3]


def test_rows_to_predict_are_read_group_by_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Parquet file that is named for a trained model: the same examples as if it were read whole."""
    write_parquet(tmp_path)
    config = DataConfig(layout="table", inputs={"image": InputConfig(kind="image", column="image")})
    modality = build_modality(ImageConfig(size=(8, 8)))
    file = tmp_path / "train-1.parquet"
    whole = open_files([file], modality, description=config).examples
    monkeypatch.setattr(row_groups, "SIZE", 0)
    streamed = open_files([file], modality, description=config).examples
    (raws,) = streamed.raws["image"].parts  # type: ignore[attr-defined]
    assert isinstance(raws, row_groups.RowGroups)
    assert list(raws) == list(whole.raws["image"]) == [picture(number) for number in range(40, 80)]
    assert list(streamed.names) == list(whole.names)


POOLS: list[pa.MemoryPool] = []  # open files keep them in use


@contextmanager
def counted_memory() -> Iterator[pa.MemoryPool]:
    """All that Arrow allocates, which the pool counts."""
    usual = pa.default_memory_pool()
    POOLS.append(pa.proxy_memory_pool(usual))
    pa.set_memory_pool(POOLS[-1])
    try:
        yield POOLS[-1]
    finally:
        pa.set_memory_pool(usual)


class Cell(NamedTuple):
    """A kind of signal in a column.

    Attributes:
        make: the cell of a row.
        type: of the column.
        task: for which it is opened.
    """

    make: Callable[[int], Any]
    type: pa.DataType
    task: Any = None


def letters(number: int) -> str:
    return " ".join(np.random.default_rng(number).choice(["so", "it", "goes", "on"], 400))


def samples(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal(300).astype(np.float32)


CELLS = {
    "files": Cell(lambda number: picture(number) + bytes(1000), pa.binary()),
    "structs": Cell(
        lambda number: {"bytes": picture(number) + bytes(1000), "path": None},
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    ),
    "lists": Cell(samples, pa.list_(pa.float32())),
    "nested lists": Cell(lambda number: samples(number).reshape(3, 100).tolist(), pa.list_(pa.list_(pa.float32()))),
    "texts": Cell(letters, pa.string()),
    "texts without labels": Cell(letters, pa.string(), "none"),
}


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("in_one_file", [True, False])
def test_signals_in_parquet_are_not_read_before_their_turn(
    kind: str, in_one_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a column of signals is: opening the data and an epoch in any order give the same examples as the whole
    table, and Arrow never holds more than a part of it."""
    cell, rows = CELLS[kind], 1200
    for shard in range(1 if in_one_file else 3):
        numbers = range(rows) if in_one_file else range(400 * shard, 400 * shard + 400)
        cells = pa.array([cell.make(number) for number in numbers], cell.type)
        table = pa.table({"signal": cells, "label": [f"class {number % 2}" for number in numbers]})
        parquet.write_table(table, tmp_path / f"data-{shard}.parquet", row_group_size=20)
    path = tmp_path / "data-0.parquet" if in_one_file else tmp_path
    description = DataConfig(target=TargetConfig(task=cell.task))
    whole = open_source(path, description=description).splits["train"]
    size = sum(table.nbytes for table in map(parquet.read_table, tmp_path.glob("*.parquet")))
    monkeypatch.setattr(row_groups, "SIZE", 0)
    monkeypatch.setattr(row_groups, "memory", lambda: size)
    with counted_memory() as pool:
        streamed = open_source(path, description=description).splits["train"]
        ((name, raws),) = streamed.raws.items()
        assert list(streamed.names) == list(whole.names)
        np.testing.assert_array_equal(streamed.targets, whole.targets)  # type: ignore[arg-type]
        for index in np.random.default_rng(0).permutation(len(raws))[:100].tolist():
            np.testing.assert_array_equal(raws[index], whole.raws[name][index])
        assert pool.max_memory() < size / 2  # the first 200 rows, and the row groups that are kept


def test_large_columns_of_values_stay_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight bytes a number, and the same cells, empty ones among them."""
    table = pa.table({"width": [1.5, None, 3.0, 4.0] * 8, "height": list(range(32)), "label": ["a", "b"] * 16})
    parquet.write_table(table, tmp_path / "data.parquet")
    few = open_source(tmp_path).splits["train"].raws["table"]
    monkeypatch.setattr(tables, "_FEW", 0)
    many = open_source(tmp_path).splits["train"].raws["table"]
    assert list(many) == list(few)
    assert {type(part.columns["width"]) for part in many.parts} == {Cells}  # type: ignore[attr-defined]


def test_a_target_of_lists_is_known_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of tags are labels and no signal: those behind the rows that show what a column holds, too."""
    rows = 500
    tags = [["even"] if number % 2 == 0 else ["odd", "large"] for number in range(rows)]
    table = pa.table({"image": [picture(number) for number in range(rows)], "tags": tags})
    parquet.write_table(table, tmp_path / "data.parquet", row_group_size=20)
    description = DataConfig(target=TargetConfig(column="tags"))
    whole = open_source(tmp_path, description=description)
    monkeypatch.setattr(row_groups, "SIZE", 0)
    streamed = open_source(tmp_path, description=description)
    assert streamed.classes == whole.classes == ("even", "large", "odd")
    np.testing.assert_array_equal(streamed.splits["train"].targets, whole.splits["train"].targets)  # type: ignore[arg-type]


def test_lists_in_rows_to_predict_have_the_axes_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows whose lists have the channels first, read whole or group by group."""
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    table = pa.table({"signal": [values.tolist()] * 2})
    parquet.write_table(table, tmp_path / "data.parquet")
    config = DataConfig(
        layout="table",
        inputs={"series": InputConfig(kind="series", column="signal", axes=("channels", "time"))},
    )
    modality = build_modality(SeriesConfig(length=4, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3))
    for size in (row_groups.SIZE, 0):
        monkeypatch.setattr(row_groups, "SIZE", size)
        opened = open_files([tmp_path / "data.parquet"], modality, description=config).examples
        np.testing.assert_array_equal(opened.raws["series"][1], values.T)


def test_lists_that_are_no_array_name_a_cure() -> None:
    """Lists of different lengths, words, and fewer axes than others have."""
    for cell, order in (([[1.0, 2.0], [3.0]], None), (["a"], None), ([1.0, 2.0], (1, 0))):
        with pytest.raises(InputError, match=r"row are not an array of numbers.*remove the row"):
            Cells([cell], order)[0]


def test_class_folders_with_a_table_are_told_without_its_signals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a table beside class folders knows the labels is seen in its names and paths."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(8):
            (tmp_path / name / f"{number}.png").write_bytes(picture(number))
    paths = [f"{name}/{number}.png" for name in ("a", "b") for number in range(8)]
    table = pa.table(
        {"file": paths * 100, "label": [path[0] for path in paths] * 100, "thumbnail": [bytes(1000)] * 1600}
    )
    parquet.write_table(table, tmp_path / "labels.parquet", row_group_size=20, use_dictionary=["file", "label"])
    monkeypatch.setattr(row_groups, "SIZE", 0)
    with counted_memory() as pool:
        assert layout_of(tmp_path, DataConfig()) == "table"
        assert pool.max_memory() < table.nbytes / 2


# -- what cannot be read


def test_one_in_a_hundred_of_those_met_may_be_unreadable() -> None:
    """The first of a million may be: as many are taken for met from the beginning on, or all there are."""
    problems = [f"{number}: no" for number in range(30)]
    check_problems(problems[:10], met=10, total=1_000_000)
    check_problems(problems[:20], met=2 * FEWEST_MET, total=1_000_000)
    for count, met, total in ((11, 11, 1_000_000), (21, 2 * FEWEST_MET, 1_000_000), (2, 2, 100), (1, 1, 99)):
        with pytest.raises(InputError, match=r"^0: no"):
            check_problems(problems[:count], met=met, total=total)
