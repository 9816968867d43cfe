"""Files of tables: encodings, separators and decimal marks of text; JSON lines, Arrow, Parquet and Excel; gzip."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest

from sensorium.codecs.tables import Dialect, decode, decode_text, sniff
from sensorium.errors import InputError

CONTENT = {"größe": [3.5, -0.25, None], "town": ["Köln, am Rhein", "São Paulo; Brasil", "a|b\tc"], "n": [1, 2, 30]}


def text(separator: str, decimal: str, newline: str) -> str:
    def cell(value: object) -> str:
        if isinstance(value, str):
            return f'"{value}"'
        return "" if value is None else str(value).replace(".", decimal)

    rows = [list(CONTENT), *zip(*CONTENT.values(), strict=True)]
    return newline.join(separator.join(map(cell, row)) for row in rows) + newline


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_text_is_the_same_however_it_is_written(encoding: str) -> None:
    """Every encoding, separator, decimal mark and line end gives the same table."""
    for separator, decimal, newline in itertools.product(",;\t|", ".,", ("\n", "\r\n")):
        if separator == decimal:
            continue
        content = text(separator, decimal, newline).encode(encoding)
        assert decode_text(content).to_pydict() == CONTENT, (separator, decimal, newline)


@pytest.mark.parametrize(
    ("content", "separator", "decimal"),
    [
        (b"3,14;2,71\n3,15;2,72\n", ";", ","),
        (b"x;tags\n1;1,2\n2;1,2,3\n", ";", "."),  # joined labels, not decimals
        (b"x;y\n1.5;2\n", ";", "."),
        (b"a;b,c\n1,2\n3,4\n", ",", "."),  # most lines decide
        (b"text,label\n\"a; b; c\",x\n\"d; e; f\",y\n", ",", "."),
        (b"1 2 3\n4 5 6\n", " ", "."),
        (b"text\na b c\n", ",", "."),
        (b"x\n1\n", ",", "."),
        (b"", ",", "."),
    ],
)  # fmt: skip
def test_separators_and_decimals(content: bytes, separator: str, decimal: str) -> None:
    assert sniff(content) == Dialect("utf-8", separator, decimal)


@pytest.mark.parametrize(
    ("words", "encoding"),
    [
        ("Évreux\nOrléans\nélève à 3 €\n", "cp1252"),
        ("Москва;столица\nКазань;город на Волге\nСанкт-Петербург;город на Неве\n", "cp1251"),
        ("北京,首都\n上海,城市\n广州市天河区,地区\n", "gb18030"),
    ],
)
def test_encodings_that_are_not_unicode(words: str, encoding: str) -> None:
    content = words.encode(encoding)
    assert content.decode(sniff(content).encoding) == words


def test_many_lines_are_judged_by_the_first_and_read_whole() -> None:
    """A cell may be longer than the sample, and a value at the end still decides the type."""
    long = "x" * 200_000
    table = decode_text(f"a;b\n1;{long}\n2,5;y\n".encode())
    assert table["b"][0].as_py() == long
    many = decode_text(("a,b\n" + "1,2\n" * 50_000 + "x,2\n").encode())
    assert (len(many), pa.types.is_string(many["a"].type), many["b"].type) == (50_001, True, pa.int64())


def as_parquet(table: pa.Table, path: Path) -> None:
    parquet.write_table(table, path)


def as_arrow_file(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def as_arrow_stream(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def as_feather(table: pa.Table, path: Path) -> None:
    feather.write_feather(table, path, compression="lz4")


def as_json_lines(table: pa.Table, path: Path) -> None:
    import json

    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()), encoding="utf-8")


def as_excel(table: pa.Table, path: Path) -> None:
    book = openpyxl.Workbook()  # its first sheet stays empty
    sheet = book.create_sheet("data")
    book.create_sheet("notes").append(["something", "else"])
    for row in [table.column_names, *(row.values() for row in table.to_pylist())]:
        sheet.append(list(row))
    book.save(path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("a.parquet", as_parquet),
        ("a.pq", as_parquet),
        ("a.arrow", as_arrow_file),
        ("b.arrow", as_arrow_stream),
        ("a.feather", as_feather),
        ("a.jsonl", as_json_lines),
        ("a.ndjson", as_json_lines),
        ("a.xlsx", as_excel),
    ],
)
def test_every_container_gives_the_same_table(
    tmp_path: Path, name: str, encode: Callable[[pa.Table, Path], None], compressed: bool
) -> None:
    path = tmp_path / name
    encode(pa.table(CONTENT), path)
    if compressed:
        compressed_path = path.with_name(f"{name}.gz")
        compressed_path.write_bytes(gzip.compress(path.read_bytes()))
        path = compressed_path
    assert decode(path).to_pydict() == CONTENT


def test_categories_are_values_and_metadata_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    as_arrow_stream(
        pa.table({"c": pa.array(["a", "b", "a"]).dictionary_encode()}).replace_schema_metadata({"k": "v"}), path
    )
    table = decode(path)
    assert (table["c"].to_pylist(), table["c"].type) == (["a", "b", "a"], pa.string())
    assert table.schema.metadata == {b"k": b"v"}


def test_lists_in_json_lines_stay_lists(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"x": [[1, 2.5], [3, 4]], "y": "a"}\n{"x": [[5, 6]], "y": "b"}\n')
    assert [np.shape(x) for x in decode(path)["x"].to_pylist()] == [(2, 2), (1, 2)]


def test_excel_cells_of_several_types(tmp_path: Path) -> None:
    """Whole and broken numbers are numbers, numbers and words are words, Excel's errors are gaps; empty rows and
    columns are none."""
    book = openpyxl.Workbook()
    for row in ([], [None, "a", "b", "c"], [None, 1, 1, "#N/A"], [], [None, 2.5, "x", 3]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert decode(tmp_path / "a.xlsx").to_pydict() == {"a": [1, 2.5], "b": ["1", "x"], "c": [None, 3]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "Row #3"),
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"a,b,a\n1,2,3\n", "2 columns are called 'a'"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "gzip compression is damaged"),
        ("a.parquet", b"PAR1 and nothing else", "cannot be read"),
        ("a.arrow", b"nothing", "cannot be read"),
        ("a.feather", b"ARROW1 torn", "cannot be read"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "cannot be read"),
        ("a.jsonl", b'{"a": 1}\n{"a": "x"}\n', "row 1"),
        ("a.xlsx", b"PK torn", "cannot be read"),
    ],
)
def test_bad_input(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """One line that starts with the file."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        decode(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_book_without_cells(tmp_path: Path) -> None:
    openpyxl.Workbook().save(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match="no cells in any sheet"):
        decode(tmp_path / "a.xlsx")
