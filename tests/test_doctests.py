"""Every example in a docstring is true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import sensorium

ROOT = Path(sensorium.__file__).parent
MODULES = sorted(
    ".".join(["sensorium", *(part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__")])
    for path in ROOT.rglob("*.py")
    if path.name != "__main__.py"
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    """The module imports by itself, and its examples print what they say."""
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples() -> None:
    """The runner finds the ones that are there."""
    finder = doctest.DocTestFinder()
    tests = finder.find(importlib.import_module("sensorium.nn.positions"))
    assert sum(bool(test.examples) for test in tests) >= 2
