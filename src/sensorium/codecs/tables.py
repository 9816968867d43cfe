"""Files of tables: text (``.csv``, ``.tsv``, ``.jsonl``), Parquet, Arrow and Excel."""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from ..errors import InputError
from ..files import ending
from . import bounds
from .arrow_messages import arrow_batch
from .raw import file_bytes, first_line, plain_file

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson", ".arrow", ".feather", ".xlsx")

_SEPARATORS = "\t;|,"  # where two fit equally well, the one that is rarer inside cells comes first
_SAMPLED = 1 << 16  # bytes that separator and decimal mark are judged by
_LARGEST_BLOCK = 1 << 30  # bytes; pyarrow counts in 32 bits
_NUMBER = r"[+-]?\d*{mark}\d+(?:[eE][+-]?\d+)?"
_WITH_COMMA, _WITH_POINT = re.compile(_NUMBER.format(mark=",")), re.compile(_NUMBER.format(mark=r"\."))
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER_OR_GAP = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?nan|", re.IGNORECASE)
# What pyarrow raises for damaged files; its own errors are of several Python kinds, too.
TABLE_ERRORS = (pa.ArrowException, OSError, EOFError, ValueError, LookupError, TypeError, OverflowError)
# What openpyxl raises for damaged files.
EXCEL_ERRORS = (
    *(BadZipFile, zlib.error, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, OverflowError),
    *(RuntimeError, NotImplementedError, SyntaxError, RecursionError),
)
_EXCEL_ROWS = 1 << 20  # as many as Excel has
_POINTER = 4  # bytes of the index of a value in a dictionary
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 8}  # bytes
_REPEATING = frozenset(
    ("RLE_DICTIONARY", "PLAIN_DICTIONARY", "DELTA_BYTE_ARRAY")
)  # encodings of a value, or its start, once
_REMARK = b"remark"  # the key of the metadata that says what was guessed
_EXCEL_ERRORS = {"#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!"}


@dataclass(frozen=True)
class Dialect:
    """How a text table is written.

    Attributes:
        encoding: the name that Python knows it by.
        separator: the character between the cells of a line.
        decimal: the character before the decimals of a number.
    """

    encoding: str = "utf-8"
    separator: str = ","
    decimal: str = "."


def decode(path: Path) -> pa.Table:
    """A file of a table as a table, without dictionary encoding. Any of them may be compressed by gzip.

    A text table's encoding, separator and decimal mark are recognised (:func:`sniff`). Of an Excel file, the first
    sheet that has cells is read, and its first row that has any is the names of the columns.

    Raises:
        InputError: the file cannot be read, or two columns have one name.
    """
    suffix = ending(path)
    try:
        if suffix in (".parquet", ".pq"):
            table = decode_parquet(path)
        elif suffix in (".arrow", ".feather"):
            table = _decode_arrow(path)
        elif suffix in (".jsonl", ".ndjson"):
            table = _decode_json_lines(file_bytes(path))
        elif suffix == ".xlsx":
            table = _decode_excel(file_bytes(path))
        else:
            table = decode_text(file_bytes(path))
        return checked(table)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except TABLE_ERRORS as error:
        raise InputError(f"{path}: the table cannot be read ({first_line(error)})") from None


def column_names(path: Path) -> list[str]:
    """The names of the columns of a table; of a Parquet file, nothing else is read.

    Raises:
        InputError: as :func:`decode`.
    """
    if ending(path) not in (".parquet", ".pq"):
        return decode(path).column_names
    try:
        return pa.parquet.ParquetFile(_source(path)).schema_arrow.names
    except TABLE_ERRORS as error:
        raise InputError(f"{path}: the table cannot be read ({first_line(error)})") from None


