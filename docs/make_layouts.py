"""Makes docs/layouts.md from the cases of tests/layouts: ``python docs/make_layouts.py``.

Every line of the page is a test: the folder is made, read, and compared with what the page says.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

DOCS = Path(__file__).resolve().parent
TESTS = DOCS.parent / "tests"
PAGE = DOCS / "layouts.md"

if TYPE_CHECKING:
    from layout_case import Case

HEAD = """# Data as people have them

What is understood of {understood} small data folders, and why {refused} others are refused. This page is made from the
cases in `tests/layouts` by `python docs/make_layouts.py`; each line is a test. What is guessed is printed by `inspect`
and `train` with the option that says otherwise; `inspect` also prints a `dataset.yaml` that says the same.
"""
TABLE = "| what people have | signals | task | splits | said |\n|---|---|---|---|---|\n"


def page(chapters: Mapping[str, Sequence[Case]]) -> str:
    """The text of the page."""
    cases = [case for chapter in chapters.values() for case in chapter]
    refused = sum(bool(case.refused) for case in cases)
    text = [HEAD.format(understood=len(cases) - refused, refused=refused)]
    for title, chapter in chapters.items():
        text.append(f"\n## {title}\n\n{TABLE}")
        text += [_row(_refused(case) if case.refused else _understood(case)) for case in chapter]
    return "".join(text)


def _refused(case: Case) -> list[str]:
    return [case.what, "**refused**", "", "", " … ".join(case.refused)]


def _understood(case: Case) -> list[str]:
    kinds = " and ".join(kind if kind == name else f"{kind} ({name})" for name, kind in case.kinds.items())
    details = [f"axes {', '.join(case.axes)}"] * bool(case.axes)
    details += [f"channels {', '.join(case.channels)}"] * bool(case.channels)
    splits = ", ".join(f"{count} {split}" for split, count in case.splits.items())
    how = ["drawn"] * case.drawn + [f"by `{case.group}`"] * bool(case.group)
    said = [*case.said, *(f"left out: {', '.join(case.left_out)}",) * bool(case.left_out)]
    said += [f"warning: {line}" for line in case.warned]
    return [
        case.what,
        "; ".join([kinds, *details]),
        f"{case.task}, {case.classes}" if case.classes else case.task,
        f"{splits} ({', '.join(how)})" if how else splits,
        "; ".join(said),
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


if __name__ == "__main__":
    sys.path += [str(TESTS), str(TESTS / "layouts")]
    from layouts import CASES, CHAPTERS

    PAGE.write_text(page(CHAPTERS), "utf-8")
    print(f"{PAGE}: {len(CASES)} layouts")
