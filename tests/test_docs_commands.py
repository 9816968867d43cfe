"""The law of fenced blocks: each has a language, and each language has a test; here are those that are not run in full.

========== ============================================================================================================
python     runs: ``test_docs.py``; pages of docs/extending: ``test_extending.py``
console    each ``$ sensorium …`` runs: ``test_docs.py``
sh         what takes hours, machines or real data: each command is parsed by its program, and what trains is planned on
           a small stand-in of its data; servers are started and their clients answered: ``serve/test_documented.py``
yaml       is a dataset.yaml, which the reader of descriptions takes
text       no code: trees, formulas
========== ============================================================================================================
"""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from torch.distributed.run import config_from_args, get_args_parser

import stand_ins
from pages import PAGES, ROOT, blocks, check_sensorium, shell_commands
from sensorium.config import from_dict
from sensorium.data import DataConfig

LANGUAGES = {"python", "console", "sh", "yaml", "text"}
# What stands for the data that a page names; where nothing is said here, pictures do.
DATA = {
    "basicmotions": stand_ins.series,
    "uci_har": stand_ins.series,
    "fsdd": stand_ins.sounds,
    "esc10": stand_ins.folded_sounds,
    "modelnet40": stand_ins.modelnet40,
    "movie_reviews": stand_ins.folded_texts,
    "grid_av": stand_ins.kinetics,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_has_a_language_and_every_language_a_test(page: Path) -> None:
    text = page.read_text("utf-8")
    assert {language for language, _ in blocks(page)} <= LANGUAGES
    assert len(re.findall("```", re.sub("`````*", "", text))) == 2 * len(blocks(page)), "a fence that is not found"
    for language, content in blocks(page, "console", "text"):
        for line in content.splitlines():
            if language == "console":
                assert not line.startswith("$") or line.startswith("$ sensorium "), line
            else:
                assert line.split(" ")[0] not in ("$", "pip", *PROGRAMS), line


WITH_COMMANDS = [page for page in PAGES if shell_commands(page) and page.parent.name != "extending"]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.name)
def test_commands_of_shells_could_be_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other in a folder, where files that a command needs are made by one before it."""
    monkeypatch.chdir(tmp_path)
    for _, text in blocks(page, "sh"):
        subprocess.run(["bash", "-n", "-c", text], check=True)
    for words in shell_commands(page):
        PROGRAMS[words[0]](words)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml")], ids=lambda page: page.name)
def test_descriptions_of_data_are_read(page: Path) -> None:
    for _, text in blocks(page, "yaml"):
        assert from_dict(DataConfig, yaml.safe_load(text)).inputs


def test_every_extra_that_a_page_installs_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for page in PAGES:
        assert set(re.findall(r"(?:sensorium|\.)\[(\w+)\]'", page.read_text("utf-8"))) <= extras.keys(), page.name


def _check_sensorium(words: list[str]) -> None:
    check_sensorium(words, _small_data)


def _small_data(name: str) -> Path:
    """A small data set in the current folder, by the name of a published one."""
    if not Path(name).exists():
        DATA.get(name, stand_ins.imagenet)(Path(name))
    return Path(name)


def _check_torchrun(words: list[str]) -> None:
    """torch's own parser says what it would start; that is a command of ours."""
    launched = get_args_parser().parse_args(words[1:])
    assert config_from_args(launched)[0].nproc_per_node > 1
    assert (launched.module, launched.training_script) == (True, "sensorium")
    _check_sensorium(["sensorium", *launched.training_script_args])


def _check_python(words: list[str]) -> None:
    """The script is there. If it has a parser, that takes the arguments as far as it does before ``--help`` ends it."""
    script = ROOT / words[1]
    options = {word for word in words if word.startswith("--")}
    assert script.is_file()
    if "argparse" not in script.read_text("utf-8"):
        assert not options
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [*words[1:], "--help"])
        patch.syspath_prepend(script.parent)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code in (0, None)
    assert all(f'"{option}"' in script.read_text("utf-8") for option in options)


def _check_make(words: list[str]) -> None:
    assert set(words[1:]) <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.M))


def _check_pytest(words: list[str]) -> None:
    """Its file has tests of the mark, and one of the name."""
    _, _, mark, file, _, name = words
    text = (ROOT / file).read_text("utf-8")
    assert f"pytest.mark.{mark}" in text
    assert re.search(rf"def test_\w*{name}", text)


def _check_pre_commit(words: list[str]) -> None:
    assert words[1:] == ["install"]
    assert (ROOT / ".pre-commit-config.yaml").is_file()


def _echo(words: list[str]) -> None:
    """``echo TEXT > FILE``, which a later command reads."""
    _, text, _, file = words
    Path(file).write_text(text)


PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "sensorium": _check_sensorium,
    "torchrun": _check_torchrun,
    "python": _check_python,
    "make": _check_make,
    "pytest": _check_pytest,
    ".venv/bin/pre-commit": _check_pre_commit,
    "echo": _echo,
    "curl": lambda _: None,  # sent by serve/test_documented.py
}
