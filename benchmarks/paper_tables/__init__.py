"""The tables and figures of the two papers, row by row, and what is measured of them here."""

from __future__ import annotations

from . import perceiver, perceiver_io
from .data_sets import DATA_SETS
from .rows import Counts, Row, Table

TABLES: tuple[Table, ...] = (*perceiver.TABLES, *perceiver_io.TABLES)

__all__ = ["DATA_SETS", "TABLES", "Counts", "Row", "Table", "distinct_rows"]


def distinct_rows() -> dict[str, Row]:
    """The rows that can be run, by name; a run that is in several tables once."""
    return {row.name: row for table in reversed(TABLES) for row in reversed(table.rows) if row.name}
