"""The smoothness along each axis of real data: what decision 12 judges arrays by.

python benchmarks/smoothness.py [DATA]     # DATA: the folder of the real data sets, ../shared/data by default
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from sensorium.codecs import arrays
from sensorium.codecs.series import decode_ts
from sensorium.data.recognition.axes import smoothness


def show(name: str, examples: np.ndarray) -> None:
    """A line for some examples, examples × rows × columns."""
    along = [smoothness(examples, axis) for axis in (1, 2)]
    print(f"{name}: {examples.shape[1]} × {examples.shape[2]}: {along[0]:.2f} {along[1]:.2f}")


def main(folder: Path) -> None:
    """Print a line for each set."""
    import trimesh
    from sklearn.datasets import load_digits

    show("uci_har", arrays.decode(folder / "uci_har" / "uci_har_subset.npz")["x_train"][:100])
    show("modelnet40", arrays.decode(folder / "modelnet40" / "test.h5")["data"][:100])
    for name in ("basicmotions", "japanesevowels"):
        for series in decode_ts(next((folder / name).glob("*TRAIN.ts"))).series[:6]:
            show(name, series[None])
    show("sphere", trimesh.creation.icosphere(4).vertices[None])
    show("digits", load_digits().images[:100])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
