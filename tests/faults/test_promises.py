"""What SECURITY.md promises: no pickle, no code of a file, no network, and that each promise names its tests."""

from __future__ import annotations

import ast
import io
import pickle
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("resource", reason="the reader limits memory as Unix does")

from reading import model_files, ways
from small_files import SMALL_FILES, small_file

import sensorium
from sensorium.config import read_yaml
from sensorium.errors import InputError
from sensorium.models.published.pickles import read_pickle

SOURCE = Path(sensorium.__file__).parent
ROOT = Path(__file__).parents[2]
TREES = {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text("utf-8")) for path in SOURCE.rglob("*.py")}

# What may be imported where: a reader of the authors' pickles that knows arrays only, processes of our own, the hub.
ALONE = {
    "pickle": {"models/published/pickles.py"},
    "subprocess": {"training/step_costs.py", "inference/bench.py"},
    "huggingface_hub": {"models/published/sources.py", "models/pretrained.py"},
}
NEVER = (
    *("shelve", "marshal", "dill", "joblib", "cloudpickle", "code", "runpy", "imp", "ctypes.util"),
    *("urllib", "requests", "http", "ftplib", "smtplib", "telnetlib", "aiohttp", "httpx", "socketserver", "xmlrpc"),
)


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the source, by the dotted name of what is called."""
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield f"{name}: {ast.unparse(node.func)}", node


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(part.value) for part in call.keywords if part.arg == name), None)


def test_nothing_in_the_source_loads_pickles_or_runs_text() -> None:
    for name, call in calls():
        called = name.partition(": ")[2]
        if called.endswith("torch.load"):
            assert keyword(call, "weights_only") == "True", name
        if called in ("np.load", "numpy.load", "np.lib.format.read_array", "npy_format.read_array"):
            assert keyword(call, "allow_pickle") == "False", name
        if called.startswith("yaml."):
            assert called in ("yaml.SafeLoader", "yaml.safe_load", "yaml.safe_dump"), name
        assert called not in ("eval", "exec", "compile", "__import__", "os.system", "os.popen"), name
        assert not called.startswith(("pickle.load", "torch.hub.", "torch.jit.load")), name
        assert keyword(call, "trust_remote_code") is None, name
        assert keyword(call, "shell") is None, name


def test_libraries_that_run_code_or_open_connections_are_imported_where_they_may_be() -> None:
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for module in modules:
                assert not any(module == no or module.startswith(f"{no}.") for no in NEVER), (name, module)
                assert name in ALONE.get(module.partition(".")[0], {name}), (name, module)


class Payload:
    """A pickle of it makes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def payloads(path: Path) -> Iterator[bytes]:
    """The same code in every wrapping in which pickles come."""
    yield pickle.dumps(Payload(path))
    for save in (
        lambda file: np.save(file, np.array([Payload(path)], object), allow_pickle=True),
        lambda file: np.savez(file, x=np.array([Payload(path)], object)),
        lambda file: torch.save({"weight": Payload(path)}, file),
        lambda file: torch.save(Payload(path), file, _use_new_zipfile_serialization=False),
    ):
        file = io.BytesIO()
        save(file)
        yield file.getvalue()
    yield f"!!python/object/apply:os.system ['touch {path}']\n".encode()


def test_the_payloads_would_do_it(tmp_path: Path) -> None:
    """Loaded as others load them."""
    first, *_, last = payloads(tmp_path / "made")
    pickle.loads(first)
    assert (tmp_path / "made").exists()
    (tmp_path / "made").unlink()
    yaml.unsafe_load(last)
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5", "a.mat", "a.txt", "a.csv", "a.parquet", "config.json"])
def test_code_in_data_is_not_run(tmp_path: Path, name: str) -> None:
    """Whatever it is called."""
    for index, content in enumerate(payloads(tmp_path / "made")):
        folder = tmp_path / str(index) / "a"
        folder.mkdir(parents=True)
        if name == "config.json":
            for other, own in model_files().items():
                (folder / other).write_bytes(own)
        path = folder / name
        path.write_bytes(content)
        for way in ways(path):
            with suppress(InputError):
                way()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_code_in_a_run_folder_is_not_run(tmp_path: Path, name: str) -> None:
    for content in payloads(tmp_path / "made"):
        for other, own in model_files().items():
            (tmp_path / other).write_bytes(own)
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            sensorium.load(tmp_path)
    assert not (tmp_path / "made").exists()


def test_code_in_published_weights_and_descriptions_is_not_run(tmp_path: Path) -> None:
    for content in payloads(tmp_path / "made"):
        (tmp_path / "a.pystate").write_bytes(content)
        with suppress(InputError):
            assert not read_pickle(tmp_path / "a.pystate"), (
                "only what stands before the code is read, and it is no array"
            )
    (tmp_path / "dataset.yaml").write_bytes(content)
    with pytest.raises(InputError, match="not valid YAML"):
        read_yaml(tmp_path / "dataset.yaml")
    assert not (tmp_path / "made").exists()


def test_reading_opens_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Python's; ``test_bombs`` has what ffmpeg would open."""

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("a.png", "a.wav", "a.mp4", "a.npz", "a.h5", "a.parquet", "a.csv", "a.glb", "a.nii", "a.dcm"):
        for part in ("a", "b"):
            (tmp_path / name / part).mkdir(parents=True)
            (tmp_path / name / part / name).write_bytes(small_file(name))
        for way in ways(tmp_path / name / "a" / name):
            with suppress(InputError):
                way()
    assert len(SMALL_FILES) > 60


def test_every_promise_names_tests_that_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) >= 8
    for path, test in named:
        source = (ROOT / path).read_text("utf-8")
        assert not test or f"def {test}(" in source, (path, test)
    promises = re.findall(r"^\* \*\*.*?(?=^\* \*\*|^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(promises) >= 6
    for promise in promises:
        assert "`tests/" in promise, promise
