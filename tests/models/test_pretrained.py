"""Models in folders and on the hub: weights, configuration and card go together. No test needs a network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError

import sensorium as sm
from sensorium.errors import InputError
from sensorium.models.perceiver import Perceiver
from sensorium.models.pretrained import CARD, PICTURE
from small_models import IMAGE, classes, small_model


def same(first: Perceiver, second: Perceiver) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return first.config == second.config and all(torch.equal(one, other) for one, other in pairs)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder as of a run, with a card and its picture."""
    sm.save(small_model(IMAGE, classes(2)), tmp_path / "run")
    (tmp_path / "run" / CARD).write_text("# birds")
    (tmp_path / "run" / PICTURE).write_bytes(b"picture")
    return tmp_path / "run"


def test_a_saved_model_is_the_model(run: Path, tmp_path: Path) -> None:
    """With the card of its run; saved once more from there, too."""
    model = Perceiver.from_pretrained(run)
    assert not model.training
    assert same(model, sm.load(run))
    for name in ("first", "second"):
        model.save_pretrained(tmp_path / name)
        model = Perceiver.from_pretrained(tmp_path / name)
        assert same(model, sm.load(run))
        assert {path.name for path in (tmp_path / name).iterdir()} == {
            "config.json",
            "model.safetensors",
            CARD,
            PICTURE,
        }
        assert (tmp_path / name / CARD).read_text() == "# birds"
    model.save_pretrained(tmp_path / "second")  # into the folder that it came from
    assert (tmp_path / "second" / CARD).read_text() == "# birds"


def test_a_new_model_gets_a_card_that_says_what_it_is(tmp_path: Path) -> None:
    small_model(IMAGE, classes(2)).save_pretrained(tmp_path)
    text = (tmp_path / CARD).read_text()
    assert text.startswith("---\nlibrary_name: sensorium\n")
    assert "task: classify" in text
    assert not (tmp_path / PICTURE).exists()


class FakeHub:
    """The hub as a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, list[str]()

    def __call__(self, token: str | None = None) -> FakeHub:
        return self

    def create_repo(self, name: str, **options: Any) -> None:
        self.made.append(name)

    def upload_folder(self, *, repo_id: str, folder_path: str, **options: Any) -> str:
        shutil.copytree(folder_path, self.folder / repo_id)
        return f"https://hub/{repo_id}"

    def download(self, name: str, **options: Any) -> str:
        return str(self.folder / name)


def test_what_is_pushed_to_the_hub_can_be_loaded_from_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.download)
    assert sm.load(run).push_to_hub("me/birds") == "https://hub/me/birds"
    assert hub.made == ["me/birds"]
    model = Perceiver.from_pretrained("me/birds")
    assert same(model, sm.load(run))
    assert (tmp_path / "hub" / "me" / "birds" / CARD).read_text() == "# birds"


def test_the_hub_s_refusals_are_one_line(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("401 Client Error.\nmore")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(InputError, match=r"me/birds: the hub refuses the upload \(401 Client Error\.\)"):
        sm.load(run).push_to_hub("me/birds")
    with pytest.raises(InputError, match=r"me/birds: no such folder, and not to be had from the hub \(OSError\)"):
        Perceiver.from_pretrained("me/birds")
    with pytest.raises(InputError, match=r"is it a finished run\?"):
        Perceiver.from_pretrained("nowhere")
    assert issubclass(RepositoryNotFoundError, OSError)
