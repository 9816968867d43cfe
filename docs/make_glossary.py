"""Makes docs/glossary.md from docs/glossary.yaml: ``python docs/make_glossary.py``.

The module that defines a name is found in the source by its syntax tree, so that the page follows the code.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent
SOURCE = DOCS.parent / "src" / "sensorium"
TABLE, PAGE = DOCS / "glossary.yaml", DOCS / "glossary.md"

HEAD = """# Glossary

One name for each thing, and it is the one that the papers, torch, `transformers` or `timm` use. This page is made from
[glossary.yaml](glossary.yaml) by `python docs/make_glossary.py`; change the table, not the page.
`tests/test_glossary.py` checks that every name exists and that no retired word is left as an identifier.

| thing | in the code | where | the field's term | retired |
|---|---|---|---|---|
"""


def entries() -> list[dict[str, Any]]:
    """The table, an entry a thing."""
    return yaml.safe_load(TABLE.read_text("utf-8"))


def files_of(room: str) -> list[Path]:
    """The Python files of a room: of a folder of the source all, or the one file of that name."""
    folder = SOURCE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def module_of(path: Path) -> str:
    """The dotted name of a file below ``sensorium``: ``nn.ops.grid``; a package's front is the package."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def definitions(tree: ast.Module) -> Iterator[str]:
    """What a module defines at its top, and the members of its classes as ``Class.member``."""
    for node in tree.body:
        yield from _bound(node)
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                yield from (f"{node.name}.{name}" for name in _bound(statement))
            for inner in ast.walk(node):
                if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                    yield f"{node.name}.{inner.attr}"


def _bound(node: ast.stmt) -> list[str]:
    """The names that a statement binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.ImportFrom):
        return [alias.asname for alias in node.names if alias.asname]
    return []


def module_with(name: str) -> str | None:
    """The module of the source that defines ``room:Name`` or ``room:Class.member``; None: none does."""
    room, _, wanted = name.partition(":")
    for path in files_of(room):
        if wanted in definitions(ast.parse(path.read_text("utf-8"))):
            return module_of(path)
    return None


def page() -> str:
    """The text of the page."""
    lines = []
    for entry in entries():
        names = [(name.partition(":")[2], module_with(name)) for name in entry["names"]]
        modules = dict.fromkeys(f"`{module}`" for _, module in names if module)
        retired = [f"`{word}`" for word in (*entry.get("words", ()), *entry.get("whole", ()))]
        cells = (
            entry["thing"],
            ", ".join(f"`{name}`" for name, _ in names),
            ", ".join(modules),
            entry["term"],
            ", ".join(retired) + _extent(entry) * bool(retired),
        )
        lines.append(f"| {' | '.join(cells)} |\n")
    return HEAD + "".join(lines)


def _extent(entry: dict[str, Any]) -> str:
    """Where the retired words of an entry are retired, for people."""
    if "only" in entry:
        return f" (in {', '.join(entry['only'])})"
    if "except" in entry:
        return f" (but for {', '.join(entry['except'])})"
    return ""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"{PAGE}: {len(entries())} things")
