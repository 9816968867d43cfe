"""The order of the files: imports go downwards only, and each foreign library enters by one door."""

from __future__ import annotations

import ast
import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import sensorium

ROOT = Path(sensorium.__file__).parent

# A file imports only from smaller numbers. A package that is one entry here (data.*) may order its own files freely.
LAYERS: dict[str, float] = {
    "errors": 0,
    "arrays": 0,
    "config": 0.5,
    "precision": 0,
    "core": 0,
    "kernels.*": 0.5,
    "core.initialise": 1,
    "core.positions": 2,
    "core.rows": 2,
    "core.queries": 2,
    "core.attention": 2.5,
    "core.perceiver": 3,
    "core.places": 3.5,
    "modalities.base": 4,
    "modalities.spans": 4.3,
    "modalities.flows": 4.3,
    "modalities.pictures": 4.5,
    "modalities.pixels": 4.5,
    "modalities.stems": 4.7,
    "modalities.*": 5,
    "modalities.kinds": 5.3,
    "modalities.fusion": 5.6,
    "modalities": 6,
    "lamb": 6,
    "tasks.base": 7,
    "tasks.warps": 7.1,
    "tasks.tiles": 7.1,
    "tasks.*": 7.2,
    "tasks": 7.4,
    "recipe": 7,
    "model": 8,
    "presets.*": 8.5,
    "data.*": 9,
    "checkpoints": 9,
    "report.*": 10,
    "prediction": 10.5,
    "published.*": 10,
    "doctor": 10,
    "measuring": 10.5,
    "bench": 11,
    "planning": 10,
    "explain": 11,
    "training": 11,
    "runs": 11.5,
    "demonstration": 11.7,
    "cli": 12,
    "": 13,
}
PACKAGES = (
    "kernels",
    "data",
    "report",
    "presets",
    "published",
)  # their own files may import one another, without cycles

# Which files may import a foreign library; every library must be here.
EVERYWHERE = ("",)
DOORS: dict[str, tuple[str, ...]] = {
    "torch": EVERYWHERE,
    "numpy": EVERYWHERE,
    "jaxtyping": ("arrays", "core."),
    "yaml": ("config", "report"),
    "pydantic": ("config", "modalities", "tasks"),
    "safetensors": ("checkpoints",),
    "huggingface_hub": ("published.files",),
    "lightning": ("training",),
    "torchdata": ("training",),
    "tensorboard": ("training",),
    "torchmetrics": ("tasks", "report", "training"),
    "kornia": ("modalities.",),
    "PIL": ("modalities.", "demonstration"),
    "soundfile": ("modalities.", "demonstration"),
    "av": ("modalities.",),
    "trimesh": ("modalities.",),
    "scipy": ("modalities.", "data"),
    "h5py": ("data",),
    "pyarrow": ("data",),
    "sklearn": ("data", "demonstration"),
    "matplotlib": ("report",),
    "rich": ("cli", "training"),
    "cyclopts": ("cli",),
}

FILES = {
    ".".join(part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


def layer(name: str) -> float:
    """The number of a module: its own, or its package's."""
    package = name.split(".")[0]
    for entry in (name, f"{package}.*"):
        if entry in LAYERS:
            return LAYERS[entry]
    raise KeyError(name)


def home(name: str) -> str:
    """The module that a dotted name of sensorium's is, or is defined in."""
    while name not in FILES:
        name = name.rpartition(".")[0]
    return name


def imports(name: str, text: str, *, package: bool) -> tuple[set[str], set[str]]:
    """What a file imports, inside functions and for type checking too: (our modules, foreign libraries)."""
    own, foreign = set(), set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".") if name else []
            parts = parts[: len(parts) - node.level + package]
            base = ".".join(["sensorium", *parts, *([node.module] if node.module else [])])
            found = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for dotted in found:
            library, _, rest = dotted.partition(".")
            if library == "sensorium":
                own.add(home(rest))
            elif library not in sys.stdlib_module_names:
                foreign.add(library)
    return own, foreign


IMPORTS = {
    name: imports(name, path.read_text(encoding="utf-8"), package=path.name == "__init__.py")
    for name, path in FILES.items()
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_only_from_below(name: str) -> None:
    """Every module has a number, and imports smaller numbers only; never sideways, but inside PACKAGES."""
    package = name.split(".")[0]
    for other in IMPORTS[name][0]:
        inside = package in PACKAGES and other.split(".")[0] == package
        assert inside or layer(other) < layer(name), f"{name} ({layer(name)}) imports {other} ({layer(other)})"


@pytest.mark.parametrize("name", FILES)
def test_foreign_libraries_enter_by_their_doors(name: str) -> None:
    for library in IMPORTS[name][1]:
        assert library in DOORS, f"{name} imports {library}, which is in no door's list"
        doors = DOORS[library]
        assert any(door == "" or name == door or name.startswith(door.rstrip(".") + ".") for door in doors), (
            f"{name} imports {library}, which enters by {', '.join(doors)}"
        )


def test_only_the_authors_checkpoints_are_unpickled() -> None:
    """``pickle`` runs what it reads; the one file that imports it allows arrays only."""
    told = [name for name, path in FILES.items() if re.search(r"\bimport pickle|from pickle ", path.read_text("utf-8"))]
    assert told == ["published.pickles"]


def test_there_are_no_cycles() -> None:
    try:
        TopologicalSorter({name: own - {name} for name, (own, _) in IMPORTS.items()}).prepare()
    except CycleError as error:
        pytest.fail(f"cycle: {' -> '.join(error.args[1])}")


def test_the_table_names_what_exists() -> None:
    """No entry has outlived its file."""
    for entry in set(LAYERS) - {"__main__"}:
        assert entry in FILES or any(name.split(".")[0] == entry.removesuffix(".*") for name in FILES), entry


def test_imports_are_found_wherever_they_stand() -> None:
    """Relative and absolute, of names and of modules, inside functions, under TYPE_CHECKING."""
    text = """
import json, numpy.linalg
from .base import Modality
from ..core import attention
from ..core.positions import fourier_grid
if TYPE_CHECKING:
    from torchmetrics import Metric
def read():
    from PIL import Image
    import sensorium.model
    from .. import errors
"""
    own, foreign = imports("modalities.image", text, package=False)
    assert own == {"modalities.base", "core.attention", "core.positions", "model", "errors"}
    assert foreign == {"numpy", "torchmetrics", "PIL"}
    assert imports("modalities", "from .image import Image", package=True)[0] == {"modalities.image"}
    assert imports("", "from .core import attention", package=True)[0] == {"core.attention"}
