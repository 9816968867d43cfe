"""What ``test_processes.py`` runs in each of two processes; it writes what it finds to the folder that is named."""

from __future__ import annotations

import json
import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from sensorium import cli
from sensorium.inference.evaluate import evaluate_model
from sensorium.models.perceiver import Perceiver
from sensorium.processes import Launch, is_main, only_main, rank, was_restarted
from sensorium.tasks import RegressConfig, TagConfig
from sensorium.training import loop
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


def train_and_die(arguments: list[str]) -> None:
    """The command line; but at the first attempt, the second process is killed in step eleven, after a checkpoint."""
    steps, take_step = count(1), loop.take_step

    def step(*arguments: Any) -> None:
        if next(steps) == 11 and rank() == 1 and not was_restarted():
            os.kill(os.getpid(), signal.SIGKILL)
        take_step(*arguments)

    loop.take_step = step
    cli.main(arguments)


def evaluations() -> dict[str, dict[str, object]]:
    """Of seven examples, three at a time, so that the processes have different numbers of batches; and of two, of which
    one process has none."""
    found = {}
    for name, (task, targets) in TARGETS.items():
        model = small_model(IMAGE, task)
        for number in (7, 2):
            samples = pictures(targets[:number].float() if name == "tag" else targets[:number], count=number)
            samples.unreadable = []
            evaluation = evaluate_model(model, samples, batch_size=3, shared=True)
            found[f"{name} {number}"] = {**evaluation.metrics, "scores": evaluation.scores.tolist()}
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
        config["train"],  # of which one process has no batch to validate
        config=config["config"],
        folder=folder / "sharded",
        listener=Quiet(),
        fabric=fabric,
    )
    if is_main():
        (folder / "found.json").write_text(json.dumps(found))
    only_main()


if __name__ == "__main__":
    train_and_die(sys.argv[1:]) if sys.argv[1] == "train" else main(Path(sys.argv[1]))
