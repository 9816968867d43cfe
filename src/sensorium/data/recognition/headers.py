"""What people should know of the first lines of files that hold a recording each: columns that some of them lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...codecs import series
from ...errors import InputError
from ...files import ending

_MOST_READ = 2000  # files whose first lines are compared


def remarks_on_headers(raws: Sequence[Any], names: Sequence[str]) -> Iterator[str]:
    """A line for each column that few recordings have, for each that few lack, and for those that name no column.

    Args:
        raws: of a signal; only paths of text are looked into.
        names: what to call each.
    """
    files = [index for index, raw in enumerate(raws) if isinstance(raw, Path) and ending(raw) == ".csv"]
    files = files[:: max(1, len(files) // _MOST_READ)]
    headers = {index: found for index in files if (found := _header(raws[index])) is not None}
    named = {index: found for index, found in headers.items() if found}
    counts = Counter(column for found in named.values() for column in found)
    for column, count in sorted(counts.items()):
        if count == len(named):
            continue
        is_read = 2 * count > len(named)  # as for a model of series
        example = next(index for index, found in named.items() if (column in found) != is_read)
        end = f"{names[example]} lacks it" if is_read else f"is not read, as in {names[example]}"
        yield f"column {column!r} is in {count:,} of {len(named):,} files only and {end}"
    if named and (unnamed := [index for index in headers if index not in named]):
        yield (
            f"{len(unnamed):,} of {len(headers):,} files do not name their columns, which are taken in order, as in "
            f"{names[unnamed[0]]}"
        )


def _header(path: Path) -> set[str] | None:
    """The columns that the first line of a text names; None: it cannot be read, which is said when it is decoded."""
    try:
        return set(series.channel_names(path))
    except InputError:
        return None
