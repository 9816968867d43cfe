"""A training, or one of the processes of one, that may take only so much memory besides its libraries. It prints what it took.

    python limited_memory.py MEGABYTES STEPS sensorium's arguments

After STEPS steps it is told to stop, as by a scheduler; 0: it is not.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch

from sensorium import cli
from sensorium.inference import estimators, evaluate  # noqa: F401  # loaded before memory is measured
from sensorium.training import engine, loop, run  # noqa: F401


def taken() -> int:
    """The megabytes of this process that are its own, as the limit counts them."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    return int(line.split()[1]) // 1000


def main(megabytes: int, steps: int, arguments: list[str]) -> None:
    torch.set_num_threads(1)
    before, most = 0, [0]
    run_plan = run.run_plan

    def limited(*arguments: Any, **options: Any) -> Any:
        nonlocal before
        before = taken()
        if megabytes:
            limit = (before + megabytes) * 1_000_000
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        return run_plan(*arguments, **options)

    run.run_plan = limited
    take_step, number = loop.take_step, [0]
    marks: list[tuple[str, int]] = []

    def watch() -> None:
        while True:
            most[0] = max(most[0], taken() - before)
            time.sleep(0.05)

    def step(*arguments: Any) -> None:
        take_step(*arguments)
        number[0] += 1
        if number[0] == steps:
            os.kill(os.getpid(), signal.SIGTERM)

    import traceback
    def mark(name, fn):
        def call(*a, **k):
            marks.append((name, taken()-before, most[0])); most[0]=0
            out = fn(*a, **k)
            marks.append((name + " done", taken()-before, most[0])); most[0]=0
            return out
        return call
    for mod, name in ((loop,"fit"),(loop,"begin"),(loop,"validate"),(loop,"_save"),(loop,"read_state"),(loop,"place"),(loop, "faster_precision")):
        setattr(mod, name, mark(name, getattr(mod,name)))
    step = mark("step", step)
    loop.take_step = step
    threading.Thread(target=watch, daemon=True).start()
    try:
        cli.main(arguments)
    finally:
        print(os.environ.get("RANK"), marks, most[0], flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
