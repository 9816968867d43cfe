"""Weights on disk."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from builders import shake
from sensorium.errors import InputError
from sensorium.files import remove_parts, replace_file
from sensorium.inference import environment
from sensorium.modalities import ImageConfig
from sensorium.models.checkpoints import CONFIG, FORMAT, WEIGHTS, load, save
from sensorium.models.perceiver import Perceiver, PerceiverConfig
from sensorium.models.tensor_files import TensorWriter
from sensorium.nn import EncoderConfig
from sensorium.tasks import ClassifyConfig


def small(seed: int = 0) -> Perceiver:
    model = Perceiver(
        PerceiverConfig(
            inputs=ImageConfig(size=(4, 4), bands=2),
            encoder=EncoderConfig(
                num_latents=3,
                latent_channels=8,
                cross_attention=(0, 1, 1),
                latent_transformer=(0, 0, None),
                num_layers=1,
            ),
            task=ClassifyConfig(classes=("Katze", "狗")),
        )
    )
    return shake(model, seed).float()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a saved model."""
    save(small(), tmp_path / "run")
    return tmp_path / "run"


def test_what_is_loaded_is_what_was_saved(folder: Path) -> None:
    """Bit for bit, with its configuration, its answers, its sharing, and ready to be asked."""
    model, other = small().eval(), load(folder)
    assert other.config == model.config
    assert not other.training
    assert list(other.state_dict()) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert other.state_dict()[name].equal(tensor), name
    batch = {"image": torch.rand(2, 3, 4, 4)}
    assert other(batch).output.equal(model(batch).output)
    assert other.parameter_count() == model.parameter_count()
    assert len(load(str(folder)).encoder.cross_attention) == 2


def test_a_folder_holds_no_pickle(folder: Path) -> None:
    """safetensors and readable JSON, nothing else: no temporary files are left."""
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS]
    content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    assert content["format"] == FORMAT
    assert content["model"]["task"]["classes"] == ["Katze", "狗"]


def _without(*places: str) -> Callable[[dict[str, Any]], None]:
    def without(content: dict[str, Any]) -> None:
        for place in places[:-1]:
            content = content[place]
        del content[places[-1]]

    return without


def _edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """A change of the configuration: what ``change`` returns, or what it was given once changed."""

    def edit(folder: Path) -> None:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        content = change(content) or content
        (folder / CONFIG).write_text(json.dumps(content), encoding="utf-8")

    return edit


def _cut(name: str, share: float) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(len(whole) * share)])

    return cut


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "no model.safetensors"),
    "no configuration": (lambda folder: (folder / CONFIG).unlink(), "no model.safetensors and config.json"),
    "weights cut in half": (_cut(WEIGHTS, 0.5), "damaged"),
    "weights cut in the header": (_cut(WEIGHTS, 0.01), "damaged"),
    "empty weights": (_cut(WEIGHTS, 0), "damaged"),
    "configuration cut in half": (_cut(CONFIG, 0.5), "damaged"),
    "empty configuration": (_cut(CONFIG, 0), "damaged"),
    "configuration that is a list": (_edit(lambda content: [1]), "run"),
    "configuration without a model": (_edit(lambda content: {"format": FORMAT}), "config.json"),
    "a wrong key": (_edit(lambda content: content["model"]["encoder"].update(latent=3)), "did you mean 'num_latents'"),
    "a missing key": (_edit(_without("model", "task")), "'task' is missing"),
    "a wrong value": (
        _edit(lambda content: content["model"]["encoder"].update(latent_channels="wide")),
        "encoder.latent_channels = 'wide'",
    ),
    "an impossible value": (
        _edit(lambda content: content["model"]["encoder"].update(num_self_attention_heads=3)),
        "heads",
    ),
    "another width": (_edit(lambda content: content["model"]["encoder"].update(latent_channels=16)), "disagree"),
    "more reads": (_edit(lambda content: content["model"]["encoder"].update(cross_attention=[0, 1, 2])), "disagree"),
    "fewer reads": (_edit(lambda content: content["model"]["encoder"].update(cross_attention=[0, 0, 0])), "disagree"),
    "a newer format": (_edit(lambda content: content.update(format=FORMAT + 1)), "newer sensorium"),
    "an older format": (
        _edit(lambda content: content.update(format=1)),
        "older sensorium, with other names; train again",
    ),
    "an older format of other content": (_edit(lambda content: {"format": 1}), "older sensorium"),
    "a newer format of other content": (_edit(lambda content: {"format": FORMAT + 1}), "newer sensorium"),
    "a format that is no number": (_edit(lambda content: content.update(format="new")), "run"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_one_line_that_names_the_folder(folder: Path, kind: str) -> None:
    """Whatever is wrong with a model on disk: InputError, one line, the place and what it is."""
    damage, message = DAMAGE[kind]
    damage(folder)
    with pytest.raises(InputError) as caught:
        load(folder)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value) or "encoder:" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        load(tmp_path / "nowhere")


def test_a_failed_write_leaves_the_old_file_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up while weights are written: the old model still loads, nothing is left behind."""
    write, written = TensorWriter.write, count()

    def full(self: TensorWriter, name: str, tensor: torch.Tensor) -> None:
        if next(written) == 3:
            raise OSError(28, "No space left on device")
        write(self, name, tensor)

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(TensorWriter, "write", full)
    with pytest.raises(InputError, match="No space left on device"):
        save(small(1), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert load(folder).encoder.latents.equal(small().encoder.latents)


def test_an_interrupted_write_leaves_the_old_file_whole(tmp_path: Path) -> None:
    """Ctrl-C in the middle: the old content, no temporary file."""
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted(temporary: Path) -> None:
        temporary.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(path, interrupted)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"cannot be written .*--out"):
        save(small(), tmp_path / "file" / "run")


def test_a_new_file_has_the_permissions_that_the_user_gives_to_new_files(tmp_path: Path) -> None:
    """Weights too, which their library makes readable by their owner only."""
    before = os.umask(0o027)
    try:
        save(small(), tmp_path)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content of the temporary file is synchronised, then renamed, then the folder is synchronised."""
    done: list[str] = []
    synchronise, rename = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        synchronise(descriptor)

    def replace(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    replace_file(tmp_path / "file", lambda path: path.write_text("new"))
    assert done == ["file", "rename", "folder"]


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    """Temporary files of processes that live, and any other file, stay."""
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    (tmp_path / "checkpoints").mkdir()
    left = [f".a.{killed.pid}.part", f"checkpoints/.b.{killed.pid}.part", f".c.{os.getpid()}.part"]
    kept = [f".a.{os.getppid()}.part", "mine.part", ".mine.part", f"a.{killed.pid}.part", f".a.{10**30}.part"]
    for name in (*left, *kept):
        (tmp_path / name).write_text("half")
    remove_parts(tmp_path)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == set(kept)


def test_replacing_makes_folders_and_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    replace_file(path, lambda temporary: temporary.write_text("new"))
    replace_file(path, lambda temporary: temporary.write_text("newer"))
    assert path.read_text() == "newer"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_versions_name_what_made_a_result() -> None:
    """The package, torch and Python."""
    versions = environment.versions()
    assert versions["torch"] == torch.__version__
    assert set(versions) >= {"sensorium", "torch", "python"}
