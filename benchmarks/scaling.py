"""Steps a second of one process with one thread against two processes with one thread each.

    python benchmarks/scaling.py [--steps 40] [--rounds 3] [--batch-size 64] [--json]

The same model, examples and batch for both: what ``auto`` chooses for made pictures. Each round starts one process,
then two under torchrun; seconds are from the first step after the warm-up to the last one, inside the loop of training.
The processes are bound to cores of their own, if the system can do that. The factor is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WARM_UP = 5  # steps
SPLITS = ("val", "test")  # of a few pictures: without them they would be taken out of the training pictures


def worker(folder: Path, steps: int, batch_size: int) -> None:
    """Train in this process, one of one or two, and write the steps a second."""
    import torch

    import sensorium as sm
    from sensorium.data import load_samples
    from sensorium.models.perceiver import Perceiver
    from sensorium.processes import Launch, is_main, only_main
    from sensorium.training import loop
    from sensorium.training.engine import start
    from sensorium.training.progress import Quiet

    number = int(os.environ.get("LOCAL_RANK", "0"))
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})
    torch.set_num_threads(1)

    class Clock(Quiet):
        """When each step was over."""

        def __init__(self) -> None:
            self.moments: list[float] = []

        def progress(self, share: float, figures: dict[str, float]) -> None:
            self.moments.append(time.perf_counter())

    fabric = start(Launch().as_started())
    examples = batch_size * (WARM_UP + steps)
    settings = (f"recipe.batch_size={batch_size}", "recipe.precision=float32")
    planned = sm.plan(folder / "pictures.npz", epochs=1, settings=settings)
    torch.manual_seed(0)
    model = Perceiver(planned.config.model)
    train = load_samples(planned.source.splits["train"].for_modality(model.inputs), [model.inputs])
    assert len(train) >= examples
    clock = Clock()
    loop.is_due = lambda *_, **__: False  # steps alone, without the writing of weights
    with tempfile.TemporaryDirectory() as run:
        shared = Path(run) if is_main() else folder
        loop.fit(model, train, None, config=planned.config, folder=shared, listener=clock, fabric=fabric)
    main = is_main()
    only_main()
    if main:
        moments = clock.moments[WARM_UP - 1 : WARM_UP + steps]
        (folder / "rate").write_text(str((len(moments) - 1) / (moments[-1] - moments[0])))


def measure(processes: int, folder: Path, arguments: list[str]) -> float:
    """Steps a second of so many processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, __file__, "--worker", str(folder), *arguments], check=True, env=environment, capture_output=True
    )
    return float((folder / "rate").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--size", type=int, default=32, help="side of the pictures in pixels")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        worker(options.worker, options.steps, options.batch_size)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random = np.random.default_rng(0)
        count = options.batch_size * (WARM_UP + options.steps)
        pictures = random.integers(0, 256, (count + 16, options.size, options.size, 3), dtype=np.uint8)
        labels = np.arange(count + 16) % 10
        others = {
            "x_val": pictures[count:],
            "y_val": labels[count:],
            "x_test": pictures[count:],
            "y_test": labels[count:],
        }
        np.savez(folder / "pictures.npz", x_train=pictures[:count], y_train=labels[:count], **others)
        arguments = ["--steps", str(options.steps), "--batch-size", str(options.batch_size)]
        rates: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(options.rounds):
            for processes, found in rates.items():
                found.append(measure(processes, folder, arguments))
                print(f"{processes} process(es): {found[-1]:.3f} steps a second", file=sys.stderr, flush=True)
    medians = {processes: statistics.median(found) for processes, found in rates.items()}
    factor = medians[2] / medians[1]
    if options.json:
        print(json.dumps({"steps_per_second": medians, "factor": factor, "batch_size": options.batch_size}))
    else:
        print(f"one process {medians[1]:.3f}, two {medians[2]:.3f} steps a second: {factor:.2f} times")


if __name__ == "__main__":
    main()
