"""Documentation that runs: the Python and the commands of its pages, the commands' names, and the README's tree."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sensorium.cli import app, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "results.md"])


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """The fenced code blocks of a page in some languages, in order: (language, text)."""
    return re.findall(rf"^```({'|'.join(languages)})\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.S | re.M)


# Pages of docs/extending are executed by tests/test_extending.py, which trains what they add.
EXECUTED = [page for page in PAGES if page.parent.name != "extending"]


@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: page.name)
def test_code_of_pages_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block of a page runs, and so does every ``$ sensorium …`` of its consoles, one after the other in an
    empty folder."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for language, text in blocks(page, "python", "console"):
        if language == "python":
            exec(compile(text, str(page), "exec"), names)
        else:
            for command in re.findall(r"^\$ sensorium (.*)$", text, flags=re.M):
                main(shlex.split(command))


def test_every_verb_is_in_the_readme_and_every_verb_of_the_readme_exists() -> None:
    """The list of commands is the commands."""
    listed = set(re.findall(r"^sensorium (\w+)\b.* # ", README, flags=re.M))
    assert listed == {name for name in app if not name.startswith("-")}


def test_the_readme_s_tree_is_the_tree() -> None:
    """Every room and file at the top of the source is in the tree, and nothing else is."""
    tree = README.split("src/sensorium/\n", 1)[1].split("benchmarks/", 1)[0]
    named = {name.removesuffix("/") for name in re.findall(r"(?<=── )[\w.]+/?", tree)}
    source = ROOT / "src" / "sensorium"
    assert named == {
        path.name for path in source.iterdir() if path.name not in ("__init__.py", "__pycache__", "py.typed")
    }


def test_every_option_that_a_page_types_exists() -> None:
    """``--name`` after a command of ours is an option of it, and ``--task NAME`` is a task."""
    for page in PAGES:
        text = re.sub(r"\\\n", " ", page.read_text(encoding="utf-8"))
        for verb, rest in re.findall(r"\bsensorium (\w+)\b([^`#\n]*)", text):
            if verb in app:
                known = {name for argument in app[verb].assemble_argument_collection() for name in argument.names}
                assert set(re.findall(r"(?<!\S)--[a-z]+", rest)) <= known | {"--json"}, f"{page.name}: {verb} {rest}"


def test_links_of_pages_lead_somewhere() -> None:
    """Relative links name files that exist."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
