"""The pages of the documentation, what stands in their fenced blocks, and whether a command of ours is right."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from sensorium.cli import app
from sensorium.cli.options import PlanOptions
from sensorium.training.plan import plan

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "results.md"])


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page in some languages, or in all, in order: (language, text)."""
    found = re.findall(r"^```(.*)\n((?:.*\n)*?)```$", page.read_text("utf-8"), flags=re.M)
    return [(language, text) for language, text in found if not languages or language in languages]


def shell_commands(page: Path) -> list[list[str]]:
    """The words of every command in the ``sh`` blocks of a page, without comments and variables that are set for it."""
    lines = [line for _, text in blocks(page, "sh") for line in text.replace("\\\n", " ").splitlines()]
    commands = [shlex.split(command, comments=True) for line in lines for command in line.split(" && ")]
    for words in commands:
        while words and re.match(r"[A-Z_]+=", words[0]):
            del words[0]
    return [words for words in commands if words]


def check_sensorium(words: list[str], data: Callable[[str], Path]) -> None:
    """Parse a command of ours; plan a training on a stand-in of its data, which ``data`` gives by its name."""
    bound = app.parse_args(words[1:], print_error=False, exit_on_error=False)[1]
    bound.apply_defaults()
    if words[1] in ("inspect", "train", "pretrain", "compare"):
        options = {field.name: getattr(bound.arguments["options"], field.name) for field in fields(PlanOptions)}
        assert plan(data(str(bound.arguments["data"])), task=bound.arguments["task"], **options).config.model
