"""The passes behind the reads: over a grid from its parts, and over rows that are spelled out."""

from .compiled import name as compiled_name
from .grid import GridRead, grid_read
from .rows import RowsRead, rows_read

__all__ = ["GridRead", "RowsRead", "compiled_name", "grid_read", "rows_read"]
