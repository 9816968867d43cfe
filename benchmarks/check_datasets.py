"""Open every data set below a folder and print what was found: kinds, task, classes and counts.

python benchmarks/check_datasets.py DATA_FOLDER
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from sensorium.data import open_source, read_description
from sensorium.errors import InputError

DESCRIPTIONS = Path(__file__).parent.parent / "examples" / "datasets"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for path in sorted(path for path in parser.parse_args().folder.iterdir() if path.is_dir()):
        described = DESCRIPTIONS / f"{path.name}.yaml"
        start = time.perf_counter()
        try:
            source = open_source(path, description=read_description(described) if described.is_file() else None)
        except InputError as error:
            print(f"{path.name:16} {error}")
            continue
        seconds = time.perf_counter() - start
        counts = " ".join(f"{name} {len(examples):,}" for name, examples in source.splits.items())
        kinds = ", ".join(f"{name}: {kind}" for name, kind in source.kinds.items())
        print(f"{path.name:16} {kinds:16} {source.task} {len(source.classes):3} {counts:36} {seconds:5.2f} s")
        for warning in source.warnings:
            print(f"{'':16} - {warning}")


if __name__ == "__main__":
    main()
