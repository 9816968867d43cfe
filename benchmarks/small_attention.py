"""A training step with small attentions as plain products, against torch's fused kernel: interleaved medians."""

from __future__ import annotations

import statistics
import time

import torch

from sensorium.arrays import ByteArray, Segment
from sensorium.core import attention
from sensorium.core.perceiver import Encoder, EncoderConfig

CONFIG = EncoderConfig(
    latents=64, width=256, reads=(0, 1, 1, 1), processes=(0, 1, 2, 3), layers=2
)  # auto's, of pictures


def main() -> None:
    """Print milliseconds a step of 64 examples of 256 rows, and the ratio."""
    torch.manual_seed(0)
    encoder = Encoder(CONFIG, channels=46)
    array = ByteArray((Segment("image", torch.randn(64, 256, 46)),))
    times: dict[str, list[float]] = {"fused": [], "products": []}
    for turn in range(11):
        for name, small in (("fused", 0), ("products", 2**16)):
            attention.SMALL = small
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16):
                loss = encoder(array).square().mean()
            loss.backward()
            if turn:  # the first of each warms up
                times[name].append(time.perf_counter() - start)
    fused, products = (statistics.median(times[name]) for name in ("fused", "products"))
    print(f"fused {1000 * fused:.0f} ms, products {1000 * products:.0f} ms, ratio {fused / products:.2f}")


if __name__ == "__main__":
    main()
