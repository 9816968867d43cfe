"""The command that times attention and models."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console

from ..inference import bench
from .tables import print_measurements


def print_timings(sizes: str, *, rounds: int, batch: int, what: Sequence[str], json: bool) -> None:
    """Time each way to compute attention, and print a table or JSON lines.

    Raises:
        InputError: an argument cannot be used.
    """
    wanted, environment = bench.parse_sizes(sizes), bench.environment()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("; ".join(f"{name} {value}" for name, value in environment.items()), markup=False)
    results = bench.compare(
        wanted, rounds=rounds, batch=batch, what=what, tell=lambda text: console.print(text, markup=False)
    )
    if json:
        for result, ratio in zip(results, bench.ratios(results), strict=True):
            print(json_module.dumps({**asdict(result), "ratio": ratio, "environment": environment}))
        return
    print_measurements(results, bench.ratios(results))
