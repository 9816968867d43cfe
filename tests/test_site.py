"""The site of the documentation: every page is in it, pages that are made are as they would be made, and it builds."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import nbformat
import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config
from nbclient import NotebookClient

import sensorium as sm

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def test_every_page_is_in_the_navigation() -> None:
    """Decisions have a list of their own, which the site makes."""
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    on_disk = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if path.parent.name != "decisions"}
    assert on_disk <= set(_pages(navigation))


def _pages(entry: object) -> list[str]:
    """The pages below an entry of the navigation."""
    if isinstance(entry, str):
        return [entry]
    entries = entry.values() if isinstance(entry, dict) else entry
    assert not isinstance(entries, str | None)
    return [page for below in entries for page in _pages(below)]


def test_the_reference_of_dataset_yaml_is_as_it_would_be_made() -> None:
    assert (DOCS / "dataset.md").read_text("utf-8") == runpy.run_path(str(DOCS / "make_dataset.py"))["page"]()


def test_every_public_name_has_its_place_in_the_python_pages() -> None:
    text = "".join(page.read_text("utf-8") for page in (DOCS / "api").glob("*.md"))
    named = {line.rpartition(".")[2] for line in text.splitlines() if line.startswith("::: ")}
    assert set(sm.__all__) <= named


@pytest.mark.parametrize("page", sorted((DOCS / "kinds").glob("*.md")), ids=lambda page: page.stem)
def test_the_head_of_a_kind_s_page_says_command_time_and_score(page: Path) -> None:
    """The command is one that the page runs."""
    title, _, head = page.read_text("utf-8").split("\n", 3)[:3]
    assert title.startswith("# ")
    stated = re.fullmatch(r"> `(sensorium .+)`: about \d+ s on one core; [\w² -]+ \d+\.\d+( .*)?", head)
    assert stated is not None, head
    assert f"\n$ {stated[1]} " in page.read_text("utf-8")


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path), strict=True))
    assert "A two-minute tour" in (tmp_path / "index.html").read_text("utf-8")
    assert not list(tmp_path.rglob("*.py"))


@pytest.mark.slow
def test_the_notebook_runs() -> None:
    notebook = nbformat.read(ROOT / "examples" / "first-visit.ipynb", as_version=4)
    NotebookClient(notebook, timeout=280, kernel_name="python3").execute()
