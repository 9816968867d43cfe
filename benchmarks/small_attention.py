"""Attention of latents to latents on a CPU: two plain products, against torch's fused kernel; and fused projections.

Interleaved medians, in milliseconds, of a forward pass and of forward + backward.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.nn.ops import projected

SHAPES = (
    (64, 8, 64, 32),
    (8, 8, 128, 64),
    (1, 8, 256, 64),
    (1, 8, 512, 128),
)  # batch, heads, latents, channels of each
PRECISIONS = (torch.float32, torch.bfloat16)


def race(contenders: dict[str, Callable[[], object]], *, turns: int = 15) -> dict[str, float]:
    """Medians of contenders that take turns, in milliseconds; the first turn is a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(turns + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if turn:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(each) for name, each in times.items()}


def attend(small: int, query: Tensor, key: Tensor, value: Tensor, *, backward: bool) -> None:
    """One attention; up to ``small`` weights it is computed as two plain products."""
    projected.PLAIN_PRODUCTS = dict.fromkeys(PRECISIONS, small)
    with torch.set_grad_enabled(backward):
        result = projected._attend(query, key, value, None, query.shape[-1] ** -0.5)
    if backward:
        result.backward(torch.ones_like(result))


def main() -> None:
    """Print both tables."""
    torch.manual_seed(0)
    print("batch × heads × latents × channels | precision | fused kernel, products | the same with backward")
    for shape in SHAPES:
        for precision in PRECISIONS:
            batch, heads, latents, channels = shape
            views = [
                torch.randn(batch, latents, heads, channels, dtype=precision).transpose(1, 2).requires_grad_()
                for _ in range(3)
            ]
            medians = []
            for backward in (False, True):
                medians.append(
                    race(
                        {
                            "fused": lambda: attend(-1, *views, backward=backward),  # noqa: B023
                            "products": lambda: attend(2**30, *views, backward=backward),  # noqa: B023
                        }
                    )
                )
            times = " | ".join(f"{each['fused']:.2f}, {each['products']:.2f}" for each in medians)
            print(f"{' × '.join(map(str, shape))} | {str(precision).removeprefix('torch.')} | {times}", flush=True)
    print("\nrows × width | precision | three projections, one of three times the width")
    for rows, width in ((512, 1024), (4096, 1024), (4096, 256)):
        for precision in PRECISIONS:
            x = torch.randn(rows, width, dtype=precision)
            weights = [torch.randn(width, width, dtype=precision) for _ in range(3)]
            joined = torch.cat(weights)
            found = race(
                {
                    "three": lambda: [F.linear(x, weight) for weight in weights],  # noqa: B023
                    "one": lambda: F.linear(x, joined),  # noqa: B023
                }
            )
            print(
                f"{rows} × {width} | {str(precision).removeprefix('torch.')} | {found['three']:.2f}, {found['one']:.2f}"
            )


if __name__ == "__main__":
    main()
