"""The table of docs/results.md from finished runs: ``python benchmarks/results.py RUN...``."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

import torch


def row(run: Path) -> str:
    """One line of the table: what was measured, on what, by which command."""
    report = json.loads((run / "report.json").read_text())
    config = report["config"]
    encoder, accuracy = config["model"]["encoder"], report["metrics"]["accuracy"]
    low, high = report["accuracy_interval"]
    cells = (
        f"`{run.name}`",
        config["model"]["inputs"]["kind"],
        f"{report['samples']:,}",
        f"**{accuracy:.1%}**",
        f"{low:.1%} to {high:.1%}",
        f"{report['train_seconds'] / 60:.1f}",
        f"{report['parameters']:,}",
        f"{encoder['num_latents']} × {encoder['latent_channels']}",
        f"{last_epoch(run):.0f} of {config['recipe']['epochs']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def last_epoch(run: Path) -> float:
    """How many passes over the training examples the run made."""
    header, *_, last = (run / "metrics.csv").read_text().strip().splitlines()
    return float(dict(zip(header.split(","), last.split(","), strict=True))["epoch"])


def main() -> None:
    """Print the machine, then the table."""
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    print(f"{os.cpu_count()} cores ({platform.machine()}), {versions}\n")
    print("| data | signal | test examples | accuracy | 95 % interval | minutes | parameters | latents | epochs |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in sys.argv[1:]:
        print(row(Path(name)))


if __name__ == "__main__":
    main()
