"""Two reads of a grid, from its parts against spelled out and folded; and a read of rows, in tiles against torch's.

Interleaved medians, in milliseconds, of a forward pass and of forward + backward. The first table is where
``core.num_rows.structure_pays`` has its numbers from.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from sensorium.nn.rows import Path, Rows, reading
from torch import nn

from sensorium.inference.measuring import peak_memory
from sensorium.modalities import AudioConfig, Fusion, FusionConfig, ImageConfig, VideoConfig, build_modality
from sensorium.nn.attention import Block
from sensorium.nn.byte_array import ByteArray, Segment
from sensorium.nn.ops import compiled, row_attention
from sensorium.nn.positions import fourier_points
from small_attention import race

# Examples, latents, width of the latents, side of the picture, of a patch, bands.
GRIDS = (
    (64, 64, 256, 16, 1, 8),
    (64, 64, 256, 32, 2, 8),
    (64, 64, 256, 64, 4, 8),
    (8, 256, 512, 64, 2, 16),
    (8, 256, 512, 112, 4, 14),
    (2, 512, 512, 112, 1, 32),
    (4, 512, 512, 224, 4, 28),
    (1, 512, 1024, 224, 1, 64),
)
ROWS = (
    (1, 512, 50176, 264),
    (8, 512, 2048, 136),
    (64, 64, 1024, 48),
    (64, 64, 512, 72),
)  # examples, latents, rows, channels


def grids() -> None:
    """The read of a grid, by size."""
    print("examples, latents | rows, channels, of them values | precision | structured, folded | with backward")
    for examples, latents, width, side, patch, bands in GRIDS:
        image = build_modality(ImageConfig(size=(side, side), patch=(patch, patch), bands=bands))
        block = Block(width, inputs=image.channels, heads=1)
        block.mlp = nn.Sequential()
        start, batch = (
            torch.randn(1, latents, width, requires_grad=True),
            {"image": torch.rand(examples, 3, side, side)},
        )
        for precision in (torch.float32, torch.bfloat16):

            def run(path: Path, backward: bool) -> None:
                lower = torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16)  # noqa: B023
                with reading(path), lower, torch.set_grad_enabled(backward):
                    rows = Rows.of(image.embed(batch))  # noqa: B023
                    latents = block(block(start, rows), rows)  # noqa: B023
                if backward:
                    latents.sum().backward()

            paths: tuple[Path, ...] = ("structured", "folded")
            told = [race({path: lambda p=path, b=b: run(p, b) for path in paths}, turns=5) for b in (False, True)]
            times = " | ".join(f"{each['structured']:.1f}, {each['folded']:.1f}" for each in told)
            shape = f"{image.num_rows}, {image.channels}, {3 * patch * patch}"
            print(f"{examples}, {latents} | {shape} | {str(precision).removeprefix('torch.')} | {times}", flush=True)


def rows() -> None:
    """The read of rows that are spelled out, by size; rows themselves need no slope."""
    print("\nexamples × latents × rows × channels | precision | tiles, torch's kernel | with backward")
    for shape in ROWS:
        examples, latents, count, channels = shape
        for precision in (torch.float32, torch.bfloat16):
            query = (0.1 * torch.randn(examples, latents, channels)).to(precision).requires_grad_()
            keys = torch.randn(examples, count, channels, dtype=precision)

            def run(tiles: bool, backward: bool) -> None:
                with torch.set_grad_enabled(backward):
                    if tiles:
                        result = row_attention(query, keys, None).sums  # noqa: B023
                    else:
                        one = keys[:, None]  # noqa: B023
                        result = F.scaled_dot_product_attention(query[:, None], one, one, scale=1.0)  # noqa: B023
                if backward:
                    result.sum().backward()

            told = [
                race({"tiles": lambda b=b: run(True, b), "torch": lambda b=b: run(False, b)}, turns=5)
                for b in (False, True)
            ]
            times = " | ".join(f"{each['tiles']:.1f}, {each['torch']:.1f}" for each in told)
            print(f"{' × '.join(map(str, shape))} | {str(precision).removeprefix('torch.')} | {times}", flush=True)


def million() -> None:
    """One read of a million points."""
    points = 2 * torch.rand(1, 1_000_000, 3) - 1
    array = ByteArray((Segment("points", points[..., :0], fourier_points(points, bands=16, resolution=(40.0,) * 3)),))
    measure(lambda: array, latents=512, width=1024)


def film() -> None:
    """One read of 16 frames of 224 × 224 pixels, a row a pixel, with their sound."""
    video = VideoConfig(frames=16, patch=(1, 1, 1), bands=32)
    sound = AudioConfig(rate=48_000, samples=30_720, representation="raw", patch=(16, 1), bands=192)
    fusion = Fusion(FusionConfig(modalities={"video": video, "audio": sound}))
    batch = {"video": torch.rand(1, 16, 3, 224, 224), "audio": 2 * torch.rand(1, 30_720, 1) - 1}
    measure(lambda: fusion.embed(batch), latents=784, width=512)


def measure(embed: Callable[[], ByteArray], *, latents: int, width: int) -> None:
    """One read, forward and with backward: seconds, and the process' memory at its highest."""
    block = Block(width, inputs=embed().channels, heads=1)
    query = torch.randn(1, latents, width, requires_grad=True)
    for backward in (False, True):
        start = time.perf_counter()
        with torch.set_grad_enabled(backward):
            array = embed()
            result = block(query, Rows.of(array))
        if backward:
            result.sum().backward()
        seconds, peak = time.perf_counter() - start, peak_memory() / 1e9
        told = "with backward" if backward else "forward"
        print(
            f"{array.num_rows:,} rows of {array.channels} channels, {told}: {seconds:.1f} s, {peak:.1f} GB", flush=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--twin", action="store_true", help="grids by the PyTorch twin, as where no compiler was")
    parser.add_argument("--million", action="store_true", help="one read of a million points instead")
    parser.add_argument("--film", action="store_true", help="one read of a film's raw pixels and its sound instead")
    options = parser.parse_args()
    if options.twin:
        compiled.library = None
    if options.million:
        million()
    elif options.film:
        film()
    else:
        grids()
        rows()
