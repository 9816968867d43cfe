"""All layouts that are tested and shown in docs/layouts.md, by what they are made of."""

from __future__ import annotations

import layout_arrays
import layout_folders
import layout_recordings
import layout_shards
import layout_tables
from layout_case import Case

CHAPTERS: dict[str, tuple[Case, ...]] = {
    "Class folders": layout_folders.CASES,
    "Recordings of sensors": layout_recordings.CASES,
    "Arrays": layout_arrays.CASES,
    "Tables and lists of files": layout_tables.CASES,
    "Shards": layout_shards.CASES,
}
CASES: tuple[Case, ...] = tuple(case for chapter in CHAPTERS.values() for case in chapter)
