"""What people should know of the first lines of files that hold a recording each: names of columns that differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..codecs import series
from ..codecs.raw import file_bytes
from ..errors import InputError
from ..files import ending
from .assumptions import listed

_MOST_READ = 500  # files whose beginning is read
_BEGINNING = 1 << 14  # bytes of it


def remarks_on_headers(raws: Sequence[Any], names: Sequence[str]) -> Iterator[str]:
    """A line for the columns that some recordings have and most others lack, for those that some lack, and for files
    without names of columns among files with them.

    Args:
        raws: of a signal; only those that are paths of text are looked into.
        names: what to call each.
    """
    files = [index for index, raw in enumerate(raws) if isinstance(raw, Path) and ending(raw) == ".csv"]
    files = files[:: max(1, len(files) // _MOST_READ)]
    channels = {index: found for index in files if (found := _channels(raws[index])) is not None}
    named = [set(found) for found in channels.values() if found]
    counts = Counter(name for found in named for name in found)
    usual = {name for name, count in counts.items() if 2 * count > len(named)}
    for differ, what in (
        ({index: set(found) - usual for index, found in channels.items()}, "more columns than the others, not used"),
        ({index: usual - set(found) for index, found in channels.items() if found}, "fewer columns than the others"),
    ):
        if odd := {index: found for index, found in differ.items() if found}:
            columns = listed(sorted(set().union(*odd.values())))
            yield f"{len(odd)} of {len(channels)} files have {what}: {columns}; for example {names[next(iter(odd))]}"
    if unnamed := [index for index, found in channels.items() if usual and not found]:
        yield (
            f"{len(unnamed)} of {len(channels)} files do not name their columns, which are taken in order; for example "
            f"{names[unnamed[0]]}"
        )


def _channels(path: Path) -> tuple[str, ...] | None:
    """The names of the channels of a recording, by its first lines; None: they cannot be read, which is said when the
    file is decoded."""
    try:
        content = file_bytes(path)
        lines = content[:_BEGINNING].rpartition(b"\n")[0] if len(content) > _BEGINNING else content
        return series.decode(lines).channels
    except InputError:
        return None
