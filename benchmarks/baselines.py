"""The classical baselines on the real data sets: docs/decisions/0013 has its figures.

    python benchmarks/baselines.py [NAME...] [--data ../shared/data] [--minutes 20]

Each is fitted within 5 % of the minutes, as after a training of that length, and scored on the test split.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from sensorium.data import load_samples
from sensorium.inference.baselines import compute_baselines
from sensorium.models.perceiver import Perceiver
from sensorium.training.plan import plan

NAMES = (
    *("basicmotions", "japanesevowels", "uci_har", "fsdd", "esc10", "movie_reviews"),
    *("modelnet40", "cifar10", "imagenette224", "grid_av"),
)


def main() -> None:
    """Print a line for each set."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--minutes", type=float, default=20.0)
    options = parser.parse_args()
    for name in options.names:
        planned = plan(options.data / name)
        model = Perceiver(planned.config.model)
        splits = planned.source.splits
        samples = {
            split: load_samples(splits[split].for_modality(model.inputs), [model.inputs]) for split in ("train", "test")
        }
        began = time.monotonic()
        beside = compute_baselines(model, samples["train"], samples["test"], train_seconds=60 * options.minutes, seed=0)
        seconds = time.monotonic() - began
        for baseline in beside.baselines:
            score = baseline.metrics[model.task.primary_metric]
            print(
                f"| {name} | {baseline.name} | {100 * score:.1f} | {baseline.trained_on:,} of {len(splits['train']):,} "
                f"| {seconds:.1f} s |",
                flush=True,
            )


if __name__ == "__main__":
    main()
