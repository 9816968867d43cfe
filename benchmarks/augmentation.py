"""How many training views of pictures a second of one processor makes: ``python benchmarks/augmentation.py``.

Seconds are of processor time, the least of several repetitions, so that other work on the machine matters little.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

from sensorium.modalities.image import Image, ImageConfig

REPETITIONS = 5
PAPER = ImageConfig(crop=0.08, flip=0.5)
CASES = {
    "`auto`, 32 × 32": ImageConfig(size=(32, 32), crop=0.6, flip=0.5),
    "`auto`, 224 × 224": ImageConfig(crop=0.6, flip=0.5),
    "whole pictures, crop and mirror": replace(PAPER, longest_side=512),
    "whole pictures, RandAugment 4 × 5 (the presets)": replace(PAPER, longest_side=512, randaugment=(4, 5)),
    "squares of 256, RandAugment 4 × 5": replace(PAPER, randaugment=(4, 5)),
}


def batch_of(image: Image, count: int) -> dict[str, Tensor]:
    """Two photographs of 427 × 640, as often as is needed."""
    samples = [image.load(picture) for picture in load_sample_images().images] * (count // 2)
    return {field: torch.from_numpy(np.stack([sample[field] for sample in samples])) for field in samples[0]}


def per_second(work: Callable[[], object], count: int) -> float:
    """How often ``count`` is done in a second of processor time."""
    work()
    spent = []
    for _ in range(REPETITIONS):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return count / min(spent)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print("| views | training, a second | evaluation, a second |")
    print("|---|---|---|")
    for name, config in CASES.items():
        image, count = Image(config), 256 if config.size[0] < 64 else 16
        batch = batch_of(image, count)
        trained = per_second(partial(image.augment, batch, torch.Generator().manual_seed(0)), count)
        seen = per_second(partial(image.view, batch), count)
        print(f"| {name} | {trained:,.0f} | {seen:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
