"""The glossary and the code agree: every name exists, no retired word is an identifier, the page is the table's."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))

import make_glossary as glossary

ENTRIES = glossary.entries()
FILES = sorted(glossary.SOURCE.rglob("*.py"))
TREES = {glossary.module_of(path) or "__init__": ast.parse(path.read_text("utf-8")) for path in FILES}
# The names of our own functions, classes and their members: keyword arguments are judged in calls of these only.
OURS = {
    node.name
    for tree in TREES.values()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
}


def identifiers(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """What a module names by itself, with the line: functions, classes, arguments, whatever is assigned, what imports
    are called, and the keywords of calls of our own functions. Names that others chose and that are only used are not
    among them."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield line, node.name
        elif isinstance(node, ast.arg):
            yield line, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield line, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield line, node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield line, node.asname
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield line, node.name
        elif isinstance(node, ast.Call) and _called(node.func) in OURS:
            yield from ((line, keyword.arg) for keyword in node.keywords if keyword.arg)


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def words(identifier: str) -> list[str]:
    """The words of an identifier, in lower case.

    >>> words("GridCodes"), words("num_read_heads"), words("_MLMConfig")
    (['grid', 'codes'], ['num', 'read', 'heads'], ['mlm', 'config'])
    """
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)]


def applies(entry: dict[str, Any], module: str) -> bool:
    """Whether the retired words of an entry are retired in a module. A room is named by itself, a file by its dotted
    name."""

    def within(rooms: list[str]) -> bool:
        return any(module == room or module.startswith(f"{room}.") for room in rooms)

    return within(entry["only"]) if "only" in entry else not within(entry.get("except", []))


def retired(module: str, tree: ast.Module) -> list[str]:
    """The identifiers of a module that are retired or hold a retired word, a line each: where, what, and the term."""
    found: dict[str, str] = {}
    rules = [entry for entry in ENTRIES if applies(entry, module)]
    spelt = [(0, module.rpartition(".")[2]), *identifiers(tree)]
    for line, identifier in spelt:
        for entry in rules:
            is_whole = identifier.strip("_") in entry.get("whole", ())
            if is_whole or set(words(identifier)) & set(entry.get("words", ())):
                names = ", ".join(name.partition(":")[2] for name in entry["names"]) or entry["term"]
                found.setdefault(identifier, f"{module}:{line}: {identifier} ({entry['thing']}: {names})")
    return list(found.values())


def test_the_page_is_what_the_script_makes() -> None:
    """``python docs/make_glossary.py`` would change nothing."""
    assert glossary.PAGE.read_text("utf-8") == glossary.page()


@pytest.mark.parametrize("name", [name for entry in ENTRIES for name in entry["names"]])
def test_every_name_is_in_the_code(name: str) -> None:
    """A room defines each name that the table says it has."""
    assert glossary.module_with(name), f"nothing in {name.partition(':')[0]} defines {name.partition(':')[2]}"


@pytest.mark.parametrize("module", TREES)
def test_no_retired_word_is_an_identifier(module: str) -> None:
    """The table's retired words name nothing any more."""
    left = retired(module, TREES[module])
    assert not left, "\n".join(left)


def test_a_retired_word_is_no_name_of_today() -> None:
    """The table does not retire what it introduces."""
    for entry in ENTRIES:
        for room, _, name in (name.partition(":") for name in entry["names"]):
            parts = name.split(".")
            for other in ENTRIES:
                if applies(other, room):
                    assert not set(parts) & set(other.get("whole", ())), (name, other["thing"])
                    assert not {word for part in parts for word in words(part)} & set(other.get("words", ())), name


def test_identifiers_are_found_wherever_they_are_bound() -> None:
    """Arguments, targets of every kind, imports that are renamed, keywords of our own calls and no others'."""
    text = """
import numpy as looks
def gaze(self, *, marker, **homes):
    self.merit, (slopes, *told) = 1, (2, 3)
    for posed in []: pass
    with x as settle: pass
    if (twin := 1): pass
    [sense for sense in []]
    lambda folded: 0
    plot(marker=1)
    identifiers(widening=1)
"""
    OURS.add("identifiers")
    found = {identifier for _, identifier in identifiers(ast.parse(text))}
    expected = {"looks", "gaze", "self", "marker", "homes", "merit", "slopes", "told", "posed", "settle", "twin"}
    assert found == expected | {"sense", "folded", "widening"}
    assert len(retired("nn.example", ast.parse(text))) == len(expected | {"sense", "folded", "widening"}) - 1
