"""What ``test_processes.py`` runs in each of two processes; it writes what it finds to the folder that is named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from sensorium.inference.evaluate import evaluate_model
from sensorium.models.perceiver import Perceiver
from sensorium.processes import Launch, is_main, only_main
from sensorium.tasks import ClassifyConfig, RegressConfig, TagConfig
from sensorium.training.engine import start
from sensorium.training.loop import fit
from sensorium.training.plan import RunConfig
from sensorium.training.progress import Quiet
from small_models import IMAGE, classes, pictures, small_model

TARGETS = {
    "classify": (classes(3), torch.arange(7) % 3),
    "tag": (TagConfig(classes=("a", "b")), torch.arange(14).reshape(7, 2) % 3 == 1),
    "regress": (RegressConfig(classes=("a",), mean=(0.0,), std=(1.0,)), torch.linspace(-1, 1, 7)[:, None]),
}
__all__ = ["ClassifyConfig"]


def evaluations() -> dict[str, dict[str, object]]:
    """Of seven examples, three at a time, so that the processes have different numbers of batches; and of two, of which
    one process has none."""
    found = {}
    for name, (task, targets) in TARGETS.items():
        model = small_model(IMAGE, task)
        for count in (7, 2):
            samples = pictures(targets[:count].float() if name == "tag" else targets[:count], count=count)
            samples.unreadable = []
            evaluation = evaluate_model(model, samples, batch_size=3, shared=True)
            found[f"{name} {count}"] = {**evaluation.metrics, "scores": evaluation.scores.tolist()}
    return found


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    fabric = start(Launch(strategy="fsdp").as_started())
    found = evaluations()
    config = torch.load(folder / "run.pt", weights_only=False)
    assert isinstance(config["config"], RunConfig)
    torch.manual_seed(0)
    fit(
        Perceiver(config["config"].model),
        config["train"],
        None,
        config=config["config"],
        folder=folder / "sharded",
        listener=Quiet(),
        fabric=fabric,
    )
    if is_main():
        (folder / "found.json").write_text(json.dumps(found))
    only_main()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
