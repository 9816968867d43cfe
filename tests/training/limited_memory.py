"""A training, or one process of one, that may take only so much memory for its model and all that trains it.

    python limited_memory.py MEGABYTES STEPS sensorium's arguments

After so many steps it is told to stop, as by a scheduler; 0: it is not. It prints what the model and the rest took at
most, in megabytes, as far as it was seen.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from itertools import count
from pathlib import Path
from typing import Any

import torch

from sensorium import cli
from sensorium.inference import estimators, evaluate  # noqa: F401 - so that libraries are not counted
from sensorium.training import loop, run

taken: list[int] = []  # megabytes, at some moments of the training


def data_megabytes() -> int:
    """Memory that belongs to this process alone, as the limit counts it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    return int(line.split()[1]) // 1000


def watch(stopped: threading.Event) -> None:
    while not stopped.wait(0.05):
        taken.append(data_megabytes())


def main(megabytes: int, last_step: int, arguments: list[str]) -> None:
    torch.set_num_threads(1)
    run_plan, take_step, steps, stopped = run.run_plan, loop.take_step, count(1), threading.Event()

    def limited(*arguments: Any, **options: Any) -> Any:
        taken.append(data_megabytes())
        limit = (taken[0] + megabytes) * 1_000_000
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        threading.Thread(target=watch, args=(stopped,)).start()
        return run_plan(*arguments, **options)

    def step(*arguments: Any) -> None:
        take_step(*arguments)
        if next(steps) == last_step:
            os.kill(os.getpid(), signal.SIGTERM)

    run.run_plan, loop.take_step = limited, step
    try:
        cli.main(arguments)
    finally:
        stopped.set()
        print(f"process {os.environ.get('RANK', 0)}: at most {max(taken, default=0) - min(taken, default=0)} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
