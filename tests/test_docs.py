"""Documentation that runs: the README's Python, its commands' names, and its tree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sensorium.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.S | re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page: Path) -> None:
    """Every Python block of a page runs, one after the other."""
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


def test_every_verb_is_in_the_readme_and_every_verb_of_the_readme_exists() -> None:
    """The list of commands is the commands."""
    told = set(re.findall(r"^sensorium (\w+)", README, flags=re.M))
    assert told == {name for name in app if not name.startswith("-")}


def test_the_readme_s_tree_is_the_tree() -> None:
    """Every room and file at the top of the source is in the tree, and nothing else is."""
    tree = README.split("src/sensorium/\n", 1)[1].split("benchmarks/", 1)[0]
    named = {name.removesuffix("/") for name in re.findall(r"(?<=── )[\w.]+/?", tree)}
    source = ROOT / "src" / "sensorium"
    assert named == {
        path.name for path in source.iterdir() if path.name not in ("__init__.py", "__pycache__", "py.typed")
    }


def test_links_of_pages_lead_somewhere() -> None:
    """Relative links name files that exist."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
