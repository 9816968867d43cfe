"""The page of formats and the code agree about what is read."""

from __future__ import annotations

import re
from pathlib import Path

from sensorium.codecs import arrays, tables
from sensorium.modalities import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")


def rows(title: str) -> dict[str, str]:
    """Each ending in the first column of a table, with the rest of its line."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (`.*?) \| (.*)$", section, re.MULTILINE)
    return {suffix: rest for cell, rest in lines for suffix in re.findall(r"`(.+?)`", cell)}


def test_every_ending_of_a_signal_is_in_the_page() -> None:
    known = {suffix: name for name, kind in KINDS.items() for suffix in kind.suffixes}
    page = rows("One example a file")
    assert page.keys() == known.keys()
    assert {suffix for suffix, name in known.items() if name not in page[suffix]} == set()
    for name, kind in KINDS.items():
        assert all(name in page[suffix] for suffix in kind.also_reads)


def test_every_ending_of_many_examples_is_in_the_page() -> None:
    known = {*tables.SUFFIXES, *arrays.SUFFIXES, ".ts", ".tar"} - {".idx"} | {"-idx3-ubyte"}
    assert rows("Many examples a file").keys() == known
