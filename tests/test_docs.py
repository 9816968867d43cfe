"""Documentation that runs: the Python and the commands of its pages, the commands' names, and the README's tree. Blocks
that cannot run here are checked by ``test_docs_commands.py``."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

import pytest

from pages import PAGES, ROOT, blocks
from sensorium.cli import app, main

README = (ROOT / "README.md").read_text(encoding="utf-8")

# Pages of docs/extending are executed by tests/test_extending.py, which trains what they add.
# These train models, which takes a while.
TRAINING = ("comparing.md", "explaining.md", "exporting.md", "predicting.md", "python.md")
EXECUTED = [
    pytest.param(
        page, marks=pytest.mark.slow if page.name in TRAINING or page.parent.name in ("kinds", "how-to") else ()
    )
    for page in PAGES
    if page.parent.name != "extending"
]


@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: page.name)
def test_code_of_pages_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every Python block of a page runs, and so does every ``$ sensorium …`` of its consoles, one after the other in an
    empty folder. A command prints each line that the page shows below it, up to the numbers in it."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for language, text in blocks(page, "python", "console"):
        if language == "python":
            exec(compile(text, str(page), "exec"), names)
            continue
        for command, shown in re.findall(r"^\$ sensorium (.*)\n((?:(?!\$).*\n)*)", text, flags=re.M):
            capsys.readouterr()
            main(shlex.split(command, comments=True))
            printed = without_numbers(capsys.readouterr().out)
            assert without_numbers(shown.replace("…\n", "")) <= printed, command


def without_numbers(text: str) -> set[str]:
    """The lines of a text with # for each number and one space for several."""
    return {re.sub(r"\d[\d.,]*", "#", " ".join(line.split())) for line in text.splitlines()}


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
                assert set(re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", rest)) <= known | {"--json"}, (
                    f"{page.name}: {verb} {rest}"
                )


def test_every_setting_that_a_page_types_exists() -> None:
    """``recipe.name`` and ``model.encoder.name`` are fields of the recipe and of the encoder."""
    from sensorium.models.recipe import RecipeConfig
    from sensorium.nn import EncoderConfig

    for page in (page for page in PAGES if page.name != "CHANGELOG.md"):  # which has the old names, too
        text = page.read_text(encoding="utf-8")
        for prefix, record in ((r"\brecipe", RecipeConfig), (r"\bmodel\.encoder", EncoderConfig)):
            typed = set(re.findall(rf"{prefix}\.(\w+)(?==)", text))
            assert typed <= {field.name for field in dataclasses.fields(record)}, page.name


def test_links_of_pages_lead_somewhere() -> None:
    """Relative links name files that exist."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