def decode_text(content: bytes) -> pa.Table:
    """A text table as a table; its first line is the names of the columns.

    >>> decode_text(b"x;label\\n3,14;a\\n2,71;b\\n").to_pydict()
    {'x': [3.14, 2.71], 'label': ['a', 'b']}

    Raises:
        InputError: it cannot be read; a line with more or fewer cells than the first is named by its number.
    """
    dialect = sniff(content)
    remarks = [] if dialect.encoding.startswith("utf") else [f"its letters are taken for {dialect.encoding}"]
    remarks += [] if dialect.decimal == "." else ["its numbers have decimal commas"]
    if dialect.encoding not in ("utf-8", "utf-8-sig"):
        content = content.decode(dialect.encoding).encode()
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(content),
            # One block, so that a column's type is decided by all of its values; one thread, so that errors name the
            # row.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=min(len(content) + 1, _LARGEST_BLOCK)),
            parse_options=pa.csv.ParseOptions(delimiter=dialect.separator, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(strings_can_be_null=True, decimal_point=dialect.decimal),
        )
    except pa.ArrowException as error:
        raise InputError(f"the table cannot be read ({first_line(error)})") from None
    return table.replace_schema_metadata({_REMARK: "; ".join(remarks)}) if remarks else table


def remark_on(table: pa.Table) -> str | None:
    """What was guessed when a table of :func:`decode` was read and could be otherwise; None: nothing."""
    remark = (table.schema.metadata or {}).get(_REMARK)
    return None if remark is None else remark.decode()


def sniff(content: bytes) -> Dialect:
    """How a text table is written: its encoding from all of it, separator and decimal mark from its first lines.

    The separator is the one by which most lines have as many cells as the first; separators inside quotes do not
    count. The decimal mark is a comma where the separator is another character and a column consists of such numbers.

    >>> sniff("stadt;größe\\nKöln;3,5\\n".encode("latin-1"))
    Dialect(encoding='cp1252', separator=';', decimal=',')
    """
    encoding = _encoding(content)
    text = content[:_SAMPLED].decode(encoding, errors="ignore")
    lines = text.splitlines()
    if len(content) > _SAMPLED and len(lines) > 2:
        lines.pop()  # its end is missing
    lines = [line for line in lines if line.strip()]
    separator = _separator(lines)
    rows = _cells(lines, separator)
    return Dialect(encoding, separator, "," if separator != "," and _has_decimal_commas(rows) else ".")


def _encoding(content: bytes) -> str:
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(mark):
            return encoding
    if content.isascii():
        return "utf-8" if b"\0" not in content[:_SAMPLED] else _of_two_bytes(content)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return _of_two_bytes(content) if b"\0" in content[:_SAMPLED] else _of_one_byte(content)
    return "utf-8"


def _of_two_bytes(content: bytes) -> str:
    """UTF-16 without a mark at its start: the zeros of plain letters stand first or second."""
    zeros = content[:_SAMPLED:2].count(0), content[1:_SAMPLED:2].count(0)
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"


def _of_one_byte(content: bytes) -> str:
    """Western text has one or two letters outside of ASCII in a row; of more, statistics must tell."""
    runs = re.findall(rb"[\x80-\xff]+", content[: 1 << 20])
    if sum(map(len, runs)) > 2 * len(runs):
        from charset_normalizer import from_bytes

        best = from_bytes(content[: 1 << 20]).best()
        if best is not None and _decodes(content, best.encoding):
            return best.encoding
    return "cp1252" if _decodes(content, "cp1252") else "latin-1"


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _separator(lines: Sequence[str]) -> str:
    best, most = ",", 0.0
    for separator in _SEPARATORS:
        counts = [len(row) for row in _cells(lines, separator)]
        if counts and counts[0] > 1 and (alike := counts.count(counts[0]) / len(counts)) > most:
            best, most = separator, alike
    if not most and len(lines) > 1:  # numbers with a space between them
        rows = [line.split(" ") for line in lines[1:]]
        if len(rows[0]) > 1 and all(_NUMBER_OR_GAP.fullmatch(cell) for row in rows for cell in row):
            return " "
    return best


def _cells(lines: Sequence[str], separator: str) -> list[list[str]]:
    """The cells of each line; those of a line break inside quotes are one."""
    try:
        return [row for row in csv.reader(io.StringIO("\n".join(lines), newline=""), delimiter=separator) if row]
    except csv.Error:  # a cell of unusual length
        return [line.split(separator) for line in lines]


