"""What ``sensorium doctor`` says, whole installation or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sensorium.cli import main
from sensorium.inference import environment as doctor


def facts() -> dict[str, doctor.Fact]:
    return {fact.what: fact for fact in doctor.examine()}


def test_it_names_versions_machine_and_path(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line has a state; the same facts as a table and as JSON lines."""
    main(["doctor", "--json"])
    told = {row["what"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert told["torch"]["state"] == torch.__version__
    assert all(row["state"] for row in told.values())
    assert {"sensorium", "python", "processor", "memory", "structured attention", "bfloat16 products", "GPU"} <= set(
        told
    )
    main(["doctor"])
    printed = capsys.readouterr().out
    assert all(what in printed for what in told)


@pytest.mark.parametrize(("file", "cure"), [(None, "install one"), ("_grid_attention.so", "built for another machine")])
def test_why_there_is_no_compiled_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str | None, cure: str
) -> None:
    """A compiler was missing, or the file does not load: not the same cure."""
    if file is not None:
        (tmp_path / file).touch()
    monkeypatch.setattr(doctor.kernels, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(doctor, "compiled_name", lambda: None)
    fact = facts()["structured attention"]
    assert fact.state == "fallback in PyTorch"
    assert cure in fact.note


def test_a_compiled_read_says_for_which_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "compiled_name", lambda: "AVX2")
    assert facts()["structured attention"].state == "compiled, AVX2"


def test_extras_are_those_of_the_installed_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each extra is there or names what it lacks and the command."""
    monkeypatch.setattr(doctor, "_is_installed", lambda package: package != "tensorboard")
    fact = facts()["extra log"]
    assert fact.state == "not installed"
    assert fact.note == "lacks tensorboard; pip install 'sensorium[log]'"
    assert facts()["extra compare"].state == "installed"
    main(["doctor"])
    assert "'sensorium[log]'" in capsys.readouterr().out


def test_more_threads_than_cores_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "cores", lambda: 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    fact = facts()["processor"]
    assert "1 core, 4 torch threads" in fact.state
    assert "OMP_NUM_THREADS=1" in fact.note


def test_a_gpu_is_named_with_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H200")
    fact = facts()["GPU"]
    assert fact.state == "H200"
    assert "no GPU kernel" in fact.note
