"""The deletion scores of every method of attribution against random maps, on test examples of trained runs.

    sensorium demo && python benchmarks/deletion.py
    python benchmarks/deletion.py RUN=DATA [RUN=DATA...] [--examples 100] [--methods attention,rollout]

Of each run, as many examples of its test split, evenly chosen: the rows of each are taken away in the order of a
method's map of the predicted class, and the score is the mean probability of that class meanwhile (lower is better).
*Random* is the mean of a few random orders of the same example, so that differences are paired. Without arguments the
runs are those of ``sensorium demo``: digits, solids and tones. Results: docs/explaining.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sensorium.inference.attributions import METHODS, predicted_classes
from sensorium.inference.deletion import RANDOM, deletion, random_deletion
from sensorium.inference.opened import OpenedFiles
from sensorium.models import checkpoints
from sensorium.models.perceiver import Perceiver
from sensorium.training.plan import read_run_config
from sensorium.training.run_data import own_data, scored_split
from sensorium.training.run_folder import read_examples, read_report

DEMO = Path("runs/demo")
BATCH = 20  # examples at a time


def opened(run: Path, data: Path) -> tuple[Perceiver, OpenedFiles]:
    """A run's model, and the examples on which the run was tested."""
    model = checkpoints.load(run)
    source = own_data(data, model, read_run_config(run), read_examples(run), read_report(run), None)
    if source is None:
        raise SystemExit(f"{data}: these are not the data of {run}")
    return model, OpenedFiles(model, source.splits[scored_split(source)])


def views(model: Perceiver, examples: OpenedFiles, count: int) -> Iterator[dict[str, Tensor]]:
    """Batches of evenly chosen examples, as the model sees them."""
    chosen = np.linspace(0, len(examples) - 1, min(count, len(examples))).astype(int).tolist()
    for start in range(0, len(chosen), BATCH):
        yield model.inputs.view(model.to_device(examples.batch(chosen[start : start + BATCH])))


def scores(model: Perceiver, examples: OpenedFiles, count: int, methods: Sequence[str]) -> dict[str, np.ndarray]:
    """The deletion scores of each method and of random orders: (examples,) each."""
    found: dict[str, list[Tensor]] = {name: [] for name in (*methods, RANDOM)}
    for number, view in enumerate(views(model, examples, count)):
        classes = predicted_classes(model, view)
        for name in methods:
            rows = METHODS[name](model, view, classes).rows
            found[name].append(deletion(model, view, rows, classes).score)
        found[RANDOM].append(random_deletion(model, view, classes, seed=number))
    return {name: torch.cat(parts).double().numpy() for name, parts in found.items()}


def lines(data: str, found: dict[str, np.ndarray]) -> Iterator[str]:
    """The table's lines of one run: the mean and the standard deviation of each score; of the paired difference from
    random orders the mean, its 95 % interval, and the share of examples in which the method is better."""
    for name, values in found.items():
        line = f"| {data} | {name} | {values.mean():.3f} ± {values.std(ddof=1):.3f} |"
        if name == RANDOM:
            yield f"{line} | |"
            continue
        better = found[RANDOM] - values
        error = 1.96 * better.std(ddof=1) / len(better) ** 0.5
        yield f"{line} {better.mean():+.3f} ± {error:.3f} | {(better > 0).mean():.0%} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN=DATA")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--methods", default=",".join(METHODS))
    arguments = parser.parse_args()
    runs = [tuple(map(Path, run.split("=", 1))) for run in arguments.runs]
    runs = runs or [(DEMO / name, DEMO / "data" / name) for name in ("digits", "solids", "tones")]
    print("| data | method | deletion score | random − method | better in |\n|---|---|---|---|---|", flush=True)
    start = time.perf_counter()
    for run, data in runs:
        model, examples = opened(run, data)
        found = scores(model, examples, arguments.examples, arguments.methods.split(","))
        print("\n".join(lines(data.name, found)), flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