def _has_decimal_commas(rows: Sequence[Sequence[str]]) -> bool:
    """Whether more columns consist of numbers with a comma than of numbers with a point."""
    counts: Counter[str] = Counter()
    for column in zip(*(row for row in rows[1:] if len(row) == len(rows[0])), strict=True):
        cells = [cell.strip() for cell in column if cell.strip()]
        for mark, pattern in ((",", _WITH_COMMA), (".", _WITH_POINT)):
            fractions = sum(map(bool, map(pattern.fullmatch, cells)))
            counts[mark] += bool(fractions) and fractions + sum(map(bool, map(_WHOLE.fullmatch, cells))) == len(cells)
    return counts[","] > counts["."]


def _source(path: Path) -> Any:
    """What pyarrow reads from: the file itself, as much of it as is needed, or what it holds decompressed."""
    plain = plain_file(path)
    return pa.BufferReader(plain) if isinstance(plain, bytes) else pa.memory_map(str(plain))


def decode_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A Parquet file. Values that it holds once and that could fill the memory are counted before they are repeated.

    Args:
        columns: those that are read; None: all.

    Raises:
        InputError: it holds more than a file may.
    """
    file = pa.parquet.ParquetFile(_source(path))
    metadata = file.metadata
    chunks = [
        metadata.row_group(group).column(column)
        for group in range(metadata.num_row_groups)
        for column in range(metadata.num_columns)
    ]
    if columns is not None:  # those of nested columns are called after them
        chunks = [chunk for chunk in chunks if any(f"{chunk.path_in_schema}.".startswith(f"{c}.") for c in columns)]
    rows = metadata.num_rows
    if rows < 0 or any(chunk.num_values < 0 or chunk.total_uncompressed_size < 0 for chunk in chunks):
        raise InputError("the table cannot be read (it has fewer than no rows); copy it again")
    known = sum(chunk.num_values * _WIDTHS.get(chunk.physical_type, _POINTER) for chunk in chunks)
    texts = [chunk for chunk in chunks if chunk.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")]
    bounds.check_bytes(known + sum(chunk.total_uncompressed_size for chunk in texts), "the table")
    repeated = [chunk for chunk in texts if not _REPEATING.isdisjoint(chunk.encodings)]
    if sum(chunk.num_values * chunk.total_uncompressed_size for chunk in repeated) <= bounds.largest():
        return file.read(columns)  # were each value as long as all of them
    names = sorted({chunk.path_in_schema for chunk in repeated})
    if all("." not in chunk.path_in_schema and "DELTA_BYTE_ARRAY" not in chunk.encodings for chunk in repeated):
        return pa.parquet.ParquetFile(_source(path), read_dictionary=names).read(columns)
    size = 0
    batches = []
    for batch in file.iter_batches(
        max(1, bounds.largest() // max(chunk.total_uncompressed_size for chunk in repeated)), columns=columns
    ):
        bounds.check_bytes(size := size + batch.nbytes, "the table")
        batches.append(batch)
    return pa.Table.from_batches(batches, file.schema_arrow)


def _decode_arrow(path: Path) -> pa.Table:
    """A file or a stream of Arrow record batches; a file is a stream between its marks."""
    source = _source(path)
    head = source.read(8)
    if head.startswith(b"FEA1"):
        raise InputError("the first version of Feather is not read; save it with pyarrow.feather.write_feather")
    start = 8 if head.startswith(b"ARROW1") else 0
    source.seek(start)
    bounds.check_bytes(_announced(source), "the table")
    source.seek(start)
    return pa.ipc.open_stream(source).read_all()


def _announced(source: Any) -> int:
    """The bytes that the buffers of a stream of Arrow take: of a compressed one, its first eight bytes say how many."""
    total = 0
    for message in pa.ipc.MessageReader.open_stream(source):
        body = message.body
        if body is None:
            continue
        total += body.size
        batch = arrow_batch(message.metadata.to_pybytes())
        if batch is None:
            continue
        total += bounds.size_of((batch.rows,), 1)
        for start, size in batch.compressed:
            if size and start >= 0 and start + 8 <= body.size:
                total += max(0, int.from_bytes(body[start : start + 8].to_pybytes(), "little", signed=True))
    return total


def _decode_json_lines(content: bytes) -> pa.Table:
    encoding = _encoding(content)
    if encoding != "utf-8":
        content = content.decode(encoding).encode()
    options = pa.json.ReadOptions(use_threads=False, block_size=min(len(content) + 1, _LARGEST_BLOCK))
    return pa.json.read_json(pa.BufferReader(content), read_options=options)


def _decode_excel(content: bytes) -> pa.Table:
    import openpyxl

    try:
        with ZipFile(io.BytesIO(content)) as archive:
            bounds.check_bytes(sum(member.file_size for member in archive.infolist()), "the workbook")
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        kept = {sheet.title: _excel_rows(sheet) for sheet in book.worksheets}
        names_of_sheets = [title for title, rows in kept.items() if rows]
        rows = kept[names_of_sheets[0]] if names_of_sheets else []
    except EXCEL_ERRORS as error:
        raise InputError(f"the table cannot be read ({first_line(error)})") from None
    if not rows:
        raise InputError("there are no cells in any sheet; fill one")
    used = [index for index, cell in enumerate(rows[0]) if _is_filled(cell)]
    names = [str(rows[0][index]).strip() for index in used]
    columns = [_excel_column([row[index] if index < len(row) else None for row in rows[1:]]) for index in used]
    others = ", ".join(names_of_sheets[1:])
    remark = {_REMARK: f"its first sheet, {names_of_sheets[0]!r}, is read, not {others}"} if others else None
    return pa.Table.from_arrays(columns, names=names, metadata=remark)


def _excel_rows(sheet: Any) -> list[list[Any]]:
    """The rows of a sheet that have any cell. A single cell in the last corner makes all others empty ones."""
    rows: list[list[Any]] = []
    cells = 0
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells += len(row)
        if cells > bounds.CELLS or number > _EXCEL_ROWS:
            raise InputError(f"the sheet {sheet.title!r} has more than {bounds.CELLS:,} cells; save it as .csv")
        if any(map(_is_filled, row)):
            rows.append(list(row))
    return rows


def _is_filled(cell: Any) -> bool:
    return cell is not None and cell != ""


def _excel_column(cells: Sequence[Any]) -> pa.Array:
    """Cells of one type; of several, they are text."""
    kept = [cell if _is_filled(cell) and cell not in _EXCEL_ERRORS else None for cell in cells]
    try:
        return pa.array(kept)
    except pa.ArrowException:
        return pa.array([None if cell is None else str(cell) for cell in kept])


def checked(table: pa.Table) -> pa.Table:
    """A table that was read from a file as :func:`plain` has it. pyarrow trusts what a file says: places beyond the end
    of a column would end the program, and letters that are none the reading of its values.

    Raises:
        InputError: as :func:`plain`, or the file is damaged.
    """
    table.validate(full=True)
    bounds.check_array((table.num_rows, max(1, table.num_columns)), 1, "the table")
    return plain(table)


def plain(table: pa.Table) -> pa.Table:
    """The table without dictionary encoding.

    Raises:
        InputError: two columns have one name, or the table takes more than a file may without the encoding.
    """
    bounds.check_bytes(sum(_expanded(column) for column in table.columns), "the table")
    for name, count in Counter(table.column_names).items():
        if count > 1:
            raise InputError(f"{count} columns are called {name!r}; rename all but one")
    columns = {
        name: column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pa.table(columns).replace_schema_metadata(table.schema.metadata)


def _expanded(column: pa.ChunkedArray) -> int:
    """The bytes of a column without dictionary encoding."""
    if not pa.types.is_dictionary(column.type):
        return column.nbytes
    total = 0
    for chunk in column.chunks:
        values = chunk.dictionary
        if pa.types.is_binary(values.type) or pa.types.is_string(values.type):
            lengths = pa.compute.take(pa.compute.binary_length(values), chunk.indices)
            total += pa.compute.sum(pa.compute.cast(lengths, pa.int64())).as_py() or 0
        else:
            total += len(chunk) * (values.nbytes // max(1, len(values)) + 1)
    return total
