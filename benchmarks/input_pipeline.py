"""What a batch costs before the model sees it: ``python benchmarks/input_pipeline.py DATA...``.

For each data set: decoding everything once, then per batch of ``auto``'s size the gathering and augmenting, against one
training step of ``auto``'s model. Medians of 20, interleaved in one process.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

from sensorium.data import load_samples
from sensorium.models.perceiver import Perceiver
from sensorium.tasks import Prepared
from sensorium.training.plan import plan


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """Milliseconds, and what came of it."""
    start = time.perf_counter()
    result = work()
    return 1000 * (time.perf_counter() - start), result


def row(data: str) -> str:
    """One line of the table."""
    planned = plan(data)
    model, batch = Perceiver(planned.config.model), planned.config.recipe.batch_size
    train = planned.source.splits["train"]
    once, samples = timed(lambda: load_samples(train, [model.inputs]))
    generator = torch.Generator().manual_seed(0)
    gathered, augmented, stepped = [], [], []
    for _ in range(20):
        indices = torch.randint(len(samples), (batch,), generator=generator).tolist()
        spent, raw = timed(lambda indices=indices: samples.batch(indices))
        gathered.append(spent)
        spent, view = timed(lambda raw=raw: model.inputs.augment(raw, generator))
        augmented.append(spent)
        prepared = model.prepare(view, generator)
        stepped.append(timed(lambda prepared=prepared: step(model, prepared))[0])
    gather, augment, work = (statistics.median(times) for times in (gathered, augmented, stepped))
    share = (gather + augment) / (gather + augment + work)
    name = data.rstrip("/").rpartition("/")[2]
    return f"| `{name}` | {once / 1000:.1f} s | {gather:.1f} | {augment:.1f} | {work:.0f} | {share:.1%} |"


def step(model: Perceiver, prepared: Prepared) -> None:
    """Forward and backward in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss(model(prepared.inputs, prepared.query_indices).output, prepared.targets)
    loss.backward()
    model.zero_grad()


def main() -> None:
    """Print the table."""
    print("| data | decoding, once | gather, ms | augment, ms | model, ms | share of the input |")
    print("|---|---|---|---|---|---|")
    for data in sys.argv[1:]:
        print(row(data), flush=True)


if __name__ == "__main__":
    main()
