"""What each modality is worth: runs evaluated as they are and without each of their modalities.

``python benchmarks/modalities.py DATA RUN...``
"""

from __future__ import annotations

import sys
from pathlib import Path

import sensorium as sm


def main() -> None:
    """Print a line for each run and each choice of modalities: the accuracy on the test split."""
    data, *runs = map(Path, sys.argv[1:])
    print("| run | training leaves out | evaluated on | test examples | accuracy | 95 % interval |")
    print("|---|---|---|---|---|---|")
    for run in runs:
        model = sm.load(run)
        modalities = {modality.name for modality in model.inputs.modalities}
        dropout = getattr(model.config.inputs, "dropout", {})
        left_out = ", ".join(f"{name} of {share:.0%}" for name, share in dropout.items() if share) or "nothing"
        for without in [(), *((name,) for name in sorted(modalities))] if len(modalities) > 1 else [()]:
            report = sm.evaluate(run, data, without=without)
            low, high = report["accuracy_interval"]
            cells = (
                f"`{run.name}`",
                left_out,
                " and ".join(sorted(modalities.difference(without))),
                f"{report['samples']:,}",
                f"**{report['metrics']['accuracy']:.1%}**",
                f"{low:.1%} to {high:.1%}",
            )
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
