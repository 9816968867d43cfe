"""The order of the rooms: imports go downwards only, nothing is circular, each foreign library has its door."""

from __future__ import annotations

import ast
import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import sensorium

ROOT = Path(sensorium.__file__).parent

# A file imports from rooms with a smaller number, and from its own room; never from another room with the same number.
ROOMS = {
    "errors": 0,
    "allocator": 1,
    "processes": 1,
    "files": 1,
    "threads": 1,
    "config": 1,
    "nn": 2,
    "codecs": 2,
    "modalities": 3,
    "tasks": 4,
    "data": 5,
    "models": 6,
    "inference": 7,
    "report": 8,
    "training": 9,
    "serve": 10,
    "cli": 11,
    "__main__": 12,
    "": 12,  # the public names
}

# Which rooms or files may import a foreign library; every library must be here.
EVERYWHERE = ("",)
DOORS: dict[str, tuple[str, ...]] = {
    "torch": EVERYWHERE,
    "numpy": EVERYWHERE,
    "jaxtyping": ("nn", "training.aligned"),
    "yaml": ("config", "report"),
    "pydantic": ("config", "modalities"),
    "pydantic_core": ("config",),
    "safetensors": ("models.tensor_files",),
    "huggingface_hub": ("models.published.sources", "models.pretrained"),
    "lightning": ("training.engine",),
    "wandb": ("training.engine",),
    "torchmetrics": ("tasks", "inference.evaluate"),
    "PIL": ("codecs.pictures", "modalities.randaugment"),
    "soundfile": ("codecs.sound",),
    "av": ("codecs.containers",),
    "trimesh": ("codecs.points",),
    "scipy": ("codecs.sound", "codecs.arrays", "tasks"),
    "h5py": ("codecs.arrays", "codecs.large"),
    "einops": ("modalities",),
    "natsort": ("data",),
    "pyarrow": ("data", "codecs.tables", "codecs.row_groups", "codecs.series", "inference.answer_files"),
    "nibabel": ("codecs.volumes",),
    "pydicom": ("codecs.dicom",),
    "tifffile": ("codecs.tiff",),
    "laspy": ("codecs.points",),
    "pypcd4": ("codecs.points",),
    "pyedflib": ("codecs.recordings",),
    "openpyxl": ("codecs.tables",),
    "charset_normalizer": ("codecs.tables",),
    "sklearn": ("data", "tasks", "inference.estimators", "training.demonstration", "training.estimator"),
    "matplotlib": ("report",),
    "jinja2": ("report",),
    "rich": ("cli",),
    "cyclopts": ("cli",),
    "onnx": ("inference.export",),
    "onnxruntime": ("inference.export",),
    "onnxscript": ("inference.export",),
    "fastapi": ("serve",),
    "starlette": ("serve.app",),
    "uvicorn": ("serve.server",),
    "prometheus_client": ("serve.metrics",),
    "perceiver_pytorch": ("models.baselines.lucidrains",),
}

FILES = {
    ".".join(part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


def module_of(name: str) -> str:
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
                own.add(module_of(rest))
            elif library not in sys.stdlib_module_names:
                foreign.add(library)
    return own, foreign


IMPORTS = {
    name: imports(name, path.read_text(encoding="utf-8"), package=path.name == "__init__.py")
    for name, path in FILES.items()
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_only_from_rooms_below(name: str) -> None:
    room = name.split(".")[0]
    for other in IMPORTS[name][0]:
        below = other.split(".")[0]
        assert below == room or ROOMS[below] < ROOMS[room], f"{name} imports {other}"


@pytest.mark.parametrize("name", FILES)
def test_foreign_libraries_enter_by_their_doors(name: str) -> None:
    for library in IMPORTS[name][1]:
        assert library in DOORS, f"{name} imports {library}, which is in no door's list"
        doors = DOORS[library]
        assert any(door in ("", name) or name.startswith(f"{door}.") for door in doors), (
            f"{name} imports {library}, which enters by {', '.join(doors)}"
        )


def test_every_door_is_used() -> None:
    """No entry has outlived the import that it allows."""
    for library, doors in DOORS.items():
        for door in doors:
            users = [name for name in FILES if door in ("", name) or name.startswith(f"{door}.")]
            assert any(library in IMPORTS[name][1] for name in users), f"{library} by {door or 'every file'}"


def test_only_the_authors_checkpoints_are_unpickled() -> None:
    """``pickle`` runs what it reads; the one file that imports it allows arrays only."""
    users = [
        name for name, path in FILES.items() if re.search(r"\bimport pickle|from pickle ", path.read_text("utf-8"))
    ]
    assert users == ["models.published.pickles"]


def test_there_are_no_cycles() -> None:
    """Not even inside a room. A package's front (``__init__``) may be imported only from outside."""
    try:
        TopologicalSorter({name: own - {name} for name, (own, _) in IMPORTS.items()}).prepare()
    except CycleError as error:
        pytest.fail(f"cycle: {' -> '.join(error.args[1])}")


def test_the_rooms_are_those_on_disk() -> None:
    assert set(ROOMS) == {name.split(".")[0] for name in FILES}


def test_imports_are_found_wherever_they_stand() -> None:
    """Relative and absolute, of names and of modules, inside functions, under TYPE_CHECKING."""
    text = """
import json, numpy.linalg
from .base import Modality
from ..nn import attention
from ..nn.positions import fourier_grid
if TYPE_CHECKING:
    from torchmetrics import Metric
def load():
    from PIL import Image
    import sensorium.models.perceiver
    from .. import errors
"""
    own, foreign = imports("modalities.image", text, package=False)
    assert own == {"modalities.base", "nn.attention", "nn.positions", "models.perceiver", "errors"}
    assert foreign == {"numpy", "torchmetrics", "PIL"}
    assert imports("modalities", "from .image import Image", package=True)[0] == {"modalities.image"}
    assert imports("", "from .nn import attention", package=True)[0] == {"nn.attention"}
