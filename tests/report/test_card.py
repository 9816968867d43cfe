"""The model card of a run: what the hub reads, and what people should know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sensorium.report import write_card
from small_models import IMAGE, classes, small_model

HISTORY = [{"seconds": float(at), "step": at, "accuracy": at / 10, "loss": 1.0 / at} for at in (1, 2, 3)]
REPORT: dict[str, Any] = {
    "task": "classify",
    "split": "test",
    "samples": 40,
    "seen_in_training": 3,
    "primary_metric": "accuracy",
    "metrics": {"loss": 0.5, "accuracy": 0.9},
    "accuracy_interval": [0.8, 0.95],
    "baselines": [{"name": "nearest mean", "metrics": {"accuracy": 0.7}}],
    "majority": {"name": "most frequent class", "metrics": {"accuracy": 0.2}},
    "per_class": {f"class {number}": {"f1": number / 10} for number in range(5)},
    "parameters": 1234,
    "train_seconds": 60.0,
    "seed": 7,
    "assumptions": [{"topic": "target", "text": "species, by its name", "flag": ""}],
    "set_aside": ["/secret/a.png: damaged"],
    "warnings": ["two copies of an example"],
    "versions": {"torch": "2.9"},
    "config": {"recipe": {"epochs": 3.0}},
}


@pytest.fixture
def card(tmp_path: Path) -> str:
    folder = tmp_path / "birds"
    write_card(folder, REPORT, model=small_model(IMAGE, classes(5)), history=HISTORY)
    return (folder / "README.md").read_text()


def test_the_hub_can_read_it(card: str) -> None:
    _, front_matter, _ = card.split("---\n", 2)
    facts = yaml.safe_load(front_matter)
    assert facts["library_name"] == "sensorium"
    assert facts["pipeline_tag"] == "image-classification"
    assert {"image", "classify"} <= set(facts["tags"])
    assert facts["metrics"] == ["accuracy"]


def test_it_says_what_people_should_know(card: str) -> None:
    """Scores beside those of simple models, limits, assumptions; the names of users' files stay with them."""
    assert "| Accuracy | 90.0\xa0% | 70.0\xa0% | 20.0\xa0% |" in card
    assert "target: species, by its name" in card
    assert "3 of the scored examples were seen in training" in card
    assert "80.0% to 95.0%" in card
    assert "class 0 (0.00), class 1 (0.10), class 2 (0.20)" in card
    assert "1 example could not be read" in card
    assert "two copies of an example" in card
    assert 'from_pretrained("birds")' in card
    assert "secret" not in card


def test_it_has_a_picture_where_there_is_a_history(card: str, tmp_path: Path) -> None:
    assert "](report.png)" in card
    assert (tmp_path / "birds" / "report.png").read_bytes().startswith(b"\x89PNG")
    write_card(tmp_path / "new", REPORT, model=small_model(IMAGE, classes(5)), history=[])
    assert "report.png" not in (tmp_path / "new" / "README.md").read_text()
    assert not (tmp_path / "new" / "report.png").exists()
