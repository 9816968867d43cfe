"""Time to the first step of training, memory and examples a second, with many tiny files, loose and in shards.

    python benchmarks/streams.py                    # 1,000 and 100,000 loose files, 1,000 and 1,000,000 in shards
    python benchmarks/streams.py --arrays           # an .npz of 1 GB, too

Data are made in a temporary folder and deleted afterwards: 8 × 8 pixels, about 100 bytes a file, 2 GB of shards. Each
measurement is a process of its own. Seconds count from its start, with the imports; processor seconds are those of it
and its workers, which do not depend on what else runs on the machine. Memory is the process's own (pages of files that
are mapped belong to the system's cache). The model is as small as can be: what is measured is the way to it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 10
SIDE = 8  # pixels
PER_SHARD = 20_000  # examples
BATCH = 16
SETTINGS = (
    *(f"recipe.batch_size={BATCH}", "recipe.precision=float32", "inputs.stem=null"),
    *("encoder.num_latents=4", "encoder.latent_channels=16", "encoder.num_layers=1"),
    *("encoder.num_self_attention_heads=1", "encoder.num_cross_attention_heads=1"),
)


def pictures() -> list[tuple[bytes, int]]:
    """A thousand different pictures as PNG files, with their classes."""
    from PIL import Image

    random = np.random.default_rng(0)
    found = []
    for number in range(1000):
        label = number % CLASSES
        pixels = random.integers(0, 100, (SIDE, SIDE), dtype=np.uint8)
        pixels[label % SIDE] += 100
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        found.append((content.getvalue(), label))
    return found


def make_loose(folder: Path, count: int) -> None:
    """Class folders of files."""
    known = pictures()
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    for number in range(count):
        content, label = known[number % len(known)]
        (folder / f"class{label}" / f"{number:07}.png").write_bytes(content)


def make_shards(folder: Path, count: int) -> None:
    """Tars of pictures, each with its class beside it."""
    from sensorium.codecs.tars import TarWriter

    known = pictures()
    folder.mkdir(parents=True)
    for start in range(0, count, PER_SHARD):
        writer = TarWriter(folder / f"data-{start // PER_SHARD:05}.tar")
        for number in range(start, min(count, start + PER_SHARD)):
            content, label = known[number % len(known)]
            writer.add(f"{number:08}.png", content)
            writer.add(f"{number:08}.cls", str(label).encode())
        writer.close()


def make_array(folder: Path, megabytes: int) -> None:
    """Pictures of 64 × 64 pixels in one plain ``.npz``."""
    count = megabytes * 1_000_000 // (64 * 64 * 3)
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (count, 64, 64, 3), dtype=np.uint8)
    np.savez(folder / "pictures.npz", x=pixels, y=random.integers(0, CLASSES, count))


class Enough(Exception):
    """As many steps were made as are measured."""


class Watch:
    """A listener that notes the time and the memory of steps."""

    def __init__(self, steps: int) -> None:
        self.steps, self.last, self.training = 0, steps, False
        self.found: dict[str, Any] = {"stages": []}

    def stage(self, text: str) -> None:
        self.training = text == "training"
        self.found["stages"].append((text, round(since_start(), 1)))

    def planned(self, planned: object) -> None: ...

    def progress(self, share: float, figures: dict[str, float]) -> None:
        if not self.training or not figures:
            return
        self.steps += 1
        if self.steps == 1:
            self.found |= {"first_step": since_start(), "first_step_cpu": processor_seconds()}
        if self.steps in (100, self.last):
            self.found[f"memory_{self.steps}"] = memory()
            self.found[f"time_{self.steps}"] = (time.monotonic(), processor_seconds())
        if self.steps == self.last:
            raise Enough


def since_start() -> float:
    """Seconds since this process began."""
    began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return float(Path("/proc/uptime").read_text().split()[0]) - began


def processor_seconds() -> float:
    """Of this process, and of its children that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def memory() -> float:
    """Bytes that belong to this process alone, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1000


def peak() -> float:
    """The most memory that this process had, pages of mapped files included, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


def measure(data: Path, steps: int) -> dict[str, Any]:
    """Train for some steps, in this process."""
    from sensorium.training.run import train

    watch = Watch(steps)
    with tempfile.TemporaryDirectory() as folder, suppress(Enough):
        train(data, out=Path(folder, "run"), minutes=60, epochs=1000, val=0, settings=SETTINGS, listener=watch)
    found = watch.found
    if steps > 100:
        (began, began_cpu), (ended, ended_cpu) = found.pop("time_100"), found.pop(f"time_{steps}")
        examples = BATCH * (steps - 100)
        found["examples_a_second"] = examples / (ended - began)
        found["examples_a_processor_second"] = examples / (ended_cpu - began_cpu)
    return found | {"peak": peak()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loose", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--arrays", action="store_true", help="an .npz of 1 GB, too")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.steps)))
        return
    jobs: list[tuple[str, Any, int]] = [
        ("1,000 loose", make_loose, 1000),
        (f"{arguments.loose:,} loose", make_loose, arguments.loose),
        ("1,000 in shards", make_shards, 1000),
        (f"{arguments.shards:,} in shards", make_shards, arguments.shards),
    ]
    if arguments.arrays:
        jobs.append(("1 GB of .npz", make_array, 1000))
    for name, make, size in dict.fromkeys(jobs):  # --loose 1000 asks for one of them twice
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            data = Path(folder, "data")
            make(data, size)
            os.sync()  # a disk that still writes the data would be measured, too
            command = [sys.executable, __file__, "--measure", str(data), "--steps", str(arguments.steps)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name}: {done.stderr[-1000:]}", file=sys.stderr)
                continue
            print(json.dumps({"data": name, **json.loads(done.stdout.splitlines()[-1])}), flush=True)


if __name__ == "__main__":
    main()
